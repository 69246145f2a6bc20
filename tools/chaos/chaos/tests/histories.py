"""A small history in which everything holds, and ways to spoil it."""

from ..pick import bucket

NODES = ("a", "b", "c")
SALT = "rollout-1"
# Of two keys one is among the first half of the line and one is not.
INSIDE = next(f"k{n}" for n in range(100) if bucket(SALT, f"k{n}") < 5_000)
OUTSIDE = next(f"k{n}" for n in range(100) if bucket(SALT, f"k{n}") >= 5_000)
INITIAL = {"stable": "v1", "canary": None, "weights": {"v1": 1.0}, "salt": None, "drained": []}


def agreed(version: int, share: float) -> dict:
    """The agreed part of the state at a version."""
    return {
        "version": version,
        "txid": f"t{version}",
        "digest": f"d{version}",
        "stable": "v1",
        "canary": "v2",
        "weights": {"v1": 1 - share, "v2": share},
        "salt": SALT,
        "drained": [],
    }


def read(node: str, at: float, version: int, share: float, **more) -> dict:
    """A node shows its state."""
    state = {**agreed(version, share), "serving": {"v1": 1 - share, "v2": share}, "isolated": False, "ejected": False, "pending": None}
    return {"kind": "state", "node": node, "start": at, "end": at + 0.01, **state, **more}


def cut_off(node: str, at: float, version: int, share: float) -> dict:
    """The same of a node that is isolated."""
    return read(node, at, version, share, isolated=True, serving={"v1": 1.0, "v2": 0.0})


def told(at: float, version: int, share: float, acknowledged=("a",), **more) -> dict:
    """An operator hears COMMIT."""
    event = {"kind": "change", "node": "a", "outcome": "ok", "what": "raise", "start": at - 0.02, "end": at, "acknowledged": list(acknowledged)}
    return {**event, **agreed(version, share), **more}


def answer(node: str, at: float, version: int, model: str, key: str, **more) -> dict:
    """A node answers a request."""
    event = {"kind": "predict", "node": node, "start": at, "end": at + 0.005, "status": 200, "version": version, "model": model}
    return {**event, "by": model, "by_node": f"node-{node}", "shielded": None, "key": key, **more}


def fault(kind: str, start: float, end: float, nodes=("c",), **more) -> dict:
    """Something was broken from `start` to `end`."""
    event = {"kind": "fault", "id": int(start * 1_000), "fault": kind, "nodes": list(nodes), "start": start, "end": end}
    return {**event, "effect": {"yes": True}, **more}


def life(node: str, at: float, what: str) -> dict:
    """A process ends or begins."""
    return {"kind": "life", "node": node, "what": what, "start": at, "end": at}


def final(node: str, version: int, share: float) -> dict:
    """What a node ended with."""
    commits = {str(number): f"t{number}" for number in range(1, version + 1)}
    return {"kind": "final", "node": node, "start": 60.0, "end": 60.0, **agreed(version, share), "commits": commits, "aborts": []}


def good() -> "list[dict]":
    """Half for the canary at version 1; node-c is cut off; nothing for it at version 2; node-c comes back; node-a is killed and
    replaced; nothing more happens."""
    events = [{"kind": "meta", "start": 0, "end": 0, "nodes": list(NODES), "initial": INITIAL}]
    events += [told(1.0, 1, 0.5), {**told(1.5, 9, 0.7), "outcome": "aborted", "txid": "x1", "points": 7_000}]
    for tick in range(10, 400):
        at = tick / 10
        for node in NODES:
            if node == "a" and 30 <= at < 36:
                continue
            if node == "c" and 12.0 <= at < 15.0:
                events.append(cut_off(node, at, 1, 0.5))
            elif at < 3 or (node == "c" and at < 15):
                events.append(read(node, at + 0.03, 1, 0.5))
            else:
                events.append(read(node, at + 0.03, 2 if at < 34 else 3, 0))
    for at, node, model, key in ((1.55, "a", "v2", INSIDE), (1.65, "b", "v1", OUTSIDE), (11.05, "c", "v2", INSIDE), (13.05, "c", "v1", INSIDE)):
        events.append(answer(node, at, 1, model, key))
    events += [answer(node, 20.05, 2, "v1", INSIDE) for node in NODES]
    events += [fault("isolated, both ways", 2.0, 15.0), told(3.0, 2, 0, ("a", "b"), what="zero")]
    events += [life("a", 30.0, "killed"), fault("kill -9 of the coordinator", 30.0, 35.8, ("a",), takeover=True)]
    events += [told(33.9, 3, 0, ("b", "c"), what="zero"), life("a", 35.8, "started"), life("a", 35.9, "ready")]
    refused = {"kind": "predict", "node": "a", "key": INSIDE, "start": 31.0, "end": 31.0, "failed": "not_sent"}
    events += [refused, {"kind": "quiet", "start": 39.9, "end": 40.0, "settled": True, "shown": {}}]
    return events + [final(node, 3, 0) for node in NODES]
