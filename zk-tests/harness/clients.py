"""The stock clients: how each is run, the records that they write, and what they must read."""

import hashlib
import json

from . import CACHE, CODECS, ROOT
from .java import java
from .processes import run

PARTITIONS = 3
_GO = CACHE / "go"
_PYTHON = [CACHE / "python" / "bin" / "python"]

COMMANDS = {
    "java-3.9.1": java("kafka", "StockClient", log4j="tools"),
    "java-0.10.0.1": java("clients-0.10.0.1", "StockClient"),
    "java-0.11.0.3": java("clients-0.11.0.3", "StockClient"),
    "kcat": [*_PYTHON, ROOT / "clients/kcat/client.py"],
    "confluent-kafka": [*_PYTHON, ROOT / "clients/python/confluent_client.py"],
    "kafka-python": [*_PYTHON, ROOT / "clients/python/kafka_python_client.py"],
    "aiokafka": [*_PYTHON, ROOT / "clients/python/aiokafka_client.py"],
    "kafkajs": ["node", ROOT / "clients/kafkajs/client.js"],
    "franz-go": [_GO / "franz"],
    "sarama": [_GO / "sarama"],
    # The same as it speaks to old brokers: message sets of magic 1 and of magic 0.
    "sarama-0.10": ["env", "SARAMA_VERSION=0.10.0.0", _GO / "sarama"],
    "sarama-0.8": ["env", "SARAMA_VERSION=0.8.2.0", _GO / "sarama"],
}
_CODECS = {
    "java-0.10.0.1": ["none", "gzip", "snappy", "lz4"],
    "java-0.11.0.3": ["none", "gzip", "snappy", "lz4"],
    "sarama-0.10": ["none", "gzip", "snappy", "lz4"],
    "sarama-0.8": ["none", "gzip", "snappy"],
}
LIBRDKAFKA = ("kcat", "confluent-kafka")
NAMES = list(COMMANDS)


def codecs(client):
    """What the client can write: zstd came with Kafka 2.1, lz4 with 0.8.2 but without a frame that all agree on."""
    return _CODECS.get(client, CODECS)


class Records:
    """A file of records, one `key TAB value` a line, about 100 bytes each; line i belongs to partition i modulo 3."""

    def __init__(self, directory, count=100_000, seed=1):
        directory.mkdir(parents=True)
        self.count = count
        self.file = directory / "records"
        hashes = [hashlib.sha256() for _ in range(PARTITIONS)]
        state = seed
        with open(self.file, "wb") as out:
            for i in range(count):
                # Half of a value repeats and half does not, so that every codec has something to do.
                state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
                line = b"k%d\tvalue %d of some length that compresses %032x%016x\n" % (i, i, state * state, state)
                out.write(line)
                hashes[i % PARTITIONS].update(line)
        self.expected = {}
        for p in range(PARTITIONS):
            records = len(range(p, count, PARTITIONS))
            self.expected[str(p)] = {"records": records, "next_offset": records, "sha256": hashes[p].hexdigest()}


def run_client(name, bootstrap, records, actions, directory, seconds=300):
    """Runs one client through its actions in one process and returns what it printed, by action."""
    log = directory / f"{name}.log"
    command = [*COMMANDS[name], bootstrap, records.file, *actions]
    answers = directory / f"{name}.answers"
    env = {"NODE_PATH": str(CACHE / "kafkajs" / "node_modules")}
    with open(answers, "wb") as out:
        code = run(command, log, name, seconds, env=env, stdout=out)
    assert code == 0, f"{name} ended with {code}:\n{log.read_text()[-4000:]}"
    return {answer["action"]: answer for answer in map(json.loads, answers.read_text().splitlines())}
