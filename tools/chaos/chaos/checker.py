"""What must hold, judged from a history alone. Pure: events in, violations out; each promise a function of its own.

A promise says how much it looked at, so that one that held because nothing happened can be told from one that held.
"""

import bisect
import collections
import dataclasses

from .index import Index, at_or_before, points
from .pick import bucket

LEASE_SECONDS = 10.0
MARGIN_SECONDS = 0.5
HEAL_SECONDS = 5.0
TAKEOVER_SECONDS = 7.0
# One that is told to stop gives its place up itself.
STOP_SECONDS = 0.5
# Reads of a node further apart than this say nothing of the time between them.
BLIND_SECONDS = 1.0
# A violation is named this often in full; a thousand of the same kind say no more.
NAMED = 8


@dataclasses.dataclass
class Finding:
    """What became of one promise."""

    promise: str
    looked_at: int = 0
    violations: "list[str]" = dataclasses.field(default_factory=list)
    figures: "dict[str, float]" = dataclasses.field(default_factory=dict)

    def violated(self, what: str):
        """One more."""
        self.violations.append(what)

    def add(self, other: "Finding"):
        """Adds what another round found; of a figure the worst is kept."""
        self.looked_at += other.looked_at
        self.violations += other.violations
        for what, figure in other.figures.items():
            self.figures[what] = max(figure, self.figures.get(what, 0))


def check(events: "list[dict]") -> "list[Finding]":
    """Judges every promise."""
    index = Index(events)
    findings = []
    for promise, judge in PROMISES:
        finding = Finding(promise)
        judge(index, finding)
        findings.append(finding)
    return findings


def agreement(index: Index, finding: Finding):
    """For any version one transaction and one digest; a transaction has one version."""
    txids: dict[int, dict] = collections.defaultdict(dict)
    digests: dict[int, dict] = collections.defaultdict(dict)
    versions: dict[str, set] = collections.defaultdict(set)
    for version, txid, digest, source in index.sources():
        finding.looked_at += 1
        txids[version].setdefault(txid, source)
        versions[txid].add(version)
        if digest is not None:
            digests[version].setdefault(digest, source)
    for what, found in (("transactions", txids), ("digests", digests)):
        for version, claims in found.items():
            if len(claims) > 1:
                finding.violated(f"version {version} has {len(claims)} {what}: " + "; ".join(f"{c} ({s})" for c, s in claims.items()))
    for txid, found in versions.items():
        if len(found) > 1:
            finding.violated(f"{txid} was decided at versions {sorted(found)}")


def durability(index: Index, finding: Finding):
    """What was told as COMMIT is on every node at the end."""
    for final in index.by_kind["final"]:
        for change in index.told:
            finding.looked_at += 1
            if final["version"] < change["version"]:
                finding.violated(f"version {change['version']}, told at {change['end']:.2f} s: node-{final['node']} ended at {final['version']}")
            elif final["version"] == change["version"] and final["txid"] != change["txid"]:
                finding.violated(f"version {change['version']} was told as {change['txid']}; node-{final['node']} has {final['txid']}")
    if not index.by_kind["final"]:
        finding.violated("no node was asked at the end")


def aborts(index: Index, finding: Finding):
    """What was told as ABORT, or as not written at all, is never decided."""
    decided = {txid: (version, source) for version, txid, _, source in index.sources()}
    # Weights are asked for once a round; those of earlier rounds may be equal by chance.
    shares = {points(state): version for version, state in index.states.items() if version not in index.known}
    for change in index.by_kind["change"]:
        if change["outcome"] not in ("aborted", "refused"):
            continue
        finding.looked_at += 1
        if change.get("txid") in decided:
            version, source = decided[change["txid"]]
            finding.violated(f"{change['txid']}, aborted at {change['end']:.2f} s, is version {version} ({source})")
        elif change.get("points") and change["points"] in shares:
            at = shares[change["points"]]
            finding.violated(f"the weight {change['points']}, {change['outcome']} at {change['end']:.2f} s ({change.get('code')}), is version {at}")


