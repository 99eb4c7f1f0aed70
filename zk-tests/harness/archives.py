"""Makes the archives of loaded classes that the JVMs of the tests start from: an Apache broker then needs three fifths of the
CPU until it serves, and the tests start hundreds of JVMs. zk-tests/install runs this."""

import pathlib
import shutil
import tempfile

from . import CACHE, broker, java, processes, zookeeper


def archiving(libs, main, *args, **how):
    """The command line of a JVM that writes its archive when it ends. Only jars may be on the path; what a later JVM has behind
    them does not matter."""
    jars = f"{CACHE}/{libs}/*"
    options = [f"-XX:ArchiveClassesAtExit={java.archive_of(main)}", *how.pop("options", ())]
    return [jars if word == f"{jars}:{CACHE}/java" else word for word in java.java(libs, main, *args, options=options, **how)]


def make(directory):
    """One JVM of each kind, doing a little of all that such a JVM does in the tests."""
    zookeeper.java = broker.java = archiving
    ensemble = zookeeper.Ensemble(directory).start()
    one = broker.Cluster(directory, ensemble, kind="apache").broker(1).start()
    # It has an admin client, a producer and a consumer.
    command = archiving("kafka", "org.apache.kafka.tools.EndToEndLatency", one.bootstrap, "t", 10, "1", 10, log4j="tools")
    log = directory / "clients.log"
    assert processes.run(command, log, "clients") == 0, log.read_text()
    assert one.stop() == 143
    ensemble.servers[0].stop()


if __name__ == "__main__":
    shutil.rmtree(CACHE / "archives", ignore_errors=True)
    (CACHE / "archives").mkdir()
    with tempfile.TemporaryDirectory(prefix="zurau-archives-") as temporary:
        make(pathlib.Path(temporary))
