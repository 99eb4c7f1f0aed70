"""Faults for any storm over three brokers, each an act of its own that ends with everything healed, and their mixture.

ZURAU_STORM_MINUTES=20 zk-tests/run -s -k mixed_storm   the four storms with these faults mixed in, 20 minutes each

ZURAU_STORM_SEED draws the same acts again; the seed is printed first. ZURAU_STORM_WITHOUT="a_bit_flips,sessions_expire" leaves
acts out. Without minutes each storm is as long as CI runs it.
"""

import collections
import os
import pathlib
import random
import shutil
import struct
import subprocess
import time

import pytest

from . import admin, wire
from .arrivals import arrive
from .processes import tail, wait_until
from .replicas import directory_of, moved_to, place_of, replicas_of, wait_in_sync
from .transactions import read_committed

SECONDS = 60 * float(os.environ.get("ZURAU_STORM_MINUTES", 0))
SEED = int(os.environ.get("ZURAU_STORM_SEED", random.randrange(1 << 32) if SECONDS else 1))
_WITHOUT = os.environ.get("ZURAU_STORM_WITHOUT", "").split(",")
BROKERS = 3
# Two directories each, between which replicas move, and segments that are closed soon, in which bits flip.
PROPERTIES = {"log_dirs": 2, "log_segment_bytes": 1 << 17}

