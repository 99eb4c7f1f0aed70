"""Raw frames of Kafka's protocol over a socket: what a client library would not send, and answers without one."""

import socket
import struct
import typing

METADATA, FIND_COORDINATOR, API_VERSIONS, CREATE_TOPICS, INIT_PRODUCER_ID = 3, 10, 18, 19, 22
DESCRIBE_CONFIGS, ALTER_PARTITION_REASSIGNMENTS, LIST_PARTITION_REASSIGNMENTS = 32, 45, 46
OFFSET_FETCH, DESCRIBE_GROUPS = 9, 15
END_TXN, WRITE_TXN_MARKERS, DESCRIBE_TRANSACTIONS = 26, 27, 65
ALTER_REPLICA_LOG_DIRS, DESCRIBE_LOG_DIRS = 34, 35


def connect(port, seconds=30):
    return socket.create_connection(("127.0.0.1", port), seconds)


def string(text):
    data = text.encode()
    return struct.pack(">h", len(data)) + data


def request(api_key, version, correlation, body, client="test"):
    """A frame with request header v1."""
    header = struct.pack(">hhi", api_key, version, correlation) + string(client)
    return struct.pack(">i", len(header) + len(body)) + header + body


def read_exactly(s, count):
    data = b""
    while len(data) < count:
        part = s.recv(count - len(data))
        if not part:
            raise ConnectionError(f"closed after {len(data)} of {count} bytes")
        data += part
    return data


def read_frame(s):
    return read_exactly(s, struct.unpack(">i", read_exactly(s, 4))[0])


def closed_by_peer(s):
    """Reads until the peer closes; False when it stays silent past the socket's timeout."""
    try:
        while s.recv(65536):
            pass
        return True
    except TimeoutError:
        return False
    except ConnectionError:
        return True


class Fields:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        (value,) = struct.unpack_from(">" + form, self.data, self.at)
        self.at += struct.calcsize(">" + form)
        return value

    def string(self):
        length = self.take("h")
        if length < 0:
            return None
        self.at += length
        return self.data[self.at - length : self.at].decode()

    def bytes(self):
        length = self.take("i")
        self.at += length
        return self.data[self.at - length : self.at]

    def array(self, item):
        return [item() for _ in range(self.take("i"))]

    def varint(self):
        value = shift = 0
        while True:
            byte = self.take("B")
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def compact_string(self):
        length = self.varint() - 1
        if length < 0:
            return None
        self.at += length
        return self.data[self.at - length : self.at].decode()

    def compact_array(self, item):
        return [item() for _ in range(self.varint() - 1)]


def metadata(port, topics=()):
    """Metadata v1: ({broker id: port}, controller id, {topic: {partition: (error, leader)}})."""
    body = struct.pack(">i", len(topics)) + b"".join(string(t) for t in topics)
    with connect(port) as s:
        s.sendall(request(METADATA, 1, 7, body))
        f = Fields(read_frame(s))
    if f.take("i") != 7:
        raise RuntimeError("another correlation id")
    return read_metadata(f)


def read_metadata(f):
    """What `metadata` gives, from the fields behind the correlation id."""

    def broker():
        number, _host, broker_port, _rack = f.take("i"), f.string(), f.take("i"), f.string()
        return number, broker_port

    def partition():
        error, number, leader = f.take("h"), f.take("i"), f.take("i")
        f.array(lambda: f.take("i"))
        f.array(lambda: f.take("i"))
        return number, (error, leader)

    def topic():
        _error, name, _internal = f.take("h"), f.string(), f.take("b")
        return name, dict(f.array(partition))

    brokers = dict(f.array(broker))
    controller = f.take("i")
    return brokers, controller, dict(f.array(topic))


class View(typing.NamedTuple):
    """The cluster as one broker describes it."""

    # {number: port}
    brokers: dict
    controller: int
    # {(topic, partition): PartitionView}
    partitions: dict


class PartitionView(typing.NamedTuple):
    error: int
    leader: int
    leader_epoch: int
    replicas: list
    isr: list
    offline: list


