"""Three brokers under transactional loops of several clients, for tests that make things fail around them."""

from . import admin
from .broker import Cluster
from .copies import Copies, Input
from .replicas import wait_in_sync
from .transactions import THREE_BROKERS, elect_preferred, read_committed

PARTITIONS = 6
PER_SECOND = 100


class Storm:
    """The topic `input`, and for each client a group of two that copies it to a topic of its own."""

    def __init__(self, directory, ensemble, kinds, clients, internal=None, prepare=lambda broker: None, **properties):
        """`internal`: the replicas of the one partition of each internal topic; Kafka places three where it is None.
        `prepare` is given each broker before it starts."""
        self.cluster = Cluster(directory, ensemble)
        for number, kind in enumerate(kinds, 1):
            prepare(self.cluster.broker(number, kind, **{**THREE_BROKERS, **properties}))
        for broker in self.cluster.brokers:
            broker.launch()
        for broker in self.cluster.brokers:
            broker.wait_ready()
        first = self.cluster.brokers[0]
        for topic in ("__consumer_offsets", "__transaction_state") if internal else ():
            admin.create_topic(first, topic, assignment=[internal], cleanup_policy="compact")
        assignment = [[1 + (p + n) % 3 for n in range(3)] for p in range(PARTITIONS)]
        for topic in ("input", *(f"output-{client}" for client in clients)):
            admin.create_topic(first, topic, assignment=assignment)
        self.input = Input(self.cluster.bootstrap, "input", PARTITIONS, PER_SECOND)
        self.copies = {c: Copies(c, directory, self.cluster.bootstrap, "input", f"output-{c}") for c in clients}
        self.all_go_on()

    def all_go_on(self, seconds=120):
        """Every group commits records of two more seconds."""
        for copies in self.copies.values():
            copies.wait_copied(2 * PER_SECOND, seconds)

    def settle(self):
        """All replicas are in sync and the preferred ones lead: coordinators move back."""
        for topic in ("__consumer_offsets", "__transaction_state", "input"):
            wait_in_sync(self.cluster, topic, 3)
        elect_preferred(self.cluster, 120)

    def broker_dies(self, broker):
        broker.kill()
        self.cluster.forget(broker)
        self.comes_back(broker)

    def broker_stops(self, broker):
        broker.stop()
        self.comes_back(broker)

    def comes_back(self, broker):
        self.all_go_on()
        broker.start()
        self.settle()
        self.all_go_on()

    def members_die(self, chance):
        for copies in self.copies.values():
            copies.kill(chance.randrange(2))
        self.all_go_on()

    def check(self):
        """Ends the input and waits for the copies: each record is committed once and in its order. Gives their number."""
        produced = self.input.finish()
        count = sum(map(len, produced.values()))
        for client, copies in self.copies.items():
            read = lambda: read_committed(self.cluster, f"output-{client}", PARTITIONS)
            copies.wait_all(count, read)
            copies.stop()
            for partition, values in read().items():
                assert values == produced[partition], f"{client}, partition {partition}"
            print(f"{client}: {count} records once; members ended by themselves {copies.ended} times", flush=True)
        return count
