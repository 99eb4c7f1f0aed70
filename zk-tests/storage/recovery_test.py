"""After kill -9 a log with much to read again holds back no other."""

import contextlib
import os
import subprocess

import pytest
from confluent_kafka import Producer

from harness import PEER, admin
from harness.processes import wait_until
from harness.reader import read
from harness.replicas import wait_in_sync, wait_isr

# Lets reads of logs whose topic begins with "slow" wait until a file is there.
_SLOW_DISK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

ssize_t pread64(int fd, void *buffer, size_t count, off64_t offset) {
  ssize_t (*next)(int, void *, size_t, off64_t) = (ssize_t (*)(int, void *, size_t, off64_t))dlsym(RTLD_NEXT, "pread64");
  char name[64], path[4096];
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(name, path, sizeof path - 1);
  path[length > 0 ? length : 0] = 0;
  const char *end = strrchr(path, '.');
  if (end && !strcmp(end, ".log") && strstr(path, "/slow"))
    while (access(getenv("SLOW_UNTIL"), F_OK)) usleep(1000);
  return next(fd, buffer, count, offset);
}
"""


@pytest.fixture
def slow_disk(directory):
    """Its environment, and the file that ends it."""
    source, library, until = directory / "slow.c", directory / "slow.so", directory / "until"
    source.write_text(_SLOW_DISK)
    try:
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("this machine has no C compiler")
    return {"LD_PRELOAD": str(library), "SLOW_UNTIL": str(until)}, until


@contextlib.contextmanager
def environment(values):
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            del os.environ[name]


def produce(broker, topic, values):
    """Returns once all are acknowledged by every replica in sync."""
    acknowledged = []
    producer = Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 5, "log_level": 0})
    for value in values:
        producer.produce(topic, value, partition=0, on_delivery=lambda error, _: acknowledged.append(error))
    assert producer.flush(30) == 0, f"{topic} does not acknowledge"
    assert acknowledged == [None] * len(values)


def values_of(broker, topic):
    return [record.value for record in read(broker, topic, 1)[0]]


@pytest.mark.skipif(PEER == "apache", reason="Apache recovers every log before it serves one")
def test_partitions_are_served_as_they_are_ready(cluster, slow_disk):
    """A leader's log, a follower's, and one whose topic is deleted meanwhile; the broker is killed once in the middle."""
    environ, until = slow_disk
    keeper = cluster.broker(2).start()
    broker = cluster.broker(1).start()
    for topic, replicas in {"quick": [1], "slow-led": [1], "slow-gone": [1], "slow-copied": [2, 1]}.items():
        admin.create_topic(keeper, topic, assignment=[replicas])
    # More than what is recovered before the broker serves.
    values = {topic: [b"%05d" % n + os.urandom(1000) for n in range(2500)] for topic in ("slow-led", "slow-copied")}
    for topic, records in values.items():
        produce(keeper, topic, records)
    produce(keeper, "slow-gone", values["slow-led"] * 2)
    produce(keeper, "quick", [b"before"])
    wait_in_sync(cluster, "slow-copied", 2)

    with cluster.ensemble.client(cluster.chroot) as zk:
        for _ in range(2):
            broker.kill()
            cluster.forget(broker)
            with environment(environ):
                broker.launch()
            broker.wait_ready()
            produce(keeper, "quick", [b"meanwhile"])
            # The controller has told what the others are to be, and none of them is.
            wait_until(lambda: broker.process.output().count("its role waits for its log") >= 3, "roles wait")
            produce(keeper, "slow-copied", [b"without it"])
            wait_isr(zk, "slow-copied", [0], [2])
        late = Producer({"bootstrap.servers": keeper.bootstrap, "log_level": 0})
        told = []
        late.produce("slow-led", b"late", partition=0, on_delivery=lambda error, m: told.append((error, m.offset())))
        admin.delete_topic(keeper, "slow-gone")
        wait_until(lambda: not broker.partition("slow-gone", 0).exists(), "the deleted log is gone")
        late.poll(0.5)
        assert not told and "slow-led-0 with" not in broker.process.output()
        until.touch()
        assert late.flush(60) == 0
        assert told == [(None, len(values["slow-led"]))]
        wait_isr(zk, "slow-copied", [0], [1, 2])

    assert values_of(keeper, "slow-led") == values["slow-led"] + [b"late"]
    assert values_of(keeper, "slow-copied") == values["slow-copied"] + [b"without it"] * 2
    assert values_of(keeper, "quick") == [b"before", b"meanwhile", b"meanwhile"]
    broker.stop()
    assert (broker.log_dirs[0] / ".kafka_cleanshutdown").exists()
