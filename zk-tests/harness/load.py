"""An idempotent Java producer that lives through restarts of its broker, and what it was told."""

import dataclasses
import subprocess

from .java import java
from .processes import Process, wait_until


@dataclasses.dataclass(frozen=True)
class Ack:
    key: int
    partition: int
    offset: int
    timestamp: int
    # When it came, in ms.
    at: int


class Load:
    """Writes records 0, 1, 2… of a topic, record n to partition n modulo `partitions`, until `finish`."""

    def __init__(self, broker, topic, directory, partitions=3, per_second=2000, **config):
        self.topic = topic
        self.partitions = partitions
        self._acks = directory / f"{topic}.acks"
        extra = [f"{key.replace('_', '.')}={value}" for key, value in config.items()]
        command = java("kafka", "LoadProducer", broker.bootstrap, topic, partitions, self._acks, per_second, *extra)
        self._process = Process(command, directory / f"{topic}.producer.log", f"producer of {topic}", stdin=subprocess.PIPE)

    def _lines(self):
        if not self._acks.exists():
            return []
        # The last line may be half written.
        return self._acks.read_text().split("\n")[:-1]

    def _acknowledged(self):
        return self._acks.read_bytes().count(b"\n") if self._acks.exists() else 0

    def wait_acknowledged(self, more, seconds=120):
        """Returns when this many further records were answered."""
        target = self._acknowledged() + more

        def reached():
            assert self._process.alive(), f"the producer ended:\n{self._process.output()[-3000:]}"
            return self._acknowledged() >= target

        wait_until(reached, f"{more} more acknowledgements", seconds)

    def acks(self):
        """What was acknowledged so far. A refused record is a failure: this producer may wait, but not lose."""
        refused = [line for line in self._lines() if " ! " in line]
        assert not refused, f"{len(refused)} records refused, first {refused[:3]}"
        return [Ack(*map(int, line.split())) for line in self._lines()]

    def finish(self):
        """Ends the producer after its last answer and returns all acknowledgements."""
        self._process.stdin.close()
        code = self._process.wait(120)
        assert code == 0, f"the producer ended with {code}:\n{self._process.output()[-3000:]}"
        return self.acks()


def longest_gap_ms(acks):
    """The longest time without any acknowledgement."""
    times = sorted(ack.at for ack in acks)
    return max((after - before for before, after in zip(times, times[1:])), default=0)


def check_stored(acks, stored):
    """Holds what a topic stores against what its producer was told: nothing missing, nothing twice.

    `stored` is what `reader.read` returns.
    """
    keys = [record.key for records in stored.values() for record in records]
    assert len(keys) == len(set(keys)), f"{len(keys) - len(set(keys))} records are stored twice"
    at = {(p, record.offset): record for p, records in stored.items() for record in records}
    missing = [ack for ack in acks if (ack.partition, ack.offset) not in at]
    assert not missing, f"{len(missing)} acknowledged records are missing, first {missing[:3]}"
    for ack in acks:
        record = at[ack.partition, ack.offset]
        assert record.key == b"%d" % ack.key, f"{ack} is {record.key} in the log"
        assert record.timestamp == ack.timestamp, f"{ack} has time {record.timestamp} in the log"
    for partition, records in stored.items():
        order = [int(record.key) for record in records]
        assert order == sorted(order), f"partition {partition} is out of order"
