"""Two brokers on one log directory: the second is refused, whichever kinds the two are, and the first does not notice."""

import copy

import pytest

from harness import PEER, admin
from harness.load import Load, check_stored
from harness.processes import free_port
from harness.reader import read

PAIRS = [("apache", "apache"), ("apache", PEER), (PEER, "apache"), (PEER, PEER)]


@pytest.mark.parametrize(("first", "second"), dict.fromkeys(PAIRS))
def test_second_broker_on_a_directory_is_refused(first, second, cluster, directory):
    holder = cluster.broker(1, first).start()
    admin.create_topic(holder, "t")
    load = Load(holder, "t", directory)
    load.wait_acknowledged(100)
    intruder = copy.copy(holder).as_kind(second)
    port = free_port()
    intruder.directory = directory / "intruder"
    intruder.directory.mkdir()
    intruder.properties = {**holder.properties, "listeners": f"PLAINTEXT://127.0.0.1:{port}"}

    code, output = intruder.refuses_to_start()

    assert code == 1
    assert "Failed to acquire lock on file .lock in" in output
    load.wait_acknowledged(1000)
    check_stored(load.finish(), read(holder, "t"))
