"""What ZooKeeper says is not lost: settings that change while the session ends, an ensemble that is restored or comes back
empty, a name with several addresses, names of topics that were just deleted."""

import json
import shutil
import socket

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from harness import PEER, ZURAU, admin, reader, replicas, wire
from harness.broker import STEADY, Cluster
from harness.java import java
from harness.processes import Process, wait_until
from harness.proxy import Proxy
from harness.zookeeper import Ensemble

BEYOND_APACHE = pytest.mark.skipif(PEER == "apache", reason="Apache's broker does not do this")


def _behind(cluster, proxy, **properties):
    """A broker that reaches ZooKeeper through a proxy."""
    properties = {"zookeeper_connect": f"127.0.0.1:{proxy.port}{cluster.chroot}", **properties}
    return cluster.broker(1, **properties)


def _set_config(zk, topic, **settings):
    config = {key.replace("_", "."): str(value) for key, value in settings.items()}
    zk.set(f"/config/topics/{topic}", json.dumps({"version": 1, "config": config}).encode())
    change = json.dumps({"version": 2, "entity_path": f"topics/{topic}"}).encode()
    return zk.create("/config/changes/config_change_", change, sequence=True)


def _takes_5000_bytes(broker):
    """Whether a record of that size is taken: `max.message.bytes` as it counts now."""
    producer = Producer({"bootstrap.servers": broker.bootstrap, "message.timeout.ms": 20_000})
    errors = []
    producer.produce("t", b"x" * 5_000, on_delivery=lambda error, _: errors.append(error))
    producer.flush(30)
    if errors[0] is not None and errors[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
        raise RuntimeError(str(errors[0]))
    return errors[0] is None


@pytest.mark.parametrize("purged", [False, pytest.param(True, marks=BEYOND_APACHE)])
def test_a_setting_that_changes_while_the_session_ends_is_taken_over(cluster, purged):
    """Also when its notification is old, and gone, before the broker is back."""
    proxy = Proxy(cluster.ensemble.servers[0].port)
    broker = _behind(cluster, proxy).start()
    admin.create_topic(broker, "t", partitions=1)
    assert _takes_5000_bytes(broker)
    with cluster.ensemble.client(cluster.chroot) as zk:
        proxy.cut()
        wait_until(lambda: not zk.exists("/brokers/ids/1"), "the session ends", 60)
        notification = _set_config(zk, "t", max_message_bytes=1_000)
        if purged:
            zk.delete(notification)
        proxy.heal()
        wait_until(lambda: zk.exists("/brokers/ids/1"), "the broker is back", 60)
        wait_until(lambda: not _takes_5000_bytes(broker), "the setting counts", 60)
        # And the next ones, in the new session.
        _set_config(zk, "t", max_message_bytes=100_000)
        wait_until(lambda: _takes_5000_bytes(broker), "the next setting counts", 60)
    proxy.close()


@BEYOND_APACHE
def test_a_name_is_free_once_its_deletion_is_answered(running):
    client = AdminClient({"bootstrap.servers": running.bootstrap})
    for _ in range(25):
        client.create_topics([NewTopic("again", num_partitions=8, replication_factor=1)])["again"].result(60)
        admin.wait_led(running, "again", 8)
        client.delete_topics(["again"], operation_timeout=30)["again"].result(60)


def test_a_deletion_that_waits_for_a_broker_answers_at_once(cluster):
    first, second = cluster.broker(1).start(), cluster.broker(2).start()
    admin.create_topic(first, "t", assignment=[[1, 2]])
    second.kill()
    wait_until(lambda: 2 not in wire.metadata(first.port)[0], "the broker is gone", 60)
    client = AdminClient({"bootstrap.servers": first.bootstrap, "socket.timeout.ms": 60_000})
    # Well within what the request allows for.
    client.delete_topics(["t"], operation_timeout=300, request_timeout=30)["t"].result(60)
    with cluster.ensemble.client(cluster.chroot) as zk:
        assert zk.exists("/admin/delete_topics/t")


def test_a_deletion_is_answered_while_a_replica_is_away(cluster):
    """Once the metadata has forgotten the topic, as Kafka does, and also where the controller is faster than the task of the
    request: this deletion ends when the replica is back. Clients give up on an answer after a minute."""
    one, two = (cluster.broker(number).start() for number in (1, 2))
    topics = [f"t{n}" for n in range(60)]
    client = AdminClient({"bootstrap.servers": one.bootstrap})
    placed = [NewTopic(topic, replica_assignment=[[1, 2]], num_partitions=1) for topic in topics]
    for future in client.create_topics(placed).values():
        future.result(30)
    two.stop()
    # In one request: the first topics are forgotten before the last deletion is asked for.
    for future in client.delete_topics(topics).values():
        future.result(20)
    two.start()
    with cluster.ensemble.client(cluster.chroot) as zk:
        wait_until(lambda: not zk.get_children("/admin/delete_topics"), "the deletions have ended")


def _launch_with_hosts(broker, hosts):
    """Starts a broker that alone sees this /etc/hosts."""
    broker.file.write_text("".join(f"{k}={v}\n" for k, v in broker.properties.items()))
    command = java("kafka", "kafka.Kafka", broker.file) if broker.kind == "apache" else [ZURAU, "broker", broker.file]
    own = broker.directory / "hosts"
    own.write_text(hosts)
    script = 'mount --bind "$0" /etc/hosts && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", script, own, *command]
    broker.process = Process(command, broker.directory / "named.log", "broker with hosts of its own")
    if broker.process.output().startswith("unshare:"):
        pytest.skip("this machine has no mount namespaces")
    return broker.wait_ready(90)


def _creates(broker, name):
    try:
        admin.create_topic(broker, name)
    except KafkaException:
        return False
    return True


def test_all_addresses_of_a_name_are_tried(directory):
    """One takes connections and says nothing, as a server that hangs; both at the start and when the connection breaks."""
    ensemble = Ensemble(directory / "zookeeper").start()
    proxy = Proxy(ensemble.servers[0].port, host="127.0.0.9")
    # The system's resolver puts this address first, whatever the order in the file.
    mute = socket.create_server(("127.0.0.1", proxy.port))
    cluster = Cluster(directory, ensemble)
    broker = cluster.broker(1, zookeeper_connect=f"zk.test:{proxy.port}{cluster.chroot}")
    hosts = "127.0.0.9 zk.test\n127.0.0.1 zk.test\n127.0.0.1 localhost\n"
    _launch_with_hosts(broker, hosts)
    admin.create_topic(broker, "t")
    for round_number in range(2):
        ensemble.servers[0].kill()
        ensemble.servers[0].start()
        # A node of a session that has ended may still be there: it is back once it can create topics.
        wait_until(lambda: _creates(broker, f"after-{round_number}"), "the broker is back", 90)
    broker.stop()
    mute.close()
    proxy.close()
    ensemble.stop()


def _copy_of(server, directory):
    copy = directory / "copy"
    shutil.copytree(server.data, copy)
    return copy


def _bring_back(server, copy):
    shutil.rmtree(server.data)
    if copy:
        shutil.copytree(copy, server.data)
    else:
        server.data.mkdir()
    server.start()


@BEYOND_APACHE
def test_an_ensemble_restored_from_an_older_copy_is_joined_again(directory):
    ensemble = Ensemble(directory / "zookeeper").start()
    (server,) = ensemble.servers
    cluster = Cluster(directory, ensemble)
    broker = cluster.broker(1).start()
    admin.create_topic(broker, "t")
    broker.stop()
    server.stop()
    copy = _copy_of(server, directory)
    server.start()
    broker.start()
    for n in range(10):
        admin.create_topic(broker, f"later-{n}")
    server.kill()
    _bring_back(server, copy)
    with ensemble.client(cluster.chroot) as zk:
        wait_until(lambda: zk.exists("/brokers/ids/1") and zk.exists("/controller"), "the broker is registered", 120)
        assert zk.get_children("/brokers/topics") == ["t"]
    assert "ZooKeeper refuses our session and takes a new one" in broker.process.output()
    admin.create_topic(broker, "after")
    assert broker.partition("later-0", 0).is_dir(), "records of topics that the copy does not know are kept"
    broker.stop()
    ensemble.stop()


def _acknowledged(brokers, topic, values):
    """Has every one of these records acknowledged by all replicas in sync."""
    bootstrap = ",".join(broker.bootstrap for broker in brokers)
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "message.timeout.ms": 90_000})
    errors = []
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _: errors.append(error))
    producer.flush(100)
    assert errors == [None] * len(values)


