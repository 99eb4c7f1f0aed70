"""Names of a broker's own: an /etc/hosts, and a host name, that only one process sees."""

import subprocess

import pytest

_ENTER = 'mount --bind "$1" /etc/hosts && hostname "$2" && shift 2 && exec "$@"'


def in_a_host(directory, hosts, name):
    """Words that start a command where `/etc/hosts` has these lines and the machine this name."""
    file = directory / f"hosts-{name}"
    file.write_text("127.0.0.1 localhost\n" + "".join(f"{line}\n" for line in hosts))
    words = ["unshare", "-m", "-u", "sh", "-c", _ENTER, "sh", file, name]
    try:
        tried = subprocess.run([str(word) for word in [*words, "true"]], capture_output=True, text=True, check=False)
    except FileNotFoundError as e:
        pytest.skip(f"this machine has no {e.filename}")
    if tried.returncode != 0:
        pytest.skip(f"this machine has no namespaces for us: {tried.stderr.strip()}")
    return words
