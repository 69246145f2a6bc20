"""What goes on while faults happen: clients of /predict and readers of the state on every node. Operators are in `operators.py`.

Everything asked becomes an event of the history, with what the answer said; nothing is judged here.
"""

import asyncio
import random

from .clients import Answer, Broken, NotSent

# Enough that no moment of a fault is without a request, and little enough for two cores that run all of it.
PREDICT_PAUSE = 0.09
READ_PAUSE = 0.06
# A node that lives answers within the time of its model servers, shielded or not; beyond this it hangs.
PREDICT_SECONDS = 5.0
READ_SECONDS = 2.0


class Workload:
    """Tasks that run until told to stop; `seen` is the last state read from each node."""

    def __init__(self, mesh, history, rng: random.Random):
        self.mesh, self.history, self.random = mesh, history, rng
        self.seen: dict[str, dict] = {}
        self.requests = dict.fromkeys(mesh.ids, 0)
        self._tasks: list[asyncio.Task] = []
        self._ends = asyncio.Event()

    def start(self, *more):
        """Begins; `more` are further loops that take the event of the end."""
        loops = [self._read(node) for node in self.mesh.ids]
        loops += [self._predict(node, keep) for node in self.mesh.ids for keep in (True, False)]
        loops += [loop(self._ends) for loop in more]
        self._tasks = [asyncio.ensure_future(loop) for loop in loops]

    async def stop(self):
        """Lets what is under way end."""
        self._ends.set()
        await asyncio.gather(*self._tasks)

    def check(self):
        """Raises what a task raised: a broken workload must not look like a quiet one."""
        for task in self._tasks:
            if task.done() and not task.cancelled() and task.exception():
                raise task.exception()

    async def _read(self, node: str):
        client = self.mesh.reader(node)
        while not self._ends.is_set():
            start = self.history.now()
            try:
                answer = await client.call("GET", "/routing/state", seconds=READ_SECONDS)
                state = answer.json()
                if answer.status == 200 and isinstance(state, dict):
                    self.seen[node] = state
                    self.history.add("state", node=node, start=start, **part_of(state))
            except (NotSent, Broken):
                pass
            await asyncio.sleep(READ_PAUSE * self.random.uniform(0.7, 1.3))
        client.close()

    async def _predict(self, node: str, keep: bool):
        """Clients that keep their connection, and clients that make a new one for every request."""
        client = self.mesh.reader(node, keep)
        while not self._ends.is_set():
            key = f"user-{self.random.randrange(1_000_000)}"
            by_header = self.random.random() < 0.5
            headers = f"x-canary-key: {key}\r\n" if by_header else ""
            body = b"{}" if by_header else b'{"key":"%s"}' % key.encode()
            start = self.history.now()
            try:
                answer = await client.call("POST", "/predict", body, headers, PREDICT_SECONDS)
                fields = told(answer)
            except NotSent as error:
                fields = {"failed": "not_sent", "error": str(error)}
            except Broken as error:
                fields = {"failed": "broken", "error": str(error)}
            self.requests[node] += 1
            self.history.add("predict", node=node, key=key, start=start, **fields)
            await asyncio.sleep(PREDICT_PAUSE * self.random.uniform(0.5, 1.5))
        client.close()


def told(answer: Answer) -> dict:
    """What an answer to /predict says of itself."""
    body = answer.json() if isinstance(answer.json(), dict) else {}
    version = answer.headers.get("x-canary-version", "")
    fields = {
        "status": answer.status,
        "model": answer.headers.get("x-canary-model"),
        "version": int(version) if version.isdigit() else None,
        "by_node": answer.headers.get("x-canary-node"),
        "shielded": answer.headers.get("x-canary-shielded"),
        # Who says of itself that it made the body: the model server, or the node that has none.
        "by": body.get("by") or body.get("model_selected"),
    }
    if answer.status >= 400 and fields["by"] is None:
        fields["error"] = answer.body[:200].decode(errors="replace")
    return fields


def part_of(state: dict) -> dict:
    """The part of a state that the checker looks at."""
    rollout = state.get("rollout") or {}
    pending = state.get("pending") or {}
    return {
        "version": state["version"],
        "txid": state["txid"],
        "digest": state["digest"],
        "stable": state["stable_model_id"],
        "canary": state["canary_model_id"],
        "weights": state["weights"],
        "salt": state["salt"],
        "drained": state["drained"],
        "serving": state["serving"],
        "isolated": state["isolated"],
        "ejected": bool(state.get("ejected")),
        "pending": pending.get("txid"),
        "coordinator": state.get("acting_coordinator"),
        "phase": rollout.get("phase"),
    }
