"""Loops that read, transform and write in one transaction, two members a group, and the input that they read."""

import threading
import time

from confluent_kafka import Producer

from . import CACHE, ROOT
from .java import java
from .processes import Process, tail, wait_until

COPIES = {
    "java": java("kafka", "TransactionalCopy", log4j="tools"),
    "librdkafka": [CACHE / "python" / "bin" / "python", ROOT / "clients/python/confluent_copy.py"],
    "franz-go": [CACHE / "go" / "franzcopy"],
}


class Input:
    """A thread that writes numbers into every partition, through faults, until `finish`."""

    def __init__(self, bootstrap, topic, partitions, per_second):
        self._topic = topic
        self._pause = partitions / per_second
        self._next = {p: 0 for p in range(partitions)}
        self._refused = []
        self._stop = threading.Event()
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "linger.ms": 5,
                "reconnect.backoff.ms": 20,
                "reconnect.backoff.max.ms": 200,
                "log_level": 0,
            }
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._stop.is_set():
            for p, number in self._next.items():
                self._producer.produce(self._topic, b"%d" % number, partition=p, on_delivery=self._delivered)
                self._next[p] = number + 1
            self._producer.poll(0)
            time.sleep(self._pause)

    def _delivered(self, error, _):
        if error:
            self._refused.append(error)

    def finish(self):
        """Every value of every partition, in its order."""
        self._stop.set()
        self._thread.join()
        assert self._producer.flush(120) == 0 and not self._refused, self._refused[:3]
        return {p: [str(n) for n in range(end)] for p, end in self._next.items()}


class Copies:
    """Two members of a group that copy a topic. One that ends by itself, fenced for example, is started again."""

    def __init__(self, client, directory, bootstrap, source, output):
        self.client = client
        self.ended = 0
        self._commands = [[*COPIES[client], bootstrap, source, output, client, f"{client}-{n}"] for n in range(2)]
        self._directory = directory
        self._members = [self._start(n) for n in range(2)]

    def _start(self, n):
        return Process(self._commands[n], self._directory / f"{self.client}-{n}.log", f"{self.client}-{n}")

    def kill(self, n):
        """It comes back when its group is next waited for."""
        self._members[n].kill()
        self._members[n] = self._start(n)

    def stop(self):
        for member in self._members:
            member.terminate(60)

    def supervise(self):
        for n, member in enumerate(self._members):
            if not member.alive():
                self.ended += 1
                # -14: the alarm of librdkafka's member.
                print(f"{member.name} ended by itself, {member.wait()}: {tail(member.output(), 3)}", flush=True)
                self._members[n] = self._start(n)

    def copied(self):
        """Records in transactions of which the members know that they are committed."""
        counted = 0
        for member in self._members:
            # The last line may still be on its way.
            *lines, _ = member.log.read_text(errors="replace").split("\n")
            for line in lines:
                word, _, count = line.partition(" ")
                if word == "committed":
                    counted += int(count)
        return counted

    def wait_copied(self, more, seconds):
        target = self.copied() + more
        self._wait(lambda: self.copied() >= target, f"{self.client} copies {more} more", seconds)

    def wait_all(self, count, read, seconds=90):
        """Until what `read` gives, values by partition, are so many or more."""
        self._wait(lambda: sum(map(len, read().values())) >= count, f"{self.client} copies all {count}", seconds)

    def _wait(self, done, what, seconds):
        def supervised():
            self.supervise()
            return done()

        wait_until(supervised, what, seconds)
