"""Reads whole topics in this process, by assigned partitions."""

import time
import typing

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition


_MANY = 2000


class Record(typing.NamedTuple):
    offset: int
    timestamp_type: int
    timestamp: int
    key: bytes
    value: bytes
    leader_epoch: int


def _consumer(broker):
    return Consumer(
        {
            "bootstrap.servers": broker.bootstrap,
            # librdkafka wants the name of a group even where partitions are assigned by hand.
            "group.id": "unused",
            "enable.auto.commit": False,
            "reconnect.backoff.ms": 20,
            "reconnect.backoff.max.ms": 100,
            "fetch.wait.max.ms": 100,
            "enable.partition.eof": True,
            # Lost connections are part of the tests.
            "log_level": 0,
        }
    )


def _record(message):
    kind, timestamp = message.timestamp()
    return Record(message.offset(), kind, timestamp, message.key(), message.value(), message.leader_epoch())


def read(broker, topic, partitions=3, seconds=120):
    """All records of a topic, by partition, up to the end offsets of now."""
    consumer = _consumer(broker)
    try:
        spans = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=30) for p in range(partitions)}
        left = {p for p, (low, high) in spans.items() if high > low}
        records = {p: [] for p in range(partitions)}
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in left])
        deadline = time.monotonic() + seconds
        while left:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{topic}: partitions {left} not read to their ends {spans} in time")
            for message in consumer.consume(5000, 0.2):
                if is_end(message):
                    # Behind the last record may be markers of transactions, which are never shown.
                    left.discard(message.partition())
                    continue
                if message.error():
                    raise RuntimeError(f"{topic}: {message.error()}")
                records[message.partition()].append(_record(message))
                if message.offset() + 1 >= spans[message.partition()][1]:
                    left.discard(message.partition())
        return records
    finally:
        consumer.close()


def is_end(message):
    return message.error() is not None and message.error().code() == KafkaError._PARTITION_EOF


class Follower:
    """A consumer that stays through restarts of its broker and remembers every value that it was shown."""

    def __init__(self, broker, topic, partitions=3):
        self._consumer = _consumer(broker)
        self._consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(partitions)])
        self.seen = {}
        self._next = {}

    def follow(self):
        """Takes what there is now, and returns how much it was."""
        taken = 0
        while True:
            messages = self._consumer.consume(_MANY, 0.05)
            for message in messages:
                # Errors are lost connections, and the client comes back from those by itself.
                if not message.error():
                    at = message.partition(), message.offset()
                    assert message.offset() >= self._next.get(at[0], 0), f"{at} comes again"
                    self._next[at[0]] = message.offset() + 1
                    record = _record(message)
                    assert self.seen.setdefault(at, record) == record, f"{at} has two values"
                    taken += 1
            if len(messages) < _MANY:
                return taken

    def check_against(self, stored):
        """Every offset still holds what was seen there before."""
        now = {(p, record.offset): record for p, records in stored.items() for record in records}
        for at, record in self.seen.items():
            assert now.get(at) == record, f"{at} was {record} and is {now.get(at)}"

    def close(self):
        self._consumer.close()
