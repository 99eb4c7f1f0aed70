"""kafka-consumer-groups.sh, the console consumer in groups and on the internal topics, and the verifiable pair beside Apache's: the same calls on the
same Apache cluster print the same and end with the same code."""

import datetime
import json
import time

import confluent_kafka
import pytest

from harness import ZURAU, admin, groups, processes, reader, transactions
from harness.java import java
from tools_test import BS, THEM, US, apache, pair  # noqa: F401: fixtures

CG = f"consumer-groups {BS}"
# The time of the first record. Each is a millisecond after the one before.
BEGIN_MS = int(time.time() * 1000) - 3_600_000


def commit(bootstrap, group, offsets):
    consumer = confluent_kafka.Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    listed = [confluent_kafka.TopicPartition("grouped", p, offset) for p, offset in offsets.items()]
    consumer.commit(offsets=listed, asynchronous=False)
    consumer.close()


@pytest.fixture(scope="module")
def grouped(pair, apache, module_directory):  # noqa: F811
    """A topic with records, a group of offsets alone, and one of two members."""
    admin.create_topic(apache[0], "grouped", 3)
    producer = confluent_kafka.Producer({"bootstrap.servers": pair.bootstrap})
    for n in range(30):
        producer.produce("grouped", str(n).encode(), partition=n % 3, timestamp=BEGIN_MS + n)
    producer.flush(30)
    commit(pair.bootstrap, "still", {0: 3, 1: 10})
    for n in (1, 2):
        instance = "fixed" if n == 1 else None
        groups.Member(groups.STEADY, module_directory, f"busy-{n}", pair.bootstrap, "busy", "grouped", instance).start()
    watch = groups.Watch(pair.bootstrap, "busy")
    watch.wait_stable(2)
    groups.wait_until(lambda: sum(watch.committed().values()) == 30, "all is committed")
    return pair


@pytest.mark.parametrize(
    "line",
    [
        "",
        "--list",
        f"{BS}",
        f"{BS} --list --describe",
        f"{BS} --list --group g",
        f"{BS} --list --members",
        f"{BS} --list --state foo",
        f"{BS} --list --type foo",
        f"{BS} --members",
        f"{BS} --describe",
        f"{BS} --describe --group nope",
        f"{BS} --describe --group nope --members",
        f"{BS} --describe --group nope --state",
        f"{BS} --describe --group g --members --offsets",
        f"{BS} --describe --group g --state stable",
        f"{BS} --describe --group g --all-groups",
        f"{BS} --describe --group g --topic t",
        f"{BS} --delete",
        f"{BS} --delete --group nope",
        f"{BS} --delete --group g --topic t",
        f"{BS} --delete-offsets --group g",
        f"{BS} --delete-offsets --group nope --topic grouped:0",
        f"{BS} --reset-offsets --to-latest",
        f"{BS} --reset-offsets --group still --dry-run --execute",
        f"{BS} --reset-offsets --group still --dry-run --to-latest",
        f"{BS} --reset-offsets --group still --dry-run --topic grouped",
        f"{BS} --reset-offsets --group still --dry-run --topic grouped --to-latest --to-earliest",
        f"{BS} --reset-offsets --group still --dry-run --topic grouped:x --to-latest",
        f"{BS} --reset-offsets --group still --dry-run --topic grouped:2 --shift-by 1",
        f"{BS} --reset-offsets --group busy --dry-run --topic grouped --to-latest",
        f"{BS} --foo",
        "--version",
    ],
)
def test_consumer_groups_refuses_as_apache(grouped, line):
    grouped.same(f"consumer-groups {line}")


@pytest.mark.parametrize(
    "line",
    [
        "--list",
        "--list --state",
        "--list --type",
        "--list --state stable --type classic",
        "--describe --group still",
        "--describe --group busy",
        "--describe --group busy --members",
        "--describe --group busy --members --verbose",
        "--describe --group busy --state",
        "--describe --group still --state",
        "--describe --group still --members",
        "--describe --all-groups --offsets",
    ],
)
def test_consumer_groups_lists_and_describes(grouped, line):
    grouped.same(f"{CG} {line}", sort="all-groups" in line)


