"""Real ZooKeeper servers, Apache's by default, Zurau's development server on request. Kafka's tests: `EmbeddedZookeeper`."""

import contextlib
import itertools
import socket

from kazoo.client import KazooClient

from . import ZURAU
from .java import java
from .processes import Process, free_port, wait_until

_TICK_MS = 500


def jaas(directory, section, options):
    """Writes a JAAS file of one section, and returns its path."""
    file = directory / f"{section.lower()}-jaas.conf"
    words = " ".join(f'{key}="{value}"' for key, value in options.items())
    file.write_text(f"{section} {{\n  org.apache.zookeeper.server.auth.DigestLoginModule required {words};\n}};\n")
    return file


class Server:
    """One server, of an ensemble or alone. `kind` is "apache" or "zurau". `users` are the names and passwords that an
    Apache server knows by SASL. Sessions are as long as brokers ask for, up to `session_max_ms`; None is ZooKeeper's own
    bound of 20 ticks."""

    def __init__(self, directory, port, kind="apache", number=1, ensemble=(), users=None, session_max_ms=60_000):
        self.port = port
        self.kind = kind
        self.name = f"zookeeper-{number}"
        self._directory = directory / self.name
        self.data = self._directory / "data"
        self.data.mkdir(parents=True)
        lines = [
            f"dataDir={self.data}",
            f"clientPort={port}",
            "clientPortAddress=127.0.0.1",
            f"tickTime={_TICK_MS}",
            "maxClientCnxns=0",
        ]
        lines += ["4lw.commands.whitelist=*", "admin.enableServer=false"]
        if kind == "apache":
            lines += ["forceSync=no"]
            if session_max_ms is not None:
                lines += [f"maxSessionTimeout={session_max_ms}"]
        if ensemble:
            lines += ["initLimit=20", "syncLimit=10"]
            lines += [f"server.{n}=127.0.0.1:{peer}:{election}" for n, (peer, election) in enumerate(ensemble, 1)]
            (self.data / "myid").write_text(str(number))
        self._options = []
        if users:
            lines += ["authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider"]
            file = jaas(self._directory, "Server", {f"user_{name}": password for name, password in users.items()})
            self._options = [f"-Djava.security.auth.login.config={file}"]
        self._config = self._directory / "zookeeper.properties"
        self._config.write_text("\n".join(lines) + "\n")
        self.process = None

    def launch(self):
        """Starts without waiting: an ensemble serves only when a majority is up."""
        if self.kind == "apache":
            main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
            command = java("kafka", main, self._config, heap="128m", options=self._options)
        else:
            command = [ZURAU, "zookeeper", self._config]
        self.process = Process(command, self._directory / "log", self.name)

    def start(self):
        self.launch()
        self.wait_ready()

    def wait_ready(self):
        def ready():
            if not self.process.alive():
                raise AssertionError(f"{self.name} ended:\n{self.process.output()[-3000:]}")
            return "Mode: " in self.ask("srvr")

        wait_until(ready, f"{self.name} serves", 120)

    def ask(self, word):
        """The answer to a four-letter word."""
        with socket.create_connection(("127.0.0.1", self.port), 2) as s:
            s.sendall(word.encode())
            s.shutdown(socket.SHUT_WR)
            answer = b""
            while part := s.recv(4096):
                answer += part
        return answer.decode()

    def kill(self):
        self.process.kill()

    def stop(self):
        self.process.terminate()


class Ensemble:
    """One server or several, with the connection string of all."""

    _chroots = itertools.count(1)

    def __init__(self, directory, size=1, kind="apache", users=None, session_max_ms=60_000):
        directory.mkdir(parents=True, exist_ok=True)
        peers = [(free_port(), free_port()) for _ in range(size)] if size > 1 else ()
        numbers = range(1, size + 1)
        self.servers = [Server(directory, free_port(), kind, n, peers, users, session_max_ms) for n in numbers]

    def start(self):
        for server in self.servers:
            server.launch()
        for server in self.servers:
            server.wait_ready()
        return self

    def stop(self):
        for server in self.servers:
            if server.process and server.process.alive():
                server.kill()

    def leader(self):
        return next(s for s in self.servers if s.process.alive() and "Mode: leader" in s.ask("srvr"))

    @property
    def hosts(self):
        return ",".join(f"127.0.0.1:{server.port}" for server in self.servers)

    def fresh_chroot(self):
        return f"/cluster-{next(self._chroots)}"

    @contextlib.contextmanager
    def client(self, chroot=""):
        """A kazoo client, its paths under the chroot."""
        client = KazooClient(hosts=self.hosts + chroot, timeout=10)
        client.start(30)
        try:
            yield client
        finally:
            client.stop()
            client.close()
