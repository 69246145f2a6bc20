#!/usr/bin/env python3
"""How soon a canary that never answers gets nothing any more, when its clients give up long before any limit of its latency.

The stable model answers in 60 ms, the canary not at all; clients at many addresses send 200 requests a second to all nodes together, half of
them for the canary, and leave after 150 ms. Measured from the first of the canary's requests, at the server, until every node says that it
serves the canary nothing (`serving` in `/routing/state`, asked every few milliseconds): for one that hangs from its first request on, and for
ones that begin to after 5 and after 30 good seconds, which count for them.
"""

import asyncio
import json
import random
import socket
import sys
import threading
import time

from lab import figures, serving
from lab.canary import IDS, MODEL, Canary, PORTS, committed
from lab.place import Place, until

RATE = 200
ADDRESSES = 24
PATIENCE_SECONDS = 0.15
STABLE_SECONDS = 0.06
WEIGHT = 50
UPSTREAM_PORTS = {"v1": 9001, MODEL: 9002}
LONG_HOLD = "5m"
GOOD_SECONDS = (0, 5, 30)


class ModelServer(serving.Conversation):
    """Answers probes at once, and requests after a while, or never."""

    hangs = False
    first_hung: "float | None" = None

    def __init__(self, model: str):
        super().__init__()
        self.model = model

    def respond(self, head: bytes):
        # Probes are GETs.
        if head.startswith(b"get"):
            self.write(b"200 OK", b"{}")
        elif self.model == MODEL and ModelServer.hangs:
            ModelServer.first_hung = ModelServer.first_hung or time.perf_counter()
        else:
            asyncio.get_running_loop().call_later(STABLE_SECONDS, self.write, b"200 OK", b'{"answer":42}')


def ask_all_the_time(canary: Canary, net: str, number: int):
    """One client at an address of its own, which leaves when an answer takes too long."""
    node = IDS[number % len(IDS)]
    place, source = (canary.addresses[node], PORTS[node]), (f"{net}.{100 + number}", 0)
    pause, line = ADDRESSES / RATE, None
    due = time.monotonic() + random.random() * pause
    while True:
        time.sleep(max(0.0, due - time.monotonic()))
        due = max(due + pause, time.monotonic() - pause)
        body = b'{"key":"%d"}' % random.getrandbits(64)
        head = f"POST /predict HTTP/1.1\r\nhost: {place[0]}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        try:
            if line is None:
                plain = socket.create_connection(place, timeout=5, source_address=source)
                line = canary.reading.wrap_socket(plain, server_hostname=place[0])
                line.settimeout(PATIENCE_SECONDS)
            line.sendall(head.encode() + body)
            if not line.recv(65_536):
                raise ConnectionError("closed")
        except OSError:
            if line is not None:
                line.close()
            line = None


def rolled_back(canary: Canary, good_seconds: float) -> float:
    """Seconds from the first request that hangs until no node serves the canary."""
    ModelServer.hangs, ModelServer.first_hung = not good_seconds, None
    gates = {"p95_ratio": {"mode": "observe"}}
    plan = {"steps": [{"setWeight": WEIGHT}], "hold": LONG_HOLD, "gates": gates}
    upstream = f"http://{canary.addresses['a']}:{UPSTREAM_PORTS[MODEL]}/predict"
    body = json.dumps({"canary_model_id": MODEL, "upstream": upstream, "plan": plan}).encode()
    line = canary.operator("a")

    def once():
        status, said = line.post("/rollouts", body)
        if status != 200:
            raise ValueError(said.decode(errors="replace"))
        return status, said

    committed(until("a rollout", 15, once, 0.05))
    line.close()
    time.sleep(good_seconds)
    ModelServer.hangs = True
    lines = {node: canary.reader(node) for node in IDS}
    left = set(IDS)

    def look():
        for node in sorted(left):
            if json.loads(lines[node].get("/routing/state")[1])["serving"].get(MODEL, 0) == 0:
                left.discard(node)
        return not left

    until("no canary", 60, look, 0.003)
    took = time.perf_counter() - ModelServer.first_hung
    state = {}

    def ended():
        state.update(canary.state("a"))
        return (state["rollout"] or {}).get("outcome") == "RolledBack"

    until("rolled back", 10, ended, 0.02)
    print(f"after {good_seconds} s: {state['rollout']['why']}", file=sys.stderr)
    for line in lines.values():
        line.close()
    canary.until_agreed()
    return took


def measure(given) -> "list[figures.Figure]":
    found: "dict[int, list[float]]" = {good: [] for good in GOOD_SECONDS}
    with Place(given.dir) as place:
        serving.serve_models(ModelServer, f"{given.net}.1", UPSTREAM_PORTS)
        canary = Canary(place, given.canary, [f"{given.net}.{last}" for last in (1, 2, 3)])
        canary.start()
        line = canary.operator("a")
        stable = {"id": "v1", "upstream": f"http://{canary.addresses['a']}:{UPSTREAM_PORTS['v1']}/predict"}
        committed(line.post("/models", json.dumps(stable).encode()))
        line.close()
        for number in range(ADDRESSES):
            threading.Thread(target=ask_all_the_time, args=(canary, given.net, number), daemon=True).start()
        # The stable model's p95 of a window before is what clients are compared with.
        time.sleep(6)
        for _ in range(given.rounds):
            for good_seconds, times in found.items():
                times.append(rolled_back(canary, good_seconds))
    return [figures.worst(f"hangs after {good} s: weight 0 on all nodes", "s", times, "", None, 2, 0.6) for good, times in found.items()]


def add_options(_parser):
    """None of its own."""


if __name__ == "__main__":
    sys.exit(figures.alone(__doc__, add_options, measure))