_ARRIVALS = "arrivals"
_PARTITIONS = 3
_HOUR = 3600
# Moves what a process takes for the time of day by as many seconds as a file says. Timers go by other clocks.
_CLOCK = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int64_t ahead(void) {
  static const volatile int64_t *seconds;
  if (!seconds) {
    void *at = mmap(NULL, sizeof *seconds, PROT_READ, MAP_SHARED, open(getenv("CLOCK_AHEAD"), O_RDONLY | O_CLOEXEC), 0);
    if (at == MAP_FAILED) abort();
    seconds = at;
  }
  return *seconds;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int failed = syscall(SYS_clock_gettime, clock, now);
  if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += ahead();
  return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  struct timespec precise;
  (void)zone;
  if (clock_gettime(CLOCK_REALTIME, &precise)) return -1;
  now->tv_sec = precise.tv_sec;
  now->tv_usec = precise.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *to) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (to) *to = now.tv_sec;
  return now.tv_sec;
}
"""


class Clocks:
    """A time of day for each broker, by a library that is loaded before all others."""

    def __init__(self, directory):
        self._directory = pathlib.Path(directory) / "clocks"
        self._directory.mkdir()
        source, self._library = self._directory / "clock.c", self._directory / "clock.so"
        source.write_text(_CLOCK)
        try:
            subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", self._library, source], check=True)
        except (FileNotFoundError, subprocess.CalledProcessError):
            pytest.skip("this machine has no C compiler")

    def give(self, broker):
        """Before it starts."""
        self.set(broker, 0)
        broker.environment = {"LD_PRELOAD": str(self._library), "CLOCK_AHEAD": str(self._file(broker))}

    def set(self, broker, seconds):
        """The broker's clock is so far ahead of the machine's, or behind it, from now on."""
        # In place: the process has mapped it.
        with open(self._file(broker), "r+b" if self._file(broker).exists() else "wb") as f:
            f.write(struct.pack("=q", seconds))

    def _file(self, broker):
        return self._directory / str(broker.number)


class Mix:
    """Acts `first` in this order, then any of these and of `more` for as long as the storm lasts."""

    def __init__(self, chance, first, more, seconds=SECONDS):
        print(f"ZURAU_STORM_SEED={SEED}", flush=True)
        self._chance = chance
        self._first = [act for act in first if act.__name__ not in _WITHOUT]
        self._all = [*self._first, *(act for act in more if act.__name__ not in _WITHOUT)]
        self._end = time.monotonic() + seconds
        self._count = 0

    def goes_on(self):
        return self._first or time.monotonic() < self._end

    def act(self):
        act = self._first.pop(0) if self._first else self._chance.choice(self._all)
        started = time.monotonic()
        print(f"{self._count}: {act.__name__} …", flush=True)
        act()
        print(f"{self._count}: {act.__name__}, {time.monotonic() - started:.1f} s", flush=True)
        self._count += 1


class Faults:
    """What is done to a cluster of three that runs with `PROPERTIES` and `clocks`, while clients use `topic`.

    `go_on` returns when these clients have done some more of their work, `settle` when all replicas are in sync.
    """

    def __init__(self, cluster, clocks, topic, chance, go_on, settle):
        self.cluster = cluster
        self.chance = chance
        self.counts = collections.Counter()
        self._clocks = clocks
        self._topic = topic
        self._go_on = go_on
        self._settle = settle
        self._committed = []
        assignment = [[1 + (p + n) % BROKERS for n in range(BROKERS)] for p in range(_PARTITIONS)]
        admin.create_topic(cluster.brokers[0], _ARRIVALS, assignment=assignment, min_insync_replicas=2)

    def all(self):
        return [
            self.every_broker_pauses,
            self.a_clock_jumps,
            self.replicas_move_between_directories,
            self.producers_arrive,
            self.a_bit_flips,
            self.sessions_expire,
        ]

    def every_broker_pauses(self):
        """One after another, for less than a session or for longer."""
        for broker in self.cluster.brokers:
            broker.pause()
            self._last()
            broker.resume()
            self.counts["pauses"] += 1
        self._heal()

    def a_clock_jumps(self):
        """By an hour there and back, with work at either."""
        broker = self.chance.choice(self.cluster.brokers)
        maps = pathlib.Path(f"/proc/{broker.process.pid}/maps").read_text()
        assert broker.environment["CLOCK_AHEAD"] in maps, f"broker {broker.number} has another clock"
        for seconds in (self.chance.choice([_HOUR, -_HOUR]), 0):
            self._clocks.set(broker, seconds)
            self.counts["clock jumps"] += 1
            self._last()
            self._go_on()
        self._heal()

    def replicas_move_between_directories(self):
        """All of the topic that a broker has, those that it leads and those that it follows."""
        broker = self.chance.choice(self.cluster.brokers)
        now = {p: place_of(broker, self._topic, p) for p in self._partitions()}
        to = {p: (next(n for n, names in at.items() if names) + 1) % len(at) for p, at in now.items()}
        wire.alter_replica_log_dirs(broker.port, self._topic, {p: broker.log_dirs[n] for p, n in to.items()})
        for p, n in to.items():
            wait_until(moved_to(broker, self._topic, p, n), f"{self._topic}-{p} of {broker.number} is in directory {n}", 120)
        self.counts["replicas moved between directories"] += len(to)
        self._heal()

    def producers_arrive(self):
        """1,000 at one broker; all of them get their id, their record and the end of their transaction."""
        broker = self.chance.choice(self.cluster.brokers)
        prefix = f"arrival-{self.counts['producers arrived']}"
        self._committed += arrive(broker.port, _ARRIVALS, _PARTITIONS, prefix, 1000)
        self.counts["producers arrived"] += 1000
        self._heal()

    def a_bit_flips(self):
        """At rest, in a replica that is not the first: the others have what is damaged. The broker works on with it until
        somebody removes the replica, which is then copied again."""
        broker = self.chance.choice(self.cluster.brokers)
        followed = [p for p in self._partitions() if replicas_of(self.cluster, self._topic, p)[0] != broker.number]
        directory = directory_of(broker, self._topic, self.chance.choice(followed))
        self._stops(broker)
        log = self.chance.choice(sorted(f for f in directory.glob("*.log") if f.stat().st_size))
        at, bit = self.chance.randrange(log.stat().st_size), self.chance.randrange(8)
        print(f"bit {bit} of byte {at} of {log.stat().st_size} in {log}", flush=True)
        with open(log, "r+b") as f:
            f.seek(at)
            (byte,) = f.read(1)
            f.seek(at)
            f.write(bytes([byte ^ 1 << bit]))
        self.counts["bits flipped"] += 1
        broker.start()
        self._heal()
        self._stops(broker)
        shutil.rmtree(directory)
        broker.start()
        self._heal()

    def sessions_expire(self):
        """Of one broker, of two or of all at once."""
        victims = self.chance.sample(self.cluster.brokers, self.chance.randint(1, BROKERS))
        with self.cluster.ensemble.client(self.cluster.chroot) as zk:

            def session(broker):
                registration = zk.exists(f"/brokers/ids/{broker.number}")
                return registration and registration.ephemeralOwner

            lost = {broker: session(broker) for broker in victims}
            for broker, one in lost.items():
                # An owner that connects again in between takes it back, and keeps it.
                ended = lambda: _expire(self.cluster.ensemble, one) or session(broker) != one
                wait_until(ended, f"the session of broker {broker.number} ends", 60)
                self.counts["sessions expired"] += 1
            for broker, one in lost.items():
                registered = lambda: session(broker) not in (None, one)
                wait_until(registered, f"broker {broker.number} is registered again", 60)
        self._heal()

    def _last(self):
        """What a fault lasts; a session lasts for 6 s."""
        time.sleep(self.chance.uniform(1, 8) if SECONDS else 1)

    def _partitions(self):
        return sorted(wire.metadata(self.cluster.brokers[0].port, [self._topic])[2][self._topic])

    def _stops(self, broker):
        code = broker.stop()
        assert code == 143, f"broker {broker.number} ended with {code}:\n{tail(broker.process.output())}"

    def _heal(self):
        for broker in self.cluster.brokers:
            assert broker.alive(), f"broker {broker.number} ended:\n{tail(broker.process.output())}"
        self._go_on()
        self._settle()

    def check(self):
        """At the end: every broker serves with all its directories, everything is in sync, and of the producers that came
        each record is there that was committed, once, and none that was not."""
        print(", ".join(f"{count} {what}" for what, count in sorted(self.counts.items())), flush=True)
        for broker in self.cluster.brokers:
            assert broker.answers(), f"broker {broker.number} does not know itself"
            errors = wire.log_dirs(broker.port)
            assert set(errors.values()) == {0}, errors
        with self.cluster.ensemble.client(self.cluster.chroot) as zk:
            topics = zk.get_children("/brokers/topics")
        for topic in topics:
            wait_in_sync(self.cluster, topic, BROKERS)
        stored = read_committed(self.cluster, _ARRIVALS, _PARTITIONS)
        assert sorted(value for values in stored.values() for value in values) == sorted(self._committed)


def _expire(ensemble, session):
    """Closes a session in the name of its owner, over a connection that takes it over first."""
    password = _password(session)
    # Version, last zxid, timeout, session, password, not read-only.
    take_over = struct.pack(">iqiqi16s?", 0, 0, 6000, session, len(password), password, False)
    close = struct.pack(">ii", 0, -11)
    with wire.connect(ensemble.servers[0].port) as s:
        s.sendall(b"".join(struct.pack(">i", len(frame)) + frame for frame in (take_over, close)))
        wire.closed_by_peer(s)


def _password(session):
    """What an Apache server gives with a session id: 16 bytes of java.util.Random, seeded with the id and a constant."""
    state = (session ^ 0xB3415C00 ^ 0x5DEECE66D) & (1 << 48) - 1
    password = b""
    for _ in range(4):
        state = (state * 0x5DEECE66D + 0xB) & (1 << 48) - 1
        password += struct.pack("<I", state >> 16)
    return password
