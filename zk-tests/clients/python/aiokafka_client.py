"""Drives aiokafka; its command line is that of records.py."""

import asyncio
import collections

import aiokafka
import records

IN_FLIGHT_MAX = 10_000


async def _produce(bootstrap, codec, topic, lines):
    producer = aiokafka.AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        compression_type=None if codec == "none" else codec,
        enable_idempotence=True,
        linger_ms=5,
        max_batch_size=65536,
    )
    await producer.start()
    try:
        waiting = collections.deque()
        for i, (key, value) in enumerate(lines):
            waiting.append(await producer.send(topic, value, key, partition=i % records.PARTITIONS))
            if len(waiting) > IN_FLIGHT_MAX:
                await waiting.popleft()
        for future in waiting:
            await future
    finally:
        await producer.stop()


async def _consume(bootstrap, topic, digest):
    consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=None, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partitions = [aiokafka.TopicPartition(topic, p) for p in range(records.PARTITIONS)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        while digest.missing:
            for batch in (await consumer.getmany(timeout_ms=1000, max_records=5000)).values():
                for record in batch:
                    digest.add(record.partition, record.offset, record.key, record.value)
    finally:
        await consumer.stop()


def produce(bootstrap, codec, topic, lines):
    asyncio.run(asyncio.wait_for(_produce(bootstrap, codec, topic, lines), records.DEADLINE_SECONDS))


def consume(bootstrap, topic, digest):
    asyncio.run(asyncio.wait_for(_consume(bootstrap, topic, digest), records.DEADLINE_SECONDS))


records.main(produce, consume)
