"""Clients behind a load balancer: each has a node of its own, asks another one when no connection can be made, and never sends
a request twice.

So a request is lost when it was sent and no whole answer came. Which connections are still good is known only from what was read
of them: one that the node closes between that look and the request loses the request, and counts as that.
"""

import asyncio
import collections
import random

from chaos.clients import Broken, Line, NotSent
from chaos.cluster import PORTS
from chaos.workload import PREDICT_SECONDS, Workload, told

# Rest between two requests, and whether the connection is kept: busy ones, and ones whose connection is idle most of the time.
HABITS = ((0.02, True), (0.07, True), (0.3, True), (0.1, False))
# A load balancer tries a node again that has refused a connection after so long.
AWAY_SECONDS = 0.5
# A request that no node takes for so long has failed.
UNTAKEN_SECONDS = 5.0
USERS = 1_000_000


class Traffic(Workload):
    """All clients of all nodes, and readers of the nodes' states."""

    def __init__(self, mesh, history, rng: random.Random):
        super().__init__(mesh, history, rng)
        self.answered = collections.Counter()
        self.refused = 0

    def start(self, *more):
        """Begins; `more` are further loops that take the event of the end."""
        callers = [Caller(self, node, rest, keeps) for node in self.mesh.ids for rest, keeps in HABITS]
        loops = [self._read(node) for node in self.mesh.ids]
        loops += [caller.run(self._ends) for caller in callers]
        loops += [loop(self._ends) for loop in more]
        self._tasks = [asyncio.ensure_future(loop) for loop in loops]

    def total(self) -> int:
        """Requests that were answered, by whatever node."""
        return sum(self.answered.values())

    def question(self) -> "tuple[str | None, str, bytes]":
        """A key or none, and the headers and body of a request that says it: in the one, in the other, or not at all."""
        key = f"user-{self.random.randrange(USERS)}"
        kind = self.random.randrange(3)
        if kind == 0:
            return key, f"x-canary-key: {key}\r\n", b"{}"
        if kind == 1:
            return key, "", b'{"key":"%s"}' % key.encode()
        # Without a key, another body is what makes it another request: the same once more would not be counted.
        return None, "", b'{"x":%d}' % self.random.randrange(USERS)

    def record(self, fields: dict):
        """Counts a request that has ended, and writes it down."""
        if "failed" not in fields:
            self.answered[fields["node"]] += 1
        self.history.add("predict", **fields)


class Caller:
    """One client."""

    def __init__(self, traffic: Traffic, home: str, rest: float, keeps: bool):
        self.traffic, self.home, self.rest, self.keeps = traffic, home, rest, keeps
        at = traffic.mesh.ids.index(home)
        self.order = [*traffic.mesh.ids[at:], *traffic.mesh.ids[:at]]
        self.at = home
        self.line: "Line | None" = None
        self.home_again = 0.0

    async def run(self, ends: asyncio.Event):
        """Asks and rests until told to stop."""
        while not ends.is_set():
            await self._ask()
            if not self.keeps:
                self._drop()
            await asyncio.sleep(self.rest * self.traffic.random.uniform(0.7, 1.3))
        self._drop()

    async def _ask(self):
        history = self.traffic.history
        key, headers, body = self.traffic.question()
        asked = history.now()
        while (line := await self._connected()) is None:
            if history.now() - asked > UNTAKEN_SECONDS:
                self.traffic.record({"node": self.home, "key": key, "asked": asked, "start": asked, "failed": "untaken"})
                return
            await asyncio.sleep(0.01)
        fields = {"node": self.at, "home": self.home, "key": key, "asked": asked, "start": history.now()}
        try:
            fields.update(told(await line.call("POST", "/predict", body, headers, PREDICT_SECONDS)))
        except (NotSent, Broken) as error:
            self._drop()
            fields.update(failed="lost", error=str(error))
        self.traffic.record(fields)

    async def _connected(self) -> "Line | None":
        """The connection that is kept, or a new one to the first node that takes it."""
        now = self.traffic.history.now()
        is_home_due = self.at != self.home and now >= self.home_again
        if self.line is not None and (self.line.is_closed() or is_home_due):
            self._drop()
        mesh = self.traffic.mesh
        for node in self.order:
            if self.line is not None:
                break
            if node == self.home and now < self.home_again:
                continue
            try:
                self.line = await Line.open(mesh.reading, mesh.network.addresses[node], PORTS[node])
                self.at = node
            except NotSent:
                self.traffic.refused += 1
                if node == self.home:
                    self.home_again = now + AWAY_SECONDS
        return self.line

    def _drop(self):
        if self.line is not None:
            self.line.close()
            self.line = None
