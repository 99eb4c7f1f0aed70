"""The scripts that start and stop servers in the background, and what the environment changes about the log."""

import json
import os
import pathlib
import shutil
import signal

import pytest

from harness import PEER, REPOSITORY, ZURAU
from harness.processes import Process, free_port, run, wait_until
from harness.broker import STARTED

pytestmark = pytest.mark.skipif(PEER == "apache", reason="the scripts under test are Zurau's")

BIN = REPOSITORY / "bin"


def started_with(word):
    """The pid of the process whose command line has this word."""
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if os.fsencode(word) in words and words[0].endswith(b"zurau"):
                return int(entry.name)
    return None


def is_running(pid):
    """Whether it runs; one that nobody has waited for has ended."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Scripts:
    """Runs scripts with logs in a directory. `ps`, by which the stop scripts find servers, shows only those started here."""

    def __init__(self, directory):
        self.directory = directory
        self.pids = []
        shims = directory / "shims"
        shims.mkdir()
        (shims / "ps").write_text(f'#!/bin/sh\nexec {shutil.which("ps")} -ww -o pid=,args= -p "$SHOWN_PIDS"\n')
        (shims / "ps").chmod(0o755)
        self._path = f"{shims}:{os.environ['PATH']}"

    def run(self, script, *arguments, **more):
        log = self.directory / f"{script}.log"
        env = {
            "ZURAU_BIN": str(ZURAU),
            "LOG_DIR": str(self.directory / "logs"),
            "PATH": self._path,
            # A process that is never there stands for an empty list.
            "SHOWN_PIDS": ",".join(map(str, self.pids)) or "4194305",
            **more,
        }
        log.unlink(missing_ok=True)
        code = run([BIN / script, *arguments], log, script, env=env)
        return code, log.read_text()

    def start(self, script, file, *arguments):
        code, output = self.run(script, "-daemon", file, *arguments)
        assert (code, output) == (0, "")
        pid = wait_until(lambda: started_with(file), f"{script} started a server")
        self.pids.append(pid)
        return pid

    def end(self):
        for pid in filter(is_running, self.pids):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def scripts(directory):
    one = Scripts(directory)
    yield one
    one.end()


def test_servers_start_in_the_background_and_stop(directory, scripts):
    port, client_port = free_port(), free_port()
    zookeeper = directory / "zookeeper.properties"
    zookeeper.write_text(f"dataDir={directory}/zookeeper\nclientPort={client_port}\nclientPortAddress=127.0.0.1\n")
    broker = directory / "server.properties"
    broker.write_text(f"listeners=PLAINTEXT://127.0.0.1:{port}\nzookeeper.connect=127.0.0.1:{client_port}\n")
    assert scripts.run("kafka-server-stop.sh") == (1, "No kafka server to stop\n")
    assert scripts.run("zookeeper-server-stop.sh") == (1, "No zookeeper server to stop\n")

    zookeeper_pid = scripts.start("zookeeper-server-start.sh", zookeeper)
    broker_pid = scripts.start("kafka-server-start.sh", broker, "--override", "broker.id=7", "--override", f"log.dirs={directory}/data")
    out = directory / "logs" / "kafkaServer.out"
    wait_until(lambda: f"[KafkaServer id=7] {STARTED}" in out.read_text(), "the broker says that it started")

    assert scripts.run("kafka-server-stop.sh") == (0, "")
    wait_until(lambda: not is_running(broker_pid), "the broker stopped")
    assert "[KafkaServer id=7] shut down completed" in out.read_text()
    assert (directory / "data" / ".kafka_cleanshutdown").exists()
    assert is_running(zookeeper_pid)
    assert scripts.run("zookeeper-server-stop.sh") == (0, "")
    wait_until(lambda: not is_running(zookeeper_pid), "ZooKeeper stopped")


def test_a_stop_finds_the_broker_that_is_meant(directory, scripts):
    """By the filters of Kafka's script, and never that of another installation."""
    none = (1, "No kafka server to stop\n")
    pids = {}
    for number, words in {7: ["--override", "broker.id=7"], 8: []}.items():
        file = directory / f"{number}.properties"
        # Without a ZooKeeper they start for as long as this test takes.
        lines = ["broker.id = 8", f"zookeeper.connect=127.0.0.1:{free_port()}", "zookeeper.connection.timeout.ms=300000"]
        file.write_text("\n".join([*lines, f"log.dirs={directory}/data-{number}\n"]))
        pids[number] = scripts.start("kafka-server-start.sh", file, *words)
    other = directory / "elsewhere" / "zurau"
    other.parent.mkdir()
    shutil.copy(ZURAU, other)

    assert scripts.run("kafka-server-stop.sh", ZURAU_BIN=str(other)) == none
    assert scripts.run("kafka-server-stop.sh", "--process-role=controller") == none
    assert scripts.run("kafka-server-stop.sh", "--node-id=9") == none
    assert all(map(is_running, pids.values()))
    assert scripts.run("kafka-server-stop.sh", "--node-id=8", "--process-role=controller")[0] == 0
    wait_until(lambda: not is_running(pids[8]), "the broker of that id stopped")
    assert is_running(pids[7])
    assert scripts.run("kafka-server-stop.sh", "--process-role=broker") == (0, "")
    wait_until(lambda: not is_running(pids[7]), "the broker stopped")


