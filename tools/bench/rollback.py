#!/usr/bin/env python3
"""How soon a bad canary gets nothing any more, with all nodes well and with the coordinator killed, and whether a good one goes on.

Two small model servers, clients that send 300 requests a second to all nodes together, and rollouts whose first step gives the canary half
of them. Bad is a canary that answers a fifth of its requests with 500, each at random. Measured from the first of these answers, at the
server, until every node that lives says that it serves the canary nothing (`serving` in `/routing/state`, asked every few milliseconds):
a canary that is bad from its first request on, and ones that turn bad after 5 and after 30 good seconds, which count for them. Then node-a,
which coordinates, is killed with kill -9 and stays away, and the canary turns bad at that moment: from the kill on, for the other two. At
last node-a is killed in a good rollout, which then lacks its vote: from the kill until an operator's abort at node-b has taken the canary from the
other two; and, with node-a drained at node-b as soon as that decides, from the end of the hold until the other two serve the next step.
"""

import json
import random
import sys
import threading
import time

from lab import figures, serving
from lab.canary import IDS, MODEL, Canary, committed
from lab.place import Place, until

RATE = 300
THREADS_A_NODE = 2
BAD_SHARE = 0.2
WEIGHT = 50
UPSTREAM_PORTS = {"v1": 9001, MODEL: 9002}
# Longer than any of these rollouts is judged.
LONG_HOLD = "5m"
NEXT_WEIGHT = 90
GOOD_HOLD = 8
GOOD_SECONDS = 5
LONG_GOOD_SECONDS = 30


class ModelServer(serving.Conversation):
    """Answers probes, and requests with 200 or, when it is bad, now and then with 500."""

    bad: "set[str]" = set()
    first_bad: "float | None" = None
    asked = {model: 0 for model in UPSTREAM_PORTS}

    def __init__(self, model: str):
        super().__init__()
        self.model = model

    def respond(self, head: bytes):
        status = b"200 OK"
        # Probes are GETs.
        if not head.startswith(b"get"):
            ModelServer.asked[self.model] += 1
            if self.model in ModelServer.bad and random.random() < BAD_SHARE:
                status = b"500 Internal Server Error"
                ModelServer.first_bad = ModelServer.first_bad or time.perf_counter()
        self.write(status, b'{"answer":42}')


class Clients:
    """Threads that send requests at an even pace; those of a dead node go to the others."""

    def __init__(self, canary: Canary):
        self.canary, self.alive = canary, set(IDS)
        for node in IDS:
            for _ in range(THREADS_A_NODE):
                threading.Thread(target=self.run, args=(node,), daemon=True).start()

    def run(self, home: str):
        pause = len(IDS) * THREADS_A_NODE / RATE
        line, at = None, home
        due = time.monotonic() + random.random() * pause
        while True:
            time.sleep(max(0.0, due - time.monotonic()))
            due = max(due + pause, time.monotonic() - pause)
            try:
                if line is None:
                    at = home if home in self.alive else random.choice(sorted(self.alive))
                    line = self.canary.reader(at)
                key = random.getrandbits(64)
                line.call(line.request("POST", "/predict", b'{"key":"%d"}' % key))
                if at != home and home in self.alive:
                    line.close()
                    line = None
            except OSError:
                line = None


class Mesh:
    """The cluster, with what these scenes do to it."""

    def __init__(self, canary: Canary):
        self.canary, self.clients = canary, Clients(canary)

    def start(self, hold: str, steps: "list[int]") -> int:
        """Starts a rollout of the canary: the version of its first step."""
        # What the two servers differ by is chance: nothing is judged by it.
        gates = {"p95_ratio": {"mode": "observe"}, "max_p95_ms": {"mode": "observe"}}
        plan = {"steps": [{"setWeight": step} for step in steps], "hold": hold, "gates": gates}
        body = json.dumps({"canary_model_id": MODEL, "upstream": self.upstream(MODEL), "plan": plan}).encode()
        line = self.canary.operator("a")
        version = committed(until("a rollout", 15, lambda: self.once(line, body), 0.05))["state"]["version"]
        line.close()
        return version

    def once(self, line, body: bytes) -> "tuple[int, bytes]":
        status, said = line.post("/rollouts", body)
        if status != 200:
            raise ValueError(said.decode(errors="replace"))
        return status, said

    def upstream(self, model: str) -> str:
        return f"http://{self.canary.addresses['a']}:{UPSTREAM_PORTS[model]}/predict"

    def when(self, nodes, what: str, seconds: float, holds) -> float:
        """The moment at which this holds for the states of all these nodes."""
        lines = {node: self.canary.reader(node) for node in nodes}
        left = set(nodes)

        def look():
            for node in sorted(left):
                if holds(json.loads(lines[node].get("/routing/state")[1])):
                    left.discard(node)
            return not left

        until(what, seconds, look, 0.003)
        now = time.perf_counter()
        for line in lines.values():
            line.close()
        return now

    def without_canary(self, nodes, seconds: float = 60) -> float:
        return self.when(nodes, "no canary", seconds, lambda state: state["serving"].get(MODEL, 0) == 0)

    def kill_coordinator(self) -> float:
        self.clients.alive.discard("a")
        self.canary.kill_node("a")
        return time.perf_counter()

    def ask_until_decided(self, at: str, path: str):
        """Asks the node `at` as its operator, until it decides."""
        line = self.canary.operator(at)
        request = line.request("POST", path)
        until(f"{path} decided", 20, lambda: line.call(request)[0] == 200, 0.02)
        line.close()

    def heal(self):
        """Brings node-a back, ends what goes on, and makes the canary good."""
        ModelServer.bad.discard(MODEL)
        ModelServer.first_bad = None
        if self.canary.nodes["a"].poll() is not None:
            self.canary.start_node("a")
            self.canary.until_ready("a")
            self.canary.until_agreed()
            until("node-a coordinates", 15, lambda: self.canary.state("a")["acting_coordinator"] == "node-a", 0.05)
            self.clients.alive.add("a")
        line = self.canary.operator("a")
        line.post("/rollouts/current/abort", b"{}")
        if self.canary.state("a")["drained"]:
            until("node-a undrained", 15, lambda: line.post("/members/node-a/undrain", b"")[0] == 200, 0.05)
        line.close()
        self.canary.until_agreed()


