"""Consumer groups: stock clients share work, commit, leave, are killed and come back; what lies in __consumer_offsets is
Kafka's to the byte, so that Apache's formatter and an Apache broker on the same directory read it, and the reverse.

ZURAU_CHAOS_SECONDS makes the histories of kills and pauses longer than the short form of CI.
"""

import json
import os
import random
import struct
import time

import confluent_kafka
import pytest

from harness import PEER, admin, groups, wire
from harness.broker import Cluster
from harness.groups import Member, Watch, check_disjoint, check_one_owner_a_generation
from harness.processes import wait_until

PARTITIONS = 24
CHAOS_SECONDS = int(os.environ.get("ZURAU_CHAOS_SECONDS", "5"))
_OFFSETS_TOPIC = "__consumer_offsets"
# What makes rebalances of tests quick.
_SINGLE = {"transaction_state_log_replication_factor": 1, "transaction_state_log_min_isr": 1}
_QUICK = {"group_initial_rebalance_delay_ms": 200, "group_min_session_timeout_ms": 1000}


@pytest.fixture(scope="module")
def served(module_directory, ensemble):
    return Cluster(module_directory, ensemble).broker(1, offsets_topic_num_partitions=4, **_SINGLE, **_QUICK).start()


def produce(bootstrap, topic, per_partition, partitions=PARTITIONS, start=0):
    """Numbers, to every partition the same count."""
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
    for n in range(start, start + per_partition):
        for p in range(partitions):
            producer.produce(topic, str(n).encode(), partition=p)
        producer.poll(0)
    assert producer.flush(60) == 0


def everything(per_partition, partitions=PARTITIONS):
    return {(p, offset) for p in range(partitions) for offset in range(per_partition)}


def is_read(members, per_partition):
    return everything(per_partition) <= {tp for member in members for tp in member.offsets()}


# ---- sharing


@pytest.mark.parametrize("client", [*groups.EAGER, *groups.KAFKAJS])
def test_two_members_of_a_client_share_and_take_over(client, served, directory):
    topic = group = f"share-{client}"
    admin.create_topic(served, topic, PARTITIONS)
    produce(served.bootstrap, topic, 20)
    command = {**groups.EAGER, **groups.KAFKAJS}[client]
    one, two = (Member(command, directory, f"{client}-{n}", served.bootstrap, group, topic).start() for n in (1, 2))
    watch = Watch(served.bootstrap, group)
    check_disjoint(watch.wait_stable(2, PARTITIONS), PARTITIONS)
    wait_until(lambda: is_read([one, two], 20), "every record is read")

    # One leaves by its own will: the other has all, and goes on where it stood.
    one.leave()
    check_disjoint(watch.wait_stable(1, PARTITIONS), PARTITIONS)
    produce(served.bootstrap, topic, 20, start=20)
    wait_until(lambda: is_read([one, two], 40), "every record is read")
    expected = {(topic, p): 40 for p in range(PARTITIONS)}
    wait_until(lambda: watch.committed() == expected, "every offset is committed")
    two.leave()
    wait_until(lambda: watch.describe()[0] == "Empty", "the group is empty")
    assert watch.committed() == expected


def test_clients_of_every_kind_in_one_group_under_chaos(served, directory):
    """Members are killed, paused, made to leave and started again: nobody shares a partition, no offset goes back, no
    record is missed, and the group settles."""
    chaos(served, directory, groups.EAGER, "mixed", CHAOS_SECONDS)


def test_cooperative_members_under_chaos(served, directory):
    chaos(served, directory, groups.COOPERATIVE, "cooperative", CHAOS_SECONDS / 2)


@pytest.mark.skipif(CHAOS_SECONDS <= 5, reason="longer histories only: ZURAU_CHAOS_SECONDS=600")
def test_members_that_take_partitions_in_turn_under_chaos(served, directory):
    chaos(served, directory, groups.ROUND_ROBIN, "turns", CHAOS_SECONDS / 2)


