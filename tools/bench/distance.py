#!/usr/bin/env python3
"""Commit time against the round trip between the machines.

Three network namespaces on a wire that delays every packet (lab/lan.py: no netem needed), a node of canary and a member of
etcd in each. The operator sits on node-a's machine, the etcd client on the leader's. The round trip is measured on the wire itself, in the same
run. An advance needs two round trips and an etcd put one; a retreat is decided after one, and its answer waits for one more, the
acknowledgements. The last lines show what was measured. Needs root.
"""

import socket
import statistics
import sys
import threading
import time

from lab import both, figures
from lab.canary import Canary, Ladder
from lab.etcd import Etcd, put_message
from lab.lan import MACHINES, Lan
from lab.place import Place, inside, require_disk, require_programs

# One way, in milliseconds: the same room, the same region, the same continent.
DELAYS = (0, 0.5, 2.5, 10)
ECHO_PORT = 7
SETTLE_SECONDS = 0.3


class Echo:
    """Measures the round trip from the first machine to the second."""

    def __init__(self, lan):
        with inside(lan.spaces[1]):
            listener = socket.socket()
            listener.bind((MACHINES[1], ECHO_PORT))
            listener.listen()
        threading.Thread(target=self._answer, args=(listener,), daemon=True).start()
        with inside(lan.spaces[0]):
            self.line = socket.create_connection((MACHINES[1], ECHO_PORT), timeout=10)
        self.line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @staticmethod
    def _answer(listener):
        line, _ = listener.accept()
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := line.recv(64):
            line.send(data)

    def round_trip(self, _request) -> None:
        self.line.send(b"x")
        self.line.recv(1)


def measure(given) -> "list[figures.Figure]":
    require_programs("etcd", "openssl", "ip")
    require_disk(given.dir)
    with Place(given.dir) as place:
        lan = Lan(place)
        canary = Canary(place, given.canary, list(MACHINES), lan.spaces)
        etcd = Etcd(place, list(MACHINES), lan.spaces)
        canary.start()
        etcd.start()
        echo, ladder = Echo(lan), Ladder(canary.operator("a"))
        grpc, message = etcd.grpc(etcd.leader(), "KV/Put"), put_message(b"x" * 500)
        found = run_rounds(given, lan, ladder, (lambda: None, echo.round_trip), (lambda: message, grpc.call))
        echo.line.close()
    return report(found)


def run_rounds(given, lan, ladder, echo, put) -> dict:
    found: dict = {}
    contestants = [("rtt", *echo), ("advance", ladder.up, ladder.make), ("retreat", ladder.down, ladder.make), ("put", *put)]
    for _ in range(given.rounds):
        for delay in DELAYS:
            lan.delay(delay)
            time.sleep(SETTLE_SECONDS)
            for name, prepare, act in contestants:
                times = both.timed(given.count, prepare, act)
                found.setdefault((name, delay), []).append(statistics.median(times))
    return found


def report(found: dict) -> "list[figures.Figure]":
    rows = []
    for delay in DELAYS:
        trip = statistics.median(found["rtt", delay])
        for name in ("advance", "retreat"):
            rows.append(figures.ratio(f"{name}, round trip {trip:.1f} ms", "ms", found[name, delay], "etcd gRPC put", found["put", delay]))
    for name in ("advance", "retreat"):
        rows.append(figures.value(f"{name}, cost in round trips", "", slopes(found, name), "etcd gRPC put", slopes(found, "put")))
    return rows


def slopes(found: dict, name: str) -> "list[float]":
    """For each round: how much longer it took on the longest wire than on the shortest, in round trips."""
    near, far = DELAYS[0], DELAYS[-1]
    rounds = zip(found[name, far], found[name, near], found["rtt", far], found["rtt", near])
    return [(long - short) / (trip - touch) for long, short, trip, touch in rounds]


def add_options(parser):
    parser.add_argument("--count", type=int, default=20, help="changes a round, distance and kind (default 20)")


if __name__ == "__main__":
    sys.exit(figures.alone(__doc__, add_options, measure))
