"""Every API in every version, with random and edge requests, to Apache and to the broker under test in the same state:
answers are compared field by field. Where they may differ, `same_answers.txt` says why.

10,000 requests, or as many as 170 s allow. By hand for a day (whichever of COUNT and SECONDS is reached first ends it; another
seed gives other requests; APIs by Kafka's names, all without them):

    ZURAU_COMPARE_COUNT=100000000 ZURAU_COMPARE_SECONDS=86400 ZURAU_COMPARE_SEED=$RANDOM ZURAU_COMPARE_APIS=CreateTopics,Metadata \\
        zk-tests/run -k same_answers
"""

import os
import subprocess

from harness import PEER, ROOT, admin, wire
from harness.broker import Cluster
from harness.java import java
from harness.processes import wait_until

LIST = ROOT / "protocol" / "same_answers.txt"
COUNT = os.environ.get("ZURAU_COMPARE_COUNT", "10000")
SECONDS = os.environ.get("ZURAU_COMPARE_SECONDS", "170")
SEED = os.environ.get("ZURAU_COMPARE_SEED", "1")
APIS = [os.environ["ZURAU_COMPARE_APIS"]] if "ZURAU_COMPARE_APIS" in os.environ else []

TOPICS = {
    "a": {},
    "b": {"partitions": 1},
    "compacted": {"cleanup_policy": "compact"},
    "zstd": {"compression_type": "zstd"},
    "stamped": {"message_timestamp_type": "LogAppendTime"},
    "nodown": {"message_downconversion_enable": "false"},
}


def started(directory, ensemble, kind):
    """A broker alone in its cluster, in the state that requests find."""
    broker = Cluster(directory, ensemble).broker(
        1,
        kind,
        # What a clock decides happens at another time here and there.
        log_cleaner_enable="false",
        log_retention_ms="-1",
        log_initial_task_delay_ms="2678400000",
        group_initial_rebalance_delay_ms="0",
        transaction_state_log_replication_factor="1",
        transaction_state_log_min_isr="1",
        transaction_state_log_num_partitions="3",
    ).start(seconds=180)
    for name, config in TOPICS.items():
        admin.create_topic(broker, name, **config)
    for of_transactions in (False, True):
        wait_until(lambda kind=of_transactions: wire.find_coordinator(broker.port, "x", kind), "the coordinator stands")
    # Apache has no ids at first, and says that it loads.
    wait_until(lambda: wire.init_producer_id(broker.port)[0] == 0, "there are producer ids")
    return broker


def own(broker):
    """What is a broker's own, wherever it stands in an answer."""
    return f"{broker.properties['log.dirs']}|{broker.properties['zookeeper.connect']}"


def test_both_answer_the_same(directory, ensemble):
    brokers = [started(directory / "apache", ensemble, "apache"), started(directory / "tested", ensemble, PEER)]
    run = subprocess.run(
        java(
            "kafka", "CompareAnswers", *(str(b.port) for b in brokers), *(own(b) for b in brokers), SEED, COUNT, SECONDS, LIST, *APIS
        ),
        capture_output=True,
        text=True,
        timeout=int(SECONDS) + 60,
    )
    print(run.stdout[-200_000:])
    assert run.returncode == 0, run.stderr[-5000:]
