"""Connections between brokers, and of clients beside them: kept ones, names with several addresses, limits, names that are
registered."""

import json
import pathlib
import socket

import pytest

from harness import admin, wire
from harness.names import in_a_host
from harness.processes import free_port, wait_until
from harness.transactions import ONE_BROKER, all_values, producer, read_committed, send

ESTABLISHED = "01"


def connections_to(port):
    """How many established connections to this port on 127.0.0.1 their server still keeps."""
    rows = [row.split() for row in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(f":{port:04X}") and row[3] == ESTABLISHED for row in rows)


def transaction(cluster, transactional_id, values):
    made = producer(cluster, transactional_id)
    made.begin_transaction()
    send(made, "t", values, partitions=2)
    made.commit_transaction(30)


def test_connections_that_were_closed_for_idleness_are_no_failures(cluster):
    """The controller, the verifier, the marker sender and the link to the controller keep connections that the other broker
    closes after a quiet spell."""
    idle = {"connections_max_idle_ms": 6000, "num_partitions": 2}
    brokers = [cluster.broker(n, **ONE_BROKER, **idle).start() for n in (1, 2)]
    admin.create_topic(brokers[0], "t", assignment=[[1], [2]])
    # One of its partitions is not on the coordinator, which then is asked by, and writes to, the other broker.
    transaction(cluster, "warm", ["a", "b"])
    wait_until(lambda: not any(connections_to(b.port) for b in brokers), "every connection was closed for idleness")

    before = [len(b.process.output()) for b in brokers]
    admin.create_topic(brokers[0], "u", assignment=[[1], [2]])
    transaction(cluster, "warm", ["c", "d"])
    assert sorted(all_values(read_committed(cluster, "t", 2))) == ["a", "b", "c", "d"]
    failures = (
        "does not answer the controller",
        "not verified",
        "markers not sent",
        "asking the controller again",
        "fetch from the leader failed",
        # Apache's.
        "was unsuccessful",
        "fails to send request",
    )
    for one, at in zip(brokers, before):
        said = [line for line in one.process.output()[at:].splitlines() if any(f in line for f in failures)]
        assert said == []


class Mute:
    """An address that does not answer: its queue of connections is full, so that Linux drops what comes."""

    def __init__(self, host, port):
        self._listening = socket.create_server((host, port), backlog=0)
        self._filling = []
        for _ in range(3):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex((host, port))
            self._filling.append(one)

    def close(self):
        for one in [self._listening, *self._filling]:
            one.close()


def test_one_mute_address_of_a_name_does_not_hide_its_broker(cluster, directory):
    """Broker 2 is registered under a name with two addresses, of which one drops what is sent to it."""
    port = free_port()
    wrap = in_a_host(directory, ["127.0.7.2 two.corp.test", "127.0.7.1 two.corp.test"], "here")
    mute = Mute("127.0.7.2", port)
    try:
        one, two = cluster.broker(1), cluster.broker(2)
        one.wrap = wrap
        two.properties |= {
            "listeners": f"PLAINTEXT://127.0.0.1:{two.port},BROKERS://127.0.7.1:{port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{two.port},BROKERS://two.corp.test:{port}",
        }
        one.properties["listeners"] += f",BROKERS://127.0.0.1:{free_port()}"
        for broker in (one, two):
            broker.properties |= {
                "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,BROKERS:PLAINTEXT",
                "inter.broker.listener.name": "BROKERS",
            }
        one.start()
        # It knows itself by what the controller tells it.
        two.wrap = wrap
        two.start()
        admin.create_topic(two, "t", assignment=[[2]])
    finally:
        mute.close()


def listeners(broker, names):
    """More listeners, by name, on ports of their own. The first is that of the brokers."""
    ports = {name: broker.port if n == 0 else free_port() for n, name in enumerate(names)}
    broker.properties |= {
        "listeners": ",".join(f"{name}://127.0.0.1:{port}" for name, port in ports.items()),
        "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in names),
        "inter.broker.listener.name": names[0],
    }
    return ports


def answers(connection):
    """Whether a request on an open connection is answered. False when the connection was closed."""
    try:
        connection.sendall(wire.request(wire.API_VERSIONS, 0, 1, b""))
        return bool(wire.read_frame(connection))
    except (BrokenPipeError, ConnectionError):
        return False


def test_connections_of_brokers_are_protected_from_the_limit(cluster):
    """The listener of the brokers takes connections beyond max.connections, for which those of clients make room; a
    listener that no one comes to takes no place."""
    one = cluster.broker(1, max_connections=2)
    ports = listeners(one, ["BROKERS", "CLIENTS", "IDLE"])
    one.start()
    with wire.connect(ports["BROKERS"]) as inside:
        assert answers(inside)
    # The broker's own connections count too, so the place is waited for.
    wait_until(lambda: wire.metadata(ports["CLIENTS"])[0], "the listener of the clients answers")
    wait_until(lambda: wire.metadata(ports["IDLE"])[0], "the third listener answers")


def test_a_listener_has_a_limit_of_its_own(cluster):
    one = cluster.broker(1)
    ports = listeners(one, ["BROKERS", "CLIENTS"])
    one.properties["listener.name.clients.max.connections"] = "1"
    one.start()
    with wire.connect(ports["CLIENTS"]) as first, wire.connect(ports["CLIENTS"], 2) as second:
        assert answers(first)
        with pytest.raises(TimeoutError):
            answers(second)
        first.close()
        second.settimeout(30)
        assert wire.read_frame(second)
    assert answers(wire.connect(ports["BROKERS"]))


def test_limits_of_addresses_change_while_the_broker_runs(cluster):
    one = cluster.broker(1).start()

    def connect():
        return socket.create_connection(("127.0.0.1", one.port), 10, source_address=("127.0.0.5", 0))

    def is_refused():
        with connect() as another:
            return not answers(another)

    with connect() as first:
        assert answers(first) and not is_refused()
        with cluster.ensemble.client(cluster.chroot) as zk:
            limit = {"max.connections.per.ip.overrides": "127.0.0.5:1"}
            zk.create("/config/brokers/<default>", json.dumps({"version": 1, "config": limit}).encode())
            change = json.dumps({"version": 2, "entity_path": "brokers/<default>"}).encode()
            zk.create("/config/changes/config_change_", change, sequence=True)
        wait_until(is_refused, "a second connection of the address is refused")
        assert answers(first)


def test_a_listener_without_a_host_is_registered_with_the_canonical_name(cluster, directory):
    one = cluster.broker(1)
    one.wrap = in_a_host(directory, ["127.0.7.7 broker7.corp.test broker7"], "broker7")
    one.properties["listeners"] = f"PLAINTEXT://:{one.port}"
    one.start()
    with cluster.ensemble.client(cluster.chroot) as zk:
        registered = json.loads(zk.get("/brokers/ids/1")[0])
    assert registered["endpoints"] == [f"PLAINTEXT://broker7.corp.test:{one.port}"]
    assert registered["host"] == "broker7.corp.test"