def _new_producer_id(broker):
    answers = []

    def given():
        answers.append(wire.init_producer_id(broker.port))
        return answers[-1][0] == 0

    wait_until(given, "a producer id is given out", 60)
    return answers[-1][1]


def _epochs(zk, topic):
    return {partition: state["leader_epoch"] for partition, state in replicas.states(zk, topic).items()}


@BEYOND_APACHE
def test_an_ensemble_that_is_elections_behind_its_brokers_is_taken_up_by_a_higher_epoch(directory):
    """While the brokers run on; Apache's refuse every controller from then on, until they are started again."""
    ensemble = Ensemble(directory / "zookeeper").start()
    (server,) = ensemble.servers
    cluster = Cluster(directory, ensemble)
    brokers = [cluster.broker(n, auto_leader_rebalance_enable="false").start() for n in (1, 2)]
    assignment = [[1, 2], [2, 1], [1, 2], [2, 1]]
    admin.create_topic(brokers[0], "t", assignment=assignment)
    values = [f"{n}" for n in range(400)]
    _acknowledged(brokers, "t", values[:100])
    server.stop()
    copy = _copy_of(server, directory)
    server.start()
    with ensemble.client(cluster.chroot) as zk:
        wait_until(lambda: zk.exists("/controller"), "there is a controller", 60)
        first_epoch = int(zk.get("/controller_epoch")[0])
        for round_number in range(1, 4):
            gone = replicas.controller_of(cluster)
            (other,) = [broker for broker in brokers if broker is not gone]
            gone.kill()
            cluster.forget(gone)
            replicas.wait_isr(zk, "t", range(4), [other.number])
            # Acknowledged by one alone: what the copy has for the ISR, both, is not enough to elect from.
            _acknowledged([other], "t", values[100 * round_number : 100 * round_number + 50])
            gone.start()
            replicas.wait_in_sync(cluster, "t", 2)
            _acknowledged(brokers, "t", values[100 * round_number + 50 : 100 * round_number + 100])
        admin.create_topic(brokers[0], "later", assignment=[[1, 2]])
        _acknowledged(brokers, "later", ["kept"])
        producer_id = _new_producer_id(brokers[0])
        before, last_epoch = _epochs(zk, "t"), int(zk.get("/controller_epoch")[0])
        assert last_epoch >= first_epoch + 3
    server.kill()
    _bring_back(server, copy)
    with ensemble.client(cluster.chroot) as zk:
        assert int(zk.get("/controller_epoch")[0]) == first_epoch

        def is_taken_up():
            led = {p: s for p, s in replicas.states(zk, "t").items() if s["leader"] >= 0 and len(s["isr"]) == 2}
            return len(led) == 4 and all(state["leader_epoch"] > before[p] for p, state in led.items())

        wait_until(is_taken_up, "all partitions are led again, in later epochs, and in sync", 60)
        assert int(zk.get("/controller_epoch")[0]) > last_epoch
        assert "later" not in zk.get_children("/brokers/topics")
    output = "".join(broker.process.output() for broker in brokers)
    assert "ZooKeeper's controller epoch is below what this broker has heard" in output
    assert "ZooKeeper's partition states are older than what this broker was told" in output
    _acknowledged(brokers, "t", ["after"])
    # Two producers of one id are taken for one: the second one's records are answered as duplicates and dropped.
    gone.kill()
    gone.start()
    assert _new_producer_id(gone) > producer_id + 1_000_000
    read = [record.value.decode() for records in reader.read(brokers[0], "t", 4).values() for record in records]
    assert sorted(read) == sorted([*values, "after"])
    # The next failover is one as always.
    gone = replicas.controller_of(cluster)
    (other,) = [broker for broker in brokers if broker is not gone]
    gone.kill()
    cluster.forget(gone)
    with ensemble.client(cluster.chroot) as zk:
        replicas.wait_isr(zk, "t", range(4), [other.number])
    _acknowledged([other], "t", ["and after"])
    gone.start()
    replicas.wait_in_sync(cluster, "t", 2)
    # A topic that the copy does not know is served until its broker is started again, and no broker deletes its records.
    for broker in brokers:
        broker.stop()
        broker.start()
    replicas.wait_in_sync(cluster, "t", 2)
    for broker in brokers:
        assert any(file.stat().st_size for file in broker.partition("later", 0).glob("*.log"))
    admin.create_topic(brokers[0], "later", assignment=[[1, 2]])
    replicas.wait_in_sync(cluster, "later", 2)
    for broker in brokers:
        (aside,) = broker.partition("later", 0).parent.glob("later-0.*-stray")
        assert any(file.stat().st_size for file in aside.glob("*.log"))
        broker.stop()
    ensemble.stop()


