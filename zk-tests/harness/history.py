"""Every write that a ZooKeeper server has ever done, from its transaction log: what watching would miss is there too.

file    | "ZKLG" | version i32 | database id i64 | records …
record  | checksum i64 | length i32 | header, body | 0x42 |; length 0 ends the file
header  | session i64 | cxid i32 | zxid i64 | time i64 | type i32 |
"""

import struct

from .znodes import mask

_CREATE, _DELETE, _SET, _CHECK, _MULTI, _CREATE2, _ERROR, _CLOSE = 1, 2, 5, 13, 14, 15, -1, -11


class _Fields:
    def __init__(self, data):
        self.data, self.at = data, 0

    def int(self):
        return self._take(">i", 4)

    def long(self):
        return self._take(">q", 8)

    def _take(self, form, size):
        (value,) = struct.unpack_from(form, self.data, self.at)
        self.at += size
        return value

    def buffer(self):
        length = self.int()
        if length < 0:
            return None
        self.at += length
        return self.data[self.at - length : self.at]

    def string(self):
        data = self.buffer()
        return "" if data is None else data.decode()


def _operations(kind, fields):
    """[(operation, path, data)] of one transaction."""
    if kind in (_CREATE, _CREATE2):
        return [("create", fields.string(), fields.buffer())]
    if kind == _SET:
        return [("set", fields.string(), fields.buffer())]
    if kind == _DELETE:
        return [("delete", fields.string(), None)]
    if kind == _CLOSE and fields.at < len(fields.data):
        return [("delete", fields.string(), None) for _ in range(fields.int())]
    if kind == _MULTI:
        parts = [(fields.int(), fields.buffer()) for _ in range(fields.int())]
        if any(part == _ERROR for part, _ in parts):
            return []
        return [done for part, body in parts for done in _operations(part, _Fields(body))]
    return []


def writes(server, chroot):
    """All writes of a server below a chroot, in order: (operation, path, data as text with its masks, or None)."""
    out = []
    for file in sorted(server.data.glob("version-2/log.*"), key=lambda f: int(f.suffix[1:], 16)):
        fields = _Fields(file.read_bytes())
        fields.at = 16
        while fields.at + 12 <= len(fields.data):
            fields.long()
            body = fields.buffer()
            if not body:
                break
            fields.at += 1
            inner = _Fields(body)
            inner.at = 8 + 4 + 8 + 8
            for operation, path, data in _operations(inner.int(), inner):
                if path.startswith(chroot + "/"):
                    text = None if data is None else mask(data.decode())
                    out.append((operation, path[len(chroot) :], text))
    return out


def by_path(done):
    """The life of each node, as lines of text. Null data counts as empty: we cannot write it."""
    lives = {}
    for operation, path, data in done:
        lives.setdefault(path, []).append(f"{operation} {data or ''}".rstrip())
    return lives
