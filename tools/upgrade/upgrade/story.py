"""One mesh and what is done to it: nodes are replaced, operators ask, models turn bad, and everything seen is written down.

Two kinds of trouble: what is `violated` is noted and the story goes on; a `Wrong` is what makes the rest meaningless, and ends it.
"""

import asyncio
import collections
import json
import pathlib
import random

from chaos.chaos import INITIAL
from chaos.checker import Finding
from chaos.clients import Answer, Broken, NotSent
from chaos.history import History
from chaos.marks import Marks
from chaos.operators import outcome
from chaos.settle import until_ready, until_settled
from chaos.workload import part_of

from . import spoils
from .mesh import Mesh
from .models import Models
from .programs import NEW, OLD
from .traffic import Traffic

# A node that is told to stop finishes what it has taken, which is at most 1.8 s here.
STOP_SECONDS = 6.0
READY_SECONDS = 10.0
SETTLE_SECONDS = 10.0
# A decision is on disk for people within this time.
RECORD_SECONDS = 0.3
LOOK_SECONDS = 0.02
CHANGE_SECONDS = 15.0
TRAFFIC_SECONDS = 15.0
# Requests until clients of every habit have met what has just changed.
ENOUGH_REQUESTS = 60
# A step of the plans here is due every two seconds; beyond this it does not come.
STEP_SECONDS = 20.0
HISTORY_LINES = 1000

READS = "data: read by both programs, no line of a history lost"
AGREES = "query: both programs say SYNCHRONIZED, with two links a node"
DOOR = "door: a way back until all are new, and none after; query and the refused say so"
HAPPENS = "story: nodes come up, agree, and the rollout goes on"


class Wrong(Exception):
    """The story cannot go on."""