@BEYOND_APACHE
def test_brokers_whose_sessions_are_in_the_older_copy_take_it_up_by_a_higher_epoch(directory):
    """Three servers elect a leader when they start, and so count beyond what the brokers have seen: they resume the sessions of
    the copy, and no broker begins a new one."""
    ensemble = Ensemble(directory / "zookeeper", 3).start()
    cluster = Cluster(directory, ensemble)
    brokers = [cluster.broker(n, **STEADY).start() for n in (1, 2)]
    admin.create_topic(brokers[0], "t", assignment=[[1, 2], [2, 1]])
    # As a backup of disks takes it, while all run.
    for server in ensemble.servers:
        shutil.copytree(server.data, directory / f"copy-of-{server.name}")
    with ensemble.client(cluster.chroot) as zk:
        first = int(zk.get("/controller_epoch")[0])
        for epoch in range(first, first + 4):
            zk.delete("/controller")
            wait_until(lambda: zk.exists("/controller") and int(zk.get("/controller_epoch")[0]) > epoch, "an election")
            # The controller that was elected has been heard of by then.
            wait_until(lambda: _creates(brokers[0], f"later-{epoch}"), "the controller serves", 60)
        last = int(zk.get("/controller_epoch")[0])
    for server in ensemble.servers:
        server.kill()
    for server in ensemble.servers:
        shutil.rmtree(server.data)
        shutil.copytree(directory / f"copy-of-{server.name}", server.data)
        server.launch()
    for server in ensemble.servers:
        server.wait_ready()
    with ensemble.client(cluster.chroot) as zk:
        wait_until(lambda: _creates(brokers[0], "after"), "a controller is obeyed again", 90)
        wait_until(lambda: int(zk.get("/controller_epoch")[0]) > last, "it is one of a later epoch")
    replicas.wait_in_sync(cluster, "t", 2)
    _acknowledged(brokers, "t", ["after"])
    assert not any("session expired" in broker.process.output() for broker in brokers)
    for broker in brokers:
        broker.stop()
    ensemble.stop()


