"""The judgement of a story from its history. Pure: events in, violations out.

Agreement, durability, monotony, the right model for each key and so on are judged by the checker of `tools/chaos`. Here is what an
upgrade promises beyond that.
"""

import collections

from chaos import checker
from chaos.checker import Finding
from chaos.index import FOREVER

ANSWERED = "/predict: every request answered, and well"
STEPS = "rollout: no step, weight or approval undone"
# Judged here and more strictly, or without anything to judge by.
NOT_HERE = ("availability", "takeover", "healing")
# What operators type here that begins a rollout, or begins it again.
BEGINS = ("rollout start", "rollout retry")
# A request may have met a model server a moment before that turned, or after.
EDGE_SECONDS = 0.1


def judge(events: "list[dict]") -> "list[Finding]":
    """Every promise that can be judged from the history alone."""
    return [answered(events), steps(events), *promises(events)]


def promises(events: "list[dict]") -> "list[Finding]":
    """The promises of `tools/chaos`. Where a request without a key goes is chance, so its model is not judged."""
    judged = (event for event in events if event["kind"] != "predict" or (event["key"] and "failed" not in event))
    index = checker.Index(list(judged))
    findings = []
    for promise, look in checker.PROMISES:
        if look.__name__ not in NOT_HERE:
            findings.append(Finding(promise))
            look(index, findings[-1])
    return findings


def answered(events: "list[dict]") -> Finding:
    """A request fails when it was sent and got no whole answer, when no node took it, or when its answer is an error that is not
    the bad canary's own."""
    finding = Finding(ANSWERED)
    bad = bad_times(events)
    own = 0
    for request in (event for event in events if event["kind"] == "predict"):
        finding.looked_at += 1
        if fails(request, bad):
            what = request.get("failed") or request["status"]
            where = f"node-{request['node']} at {request['end']:.2f} s"
            finding.violated(f"{where}, sent at {request['start']:.2f} s: {what} {request.get('error') or ''}")
        elif request["status"] != 200:
            own += 1
    finding.figures["errors of the bad canary"] = own
    return finding


def fails(request: dict, bad: "dict[tuple[str, str], list[tuple[float, float]]]") -> bool:
    """Whether a request failed."""
    if "failed" in request:
        return True
    if request["status"] == 200:
        return False
    is_own = request["status"] == 500 and request["by"] == request["model"]
    times = bad.get((request["node"], request["model"]), [])
    was_bad = any(start - EDGE_SECONDS <= request["end"] and request["start"] <= end + EDGE_SECONDS for start, end in times)
    return not (is_own and was_bad)


def bad_times(events: "list[dict]") -> "dict[tuple[str, str], list[tuple[float, float]]]":
    """When each node's server of a model was bad."""
    times, since = collections.defaultdict(list), {}
    for event in events:
        if event["kind"] == "turned":
            server = (event["node"], event["model"])
            if event["mode"] == "bad":
                since.setdefault(server, event["end"])
            elif server in since:
                times[server].append((since.pop(server), event["end"]))
    for server, start in since.items():
        times[server].append((start, FOREVER))
    return times


def steps(events: "list[dict]") -> Finding:
    """From version to version a rollout's step, its weight and the approvals of its steps only grow, and it goes on. It is rolled
    back where its canary was made bad, once for each time, and begins again where an operator was told so."""
    finding = Finding(STEPS)
    excuses = sorted(start for times in bad_times(events).values() for start, _ in times)
    told = (event for event in events if event["kind"] == "change" and event["outcome"] == "ok")
    begun = {change["version"] for change in told if change["what"].startswith(BEGINS)}
    before = None
    for at, line in decided(events):
        finding.looked_at += 1
        after = line["rollout"]
        found = []
        if before and not after:
            found.append("the rollout is no longer in the state")
        elif after and line["version"] not in begun:
            is_excused = after["outcome"] == "RolledBack" and bool(excuses) and excuses[0] <= at
            if is_excused and before and not before["outcome"]:
                excuses.pop(0)
            found = undone(before, after, line["state"], is_excused)
        for what in found:
            finding.violated(f"version {line['version']}, asked for by {line['by']}: {what}")
        before = after and {**after, "weight": weight(after, line["state"])}
    return finding


def undone(before: "dict | None", after: dict, state: dict, may_be_rolled_back: bool) -> "list[str]":
    """Everything that a version has undone of the one before, where no operator has begun the rollout with it."""
    why = after["why"] or "no reason given"
    if not before or before["id"] != after["id"]:
        return ["another rollout, which nobody began"]
    if before["outcome"]:
        return [] if before["outcome"] == after["outcome"] else [f"the rollout is {after['phase']} after it had ended"]
    found = []
    if after["phase"] == "Paused":
        found.append(f"the rollout is paused ({why})")
    if after["outcome"] not in (None, "Promoted") and not may_be_rolled_back:
        found.append(f"the rollout is {after['outcome']} ({why})")
    if after["step"] < before["step"]:
        found.append(f"step {after['step']} after {before['step']}")
    if not after["outcome"] and weight(after, state) < before["weight"]:
        found.append(f"weight {weight(after, state)} after {before['weight']}")
    for step in before["approvals"]:
        now = next((other["by"] for other in after["approvals"] if other["step"] == step["step"]), [])
        if missing := set(step["by"]) - set(now):
            found.append(f"the approval of step {step['step']} by {', '.join(sorted(missing))} is gone")
    return found


def weight(rollout: dict, state: dict) -> float:
    """The share of a rollout's canary."""
    return state["weights"].get(rollout["canary_model_id"], 0)


def decided(events: "list[dict]") -> "list[tuple[float, dict]]":
    """The decided versions in their order, as the first node that showed them did, and when that was."""
    found: dict[int, tuple[float, dict]] = {}
    for event in events:
        if event["kind"] == "line" and event["line"]["decision"] == "COMMIT":
            found.setdefault(event["line"]["version"], (event["end"], event["line"]))
    return [found[version] for version in sorted(found)]
