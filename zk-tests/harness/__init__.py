"""Real peers for the tests: ZooKeeper servers, brokers of both kinds, Apache's tools, stock clients.

How a test uses it (fixtures are in conftest.py):

    def test_something(broker, tools, records):          # a running broker, of the kind under test
        tools.run("topics", "--bootstrap-server", broker.bootstrap, "--create", "--topic", "t").check()
        clients.run("franz", broker.bootstrap, records, ["produce:zstd:t", "consume:t"])

    def test_of_my_own_broker(cluster):                  # a fresh chroot and directories, nothing started yet
        first = cluster.broker(1, "apache")              # or "zurau"; without a kind: the kind under test
        first.start()                                    # returns when it serves Metadata
        first.kill()                                     # kill -9; `stop()` is SIGTERM and waits for the exit
        first.as_kind("zurau").start()                   # the other kind on the same properties and directories

Tests lie in folders by subject (broker, clients, controller, coordinators, protocol, replication, storage, tools, zookeeper),
each beside what only it uses: kept corpora, Java programs, programs on stock clients.

Rooms: `processes` starts and ends processes, `zookeeper` runs single servers and ensembles, `broker` both kinds of
broker, `tools` Apache's tools in one lasting JVM and ours as processes (`Tools.run` and `OurTools.run` take the same
names and flags), `pair` compares the two, `settled` waits until nothing changes on its own any more, `clients` the stock
clients and the records file, `znodes` dumps trees with a mask, `history` reads every write from a ZooKeeper's log, `disk`
reads the files of a log directory, `wire` speaks raw frames.

What is compared stands still: between two runs of anything nothing of a cluster may change by itself. `Pair` waits for that
before each tool; clocks of brokers that would end what a test looks at are long (`broker.STEADY`, `groups.STEADY`).

Every wait polls a real condition against a deadline. Every process has a log, shown when a test fails; its directory
then stays under zk-tests/.cache/failed/. Processes end with the test run in any case, also when it is killed.

ZURAU_TEST_PEER=apache puts Apache Kafka in the place of the broker under test: so a test proves itself.
"""

import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
REPOSITORY = ROOT.parent
CACHE = ROOT / ".cache"
ZURAU = pathlib.Path(os.environ.get("ZURAU_BIN", REPOSITORY / "target" / "release" / "zurau"))
PEER = os.environ.get("ZURAU_TEST_PEER", "zurau")
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
