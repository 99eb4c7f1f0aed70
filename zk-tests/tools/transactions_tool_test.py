"""kafka-transactions.sh beside Apache's, on one Apache broker: the same calls print the same and end with the same code.
Two transactions hang, one for each tool to abort."""

import re
import shutil

import pytest

from harness import admin, tools
from harness.broker import STEADY, Cluster
from harness.processes import wait_until
from harness.transactions import ONE_BROKER, producer, read_committed, send


@pytest.fixture(scope="module")
def apache(module_directory, ensemble):
    cluster = Cluster(module_directory, ensemble)
    broker = cluster.broker(1, "apache", **ONE_BROKER, **STEADY).start()
    admin.create_topic(broker, "hanging", partitions=2)
    admin.create_topic(broker, "t")
    hanging = producer(broker, "lost")
    hanging.begin_transaction()
    send(hanging, "hanging", ["0", "1"], partitions=2)
    # The coordinator forgets what it has begun: nobody is going to end it.
    broker.kill()
    cluster.forget(broker)
    for log in broker.log_dirs[0].glob("__transaction_state-*"):
        shutil.rmtree(log)
    broker.start()
    # The clock does not end what the tools look at.
    done, open_ = (producer(broker, name, timeout_ms=900_000) for name in ("done", "open"))
    for made in (done, open_):
        made.begin_transaction()
        send(made, "t", ["a", "b", "c"])
    done.commit_transaction(30)
    both = Both(broker, apache_side := tools.Tools(module_directory / "tools"))
    wait_until(lambda: "CompleteCommit" in both.one(apache_side, "describe --transactional-id done").stdout, "settled")
    yield both
    apache_side.close()
    broker.kill()


class Both:
    def __init__(self, broker, theirs):
        self.broker = broker
        self.ours, self.theirs = tools.OurTools(), theirs

    def one(self, side, line):
        name = "transactions" if side is self.ours else "org.apache.kafka.tools.TransactionsCommand"
        return side.run(name, "--bootstrap-server", self.broker.bootstrap, *line.split())

    def same(self, line):
        ours, theirs = (told(self.one(side, line)) for side in (self.ours, self.theirs))
        assert ours == theirs
        return ours


def told(result):
    """Without how long something has lasted, and without help and stacks behind a message."""
    out = []
    for line in result.stdout.splitlines():
        cells = line.split("\t")
        if len(cells) == 10 and cells[7].strip().isdigit():
            cells[7] = "DURATION"
        out.append("\t".join(cells))
    errors = [line for line in result.stderr.splitlines() if not re.match(r"\[|\s+at |usage:| {20}", line)]
    return result.exit, sorted(out), errors


@pytest.mark.parametrize(
    "line",
    [
        "list",
        "list --duration-filter 1000000",
        "list --duration-filter 0",
        "describe --transactional-id done",
        "describe --transactional-id open",
        "describe --transactional-id nobody",
        "describe-producers --topic t --partition 0",
        "describe-producers --topic t --partition 1 --broker-id 1",
        "describe-producers --topic hanging --partition 1",
        "find-hanging",
        "find-hanging --partition 1",
        "find-hanging --topic hanging",
        "find-hanging --topic hanging --max-transaction-timeout 0",
        "find-hanging --topic hanging --partition 1 --max-transaction-timeout 0",
        "find-hanging --broker-id 1 --max-transaction-timeout 0",
        "abort --topic hanging --partition 0",
        "abort --topic hanging --partition 0 --start-offset 99",
        "abort --topic hanging --partition 0 --producer-id 5",
        "abort --topic hanging --partition 0 --producer-id 5 --producer-epoch 1",
    ],
)
def test_both_tools_tell_the_same(apache, line):
    apache.same(line)


@pytest.mark.parametrize(
    "line",
    [
        "describe",
        "describe-producers --topic t",
        "describe-producers --topic t --partition x",
        "list --foo",
        "nonsense",
    ],
)
def test_both_tools_refuse_the_same(apache, line):
    ours, theirs = apache.one(apache.ours, line), apache.one(apache.theirs, line)
    assert (ours.exit, ours.stdout) == (theirs.exit, theirs.stdout)
    # Lines are broken to fit a terminal.
    errors = [" ".join(side.stderr.split()).partition("error: ")[2] for side in (ours, theirs)]
    assert errors[0] == errors[1] != ""


def test_hanging_transactions_are_aborted(apache):
    _, rows, _ = apache.same("find-hanging --topic hanging --max-transaction-timeout 0")
    assert len(rows) == 3
    assert sum(map(len, read_committed(apache.broker, "hanging", 2).values())) == 0
    for side, partition in ((apache.ours, 0), (apache.theirs, 1)):
        ended = apache.one(side, f"abort --topic hanging --partition {partition} --start-offset 0")
        assert (ended.exit, ended.stdout) == (0, ""), ended
    _, rows, _ = apache.same("find-hanging --topic hanging --max-transaction-timeout 0")
    assert len(rows) == 1
    apache.same("abort --topic hanging --partition 1 --start-offset 0")
