"""A way between two processes that can be cut."""

import contextlib
import socket
import threading

from .processes import free_port


class Proxy:
    """Passes bytes on to a port of this host. While it is cut, connections break and new ones are refused at once; while it
    is held, connections stay and nothing passes."""

    def __init__(self, target, host="127.0.0.1"):
        self.port = free_port()
        self._target = target
        self._cut = False
        self._flows = threading.Event()
        self._flows.set()
        self._sockets = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server((host, self.port), backlog=64)
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self):
        with self._lock:
            self._cut = True
            broken, self._sockets = self._sockets, set()
        for s in broken:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
        # What was held goes nowhere.
        self._flows.set()

    def hold(self):
        self._flows.clear()

    def heal(self):
        with self._lock:
            self._cut = False
        self._flows.set()

    def close(self):
        self._listener.close()
        self.cut()

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._join, args=(near,), daemon=True).start()

    def _join(self, near):
        with contextlib.suppress(OSError), near, socket.create_connection(("127.0.0.1", self._target), 5) as far:
            far.settimeout(None)
            with self._lock:
                if self._cut:
                    return
                self._sockets |= {near, far}
            back = threading.Thread(target=self._pass, args=(far, near), daemon=True)
            back.start()
            self._pass(near, far)
            back.join()
            with self._lock:
                self._sockets -= {near, far}

    def _pass(self, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._flows.wait()
                sink.sendall(data)
        for s in (source, sink):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
