"""Transactions end in one way: with stock producers, over kills of the broker, and from one implementation to the other.

The transactional producers are librdkafka's in this process; loops that read, transform and write in one transaction are
in exactly_once_test. ZURAU_TRANSACTION_ROUNDS is the number of kills.
"""

import os
import random
import re
import threading
import time

import pytest
from confluent_kafka import KafkaError, KafkaException

from harness import PEER, admin
from harness.processes import wait_until
from harness.transactions import ONE_BROKER, Steady, all_values, producer, read_committed, send

TOOL = "org.apache.kafka.tools.TransactionsCommand"
ROUNDS = int(os.environ.get("ZURAU_TRANSACTION_ROUNDS", 5 if PEER == "zurau" else 2))


def start(cluster, kind=None, **properties):
    return cluster.broker(1, kind, **{**ONE_BROKER, **properties}).start()


def table(tools, broker, *args):
    """What kafka-transactions.sh prints: a dictionary a row."""
    out = tools.run(TOOL, "--bootstrap-server", broker.bootstrap, *args).check().stdout
    rows = [line.split("\t") for line in out.splitlines() if line.strip()]
    return [dict(zip((h.strip() for h in rows[0]), (cell.strip() for cell in row))) for row in rows[1:]]


def state_of(tools, broker, transactional_id):
    (row,) = table(tools, broker, "describe", "--transactional-id", transactional_id)
    return row


def test_readers_see_what_was_committed(cluster, apache_tools):
    broker = start(cluster)
    admin.create_topic(broker, "t")
    one = producer(broker, "one")
    one.begin_transaction()
    send(one, "t", ["a1", "a2", "a3"])
    assert all_values(read_committed(broker, "t")) == []
    assert len(all_values(read_committed(broker, "t", isolation="read_uncommitted"))) == 3
    assert state_of(apache_tools, broker, "one")["TransactionState"] == "Ongoing"

    two = producer(broker, "two")
    two.begin_transaction()
    send(two, "t", ["b1", "b2", "b3"])
    two.commit_transaction(30)
    # They lie behind an open transaction.
    assert all_values(read_committed(broker, "t")) == []
    one.abort_transaction(30)
    wait_until(lambda: all_values(read_committed(broker, "t")) == ["b1", "b2", "b3"], "the last stable offset moves")
    assert len(all_values(read_committed(broker, "t", isolation="read_uncommitted"))) == 6
    one.begin_transaction()
    send(one, "t", ["c1"])
    one.commit_transaction(30)
    wait_until(lambda: all_values(read_committed(broker, "t")) == ["b1", "b2", "b3", "c1"], "the next is committed")

    wait_until(lambda: state_of(apache_tools, broker, "one")["TransactionState"] == "CompleteCommit", "complete")
    listed = lambda: {(row["TransactionalId"], row["TransactionState"]) for row in table(apache_tools, broker, "list")}
    wait_until(lambda: listed() == {("one", "CompleteCommit"), ("two", "CompleteCommit")}, "both are complete")
    assert table(apache_tools, broker, "list", "--duration-filter", "100000000") == []
    producers = table(apache_tools, broker, "describe-producers", "--topic", "t", "--partition", "0")
    assert [row["CurrentTransactionStartOffset"] for row in producers] == ["None", "None"]


def test_the_older_of_two_producers_is_fenced(cluster):
    broker = start(cluster)
    admin.create_topic(broker, "t")
    zombie = producer(broker, "same")
    zombie.begin_transaction()
    send(zombie, "t", ["old"])
    successor = producer(broker, "same")
    with pytest.raises(KafkaException) as refused:
        zombie.commit_transaction(30)
    assert refused.value.args[0].code() in (KafkaError._FENCED, KafkaError.PRODUCER_FENCED), refused.value
    successor.begin_transaction()
    send(successor, "t", ["new"])
    successor.commit_transaction(30)
    wait_until(lambda: all_values(read_committed(broker, "t")) == ["new"], "only the successor's records are committed")


def test_a_transaction_that_is_too_old_is_aborted(cluster, apache_tools):
    broker = start(cluster)
    admin.create_topic(broker, "t")
    slow = producer(broker, "slow", timeout_ms=3_000)
    slow.begin_transaction()
    send(slow, "t", ["late"])
    done = lambda: state_of(apache_tools, broker, "slow")["TransactionState"] == "CompleteAbort"
    wait_until(done, "the clock aborts the transaction")
    with pytest.raises(KafkaException):
        slow.commit_transaction(30)
    quick = producer(broker, "quick")
    quick.begin_transaction()
    send(quick, "t", ["in time"])
    quick.commit_transaction(30)
    wait_until(lambda: all_values(read_committed(broker, "t")) == ["in time"], "the last stable offset moves")


