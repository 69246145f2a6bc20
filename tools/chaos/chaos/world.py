"""What a nemesis has at hand: the cluster, the network, the models, the history, and who may hurt which node now."""

import asyncio
import contextlib
import random

from .settle import until_ready

# A nemesis that waits for a decision gives up after this; the checker's limit is shorter.
DECISION_SECONDS = 9.0
PROBE_SECONDS = 2.5
HEAL_SECONDS = 8.0


class World:
    """One round of a run."""

    def __init__(self, place, workload, operators, history, rng: random.Random, is_long: bool):
        self.cluster, self.network, self.models = place.cluster, place.network, place.models
        self.workload, self.operators, self.history, self.random = workload, operators, history, rng
        self.ids = place.cluster.ids
        # In a long run faults last as long as chance says, in a short one no longer than shows something.
        self.is_long = is_long
        # Two faults do not hurt one node's process or disk at the same time: the second would not be what it says.
        self.nodes = {node: asyncio.Lock() for node in self.ids}
        # Held by whatever makes advances impossible without stopping a node.
        self.advances = asyncio.Lock()
        # Changes that a nemesis has sent and does not wait for.
        self.asking: set[asyncio.Task] = set()
        self._numbers = 0

    @contextlib.asynccontextmanager
    async def fault(self, kind: str, nodes, **fields):
        """The time in which something is broken. The block repairs before it ends, and sets `effect`."""
        self._numbers += 1
        record = {"id": self._numbers, "fault": kind, "nodes": list(nodes), "effect": None, **fields}
        start = self.history.now()
        self.history.add("fault_begins", **record)
        yield record
        self.history.add("fault", **{**record, "start": start})

    @contextlib.asynccontextmanager
    async def hold(self, *nodes: str):
        """Nobody else hurts these nodes meanwhile. Always taken in the same order, so that no two wait for each other."""
        async with contextlib.AsyncExitStack() as stack:
            for node in sorted(nodes):
                await stack.enter_async_context(self.nodes[node])
            yield

    def free_node(self) -> "str | None":
        """A node that nobody hurts now."""
        free = [node for node in self.ids if not self.nodes[node].locked() and self.cluster.is_running(node)]
        return self.random.choice(free) if free else None

    def some(self, short: float, longest: float) -> float:
        """Seconds that a fault lasts."""
        return self.random.uniform(short, longest) if self.is_long else short

    def life(self, node: str, what: str):
        """A process begins, ends, stands still or goes on."""
        self.history.add("life", node=node, what=what)

    def coordinator(self) -> str:
        """Who coordinates, as most nodes say."""
        said = [state["acting_coordinator"] for state in self.workload.seen.values() if state["acting_coordinator"]]
        return max(set(said), key=said.count).removeprefix("node-") if said else "a"

    def start(self, node: str, *arguments: str):
        """Starts the process of a node."""
        self.cluster.start(node, *arguments)
        self.life(node, "started")

    async def ready(self, *nodes: str):
        """Waits until nodes answer, and says so in the history."""

        async def one(node: str):
            if await until_ready(self.cluster, node):
                self.life(node, "ready")

        await asyncio.gather(*(one(node) for node in nodes))

    async def in_mid_change(self):
        """Comes back a moment after changes were sent to several nodes: what is killed now is killed with some under way."""
        for node in {self.coordinator(), self.random.choice(self.ids)}:
            wanted = self.operators.weight(self.workload.seen[node], self.random.choice(("raise", "lower")))
            asking = asyncio.ensure_future(self.operators.change(node, *wanted))
            self.asking.add(asking)
            asking.add_done_callback(self.asking.discard)
        await asyncio.sleep(self.random.uniform(0.001, 0.04))

    async def until_taken_over(self, gone: str) -> bool:
        """Asks the other nodes for a retreat, again and again, until one decides it. Follows them nowhere: they may still
        send to the one that is gone."""
        begin = self.history.now()
        others = [node for node in self.ids if node != gone]
        while self.history.now() < begin + DECISION_SECONDS:
            for node in others:
                request = ("zero", "/routing/weights", {"canary_weight": 0}, None)
                done = await self.operators.change(node, *request, follow=False, seconds=PROBE_SECONDS)
                if done["outcome"] == "ok":
                    return True
                await asyncio.sleep(0.05)
        return False

    async def until(self, look, seconds: float, pause: float = 0.03):
        """Waits until `look` gives something true, and gives it; None after `seconds`."""
        end = self.history.now() + seconds
        while self.history.now() < end:
            if found := look():
                return found
            await asyncio.sleep(pause)
        return None

    def mark(self, node: str, what: str, since: float) -> bool:
        """Whether a node's log has said this since then."""
        for event in reversed(self.history.events):
            if event["end"] < since:
                return False
            if event["kind"] == "mark" and (event["node"], event["what"]) == (node, what):
                return True
        return False

    async def until_healed(self):
        """Waits until every node has confirmed a version that is not older than any known now: the next fault meets a whole
        mesh. The checker judges by the history how long that took."""
        now = self.history.now()
        known = max((state["version"] for state in self.workload.seen.values()), default=0)
        behind = set(self.ids)

        def look():
            for event in reversed(self.history.events):
                if event["end"] < now:
                    break
                if event["kind"] == "state" and event["start"] >= now and not event["isolated"] and event["version"] >= known:
                    behind.discard(event["node"])
            return not behind

        await self.until(look, HEAL_SECONDS)
