"""A member of a group on kafka-python; its command line is that of member.py."""

import kafka
import member
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata


class Listener(kafka.ConsumerRebalanceListener):
    def on_partitions_revoked(self, revoked):
        member.partitions("partitions_revoked", revoked)

    def on_partitions_assigned(self, assigned):
        member.partitions("partitions_assigned", assigned)


def main():
    bootstrap, group, topic, _ = member.arguments()
    consumer = kafka.KafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=6000,
        heartbeat_interval_ms=500,
    )
    stop = member.Stop()
    consumer.subscribe([topic], listener=Listener())
    while not stop.asked:
        batches = consumer.poll(200, member.BATCH)
        records = [(r.topic, r.partition, r.offset) for batch in batches.values() for r in batch]
        if not records:
            continue
        offsets = member.consumed(records)
        try:
            wanted = {kafka.TopicPartition(t, p): OffsetAndMetadata(o, "", -1) for (t, p), o in offsets.items()}
            consumer.commit(wanted)
            member.committed(offsets)
        except KafkaError as e:
            member.committed(offsets, e)
    consumer.close(autocommit=False)


main()
