#!/usr/bin/env python3
"""How long until all three nodes serve the new version, against an etcd put until watchers on all members know.

etcd: three gRPC connections, each with a watch open at another member; from sending the put (gRPC, to the leader) until all three
events are there. A router that takes its weights from etcd is such a watcher, and can serve them from then on.

Canary, *told*: three connections, each with a long poll (`GET /routing/state?wait=30s` with If-None-Match) open at another node; from
sending `POST /routing/weights` to node-a until the answers of all three show the new version. Canary, *serve*: the router is in the
node, so nobody needs to be told; from sending the same request, no polls open, until all three have written `Routing state updated`
to their log, which they do right after they serve it (one machine, one clock).

One client, one thread, the same TLS sockets on both sides. Once with changes one after the other, once with 20 ms between them,
when processors and disk have gone idle before each.
"""

import datetime
import gc
import json
import select
import statistics
import sys
import time

from lab import both, figures
from lab.canary import IDS, Ladder, committed, pause_seconds
from lab.clients import END_STREAM
from lab.etcd import has_events, put_message, revision, watch_message
from lab.place import until

WAIT_SECONDS = 10
WARM_UP = 20
PACES = {"one after the other": None, "one every 20 ms": pause_seconds}
# As long as the routing state.
VALUE = b"x" * 500


class Polls:
    """Three long polls, opened again after each change."""

    def __init__(self, canary):
        self.lines = [canary.reader(name) for name in IDS]
        self.ladder = Ladder(canary.operator("a"))
        self.ladder.zero()
        self.version = canary.until_agreed()
        for line in self.lines:
            line.get("/routing/state")
            self.open(line)

    def close(self):
        for line in (*self.lines, self.ladder.line):
            line.close()

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

    def __init__(self, etcd):
        self.lines = [etcd.grpc(name, "Watch/Watch") for name in IDS]
        self.put = etcd.grpc(etcd.leader(), "KV/Put")
        self.message = put_message(VALUE)
        self.stream = self.version = 0
        for line in self.lines:
            self.stream = line.open(watch_message())
            created = line.wait(lambda line=line: line.next_message(self.stream))
            self.version = max(self.version, revision(created))

    def close(self):
        for line in (*self.lines, self.put):
            line.close()

    def prepare(self) -> bytes:
        return self.message

    def change(self, message: bytes):
        self.call = self.put.open(message, END_STREAM)

    def finish(self) -> int:
        return revision(self.put.wait(lambda: self.put.take(self.call)))

    def take(self, line, _version: int) -> "int | None":
        message = line.next_message(self.stream)
        return revision(message) if message and has_events(message) else None


class Logs:
    """The nodes' own word on when they served which version, read after the fact."""

    def __init__(self, canary):
        self.canary, self.ladder = canary, Ladder(canary.operator("a"))
        self.ladder.zero()

    def close(self):
        self.ladder.line.close()

    def block(self, count: int, pause) -> "tuple[float, float]":
        """Medians of a block, as `block` below gives them for the others."""
        asked = {}
        gc.disable()
        for _ in range(count):
            if pause:
                time.sleep(pause())
            request = self.ladder.up()
            begin = time.time()
            asked[self.ladder.make(request)["state"]["version"]] = begin
        gc.enable()
        last = max(asked)
        served = until("the last version in all logs", WAIT_SECONDS, lambda: self.times(last), 0.05)
        spans = [max(node[version] for node in served) - begin for version, begin in asked.items()]
        skews = [max(node[version] for node in served) - min(node[version] for node in served) for version in asked]
        return statistics.median(spans) * 1e3, statistics.median(skews) * 1e3

    def times(self, version: int) -> "list[dict[int, float]] | None":
        """For each node when it served which version, once all have served `version`."""
        nodes = []
        for name in IDS:
            with open(self.canary.place.root / f"canary-{name}.log", encoding="utf-8") as file:
                lines = [json.loads(line) for line in file if '"Routing state updated"' in line and line.endswith("\n")]
            nodes.append({line["version"]: seconds(line["timestamp"]) for line in lines})
        return nodes if all(version in node for node in nodes) else None


def seconds(timestamp: str) -> float:
    """The seconds since 1970 of a time in a log."""
    return datetime.datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp()


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


def block(side, count: int, pause) -> "tuple[float, float]":
    """Medians of a block: until all three knew, and the time between the first and the last."""
    if isinstance(side, Logs):
        return side.block(count, pause)
    version, spans, skews = side.version, [], []
    gc.disable()
    for _ in range(count):
        if pause:
            time.sleep(pause())
        last, first, version = once(side, version)
        spans.append(last)
        skews.append(last - first)
    gc.enable()
    side.version = version
    return statistics.median(spans), statistics.median(skews)


def measure(given) -> "list[figures.Figure]":
    found: dict = {}
    with both.clusters(given) as (canary, etcd):
        for turn in range(-1, given.rounds):
            for pace, pause in PACES.items():
                for name in both.rotated(["told", "serve", "watch"], turn):
                    side = {"told": lambda: Polls(canary), "serve": lambda: Logs(canary), "watch": lambda: Watches(etcd)}[name]()
                    block(side, WARM_UP, pause)
                    medians = block(side, given.count, pause)
                    side.close()
                    if turn >= 0:
                        found.setdefault((name, pace), []).append(medians)
    watch, rows = "etcd put → 3 watches", []
    for name, text in (("serve", "all three serve it"), ("told", "all three pollers told")):
        for pace in PACES:
            mine, other = found[name, pace], found["watch", pace]
            spans = [span for span, _ in mine], [span for span, _ in other]
            skews = [skew for _, skew in mine], [skew for _, skew in other]
            rows.append(figures.ratio(f"{text}, {pace}", "ms", spans[0], watch, spans[1], 0.45, 0.3))
            rows.append(figures.ratio("… from the first node to the last", "ms", skews[0], watch, skews[1]))
    return rows


def add_options(parser):
    parser.add_argument("--count", type=int, default=100, help="changes a round and side (default 100)")


if __name__ == "__main__":
    sys.exit(figures.alone(__doc__, add_options, measure))
