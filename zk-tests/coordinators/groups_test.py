"""Consumer groups: stock clients share work, commit, leave, are killed and come back; what lies in __consumer_offsets is
Kafka's to the byte, so that Apache's formatter and an Apache broker on the same directory read it, and the reverse.

How long the histories of kills and pauses last and what they draw is said in harness/faults.py.
"""

import json
import random
import struct
import time

import confluent_kafka
import pytest

from harness import PEER, admin, groups, wire
from harness.broker import Cluster
from harness.faults import PROPERTIES, SECONDS, SEED, Clocks, Faults, Mix
from harness.groups import Member, Watch, check_disjoint, check_one_owner_a_generation
from harness.processes import wait_until
from harness.replicas import wait_in_sync
from harness.transactions import THREE_BROKERS

PARTITIONS = 24
_OFFSETS_TOPIC = "__consumer_offsets"
# What makes rebalances of tests quick.
_SINGLE = {"transaction_state_log_replication_factor": 1, "transaction_state_log_min_isr": 1}
_QUICK = {"group_initial_rebalance_delay_ms": 200, "group_min_session_timeout_ms": 1000}


pytestmark = pytest.mark.timeout(SECONDS + 900)


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


class Storm:
    """A group over three brokers. Members are killed, paused, made to leave and started again: nobody shares a partition, no
    offset goes back, no record is missed, and the group settles."""

    def __init__(self, directory, ensemble, kinds, group):
        self.directory, self.group, self.topic = directory, group, f"storm-{group}"
        self.chance = random.Random(SEED)
        self.cluster, self.clocks = Cluster(directory, ensemble), Clocks(directory)
        for number in (1, 2, 3):
            broker = self.cluster.broker(number, **{**THREE_BROKERS, **PROPERTIES, **_QUICK})
            self.clocks.give(broker)
            broker.launch()
        for broker in self.cluster.brokers:
            broker.wait_ready()
        assignment = [[1 + (p + n) % 3 for n in range(3)] for p in range(PARTITIONS)]
        admin.create_topic(self.cluster.brokers[0], self.topic, assignment=assignment)
        self.produced, self.acts, self.known, self.paused = 0, 0, {}, set()
        self.watch = Watch(self.cluster.bootstrap, group)
        self.members = [self._member(n, *named) for n, named in enumerate(kinds.items())]
        self.watch.wait_stable(len(self.members))

    def _member(self, n, kind, command):
        # Half of those that can are static.
        instance = f"static-{kind}" if kind in groups.STATIC and n % 2 == 0 else None
        where = self.cluster.bootstrap, self.group, self.topic, instance
        return Member(command, self.directory, f"{self.group}-{kind}", *where).start()

    def produce(self):
        produce(self.cluster.bootstrap, self.topic, 5, start=self.produced)
        self.produced += 5

    def go_on(self):
        self.produce()
        state, assigned = self.watch.describe()
        if state == "Stable":
            check_disjoint(assigned)
        offsets = self.watch.committed()
        assert all(offsets.get(tp, -1) >= offset for tp, offset in self.known.items()), (self.known, offsets)
        self.known.update(offsets)

    def settle(self):
        for topic in (_OFFSETS_TOPIC, self.topic):
            wait_in_sync(self.cluster, topic, 3, 120)

    def a_member_acts(self):
        member = self.chance.choice(self.members)
        act = self.chance.choice(["kill", "pause", "resume", "leave", "none"])
        self.acts += act != "none"
        if not member.alive():
            self.paused.discard(member)
            member.start()
        elif act == "kill":
            member.kill()
        elif act == "pause":
            member.pause()
            self.paused.add(member)
        elif act == "resume":
            member.resume()
            self.paused.discard(member)
        elif act == "leave" and member not in self.paused:
            member.leave()

    def check(self):
        for member in self.members:
            member.resume() if member.alive() else member.start()
        healed = time.monotonic()
        check_disjoint(self.watch.wait_stable(len(self.members), PARTITIONS), PARTITIONS)
        settled = time.monotonic() - healed
        # A commit that a rebalance has refused is not sent again by a cooperative member that keeps the partition: the next
        # record's goes past it.
        self.produce()
        wait_until(lambda: is_read(self.members, self.produced), "every record is read")
        expected = {(self.topic, p): self.produced for p in range(PARTITIONS)}
        wait_until(lambda: self.watch.committed() == expected, "every offset is committed")
        check_one_owner_a_generation(self.members)
        records = self.produced * PARTITIONS
        print(f"{self.group}: {self.acts} acts of members, {records} records, settled within {settled:.1f} s")
        for member in self.members:
            member.kill()


def test_clients_of_every_kind_in_one_group_in_a_mixed_storm(directory, ensemble):
    mixed_storm(directory, ensemble, groups.EAGER, "mixed", "every_broker_pauses", SECONDS / 2)


def test_cooperative_members_in_a_mixed_storm(directory, ensemble):
    mixed_storm(directory, ensemble, groups.COOPERATIVE, "cooperative", "sessions_expire", SECONDS / 4)


@pytest.mark.skipif(not SECONDS, reason="longer histories only: ZURAU_STORM_MINUTES=20")
def test_members_that_take_partitions_in_turn_in_a_mixed_storm(directory, ensemble):
    mixed_storm(directory, ensemble, groups.ROUND_ROBIN, "turns", "a_clock_jumps", SECONDS / 4)


def mixed_storm(directory, ensemble, kinds, group, first, seconds):
    storm = Storm(directory, ensemble, kinds, group)
    faults = Faults(storm.cluster, storm.clocks, storm.topic, storm.chance, storm.go_on, storm.settle)
    first = getattr(faults, first)
    mix = Mix(storm.chance, [first], [act for act in faults.all() if act != first], seconds)
    end = time.monotonic() + 5
    while mix.goes_on() or time.monotonic() < end:
        for _ in range(10):
            storm.go_on()
            storm.a_member_acts()
        if mix.goes_on():
            mix.act()
    storm.check()
    faults.check()


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