def chaos(served, directory, kinds, group, seconds, seed=1):
    rng = random.Random(seed)
    topic = f"chaos-{group}"
    admin.create_topic(served, topic, PARTITIONS)
    members = []
    for n, (kind, command) in enumerate(kinds.items()):
        # Half of those that can are static.
        instance = f"static-{kind}" if kind in groups.STATIC and n % 2 == 0 else None
        members.append(Member(command, directory, f"{group}-{kind}", served.bootstrap, group, topic, instance).start())
    watch, produced, paused = Watch(served.bootstrap, group), 0, set()
    watch.wait_stable(len(members))
    known, end, acts = {}, time.monotonic() + seconds, 0
    while time.monotonic() < end:
        produce(served.bootstrap, topic, 5, start=produced)
        produced += 5
        state, assigned = watch.describe()
        if state == "Stable":
            check_disjoint(assigned)
        offsets = watch.committed()
        assert all(offsets.get(tp, -1) >= offset for tp, offset in known.items()), (known, offsets)
        known.update(offsets)
        member = rng.choice(members)
        act = rng.choice(["kill", "pause", "resume", "leave", "none"])
        acts += act != "none"
        if not member.alive():
            paused.discard(member)
            member.start()
        elif act == "kill":
            member.kill()
        elif act == "pause":
            member.pause()
            paused.add(member)
        elif act == "resume":
            member.resume()
            paused.discard(member)
        elif act == "leave" and member not in paused:
            member.leave()
    for member in members:
        member.resume() if member.alive() else member.start()
    healed = time.monotonic()
    check_disjoint(watch.wait_stable(len(members), PARTITIONS), PARTITIONS)
    settled = time.monotonic() - healed
    # A commit that a rebalance has refused is not sent again by a cooperative member that keeps the partition: the next
    # record's goes past it.
    produce(served.bootstrap, topic, 5, start=produced)
    produced += 5
    wait_until(lambda: is_read(members, produced), "every record is read")
    expected = {(topic, p): produced for p in range(PARTITIONS)}
    wait_until(lambda: watch.committed() == expected, "every offset is committed")
    check_one_owner_a_generation(members)
    print(f"{group}: {acts} acts in {seconds} s, {produced * PARTITIONS} records, settled within {settled:.1f} s")
    for member in members:
        member.kill()


# ---- what lies in the topic


def dump(tools, broker):
    """The records of the offsets topic as Apache's formatters print them, by partition."""
    printed = []
    for kind in ("OffsetsMessageFormatter", "GroupMetadataMessageFormatter"):
        formatter = f"org.apache.kafka.tools.consumer.{kind}"
        where = ("--bootstrap-server", broker.bootstrap, "--topic", _OFFSETS_TOPIC, "--from-beginning")
        run = tools.run("console-consumer", *where, "--timeout-ms", 1500, "--formatter", formatter)
        # One object behind the other, without a line between them.
        text, decoder = run.stdout.strip(), json.JSONDecoder()
        while text:
            record, end = decoder.raw_decode(text)
            printed.append(record)
            text = text[end:].strip()
    return printed


@pytest.fixture
def moving(directory, ensemble):
    """One broker that changes its kind, with a group of offsets and one of members."""
    return Cluster(directory, ensemble).broker(1, "apache", offsets_topic_num_partitions=4, **_QUICK)


@pytest.mark.skipif(PEER != "zurau", reason="Apache in Apache's place shows nothing")
def test_groups_move_between_apache_and_zurau_on_one_directory(moving, directory, apache_tools):
    broker = moving.start()
    admin.create_topic(broker, "moved", PARTITIONS)
    produce(broker.bootstrap, "moved", 10)
    member = Member(groups.EAGER["java"], directory, "java", broker.bootstrap, "moved", "moved", "fixed").start()
    produced = 10
    wait_until(lambda: is_read([member], produced), "every record is read")
    for kind in ("zurau", "apache"):
        outside = commit_outside(broker, f"outside-{kind}", 7)
        watch = Watch(broker.bootstrap, "moved")
        wait_until(lambda: watch.committed() == {("moved", p): produced for p in range(PARTITIONS)}, "committed")
        before = dump(apache_tools, broker)
        broker.stop()
        broker = broker.as_kind(kind).start()
        # What the one wrote, the other serves and Apache's formatter prints.
        assert fetch(broker, outside) == {0: 7}
        after = dump(apache_tools, broker)
        assert before and all(record in after for record in before)
        produce(broker.bootstrap, "moved", 10, start=produced)
        produced += 10
        wait_until(lambda: is_read([member], produced), "the member goes on")
        watch = Watch(broker.bootstrap, "moved")
        wait_until(lambda: watch.committed() == {("moved", p): produced for p in range(PARTITIONS)}, "committed")
    duplicates = len(list(member.offsets())) - len(set(member.offsets()))
    assert duplicates <= produced * PARTITIONS // 2, "a move is no reset"
    member.kill()


def commit_outside(broker, group, offset):
    """A commit by somebody who is no member, as kafka-consumer-groups.sh commits."""
    consumer = confluent_kafka.Consumer({"bootstrap.servers": broker.bootstrap, "group.id": group})
    consumer.commit(offsets=[confluent_kafka.TopicPartition("moved", 0, offset)], asynchronous=False)
    consumer.close()
    return group


