"""The calm run: a rollout every ten seconds and steady traffic, and what the nodes take of the machine meanwhile.

Memory, file descriptors and threads must be flat in the last half: the median of the last quarter is at most a little above that
of the third. History and record are given bounds that are reached within minutes, and must never be above them.
"""

import asyncio
import json
import os
import pathlib
import random
import statistics
import time

from .history import History
from .operators import Operators
from .settle import is_settled, read_all, until_settled
from .workload import Workload

ROLLOUT_SECONDS = 10.0
SAMPLE_SECONDS = 10.0
# What the nodes are told to keep, in bytes: as little as is full long before the end.
KEEP = {"history": 1024 * 1024, "audit": 4 * 1024 * 1024}
# Files are counted in blocks.
BLOCK_BYTES = 4096
# Decided before the clock starts: five times what a node keeps in memory for GET /history, which is also what the allocator
# needs until it has found its size.
FILLED = 5_000
# The allocator keeps pages in an order of its own: a node whose memory grows, grows by more than this in a quarter of an hour.
RSS_GROWTH, RSS_FREE_KB = 0.03, 1024
DESCRIPTORS_FREE = 4
PLAN = {
    "steps": [{"setWeight": 20}, {"setWeight": 60}],
    "hold": "2s",
    "minSample": 3,
    "gates": {"p95_ratio": {"mode": "observe"}, "max_error_rate_difference": {"mode": "observe"}, "max_p95_ms": {"mode": "observe"}},
}


