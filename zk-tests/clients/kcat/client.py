"""Drives kcat; its command line is that of clients/python/records.py.

Each partition is written by a kcat of its own from its lines of the records file.
"""

import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "python"))
import records


def produce(bootstrap, codec, topic, lines):
    for p in range(records.PARTITIONS):
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"".join(b"%b\t%b\n" % line for line in lines[p :: records.PARTITIONS]))
            file.flush()
            subprocess.run(
                ["kcat", "-P", "-b", bootstrap, "-t", topic, "-p", str(p), "-z", codec, "-K", "\\t", "-l", file.name,
                 "-X", "enable.idempotence=true", "-X", "linger.ms=5"],
                check=True, timeout=records.DEADLINE_SECONDS,
            )  # fmt: skip


def consume(bootstrap, topic, digest):
    for p in range(records.PARTITIONS):
        read = subprocess.run(
            ["kcat", "-C", "-q", "-e", "-b", bootstrap, "-t", topic, "-p", str(p), "-o", "beginning", "-f", "%o\t%k\t%s\n"],
            check=True, timeout=records.DEADLINE_SECONDS, stdout=subprocess.PIPE,
        ).stdout  # fmt: skip
        for line in read.splitlines():
            offset, key, value = line.split(b"\t", 2)
            digest.add(p, int(offset), key, value)
    if digest.missing:
        raise ValueError(f"{digest.missing} records missing")


records.main(produce, consume)