def monotony(index: Index, finding: Finding):
    """No confirmed version of a node goes back; while its process lives, no request is answered by an older one."""
    for node in index.nodes:
        steps = index.confirmed_before(node)
        for read in index.reads[node]:
            finding.looked_at += 1
            if not read["isolated"] and read["version"] < at_or_before(steps, read["start"]):
                finding.violated(f"node-{node} at {read['end']:.2f} s: version {read['version']}, after {at_or_before(steps, read['start'])}")
        times = [time for time, _ in steps]
        # A node that was started again answers by what it had on disk until that is confirmed; from afar no start is seen.
        for request in index.by_kind["predict"]:
            if request["node"] != node or request.get("version") is None or index.is_remote:
                continue
            finding.looked_at += 1
            at = bisect.bisect_right(times, request["start"])
            if at and request["version"] < steps[at - 1][1] and not index.began_between(node, times[at - 1], request["end"]):
                finding.violated(f"node-{node} answered at {request['end']:.2f} s by version {request['version']}, after {steps[at - 1][1]}")


def no_dirty_read(index: Index, finding: Finding):
    """What is shown or served was decided: somebody else knows of it, or a record on a disk."""
    proved = {(version, txid) for version, txid, _, _ in index.on_disk()} | {(c["version"], c["txid"]) for c in index.told}
    proved |= {(version, state["txid"]) for version, state in index.known.items()}
    seen: dict = collections.defaultdict(set)
    for read in index.by_kind["state"]:
        seen[read["version"], read["txid"]].add(read["node"])
    for (version, txid), nodes in seen.items():
        finding.looked_at += 1
        if version > 0 and (version, txid) not in proved and len(nodes) < 2:
            finding.violated(f"only node-{min(nodes)} ever showed version {version} ({txid}), and no record names it")
    versions = {version for version, _ in proved} | {version for version, _ in seen} | {0}
    for request in index.by_kind["predict"]:
        if request.get("version") is not None:
            finding.looked_at += 1
            if request["version"] not in versions:
                finding.violated(f"node-{request['node']} answered at {request['end']:.2f} s by version {request['version']}, which nobody knows")


def rollback_bound(index: Index, finding: Finding):
    """After a told change, the nodes that it named serve it, and any other does, or stable only, after one lease."""
    told = sorted(index.told, key=lambda change: change["end"])
    for node in index.nodes:
        named = _highest([(c["end"], c["version"]) for c in told if node in c["acknowledged"]])
        late = _highest([(c["end"] + LEASE_SECONDS + MARGIN_SECONDS, c["version"]) for c in told])
        for event in (*index.reads[node], *(r for r in index.by_kind["predict"] if r["node"] == node)):
            state = index.states.get(event.get("version") or 0)
            if state is None or not _serves_canary(event, state):
                continue
            finding.looked_at += 1
            for steps, who in ((named, "it had acknowledged"), (late, "was told a lease before")):
                wanted = at_or_before(steps, event["start"])
                if event["version"] < wanted:
                    what = f"the canary of version {event['version']} ({event['kind']}, from {event['start']:.2f} s)"
                    finding.violated(f"node-{node} served {what}, though version {wanted} {who}")


def _serves_canary(event: dict, state: dict) -> bool:
    if event["kind"] == "state":
        return event["serving"].get(state["canary"], 0) > 0
    return event.get("model") is not None and event["model"] == state["canary"] != state["stable"]


def _highest(steps: "list[tuple[float, int]]") -> "list[tuple[float, int]]":
    """The same steps, each with the highest value so far."""
    made, highest = [], 0
    for time, value in sorted(steps):
        highest = max(highest, value)
        made.append((time, highest))
    return made


def right_model(index: Index, finding: Finding):
    """Each answer is by the model that its key has under the weights that its node served at that moment."""
    unjudged = 0
    for request in index.by_kind["predict"]:
        if request.get("status") != 200 or request.get("version") is None:
            continue
        verdict = _judge_model(index, request)
        finding.looked_at += 1
        unjudged += verdict is None
        if verdict:
            finding.violated(f"node-{request['node']} at {request['end']:.2f} s, version {request['version']}, key {request['key']}: {verdict}")
    finding.figures["not to be judged"] = unjudged


