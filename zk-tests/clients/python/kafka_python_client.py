"""Drives kafka-python; its command line is that of records.py."""

import time

import kafka
import records


def produce(bootstrap, codec, topic, lines):
    producer = kafka.KafkaProducer(
        bootstrap_servers=bootstrap,
        compression_type=None if codec == "none" else codec,
        acks="all",
        linger_ms=5,
        batch_size=65536,
    )
    futures = [
        producer.send(topic, value, key, partition=i % records.PARTITIONS) for i, (key, value) in enumerate(lines)
    ]
    producer.flush(records.DEADLINE_SECONDS)
    for future in futures:
        future.get(0)
    producer.close()


def consume(bootstrap, topic, digest):
    consumer = kafka.KafkaConsumer(bootstrap_servers=bootstrap, group_id=None, auto_offset_reset="earliest")
    consumer.assign([kafka.TopicPartition(topic, p) for p in range(records.PARTITIONS)])
    consumer.seek_to_beginning()
    deadline = time.monotonic() + records.DEADLINE_SECONDS
    while digest.missing:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{digest.missing} records not read in time")
        for batch in consumer.poll(1000, max_records=5000).values():
            for record in batch:
                digest.add(record.partition, record.offset, record.key, record.value)
    consumer.close()


records.main(produce, consume)
