"""Dumps a tree of znodes as text, with what differs from run to run masked: ids, times, hosts and ports."""

import re

from kazoo.exceptions import NoAuthError

_MASKS = [
    (re.compile(r'"timestamp":"\d+"'), '"timestamp":"TIME"'),
    (re.compile(r'"topic_id":"[A-Za-z0-9_-]{22}"'), '"topic_id":"ID"'),
    (re.compile(r'"id":"[A-Za-z0-9_-]{22}"'), '"id":"ID"'),
    (re.compile(r'"port":\d+'), '"port":PORT'),
    (re.compile(r"://127\.0\.0\.1:\d+"), "://HOST:PORT"),
    (re.compile(r'"host":"127\.0\.0\.1"'), '"host":"HOST"'),
]


def mask(text):
    for pattern, to in _MASKS:
        text = pattern.sub(to, text)
    return text


def dump(client, path="/"):
    """`path [ephemeral] vVERSION ACL: data`, one line a node, in order of paths, masked. `client` is kazoo's. What it may
    not read says so. A directory has null data where Apache made it, and empty data where we did; the node of producer ids,
    which Apache makes without data, we make with the first ids."""
    lines = []

    def visit(at):
        try:
            data, stat = client.get(at)
        except NoAuthError:
            lines.append(f"{at} hidden")
            return
        if at == "/latest_producer_id_block" and not data:
            return
        acls, _ = client.get_acls(at)
        is_directory = not data and not stat.ephemeralOwner
        shown = "null" if data is None or is_directory else repr(mask(data.decode()))
        access = ",".join(sorted(f"{a.id.scheme}:{a.id.id}:{a.perms}" for a in acls))
        lines.append(f"{at}{' ephemeral' if stat.ephemeralOwner else ''} v{stat.version} {access}: {shown}")
        for child in sorted(client.get_children(at)):
            visit(f"{at.rstrip('/')}/{child}")

    visit(path)
    return "\n".join(lines) + "\n"