@BEYOND_APACHE
def test_an_ensemble_that_came_back_empty_is_not_joined(directory):
    ensemble = Ensemble(directory / "zookeeper").start()
    (server,) = ensemble.servers
    cluster = Cluster(directory, ensemble)
    broker = cluster.broker(1).start()
    admin.create_topic(broker, "t")
    server.kill()
    copy = _copy_of(server, directory)
    _bring_back(server, None)
    wait_until(lambda: "/cluster/id is not ours" in broker.process.output(), "the broker says so", 120)
    with ensemble.client() as zk:
        assert zk.get_children("/") == ["zookeeper"]
    assert broker.answers(), "clients are served on"
    server.kill()
    _bring_back(server, copy)
    with ensemble.client(cluster.chroot) as zk:
        wait_until(lambda: zk.exists("/brokers/ids/1") and zk.exists("/controller"), "the broker is registered", 120)
        assert zk.get_children("/brokers/topics") == ["t"]
    admin.create_topic(broker, "after")
    broker.stop()
    ensemble.stop()


def test_a_removed_topic_id_does_not_cost_the_topic(running, cluster):
    admin.create_topic(running, "t", partitions=1)
    with cluster.ensemble.client(cluster.chroot) as zk:
        before = json.loads(zk.get("/brokers/topics/t")[0])
        # As tools from before Kafka 2.8 write it.
        zk.set("/brokers/topics/t", json.dumps({"version": 1, "partitions": {"0": [1]}}).encode())
        if PEER == "zurau":
            restored = lambda: json.loads(zk.get("/brokers/topics/t")[0]).get("topic_id") == before["topic_id"]
            wait_until(restored, "the id is written back", 30)


