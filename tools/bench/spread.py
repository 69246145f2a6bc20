#!/usr/bin/env python3
"""How long until all three nodes serve the new version, against an etcd put until watchers on all members know.

Canary: three connections, each with a long poll (`GET /routing/state?wait=30s` with If-None-Match) open at another node;
from sending `POST /routing/weights` to node-a until the answers of all three show the new version. etcd: three gRPC
connections, each with a watch open at another member; from sending the put (gRPC, to the leader) until all three events are
there. One client, one thread, the same TLS sockets on both sides; 20 ms between changes, so that polls and watches are open.
"""

import gc
import json
import select
import statistics
import sys
import time

from lab import both, figures
from lab.canary import IDS, Ladder, committed
from lab.clients import END_STREAM
from lab.etcd import has_events, put_message, revision, watch_message
from lab.place import options

# Long enough for the next three polls to be open, and the same for the watches.
BETWEEN_SECONDS = 0.02
WAIT_SECONDS = 10


class Polls:
    """Three long polls, opened again after each change."""

    def __init__(self, canary):
        self.lines = [canary.reader(name) for name in IDS]
        self.ladder = Ladder(canary.operator("a"))
        for line in self.lines:
            line.get("/routing/state")
            self.open(line)

    def open(self, line):
        tag = line.header(b"etag")
        line.send(line.request("GET", "/routing/state?wait=30s", headers=f"if-none-match: {tag}\r\n"))

    def prepare(self) -> bytes:
        return self.ladder.up()

    def change(self, request: bytes):
        self.ladder.line.send(request)

    def finish(self) -> int:
        """The version that the change made; the polls are opened again, outside of the time measured."""
        for line in self.lines:
            self.open(line)
        line = self.ladder.line
        return committed(line.wait(line.take))["state"]["version"]

    def take(self, line, version: int) -> "int | None":
        """The version in an answer; a poll that told of something else is opened again at once."""
        answer = line.take()
        if answer is None:
            return None
        told = json.loads(answer[1])["version"]
        if told <= version:
            self.open(line)
        return told


class Watches:
    """Three watches."""

    def __init__(self, etcd, value: bytes):
        self.lines = [etcd.grpc(name, "Watch/Watch") for name in IDS]
        self.put = etcd.grpc(etcd.leader(), "KV/Put")
        self.message = put_message(value)
        self.stream = 0
        for line in self.lines:
            self.stream = line.open(watch_message())
            line.wait(lambda line=line: line.next_message(self.stream))

    def prepare(self) -> bytes:
        return self.message

    def change(self, message: bytes):
        self.call = self.put.open(message, END_STREAM)

    def finish(self) -> int:
        return revision(self.put.wait(lambda: self.put.take(self.call)))

    def take(self, line, _version: int) -> "int | None":
        message = line.next_message(self.stream)
        return revision(message) if message and has_events(message) else None


def once(side, version: int) -> "tuple[float, float, int]":
    """Makes one change. Milliseconds until the last and the first of the three knew it, and its version."""
    request = side.prepare()
    seen: dict = {}
    begin = time.perf_counter()
    side.change(request)
    while len(seen) < len(side.lines):
        ready, _, _ = select.select(side.lines, [], [], WAIT_SECONDS)
        if not ready:
            raise TimeoutError(f"only {len(seen)} of three heard of version {version + 1}")
        for line in ready:
            line.fill()
            now = time.perf_counter()
            got = side.take(line, version)
            if got is not None and got > version:
                seen.setdefault(line, now)
    done = side.finish()
    times = [(at - begin) * 1e3 for at in seen.values()]
    return max(times), min(times), done


def block(side, count: int) -> "tuple[float, float]":
    """Medians of a block: until all three knew, and the time between the first and the last."""
    version, spans, skews = side.version, [], []
    gc.disable()
    for _ in range(count):
        time.sleep(BETWEEN_SECONDS)
        last, first, version = once(side, version)
        spans.append(last)
        skews.append(last - first)
    gc.enable()
    side.version = version
    return statistics.median(spans), statistics.median(skews)


def measure(given) -> "list[figures.Figure]":
    with both.clusters(given) as (canary, etcd):
        ours = Polls(canary)
        theirs = Watches(etcd, ours.ladder.line.get("/routing/state")[1])
        ours.version, theirs.version = 0, 1
        found: dict = {ours: [], theirs: []}
        for turn in range(-1, given.rounds):
            for side in both.rotated([ours, theirs], turn):
                medians = block(side, given.count if turn >= 0 else 20)
                if turn >= 0:
                    found[side].append(medians)
    spans = {side: [span for span, _ in rounds] for side, rounds in found.items()}
    skews = {side: [skew for _, skew in rounds] for side, rounds in found.items()}
    watch = "etcd put → 3 watches"
    return [
        figures.ratio("all three serve the new version", "ms", spans[ours], watch, spans[theirs], 0.45, 0.3),
        figures.ratio("between the first node and the last", "ms", skews[ours], watch, skews[theirs]),
    ]


def add_options(parser):
    parser.add_argument("--count", type=int, default=100, help="changes a round and side (default 100)")


if __name__ == "__main__":
    parser = options(__doc__)
    add_options(parser)
    arguments = parser.parse_args()
    sys.exit(figures.finish(measure(arguments), arguments.json))
