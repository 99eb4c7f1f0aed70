"""Transactional producers of librdkafka in this process, and readers of what was committed."""

import json
import threading
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, ElectionType, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from .processes import wait_until
from .replicas import leader_of, states

# One broker can hold everything, and nobody waits long for what the clock does.
ONE_BROKER = {
    "transaction_state_log_replication_factor": 1,
    "transaction_state_log_min_isr": 1,
    "transaction_state_log_num_partitions": 4,
    "transaction_abort_timed_out_transaction_cleanup_interval_ms": 500,
}

# Three brokers hold everything three times, and coordinators move only when they are told to.
THREE_BROKERS = {
    "offsets_topic_num_partitions": 3,
    "offsets_topic_replication_factor": 3,
    "transaction_state_log_num_partitions": 3,
    "transaction_state_log_replication_factor": 3,
    "transaction_state_log_min_isr": 2,
    "transaction_abort_timed_out_transaction_cleanup_interval_ms": 1000,
    "min_insync_replicas": 2,
    "default_replication_factor": 3,
    "replica_lag_time_max_ms": 5000,
    "group_initial_rebalance_delay_ms": 200,
    "auto_leader_rebalance_enable": "false",
}


def producer(broker, transactional_id, timeout_ms=60_000, **config):
    """Initialized: an older producer of this id is fenced."""
    made = Producer(
        {
            "bootstrap.servers": broker.bootstrap,
            "transactional.id": transactional_id,
            "transaction.timeout.ms": timeout_ms,
            "message.timeout.ms": timeout_ms,
            "linger.ms": 1,
            "reconnect.backoff.ms": 20,
            "reconnect.backoff.max.ms": 100,
            "retry.backoff.ms": 20,
            "log_level": 0,
            **{key.replace("_", "."): value for key, value in config.items()},
        }
    )
    made.init_transactions(30)
    return made


def send(made, topic, values, partitions=3):
    """In an open transaction; returns when the broker has them all."""
    for n, value in enumerate(values):
        made.produce(topic, value.encode(), partition=n % partitions)
    assert made.flush(30) == 0


def read_committed(broker, topic, partitions=3, isolation="read_committed", seconds=60):
    """All values by partition, up to the end that this isolation level sees now."""
    consumer = Consumer(
        {
            "bootstrap.servers": broker.bootstrap,
            "group.id": "unused",
            "enable.auto.commit": False,
            "isolation.level": isolation,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 50,
            "log_level": 0,
        }
    )
    try:
        values = {p: [] for p in range(partitions)}
        left = set(range(partitions))
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in left])
        deadline = time.monotonic() + seconds
        while left:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{topic}: partitions {left} not read to their ends in time")
            for message in consumer.consume(1000, 0.1):
                if not message.error():
                    values[message.partition()].append(message.value().decode())
                elif message.error().name() == "_PARTITION_EOF":
                    left.discard(message.partition())
                else:
                    raise RuntimeError(f"{topic}: {message.error()}")
        return values
    finally:
        consumer.close()


def all_values(by_partition):
    return sorted(value for values in by_partition.values() for value in values)


class Steady:
    """A thread that commits transaction after transaction, through restarts of the broker, until `finish`. Transaction n
    writes `n-i-attempt` for i of 0 to 5; every third attempt is aborted at first. `committed` has what must be read."""

    RECORDS = 6

    def __init__(self, broker, topic, transactional_id):
        self.committed = []
        self._broker = broker
        self._topic = topic
        self._id = transactional_id
        self._stop = threading.Event()
        self._error = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            made = producer(self._broker, self._id)
            attempt = 0
            while not self._stop.is_set():
                attempt += 1
                number = len(self.committed)
                values = [f"{number}-{i}-{attempt}" for i in range(self.RECORDS)]
                made = self._attempt(made, values, abort=attempt % 3 == 0)
        except Exception as e:
            self._error = e

    def _attempt(self, made, values, abort):
        try:
            made.begin_transaction()
            for n, value in enumerate(values):
                made.produce(self._topic, value.encode(), partition=n % 3)
            if abort:
                made.abort_transaction(60)
                return made
            self._commit(made)
            self.committed.append(values)
            return made
        except KafkaException as e:
            error = e.args[0]
            if error.txn_requires_abort():
                made.abort_transaction(60)
                return made
            if error.fatal() or error.retriable():
                # A new one of the same id ends what this one has left.
                return producer(self._broker, self._id)
            raise

    @staticmethod
    def _commit(made):
        # A commit without an answer may have happened: only the same commit again may tell.
        deadline = time.monotonic() + 120
        while True:
            try:
                return made.commit_transaction(30)
            except KafkaException as e:
                if not e.args[0].retriable() or time.monotonic() > deadline:
                    raise

    def wait_committed(self, more, seconds=60):
        deadline = time.monotonic() + seconds
        target = len(self.committed) + more
        while len(self.committed) < target:
            if self._error:
                raise self._error
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(self.committed)} of {target} transactions committed in time")
            time.sleep(0.02)

    def finish(self):
        """The values of every committed transaction, once."""
        self._stop.set()
        self._thread.join(180)
        assert not self._thread.is_alive(), "the producer did not end"
        if self._error:
            raise self._error
        return sorted(value for values in self.committed for value in values)


def _java_hash(text):
    """The absolute value of Java's hash of a text."""
    value = 0
    for character in text:
        value = (31 * value + ord(character)) & 0xFFFFFFFF
    return min(value, 0x100000000 - value) % 0x80000000


def coordinating(cluster, topic, key):
    """The partition of an internal topic that a group or a transactional id belongs to."""
    with cluster.ensemble.client(cluster.chroot) as zk:
        return _java_hash(key) % len(states(zk, topic))


def group_coordinator(cluster, group):
    return leader_of(cluster, "__consumer_offsets", coordinating(cluster, "__consumer_offsets", group))


def transaction_coordinator(cluster, transactional_id):
    return leader_of(cluster, "__transaction_state", coordinating(cluster, "__transaction_state", transactional_id))


def elect_preferred(cluster, seconds=30):
    """Moves the leadership of every partition to its first replica. All are in sync."""

    def elected():
        for topic in zk.get_children("/brokers/topics"):
            replicas = json.loads(zk.get(f"/brokers/topics/{topic}")[0])["partitions"]
            if any(state["leader"] != replicas[str(p)][0] for p, state in states(zk, topic).items()):
                return False
        return True

    client = AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 0})
    client.elect_leaders(ElectionType.PREFERRED, None).result(seconds)
    with cluster.ensemble.client(cluster.chroot) as zk:
        wait_until(elected, "preferred replicas lead", seconds)
