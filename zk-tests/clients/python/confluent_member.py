"""A member of a group on confluent-kafka (librdkafka); its command line is that of member.py."""

import os

import confluent_kafka
import member


def main():
    bootstrap, group, topic, instance = member.arguments()
    config = {
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "session.timeout.ms": 6000,
        "heartbeat.interval.ms": 500,
        "partition.assignment.strategy": os.environ.get("ASSIGNOR", "range"),
    }
    if instance:
        config["group.instance.id"] = instance
    consumer = confluent_kafka.Consumer(config)
    stop = member.Stop()
    consumer.subscribe(
        [topic],
        on_assign=lambda _, assigned: member.partitions("partitions_assigned", assigned),
        on_revoke=lambda _, revoked: member.partitions("partitions_revoked", revoked),
    )
    while not stop.asked:
        records = [r for r in consumer.consume(member.BATCH, 0.2) if r.error() is None]
        if not records:
            continue
        offsets = member.consumed([(r.topic(), r.partition(), r.offset()) for r in records])
        try:
            listed = [confluent_kafka.TopicPartition(t, p, o) for (t, p), o in offsets.items()]
            consumer.commit(offsets=listed, asynchronous=False)
            member.committed(offsets)
        except confluent_kafka.KafkaException as e:
            member.committed(offsets, e)
    if not instance:
        # A close in the middle of a cooperative rebalance may hang for good (librdkafka issue 4527); this is what its
        # users do instead. A static member would leave its group by it.
        consumer.unsubscribe()
        while consumer.assignment():
            consumer.consume(1, 0.2)
    consumer.close()


main()