def test_the_features_epoch_is_the_version_of_the_node(running, cluster):
    def epoch():
        return wire.features_epoch(running.port)

    with cluster.ensemble.client(cluster.chroot) as zk:
        wait_until(lambda: epoch() == 0, "the epoch is known", 30)
        data, _ = zk.get("/feature")
        zk.set("/feature", data)
        zk.set("/feature", data)
        wait_until(lambda: epoch() == 2, "the epoch is the version", 30)
        zk.delete("/feature")
        wait_until(lambda: epoch() == -1, "the epoch is unknown", 30)


def test_nodes_that_no_controller_can_delete_leave_it_in_charge(running, cluster):
    """One with children, as a hand or a tool may leave it among notifications."""
    admin.create_topic(running, "a")
    with cluster.ensemble.client(cluster.chroot) as zk:
        zk.create("/isr_change_notification/isr_change_0000000009/child", b"{}", makepath=True)
        zk.create("/log_dir_event_notification/log_dir_event_0000000009/child", b"{}", makepath=True)
        admin.create_topic(running, "b")
        # The next term begins in spite of them.
        zk.delete("/controller")
        wait_until(lambda: zk.exists("/controller"), "there is a controller", 60)
        wait_until(lambda: _creates(running, "c"), "it is in charge", 60)


def test_settings_that_make_no_sense_make_no_log(running, cluster):
    """With the broker's defaults in their place a log could lose what its topic keeps."""
    with cluster.ensemble.client(cluster.chroot) as zk:
        zk.create("/config/topics/t", json.dumps({"version": 1, "config": {"retention.ms": "forever"}}).encode())
        zk.create("/brokers/topics/t", json.dumps({"version": 1, "partitions": {"0": [1]}}).encode())
        wait_until(lambda: zk.exists("/brokers/topics/t/partitions/0/state"), "the partition is elected", 60)
        # Its order comes after that for the other, over the same connection.
        admin.create_topic(running, "other")
        assert not list(running.partition("t", 0).glob("*.log"))
        running.stop()
        code, output = running.refuses_to_start()
        assert code == 1
        assert "Invalid value forever for configuration retention.ms: Not a number of type LONG" in output
        _set_config(zk, "t", retention_ms=-1)
        running.start()
        admin.wait_led(running, "t", 1)
