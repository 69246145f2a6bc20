"""The events of a history, arranged for the promises of `checker.py`. Pure: it reads nothing but what it is given.

Kinds: `state` (a read of /routing/state), `predict`, `change` (an operator's), `fault`, `life` (a process begins, ends, stands
still), `mark` (a line of a log), `decided` and `final` (what a node's disk says was decided), `known` (what earlier rounds
established), `quiet` (whether all agreed at the end), `stopped`, `died`, `effect`, `meta`.
"""

import bisect
import collections

TOP = 10_000
# Requests at the edge of a process's life may meet either side of it.
EDGE = 0.05
FOREVER = float("inf")
DOWN, STILL = "down", "still"


class Index:
    """The history of one round, by kind and node."""

    def __init__(self, events: "list[dict]"):
        self.by_kind: dict[str, list[dict]] = collections.defaultdict(list)
        for event in events:
            self.by_kind[event["kind"]].append(event)
        for kind in self.by_kind.values():
            kind.sort(key=lambda event: event["start"])
        self.meta = (self.by_kind["meta"] or [{"nodes": ["a", "b", "c"]}])[0]
        self.nodes = self.meta["nodes"]
        # Nodes elsewhere: what is done to them, and what their models answer, is not known.
        self.is_remote = self.meta.get("remote", False)
        effects = {event["id"]: event["effect"] for event in self.by_kind["effect"]}
        self.faults = [{**fault, "effect": effects.get(fault["id"], fault["effect"])} for fault in self.by_kind["fault"]]
        self.reads = {node: [read for read in self.by_kind["state"] if read["node"] == node] for node in self.nodes}
        self.told = [change for change in self.by_kind["change"] if change["outcome"] == "ok"]
        self.lives = {node: self._lives(node) for node in self.nodes}
        self.known = {int(version): state for known in self.by_kind["known"] for version, state in known["states"].items()}
        self.states = self._states()
        self._read_starts = {node: [read["start"] for read in reads] for node, reads in self.reads.items()}
        self._read_ends = {node: [read["end"] for read in reads] for node, reads in self.reads.items()}
        self._marks = {node: [m for m in self.by_kind["mark"] if m["node"] == node] for node in self.nodes}

    def _lives(self, node: str) -> "list[tuple[float, float, str]]":
        """The times in which the process of a node did not run, or stood still."""
        gaps, since, sort = [], None, DOWN
        for life in self.by_kind["life"]:
            if life["node"] != node:
                continue
            at, what = life["end"], life["what"]
            if what in ("killed", "stopping", "paused"):
                if since is None:
                    since, sort = at, STILL if what == "paused" else DOWN
            elif what in ("ready", "resumed") and since is not None:
                gaps.append((since, at, sort))
                since = None
        if since is not None:
            gaps.append((since, FOREVER, sort))
        return gaps

    def _states(self) -> "dict[int, dict]":
        """What was decided at each version, as far as anybody saw it."""
        states = dict(self.known)
        for event in (*self.by_kind["state"], *self.told):
            if event["version"] > 0:
                states.setdefault(event["version"], {name: event[name] for name in STATE})
        return states

    def was_down(self, node: str, start: float, end: float) -> bool:
        """Whether the process of a node did not live at some moment of this time."""
        return any(gap_start - EDGE <= end and start <= gap_end + EDGE for gap_start, gap_end, _ in self.lives[node])

    def began_between(self, node: str, start: float, end: float) -> bool:
        """Whether the process of a node ended or began in this time."""
        return any(gap_start <= end and start <= gap_end for gap_start, gap_end, sort in self.lives[node] if sort == DOWN)

    def around(self, node: str, start: float, end: float) -> "tuple[list[dict], float]":
        """The reads of a node from the last before this time to the first after it, and the longest time without one."""
        first = max(0, bisect.bisect_right(self._read_ends[node], start) - 1)
        last = bisect.bisect_left(self._read_starts[node], end)
        reads = self.reads[node][first : last + 1]
        if not reads or reads[0]["end"] > start or reads[-1]["start"] < end:
            return reads, FOREVER
        return reads, max((after["start"] - before["end"] for before, after in zip(reads, reads[1:])), default=FOREVER)

    def marked(self, node: str, start: float, end: float, *words: str) -> bool:
        """Whether the log of a node says one of these in this time."""
        return any(mark["what"] in words and start <= mark["end"] <= end for mark in self._marks[node])

    def confirmed_before(self, node: str) -> "list[tuple[float, int]]":
        """The highest confirmed version of a node's reads that ended by each time."""
        steps, highest = [], 0
        for read in sorted(self.reads[node], key=lambda read: read["end"]):
            if not read["isolated"] and read["version"] > highest:
                highest = read["version"]
                steps.append((read["end"], highest))
        return steps

    def sources(self):
        """Each claim that a transaction was decided at a version: version, transaction, digest or None, who says so."""
        for read in self.by_kind["state"]:
            if read["version"] > 0:
                yield read["version"], read["txid"], read["digest"], f"node-{read['node']} showed it at {read['end']:.2f} s"
        for change in self.told:
            yield change["version"], change["txid"], change["digest"], f"told at {change['end']:.2f} s"
        yield from self.on_disk()
        for version, state in self.known.items():
            yield version, state["txid"], state["digest"], "known from before"

    def on_disk(self):
        """The claims of the nodes' own records."""
        for event in (*self.by_kind["decided"], *self.by_kind["final"]):
            for version, txid in event["commits"].items():
                yield int(version), txid, None, f"on the disk of node-{event['node']}"


STATE = ("txid", "digest", "stable", "canary", "weights", "salt", "drained")


def points(state: dict) -> int:
    """The canary's agreed share in basis points."""
    return round(TOP * state["weights"].get(state["canary"], 0)) if state["canary"] else 0


def at_or_before(steps: "list[tuple[float, int]]", time: float) -> int:
    """The value of the last step that is not after `time`; 0 before the first."""
    at = bisect.bisect_right(steps, (time, FOREVER))
    return steps[at - 1][1] if at else 0