def _judge_model(index: Index, request: dict) -> "str | None":
    """What is wrong with an answer; empty when nothing is, None when nobody can tell."""
    model, version, node = request["model"], request["version"], request["node"]
    if request["by_node"] != f"node-{node}":
        return f"it says that it is of {request['by_node']}"
    if request["by"] != model and not index.is_remote:
        return f"{request['by']} made it, and it names {model}"
    state = index.states.get(version) if version else index.meta.get("initial", {"stable": "v1", "canary": None, "weights": {}})
    if state is None or state["stable"] is None:
        return None
    if model not in (state["stable"], state["canary"]):
        return f"{model} is neither the stable model nor the canary"
    belongs = state["canary"] is not None and bucket(state["salt"], request["key"]) < points(state)
    reads, gap = index.around(node, request["start"], request["end"])
    if model == state["canary"]:
        if not belongs:
            return f"{model} has {points(state)} of 10000, and this key is not among them"
        if f"node-{node}" in state["drained"]:
            return f"{model}, by a node that is drained"
        # Isolated before and after, with no word of a confirmed version between: it had no lease at that moment.
        isolated = bool(reads) and gap <= BLIND_SECONDS and all(read["isolated"] for read in reads)
        if isolated and not index.marked(node, reads[0]["start"], reads[-1]["end"], "confirmed", "joined"):
            return f"{model}, by an isolated node"
        return ""
    if not belongs or request.get("shielded") or f"node-{node}" in state["drained"]:
        return ""
    if any(read["isolated"] or read["ejected"] or read["serving"].get(state["canary"], 0) == 0 for read in reads):
        return ""
    if index.is_remote or gap > BLIND_SECONDS or index.was_down(node, reads[0]["start"], reads[-1]["end"]):
        return None
    if index.marked(node, reads[0]["start"] - 1, reads[-1]["end"] + 1, "isolated", "ejected", "confirmed", "joined"):
        return None
    return f"{model}, though the key belongs to {state['canary']} with {points(state)} of 10000"


def availability(index: Index, finding: Finding):
    """/predict answers throughout, on every living node that has joined."""
    hurt = [fault for fault in index.faults if fault.get("model")]
    while_down = 0
    for request in index.by_kind["predict"]:
        answered = request.get("status") is not None and (request["status"] == 200 or request["by"] is not None)
        if index.is_remote:
            answered |= "upstream" in request.get("error", "") or "error" not in request
        gone = index.is_remote or index.was_down(request["node"], request["start"], request["end"])
        # A node that has its disk anew is there, and has not joined yet: it says so, and answers nothing else.
        waits = request.get("status") == 503 and '"not_joined"' in request.get("error", "")
        if gone and (request.get("status") is None or waits):
            while_down += 1
            continue
        finding.looked_at += 1
        if answered or _model_is_hurt(hurt, request):
            continue
        what = request.get("failed") or request["status"]
        finding.violated(f"node-{request['node']}, {request['start']:.2f} to {request['end']:.2f} s: {what} {request.get('error', '')}")
    finding.figures["of nodes that were down or stood still"] = while_down


def _model_is_hurt(hurt: "list[dict]", request: dict) -> bool:
    """Whether the server of the very model that should have answered was made to fail then. It was the canary when that
    began, and may have become the stable model since, which nothing shields."""
    return request.get("status") in (502, 504) and any(
        fault["model"] == request.get("model") and request["node"] in fault["nodes"]
        and fault["start"] - 0.1 <= request["end"] and request["start"] <= fault["end"] + 0.1
        for fault in hurt
    )


