"""The command line of a JVM on one of the installed sets of jars."""

from . import CACHE, ROOT

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
    archive = archive_of(main)
    # One that does not fit, after an update of the JVM, is passed over without a word on standard output.
    shared = [f"-XX:SharedArchiveFile={archive}", "-Xlog:disable"] if archive.exists() else []
    return [
        "java",
        f"-Xmx{heap}",
        *tuning,
        *(shared if tuning is _QUICK and libs == "kafka" else []),
        "-Djava.net.preferIPv4Stack=true",
        *options,
        f"-Dlog4j.configuration=file:{ROOT}/harness/jvm/{log4j}-log4j.properties",
        "-cp",
        f"{CACHE}/{libs}/*:{CACHE}/java",
        main,
        *args,
    ]


def archive_of(main):
    """The archive of loaded classes from which `archives` lets a JVM on Kafka's jars start."""
    kinds = {"kafka.Kafka": "broker", "org.apache.zookeeper.server.quorum.QuorumPeerMain": "zookeeper"}
    return CACHE / "archives" / f"{kinds.get(main, 'clients')}.jsa"