def fetch(broker, group):
    return {p: offset for (_, p), offset in Watch(broker.bootstrap, group).committed().items()}


# ---- bad input


def call(port, key, version, body):
    """The body of the answer, without its correlation id."""
    with wire.connect(port) as s:
        s.sendall(wire.request(key, version, 7, body))
        return wire.read_frame(s)[4:]


def test_strangers_hear_kafkas_codes(served):
    if not wire.served(served.port).get(11):
        pytest.skip("no groups")
    Watch(served.bootstrap, "warm").committed()

    def error(answer, at=0):
        return struct.unpack_from(">h", answer, at)[0]

    def join(group, member=b"", session=10_000, protocol_type=b"consumer"):
        def text(data):
            return struct.pack(">h", len(data)) + data

        protocols = struct.pack(">i", 1) + text(b"range") + struct.pack(">i", 0)
        body = text(group) + struct.pack(">ii", session, 5000) + text(member) + text(protocol_type) + protocols
        return error(call(served.port, 11, 2, body), 4)

    def heartbeat(group, generation, member):
        body = wire.string(group) + struct.pack(">i", generation) + wire.string(member)
        return error(call(served.port, 12, 0, body))

    invalid_group_id, unknown_member, session_timeout, inconsistent = 24, 25, 26, 23
    assert join(b"") == invalid_group_id
    assert join(b"g", session=1) == session_timeout
    assert join(b"g", member=b"nobody") == unknown_member
    assert join(b"g", protocol_type=b"") == inconsistent
    # What is no UTF-8 reads as replacement characters, as in Java; 32 KiB is as long as a text can be.
    assert join(b"\xff\xfe", member=b"nobody") == unknown_member
    assert join(b"g" * 32_767, member=b"nobody") == unknown_member
    assert heartbeat("g", 1, "nobody") == unknown_member
    assert heartbeat("", 1, "nobody") == invalid_group_id


def test_offsets_of_version_0_live_in_zookeeper(served, ensemble):
    if not wire.served(served.port).get(8):
        pytest.skip("no groups")
    admin.create_topic(served, "old", 1)
    body = wire.string("old-group") + struct.pack(">i", 1) + wire.string("old")
    body += struct.pack(">iiq", 1, 0, 42) + wire.string("")
    assert call(served.port, 8, 0, body).endswith(struct.pack(">ih", 0, 0))
    asked = wire.string("old-group") + struct.pack(">i", 1) + wire.string("old") + struct.pack(">iii", 2, 0, 1)
    answer = call(served.port, 9, 0, asked)
    assert struct.pack(">iq", 0, 42) in answer
    unknown_partition = 3
    assert answer.endswith(struct.pack(">h", unknown_partition))
    chroot = served.properties["zookeeper.connect"].partition("/")[2]
    with ensemble.client("/" + chroot) as zk:
        assert zk.get("/consumers/old-group/offsets/old/0")[0] == b"42"


def test_the_protocol_of_kip_848_is_refused(served):
    # ConsumerGroupHeartbeat v0 and ConsumerGroupDescribe v0 are flexible: header v2.
    unsupported_version = 35
    with wire.connect(served.port) as s:
        body = b"\x00" + b"\x02g" + b"\x01" + struct.pack(">i", 0) + b"\x00\x00" + struct.pack(">i", -1) + b"\x00\x00\x00\x00"
        s.sendall(wire.request(68, 0, 7, body))
        answer = wire.read_frame(s)
    assert struct.unpack_from(">h", answer, 9)[0] == unsupported_version


def test_offsets_of_a_transaction_count_once_it_is_committed(served):
    if not wire.served(served.port).get(28):
        pytest.skip("no transactions")
    admin.create_topic(served, "sent", 1)
    config = {"bootstrap.servers": served.bootstrap, "transactional.id": "copier", "transaction.timeout.ms": 20_000}
    producer = confluent_kafka.Producer(config)
    producer.init_transactions(30)
    member = confluent_kafka.Consumer({"bootstrap.servers": served.bootstrap, "group.id": "copied"})
    watch = Watch(served.bootstrap, "copied")
    for offset, is_committed in ((5, True), (9, False), (12, True)):
        producer.begin_transaction()
        producer.produce("sent", str(offset).encode())
        listed = [confluent_kafka.TopicPartition("sent", 0, offset)]
        producer.send_offsets_to_transaction(listed, member.consumer_group_metadata(), 30)
        if is_committed:
            producer.commit_transaction(30)
            wait_until(lambda: watch.committed() == {("sent", 0): offset}, f"{offset} is committed")
        else:
            producer.abort_transaction(30)
    member.close()
