#!/usr/bin/env python3
"""`/predict` while weights change ten times a second, against the same node in quiet.

Decisions only, no upstream: nothing but canary is on the way. Each round loads node-a, which coordinates, with `wrk` twice, once in quiet and
once while an operator's connection to the same node sets 10 % and 20 % by turns, an advance and a retreat, ten commits a second: with 64
connections and with one. Three nodes, the load and the operator share the machine's cores.
"""

import gc
import json
import sys
import threading
import time

from lab import figures
from lab.both import rotated
from lab.canary import MODEL, PORTS, Canary, committed
from lab.place import Place, require_programs
from lab.wrk import USERS, Contestant, add_options, wrk

COMMITS_A_SECOND = 10


class Operator(threading.Thread):
    """Changes the weight at an even pace until told to stop."""

    def __init__(self, canary: Canary):
        super().__init__(daemon=True)
        self.line = canary.operator("a")
        self.requests = [self.weight(percent) for percent in (20, 10)]
        self.go_on, self.times, self.error = True, [], None

    def weight(self, percent: int) -> bytes:
        body = json.dumps({"canary_weight": percent / 100, "canary_model_id": MODEL}).encode()
        return self.line.request("POST", "/routing/weights", body)

    def run(self):
        due = time.perf_counter()
        try:
            while self.go_on:
                due += 1 / COMMITS_A_SECOND
                begin = time.perf_counter()
                committed(self.line.call(self.requests[len(self.times) % 2]))
                self.times.append(time.perf_counter() - begin)
                time.sleep(max(0.0, due - time.perf_counter()))
        except (OSError, ValueError) as error:
            self.error = error

    def end(self) -> "list[float]":
        """The seconds that each commit took."""
        self.go_on = False
        self.join(10)
        if self.error:
            raise self.error
        self.line.close()
        return self.times


class Node(Contestant):
    """node-a in quiet or while weights change."""

    def __init__(self, canary: Canary, address: str, is_busy: bool):
        super().__init__("busy" if is_busy else "quiet", canary.nodes["a"], address, PORTS["a"])
        self.canary, self.is_busy = canary, is_busy
        self.tails: "dict[int, list[int]]" = {}
        self.commits: "list[float]" = []

    def measure(self, script, seconds: int, connections: int):
        operator = Operator(self.canary) if self.is_busy else None
        if operator:
            operator.start()
        summary = wrk(self.url, script, seconds, threads=min(2, connections), connections=connections)
        self.tails.setdefault(connections, []).append(summary["p99"])
        if operator:
            times = operator.end()
            if len(times) < 0.9 * COMMITS_A_SECOND * seconds:
                raise ValueError(f"only {len(times)} commits in {seconds} s")
            self.commits += times


def measure(given) -> "list[figures.Figure]":
    require_programs("wrk")
    with Place(given.dir) as place:
        canary = Canary(place, given.canary, [f"{given.net}.{last}" for last in (1, 2, 3)])
        canary.start()
        script = place.root / "predict.lua"
        script.write_text(USERS)
        quiet, busy = (Node(canary, f"{given.net}.1", is_busy) for is_busy in (False, True))
        operator = Operator(canary)
        operator.start()
        wrk(quiet.url, script, 1, threads=2, connections=64)
        operator.end()
        gc.disable()
        for connections in (64, 1):
            for turn in range(given.rounds):
                for contestant in rotated([quiet, busy], turn):
                    contestant.measure(script, given.seconds, connections)
        gc.enable()
    middle = figures.statistics.median(busy.commits) * 1e3
    print(f"{len(busy.commits)} commits, half of them within {middle:.1f} ms", file=sys.stderr)
    return [
        figures.ratio(f"/predict p99, {COMMITS_A_SECOND} commits/s, {name}", "µs", busy.tails[count], "quiet", quiet.tails[count], 1.3)
        for count, name in ((64, "64 connections"), (1, "one connection"))
    ]


if __name__ == "__main__":
    sys.exit(figures.alone(__doc__, add_options, measure))
