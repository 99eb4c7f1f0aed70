"""`zurau doctor`: nothing to say about a cluster that is well, and the reason for each thing that is not."""

import subprocess

from harness import ZURAU, admin
from harness.processes import wait_until


def doctor(*args):
    done = subprocess.run([ZURAU, "doctor", *args], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def test_a_cluster_that_is_well_and_then_is_not(cluster):
    broker = cluster.broker(1).start()
    admin.create_topic(broker, "fine", partitions=2)
    at = ("--zookeeper", cluster.ensemble.hosts + cluster.chroot)
    code, out, err = doctor(*at)
    assert (code, err) == (0, ""), out + err
    assert "brokers 1; controller 1" in out and out.endswith("Nothing is wrong.\n")

    with cluster.ensemble.client(cluster.chroot) as zk:
        zk.create("/brokers/topics/wide", b'{"version":1,"partitions":{"0":[1,9]}}')
        zk.create("/brokers/topics/away", b'{"version":1,"partitions":{"0":[9]}}')
        wait_until(lambda: zk.exists("/brokers/topics/wide/partitions/0/state"), "the partition is led")
        zk.create("/brokers/topics/odd", b"no json")
        moves = b'{"version":1,"partitions":[{"topic":"wide","partition":0,"replicas":[1],"log_dirs":["any"]}]}'
        zk.create("/admin/reassign_partitions", moves)
        zk.create("/config/users/large", b"x" * 900_000)
        # A broker that has advertised what is not its own, and one that nobody runs.
        registration, _ = zk.get("/brokers/ids/1")
        zk.create("/brokers/ids/5", registration, ephemeral=True)
        elsewhere = registration.replace(str(broker.port).encode(), b"1").replace(b"127.0.0.1", b"127.0.0.2")
        zk.create("/brokers/ids/6", elsewhere, ephemeral=True)
        code, out, err = doctor(*at)
        assert (code, err) == (1, ""), out + err
        for part in (
            "ERROR 1 partition(s) (away-0) no leader: no replica was alive",
            "WARN 1 partition(s) (wide-0) under-replicated: broker 9 is not registered",
            "ERROR /brokers/topics/odd cannot be read (malformed znode: not JSON",
            "WARN /admin/reassign_partitions cannot be read (malformed znode: unknown key log_dirs)",
            "WARN /config/users/large has 900000 bytes, near the limit of 1048575",
            "ERROR brokers 1, 5 advertise the same address 127.0.0.1:",
            "of broker 5 leads to another broker (",
            "ERROR clients cannot reach broker 6 at its advertised address PLAINTEXT://127.0.0.2:1: ",
        ):
            assert part in out, f"{part!r} is not in\n{out}"


def test_a_directory_of_another_cluster(cluster):
    """The broker refuses to start, and the doctor says the same before it is tried: both ids, and where they stand."""
    broker = cluster.broker(1).start()
    assert broker.stop() == 143
    meta = broker.log_dirs[0] / "meta.properties"
    ours = next(line.split("=")[1] for line in meta.read_text().splitlines() if line.startswith("cluster.id="))
    meta.write_text(meta.read_text().replace(ours, "AAAAAAAAAAAAAAAAAAAAAA"))
    code, out, _ = doctor("--config", broker.file)
    assert code == 1
    code, log = broker.refuses_to_start()
    assert code == 1
    for text in (out, log):
        for part in (ours, "AAAAAAAAAAAAAAAAAAAAAA", "/cluster/id", str(broker.log_dirs[0])):
            assert part in text, f"{part} is not in\n{text}"


def test_where_no_cluster_is(ensemble):
    code, _, err = doctor("--zookeeper", "127.0.0.1:1")
    assert code == 1 and err.startswith("ZooKeeper at 127.0.0.1:1: ")
    code, out, _ = doctor("--zookeeper", ensemble.hosts + "/nothing-here")
    assert code == 1 and "no broker is registered" in out