def view(port):
    """Metadata v7 of all topics."""
    with connect(port) as s:
        s.sendall(request(METADATA, 7, 7, struct.pack(">i?", -1, False)))
        f = Fields(read_frame(s))
    ints = lambda: f.array(lambda: f.take("i"))

    def broker():
        number, _host, broker_port, _rack = f.take("i"), f.string(), f.take("i"), f.string()
        return number, broker_port

    def partition():
        error, number = f.take("h"), f.take("i")
        return number, PartitionView(error, f.take("i"), f.take("i"), ints(), ints(), ints())

    def topic():
        _error, name, _internal = f.take("h"), f.string(), f.take("b")
        return name, f.array(partition)

    _correlation, _throttled, brokers, _cluster_id = f.take("i"), f.take("i"), dict(f.array(broker)), f.string()
    controller, topics = f.take("i"), f.array(topic)
    return View(brokers, controller, {(name, number): one for name, of_topic in topics for number, one in of_topic})


def dynamic_configs(port, broker=""):
    """DescribeConfigs v1 of what is set for a broker, or for all, as this one knows it: {key: value}."""
    brokers, all_keys, of_one, of_all = 4, -1, 2, 3
    body = struct.pack(">ib", 1, brokers) + string(broker) + struct.pack(">i?", all_keys, False)
    with connect(port) as s:
        s.sendall(request(DESCRIBE_CONFIGS, 1, 7, body))
        f = Fields(read_frame(s))

    def config():
        key, value = f.string(), f.string()
        _read_only, source, _sensitive = f.take("b"), f.take("b"), f.take("b")
        f.array(lambda: (f.string(), f.string(), f.take("b")))
        return key, value, source

    # Correlation id, throttle time, one resource.
    f.take("i"), f.take("i"), f.take("i")
    error, message = f.take("h"), f.string()
    _none(error, f"DescribeConfigs: {message}")
    _kind, _name = f.take("b"), f.string()
    return {key: value for key, value, source in f.array(config) if source == (of_one if broker else of_all)}


def partition_states(answer):
    """How many partitions an answer to Metadata v1 for one topic has, and their bytes."""
    f = Fields(answer)
    f.take("i")
    f.array(lambda: (f.take("i"), f.string(), f.take("i"), f.string()))
    _controller, _topics, _error, _name, _internal = f.take("i"), f.take("i"), f.take("h"), f.string(), f.take("b")
    return f.take("i"), answer[f.at :]


def may_create_topic(port, name):
    """CreateTopics v1 that only validates, of one partition with one replica: the error code."""
    topic = string(name) + struct.pack(">ihii", 1, 1, 0, 0)
    with connect(port) as s:
        s.sendall(request(CREATE_TOPICS, 1, 7, struct.pack(">i", 1) + topic + struct.pack(">i?", 10_000, True)))
        f = Fields(read_frame(s))
    _correlation, _topics, _name = f.take("i"), f.take("i"), f.string()
    return f.take("h")


def served(port):
    """ApiVersions v0: {api key: (lowest version, highest version)}."""
    with connect(port) as s:
        s.sendall(request(API_VERSIONS, 0, 7, b""))
        f = Fields(read_frame(s))
    correlation, error = f.take("i"), f.take("h")
    if (correlation, error) != (7, 0):
        raise RuntimeError(f"correlation id {correlation}, error {error}")
    return {key: (low, high) for key, low, high in f.array(lambda: (f.take("h"), f.take("h"), f.take("h")))}


