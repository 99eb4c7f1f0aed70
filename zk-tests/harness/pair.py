"""Both kinds of tools on one cluster: the same calls print the same and end with the same code. Where a call changes
something, each side gets a topic of its own, and what it printed is compared with the names evened out."""

import re

from . import tools
from .settled import wait_settled

US, THEM = "ours", "them"
BS = "--bootstrap-server {bs}"


class Pair:
    """Both kinds of tools on one cluster, which are all its brokers. In arguments `{bs}` is the bootstrap server, `{me}` the
    side's name."""

    def __init__(self, brokers, apache_tools):
        self.brokers = brokers
        self.bootstrap = brokers[0].bootstrap
        self.sides = {US: tools.OurTools(), THEM: apache_tools}

    def run(self, line, stdin="", side=None):
        """Runs both or one. Each finds the cluster settled, or it would see on its way what the one before has changed, or
        not yet: a tool asks any of the brokers."""
        results = {}
        for me, kind in self.sides.items():
            if side in (None, me):
                wait_settled(self.brokers)
                name, *args = (word.format(bs=self.bootstrap, me=me) for word in split(line))
                results[me] = kind.run(name, *args, stdin=stdin.format(me=me))
        return results

    def same(self, line, stdin="", sort=False):
        """Runs both and expects the same exit code, standard output and messages; gives what was printed."""
        results = self.run(line, stdin)
        own = "{me}" in line + stdin
        told = {me: told_by(result, me if own else None, sort) for me, result in results.items()}
        assert told[US] == told[THEM]
        return told[US]


def split(line):
    return [word for word in line.split(" ") if word]


# A line of a logger, with the exception that it tells of.
_LOGGED = re.compile(
    r"^\[\d{4}-\d\d-\d\d [\d:,]+\] .*\n?(?:(?:[\w.$]+(?:Exception|Error)\b.*|\s+at .*|Caused by: .*|\s+\.\.\. \d+ more)(?:\n|$))*",
    re.MULTILINE,
)
_STACK = re.compile(r"\s+at |\s+Suppressed: |\s*\.\.\. \d+ more|Caused by|Exception in thread|(java|javax|org|com|kafka|joptsimple)\.[\w.$]+(Exception|Error)\b|\s*$")
_STACK_LINE = re.compile(r"^(\tat |Caused by: |\t\.\.\. \d+ more).*\n", re.MULTILINE)


def without_log(text):
    """What a tool says itself: a thread that an earlier tool left in the same JVM may log something."""
    return _LOGGED.sub("", text)


def told_by(result, me, sort):
    """What an operator reads: no times, no stacks, no help text behind a message, no ids that differ by nature."""
    # Some tools print their stacks on standard output.
    out, err = _STACK_LINE.sub("", result.stdout), without_log(result.stderr)
    if me:
        out, err = out.replace(me, "ME"), err.replace(me, "ME")
        out = re.sub(r"TopicId: \S+", "TopicId: ID", out)
    errors = []
    for line in err.splitlines():
        if re.match(r"Option +Description", line):
            break
        if not _STACK.match(line):
            errors.append(line)
    return result.exit, sorted(out.splitlines()) if sort else out, errors
