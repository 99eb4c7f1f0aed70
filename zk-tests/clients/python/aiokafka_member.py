"""A member of a group on aiokafka; its command line is that of member.py."""

import asyncio

import aiokafka
import aiokafka.coordinator.assignors.range
import member
from aiokafka.errors import KafkaError


class Listener(aiokafka.ConsumerRebalanceListener):
    async def on_partitions_revoked(self, revoked):
        member.partitions("partitions_revoked", revoked)

    async def on_partitions_assigned(self, assigned):
        member.partitions("partitions_assigned", assigned)


async def main():
    bootstrap, group, topic, _ = member.arguments()
    consumer = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=6000,
        heartbeat_interval_ms=500,
        partition_assignment_strategy=(aiokafka.coordinator.assignors.range.RangePartitionAssignor,),
    )
    stop = member.Stop()
    consumer.subscribe([topic], listener=Listener())
    await consumer.start()
    try:
        while not stop.asked:
            batches = await consumer.getmany(timeout_ms=200, max_records=member.BATCH)
            records = [(r.topic, r.partition, r.offset) for batch in batches.values() for r in batch]
            if not records:
                continue
            offsets = member.consumed(records)
            try:
                await consumer.commit({aiokafka.TopicPartition(t, p): o for (t, p), o in offsets.items()})
                member.committed(offsets)
            except KafkaError as e:
                member.committed(offsets, e)
    finally:
        await consumer.stop()


asyncio.run(main())