@pytest.mark.parametrize("how", ["kill -9", "clean"])
def test_every_transaction_is_there_once_after_restarts(how, cluster):
    broker = start(cluster)
    admin.create_topic(broker, "t")
    steady = [Steady(broker, "t", f"steady-{n}") for n in range(2)]
    chance = random.Random(1)
    for _ in range(ROUNDS if how == "kill -9" else 1):
        for one in steady:
            one.wait_committed(chance.randrange(1, 20))
        if how == "clean":
            broker.stop()
        else:
            broker.kill()
            cluster.forget(broker)
        broker.start()
    for one in steady:
        one.wait_committed(3)
    committed = sorted(value for one in steady for value in one.finish())
    # The clock ends what a killed producer's place-holder may have left.
    wait_until(lambda: len(all_values(read_committed(broker, "t"))) == len(committed), "everything is decided")
    assert all_values(read_committed(broker, "t")) == committed


_LINE = re.compile(r"transaction_metadata::transactionalId=(\S+) payload: producerId:(\d+),producerEpoch:(\d+),state=(\w+)")


def dumped(tools, broker):
    """What Apache's dump tool reads in `__transaction_state`: the last (producer id, epoch, state) of each id."""
    states = {}
    for log in sorted(broker.log_dirs[0].glob("__transaction_state-*/*.log")):
        out = tools.run("dump-log", "--transaction-log-decoder", "--files", log).check().stdout
        for found in _LINE.finditer(out):
            states[found[1]] = found[2], found[3], found[4]
    return states


@pytest.mark.parametrize("first", ["apache", PEER])
def test_one_goes_on_with_the_transactions_of_the_other(first, cluster, apache_tools):
    broker = start(cluster, first)
    admin.create_topic(broker, "t")
    done, open_, aborted = (producer(broker, name) for name in ("done", "open", "aborted"))
    for made, values in ((done, ["d1", "d2", "d3"]), (aborted, ["x1", "x2", "x3"])):
        made.begin_transaction()
        send(made, "t", values)
    done.commit_transaction(30)
    aborted.abort_transaction(30)
    open_.begin_transaction()
    send(open_, "t", ["o1", "o2", "o3"])
    ids = ("done", "open", "aborted")
    settled = {"done": "CompleteCommit", "open": "Ongoing", "aborted": "CompleteAbort"}
    wait_until(
        lambda: {name: state_of(apache_tools, broker, name)["TransactionState"] for name in ids} == settled, "settled"
    )
    before = {name: state_of(apache_tools, broker, name) for name in ids}
    broker.stop()
    states = dumped(apache_tools, broker)
    assert {name: (row["ProducerId"], row["ProducerEpoch"], row["TransactionState"]) for name, row in before.items()} == states

    second = broker.as_kind(PEER if first == "apache" else "apache").start()
    for name in ids:
        after = state_of(apache_tools, second, name)
        for row in (before[name], after):
            row.pop("TransactionDurationMs", None)
            row["TopicPartitions"] = sorted(row["TopicPartitions"].split(","))
        assert after == before[name]
    assert all_values(read_committed(second, "t")) == ["d1", "d2", "d3"]
    # A client that has stayed goes on where it was, with the other broker.
    open_.commit_transaction(60)
    wait_until(lambda: len(all_values(read_committed(second, "t"))) == 6, "the open transaction is committed")
    epoch = int(before["done"]["ProducerEpoch"])
    again = producer(second, "done")
    after = state_of(apache_tools, second, "done")
    assert (after["ProducerId"], int(after["ProducerEpoch"])) == (before["done"]["ProducerId"], epoch + 1)
    again.begin_transaction()
    send(again, "t", ["n1"])
    again.commit_transaction(30)
    wait_until(lambda: len(all_values(read_committed(second, "t"))) == 7, "the next transaction is committed")


def test_a_transaction_whose_end_is_decided_gets_its_markers_after_a_kill(cluster, apache_tools):
    """The coordinator dies at any moment around the end of a transaction: the outcome that the log has is the outcome."""
    broker = start(cluster)
    admin.create_topic(broker, "t")
    chance = random.Random(2)
    committed = []
    made = producer(broker, "torn")
    for n in range(ROUNDS):
        made.begin_transaction()
        values = [f"{n}-{i}" for i in range(3)]
        send(made, "t", values)
        # librdkafka sends EndTxn from a thread of its own; the kill falls before, into or behind it.
        ending = made.commit_transaction
        failed = []
        thread = threading.Thread(target=lambda: failed.append(attempt(ending)))
        thread.start()
        time.sleep(chance.random() * 0.01)
        broker.kill()
        cluster.forget(broker)
        broker.start()
        thread.join(120)
        assert failed == [None], failed
        committed += values
    wait_until(lambda: len(all_values(read_committed(broker, "t"))) >= len(committed), "everything is decided")
    assert all_values(read_committed(broker, "t")) == sorted(committed)


def attempt(commit):
    """Commits until there is an answer that stands."""
    deadline = time.monotonic() + 100
    while True:
        try:
            commit(30)
            return None
        except KafkaException as e:
            if not e.args[0].retriable() or time.monotonic() > deadline:
                return e
