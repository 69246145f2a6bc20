"""A run: rounds of faults on one mesh, each with its history, each judged as soon as it is over."""

import asyncio
import pathlib
import random
import time

from . import report, schedule, validity
from .checker import check
from .history import History
from .index import Index
from .marks import Marks
from .nemeses.processes import decided_on_disk
from .operators import Operators
from .settle import until_settled
from .workload import Workload, part_of
from .world import World

SETTLE_SECONDS = 5.0
# What is decided is on disk for people within this time.
RECORD_SECONDS = 0.3
WATCH_SECONDS = 0.05


class Run:
    """The rounds of a run; `known` is what earlier ones have established."""

    def __init__(self, place, seconds: float, seed: int):
        self.place, self.cluster, self.seconds = place, place.cluster, seconds
        self.random = random.Random(seed)
        self.began = time.monotonic()
        self.known: dict[int, dict] = {}
        self.kinds = schedule.kinds(place.left_out)

    def run(self) -> int:
        """All rounds; stops at the first that is violated. Gives the exit code."""
        totals, number = report.Totals(), 0
        while True:
            number += 1
            began = time.monotonic()
            path = self.place.root / f"history-{number}.jsonl"
            events = asyncio.run(self._round(path, number))
            took = time.monotonic() - began
            findings = check(events)
            print(totals.add(validity.look(events, self.kinds, not self.place.left_out), findings), flush=True)
            spent = time.monotonic() - self.began
            if any(finding.violations for finding in findings) or spent + took / 2 > self.seconds:
                print()
                return report.show(totals.done, totals.findings, self.place.left_out, spent)
            self._remember(events)
            path.unlink()

    async def _round(self, path: pathlib.Path, number: int) -> "list[dict]":
        if number == 1:
            for node in self.cluster.ids:
                self.cluster.start(node)
        settled, states = await until_settled(self.cluster, 30)
        if not settled:
            raise RuntimeError(f"the mesh does not agree before any fault: {states}")
        history = History(path)
        history.add("meta", nodes=list(self.cluster.ids), initial=INITIAL)
        if self.known:
            history.add("known", states=self.known)
        workload = Workload(self.cluster, history, self.random)
        operators = Operators(self.cluster, workload, history, self.random)
        world = World(self.place, workload, operators, history, self.random, is_long=self.seconds > 120)
        workload.start(Marks(self.cluster, history).follow, self._watch(history), *operators.loops())
        await asyncio.sleep(0.5)
        try:
            await schedule.run(world, self.place.left_out)
        except (OSError, KeyError, RuntimeError) as error:
            # A nemesis that finds a node gone that nobody ended: the checker says so, or the fault is in here.
            if not history.said("died"):
                raise
            history.add("gave_up", error=repr(error))
        finally:
            await asyncio.gather(*world.asking)
            await workload.stop()
            await self._final(history)
            history.close()
        return history.events

    def _watch(self, history: History):
        """Sees a process that ends though nobody ended it."""

        async def watch(ends: asyncio.Event):
            told: set[int] = set()
            while not ends.is_set():
                ours = {e["node"]: e["what"] for e in history.events if e["kind"] == "life"}
                for node, process in self.cluster.nodes.items():
                    code = process.poll()
                    if code is not None and ours.get(node) not in ("killed", "stopping") and process.pid not in told:
                        told.add(process.pid)
                        history.add("died", node=node, code=code)
                await asyncio.sleep(WATCH_SECONDS)

        return watch

    async def _final(self, history: History):
        """What every node shows and has on disk, once all agree."""
        start = history.now()
        settled, states = await until_settled(self.cluster, SETTLE_SECONDS)
        shown = {node: (state["version"], state["isolated"], state["pending"]) for node, state in states.items()}
        history.add("quiet", start=start, settled=settled, shown=shown)
        await asyncio.sleep(RECORD_SECONDS)
        for node, state in states.items():
            history.add("final", node=node, **part_of(state), **decided_on_disk(self.cluster.data(node)))

    def _remember(self, events: "list[dict]"):
        """The states that this round has established, for the next: what is decided is decided for ever."""
        self.known = dict(sorted(Index(events).states.items())[-2_000:])


INITIAL = {"stable": "v1", "canary": None, "weights": {"v1": 1.0}, "salt": None, "drained": []}
