"""Topics made ready for a test, through an admin client in this process."""

from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic

from . import wire
from .processes import wait_until
from .settled import wait_settled

_THROTTLES = (
    "leader.replication.throttled.rate",
    "follower.replication.throttled.rate",
    "replica.alter.log.dirs.io.max.bytes.per.second",
)


def create_topic(broker, name, partitions=3, assignment=None, **config):
    """Creates a topic and waits until every partition has a leader. Config keys take `_` for `.`."""
    client = AdminClient({"bootstrap.servers": broker.bootstrap})
    config = {key.replace("_", "."): str(value) for key, value in config.items()}
    placed = (
        {"num_partitions": len(assignment), "replica_assignment": assignment}
        if assignment
        else {"num_partitions": partitions, "replication_factor": 1}
    )
    client.create_topics([NewTopic(name, config=config, **placed)])[name].result(30)
    wait_led(broker, name, len(assignment) if assignment else partitions)


def wait_led(broker, name, partitions=None):
    """Waits until a broker knows the leaders of all partitions of a topic."""

    def led():
        _, _, topics = wire.metadata(broker.port, [name])
        leaders = topics.get(name, {})
        known = all(error == 0 and leader >= 0 for error, leader in leaders.values())
        return known and len(leaders) > 0 and partitions in (None, len(leaders))

    wait_until(led, f"{name} has leaders")


def delete_topic(broker, name):
    """Deletes a topic and waits until the broker's metadata has forgotten it."""
    client = AdminClient({"bootstrap.servers": broker.bootstrap})
    client.delete_topics([name])[name].result(30)
    wait_until(lambda: not wire.metadata(broker.port, [name])[2].get(name), f"{name} is gone")


def clear(brokers):
    """Ends what a test has begun on a cluster that others go on with, of which these are all brokers: starts those that are
    stopped, gives up moves, and removes throttles and all topics but internal ones."""
    for broker in brokers:
        if not broker.alive():
            broker.start()
    view = wire.view(brokers[0].port)
    controller = view.brokers[view.controller]
    for topic, partition in wire.reassignments(controller):
        wire.reassign(controller, topic, {partition: None})
    client = AdminClient({"bootstrap.servers": brokers[0].bootstrap})
    for number in view.brokers:
        drop = [ConfigEntry(key, None, incremental_operation=AlterConfigOpType.DELETE) for key in _THROTTLES]
        broker = ConfigResource(ConfigResource.Type.BROKER, str(number), incremental_configs=drop)
        client.incremental_alter_configs([broker])[broker].result(30)
    if topics := {topic for topic, _ in view.partitions if not topic.startswith("__")}:
        for deleted in client.delete_topics(list(topics)).values():
            deleted.result(30)
    wait_settled(brokers)
