"""File systems of a test's own: small ones that become full, and real ones whose device fails."""

import contextlib
import ctypes
import fcntl
import os
import pathlib
import struct
import subprocess

import pytest

from .processes import wait_until

_LIBC = ctypes.CDLL(None, use_errno=True)
_MNT_DETACH = 2
# ext4's ioctl that ends a file system as a failing device would: every later read, write and sync is EIO.
_EXT4_IOC_SHUTDOWN = 0x8004587D
_WITHOUT_LOG_FLUSH = 2


class Mounts:
    """Mounts under a directory. A machine that does not allow them skips the test."""

    def __init__(self):
        self._mounted = []

    def tmpfs(self, path, size):
        return self._mount(path, ["-t", "tmpfs", "-o", f"size={size}", "none"])

    def ext4(self, path, size="48M"):
        image = pathlib.Path(path).with_suffix(".img")
        if not image.exists():
            self._run(["truncate", "-s", size, image])
            self._run(["mkfs.ext4", "-q", "-F", image])
        # What was mounted before may be held for a moment longer, and mount would take that device with its failure again.
        wait_until(lambda: image not in _looped(), f"no device has {image} any more")
        return self._mount(path, ["-o", "loop", image])

    def _mount(self, path, words):
        path = pathlib.Path(path)
        path.mkdir(parents=True, exist_ok=True)
        self._run(["mount", *words, path])
        self._mounted.append(path)
        return path

    def _run(self, command):
        try:
            done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
        except FileNotFoundError as e:
            pytest.skip(f"this machine has no {e.filename}")
        if done.returncode != 0:
            pytest.skip(f"this machine does not let us mount: {done.stderr.strip()}")

    def fail(self, path):
        """Lets the device under an ext4 of ours fail."""
        fd = os.open(path, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, _EXT4_IOC_SHUTDOWN, struct.pack("I", _WITHOUT_LOG_FLUSH))
        finally:
            os.close(fd)

    def unmount(self, path):
        path = pathlib.Path(path)
        self._mounted.remove(path)
        assert _LIBC.umount2(os.fsencode(path), _MNT_DETACH) == 0, f"umount {path}: {os.strerror(ctypes.get_errno())}"

    def close(self):
        for path in list(reversed(self._mounted)):
            with contextlib.suppress(AssertionError):
                self.unmount(path)


def _looped():
    """The files behind loop devices."""
    return {pathlib.Path(f.read_text().strip()) for f in pathlib.Path("/sys/block").glob("loop*/loop/backing_file")}


def free(path):
    """Bytes that are free."""
    stat = os.statvfs(path)
    return stat.f_bavail * stat.f_frsize


class Ballast:
    """A file that takes the room of a file system."""

    def __init__(self, directory):
        self._path = pathlib.Path(directory) / ".ballast"

    def leave(self, bytes_left):
        """Takes all room but so much, while others take it too."""
        with open(self._path, "ab") as f:
            while (take := free(self._path.parent) - bytes_left) > 0:
                with contextlib.suppress(OSError):
                    os.posix_fallocate(f.fileno(), os.fstat(f.fileno()).st_size, take)

    def drop(self):
        self._path.unlink()
