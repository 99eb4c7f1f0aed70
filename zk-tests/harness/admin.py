"""Topics made ready for a test, through an admin client in this process."""

from confluent_kafka.admin import AdminClient, NewTopic

from . import wire
from .processes import wait_until


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