def test_a_stop_of_zookeeper_finds_that_of_its_own_installation(directory, scripts):
    other = directory / "elsewhere" / "zurau"
    other.parent.mkdir()
    shutil.copy(ZURAU, other)
    file = directory / "zookeeper.properties"
    file.write_text(f"dataDir={directory}/zookeeper\nclientPort={free_port()}\nclientPortAddress=127.0.0.1\n")
    pid = scripts.start("zookeeper-server-start.sh", file)
    assert scripts.run("zookeeper-server-stop.sh", ZURAU_BIN=str(other)) == (1, "No zookeeper server to stop\n")
    assert is_running(pid)
    assert scripts.run("zookeeper-server-stop.sh") == (0, "")
    wait_until(lambda: not is_running(pid), "ZooKeeper stopped")


@pytest.mark.parametrize(
    "script, arguments",
    [
        ("connect-standalone.sh", ["connect-standalone.properties"]),
        ("connect-distributed.sh", ["connect-distributed.properties"]),
        ("connect-mirror-maker.sh", ["connect-mirror-maker.properties"]),
        ("connect-plugin-path.sh", ["list"]),
        ("kafka-mirror-maker.sh", []),
        ("kafka-streams-application-reset.sh", ["--help"]),
    ],
)
def test_a_script_that_needs_jars_of_apache_says_so(directory, script, arguments):
    def said(jars):
        log = directory / f"{jars or 'none'}.log"
        env = {"ZURAU_KAFKA_JARS": str(jars and directory / jars), "CLASSPATH": "", "LOG_DIR": str(directory / "logs")}
        return run([BIN / script, *arguments], log, script, env=env), log.read_text()

    code, text = said("")
    assert code == 1 and "no jars to take it from.\nSet ZURAU_KAFKA_JARS to the directory" in text
    (directory / "empty").mkdir()
    code, text = said("empty")
    assert code == 1 and text.endswith(f"no jars in {directory}/empty, which ZURAU_KAFKA_JARS names\n")


def test_the_environment_sets_level_and_form_of_log_lines(running):
    running.stop()
    lines = {}
    for name, env in {
        "text": {},
        "json": {"ZURAU_LOG_FORMAT": "json"},
        "filter": {"ZURAU_LOG": "warn,kafka.server=info"},
        "warn": {"ZURAU_LOG": "warn"},
    }.items():
        log = running.directory / f"{name}.log"
        process = Process([ZURAU, "broker", running.file], log, f"broker with {name} log", env=env)
        wait_until(running.answers, "the broker answers")
        process.terminate()
        lines[name] = log.read_text().splitlines()
    assert any(line.endswith(f"INFO [KafkaServer id=1] {STARTED}") for line in lines["text"])
    messages = [json.loads(line) for line in lines["json"]]
    assert any("[KafkaServer id=1] started" in str(m["fields"]) and m["level"] == "INFO" for m in messages)
    assert any("zurau::" in line for line in lines["text"])
    assert {line.rsplit(" ", 1)[1] for line in lines["filter"]} == {"(kafka.server.KafkaServer)"}
    assert not any("INFO" in line for line in lines["warn"])
