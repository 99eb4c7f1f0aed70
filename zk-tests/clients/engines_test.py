"""Spark Structured Streaming and Flink read and write the broker under test, and go on from their checkpoints after a kill.

Their packages are 500 MB, so they are no part of the usual run: `zk-tests/install engines` fetches them, and from then on
`zk-tests/run -k engines` runs these.
"""

import collections

import confluent_kafka
import pytest

from harness import CACHE, ROOT, admin
from harness.java import java
from harness.processes import Process, wait_until
from harness.transactions import ONE_BROKER, all_values, read_committed

RECORDS = 3_000
# One micro-batch of spark_copy.py: all that Spark may write again after a kill.
SPARK_BATCH = 500

pytestmark = pytest.mark.skipif(
    not (CACHE / "flink.stamp").exists() or not (CACHE / "spark.stamp").exists(),
    reason="Spark and Flink are big: `zk-tests/install engines` fetches them, then `zk-tests/run -k engines` runs this",
)


@pytest.fixture
def broker(cluster):
    one = cluster.broker(1, **ONE_BROKER).start()
    for topic in ("in", "out"):
        admin.create_topic(one, topic, 3)
    return one


class Input:
    """Numbered lines, and what has to become of them."""

    def __init__(self, broker):
        self._producer = confluent_kafka.Producer({"bootstrap.servers": broker.bootstrap, "enable.idempotence": True})
        self.count = 0

    def write(self):
        for n in range(self.count, self.count + RECORDS):
            self._producer.produce("in", f"line {n}".encode(), partition=n % 3)
        assert self._producer.flush(60) == 0
        self.count += RECORDS

    def copied(self):
        return {f"LINE {n}" for n in range(self.count)}


def test_spark_goes_on_from_its_checkpoint(broker, directory):
    lines, checkpoints = Input(broker), directory / "checkpoints"
    command = [CACHE / "spark" / "python" / "bin" / "python", ROOT / "clients/python/spark_copy.py", CACHE / "spark" / "jars"]
    command += [broker.bootstrap, "in", "out", checkpoints]

    def shown():
        return all_values(read_committed(broker, "out"))

    def is_copied():
        return set(shown()) == lines.copied()

    lines.write()
    spark = Process(command, directory / "spark.log", "spark")
    wait_until(is_copied, "everything is copied", 180)
    assert len(shown()) == lines.count, "each line once, as long as nothing dies"
    lines.write()
    wait_until(lambda: len(shown()) > RECORDS, "the second part has begun")
    spark.kill()
    lines.write()
    spark = Process(command, directory / "spark.log", "spark")
    wait_until(is_copied, "everything is copied", 180)
    # Spark's sink writes at least once: of what was copied before the kill only the last batch may come again.
    again = len(shown()) - lines.count
    assert again <= SPARK_BATCH, f"{again} lines were written twice"
    spark.kill()


def test_flink_goes_on_from_its_checkpoint_exactly_once(broker, directory):
    lines, checkpoints = Input(broker), directory / "checkpoints"

    def start(*checkpoint):
        # Java 17 shows Flink's serializers nothing of itself unless it is told to.
        opened = [f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in ("lang", "util", "time")]
        command = java("flink", "FlinkCopy", broker.bootstrap, "in", "out", checkpoints, *checkpoint, heap="1g", options=opened)
        return Process(command, directory / "flink.log", "flink")

    def shown():
        return all_values(read_committed(broker, "out"))

    lines.write()
    flink = start()
    wait_until(lambda: len(shown()) == lines.count, "everything is copied")
    lines.write()
    wait_until(lambda: len(shown()) > RECORDS, "the second part has begun")
    flink.kill()
    lines.write()
    # The last whole one.
    whole = [path.parent for path in checkpoints.glob("*/chk-*/_metadata")]
    flink = start(max(whole, key=lambda path: int(path.name.removeprefix("chk-"))))
    wait_until(lambda: len(shown()) >= lines.count, "everything is copied")
    twice = [line for line, times in collections.Counter(shown()).items() if times > 1]
    assert not twice and set(shown()) == lines.copied()
    flink.kill()