@pytest.mark.parametrize(
    "how",
    [
        "--to-earliest",
        "--to-latest",
        "--to-current",
        "--to-offset 5",
        "--to-offset 500",
        "--shift-by -2",
        "--to-datetime {at}",
        "--by-duration P1D",
    ],
)
def test_offsets_are_reset_in_every_way(grouped, how):
    at = datetime.datetime.fromtimestamp((BEGIN_MS + 15) / 1000, datetime.UTC)
    how = how.format(at=at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{(BEGIN_MS + 15) % 1000:03}")
    scope = "--all-topics" if "shift" in how else "--topic grouped"
    grouped.same(f"{CG} --reset-offsets --group still --dry-run {scope} {how}")
    grouped.same(f"{CG} --reset-offsets --group still --dry-run --export {scope} {how}")


def test_a_group_through_a_life(grouped, directory):
    for me in (US, THEM):
        commit(grouped.bootstrap, f"life-{me}", {0: 1, 1: 2, 2: 3})
    grouped.same(f"{CG} --reset-offsets --group life-{{me}} --execute --topic grouped:0,1 --to-offset 7")
    grouped.same(f"{CG} --describe --group life-{{me}}")
    plan = directory / "plan.csv"
    plan.write_text("grouped,0,4\ngrouped,2,99\n")
    grouped.same(f"{CG} --reset-offsets --group life-{{me}} --execute --from-file {plan}")
    grouped.same(f"{CG} --describe --group life-{{me}}")
    grouped.same(f"{CG} --delete-offsets --group life-{{me}} --topic grouped:1")
    grouped.same(f"{CG} --describe --group life-{{me}}")
    grouped.same(f"{CG} --delete --group life-{{me}}")
    grouped.same(f"{CG} --delete --group life-{{me}}")
    grouped.same(f"{CG} --describe --group life-{{me}}")


def test_console_consumer_goes_on_where_its_group_stood(grouped):
    read = f"console-consumer {BS} --topic grouped --group console-{{me}} --from-beginning"
    first = grouped.same(f"{read} --max-messages 30 --timeout-ms 20000", sort=True)
    assert len(first[1]) == 30
    grouped.same(f"{read} --timeout-ms 3000")


@pytest.fixture(scope="module")
def transacted(grouped, apache):  # noqa: F811
    """Transactions in both ends and in none, of ids that share a partition of the topic: over many partitions, and with offsets."""
    admin.create_topic(apache[0], "transacted", 20)
    consumer = confluent_kafka.Consumer({"bootstrap.servers": grouped.bootstrap, "group.id": "in-transactions"})
    for n, transactional_id in enumerate(["tx1", "tx12", "tx1"]):
        producer = transactions.producer(apache[0], transactional_id)
        producer.begin_transaction()
        transactions.send(producer, "transacted", [str(value) for value in range(5 + 15 * n)], 20)
        offsets = [confluent_kafka.TopicPartition("transacted", 0, 1, metadata="grüße")]
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), 30)
        producer.abort_transaction(30) if n == 1 else producer.commit_transaction(30)
    consumer.close()
    return grouped


@pytest.mark.parametrize(
    "topic, name",
    [
        ("__consumer_offsets", "org.apache.kafka.tools.consumer.OffsetsMessageFormatter"),
        ("__consumer_offsets", "org.apache.kafka.tools.consumer.GroupMetadataMessageFormatter"),
        ("__transaction_state", "org.apache.kafka.tools.consumer.TransactionLogMessageFormatter"),
        ("__consumer_offsets", "kafka.coordinator.group.GroupMetadataManager$OffsetsMessageFormatter"),
        ("__consumer_offsets", "kafka.coordinator.group.GroupMetadataManager$GroupMetadataMessageFormatter"),
        ("__transaction_state", "kafka.coordinator.transaction.TransactionLog$TransactionLogMessageFormatter"),
    ],
)
def test_formatters_print_the_internal_topics_as_apaches(transacted, apache, topic, name):  # noqa: F811
    # The partition of the transactional ids, by Kafka's hash.
    partition = 45 if topic == "__transaction_state" else 0
    count = len(reader.read(apache[0], topic, partition + 1)[partition])
    # Of the offsets topic, one of the formatters passes over most.
    where = f"--topic {topic} --partition {partition} --from-beginning --max-messages {count}"
    assert count and transacted.same(f"console-consumer {BS} {where} --formatter {name}")[1]


def test_verifiable_pair_prints_kafkas_events(grouped, apache, directory):  # noqa: F811
    sides = {
        US: lambda kind: [ZURAU, f"verifiable-{kind}"],
        THEM: lambda kind: java("kafka", f"org.apache.kafka.tools.Verifiable{kind.capitalize()}", log4j="tools"),
    }

    def events(me, kind, *args):
        out = directory / f"{kind}-{me}.events"
        with open(out, "wb") as stdout:
            command = [*sides[me](kind), "--bootstrap-server", grouped.bootstrap, "--topic", f"verified-{me}", *args]
            assert processes.run(command, directory / f"{kind}-{me}.log", f"{kind}-{me}", stdout=stdout) == 0
        lines = [json.loads(line) for line in out.read_text().replace(me, "ME").splitlines()]
        for event in lines:
            assert list(event)[:2] == ["timestamp", "name"]
            event.pop("timestamp")
            event.pop("avg_throughput", None)
        return lines

    sent, read = {}, {}
    for me in sides:
        admin.create_topic(apache[0], f"verified-{me}", 1)
        sent[me] = events(me, "producer", "--max-messages", 5, "--value-prefix", 1, "--repeating-keys", 2)
        read[me] = events(me, "consumer", "--group-id", f"verified-{me}", "--max-messages", 5, "--verbose")
    assert sent[US] == sent[THEM]
    # How many records come at once, and so how many events tell of them, is chance.
    told = ("startup_complete", "partitions_assigned", "record_data", "partitions_revoked", "shutdown_complete")
    shown = {me: [event for event in read[me] if event["name"] in told] for me in sides}
    assert shown[US] == shown[THEM]
    for me in sides:
        commits = [event for event in read[me] if event["name"] == "offsets_committed" and event["offsets"]]
        assert commits[-1]["offsets"] == [{"topic": "verified-ME", "partition": 0, "offset": 5}]
