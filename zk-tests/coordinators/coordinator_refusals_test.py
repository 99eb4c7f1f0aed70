"""What both coordinators answer to requests that a client should not send, member by member and epoch by epoch, and what
they make of records in their topics that nobody can read.

The codes are Apache Kafka's, measured: this file passes with Apache in the place of the broker under test.
"""

import struct

import pytest

from harness import PEER, admin, wire
from harness.broker import Cluster
from harness.groups import Watch
from harness.processes import wait_until
from harness.transactions import ONE_BROKER

from hostile_test import RECORD, batch, crc32c

PRODUCE, OFFSET_COMMIT, JOIN_GROUP, HEARTBEAT, LEAVE_GROUP, SYNC_GROUP = 0, 8, 11, 12, 13, 14
INIT_PRODUCER_ID, ADD_PARTITIONS_TO_TXN, ADD_OFFSETS_TO_TXN, END_TXN, TXN_OFFSET_COMMIT = 22, 24, 25, 26, 28

UNKNOWN_SERVER_ERROR, NONE, UNKNOWN_TOPIC_OR_PARTITION, OFFSET_METADATA_TOO_LARGE = -1, 0, 3, 12
COORDINATOR_ANSWERS_LATER = (14, 15, 16)
ILLEGAL_GENERATION, INCONSISTENT_GROUP_PROTOCOL, UNKNOWN_MEMBER_ID = 22, 23, 25
INVALID_REQUEST, OUT_OF_ORDER_SEQUENCE_NUMBER, INVALID_PRODUCER_EPOCH, INVALID_TXN_STATE = 42, 45, 47, 48
INVALID_PRODUCER_ID_MAPPING, INVALID_TRANSACTION_TIMEOUT, TRANSACTION_COORDINATOR_FENCED = 49, 50, 52
OPERATION_NOT_ATTEMPTED, FENCED_INSTANCE_ID, PRODUCER_FENCED = 55, 82, 90


@pytest.fixture(scope="module")
def served(module_directory, ensemble):
    quick = {"group_initial_rebalance_delay_ms": 0, "group_min_session_timeout_ms": 1000}
    broker = Cluster(module_directory, ensemble).broker(1, offsets_topic_num_partitions=1, **ONE_BROKER, **quick).start()
    admin.create_topic(broker, "t", 2)
    both_coordinate(broker)
    return broker


def both_coordinate(broker):
    """Their topics are there, and are loaded."""
    Watch(broker.bootstrap, "warm").committed()
    wait_until(lambda: wire.find_coordinator(broker.port, "warm", of_transactions=True), "transactions have a coordinator")
    wait_until(lambda: init(broker, "warm")[0] == NONE, "transactions are coordinated")


def call(broker, key, version, body, client="test"):
    """The fields of the answer behind its correlation id."""
    with wire.connect(broker.port) as s:
        s.sendall(wire.request(key, version, 7, body, client))
        fields = wire.Fields(wire.read_frame(s))
    assert fields.take("i") == 7
    return fields


def data(content):
    return struct.pack(">i", len(content)) + content


def nullable(text):
    return struct.pack(">h", -1) if text is None else wire.string(text)


# ---- groups


def join(broker, group, member="", instance=None, kind="consumer"):
    """JoinGroup v5: (error, generation, member id)."""
    body = wire.string(group) + struct.pack(">ii", 10_000, 10_000) + wire.string(member) + nullable(instance)
    answer = call(broker, JOIN_GROUP, 5, body + wire.string(kind) + struct.pack(">i", 1) + wire.string("range") + data(b""))
    answer.take("i")
    error, generation = answer.take("h"), answer.take("i")
    answer.string(), answer.string()
    return error, generation, answer.string()


