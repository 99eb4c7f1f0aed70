"""The command line of a JVM on one of the installed sets of jars."""

from . import CACHE

# Tests start many short-lived JVMs on few cores: the full compiler costs more than it gives.
_QUICK = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-Djava.net.preferIPv4Stack=true"]


def java(libs, main, *args, heap="256m", log4j="server", options=()):
    """`libs` is "kafka" or "clients-VERSION"; our own classes are on the path behind them."""
    return [
        "java",
        f"-Xmx{heap}",
        *_QUICK,
        *options,
        f"-Dlog4j.configuration=file:{CACHE.parent}/java/{log4j}-log4j.properties",
        "-cp",
        f"{CACHE}/{libs}/*:{CACHE}/java",
        main,
        *args,
    ]
