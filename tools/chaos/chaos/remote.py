"""Operators and clients against nodes that run elsewhere, while somebody pulls cables there: only what can be judged from outside.

It cannot see what is done to the machines, so it does not judge whether a node that gives no answer should have given one, nor how
soon all agree again; it shows both as they happen. Weights are changed: this is for a mesh that serves nobody.
"""

import asyncio
import os
import pathlib
import random
import string
import sys

from lab.clients import context

from . import report, validity
from .checker import check
from .clients import Broken, Client, NotSent
from .history import History
from .operators import Operators
from .settle import until_settled
from .workload import Workload, part_of

FIRST_PORT = 50051
SETTLE_SECONDS = 15.0
SHOW_SECONDS = 1.0


class Remote:
    """The nodes that PEERS_NODE_* names, as `Cluster` shows them to a workload."""

    def __init__(self, certs: pathlib.Path, operator: str):
        letters = [letter for letter in string.ascii_lowercase if f"PEERS_NODE_{letter.upper()}" in os.environ]
        if len(letters) < 3:
            sys.exit("error: PEERS_NODE_A, PEERS_NODE_B and PEERS_NODE_C must say where the nodes are")
        self.ids = tuple(letters)
        self.hosts = {letter: os.environ[f"PEERS_NODE_{letter.upper()}"].strip("[]") for letter in letters}
        folder = certs / f"operator-{operator}"
        try:
            self.reading = context(certs / "ca.pem")
            self.operating = context(certs / "ca.pem", folder / "client.pem", folder / "client.key")
        except OSError as error:
            sys.exit(f"error: {certs} must hold ca.pem and operator-{operator}/: {error}")

    def _port(self, node: str) -> int:
        return FIRST_PORT + string.ascii_lowercase.index(node)

    def reader(self, node: str, keep: bool = True) -> Client:
        """Calls a node without a certificate."""
        return Client(self.reading, self.hosts[node], self._port(node), None, keep)

    def operator(self, node: str, _at: "str | None" = None) -> Client:
        """Calls a node with the operator's certificate."""
        return Client(self.operating, self.hosts[node], self._port(node), None, keep=False)

    def node_at(self, _host: str, port: int) -> str:
        """The node that a redirect names: each has a port of its own."""
        return string.ascii_lowercase[port - FIRST_PORT]


class WeightOperators(Operators):
    """Operators who change the weight of one canary and nothing else."""

    def __init__(self, canary: str, *arguments):
        super().__init__(*arguments)
        self.canary = canary

    def choose(self, state: dict) -> "tuple[str, str, dict, int | None]":
        what, path, body, points = self.weight(state, self.random.choice(("raise", "raise", "lower", "zero")))
        if state["canary_model_id"] is None or "canary_model_id" in body:
            body["canary_model_id"] = self.canary
        return what, path, body, points


async def watch(mesh: Remote, canary: str, seconds: float, seed: int, path: pathlib.Path) -> "list[dict]":
    """All of it; gives the history."""
    rng = random.Random(seed)
    history = History(path)
    initial = {"stable": None, "canary": None, "weights": {}, "salt": None, "drained": []}
    history.add("meta", nodes=list(mesh.ids), initial=initial, remote=True)
    workload = Workload(mesh, history, rng)
    operators = WeightOperators(canary, mesh, workload, history, rng)
    workload.start(*operators.loops())
    while history.now() < seconds:
        workload.check()
        _show(workload, history)
        await asyncio.sleep(SHOW_SECONDS)
    await workload.stop()
    for node in mesh.ids:
        await operators.change(node, "zero", "/routing/weights", {"canary_weight": 0}, None)
    start = history.now()
    settled, states = await until_settled(mesh, SETTLE_SECONDS)
    history.add("quiet", start=start, settled=settled, shown=sorted(states))
    for node, state in states.items():
        history.add("final", node=node, **part_of(state), **await _decided(mesh, node))
    history.close()
    return history.events


def _show(workload: Workload, history: History):
    """One line a second: what each node showed last, and how old that is when it is old."""
    newest = {}
    for event in reversed(history.events):
        if event["kind"] == "state" and event["node"] not in newest:
            newest[event["node"]] = event
        if len(newest) == len(workload.mesh.ids) or event["end"] < history.now() - 60:
            break
    words = []
    for node in workload.mesh.ids:
        read = newest.get(node)
        if read is None:
            words.append(f"node-{node} silent")
            continue
        age = history.now() - read["end"]
        extra = " isolated" if read["isolated"] else ""
        extra += " pending" if read["pending"] else ""
        extra += f" (silent for {age:.0f} s)" if age > 1 else ""
        words.append(f"node-{node} {read['version']}{extra}")
    print(f"{history.now():7.0f} s  " + "   ".join(words), flush=True)


async def _decided(mesh: Remote, node: str) -> dict:
    """What a node says was decided, as far as it remembers."""
    try:
        lines = (await mesh.reader(node, keep=False).call("GET", "/history?limit=1000")).json() or []
    except (NotSent, Broken):
        lines = []
    commits = {str(line["version"]): line["txid"] for line in lines if line["decision"] == "COMMIT"}
    return {"commits": commits, "aborts": [line["txid"] for line in lines if line["decision"] == "ABORT"]}


def run(certs: pathlib.Path, operator: str, canary: str, seconds: float, seed: int, path: pathlib.Path) -> int:
    """Watches, judges and prints; gives the exit code."""
    mesh = Remote(certs, operator)
    events = asyncio.run(watch(mesh, canary, seconds, seed, path))
    done = validity.look(events, [])
    # The faults are somebody else's and cannot be counted; that there was traffic can.
    done.missing = [reason for reason in done.missing if "faults" not in reason]
    return report.show(done, check(events), {}, seconds)
