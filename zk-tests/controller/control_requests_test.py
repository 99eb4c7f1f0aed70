"""What brokers refuse of a controller, and a controller of brokers, by its code: requests of old terms, of earlier lives of a
broker and of old leader epochs, of foreign topics, with in-sync replicas that are dead or strangers. Nothing changes by
them. `ZURAU_TEST_PEER=apache` proves the codes.
"""

import base64
import json
import struct

import pytest

from harness import wire
from harness.admin import create_topic
from harness.replicas import states, wait_isr

LEADER_AND_ISR, STOP_REPLICA, UPDATE_METADATA, CONTROLLED_SHUTDOWN, ALTER_PARTITION = 4, 5, 6, 7, 56
NONE, UNKNOWN_TOPIC_OR_PARTITION, STALE_CONTROLLER_EPOCH, NOT_CONTROLLER = 0, 3, 11, 41
FENCED_LEADER_EPOCH, STALE_BROKER_EPOCH, INVALID_UPDATE_VERSION, UNKNOWN_TOPIC_ID = 74, 77, 95, 100
INCONSISTENT_TOPIC_ID, INELIGIBLE_REPLICA = 103, 107


def text(value):
    return bytes([len(value) + 1]) + value.encode()


def array(items):
    return bytes([len(items) + 1]) + b"".join(items)


def ints(values):
    return array([struct.pack(">i", value) for value in values])


def ask(broker, api, version, body):
    """Sends a request of a flexible version, and gives what follows the header of the answer."""
    header = struct.pack(">hhi", api, version, 7) + wire.string("test") + b"\0"
    with wire.connect(broker.port) as s:
        s.sendall(struct.pack(">i", len(header) + len(body) + 1) + header + body + b"\0")
        answer = wire.read_frame(s)
    assert struct.unpack_from(">ib", answer) == (7, 0)
    return answer[5:]


class Cluster:
    """Broker 1 is the controller; t-0 is on 2, which leads, 1 and 3, which is dead."""

    def __init__(self, cluster, zk):
        self.zk = zk
        self.one, self.two, three = (cluster.broker(n) for n in (1, 2, 3))
        for broker in (self.one, self.two, three):
            broker.start()
        create_topic(self.one, "t", assignment=[[2, 1, 3]])
        wait_isr(zk, "t", [0], [1, 2, 3])
        three.kill()
        zk.delete("/brokers/ids/3")
        wait_isr(zk, "t", [0], [1, 2])
        padded = json.loads(zk.get("/brokers/topics/t")[0])["topic_id"] + "=="
        self.topic_id = base64.urlsafe_b64decode(padded)
        self.term = int(zk.get("/controller_epoch")[0])

    def state(self):
        data, stat = self.zk.get("/brokers/topics/t/partitions/0/state")
        return json.loads(data), stat.version

    def life(self, number):
        return self.zk.exists(f"/brokers/ids/{number}").czxid

    def control(self, term, life, body, more=b""):
        return struct.pack(">i?iq", 1, False, self.term + term, life) + more + body

    def leader_and_isr(self, term=0, life=0, epoch=1, topic_id=None, replicas=(2, 1, 3)):
        """(code of all, of the partition) of what broker 1 answers. Numbers are over what it knows."""
        state, version = self.state()
        partition = struct.pack(">iiii", 0, self.term + term, 2, state["leader_epoch"] + epoch) + ints([2, 1])
        partition += struct.pack(">i", version) + ints(replicas) + ints([]) + ints([]) + struct.pack(">?bb", False, 0, 0)
        topic = text("t") + (topic_id or self.topic_id) + array([partition]) + b"\0"
        leader = struct.pack(">i", 2) + text("127.0.0.1") + struct.pack(">ib", self.two.port, 0)
        body = self.control(term, self.life(1) + life, array([topic]) + array([leader]), b"\0")
        answer = ask(self.one, LEADER_AND_ISR, 7, body)
        code = struct.unpack_from(">h", answer)[0]
        # One topic: its count, its id, one partition: its count, its index, its code.
        return code, struct.unpack_from(">h", answer, 2 + 1 + 16 + 1 + 4)[0] if answer[2] == 2 else None

    def stop_replica(self, term=0, life=0, epoch=0):
        epoch += self.state()[0]["leader_epoch"]
        topic = text("t") + array([struct.pack(">ii?b", 0, epoch, True, 0)]) + b"\0"
        answer = ask(self.one, STOP_REPLICA, 4, self.control(term, self.life(1) + life, array([topic])))
        code = struct.unpack_from(">h", answer)[0]
        return code, struct.unpack_from(">h", answer, 2 + 1 + 2 + 4)[0] if answer[2] == 2 else None

    def update_metadata(self, term=0, life=0):
        answer = ask(self.one, UPDATE_METADATA, 8, self.control(term, self.life(1) + life, array([]) + array([])))
        return struct.unpack_from(">h", answer)[0]

    def controlled_shutdown(self, number, life):
        return struct.unpack_from(">h", ask(self.one, CONTROLLED_SHUTDOWN, 3, struct.pack(">iq", number, life)))[0]

    def alter_partition(self, isr, life=0, epoch=0, version=0, topic_id=None, to=None, broker=2):
        state, known = self.state()
        members = array([struct.pack(">iqb", member, -1, 0) for member in isr])
        partition = struct.pack(">ii", 0, state["leader_epoch"] + epoch) + members
        partition += struct.pack(">bib", 0, known + version, 0)
        topic = (topic_id or self.topic_id) + array([partition]) + b"\0"
        body = struct.pack(">iq", broker, self.life(2) + life) + array([topic])
        answer = ask(to or self.one, ALTER_PARTITION, 3, body)
        code = struct.unpack_from(">h", answer, 4)[0]
        return code, struct.unpack_from(">h", answer, 4 + 2 + 1 + 16 + 1 + 4)[0] if answer[6] == 2 else None