def sync(broker, group, generation, member, instance=None, assignments=()):
    """SyncGroup v3: (error, assignment)."""
    body = wire.string(group) + struct.pack(">i", generation) + wire.string(member) + nullable(instance)
    body += struct.pack(">i", len(assignments)) + b"".join(wire.string(to) + data(what) for to, what in assignments)
    answer = call(broker, SYNC_GROUP, 3, body)
    answer.take("i")
    return answer.take("h"), answer.bytes()


def heartbeat(broker, group, generation, member, instance=None):
    body = wire.string(group) + struct.pack(">i", generation) + wire.string(member) + nullable(instance)
    answer = call(broker, HEARTBEAT, 3, body)
    answer.take("i")
    return answer.take("h")


def commit(broker, group, generation=-1, member="", instance=None, metadata=""):
    """OffsetCommit v7 of one partition."""
    body = wire.string(group) + struct.pack(">i", generation) + wire.string(member) + nullable(instance)
    body += struct.pack(">i", 1) + wire.string("t") + struct.pack(">iiqi", 1, 0, 42, -1) + wire.string(metadata)
    answer = call(broker, OFFSET_COMMIT, 7, body)
    answer.take("i")
    ((_, ((_, error),)),) = answer.array(lambda: (answer.string(), answer.array(lambda: (answer.take("i"), answer.take("h")))))
    return error


def alone(broker, group, kind="consumer"):
    """A static member that has the group for itself in its first generation: its id."""
    error, generation, member = join(broker, group, instance="one", kind=kind)
    assert (error, generation) == (NONE, 1)
    assert sync(broker, group, 1, member, "one", [(member, b"mine"), ("gone", b"nobody's")]) == (NONE, b"mine")
    return member


def test_whoever_is_no_member_of_this_generation_is_refused(served):
    member = alone(served, "g")
    callers = {
        ("nobody", None, 1): UNKNOWN_MEMBER_ID,
        (member, None, 0): ILLEGAL_GENERATION,
        (member, None, 2): ILLEGAL_GENERATION,
        (member, "one", 0): ILLEGAL_GENERATION,
        (member, "another", 1): UNKNOWN_MEMBER_ID,
        ("nobody", "one", 1): FENCED_INSTANCE_ID,
    }
    for (who, instance, generation), code in callers.items():
        assert heartbeat(served, "g", generation, who, instance) == code, (who, instance, generation)
        assert commit(served, "g", generation, who, instance) == code, (who, instance, generation)
        assert sync(served, "g", generation, who, instance)[0] == code, (who, instance, generation)
    # Nobody from outside commits for a group that has members, nor where none is a member with a generation.
    assert commit(served, "g") == UNKNOWN_MEMBER_ID
    assert commit(served, "dead", 3, member) == ILLEGAL_GENERATION
    assert join(served, "g", kind="connect")[0] == INCONSISTENT_GROUP_PROTOCOL
    assert join(served, "g", "nobody", "one")[0] == FENCED_INSTANCE_ID
    assert (heartbeat(served, "g", 1, member), commit(served, "g", 1, member)) == (NONE, NONE)


def test_what_is_too_large_is_refused(served):
    assert commit(served, "large", metadata="m" * 4096) == NONE
    assert commit(served, "large", metadata="m" * 4097) == OFFSET_METADATA_TOO_LARGE
    # Java counts a character beyond the first 65,536 as two.
    assert commit(served, "large", metadata="\U0001f600" * 2048) == NONE
    assert commit(served, "large", metadata="\U0001f600" * 2049) == OFFSET_METADATA_TOO_LARGE
    # An assignment that no batch of the topic can hold.
    error, generation, member = join(served, "assigned", instance="one")
    assert (error, generation) == (NONE, 1)
    assert sync(served, "assigned", 1, member, "one", [(member, b"a" * 2_000_000)]) == (UNKNOWN_SERVER_ERROR, b"")
    # 32 KiB is as long as a text can be: an id of a group like any other.
    longest = "g" * 32_767
    assert commit(served, longest) == NONE
    assert Watch(served.bootstrap, longest).committed() == {("t", 0): 42}


# ---- transactions


