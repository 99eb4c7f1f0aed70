"""The command-line tools of both sides under the same names: Apache's in one lasting JVM, ours as processes."""

import dataclasses
import json
import os
import select
import subprocess

from . import REPOSITORY, ZURAU
from .java import java
from .processes import Process

CLASSES = {
    "topics": "org.apache.kafka.tools.TopicCommand",
    "configs": "kafka.admin.ConfigCommand",
    "console-producer": "kafka.tools.ConsoleProducer",
    "console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
    "consumer-groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "verifiable-producer": "org.apache.kafka.tools.VerifiableProducer",
    "verifiable-consumer": "org.apache.kafka.tools.VerifiableConsumer",
    "get-offsets": "org.apache.kafka.tools.GetOffsetShell",
    "delete-records": "org.apache.kafka.tools.DeleteRecordsCommand",
    "dump-log": "kafka.tools.DumpLogSegments",
    "log-dirs": "org.apache.kafka.tools.LogDirsCommand",
    "reassign-partitions": "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
    "leader-election": "org.apache.kafka.tools.LeaderElectionCommand",
    "replica-verification": "org.apache.kafka.tools.ReplicaVerificationTool",
    "cluster": "org.apache.kafka.tools.ClusterTool",
    "broker-api-versions": "kafka.admin.BrokerApiVersionsCommand",
    "producer-perf-test": "org.apache.kafka.tools.ProducerPerformance",
    "consumer-perf-test": "org.apache.kafka.tools.ConsumerPerformance",
    "zookeeper-shell": "org.apache.zookeeper.ZooKeeperMain",
}


@dataclasses.dataclass
class Result:
    command: list
    exit: int
    stdout: str
    stderr: str

    def check(self):
        assert self.exit == 0, f"{' '.join(self.command)} ended with {self.exit}\n{self.stdout}\n{self.stderr}"
        return self


class Tools:
    """Apache's tools. One JVM for all calls, started with the first."""

    def __init__(self, directory):
        self._log = directory / "tools.log"
        self._host = None

    def run(self, name, *args, stdin="", seconds=180):
        """Runs a tool by its script's name (without kafka- and .sh), or any main class by its full name."""
        if self._host is None:
            command = java("kafka", "ToolHost", log4j="tools", heap="768m")
            self._host = Process(command, self._log, "tools", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        args = [str(a) for a in args]
        call = {"class": CLASSES.get(name, name), "args": args, "stdin": stdin}
        self._host.stdin.write(json.dumps(call).encode() + b"\n")
        self._host.stdin.flush()
        if not select.select([self._host.stdout], [], [], seconds)[0]:
            # A tool that hangs would hold up all that come after it.
            self.close()
            raise TimeoutError(f"{name} {' '.join(args)}: no end within {seconds} s")
        line = self._host.stdout.readline()
        if not line:
            output = self._host.output()
            self.close()
            raise RuntimeError(f"{name} {' '.join(args)} took the JVM with it:\n{output}")
        answer = json.loads(line)
        return Result([name, *args], answer["exit"], answer["stdout"], answer["stderr"])

    def close(self):
        if self._host is not None:
            self._host.kill()
            self._host = None


class OurTools:
    """Zurau's scripts in bin/, each call a process."""

    def run(self, name, *args, stdin="", seconds=180):
        script = "zookeeper-shell.sh" if name == "zookeeper-shell" else f"kafka-{name}.sh"
        command = [str(REPOSITORY / "bin" / script), *(str(a) for a in args)]
        env = {**os.environ, "ZURAU_BIN": str(ZURAU)}
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=seconds, env=env, check=False
        )
        return Result(command, done.returncode, done.stdout, done.stderr)
