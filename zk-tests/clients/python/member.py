"""What the group members of all Python clients share: the command line, and events as Kafka's VerifiableConsumer prints them.

    *_member.py BOOTSTRAP GROUP TOPIC [INSTANCE]
"""

import json
import signal
import sys
import time

BATCH = 500


def arguments():
    bootstrap, group, topic, *instance = sys.argv[1:]
    return bootstrap, group, topic, instance[0] if instance else None


class Stop:
    """Set by SIGTERM: the member leaves its group."""

    def __init__(self):
        self.asked = False
        signal.signal(signal.SIGTERM, self._ask)

    def _ask(self, *_):
        self.asked = True


def event(name, **fields):
    print(json.dumps({"timestamp": int(time.time() * 1000), "name": name, **fields}), flush=True)


def partitions(name, topic_partitions):
    event(name, partitions=[{"topic": tp.topic, "partition": tp.partition} for tp in topic_partitions])


def consumed(records):
    """`records`: (topic, partition, offset). Prints what came, and gives the offsets to commit."""
    ranges = {}
    for topic, partition, offset in records:
        first, _, count = ranges.get((topic, partition), (offset, offset, 0))
        ranges[topic, partition] = (first, offset, count + 1)
    summaries = [
        {"topic": t, "partition": p, "count": n, "minOffset": first, "maxOffset": last}
        for (t, p), (first, last, n) in ranges.items()
    ]
    event("records_consumed", count=len(records), partitions=summaries)
    return {tp: last + 1 for tp, (_, last, _) in ranges.items()}


def committed(offsets, error=None):
    shown = [{"topic": t, "partition": p, "offset": o} for (t, p), o in offsets.items()]
    event("offsets_committed", offsets=shown, success=error is None, **({"error": str(error)} if error else {}))
