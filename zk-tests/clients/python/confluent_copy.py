"""Reads a topic as a member of a group and writes what it read to another, the offsets in the same transaction, until it
is told to end: confluent_copy.py BOOTSTRAP INPUT OUTPUT GROUP TRANSACTIONAL_ID"""

import signal
import sys

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

stopping = False


def stop(*_):
    global stopping
    stopping = True


def rewind(consumer):
    """Back to what is committed: whatever was read since is read again."""
    for at in consumer.committed(consumer.assignment(), 30):
        consumer.seek(TopicPartition(at.topic, at.partition, at.offset if at.offset >= 0 else 0))


def copy(consumer, producer, output, messages):
    producer.begin_transaction()
    for message in messages:
        producer.produce(output, message.value(), message.key(), message.partition())
    producer.send_offsets_to_transaction(
        consumer.position(consumer.assignment()), consumer.consumer_group_metadata(), 30
    )
    while True:
        try:
            producer.commit_transaction(30)
            break
        except KafkaException as e:
            if not e.args[0].retriable():
                raise
    print("committed", len(messages), flush=True)


def run(bootstrap, source, output, group, transactional_id):
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "session.timeout.ms": 10_000,
            "fetch.wait.max.ms": 100,
            "log_level": 0,
        }
    )
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "transactional.id": transactional_id,
            "transaction.timeout.ms": 60_000,
            "linger.ms": 1,
            "log_level": 0,
        }
    )
    producer.init_transactions(60)
    consumer.subscribe([source])
    while not stopping:
        messages = [m for m in consumer.consume(50, 0.2) if not m.error()]
        if not messages:
            continue
        try:
            copy(consumer, producer, output, messages)
        except KafkaException as e:
            if e.args[0].fatal():
                raise
            producer.abort_transaction(60)
            rewind(consumer)
    consumer.close()


signal.signal(signal.SIGTERM, stop)
run(*sys.argv[1:])
