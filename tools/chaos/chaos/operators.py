"""Operators at every node who change weights, start, steer and abort rollouts, drain and undrain, all at the same time.

The outcome of a change is one of: `ok` (COMMIT was told), `aborted` (ABORT was told, with its transaction), `refused` (an answer
that says that nothing was written), `unknown` (the node said so, or there was no answer).
"""

import asyncio
import json
import random

from .clients import Answer, Broken, NotSent, place_of
from .upstreams import MODELS

# The agreement answers within its own limits, a few seconds; who waits longer learns nothing more.
CHANGE_SECONDS = 6.0
REDIRECTS = 3
THINK_SECONDS = 0.45
TOP = 10_000
# Chance decides which of two fast model servers is slower; no rollout here is judged by that.
PLAN = {
    "steps": [{"setWeight": 20}, {"setWeight": 60}],
    "hold": "700ms",
    "minSample": 3,
    "gates": {"p95_ratio": {"mode": "observe"}, "max_error_rate_difference": {"mode": "observe"}, "max_error_rate": 0.5},
}
PLANNED = {round(step["setWeight"] * 100) for step in PLAN["steps"]} | {5_000}


class Operators:
    """Two at each node."""

    def __init__(self, mesh, workload, history, rng: random.Random):
        self.mesh, self.workload, self.history, self.random = mesh, workload, history, rng
        # Each weight that is asked for is asked for once, so that a refused one that is decided all the same is found.
        self.unused = [points for points in range(1, TOP) if points not in PLANNED]
        # While this is set nobody asks for anything: a fault is being prepared.
        self.wait = asyncio.Event()
        self.wait.set()

    def loops(self):
        """Their loops, for `Workload.start`."""
        return [lambda ends, node=node: self._operate(node, ends) for node in self.mesh.ids for _ in range(2)]

    async def _operate(self, node: str, ends: asyncio.Event):
        while not ends.is_set():
            await self.wait.wait()
            state = self.workload.seen.get(node)
            if state is not None:
                await self.change(node, *self.choose(state))
            await asyncio.sleep(THINK_SECONDS * self.random.uniform(0.3, 1.7))

    def choose(self, state: dict) -> "tuple[str, str, dict, int | None]":
        """What to ask for: a name, a path, a body, and the weight in basis points that nobody else asks for."""
        if state["drained"] and self.random.random() < 0.35:
            return "undrain", f"/members/{self.random.choice(state['drained'])}/undrain", {}, None
        phase = (state.get("rollout") or {}).get("phase")
        if phase in ("Progressing", "Paused"):
            verbs = ["abort", "promote", "full", "resume" if phase == "Paused" else "pause", "lower", "lower", "wait"]
        else:
            verbs = [*("raise", "lower", "start") * 5, "zero", "zero", "zero", *([] if state["drained"] else ["drain"])]
        verb = self.random.choice(verbs)
        if verb in ("raise", "lower", "zero"):
            return self.weight(state, verb)
        if verb == "start":
            return "start", "/rollouts", {"canary_model_id": self.other_model(state), "plan": PLAN}, None
        if verb == "drain":
            return "drain", f"/members/node-{self.random.choice(self.mesh.ids)}/drain", {}, None
        if verb == "full":
            return "promote full", "/rollouts/current/promote", {"full": True}, None
        if verb == "wait":
            return self.weight(state, "lower")
        return verb, f"/rollouts/current/{verb}", {}, None

    def weight(self, state: dict, verb: str) -> "tuple[str, str, dict, int | None]":
        """A weight above or below the present one, or none at all."""
        present = round(TOP * state["weights"].get(state["canary_model_id"] or "", 0))
        points = None
        if verb != "zero":
            fitting = [p for p in self.random.sample(self.unused, min(60, len(self.unused))) if (p > present) == (verb == "raise")]
            if fitting:
                points = fitting[0]
                self.unused.remove(points)
        body = {"canary_weight": (points or 0) / TOP}
        if state["canary_model_id"] is None or (verb == "raise" and self.random.random() < 0.1):
            body["canary_model_id"] = self.other_model(state)
        return verb, "/routing/weights", body, points

    def other_model(self, state: dict) -> str:
        """A model that is not the stable one."""
        return self.random.choice([model for model in MODELS if model != state["stable_model_id"]])

    async def raise_on_all(self, seconds: float = 9.0) -> bool:
        """Gives the canary half, on all nodes, while nobody else asks for anything; false when that cannot be had."""
        end = self.history.now() + seconds
        while self.history.now() < end:
            states = [self.workload.seen[node] for node in self.mesh.ids if node in self.workload.seen]
            shares = [state["serving"].get(state["canary_model_id"] or "", 0) for state in states]
            if len(shares) == len(self.mesh.ids) and min(shares) >= 0.3:
                return True
            state = max(states, key=lambda state: state["version"])
            if state["drained"]:
                change = ("undrain", f"/members/{state['drained'][0]}/undrain", {}, None)
            elif (state.get("rollout") or {}).get("phase") in ("Progressing", "Paused"):
                change = ("abort", "/rollouts/current/abort", {}, None)
            else:
                points = self.random.choice([p for p in self.unused if 4_000 < p < 9_000] or [5_000])
                if points in self.unused:
                    self.unused.remove(points)
                body = {"canary_weight": points / TOP, "canary_model_id": self.other_model(state)}
                change = ("raise", "/routing/weights", body, points)
            await self.change(self.random.choice(self.mesh.ids), *change)
            await asyncio.sleep(0.25)
        return False

    async def change(self, node: str, what: str, path: str, body: dict, points: "int | None", follow=True, seconds=CHANGE_SECONDS) -> dict:
        """Asks once, at a node, follows where it sends, and records what became of it."""
        start = self.history.now()
        hops = [node]
        try:
            answer = await self._post(node, node, path, body, seconds)
            while answer.status == 307 and follow and len(hops) <= REDIRECTS:
                host, port, path = place_of(answer.headers.get("location", ""))
                hops.append(self.mesh.node_at(host, port))
                answer = await self._post(node, hops[-1], path, body, seconds)
            fields = outcome(answer)
        except NotSent as error:
            fields = {"outcome": "refused", "code": "unreachable", "error": str(error)}
        except Broken as error:
            fields = {"outcome": "unknown", "code": "no_answer", "error": str(error)}
        return self.history.add("change", start=start, node=node, hops=hops, what=what, points=points, body=json.dumps(body), **fields)

    async def _post(self, at: str, node: str, path: str, body: dict, seconds: float) -> Answer:
        return await self.mesh.operator(node, at).call("POST", path, json.dumps(body).encode(), seconds=seconds)


