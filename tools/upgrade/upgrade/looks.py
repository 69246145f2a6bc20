"""Looks at the running mesh after every phase. A function that is added to `AFTER_EACH_PHASE` looks at more."""

import asyncio
import json

from .programs import NEW, OLD
from .story import AGREES, DOOR, HISTORY_LINES, READS, RECORD_SECONDS, SETTLE_SECONDS, Story

# Of a line of `GET /history`: nothing of this changes once it is said.
LINE = ("txid", "version", "decision", "by", "votes", "evidence", "proposed_at", "state", "rollout")
# What an old program says that the mesh has left behind, whether it dials or is dialed.
REFUSED = '"reason":"wire_version"'
REFUSED_SECONDS = 10.0
# The record is written by the least urgent thread of a node, and nothing waits for it: a busy machine is late with a decision.
AUDIT_SECONDS = 10.0


async def looks_synchronized(story: Story):
    """Both programs' `canary query` must say that the nodes agree, whichever program they run."""
    for which in (OLD, NEW):
        end = story.history.now() + SETTLE_SECONDS
        while True:
            done = await asyncio.to_thread(story.mesh.typed, which, "query", "--output", "json")
            said = json.loads(done.stdout) if done.stdout.startswith("{") else {"verdict": done.stderr.strip()}
            if said["verdict"] in ("SYNCHRONIZED", "DIVERGED") or story.history.now() > end:
                break
            # A step is being taken.
            await asyncio.sleep(0.1)
        verdict = said["verdict"]
        story.looked(AGREES, verdict == "SYNCHRONIZED", f"canary query ({which}): {verdict} {said.get('detail', '')}")


async def looks_linked(story: Story):
    """Every node must have a link to each of the others; the versions spoken on them are shown."""
    for node in story.mesh.ids:
        snapshot = await story.ask(node, "/health/snapshot")
        peers = snapshot["peers"] if snapshot else {}
        connected = {peer.removeprefix("node-"): shown for peer, shown in peers.items() if shown["connected"]}
        story.links[node] = {peer: shown.get("wire_version") for peer, shown in connected.items()}
        is_linked = len(story.links[node]) == len(story.mesh.ids) - 1
        story.looked(AGREES, is_linked, f"node-{node} has links to {', '.join(story.links[node]) or 'nobody'} only")


async def looks_at_the_door(story: Story):
    """As long as a node runs the old program the state has no mark and the new program's query names that node; after that all go
    on to version 6 by themselves."""
    old = [f"node-{node}" for node in story.mesh.ids if story.mesh.runs[node] == OLD]
    expected = {"version": 5, "behind": old} if old else {"version": 6, "behind": []}
    end = story.history.now() + SETTLE_SECONDS
    while True:
        done = await asyncio.to_thread(story.mesh.typed, NEW, "query", "--output", "json")
        said = json.loads(done.stdout).get("wire") if done.stdout.startswith("{") else done.stderr.strip()
        if said == expected or story.history.now() > end:
            break
        await asyncio.sleep(0.1)
    story.looked(DOOR, said == expected, f"canary query says of the wire {said}, not {expected}")
    for node in story.mesh.ids:
        state = await story.ask(node, "/routing/state") or {}
        is_marked = state.get("wire") is not None
        story.looked(DOOR, is_marked != bool(old), f"the state of node-{node} is {'' if is_marked else 'not '}marked")


async def looks_refused(story: Story, node: str):
    """The old program in the place of a node that has stopped, on a disk of its own, is turned away by the others and says why."""
    begin = story.mesh.log(node).stat().st_size
    story.mesh.start_with(node, OLD, "--data", "other-data", "--rejoin")
    end = story.history.now() + REFUSED_SECONDS
    words = ""
    while not words and story.mesh.is_running(node) and story.history.now() < end:
        await asyncio.sleep(0.1)
        said = story.mesh.log(node).read_bytes()[begin:].decode(errors="replace")
        words = next((line for line in said.splitlines() if REFUSED in line), "")
    story.looked(DOOR, bool(words), f"the old program at node-{node} is not refused:\n    {story.mesh.last_words(node)}")
    story.mesh.kill(node)
    detail = json.loads(words)["detail"] if words.startswith("{") else words
    story.notes.append(f"the old program at node-{node}, when all are new: {detail}")


async def looks_remembered(story: Story):
    """Every node must still show each decision that it has ever shown, and as it was."""
    # What was decided a moment ago may be in memory only, and no longer is then.
    await asyncio.sleep(RECORD_SECONDS)
    for node, known in story.lines.items():
        shown = await story.ask(node, f"/history?limit={HISTORY_LINES}")
        if shown is None:
            story.looked(READS, False, f"node-{node} does not show its history")
            continue
        now = {line["txid"]: line for line in shown}
        story.looked(READS, bool(now), f"node-{node} shows an empty history")
        for txid, line in known.items():
            where = f"version {line['version']} ({txid}) in the history of node-{node}"
            story.looked(READS, txid in now, f"{where} is lost")
            changed = [name for name in LINE if txid in now and not says_the_same(line.get(name), now[txid].get(name))]
            story.looked(READS, not changed, f"{where} has another {', '.join(changed)}")
        for txid, line in now.items():
            if txid not in known:
                known[txid] = line
                story.history.add("line", node=node, line={name: line.get(name) for name in LINE})


def says_the_same(before, now) -> bool:
    """Whether nothing of what was said has changed. A newer program may say more, and an older one less of that."""
    if isinstance(before, dict) and isinstance(now, dict):
        return all(says_the_same(before[name], now[name]) for name in before.keys() & now.keys())
    return before == now


async def looks_proved(story: Story):
    """The records of all nodes together must prove every decision, read by both programs while the old one must read them."""
    folders = [str(story.mesh.data(node)) for node in story.mesh.ids]
    for which in story.readers():
        end = story.history.now() + AUDIT_SECONDS
        while True:
            done = await asyncio.to_thread(story.mesh.typed, which, "audit", "verify", *folders)
            if done.returncode == 0 or story.history.now() > end:
                break
            await asyncio.sleep(0.3)
        said = (done.stdout + done.stderr).splitlines()
        wrong = [line for line in said if any(word in line for word in ("WRONG", "not proved", "error"))]
        story.looked(READS, done.returncode == 0, f"audit verify ({which}) ended with {done.returncode}: {'; '.join(wrong[:3])}")


async def looks_sound(story: Story):
    """The data of every node, as it is while the node runs, must be sound for each program that must read it."""
    for node in story.mesh.ids:
        await asyncio.to_thread(story.check_store, node)


AFTER_EACH_PHASE = (looks_synchronized, looks_linked, looks_at_the_door, looks_remembered, looks_proved, looks_sound)
