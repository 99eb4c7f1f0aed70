"""Many producers that arrive at once: raw frames on connections of their own, all in this thread.

Each has a producer id given to it and writes one record; of those with a transactional id every second one commits.
"""

import asyncio
import collections
import contextlib
import struct
import time

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from . import wire

_PRODUCE, _ADD_PARTITIONS_TO_TXN = 0, 24
# What a client sends again: a broker that went away, leaders and coordinators that move or load, too few replicas in sync,
# a transaction that still ends, a partition that is not verified yet.
_AGAIN = {3, 5, 6, 7, 9, 13, 14, 15, 16, 19, 20, 51}
_PAUSE_SECONDS = 0.05
_ANSWER_SECONDS = 30


class _Refused(Exception):
    """A code that no client tries again."""


class _Producer:
    def __init__(self, bootstrap_port, topic, partition, name, is_transactional, commits):
        self.name = name
        self.commits = commits
        self.producer_id = None
        # The APIs of requests that waited for too long, and were sent again.
        self.unanswered = []
        self._bootstrap_port = bootstrap_port
        self._topic = topic
        self._partition = partition
        self._transactional_id = name if is_transactional else None
        self._streams = {}

    async def run(self):
        try:
            ask = self._transactional_id
            nullable = struct.pack(">h", -1) if ask is None else wire.string(ask)
            _, self.producer_id, epoch = await self._until_taken(
                self._coordinator, wire.INIT_PRODUCER_ID, 0, nullable + struct.pack(">i", 60_000), self._initialized
            )
            me = struct.pack(">qh", self.producer_id, epoch)
            partition = wire.string(self._topic) + struct.pack(">ii", 1, self._partition)
            if ask:
                body = nullable + me + struct.pack(">i", 1) + partition
                await self._until_taken(self._coordinator, _ADD_PARTITIONS_TO_TXN, 0, body, self._added)
            batch = self._batch(epoch)
            body = nullable + struct.pack(">hii", -1, 10_000, 1) + partition + struct.pack(">i", len(batch)) + batch
            await self._until_taken(self._leader, _PRODUCE, 7, body, self._produced)
            if ask:
                body = nullable + me + struct.pack("?", self.commits)
                await self._until_taken(self._coordinator, wire.END_TXN, 1, body, lambda f: (f.take("i"), f.take("h"))[1:])
        finally:
            for _, writer in self._streams.values():
                writer.close()

    def _batch(self, epoch):
        is_transactional = self._transactional_id is not None
        builder = DefaultRecordBatchBuilder(2, 0, int(is_transactional), self.producer_id, epoch, 0, 1 << 16)
        builder.append(0, int(time.time() * 1000), None, self.name.encode(), [])
        return bytes(builder.build())

    async def _until_taken(self, place, key, version, body, read):
        """Sends a request again as a client would, until it is taken; what `read` takes of the answer, its error first."""
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                port = await place()
                if port is not None:
                    answer = read(await self._call(port, key, version, body))
                    if answer[0] == 0:
                        return answer
                    if answer[0] not in _AGAIN:
                        raise _Refused(f"{self.name}: API {key} answers {answer[0]}")
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _call(self, port, key, version, body):
        """The answer behind its correlation id. A connection that fails is not used again."""
        try:
            if port not in self._streams:
                self._streams[port] = await asyncio.open_connection("127.0.0.1", port)
            reader, writer = self._streams[port]
            writer.write(wire.request(key, version, 7, body))
            async with asyncio.timeout(_ANSWER_SECONDS):
                (length,) = struct.unpack(">i", await reader.readexactly(4))
                fields = wire.Fields(await reader.readexactly(length))
        except (OSError, asyncio.IncompleteReadError) as e:
            if isinstance(e, TimeoutError):
                self.unanswered.append(key)
            if port in self._streams:
                self._streams.pop(port)[1].close()
            raise
        fields.take("i")
        return fields

    async def _coordinator(self):
        if self._transactional_id is None:
            return self._bootstrap_port
        body = wire.string(self._transactional_id) + b"\x01"
        f = await self._call(self._bootstrap_port, wire.FIND_COORDINATOR, 1, body)
        f.take("i")
        error, _message, _number, _host, port = f.take("h"), f.string(), f.take("i"), f.string(), f.take("i")
        return None if error else port

    async def _leader(self):
        body = struct.pack(">i", 1) + wire.string(self._topic)
        brokers, _, topics = wire.read_metadata(await self._call(self._bootstrap_port, wire.METADATA, 1, body))
        error, leader = topics[self._topic].get(self._partition, (-1, -1))
        return None if error else brokers.get(leader)

    @staticmethod
    def _initialized(f):
        f.take("i")
        return f.take("h"), f.take("q"), f.take("h")

    @staticmethod
    def _added(f):
        # Throttle time, one topic, one partition.
        f.take("i"), f.take("i"), f.string(), f.take("i"), f.take("i")
        return (f.take("h"),)

    @staticmethod
    def _produced(f):
        # One topic, one partition.
        f.take("i"), f.string(), f.take("i"), f.take("i")
        return (f.take("h"),)


def arrive(port, topic, partitions, prefix, count, seconds=120):
    """`count` producers come to one broker, every second one with a transactional id. Returns what readers of committed
    data must find of them, once every one has done its work."""

    def producer(n):
        is_transactional = n % 2 == 1
        return _Producer(port, topic, n % partitions, f"{prefix}-{n}", is_transactional, commits=n % 4 != 3)

    producers = [producer(n) for n in range(count)]

    async def all_of_them():
        tasks = [asyncio.create_task(producer.run()) for producer in producers]
        done, pending = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        for task in done:
            task.result()
        assert not pending, f"{len(pending)} of {count} producers did not end their work within {seconds} s"

    asyncio.run(all_of_them())
    if unanswered := collections.Counter(key for producer in producers for key in producer.unanswered):
        print(f"requests without an answer for {_ANSWER_SECONDS} s, by API: {dict(unanswered)}", flush=True)
    assert len({producer.producer_id for producer in producers}) == count, "a producer id was given twice"
    return [producer.name for producer in producers if producer.commits]
