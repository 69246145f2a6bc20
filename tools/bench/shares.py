#!/usr/bin/env python3
"""Whether 100 000 keys are split as agreed, alike on all nodes, and for good.

A rollout goes through 5, 20 and 50 %; at each step every node is asked for the decision on every key (`x-canary-key`), many requests at a
time on one connection a node. The share of the canary may be 0.6 points off the weight, nearly four standard deviations at 50 %; no key may
be decided differently by two nodes, and none that had the canary may lose it when the weight grows. Once, and not in rounds: the same keys
give the same answers.
"""

import json
import re
import sys
import threading
import time

from lab import figures
from lab.canary import IDS, MODEL, Canary, committed
from lab.clients import Http
from lab.place import Place

STEPS = (5, 20, 50)
# Requests that are under way at once on one connection.
AT_ONCE = 250
ANSWER = re.compile(rb'\{"model_selected":"([^"]*)","version":(\d+),"node_id":"([^"]*)","sticky":true\}')


def ask(line: Http, node: str, keys: int, version: int) -> bytearray:
    """For each key, 1 when the node gives it the canary."""
    found = bytearray(keys)
    expected = (str(version).encode(), f"node-{node}".encode())
    for start in range(0, keys, AT_ONCE):
        numbers = range(start, min(start + AT_ONCE, keys))
        line.send(b"".join(line.request("POST", "/predict", b"{}", f"x-canary-key: user-{number}\r\n") for number in numbers))
        for number in numbers:
            status, body = line.wait(line.take)
            said = ANSWER.fullmatch(body)
            if status != 200 or not said or said.groups()[1:] != expected:
                raise ValueError(f"node-{node} at version {version}: {status} {body!r}")
            found[number] = said[1] == MODEL.encode()
    return found


def ask_all(canary: Canary, keys: int, version: int) -> "dict[str, bytearray]":
    """What each node says, all asked at the same time."""
    found, errors = {}, []

    def one(node: str):
        try:
            line = canary.reader(node)
            found[node] = ask(line, node, keys, version)
            line.close()
        except (OSError, ValueError) as error:
            errors.append(error)

    threads = [threading.Thread(target=one, args=(node,)) for node in IDS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return found


def measure(given) -> "list[figures.Figure]":
    off, apart, lost, took = [], [], [], []
    before: "bytearray | None" = None
    with Place(given.dir) as place:
        canary = Canary(place, given.canary, [f"{given.net}.{last}" for last in (1, 2, 3)])
        canary.start()
        line = canary.operator("a")
        plan = {"steps": [{"setWeight": step} for step in STEPS], "hold": "1h"}
        for number, step in enumerate(STEPS):
            path, content = ("/rollouts/current/promote", {}) if number else ("/rollouts", {"canary_model_id": MODEL, "plan": plan})
            version = committed(line.post(path, json.dumps(content).encode()))["state"]["version"]
            if canary.until_agreed() != version:
                raise ValueError(f"the rollout left version {version} by itself")
            begin = time.monotonic()
            found = ask_all(canary, given.keys, version)
            took.append(time.monotonic() - begin)
            off += [abs(100 * sum(decided) / given.keys - step) for decided in found.values()]
            apart.append(sum(len(set(decided)) > 1 for decided in zip(*found.values())))
            if before:
                lost.append(sum(was and not all(now) for was, *now in zip(before, *found.values())))
            before = found["a"]
    asked = 3 * len(STEPS) * given.keys
    print(f"{asked} answers in {sum(took):.0f} s", file=sys.stderr)
    steps = ", ".join(map(str, STEPS))
    return [
        figures.worst(f"share of {given.keys} keys, off {steps} %", "points", off, "", None, 0.6),
        figures.worst("keys that two nodes decide differently", "keys", apart, "", None, 0),
        figures.worst("keys that lose the canary as the weight grows", "keys", lost, "", None, 0),
    ]


def add_options(parser):
    parser.add_argument("--keys", type=int, default=100_000, help="how many (default 100000)")


if __name__ == "__main__":
    sys.exit(figures.alone(__doc__, add_options, measure))
