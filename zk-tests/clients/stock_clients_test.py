"""Each stock client writes and reads 100,000 records in every codec that it knows, and what it read is what was written.

A hash over keys and values in the order of offsets is compared, by partition; franz-go reads again what every client
wrote, and every client reads what the Java client wrote. The codec is looked up in the files: a client that quietly
wrote plain records would pass otherwise.
"""

import pytest

from harness import CODECS, admin, broker, clients, disk, wire


@pytest.fixture(scope="module")
def served(module_directory, ensemble, records):
    """A broker with the Java client's records in every codec."""
    one = broker.Cluster(module_directory, ensemble).broker(1).start()
    for codec in CODECS:
        admin.create_topic(one, f"peer-{codec}", clients.PARTITIONS)
    actions = [f"produce:{codec}:peer-{codec}" for codec in CODECS]
    clients.run_client("java-3.9.1", one.bootstrap, records, actions, module_directory)
    return one


def share_in_codec(served, topic, codec):
    """The part of the records on disk that is compressed so: some clients leave a batch of few records plain."""
    stored = [b for p in range(clients.PARTITIONS) for b in disk.batches(served.partition(topic, p))]
    counts = [(b, b.last_offset - b.base_offset + 1) for b in stored]
    return sum(n for b, n in counts if b.codec == codec) / sum(n for _, n in counts)


@pytest.mark.parametrize("client", clients.NAMES)
def test_stock_client(client, served, records, module_directory):
    topics = {codec: f"{client}-{codec}" for codec in clients.codecs(client)}
    writes = [f"produce:{codec}:{topic}" for codec, topic in topics.items()]
    creates, reads = [], [f"consume:{prefix}-{codec}" for prefix in (client, "peer") for codec in topics]
    # A broker that serves no groups yet has no FindCoordinator, and two kinds of client take offence at that.
    has_groups = wire.FIND_COORDINATOR in wire.served(served.port)
    if client == "kafkajs":
        # It reads only in groups: it creates the topics by its own admin client and leaves reading to franz-go.
        creates, reads = [f"create:{topic}" for topic in topics.values()], []
    elif client == "java-0.10.0.1" and not has_groups:
        # Its consumer looks for a coordinator before anything else, also where it has no group.
        reads = []
    if not creates:
        for topic in topics.values():
            admin.create_topic(served, topic, clients.PARTITIONS)

    answers = clients.run_client(client, served.bootstrap, records, creates + writes + reads, module_directory)

    for action in reads:
        assert answers[action]["partitions"] == records.expected, action
    for codec, topic in topics.items():
        # librdkafka takes a broker without FindCoordinator for one from before lz4, and writes plain records to it.
        wanted = "none" if codec == "lz4" and client in clients.LIBRDKAFKA and not has_groups else codec
        assert share_in_codec(served, topic, wanted) > 0.99, topic
    rereads = [f"consume:{topic}" for topic in topics.values()]
    answers = clients.run_client("franz-go", served.bootstrap, records, rereads, module_directory)
    for action in rereads:
        assert answers[action]["partitions"] == records.expected, action
