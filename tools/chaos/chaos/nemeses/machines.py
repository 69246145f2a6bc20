"""What hurts a machine and not the mesh: its disk is full, its clock jumps, its certificate changes, its model servers fail."""

import asyncio
import os
import shutil
import time

# Within the time that the certificates are good for: an hour back, ninety days ahead.
JUMPS = ("+36000", "-3000", "+5184000", "+7")
# The library looks at most once a second whether the clock was set, and the node writes a new date about as often.
CACHE_SECONDS, SEEN_SECONDS = 1.2, 4.0


async def full_disk(world):
    """Not a byte is left on a node's disk; advances must be voted down and say why."""
    node = world.free_node()
    if node is None:
        return
    async with world.hold(node), world.advances:
        async with world.fault("disk full", [node], beside=True) as fault:
            begin = world.history.now()
            ballast = world.cluster.data(node).parent / "ballast"
            _fill(ballast)
            refused = None
            end = begin + world.some(3.0, 8.0)
            while world.history.now() < end and (world.is_long or not refused):
                refused = await _asked_and_refused(world, node) or refused
                await asyncio.sleep(0.15)
            ballast.unlink()
            said = world.mark(node, "disk_full", begin)
            fault["effect"] = {"voted down": bool(refused), "in the log": said} if refused or said else None


def _fill(path):
    """Writes until nothing more fits."""
    with open(path, "wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue


async def _asked_and_refused(world, node: str) -> bool:
    """Asks for more, and looks whether this node's full disk was named among the reasons against it."""
    state = world.workload.seen[world.coordinator()]
    if state["drained"] or (state.get("rollout") or {}).get("phase") in ("Progressing", "Paused"):
        return False
    what, path, body, points = world.operators.weight(state, "raise")
    done = await world.operators.change(world.random.choice(world.ids), what, path, body, points)
    return "storage_full" in (done.get("reasons") or [])


async def jump_clock(world):
    """The wall clock of a node is somewhere else for a while. Nothing that is timed may notice."""
    node = world.free_node()
    if node is None:
        return
    async with world.hold(node):
        offset = world.random.choice(JUMPS)
        async with world.fault("clock jump", [node], beside=True, offset=offset) as fault:
            world.cluster.set_clock(node, offset)
            off = await _until_off(world, node)
            await asyncio.sleep(world.some(0.2, 5.0))
            world.cluster.set_clock(node, "+0")
            await asyncio.sleep(CACHE_SECONDS)
            fault["effect"] = {"off by s": off} if abs(off) > 2 else None


async def _until_off(world, node: str) -> float:
    """Waits until the node's own idea of the time shows the jump; by how much it is ahead of ours."""
    end, off = world.history.now() + SEEN_SECONDS, 0.0
    client = world.cluster.reader(node)
    while world.history.now() < end and abs(off) <= 2:
        off = _clock_of((await client.call("GET", "/metrics")).body.decode()) - time.time()
        await asyncio.sleep(0.1)
    client.close()
    return off


def _clock_of(metrics: str) -> float:
    """What the time is where these metrics come from: the end of the certificate less the time left of it."""
    figures = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if line.startswith("canary_cert_"))
    end = next(float(value) for name, value in figures.items() if name.startswith('canary_cert_not_after_timestamp_seconds{kind="node"'))
    return end - float(figures['canary_cert_ttl_seconds{kind="node"}'])


async def renew_certificate(world):
    """A new certificate and key under a running node, and SIGHUP."""
    node = world.free_node()
    if node is None:
        return
    async with world.hold(node):
        async with world.fault("certificate reload", [node], beside=True) as fault:
            begin = world.history.now()
            await asyncio.to_thread(world.cluster.pki, "renew", f"node-{node}")
            fresh, used = world.cluster.authority / f"node-{node}", world.cluster.machine(node) / "certs" / f"node-{node}"
            for path in fresh.iterdir():
                # Each file takes the place of the old one as a whole, under its mode.
                shutil.copy2(path, used / f".{path.name}.new")
                os.replace(used / f".{path.name}.new", used / path.name)
            world.cluster.reload(node)
            done = await world.until(lambda: world.mark(node, "reloaded", begin), 4.0)
            fault["effect"] = {"reloaded": True} if done else None


async def dead_canary(world):
    """The canary's model server refuses every connection: the stable model must answer instead."""
    await _hurt_canary(world, "canary's server dead", "dead")


async def slow_canary(world):
    """The canary's model server takes longer than the node waits."""
    await _hurt_canary(world, "canary's server slow", "slow")


async def bad_canary(world):
    """The canary's model server answers 500."""
    await _hurt_canary(world, "canary's server bad", "bad")


async def _hurt_canary(world, kind: str, mode: str):
    node = world.free_node()
    if node is None:
        return
    canary = await _canary_with_traffic(world, node)
    if canary is None:
        return
    name = f"{node}/{canary}"
    async with world.fault(kind, [node], beside=True, model=canary) as fault:
        before = world.models.ask({"node": node, "model": canary, "mode": mode})[name][mode]
        await asyncio.sleep(world.some(1.2, 5.0))
        after = world.models.ask({"node": node, "model": canary, "mode": "ok"})[name][mode]
        fault["effect"] = {"requests": after - before} if after > before else None


async def _canary_with_traffic(world, node: str) -> "str | None":
    """The canary that this node serves; made by an operator where there is none."""
    for _ in range(6):
        state = world.workload.seen[node]
        canary = state["canary_model_id"]
        if canary and state["serving"].get(canary, 0) >= 0.2:
            return canary
        if not (state.get("rollout") or {}).get("phase") in ("Progressing", "Paused"):
            await world.operators.change(node, *world.operators.weight(state, "raise"))
        await asyncio.sleep(0.2)
    return None
