"""A broker on a properties file and its log directories, run by Apache Kafka or by Zurau: both read the same file."""

import contextlib
import json
import pathlib
import signal

from kazoo.exceptions import NoNodeError

from . import PEER, ZURAU, wire
from .java import java
from .processes import EndedEarly, Process, free_port, tail, wait_until

STARTED = "started (kafka.server.KafkaServer)"
_START_SECONDS = 300
# Of Apache brokers. Figures are taken with what Kafka's scripts say.
JVM = {"heap": "512m"}


class Broker:
    def __init__(self, kind, number, directory, properties, port):
        self.kind = kind
        self.number = number
        self.port = port
        self.directory = directory
        self.properties = properties
        self.process = None
        # The JAAS file that it is started with.
        self.jaas = None
        # More of the environment that it is started with.
        self.environment = {}
        # Words in front of the command, which start it in surroundings of its own.
        self.wrap = []

    @property
    def file(self):
        return self.directory / "server.properties"

    @property
    def log_dirs(self):
        return [pathlib.Path(d) for d in self.properties["log.dirs"].split(",")]

    @property
    def bootstrap(self):
        return f"127.0.0.1:{self.port}"

    def as_kind(self, kind):
        """The other implementation in this one's place: same file, directories, port and ZooKeeper."""
        other = Broker(kind, self.number, self.directory, self.properties, self.port)
        other.jaas, other.environment, other.wrap = self.jaas, self.environment, self.wrap
        return other

    def partition(self, topic, partition, log_dir=0):
        return self.log_dirs[log_dir] / f"{topic}-{partition}"

    def launch(self, overrides=()):
        """Starts without waiting."""
        self.file.write_text("".join(f"{k}={v}\n" for k, v in self.properties.items()))
        extra = [word for pair in overrides for word in ("--override", pair)]
        if self.kind == "apache":
            command = java("kafka", "kafka.Kafka", self.file, *extra, options=self._login(), **JVM)
        else:
            command = [ZURAU, "broker", self.file, *extra]
        env = {"KAFKA_OPTS": " ".join(self._login()), **self.environment}
        command = [*self.wrap, *command]
        self.process = Process(command, self.directory / f"{self.kind}.log", f"broker {self.number} ({self.kind})", env=env)
        return self

    def _login(self):
        return [f"-Djava.security.auth.login.config={self.jaas}"] if self.jaas else []

    def start(self, overrides=(), seconds=_START_SECONDS):
        """Starts, and returns when it said so and answers Metadata with itself in it."""
        self.launch(overrides)
        return self.wait_ready(seconds)

    def wait_ready(self, seconds=_START_SECONDS):
        self.process.wait_for_line(STARTED, seconds)
        wait_until(self._serves, f"broker {self.number} answers Metadata", seconds)
        return self

    def _serves(self):
        if not self.process.alive():
            raise EndedEarly(f"broker {self.number} ended:\n{tail(self.process.output())}")
        return self.answers()

    def answers(self):
        """Whether it answers Metadata with itself in it."""
        brokers, controller, _ = wire.metadata(self.port)
        known = self.number if self.number >= 0 else None
        return controller >= 0 and (known in brokers if known is not None else bool(brokers))

    def refuses_to_start(self, seconds=_START_SECONDS):
        """Starts it, expects that it ends by itself, and returns its exit code and output."""
        self.launch()
        code = self.process.wait(seconds)
        return code, self.process.output()

    def alive(self):
        return self.process is not None and self.process.alive()

    def stop(self, seconds=120):
        """SIGTERM; the exit code."""
        return self.process.terminate(seconds)

    def kill(self):
        """kill -9."""
        return self.process.kill()

    def pause(self):
        self.process.signal(signal.SIGSTOP)

    def resume(self):
        self.process.signal(signal.SIGCONT)


# Of a broker that no test leaves to the end of its session: it keeps that on a machine that gives it no time for many seconds.
STEADY = {"zookeeper_session_timeout_ms": 60_000}


class Cluster:
    """Brokers under one chroot, with directories of their own; of this kind, where a broker's own is not named."""

    def __init__(self, directory, ensemble, chroot=None, kind=PEER):
        self.directory = pathlib.Path(directory)
        self.ensemble = ensemble
        self.chroot = ensemble.fresh_chroot() if chroot is None else chroot
        self.kind = kind
        self.brokers = []

    def broker(self, number=1, kind=None, log_dirs=1, **properties):
        """A broker of this cluster, not started. Keys take `_` for `.`; None removes a key."""
        home = self.directory / f"broker-{len(self.brokers) + 1}"
        home.mkdir(parents=True)
        port = free_port()
        merged = {
            "broker.id": str(number),
            "listeners": f"PLAINTEXT://127.0.0.1:{port}",
            "zookeeper.connect": self.ensemble.hosts + self.chroot,
            "zookeeper.session.timeout.ms": "6000",
            "log.dirs": ",".join(str(home / f"data-{n}") for n in range(1, log_dirs + 1)),
            "num.partitions": "3",
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "1",
            "controlled.shutdown.max.retries": "1",
        }
        if number < 0:
            del merged["broker.id"]
        for key, value in properties.items():
            key = key.replace("_", ".")
            if value is None:
                merged.pop(key, None)
            else:
                merged[key] = str(value)
        broker = Broker(kind or self.kind, number, home, merged, port)
        self.brokers.append(broker)
        return broker

    @property
    def bootstrap(self):
        """All brokers, for clients that outlive some of them."""
        return ",".join(broker.bootstrap for broker in self.brokers)

    def replace(self, broker, kind):
        """Another kind in this broker's place. Neither runs."""
        other = broker.as_kind(kind)
        self.brokers[self.brokers.index(broker)] = other
        return other

    def forget(self, broker):
        """Removes the ephemeral nodes of a broker that was killed, as ZooKeeper would once its session times out."""
        with self.ensemble.client(self.chroot) as zk:
            with contextlib.suppress(NoNodeError):
                zk.delete(f"/brokers/ids/{broker.number}")
            with contextlib.suppress(NoNodeError):
                if json.loads(zk.get("/controller")[0])["brokerid"] == broker.number:
                    zk.delete("/controller")

    def wait_gone(self, broker, seconds=120):
        """Waits until ZooKeeper has dropped the registration of a broker."""
        with self.ensemble.client(self.chroot) as zk:
            wait_until(lambda: not zk.exists(f"/brokers/ids/{broker.number}"), f"broker {broker.number} is gone", seconds)