class Story:
    """The mesh, its clients, and what was found so far."""

    def __init__(self, mesh: Mesh, history: pathlib.Path, seed: int, spoil: str):
        self.mesh, self.spoil = mesh, spoil
        self.history = History(history)
        self.models = Models(mesh.network.model_hosts)
        self.traffic = Traffic(mesh, self.history, random.Random(seed))
        self.findings = {promise: Finding(promise) for promise in (READS, AGREES, DOOR, HAPPENS)}
        # Each decided transaction as each node has shown it first.
        self.lines: "dict[str, dict[str, dict]]" = {node: {} for node in mesh.ids}
        # While any node is still to run the old program again, it must be able to read what the new one writes.
        self.old_reads = True
        self.replaced = collections.Counter()
        self.step_before = 0
        self.links: "dict[str, dict[str, int | None]]" = {}
        self.rollback_seconds: "list[float]" = []
        self.notes: "list[str]" = []
        # The nodes whose end is not asked for.
        self.alive: set[str] = set()
        self.history.add("meta", nodes=list(mesh.ids), initial=INITIAL)

    # Notes.

    def looked(self, promise: str, is_kept: bool, otherwise: str):
        """Notes one look at a promise."""
        self.findings[promise].looked_at += 1
        if not is_kept:
            self.findings[promise].violated(f"{self.history.now():.1f} s: {otherwise}")

    def state(self) -> dict:
        """The newest state that any node has shown."""
        return max(self.traffic.seen.values(), key=lambda state: state["version"])

    def is_seen(self, version: int) -> bool:
        """Whether every node has shown this version or a later one."""
        return all(state["version"] >= version for state in self.traffic.seen.values())

    def must_progress(self):
        """Raises where no rollout is in progress, so that what follows would try nothing."""
        rollout = self.state()["rollout"] or {"phase": "not there"}
        if rollout["phase"] != "Progressing":
            raise Wrong(f"the rollout was to be in progress, and is {rollout['phase']}: {rollout.get('why') or 'no reason given'}")

    def step(self) -> int:
        """The step that the rollout is at, from 1; 0 before any."""
        rollout = self.state()["rollout"] if self.traffic.seen else None
        return rollout["step"] if rollout else 0

    # Waiting.

    async def until(self, what: str, seconds: float, look):
        """Waits until `look` gives something true, and gives it."""
        end = self.history.now() + seconds
        while True:
            self.check_alive()
            if found := look():
                return found
            if self.history.now() > end:
                raise Wrong(f"not within {seconds:.0f} s: {what}")
            await asyncio.sleep(LOOK_SECONDS)

    def check_alive(self):
        """Raises for a node, or a loop of this program, that has ended though nobody asked for it."""
        self.traffic.check()
        for node in self.alive:
            code = self.mesh.nodes[node].poll()
            if code is not None:
                self.history.add("died", node=node, code=code)
                raise Wrong(f"node-{node} ({self.mesh.runs[node]}) has ended with {code}:\n    {self.mesh.last_words(node)}")

    async def some_traffic(self, node: "str | None" = None):
        """Waits until clients have met what has just changed: at any node, or at this one."""
        count = (lambda: self.traffic.answered[node]) if node else self.traffic.total
        wanted = count() + (ENOUGH_REQUESTS // 3 if node else ENOUGH_REQUESTS)
        await self.until(f"answers of {f'node-{node}' if node else 'any node'}", TRAFFIC_SECONDS, lambda: count() >= wanted)

    async def settle(self):
        """Waits until all nodes are at one version, none is isolated and nothing is pending."""
        settled, states = await until_settled(self.mesh, SETTLE_SECONDS)
        self.check_alive()
        if not settled:
            fields = ("version", "digest", "isolated", "pending")
            shown = {node: [state[name] for name in fields] for node, state in states.items()}
            raise Wrong(f"the nodes do not agree after {SETTLE_SECONDS:.0f} s: {shown}")

    async def step_up(self):
        """Waits until the rollout has gone up a step since the last node was started, an operator asked, or this was waited for."""

        def is_up() -> bool:
            if self.step() > self.step_before:
                return True
            self.must_progress()
            return False

        await self.until(f"the step after {self.step_before}", STEP_SECONDS, is_up)
        self.step_before = self.step()
        self.looked(HAPPENS, True, "")

    # Deeds.

    async def start_all(self):
        """Starts all nodes with the old program, the clients, and whoever watches."""
        await self.models.listen()
        for node in self.mesh.ids:
            await self._start(node, OLD)
        await self.settle()
        self.marks = Marks(self.mesh, self.history)
        self.traffic.start(self.marks.follow)
        await self.until("a state of each node", READY_SECONDS, lambda: len(self.traffic.seen) == len(self.mesh.ids))

    async def replace(self, node: str, which: str, is_last: bool = False):
        """Stops a node as its operator does, and starts the other program on the same certificates and data. From when the
        last node's new program speaks, nobody promises a way back."""
        await self.stop(node)
        await asyncio.to_thread(self.check_store, node)
        await spoils.while_stopped(self, node)
        await self.some_traffic()
        self.old_reads &= not is_last
        await self._start(node, which)
        self.replaced[node] += 1
        await self.settle()
        await self.some_traffic(node)

    async def stop(self, node: str):
        """SIGTERM, and waits for the end."""
        begin = self.history.now()
        self.alive.discard(node)
        self.history.add("life", node=node, what="stopping")
        self.mesh.signal(node, spoils.stop_signal(self))
        while self.mesh.is_running(node) and self.history.now() < begin + STOP_SECONDS:
            await asyncio.sleep(LOOK_SECONDS)
        by_itself = not self.mesh.is_running(node)
        if not by_itself:
            self.mesh.kill(node)
        self.history.add("stopped", node=node, start=begin, code=self.mesh.nodes[node].returncode, by_itself=by_itself)

    async def _start(self, node: str, which: str):
        # While it was away no step was taken.
        self.step_before = self.step()
        self.history.add("life", node=node, what="started", program=which)
        self.mesh.start_with(node, which, *spoils.arguments(self, node, which))
        is_ready = await until_ready(self.mesh, node, READY_SECONDS)
        code = self.mesh.nodes[node].poll()
        self.looked(READS, code is None, f"node-{node} does not start with the {which} program: exit code {code}")
        if not is_ready:
            raise Wrong(f"node-{node} ({which}) is not ready, exit code {code}:\n    {self.mesh.last_words(node)}")
        self.history.add("life", node=node, what="ready")
        self.alive.add(node)

    async def change(self, which: str, *words: str):
        """Asks for a change as an operator does, by the command line of this program, until it is decided for: a machine under
        load may be too slow for a vote."""
        end = self.history.now() + CHANGE_SECONDS
        while True:
            start = self.history.now()
            done = await asyncio.to_thread(self.mesh.typed, which, *words, "--output", "json")
            document = json.loads(done.stdout) if done.stdout.startswith("{") else {}
            fields = outcome(Answer(document.get("status", 200), {}, json.dumps(document).encode()))
            asked = {"node": "a", "hops": [], "what": " ".join(words), "points": None, "program": which}
            self.history.add("change", start=start, **asked, **fields)
            if fields["outcome"] == "ok":
                await self.until("what was decided, at all nodes", SETTLE_SECONDS, lambda: self.is_seen(fields["version"]))
                self.step_before = self.step()
                return
            if self.history.now() > end:
                raise Wrong(f"canary {' '.join(words)} ({which}) ended with {done.returncode}: {done.stderr.strip()}")
            await asyncio.sleep(0.2)

    def turn(self, node: str, mode: str):
        """Lets the canary's server of a node be `bad`, or `ok` again."""
        self.models.turn(node, "v2", mode)
        self.history.add("turned", node=node, model="v2", mode=mode)

    # Looks.

    def check_store(self, node: str):
        """Lets each program that must read a node's data say whether it can."""
        for which in self.readers():
            done = self.mesh.typed(which, "store", "check", str(self.mesh.data(node)))
            said = " ".join((done.stdout[-300:] + done.stderr).split())
            what = f"store check ({which}) of node-{node} ended with {done.returncode}: {said}"
            self.looked(READS, done.returncode == 0, what)

    def readers(self) -> "list[str]":
        """The programs that must be able to read everything now."""
        return [OLD, NEW] if self.old_reads else [NEW]

    async def ask(self, node: str, path: str):
        """A node's answer at a path, as JSON; None where there is none."""
        client = self.mesh.reader(node, keep=False)
        try:
            answer = await client.call("GET", path, seconds=3.0)
            return answer.json() if answer.status == 200 else None
        except (NotSent, Broken):
            return None

    def is_whole(self) -> bool:
        """Whether all nodes run, and nobody has stopped one."""
        return len(self.alive) == len(self.mesh.ids) and all(self.mesh.is_running(node) for node in self.mesh.ids)

    async def read_final(self):
        """Writes down the state and history of every node at the end, once all agree."""
        start = self.history.now()
        settled, states = await until_settled(self.mesh, SETTLE_SECONDS)
        shown = {node: (state["version"], state["isolated"], state["pending"]) for node, state in states.items()}
        self.history.add("quiet", start=start, settled=settled, shown=shown)
        for node, state in states.items():
            lines = self.lines[node].values()
            commits = {str(line["version"]): line["txid"] for line in lines if line["decision"] == "COMMIT"}
            self.history.add("final", node=node, **part_of(state), commits=commits, aborts=[])

    async def end(self):
        """Ends everything that still runs; what was found stays."""
        try:
            await self.traffic.stop()
        finally:
            self.mesh.stop()
            self.models.close()
            self.history.close()
