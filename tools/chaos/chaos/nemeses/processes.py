"""Nodes that are killed, stopped, restarted, stand still, or lose their disk."""

import asyncio
import json
import pathlib
import shutil
import signal

STOP_SECONDS = 6.0
# Longer than a lease and its margin.
LONG_PAUSE_SECONDS = 11.2


async def kill_one(world):
    """kill -9 of a node that does not coordinate."""
    others = [node for node in world.ids if node != world.coordinator()]
    await _kill(world, "kill -9 of one", [world.random.choice(others)])


async def kill_coordinator(world):
    """kill -9 of the coordinator, until somebody else has decided something."""
    await _kill(world, "kill -9 of the coordinator", [world.coordinator()], until_decided=True)


async def kill_two(world):
    """kill -9 of a majority."""
    await _kill(world, "kill -9 of two", world.random.sample(world.ids, 2))


async def kill_all(world):
    """kill -9 of every node at once."""
    await _kill(world, "kill -9 of all", list(world.ids))


async def _kill(world, kind: str, nodes: "list[str]", until_decided: bool = False):
    async with world.hold(*nodes):
        await world.in_mid_change()
        async with world.fault(kind, nodes, takeover=until_decided) as fault:
            for node in nodes:
                world.life(node, "killed")
                world.cluster.kill(node)
            if until_decided:
                await world.until_taken_over(nodes[0])
            else:
                await asyncio.sleep(world.some(0.4, 4.0))
            fault["effect"] = {node: world.cluster.nodes[node].returncode for node in nodes}
            for node in nodes:
                world.start(node)
        await world.ready(*nodes)


async def terminate(world):
    """SIGTERM, and a new start when the process has ended by itself."""
    await _terminate(world, "SIGTERM and restart", world.random.choice(world.ids))


async def terminate_coordinator(world):
    """SIGTERM of the coordinator, which stays away until somebody else has decided something."""
    await _terminate(world, "SIGTERM of the coordinator", world.coordinator(), until_decided=True)


async def _terminate(world, kind: str, node: str, until_decided: bool = False):
    async with world.hold(node):
        await world.in_mid_change()
        async with world.fault(kind, [node], takeover=until_decided) as fault:
            world.life(node, "stopping")
            begin = world.history.now()
            world.cluster.signal(node, signal.SIGTERM)
            taking_over = asyncio.ensure_future(world.until_taken_over(node)) if until_decided else None
            ended = await world.until(lambda: not world.cluster.is_running(node), STOP_SECONDS, 0.01)
            if not ended:
                world.cluster.kill(node)
            code = world.cluster.nodes[node].returncode
            fault["effect"] = {"exit": code} if ended else None
            world.history.add("stopped", node=node, start=begin, code=code, by_itself=bool(ended))
            if taking_over:
                await taking_over
            world.start(node)
        await world.ready(node)


async def pause_short(world):
    """SIGSTOP for less than anything that is timed."""
    node = world.random.choice(world.ids)
    async with world.hold(node):
        async with world.fault("pause, short", [node]) as fault:
            await _pause(world, node, world.some(1.0, 4.5), fault)


async def pause_long(world):
    """SIGSTOP for longer than the lease, of a node that serves a canary which the others take away meanwhile."""
    node = world.random.choice(world.ids)
    coordinates = node == world.coordinator()
    async with world.hold(node):
        async with world.advances:
            world.operators.wait.clear()
            had = await world.operators.raise_on_all()
            async with world.fault("pause, longer than the lease", [node], canary_at_begin=had, takeover=coordinates) as fault:
                world.operators.wait.set()
                probing = asyncio.ensure_future(world.until_taken_over(node)) if coordinates else None
                await _pause(world, node, world.some(LONG_PAUSE_SECONDS, 15.0), fault)
                if not had:
                    fault["effect"] = None
            if probing:
                await probing


async def _pause(world, node: str, seconds: float, fault: dict):
    world.life(node, "paused")
    world.cluster.signal(node, signal.SIGSTOP)
    await asyncio.sleep(seconds / 2)
    pid = world.cluster.nodes[node].pid
    state = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rsplit(") ", 1)[1][0]
    await asyncio.sleep(seconds / 2)
    fault["effect"] = {"process": state} if state == "T" else None
    world.cluster.signal(node, signal.SIGCONT)
    world.life(node, "resumed")


async def lose_disk(world):
    """kill -9, an empty disk, and --rejoin."""
    node = world.random.choice(world.ids)
    async with world.hold(node):
        async with world.fault("lost disk, --rejoin", [node]) as fault:
            world.life(node, "killed")
            world.cluster.kill(node)
            keep_history(world, node)
            shutil.rmtree(world.cluster.data(node))
            await asyncio.sleep(world.some(0.3, 3.0))
            begin = world.history.now()
            world.start(node, "--rejoin")
        await world.ready(node)
        joined = await world.until(lambda: world.mark(node, "joined", begin), 5.0)
        fault["effect"] = {"joined": True} if joined else None
        world.history.add("effect", id=fault["id"], effect=fault["effect"])


def keep_history(world, node: str):
    """What a node's disk says was decided: its history file, which `final` events have, too."""
    world.history.add("decided", node=node, **decided_on_disk(world.cluster.data(node)))


def decided_on_disk(data: pathlib.Path) -> dict:
    """The commits and aborts that a history file names; a line cut short is no line."""
    commits, aborts = {}, []
    path = data / "history.jsonl"
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if entry["decision"] == "commit":
            commits[str(entry["version"])] = entry["txid"]
        else:
            aborts.append(entry["txid"])
    return {"commits": commits, "aborts": aborts}
