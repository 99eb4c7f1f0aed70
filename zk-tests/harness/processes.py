"""Owns every process of the test run: start with a log file, wait for conditions, end by pid."""

import atexit
import contextlib
import ctypes
import os
import pathlib
import signal
import socket
import subprocess
import time

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
_POLL_SECONDS = 0.02
_running = {}
_started = []


def free_port():
    """A port that nobody listens on now. Below the range of outgoing connections, so that none takes it meanwhile, and of a
    block that no other test run has: one that a broker leaves for a moment stays its own."""
    global _ports, _next_port
    if _ports is None:
        _ports = _claim_ports()
        _next_port = _ports.start
    while True:
        _next_port = _next_port + 1 if _next_port < _ports.stop - 1 else _ports.start
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                s.bind(("127.0.0.1", _next_port))
                return _next_port


_ports = None
_next_port = None
# Holds the claim on a block of ports for as long as this process lives.
_claim = socket.socket(socket.AF_UNIX)


def _claim_ports():
    for start in range(12_000, 30_000, 600):
        with contextlib.suppress(OSError):
            _claim.bind(f"\0zurau-tests-ports-{start}")
            return range(start, start + 600)
    raise RuntimeError("30 test runs have all ports of this machine")


def wait_until(condition, what, seconds=120):
    """Polls until `condition()` is true and returns its value; past the deadline the last error is in the message."""
    deadline = time.monotonic() + seconds
    last = None
    while True:
        try:
            value = condition()
            if value:
                return value
        except (OSError, LookupError, RuntimeError) as e:
            last = e
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {what}" + (f" (last: {last!r})" if last else ""))
        time.sleep(_POLL_SECONDS)


class Process:
    """A child with its output in a file. It dies with us, whatever kills us."""

    def __init__(self, command, log, name, env=None, stdin=subprocess.DEVNULL, stdout=None):
        """Standard error goes to the log, and standard output too unless `stdout` says otherwise."""
        self.name = name
        self.log = pathlib.Path(log)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        # One log over all starts of the same name; readers look only at the part since this start.
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        with open(self.log, "ab") as out:
            self._child = subprocess.Popen(
                [str(word) for word in command],
                stdin=stdin,
                stdout=stdout or out,
                stderr=out,
                env={**os.environ, **(env or {})},
                start_new_session=True,
                preexec_fn=lambda: _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),
            )
        _running[self._child.pid] = self
        _started.append(self)

    @property
    def pid(self):
        return self._child.pid

    @property
    def stdin(self):
        return self._child.stdin

    @property
    def stdout(self):
        return self._child.stdout

    def alive(self):
        return self._child.poll() is None

    def output(self):
        """What it printed since this start."""
        with open(self.log, "rb") as f:
            f.seek(self._log_start)
            return f.read().decode("utf-8", "replace")

    def signal(self, number):
        if self.alive():
            os.kill(self.pid, number)

    def wait(self, seconds=120):
        """The exit code; negative for a signal."""
        try:
            code = self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{self.name} (pid {self.pid}) did not end within {seconds} s") from None
        _running.pop(self.pid, None)
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()
        return code

    def terminate(self, seconds=120):
        self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def kill(self):
        self.signal(signal.SIGKILL)
        return self.wait()

    def wait_for_line(self, text, seconds):
        """Returns when the text is in its output; fails at once when it ends before."""

        def seen():
            ended = not self.alive()
            if text in self.output():
                return True
            if ended:
                raise EndedEarly(f"{self.name} ended with {self._child.returncode} before {text!r}:\n{tail(self.output())}")
            return False

        wait_until(seen, f"{self.name} prints {text!r}", seconds)

    def resident_bytes(self):
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError(f"{self.name} has no memory any more")


class EndedEarly(Exception):
    """A process ended instead of becoming ready."""


def tail(text, lines=40):
    return "\n".join(text.splitlines()[-lines:])


def run(command, log, name, seconds=300, env=None, stdout=None):
    """Runs to the end and returns the exit code; the output is in the log."""
    process = Process(command, log, name, env=env, stdout=stdout)
    try:
        return process.wait(seconds)
    except TimeoutError:
        process.kill()
        raise


def logs(directory):
    """The processes whose logs are in this directory, running or ended; of those with one log the last."""
    return list({p.log: p for p in _started if p.log.is_relative_to(directory)}.values())


def end_under(directory):
    """Ends the processes whose logs are in this directory."""
    _end(lambda p: p.log.is_relative_to(directory))


@atexit.register
def end_all():
    _end(lambda _: True)


def _end(chosen):
    for process in [p for p in _running.values() if chosen(p)]:
        with contextlib.suppress(OSError, TimeoutError):
            process.kill()
