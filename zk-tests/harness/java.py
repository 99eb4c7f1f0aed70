"""The command line of a JVM on one of the installed sets of jars."""

from . import CACHE

# Tests start many short-lived JVMs on few cores: the full compiler costs more than it gives.
_QUICK = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto"]
# How Kafka's own scripts start a broker: for figures.
SHIPPED = [
    "-server",
    "-Xms1g",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
]


def java(libs, main, *args, heap="256m", log4j="server", options=(), tuning=_QUICK):
    """`libs` is "kafka" or "clients-VERSION"; our own classes are on the path behind them."""
    return [
        "java",
        f"-Xmx{heap}",
        *tuning,
        "-Djava.net.preferIPv4Stack=true",
        *options,
        f"-Dlog4j.configuration=file:{CACHE.parent}/java/{log4j}-log4j.properties",
        "-cp",
        f"{CACHE}/{libs}/*:{CACHE}/java",
        main,
        *args,
    ]
