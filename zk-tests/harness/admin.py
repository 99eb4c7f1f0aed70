"""Topics made ready for a test, through an admin client in this process."""

from confluent_kafka.admin import AdminClient, NewTopic

from . import wire
from .processes import wait_until


def create_topic(broker, name, partitions=3, assignment=None, **config):
    """Creates a topic and waits until every partition has a leader. Config keys take `_` for `.`."""
    client = AdminClient({"bootstrap.servers": broker.bootstrap})
    config = {key.replace("_", "."): str(value) for key, value in config.items()}
    placed = {"replica_assignment": assignment} if assignment else {"num_partitions": partitions, "replication_factor": 1}
    client.create_topics([NewTopic(name, config=config, **placed)])[name].result(30)
    count = len(assignment) if assignment else partitions

    def led():
        _, _, topics = wire.metadata(broker.port, [name])
        leaders = topics.get(name, {})
        return len(leaders) == count and all(error == 0 and leader >= 0 for error, leader in leaders.values())

    wait_until(led, f"{name} has leaders")


def delete_topic(broker, name):
    """Deletes a topic and waits until the broker's metadata has forgotten it."""
    AdminClient({"bootstrap.servers": broker.bootstrap}).delete_topics([name])[name].result(30)
    wait_until(lambda: not wire.metadata(broker.port, [name])[2].get(name), f"{name} is gone")


def end_offsets(broker, topic, partitions=3):
    """The log end offsets of a topic, by partition."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "unused", "enable.auto.commit": False})
    try:
        return [consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=30)[1] for p in range(partitions)]
    finally:
        consumer.close()
