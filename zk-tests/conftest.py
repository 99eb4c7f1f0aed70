"""Fixtures: what each test gets started for it, and what is kept when it fails."""

import collections
import itertools
import pathlib
import re
import shutil
import signal
import tempfile

import pytest

# What it compares is shown when it differs.
pytest.register_assert_rewrite("harness.pair")

from harness import CACHE, PEER, ZURAU, broker, clients, processes, tools, zookeeper

_FAILED = CACHE / "failed"


def pytest_sessionstart(session):
    session.failed_items = set()
    shutil.rmtree(_FAILED, ignore_errors=True)
    if PEER not in ("apache", "zurau"):
        pytest.exit(f"ZURAU_TEST_PEER is {PEER}: it must be apache or zurau", 2)
    if PEER == "zurau" and not ZURAU.exists():
        pytest.exit(f"{ZURAU} is missing: zk-tests/run builds it", 2)
    # SIGTERM unwinds like Ctrl-C, so that fixtures and exit handlers end what was started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_report_header():
    return f"broker under test: {PEER}"


def pytest_terminal_summary(terminalreporter):
    """Which files take the time."""
    took = collections.Counter()
    for report in itertools.chain.from_iterable(terminalreporter.stats.values()):
        if isinstance(report, pytest.TestReport):
            took[report.nodeid.partition("::")[0]] += report.duration
    terminalreporter.section("slowest files")
    for file, seconds in took.most_common(15):
        terminalreporter.line(f"{seconds:7.1f} s {file}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        item.session.failed_items.add(item.nodeid)
        for name in ("module_directory", "directory"):
            if path := item.funcargs.get(name):
                # After the teardown of a file's fixture its directory has been put away.
                for process in filter(lambda process: process.log.exists(), processes.logs(path)):
                    report.sections.append((f"end of the log of {process.name}", processes.tail(process.output(), 30)))
    return report


@pytest.fixture(scope="session")
def base():
    """Where everything of this run lives. Gone at its end; what failed is moved away before."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="zurau-tests-"))
    yield path
    processes.end_all()
    shutil.rmtree(path, ignore_errors=True)


def _directory(base, name):
    path = base / re.sub(r"[^A-Za-z0-9.-]+", "_", name).strip("_")
    path.mkdir(parents=True)
    return path


def _put_away(path, failed):
    if failed:
        _FAILED.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(_FAILED / path.name, ignore_errors=True)
        shutil.move(path, _FAILED / path.name)
    else:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def directory(base, request):
    """A fresh directory. It is kept under .cache/failed when the test fails."""
    path = _directory(base, request.node.name)
    yield path
    processes.end_under(path)
    _put_away(path, request.node.nodeid in request.session.failed_items)


@pytest.fixture(scope="module")
def module_directory(base, request):
    """A fresh directory for what all tests of a file share."""
    path = _directory(base, request.node.name)
    yield path
    processes.end_under(path)
    _put_away(path, any(item.startswith(request.node.nodeid) for item in request.session.failed_items))


@pytest.fixture(scope="session")
def ensemble(base):
    """One real ZooKeeper server, for all tests that leave it alive."""
    one = zookeeper.Ensemble(base / "zookeeper").start()
    yield one
    one.stop()


@pytest.fixture
def ensemble3(directory):
    """Three real ZooKeeper servers of this test's own: it may kill them."""
    three = zookeeper.Ensemble(directory / "zookeeper", 3).start()
    yield three
    three.stop()


@pytest.fixture
def cluster(directory, ensemble):
    """A fresh chroot and directories, nothing started."""
    return broker.Cluster(directory, ensemble)


@pytest.fixture
def running(cluster):
    """One running broker of the kind under test."""
    return cluster.broker(1).start()


@pytest.fixture(scope="session")
def apache_tools(base):
    """Apache's command-line tools."""
    host = tools.Tools(base / "tools")
    yield host
    host.close()


@pytest.fixture(scope="session")
def records(base):
    """The 100,000 records that the stock clients write and read."""
    return clients.Records(base / "records")
