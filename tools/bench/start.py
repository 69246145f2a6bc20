#!/usr/bin/env python3
"""How long a node takes from start to ready, against a member of etcd.

Each round restarts each of the three, one after the other, with its data and with the others up: from the start of the process until
`/readyz` (canary) or `/health` (etcd) says yes over TLS, asked every 2 ms on a new connection.
"""

import sys
import time

from lab import both, figures
from lab.canary import IDS, Ladder
from lab.place import stop


def restart(process, start, ready) -> float:
    """Stops a process, starts it again, and gives the seconds until it is ready."""
    stop(process)
    begin = time.perf_counter()
    start()
    ready()
    return time.perf_counter() - begin


def measure(given) -> "list[figures.Figure]":
    ours, theirs = [], []
    with both.clusters(given) as (canary, etcd):
        ladder = Ladder(canary.operator("a"))
        for _ in range(20):
            ladder.make(ladder.up())
        for _ in range(given.rounds):
            for name in IDS:
                ours.append(restart(canary.nodes[name], lambda: canary.start_node(name), lambda: canary.until_ready(name)))
                canary.until_agreed()
                theirs.append(restart(etcd.members[name], lambda: etcd.start_member(name), lambda: etcd.until_healthy(name)))
    return [figures.value("start to /readyz", "s", ours, "etcd to /health", theirs, 0.5, 0.1)]


def add_options(_parser):
    """None of its own."""


if __name__ == "__main__":
    sys.exit(figures.alone(__doc__, add_options, measure))
