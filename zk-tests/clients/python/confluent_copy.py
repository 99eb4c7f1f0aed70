"""Reads a topic as a member of a group and writes what it read to another, the offsets in the same transaction, until it
is told to end: confluent_copy.py BOOTSTRAP INPUT OUTPUT GROUP TRANSACTIONAL_ID"""

import signal
import sys

import member
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

# More than a broker's death takes, less than a transaction may.
ATTEMPT_SECONDS = 10
TRANSACTION_SECONDS = 20


def until_answered(call):
    """What has no answer in time may have happened: only the same call again may tell."""
    while True:
        try:
            return call(ATTEMPT_SECONDS)
        except KafkaException as e:
            if not e.args[0].retriable():
                raise
            print("again:", e, flush=True)


def rewind(consumer):
    """Back to what is committed: whatever was read since is read again."""
    for at in until_answered(lambda seconds: consumer.committed(consumer.assignment(), seconds)):
        consumer.seek(TopicPartition(at.topic, at.partition, at.offset if at.offset >= 0 else 0))


def copy(consumer, producer, output, messages):
    producer.begin_transaction()
    # Not the positions: those of partitions that were rewound stay ahead until they are read again.
    offsets = {}
    for message in messages:
        producer.produce(output, message.value(), message.key(), message.partition())
        offsets[message.topic(), message.partition()] = message.offset() + 1
    listed = [TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()]
    metadata = consumer.consumer_group_metadata()
    # librdkafka may wait for ever for a coordinator that has gone from the metadata, whatever the timeout (its issues 5456
    # and 5511). By then the transaction is aborted: the member ends, and is started again.
    signal.alarm(TRANSACTION_SECONDS)
    until_answered(lambda seconds: producer.send_offsets_to_transaction(listed, metadata, seconds))
    signal.alarm(0)
    until_answered(producer.commit_transaction)
    print("committed", len(messages), flush=True)


def run(bootstrap, source, output, group, transactional_id):
    common = {"bootstrap.servers": bootstrap, "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200, "log_level": 3}
    consumer = Consumer(
        {
            **common,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "session.timeout.ms": 6_000,
            "heartbeat.interval.ms": 500,
            "fetch.wait.max.ms": 100,
        }
    )
    within = {"transaction.timeout.ms": TRANSACTION_SECONDS * 1000}
    producer = Producer({**common, **within, "transactional.id": transactional_id, "linger.ms": 1})
    until_answered(producer.init_transactions)
    stop = member.Stop()
    # With these, a rebalance waits for this thread: nothing that was read is committed in a generation that came later.
    consumer.subscribe(
        [source],
        on_assign=lambda _, assigned: print("assigned", [tp.partition for tp in assigned], flush=True),
        on_revoke=lambda _, revoked: print("revoked", [tp.partition for tp in revoked], flush=True),
    )
    while not stop.asked:
        messages = [m for m in consumer.consume(50, 0.2) if not m.error()]
        if not messages:
            continue
        try:
            copy(consumer, producer, output, messages)
        except KafkaException as e:
            print("aborted:", e, flush=True)
            if e.args[0].fatal():
                raise
            until_answered(producer.abort_transaction)
            rewind(consumer)
    consumer.close()


run(*sys.argv[1:])