def init(broker, transactional_id, timeout_ms=60_000):
    """InitProducerId v1: (error, producer id, epoch)."""
    answer = call(broker, INIT_PRODUCER_ID, 1, nullable(transactional_id) + struct.pack(">i", timeout_ms))
    answer.take("i")
    return answer.take("h"), answer.take("q"), answer.take("h")


def add_partitions(broker, transactional_id, producer_id, epoch, topics, version=2):
    """AddPartitionsToTxn: an error a partition."""
    body = wire.string(transactional_id) + struct.pack(">qhi", producer_id, epoch, len(topics))
    for topic, partitions in topics:
        body += wire.string(topic) + struct.pack(f">i{len(partitions)}i", len(partitions), *partitions)
    answer = call(broker, ADD_PARTITIONS_TO_TXN, version, body)
    answer.take("i")
    read = answer.array(lambda: (answer.string(), answer.array(lambda: (answer.take("i"), answer.take("h")))))
    return {(topic, partition): error for topic, of_topic in read for partition, error in of_topic}


def end(broker, transactional_id, producer_id, epoch, version=2):
    answer = call(broker, END_TXN, version, wire.string(transactional_id) + struct.pack(">qh?", producer_id, epoch, True))
    answer.take("i")
    return answer.take("h")


def add_offsets(broker, transactional_id, producer_id, epoch, group):
    body = wire.string(transactional_id) + struct.pack(">qh", producer_id, epoch) + wire.string(group)
    answer = call(broker, ADD_OFFSETS_TO_TXN, 2, body)
    answer.take("i")
    return answer.take("h")


def commit_in_transaction(broker, transactional_id, group, producer_id, epoch):
    """TxnOffsetCommit v2 of one partition."""
    body = wire.string(transactional_id) + wire.string(group) + struct.pack(">qhi", producer_id, epoch, 1)
    body += wire.string("t") + struct.pack(">iiqi", 1, 0, 42, -1) + wire.string("")
    answer = call(broker, TXN_OFFSET_COMMIT, 2, body)
    answer.take("i")
    ((_, ((_, error),)),) = answer.array(lambda: (answer.string(), answer.array(lambda: (answer.take("i"), answer.take("h")))))
    return error


def commit_for_member(broker, transactional_id, group, producer_id, epoch, generation, member, instance):
    """TxnOffsetCommit v3 of one partition: the transaction says which member it works for (KIP-447)."""

    def compact(text):
        return b"\0" if text is None else bytes([len(text) + 1]) + text.encode()

    # The first byte is the field of tags that makes the header one of version 2.
    body = b"\0" + compact(transactional_id) + compact(group) + struct.pack(">qhi", producer_id, epoch, generation)
    body += compact(member) + compact(instance) + b"\2" + compact("t")
    answer = call(broker, TXN_OFFSET_COMMIT, 3, body + b"\2" + struct.pack(">iqi", 0, 42, -1) + b"\1\0\0\0")
    # Tags, throttle time, one topic, its one partition and its number.
    answer.take("B"), answer.take("i"), answer.take("B"), answer.compact_string(), answer.take("B"), answer.take("i")
    return answer.take("h")


def test_a_transaction_for_a_member_of_yesterday_is_refused(served):
    member = alone(served, "worked-for")
    error, producer, epoch = init(served, "worker")
    assert (error, add_offsets(served, "worker", producer, epoch, "worked-for")) == (NONE, NONE)
    sent = lambda *of: commit_for_member(served, "worker", "worked-for", producer, epoch, *of)
    assert sent(0, member, "one") == ILLEGAL_GENERATION
    assert sent(2, member, "one") == ILLEGAL_GENERATION
    assert sent(1, "nobody", None) == UNKNOWN_MEMBER_ID
    assert sent(1, "nobody", "one") == FENCED_INSTANCE_ID
    assert sent(1, member, "another") == UNKNOWN_MEMBER_ID
    assert sent(1, member, "one") == NONE
    assert end(served, "worker", producer, epoch) == NONE
    watch = Watch(served.bootstrap, "worked-for")
    wait_until(lambda: watch.committed() == {("t", 0): 42}, "only what the member sent is committed")