def healing(index: Index, finding: Finding):
    """After each fault all nodes are at a version not older than any known before, confirmed, with nothing old pending."""
    for fault in index.faults:
        if fault["effect"] is None:
            continue
        seconds = _healed_after(index, fault["end"])
        limit = fault["end"] + min(seconds, HEAL_SECONDS)
        # What takes nodes or links meanwhile is a later fault, and the time is counted from the last one.
        others = (other for other in index.faults if other is not fault and not other.get("beside"))
        if any(other["start"] <= limit and other["end"] >= fault["end"] for other in others):
            continue
        finding.looked_at += 1
        kind = fault["fault"]
        finding.figures[kind] = max(seconds, finding.figures.get(kind, 0))
        if seconds > HEAL_SECONDS:
            finding.violated(f"{kind} of {', '.join(fault['nodes'])}, repaired at {fault['end']:.2f} s: healed after {seconds:.2f} s")
    for quiet in index.by_kind["quiet"]:
        finding.looked_at += 1
        finding.figures["the end of all changes"] = quiet["end"] - quiet["start"]
        if not quiet["settled"]:
            finding.violated(f"at the end, not all at one version with nothing pending: {quiet['shown']}")


def _healed_after(index: Index, repaired: float) -> float:
    reads = index.by_kind["state"]
    known = max((read["version"] for read in reads if read["end"] < repaired), default=0)
    known = max([known, *(change["version"] for change in index.told if change["end"] < repaired)])
    old = {read["pending"] for read in reads if read["start"] < repaired and read["pending"]}
    healed = repaired
    for node in index.nodes:
        good = (
            read["end"]
            for read in index.reads[node]
            if read["start"] >= repaired and not read["isolated"] and read["version"] >= known and read["pending"] not in old
        )
        healed = max(healed, next(good, float("inf")))
    return healed - repaired


def takeover(index: Index, finding: Finding):
    """When the coordinator dies, another decides the next change soon."""
    for fault in index.faults:
        if not fault.get("takeover"):
            continue
        ends = [change["end"] for change in index.told if change["start"] >= fault["start"]]
        seconds = min(ends, default=float("inf")) - fault["start"]
        finding.looked_at += 1
        finding.figures[fault["fault"]] = max(seconds, finding.figures.get(fault["fault"], 0))
        if seconds > (STOP_SECONDS if fault["fault"].startswith("SIGTERM") else TAKEOVER_SECONDS):
            finding.violated(f"{fault['fault']} at {fault['start']:.2f} s: the next change was accepted after {seconds:.2f} s")


def processes(index: Index, finding: Finding):
    """No process ends by itself, none raises an alarm or panics, and SIGTERM ends one cleanly."""
    for mark in index.by_kind["mark"]:
        finding.looked_at += 1
        if mark["what"] in ("alarm", "panicked", "not_reloaded"):
            finding.violated(f"node-{mark['node']} at {mark['end']:.2f} s: {mark['message']}")
    for death in index.by_kind["died"]:
        finding.violated(f"node-{death['node']} at {death['end']:.2f} s: ended by itself with {death['code']}")
    for stop in index.by_kind["stopped"]:
        finding.looked_at += 1
        if not stop["by_itself"] or stop["code"] != 0:
            finding.violated(f"node-{stop['node']} at {stop['end']:.2f} s: SIGTERM ended it with {stop['code']}, by itself: {stop['by_itself']}")


PROMISES = (
    ("agreement: one transaction and one digest a version, for ever", agreement),
    ("durability: what was told as COMMIT is on every node", durability),
    ("stability: what was told as ABORT or not written is never decided", aborts),
    ("monotony: no confirmed version goes back", monotony),
    ("no dirty read: what is shown and served was decided", no_dirty_read),
    ("rollback bound: told + lease + 0.5 s, acknowledged ones at once", rollback_bound),
    ("right model for the weights that the node served", right_model),
    ("/predict answered by every living node", availability),
    ("healed within 5 s: one version, nothing pending", healing),
    ("a lost coordinator: next change within 7 s, after SIGTERM 0.5 s", takeover),
    ("processes: no alarm, no panic, none ends by itself", processes),
)