def outcome(answer: Answer) -> dict:
    """What an answer to a change says."""
    said = answer.json() if isinstance(answer.json(), dict) else {}
    fields = {"status": answer.status, "code": said.get("code")}
    if answer.status == 200 and said.get("decision") == "COMMIT":
        state = said["state"]
        fields.update(outcome="ok", version=state["version"], txid=state["txid"], digest=state["digest"], weights=state["weights"])
        fields.update(stable=state["stable_model_id"], canary=state["canary_model_id"], salt=state["salt"], drained=state["drained"])
        fields.update(acknowledged=[node.removeprefix("node-") for node in said["acknowledged"]])
    elif answer.status == 409 and said.get("decision") == "ABORT":
        reasons = [reason.get("code") for reason in said.get("reasons", [])]
        fields.update(outcome="aborted", txid=said.get("txid"), reasons=reasons)
    elif said.get("code") == "outcome_unknown":
        fields.update(outcome="unknown", txid=said.get("txid"), version=said.get("version"))
    elif answer.status in (400, 404, 409, 503) or 300 <= answer.status < 400 or said.get("decision") == "UNCHANGED":
        fields.update(outcome="refused", detail=str(said.get("detail"))[:160])
    else:
        fields.update(outcome="unknown", detail=answer.body[:160].decode(errors="replace"))
    return fields