def test_a_producer_is_who_its_transactional_id_says(served):
    (first, *_), (error, producer, epoch) = init(served, "id"), init(served, "id")
    assert (first, error, epoch) == (NONE, NONE, 1)
    assert init(served, "")[0] == INVALID_REQUEST
    assert init(served, "id", timeout_ms=0)[0] == INVALID_TRANSACTION_TIMEOUT
    assert init(served, "id", timeout_ms=900_001)[0] == INVALID_TRANSACTION_TIMEOUT
    assert init(served, "id", timeout_ms=-1)[0] == INVALID_TRANSACTION_TIMEOUT
    strangers = {
        ("", producer, epoch): (INVALID_REQUEST, INVALID_REQUEST),
        ("foreign", producer, epoch): (INVALID_PRODUCER_ID_MAPPING, INVALID_PRODUCER_ID_MAPPING),
        ("id", producer + 1_000, epoch): (INVALID_PRODUCER_ID_MAPPING, INVALID_PRODUCER_ID_MAPPING),
        ("id", producer, epoch + 1): (PRODUCER_FENCED, INVALID_PRODUCER_EPOCH),
        ("id", producer, epoch - 1): (PRODUCER_FENCED, INVALID_PRODUCER_EPOCH),
    }
    for who, (code, old_code) in strangers.items():
        assert add_partitions(served, *who, [("t", [0])]) == {("t", 0): code}, who
        assert add_partitions(served, *who, [("t", [0])], version=1) == {("t", 0): old_code}, who
        assert add_offsets(served, *who, "g") == code, who
        assert (end(served, *who), end(served, *who, version=1)) == (code, old_code), who
    # Nothing was begun.
    assert end(served, "id", producer, epoch) == INVALID_TXN_STATE
    asked = [("t", [0, 9]), ("nowhere", [0])]
    unknown = {("t", 9): UNKNOWN_TOPIC_OR_PARTITION, ("nowhere", 0): UNKNOWN_TOPIC_OR_PARTITION}
    assert add_partitions(served, "id", producer, epoch, asked) == {("t", 0): OPERATION_NOT_ATTEMPTED, **unknown}
    assert end(served, "id", producer, epoch) == INVALID_TXN_STATE
    # Offsets and records of a transaction that its coordinator does not know.
    assert commit_in_transaction(served, "id", "sent", producer, epoch) == INVALID_TXN_STATE
    assert produce(served, sequenced(producer, epoch, 0, transactional=True), "id")[0] == INVALID_TXN_STATE


def test_markers_of_an_older_coordinator_are_refused(served):
    (first, *_), (error, producer, epoch) = init(served, "marked"), init(served, "marked")
    assert (first, error, epoch) == (NONE, NONE, 1)
    assert add_partitions(served, "marked", producer, epoch, [("t", [1])]) == {("t", 1): NONE}
    assert produce(served, sequenced(producer, epoch, 0, transactional=True), "marked", partition=1)[0] == NONE
    written = lambda coordinator, of=epoch, name="t": wire.write_txn_marker(served.port, name, 1, producer, of, True, coordinator)
    assert written(7, name="nowhere") == UNKNOWN_TOPIC_OR_PARTITION
    assert written(7, of=epoch - 1) == INVALID_PRODUCER_EPOCH
    assert (written(7), written(7)) == (NONE, NONE)
    assert written(6) == TRANSACTION_COORDINATOR_FENCED


# ---- sequences


