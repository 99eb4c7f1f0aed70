"""Drives confluent-kafka (librdkafka); its command line is that of records.py."""

import time

import confluent_kafka
import records


def produce(bootstrap, codec, topic, lines):
    producer = confluent_kafka.Producer(
        {
            "bootstrap.servers": bootstrap,
            "compression.type": codec,
            "enable.idempotence": True,
            "queue.buffering.max.messages": len(lines),
            "linger.ms": 5,
        }
    )
    failures = []

    def delivered(error, _message):
        if error is not None:
            failures.append(error)

    for i, (key, value) in enumerate(lines):
        producer.produce(topic, value, key, i % records.PARTITIONS, on_delivery=delivered)
    left = producer.flush(records.DEADLINE_SECONDS)
    if left or failures:
        raise RuntimeError(f"{left} records not answered; failures {failures[:3]}")


def consume(bootstrap, topic, digest):
    # librdkafka wants the name of a group even where partitions are assigned by hand.
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False}
    )
    try:
        consumer.assign(
            [
                confluent_kafka.TopicPartition(topic, p, confluent_kafka.OFFSET_BEGINNING)
                for p in range(records.PARTITIONS)
            ]
        )
        deadline = time.monotonic() + records.DEADLINE_SECONDS
        while digest.missing:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{digest.missing} records not read in time")
            for message in consumer.consume(1000, 1.0):
                if message.error():
                    raise RuntimeError(message.error())
                digest.add(message.partition(), message.offset(), message.key(), message.value())
    finally:
        consumer.close()


records.main(produce, consume)