def usage(pid: int, data: pathlib.Path) -> dict:
    """What a process takes now: kB of memory, descriptors, threads, bytes on disk by file."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    disk: dict[str, int] = {}
    for path in data.iterdir():
        disk[path.name] = path.stat().st_blocks * 512
    return {
        "rss_kb": int(fields["VmRSS"].split()[0]),
        "threads": int(fields["Threads"]),
        "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
        "disk": disk,
        "cpu_seconds": sum(map(int, pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(") ", 1)[1].split()[11:13]))
        / os.sysconf("SC_CLK_TCK"),
    }


class Soak:
    """The run and its samples."""

    def __init__(self, place, seconds: float, seed: int, samples: "pathlib.Path | None"):
        self.cluster, self.seconds = place.cluster, seconds
        self.random = random.Random(seed)
        self.history = History(None)
        self.workload = Workload(self.cluster, self.history, self.random)
        self.operators = Operators(self.cluster, self.workload, self.history, self.random)
        self.samples: list[dict] = []
        self.outcomes: dict[str, int] = {}
        self.answers: dict[str, int] = {}
        self.drifts: list[str] = []
        self._file = samples.open("w", encoding="utf-8") if samples else None

    async def run(self):
        """All of it."""
        for node in self.cluster.ids:
            self.cluster.start(node, *(word for what, size in KEEP.items() for word in (f"--{what}-keep", f"{size // 1024}KiB")))
        settled, states = await until_settled(self.cluster, 30)
        if not settled:
            raise RuntimeError(f"the mesh did not come up: {states}")
        await self._fill()
        self.history.began = time.monotonic()
        self.workload.start(self._roll)
        next_sample = 0.0
        while (now := self.history.now()) < self.seconds:
            self.workload.check()
            if now >= next_sample:
                await self._sample()
                next_sample += SAMPLE_SECONDS
            self._forget()
            await asyncio.sleep(0.5)
        await self.workload.stop()
        self._forget()
        await self._sample(must_settle=True)

    async def _fill(self):
        """So many decisions that what is bounded by number has reached its bound when the hour begins."""
        for number in range(FILLED):
            body = {"canary_weight": (1 + number % 2) / 10, "canary_model_id": "v2"}
            done = await self.operators.change("a", "weight", "/routing/weights", body, None)
            if done["outcome"] != "ok":
                raise RuntimeError(f"a change on a quiet mesh was not decided: {done}")
            self.history.events.clear()

    async def _roll(self, ends: asyncio.Event):
        """A rollout from one model to the other, every ten seconds."""
        due = self.history.now()
        while not ends.is_set():
            state = self.workload.seen.get("a")
            if state is not None:
                other = "v2" if state["stable_model_id"] == "v1" else "v1"
                body = {"canary_model_id": other, "plan": PLAN, "supersede": True}
                done = await self.operators.change(self.random.choice(self.cluster.ids), "start", "/rollouts", body, None)
                self.outcomes[done["outcome"]] = self.outcomes.get(done["outcome"], 0) + 1
                due += ROLLOUT_SECONDS
            await asyncio.sleep(max(0.1, due - self.history.now()))

    def _forget(self):
        """Counts the answers and drops the events: an hour of them is more than the checker of a chaos run should hold."""
        for event in self.history.events:
            if event["kind"] == "predict":
                word = str(event.get("status") or event["failed"])
                self.answers[word] = self.answers.get(word, 0) + 1
        self.history.events.clear()

    async def _sample(self, must_settle: bool = False):
        states = await read_all(self.cluster)
        if not is_settled(states, self.cluster.ids):
            settled, states = await until_settled(self.cluster, 5)
            if not settled:
                shown = {node: (state["version"], state["digest"][:12], state["isolated"]) for node, state in states.items()}
                self.drifts.append(f"at {self.history.now():.0f} s: {shown}")
        elif must_settle and len({state["version"] for state in states.values()}) != 1:
            self.drifts.append("at the end")
        nodes = {node: usage(self.cluster.nodes[node].pid, self.cluster.data(node)) for node in self.cluster.ids}
        version = max(state["version"] for state in states.values())
        sample = {"at": self.history.now(), "version": version, "nodes": nodes}
        self.samples.append(sample)
        if self._file:
            self._file.write(json.dumps(sample) + "\n")
            self._file.flush()


def judge(samples: "list[dict]", node: str, field: str) -> dict:
    """Medians of the quarters, and whether the last is no higher than the third beyond what is free."""
    values = [sample["nodes"][node][field] for sample in samples]
    length = len(values)
    quarters = [statistics.median(values[length * i // 4 : length * (i + 1) // 4] or values) for i in range(4)]
    free = max(RSS_FREE_KB, RSS_GROWTH * quarters[2]) if field == "rss_kb" else DESCRIPTORS_FREE if field == "descriptors" else 0
    return {"quarters": quarters, "highest": max(values), "flat": quarters[3] <= quarters[2] + free}


def report(soak: Soak) -> bool:
    """Prints the figures; whether all is as it must be."""
    first, last = soak.samples[0], soak.samples[-1]
    good = True
    print(f"{last['at']:.0f} s, {last['version']} decisions, rollouts started: {soak.outcomes}, answers of /predict by status: {soak.answers}")
    print("NODE    FIGURE        QUARTERS (MEDIANS)                     HIGHEST   LAST HALF")
    for node in soak.cluster.ids:
        for field in ("rss_kb", "descriptors", "threads"):
            figure = judge(soak.samples, node, field)
            good &= figure["flat"]
            quarters = " ".join(f"{value:>9.0f}" for value in figure["quarters"])
            print(f"node-{node}  {field:<12}  {quarters}  {figure['highest']:>8}   {'flat' if figure['flat'] else 'GROWS'}")
        for what, bound in KEEP.items():
            sizes = [sum(size for name, size in sample["nodes"][node]["disk"].items() if name.startswith(what)) for sample in soak.samples]
            within = max(sizes) <= bound + 10 * BLOCK_BYTES
            good &= within
            verdict = "bounded" if within else "TOO MUCH"
            print(f"node-{node}  {what + ', kB':<12}  now {sizes[-1] // 1024}, highest {max(sizes) // 1024} of {bound // 1024}   {verdict}")
        whole = [sum(sample["nodes"][node]["disk"].values()) // 1024 for sample in soak.samples]
        print(f"node-{node}  disk, kB      now {whole[-1]}, highest {max(whole)}")
        spent = last["nodes"][node]["cpu_seconds"] - first["nodes"][node]["cpu_seconds"]
        print(f"node-{node}  processor     {100 * spent / max(1, last['at'] - first['at']):.1f} % of one core")
    failed = sum(count for word, count in soak.answers.items() if word != "200")
    print(f"requests without a good answer: {failed}; drift between the nodes: {soak.drifts or 'none'}")
    return good and not failed and not soak.drifts
