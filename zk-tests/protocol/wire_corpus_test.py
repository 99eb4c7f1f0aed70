"""Every message in every version, as our encoder wrote it into the kept corpus, read and written by Kafka's own classes."""

import subprocess

from harness import ROOT
from harness.java import java

VALID = ROOT / "protocol" / "corpus" / "valid.txt"


def test_kafkas_classes_read_and_write_every_message_as_we_do():
    run = subprocess.run(java("kafka", "WireCorpus", VALID), capture_output=True, text=True, timeout=60)

    assert (run.returncode, run.stdout) == (0, ""), run.stderr
