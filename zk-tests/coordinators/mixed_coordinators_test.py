"""Coordinators of groups and of transactions move from Apache to Zurau and back in the middle of both kinds of load: each
goes on with what the other wrote into the internal topics, and Apache's formatters read it the same from both.

ZURAU_MIXED_ROUNDS is how often they move there and back, by a stop first and by a kill next. In CI one broker that changes
its kind shows the same for groups and for transactions, each alone.
"""

import json
import os

import pytest

from harness import PEER, groups
from harness.groups import Member, Watch, check_disjoint
from harness.processes import wait_until
from harness.replicas import check_equal, leader_of, wait_in_sync
from harness.storm import PARTITIONS, Storm
from harness.transactions import read_committed

ROUNDS = int(os.environ.get("ZURAU_MIXED_ROUNDS", 0))
CLIENTS = os.environ.get("ZURAU_MIXED_CLIENTS", "java,librdkafka,franz-go").split(",")
OFFSETS, TRANSACTIONS = "__consumer_offsets", "__transaction_state"
FORMATTERS = [
    (OFFSETS, "OffsetsMessageFormatter"),
    (OFFSETS, "GroupMetadataMessageFormatter"),
    (TRANSACTIONS, "TransactionLogMessageFormatter"),
]

pytestmark = [
    pytest.mark.skipif(PEER != "zurau", reason="Apache in Apache's place shows nothing"),
    pytest.mark.skipif(ROUNDS == 0, reason="a minute or more: ZURAU_MIXED_ROUNDS=1"),
    pytest.mark.timeout(600 + 120 * ROUNDS),
]


def printed(tools, bootstrap, topic, formatter):
    """The records of an internal topic as Apache's console consumer prints them."""
    # By partition: a console consumer in a group would write into the topic that it reads.
    which = ("--topic", topic, "--partition", 0, "--offset", "earliest", "--timeout-ms", 10_000)
    where = ("--bootstrap-server", bootstrap, *which)
    named = ("--formatter", f"org.apache.kafka.tools.consumer.{formatter}")
    # One object behind the other, without a line between them.
    text, decoder, records = tools.run("console-consumer", *where, *named).stdout.strip(), json.JSONDecoder(), []
    while text:
        record, end = decoder.raw_decode(text)
        records.append(record)
        text = text[end:].strip()
    return records


def test_coordinators_move_between_apache_and_zurau_under_load(directory, ensemble, apache_tools):
    one = {"offsets_topic_num_partitions": 1, "transaction_state_log_num_partitions": 1}
    storm = Storm(directory, ensemble, ["apache", "zurau", "zurau"], CLIENTS, internal=[1, 2, 3], **one)
    cluster = storm.cluster
    apache = cluster.brokers[0]
    leaders = lambda: {leader_of(cluster, topic, 0).kind for topic in (OFFSETS, TRANSACTIONS)}
    plain = [
        Member(groups.EAGER[kind], directory, f"plain-{kind}", cluster.bootstrap, "plain", "input").start()
        for kind in ("java", "franz-go")
    ]
    watch, known = Watch(cluster.bootstrap, "plain"), {}

    def look():
        """Both share the partitions, and nothing that was committed is gone."""
        check_disjoint(watch.wait_stable(2, PARTITIONS), PARTITIONS)
        committed = watch.committed()
        assert all(committed.get(tp, -1) >= offset for tp, offset in known.items()), (known, committed)
        known.update(committed)

    look()
    for n in range(ROUNDS):
        assert leaders() == {"apache"}
        if n % 2 == 0:
            apache.stop()
        else:
            apache.kill()
            cluster.forget(apache)
        storm.all_go_on()
        assert leaders() == {"zurau"}
        look()
        apache.start()
        # By a preferred election: Zurau gives the coordinators away, and goes on as a follower.
        storm.settle()
        storm.all_go_on()
        look()
    count = storm.check()
    ends = {("input", p): len(values) for p, values in read_committed(cluster, "input", PARTITIONS).items()}
    assert sum(ends.values()) == count
    wait_until(lambda: watch.committed() == ends, "every offset is committed")
    for member in plain:
        member.leave()
    wait_until(lambda: watch.describe()[0] == "Empty", "the group is empty")

    assert leaders() == {"apache"}
    of_apache = [printed(apache_tools, cluster.bootstrap, *asked) for asked in FORMATTERS]
    for records in of_apache:
        # Whoever wrote them, they are of one version.
        values = {r["value"]["version"] for r in records if r["value"] is not None}
        assert len(values) == 1 and len({r["key"]["version"] for r in records}) == 1, values
    for topic in (OFFSETS, TRANSACTIONS):
        wait_in_sync(cluster, topic, 3)
        check_equal(cluster, topic, 1)
    apache.stop()
    assert leaders() == {"zurau"}
    of_zurau = [printed(apache_tools, cluster.bootstrap, *asked) for asked in FORMATTERS]
    assert of_zurau == of_apache
    print(f"{ROUNDS} moves there and back; printed the same: {[len(records) for records in of_apache]} records")