def features_epoch(port):
    """ApiVersions v3: the epoch of the finalised features, -1 where it is unknown."""
    # Header version 2 and a compact name and version of the client's software.
    body = b"\0" + b"\5test" + b"\2" + b"1" + b"\0"
    with connect(port) as s:
        s.sendall(request(18, 3, 1, body))
        answer = read_frame(s)
    at = 4 + 2

    def varint():
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = answer[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    # Key, lowest and highest version, no tags; then the throttle time.
    keys = varint() - 1
    at += keys * 7 + 4
    for _ in range(varint()):
        tag, size = varint(), varint()
        if tag == 1:
            return struct.unpack_from(">q", answer, at)[0]
        at += size
    return -1


def _none(error, what):
    if error:
        raise RuntimeError(f"{what}: error {error}")


def find_coordinator(port, key, of_transactions=False):
    """FindCoordinator v1 of a group, or of a transactional id: the port of its coordinator."""
    with connect(port) as s:
        s.sendall(request(FIND_COORDINATOR, 1, 7, string(key) + struct.pack("?", of_transactions)))
        f = Fields(read_frame(s))
    f.take("i"), f.take("i")
    error, message = f.take("h"), f.string()
    _none(error, f"FindCoordinator: {message}")
    _number, _host = f.take("i"), f.string()
    return f.take("i")


def describe_group(port, group):
    """DescribeGroups v0 of a group of consumers: its state, and {member id: partitions, of whatever topic}."""
    with connect(port) as s:
        s.sendall(request(DESCRIBE_GROUPS, 0, 7, struct.pack(">i", 1) + string(group)))
        f = Fields(read_frame(s))
    # Correlation id, one group.
    f.take("i"), f.take("i")
    _none(f.take("h"), "DescribeGroups")
    _group, state, _type, _protocol = f.string(), f.string(), f.string(), f.string()

    def member():
        member_id, _client, _host, _subscription, assignment = f.string(), f.string(), f.string(), f.bytes(), f.bytes()
        return member_id, _assigned(assignment)

    return state, dict(f.array(member))


def _assigned(assignment):
    """ConsumerProtocolAssignment; empty while the group has none."""
    if not assignment:
        return []
    f = Fields(assignment)
    f.take("h")
    topics = f.array(lambda: (f.string(), f.array(lambda: f.take("i"))))
    return [partition for _topic, partitions in topics for partition in partitions]


def committed_offsets(port, group):
    """OffsetFetch v2 of all that a group has committed: {(topic, partition): offset}."""
    with connect(port) as s:
        s.sendall(request(OFFSET_FETCH, 2, 7, string(group) + struct.pack(">i", -1)))
        f = Fields(read_frame(s))
    f.take("i")

    def partition():
        number, offset, _metadata, error = f.take("i"), f.take("q"), f.string(), f.take("h")
        _none(error, f"OffsetFetch of partition {number}")
        return number, offset

    topics = f.array(lambda: (f.string(), f.array(partition)))
    _none(f.take("h"), "OffsetFetch")
    return {(topic, number): offset for topic, partitions in topics for number, offset in partitions if offset >= 0}


def init_producer_id(port):
    """InitProducerId v0 without a transactional id: (error, producer id)."""
    with connect(port) as s:
        s.sendall(request(INIT_PRODUCER_ID, 0, 7, struct.pack(">hi", -1, 0)))
        f = Fields(read_frame(s))
    if f.take("i") != 7:
        raise RuntimeError("another correlation id")
    f.take("i")
    return f.take("h"), f.take("q")


def reassign(port, topic, assignment):
    """AlterPartitionReassignments version 0, to the controller: {partition: replicas, or None to give up}."""

    def partition(index, replicas):
        count = 0 if replicas is None else len(replicas) + 1
        return struct.pack(f">iB{len(replicas or ())}iB", index, count, *(replicas or ()), 0)

    name = topic.encode()
    partitions = b"".join(partition(p, r) for p, r in assignment.items())
    # One topic; a byte is enough for each of the lengths, which are one more than what they count.
    body = struct.pack(">BiBB", 0, 30_000, 2, len(name) + 1) + name + bytes([len(assignment) + 1]) + partitions + b"\0\0"
    with connect(port) as s:
        s.sendall(request(ALTER_PARTITION_REASSIGNMENTS, 0, 1, body))
        (error,) = struct.unpack_from(">h", read_frame(s), 4 + 1 + 4)
    if error:
        raise RuntimeError(f"AlterPartitionReassignments: error {error}")


def reassignments(port):
    """ListPartitionReassignments v0, of the controller: {(topic, partition): the replicas that are added}."""
    # The first byte is the field of tags that makes the header one of version 2. No list of topics asks for all.
    with connect(port) as s:
        s.sendall(request(LIST_PARTITION_REASSIGNMENTS, 0, 7, b"\0" + struct.pack(">iBB", 10_000, 0, 0)))
        f = Fields(read_frame(s))
    ints = lambda: f.compact_array(lambda: f.take("i"))

    def partition():
        number, _replicas, adding, _removing, _tags = f.take("i"), ints(), ints(), ints(), f.take("B")
        return number, adding

    def topic():
        name, partitions, _tags = f.compact_string(), f.compact_array(partition), f.take("B")
        return name, partitions

    _correlation, _tags, _throttled = f.take("i"), f.take("B"), f.take("i")
    error, message = f.take("h"), f.compact_string()
    _none(error, f"ListPartitionReassignments: {message}")
    topics = f.compact_array(topic)
    return {(name, number): adding for name, of_topic in topics for number, adding in of_topic}


def alter_replica_log_dirs(port, topic, to):
    """AlterReplicaLogDirs v1: {partition: path of the directory}. Every partition must be taken."""
    dirs = b"".join(
        string(str(path)) + struct.pack(">i", 1) + string(topic) + struct.pack(">ii", 1, p) for p, path in to.items()
    )
    with connect(port) as s:
        s.sendall(request(ALTER_REPLICA_LOG_DIRS, 1, 1, struct.pack(">i", len(to)) + dirs))
        f = Fields(read_frame(s))
    # Correlation id, throttle time, one topic.
    f.take("i"), f.take("i"), f.take("i"), f.string()
    codes = dict(f.array(lambda: (f.take("i"), f.take("h"))))
    assert codes == dict.fromkeys(to, 0)


def log_dirs(port):
    """DescribeLogDirs v1 of all: {path: error}."""
    with connect(port) as s:
        s.sendall(request(DESCRIBE_LOG_DIRS, 1, 1, struct.pack(">i", -1)))
        f = Fields(read_frame(s))
    # Correlation id, throttle time.
    f.take("i"), f.take("i")

    def directory():
        error, path = f.take("h"), f.string()
        f.array(lambda: (f.string(), f.array(lambda: (f.take("i"), f.take("q"), f.take("q"), f.take("?")))))
        return path, error

    return dict(f.array(directory))


class Transaction(typing.NamedTuple):
    error: int
    state: str
    producer_id: int
    epoch: int


def describe_transaction(port, transactional_id):
    """DescribeTransactions v0 of one id."""
    name = transactional_id.encode()
    # Behind a header of version 1 comes its field of tags, and this makes it one of version 2.
    body = b"\x00" + b"\x02" + bytes([len(name) + 1]) + name + b"\x00"
    with connect(port) as s:
        s.sendall(request(DESCRIBE_TRANSACTIONS, 0, 7, body))
        f = Fields(read_frame(s))
    # Correlation id, tags, throttle time, one transaction.
    f.take("i"), f.take("B"), f.take("i"), f.take("B")
    error, _, state = f.take("h"), f.compact_string(), f.compact_string()
    _timeout, _started, producer_id, epoch = f.take("i"), f.take("q"), f.take("q"), f.take("h")
    return Transaction(error, state, producer_id, epoch)


def end_txn(port, transactional_id, producer_id, epoch, committed):
    """EndTxn v1: the error."""
    with connect(port) as s:
        body = string(transactional_id) + struct.pack(">qh?", producer_id, epoch, committed)
        s.sendall(request(END_TXN, 1, 7, body))
        f = Fields(read_frame(s))
    f.take("i"), f.take("i")
    return f.take("h")


def write_txn_marker(port, topic, partition, producer_id, epoch, committed, coordinator_epoch):
    """WriteTxnMarkers v0 of one marker: the error."""
    body = struct.pack(">iqh?i", 1, producer_id, epoch, committed, 1) + string(topic)
    body += struct.pack(">iii", 1, partition, coordinator_epoch)
    with connect(port) as s:
        s.sendall(request(WRITE_TXN_MARKERS, 0, 7, body))
        f = Fields(read_frame(s))
    # Correlation id, one marker, its producer, one topic, one partition, its number.
    f.take("i"), f.take("i"), f.take("q"), f.take("i"), f.string(), f.take("i"), f.take("i")
    return f.take("h")