def sequenced(producer, epoch, first, count=1, transactional=False):
    """A batch of records of a producer, numbered from `first`."""
    records = b"".join(RECORD[:3] + bytes([2 * n]) + RECORD[4:] for n in range(count))
    whole = batch(records, count, attributes=0x10 if transactional else 0)
    # Length, leader's epoch, magic and checksum stand before the attributes; two timestamps before the producer.
    tail = bytearray(whole[21:])
    struct.pack_into(">qhi", tail, 22, producer, epoch, first)
    return whole[:17] + struct.pack(">I", crc32c(bytes(tail))) + bytes(tail)


def produce(broker, records, transactional_id=None, topic="t", partition=0, client="test"):
    """Produce v7: (error, base offset)."""
    body = nullable(transactional_id) + struct.pack(">hii", -1, 5000, 1) + wire.string(topic)
    answer = call(broker, PRODUCE, 7, body + struct.pack(">ii", 1, partition) + data(records), client)
    ((_, ((_, error, offset, *_),)),) = answer.array(
        lambda: (answer.string(), answer.array(lambda: tuple(map(answer.take, "ihqqq"))))
    )
    return error, offset


def test_sequences_go_on_after_2_to_the_31_and_never_jump(served):
    error, producer, epoch = init(served, None)
    assert error == NONE
    admin.create_topic(served, "numbered", 1)
    send = lambda first, count=1: produce(served, sequenced(producer, epoch, first, count), topic="numbered")
    # Whom nobody knows may begin anywhere.
    assert send(2**31 - 4, 2) == (NONE, 0)
    assert send(2**31 - 1)[0] == OUT_OF_ORDER_SEQUENCE_NUMBER
    assert send(0)[0] == OUT_OF_ORDER_SEQUENCE_NUMBER
    # Over the end in the middle of a batch: the last two numbers, and 0.
    assert send(2**31 - 2, 3) == (NONE, 2)
    assert send(2**31 - 2, 3) == (NONE, 2), "a duplicate is answered with its first offset"
    assert send(2)[0] == OUT_OF_ORDER_SEQUENCE_NUMBER
    assert send(1) == (NONE, 5)
    older = sequenced(producer, epoch - 1, 0)
    assert produce(served, older, topic="numbered")[0] == INVALID_PRODUCER_EPOCH


# ---- internal topics that hold what nobody can read


def keyed(key, value):
    """A batch of one record."""
    record = bytes([0, 0, 0, 2 * len(key)]) + key + bytes([2 * len(value)]) + value + b"\0"
    return batch(bytes([2 * len(record)]) + record)


# Apache stops reading where it fails; what it passes over are keys of versions to come.
UNREADABLE = [(struct.pack(">h", 99), b"v")]
if PEER == "zurau":
    cut_short = struct.pack(">hh", 1, 100) + b"g"
    UNREADABLE += [(cut_short, b"v"), (b"", b""), (struct.pack(">h", 2) + wire.string("g"), b"\0\3\x7f\xff")]


def test_unreadable_records_are_skipped_and_the_rest_is_loaded(cluster):
    broker = cluster.broker(1, offsets_topic_num_partitions=1, **{**ONE_BROKER, "transaction_state_log_num_partitions": 1})
    broker.start()
    admin.create_topic(broker, "t", 1)
    both_coordinate(broker)
    assert commit(broker, "before") == NONE
    _, producer, epoch = init(broker, "before")
    for topic in ("__consumer_offsets", "__transaction_state"):
        for key, value in UNREADABLE:
            # Clients of this name may write into internal topics.
            error, _ = produce(broker, keyed(key, value), topic=topic, client="__admin_client")
            assert error == NONE, (topic, key)
    assert commit(broker, "after") == NONE
    assert init(broker, "after")[0] == NONE
    broker.stop()
    broker.start()
    for group in ("before", "after"):
        assert Watch(broker.bootstrap, group).committed() == {("t", 0): 42}
    answered = []

    def goes_on():
        answered[:] = init(broker, "before")
        return answered[0] not in COORDINATOR_ANSWERS_LATER

    wait_until(goes_on, "transactions are loaded")
    assert answered == [NONE, producer, epoch + 1]