@pytest.fixture
def here(cluster):
    with cluster.ensemble.client(cluster.chroot) as zk:
        yield Cluster(cluster, zk)


def test_old_and_foreign_requests_change_nothing(here):
    before = here.state()
    strange = bytes(range(16))
    found = {
        "LeaderAndIsr of an old term": here.leader_and_isr(term=-1),
        "LeaderAndIsr of an earlier life": here.leader_and_isr(life=-1),
        "LeaderAndIsr of a later life": here.leader_and_isr(life=1, epoch=0),
        "LeaderAndIsr of a known epoch": here.leader_and_isr(epoch=0),
        "LeaderAndIsr of an old epoch": here.leader_and_isr(epoch=-1),
        "LeaderAndIsr of a foreign topic": here.leader_and_isr(topic_id=strange),
        "LeaderAndIsr without us": here.leader_and_isr(replicas=(2, 3)),
        "StopReplica of an old term": here.stop_replica(term=-1),
        "StopReplica of an earlier life": here.stop_replica(life=-1),
        "StopReplica of an old epoch": here.stop_replica(epoch=-1),
        "UpdateMetadata of an old term": here.update_metadata(term=-1),
        "UpdateMetadata of an earlier life": here.update_metadata(life=-1),
        "ControlledShutdown of an earlier life": here.controlled_shutdown(2, here.life(2) - 1),
        "AlterPartition of an earlier life": here.alter_partition([2], life=-1),
        "AlterPartition of an old epoch": here.alter_partition([2], epoch=-1),
        "AlterPartition of a later epoch": here.alter_partition([2], epoch=1),
        "AlterPartition over an old version": here.alter_partition([2], version=-1),
        "AlterPartition over a later version": here.alter_partition([2], version=1),
        "AlterPartition of a foreign topic": here.alter_partition([2], topic_id=strange),
        "AlterPartition with a dead broker": here.alter_partition([2, 1, 3]),
        "AlterPartition with a stranger": here.alter_partition([2, 9]),
        "AlterPartition of a stranger": here.alter_partition([2], broker=9),
        "AlterPartition to who is not the controller": here.alter_partition([2], to=here.two),
    }
    assert found == {
        "LeaderAndIsr of an old term": (STALE_CONTROLLER_EPOCH, STALE_CONTROLLER_EPOCH),
        "LeaderAndIsr of an earlier life": (STALE_BROKER_EPOCH, STALE_BROKER_EPOCH),
        "LeaderAndIsr of a later life": (NONE, STALE_CONTROLLER_EPOCH),
        "LeaderAndIsr of a known epoch": (NONE, STALE_CONTROLLER_EPOCH),
        "LeaderAndIsr of an old epoch": (NONE, STALE_CONTROLLER_EPOCH),
        "LeaderAndIsr of a foreign topic": (NONE, INCONSISTENT_TOPIC_ID),
        "LeaderAndIsr without us": (NONE, UNKNOWN_TOPIC_OR_PARTITION),
        "StopReplica of an old term": (STALE_CONTROLLER_EPOCH, None),
        "StopReplica of an earlier life": (STALE_BROKER_EPOCH, None),
        "StopReplica of an old epoch": (NONE, FENCED_LEADER_EPOCH),
        "UpdateMetadata of an old term": STALE_CONTROLLER_EPOCH,
        "UpdateMetadata of an earlier life": STALE_BROKER_EPOCH,
        "ControlledShutdown of an earlier life": STALE_BROKER_EPOCH,
        "AlterPartition of an earlier life": (STALE_BROKER_EPOCH, None),
        "AlterPartition of an old epoch": (NONE, FENCED_LEADER_EPOCH),
        "AlterPartition of a later epoch": (NONE, NOT_CONTROLLER),
        "AlterPartition over an old version": (NONE, INVALID_UPDATE_VERSION),
        "AlterPartition over a later version": (NONE, NOT_CONTROLLER),
        "AlterPartition of a foreign topic": (NONE, UNKNOWN_TOPIC_ID),
        "AlterPartition with a dead broker": (NONE, INELIGIBLE_REPLICA),
        "AlterPartition with a stranger": (NONE, INELIGIBLE_REPLICA),
        "AlterPartition of a stranger": (STALE_BROKER_EPOCH, None),
        "AlterPartition to who is not the controller": (NOT_CONTROLLER, None),
    }
    assert here.state() == before
    assert states(here.zk, "t")[0]["isr"] == before[0]["isr"]
    assert here.one.partition("t", 0).exists()
