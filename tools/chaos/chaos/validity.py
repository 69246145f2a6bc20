"""Whether a run says anything: its faults must have happened, and there must have been operators and requests to see them."""

import collections
import dataclasses

from .index import Index

FAULTS, OPERATIONS, REQUESTS = 25, 200, 1_000
# Of each: a run in which nothing is decided, or everything, or the canary serves nobody, tries little.
COMMITS, ABORTS, CANARY_ANSWERS = 30, 3, 50


@dataclasses.dataclass
class Done:
    """What happened in a run."""

    faults: "dict[str, tuple[int, int]]"
    operations: "dict[str, int]"
    requests: "dict[str, int]"
    canary_answers: int
    missing: "list[str]"


def look(events: "list[dict]", kinds: "list[str]", is_whole: bool = True) -> Done:
    """Counts, and names what is missing for a valid run. Where this machine cannot do every kind, fewer faults are enough."""
    index = Index(events)
    faults = {kind: (0, 0) for kind in kinds}
    for fault in index.faults:
        fired, tried = faults.get(fault["fault"], (0, 0))
        faults[fault["fault"]] = (fired + (fault["effect"] is not None), tried + 1)
    operations = collections.Counter(change["outcome"] for change in index.by_kind["change"])
    requests = collections.Counter(request["node"] for request in index.by_kind["predict"])
    answers = 0
    for request in index.by_kind["predict"]:
        state = index.states.get(request.get("version") or 0)
        answers += state is not None and request.get("model") == state["canary"] is not None
    fired = sum(fired for fired, _ in faults.values())
    missing = [f"no fault of the kind “{kind}” happened" for kind, (times, _) in faults.items() if times == 0]
    wanted = (
        ("faults", fired, FAULTS if is_whole else len(kinds)),
        ("operations", sum(operations.values()), OPERATIONS),
        ("changes decided", operations["ok"], COMMITS),
        ("changes aborted", operations["aborted"], ABORTS),
        ("requests", sum(requests.values()), REQUESTS),
        ("answers of a canary", answers, CANARY_ANSWERS),
    )
    missing += [f"{have} {what}, at least {need} are needed" for what, have, need in wanted if have < need]
    for fault in index.faults:
        if fault.get("canary_at_begin") is False and fault["effect"] is not None:
            missing.append(f"“{fault['fault']}” met a node that served no canary")
    return Done(faults, dict(operations), dict(requests), answers, missing)