def rolled_back(mesh: Mesh, good_seconds: float) -> "tuple[float, int, float]":
    """Seconds from the first bad answer until no node serves the canary; the canary's requests, and the seconds, since it may be bad."""
    if not good_seconds:
        ModelServer.bad.add(MODEL)
    mesh.start(LONG_HOLD, [WEIGHT])
    time.sleep(good_seconds)
    ModelServer.bad.add(MODEL)
    asked, begin = ModelServer.asked[MODEL], time.perf_counter()
    end = mesh.without_canary(IDS)
    asked = ModelServer.asked[MODEL] - asked
    took = end - ModelServer.first_bad
    # All serve stable only, by what each has seen itself or heard; that it is also decided follows.
    mesh.when(IDS, "rolled back", 10, lambda state: (state["rollout"] or {}).get("outcome") == "RolledBack")
    mesh.heal()
    return took, asked, end - begin


def rolled_back_without_coordinator(mesh: Mesh) -> "tuple[float, float]":
    """Seconds from kill -9 of node-a until the others serve no canary, and until that is decided."""
    mesh.start(LONG_HOLD, [WEIGHT])
    time.sleep(GOOD_SECONDS)
    killed = mesh.kill_coordinator()
    ModelServer.bad.add(MODEL)
    served = mesh.without_canary(("b", "c")) - killed
    decided = mesh.when(("b", "c"), "rolled back", 60, lambda state: (state["rollout"] or {}).get("outcome") == "RolledBack") - killed
    mesh.heal()
    return served, decided


def aborted_without_coordinator(mesh: Mesh) -> float:
    """Seconds from kill -9 of node-a until an abort that is asked for at node-b has taken a good canary from the other two."""
    mesh.start(LONG_HOLD, [WEIGHT])
    killed = mesh.kill_coordinator()
    mesh.ask_until_decided("b", "/rollouts/current/abort")
    gone = mesh.without_canary(("b", "c")) - killed
    mesh.heal()
    return gone


def goes_on_without_coordinator(mesh: Mesh) -> float:
    """Seconds from the end of the hold until the others serve the next step; node-a is killed and drained in the middle of the hold."""
    version = mesh.start(f"{GOOD_HOLD}s", [WEIGHT, NEXT_WEIGHT])
    begun = time.perf_counter()
    time.sleep(GOOD_HOLD / 2)
    mesh.kill_coordinator()
    mesh.ask_until_decided("b", "/members/node-a/drain")

    def is_next(state: dict) -> bool:
        return state["version"] > version and state["serving"].get(MODEL) == NEXT_WEIGHT / 100

    served = mesh.when(("b", "c"), "the next step", 60, is_next)
    mesh.heal()
    return max(0.0, served - begun - GOOD_HOLD)


def measure(given) -> "list[figures.Figure]":
    turned: "dict[int, list[float]]" = {0: [], GOOD_SECONDS: [], LONG_GOOD_SECONDS: []}
    asked, served, decided, aborted, gone_on = [], [], [], [], []
    with Place(given.dir) as place:
        serving.serve_models(ModelServer, f"{given.net}.1", UPSTREAM_PORTS)
        canary = Canary(place, given.canary, [f"{given.net}.{last}" for last in (1, 2, 3)])
        canary.start()
        mesh = Mesh(canary)
        line = canary.operator("a")
        committed(line.post("/models", json.dumps({"id": "v1", "upstream": mesh.upstream("v1")}).encode()))
        line.close()
        for turn in range(given.rounds):
            for good_seconds, found in turned.items():
                took, *was_asked = rolled_back(mesh, good_seconds)
                found.append(took)
                asked.append(was_asked)
            one, other = rolled_back_without_coordinator(mesh)
            served.append(one)
            decided.append(other)
            aborted.append(aborted_without_coordinator(mesh))
            gone_on.append(goes_on_without_coordinator(mesh))
    requests, seconds = map(sum, zip(*asked))
    print(f"the bad canary was asked {requests / seconds:.0f} times a second", file=sys.stderr)
    return [
        *(
            figures.worst(f"bad after {good} s: weight 0 on all nodes", "s", found, "", None, 2, 0.5) for good, found in turned.items()
        ),
        figures.worst("coordinator killed, canary bad: weight 0", "s", served, "", None, 7),
        figures.worst("the same, until the rollback is decided", "s", decided, "", None, 7),
        figures.worst("coordinator killed, canary good: operator's abort", "s", aborted, "", None, 7),
        figures.worst("the same, node-a drained: next step after the hold", "s", gone_on, "", None, 7),
    ]


def add_options(_parser):
    """None of its own."""


if __name__ == "__main__":
    sys.exit(figures.alone(__doc__, add_options, measure))
