"""Waiting until nothing changes on its own any more: what runs twice, and is compared, sees the same both times."""

from . import wire
from .processes import wait_until


def wait_settled(brokers, seconds=120):
    """Returns once every running one of these brokers, which are all of a cluster, describes it alike, twice in a row: only
    the running are registered, and all their replicas are in sync, but for those to which a partition still moves. A move
    that its throttle holds up may stay under way: nothing of this changes by it."""
    running = [broker for broker in brokers if broker.alive()]
    before = None

    def stands():
        nonlocal before
        now = _described(running)
        before, last = now, before
        return now == last

    if running:
        wait_until(stands, "all brokers describe the same settled cluster", seconds)


def _described(running):
    views = {broker.number: (wire.view(broker.port), wire.dynamic_configs(broker.port)) for broker in running}
    (first, (view, defaults)), *others = views.items()
    for number, other in others:
        if other != (view, defaults):
            raise LookupError(f"broker {first} describes {view}, {defaults} and broker {number} {other}")
    if set(view.brokers) != set(views):
        raise LookupError(f"{sorted(view.brokers)} are registered, {sorted(views)} run")
    moving = wire.reassignments(view.brokers[view.controller])
    for partition, one in view.partitions.items():
        wanted = set(one.replicas) & set(views) - set(moving.get(partition, ()))
        # The last that was in sync stays so when it goes.
        if wanted and (set(one.isr) != wanted or one.leader not in wanted):
            raise LookupError(f"{partition} is {one}, and {sorted(wanted)} are to be in sync")
    return view
