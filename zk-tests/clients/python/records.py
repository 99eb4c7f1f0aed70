"""What the Python clients share: the records file, the digest of what was read, and the command line.

    CLIENT BOOTSTRAP RECORDS_FILE (produce:CODEC:TOPIC | consume:TOPIC)...

Line i of the file is `key TAB value` and goes to partition i modulo PARTITIONS. Each action prints one JSON line.
"""

import hashlib
import json
import sys

PARTITIONS = 3
DEADLINE_SECONDS = 120


class Digest:
    """Per partition the number of records and a hash over them in the order of offsets."""

    def __init__(self, expected):
        self.missing = expected
        self._next = [0] * PARTITIONS
        self._hashes = [hashlib.sha256() for _ in range(PARTITIONS)]

    def add(self, partition, offset, key, value):
        if offset != self._next[partition]:
            raise ValueError(f"partition {partition}: offset {offset} where {self._next[partition]} was due")
        self._next[partition] += 1
        self._hashes[partition].update(b"%b\t%b\n" % (key, value))
        self.missing -= 1

    def summary(self):
        return {
            str(p): {"records": self._next[p], "next_offset": self._next[p], "sha256": self._hashes[p].hexdigest()}
            for p in range(PARTITIONS)
        }


def load(path):
    with open(path, "rb") as lines:
        return [tuple(line.rstrip(b"\n").split(b"\t", 1)) for line in lines]


def main(produce, consume):
    """Runs the actions; `produce(bootstrap, codec, topic, records)`, `consume(bootstrap, topic, digest)`."""
    bootstrap, path, *actions = sys.argv[1:]
    records = load(path)
    for action in actions:
        words = action.split(":")
        out = {"action": action}
        if words[0] == "produce":
            produce(bootstrap, words[1], words[2], records)
        else:
            digest = Digest(len(records))
            consume(bootstrap, words[1], digest)
            out["partitions"] = digest.summary()
        print(json.dumps(out), flush=True)
