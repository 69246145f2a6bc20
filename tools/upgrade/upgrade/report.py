"""Lines and tables for people."""

from chaos.checker import NAMED, Finding

from . import judge

HEAD = f"{'PHASE':<42}{'A   B   C':<13}{'VERSION':>7}{'STEPS':>8}{'REQUESTS':>10}{'FAILED':>8}{'GAP':>9}{'WIRE':>6}{'SECONDS':>9}"


def requests(events: "list[dict]", since: float = 0.0) -> "list[dict]":
    """The requests that were begun since then."""
    return [event for event in events if event["kind"] == "predict" and event["asked"] >= since]


def gap(events: "list[dict]", node: str, since: float = 0.0) -> float:
    """The longest time between two answers of a node."""
    ends = sorted(request["end"] for request in requests(events, since) if "failed" not in request and request["node"] == node)
    return max((after - before for before, after in zip(ends, ends[1:])), default=0.0)


def phase_line(story, title: str, since: float, step_before: int) -> str:
    """The row of a phase."""
    events = story.history.events
    mine = requests(events, since)
    bad = judge.bad_times(events)
    failed = sum(judge.fails(request, bad) for request in mine)
    spoken = sorted({version for links in story.links.values() for version in links.values() if version is not None})
    wire = ",".join(map(str, spoken)) or "-"
    runs = " ".join(story.mesh.runs[node] for node in story.mesh.ids)
    version = story.state()["version"] if story.traffic.seen else 0
    longest = max(gap(events, node, since) for node in story.mesh.ids)
    steps = f"{step_before}→{story.step()}"
    figures = f"{version:>7}{steps:>8}{len(mine):>10}{failed:>8}{longest:>7.2f} s{wire:>6}{story.history.now() - since:>9.1f}"
    return f"{title:<42}{runs:<13}{figures}"


def nodes(story) -> str:
    """A row for each node: its answers, and how long it gave none."""
    events = story.history.events
    rows = [f"{'NODE':<8}{'REPLACED':>8}{'ANSWERS':>9}{'LONGEST GAP':>13}{'BY V1':>7}{'BY V2':>7}  VERSIONS IN ITS ANSWERS"]
    for node in story.mesh.ids:
        mine = [request for request in requests(events) if "failed" not in request and request["node"] == node]
        by = [sum(request["model"] == model for request in mine) for model in story.mesh.models]
        versions = [request["version"] for request in mine if request["version"] is not None]
        seen = f"{min(versions)} to {max(versions)}, {len(set(versions))} different" if versions else "none"
        longest = f"{gap(events, node):.2f} s"
        rows.append(f"node-{node:<3}{story.replaced[node]:>8}{len(mine):>9}{longest:>13}{by[0]:>7}{by[1]:>7}  {seen}")
    return "\n".join(rows)


def rollouts(events: "list[dict]") -> str:
    """A line for each rollout: its weights in the order in which they were decided, and its end."""
    found: "dict[str, list[str]]" = {}
    for _, line in judge.decided(events):
        if rollout := line["rollout"]:
            words = found.setdefault(rollout["id"], [])
            share = f"{100 * judge.weight(rollout, line['state']):.0f}"
            if rollout["outcome"]:
                words.append(rollout["outcome"])
            elif words[-1:] != [share]:
                words.append(share)
    return "\n".join(f"{name}  {' '.join(words)}" for name, words in found.items())


def totals(story) -> str:
    """One line about all requests of a story."""
    events = story.history.events
    all_of_them = requests(events)
    bad = judge.bad_times(events)
    failed = sum(judge.fails(request, bad) for request in all_of_them)
    own = sum("failed" not in request and request["status"] != 200 and not judge.fails(request, bad) for request in all_of_them)
    keyed = sum(request["key"] is not None for request in all_of_them)
    slowest = max((request["end"] - request["asked"] for request in all_of_them), default=0.0)
    elsewhere = sum(request["node"] != request["home"] for request in all_of_them if "home" in request)
    text = f"{len(all_of_them)} requests, {keyed} with a key, {failed} failed; {elsewhere} went to another node than the client's"
    text += f" own ({story.traffic.refused} connections not made); the longest took {slowest:.2f} s"
    if own:
        text += f"; besides, {own} answers were the errors of the bad canary, whose servers gave {story.models.counted('bad')}"
    return text


def findings(found: "list[Finding]") -> "list[str]":
    """A row for each promise, and the violations of each."""
    rows = [f"{'LOOKED AT':>9}  {'VIOLATIONS':>10}  PROMISE"]
    rows += [f"{finding.looked_at:>9}  {len(finding.violations):>10}  {finding.promise}" for finding in found]
    for finding in found:
        rows += [f"VIOLATED  {finding.promise.split(':')[0]}: {violation}" for violation in finding.violations[:NAMED]]
        if len(finding.violations) > NAMED:
            rows.append(f"VIOLATED  {finding.promise.split(':')[0]}: and {len(finding.violations) - NAMED} more")
    return rows
