"""What runs on Kafka as it is: Connect, MirrorMaker 2 and Streams, started by the scripts in bin/ from Apache's jars."""

import json
import subprocess
import urllib.error
import urllib.request

from . import CACHE, REPOSITORY, ZURAU
from .java import java
from .processes import Process, free_port, wait_until

_FILE_CONNECTORS = "connect-file-3.9.1.jar"


def environment(directory):
    """For a script that runs a class of Apache's."""
    return {
        "ZURAU_BIN": str(ZURAU),
        "ZURAU_KAFKA_JARS": str(CACHE / "kafka"),
        "LOG_DIR": str(directory / "logs"),
        "KAFKA_HEAP_OPTS": "-Xmx512m",
        # Tests start many short-lived JVMs on few cores: the full compiler costs more than it gives.
        "KAFKA_JVM_PERFORMANCE_OPTS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Djava.net.preferIPv4Stack=true",
    }


def script(name, directory, label, *args):
    """A running script; its process is the JVM."""
    directory.mkdir(parents=True, exist_ok=True)
    command = [REPOSITORY / "bin" / name, *args]
    return Process(command, directory / f"{label}.log", label, env=environment(directory))


def write_properties(file, properties):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
    return file


class Worker:
    """A worker of distributed Connect, with the connectors of files and sources that write exactly once."""

    def __init__(self, directory, number, bootstrap):
        self.name = f"worker-{number}"
        self._directory = directory / self.name
        self.port = free_port()
        self.process = None
        self._file = write_properties(
            self._directory / "connect-distributed.properties",
            {
                "bootstrap.servers": bootstrap,
                "group.id": "connect",
                "key.converter": "org.apache.kafka.connect.storage.StringConverter",
                "value.converter": "org.apache.kafka.connect.storage.StringConverter",
                "offset.storage.topic": "connect-offsets",
                "offset.storage.replication.factor": 1,
                "offset.storage.partitions": 2,
                "config.storage.topic": "connect-configs",
                "config.storage.replication.factor": 1,
                "status.storage.topic": "connect-status",
                "status.storage.replication.factor": 1,
                "status.storage.partitions": 1,
                "exactly.once.source.support": "enabled",
                "offset.flush.interval.ms": 500,
                # A worker that died is replaced once its session is over.
                "session.timeout.ms": 6000,
                "heartbeat.interval.ms": 1000,
                "scheduled.rebalance.max.delay.ms": 0,
                "listeners": f"HTTP://127.0.0.1:{self.port}",
                "plugin.path": CACHE / "kafka" / _FILE_CONNECTORS,
                "plugin.discovery": "service_load",
            },
        )

    def start(self):
        self.process = script("connect-distributed.sh", self._directory, self.name, self._file)
        return self

    def ask(self, method, path, body=None):
        """The answer to a request by REST; a refusal is a RuntimeError."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=90) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as e:
            raise RuntimeError(f"{method} {path}: {e.code} {e.read().decode()}") from e

    def wait_ready(self, seconds=90):
        wait_until(lambda: self.process.alive() and self.ask("GET", "/connectors") is not None, f"{self.name} answers", seconds)
        return self

    def create(self, name, **config):
        """Creates a connector. Keys take `_` for `.`."""
        config = {key.replace("_", "."): str(value) for key, value in config.items()}
        self.ask("PUT", f"/connectors/{name}/config", {"tasks.max": "1", **config})

    def task_place(self, name):
        """Which worker, as host:port, runs the task of a connector now; None while none does."""
        (task,) = self.ask("GET", f"/connectors/{name}/status")["tasks"] or [None]
        return task["worker_id"] if task and task["state"] == "RUNNING" else None


class WordCount:
    """The Streams application of clients/java/WordCount.java, exactly once."""

    def __init__(self, directory, bootstrap, application_id, source, sink, **config):
        config = {
            "bootstrap.servers": bootstrap,
            "application.id": application_id,
            "processing.guarantee": "exactly_once_v2",
            "state.dir": directory / "state",
            "num.stream.threads": 2,
            "commit.interval.ms": 100,
            "consumer.auto.offset.reset": "earliest",
            "consumer.session.timeout.ms": 6000,
            "consumer.heartbeat.interval.ms": 1000,
            "producer.transaction.timeout.ms": 10_000,
            **{key.replace("_", "."): value for key, value in config.items()},
        }
        pairs = [f"{key}={value}" for key, value in config.items()]
        self._command = java("kafka", "WordCount", source, sink, *pairs, heap="512m", log4j="server")
        self._log = directory / "word-count.log"
        self.process = None

    def start(self):
        self.process = Process(self._command, self._log, "word count", stdin=subprocess.PIPE)
        return self

    def wait_running(self, seconds=60):
        self.process.wait_for_line("state RUNNING", seconds)
        return self

    def stop(self, seconds=60):
        self.process.stdin.close()
        assert self.process.wait(seconds) == 0

    def kill(self):
        self.process.kill()
