"""Which nemesis comes when: one after the other those that take nodes or links, and beside them those that hurt a machine."""

import asyncio
import itertools

from .nemeses import links, machines, processes

# What each kind needs of the machine that all of this runs on; see `Place.left_out`.
MESH = {
    "kill -9 of one": (processes.kill_one, None),
    "kill -9 of the coordinator": (processes.kill_coordinator, None),
    "kill -9 of two": (processes.kill_two, None),
    "kill -9 of all": (processes.kill_all, None),
    "SIGTERM and restart": (processes.terminate, None),
    "SIGTERM of the coordinator": (processes.terminate_coordinator, None),
    "pause, short": (processes.pause_short, None),
    "pause, longer than the lease": (processes.pause_long, None),
    "lost disk, --rejoin": (processes.lose_disk, None),
    "isolated, both ways": (links.isolate, "network"),
    "coordinator cut off in mid-change": (links.cut_off_coordinator, "network"),
    "cut one way": (links.cut_one_way, "network"),
    "partial cut, two of three": (links.cut_pair, "network"),
    "flapping link": (links.flap, "network"),
    "delay, reorder, loss": (links.slow_network, "network"),
}
MACHINE = {
    "disk full": (machines.full_disk, "disk"),
    "clock jump": (machines.jump_clock, "clock"),
    "certificate reload": (machines.renew_certificate, None),
    "canary's server dead": (machines.dead_canary, None),
    "canary's server slow": (machines.slow_canary, None),
    "canary's server bad": (machines.bad_canary, None),
}
# Done twice a round: they are short, and no two of them meet the same moment of a change.
TWICE = ("kill -9 of one", "SIGTERM and restart", "pause, short")
# Those that need advances wait while a node is cut off; these do not.
AT_ANY_TIME = ("clock jump", "certificate reload")
PAUSE_SECONDS, BESIDE_SECONDS, LOCKED_SECONDS = 0.15, 0.4, 1.5


def kinds(left_out: dict) -> "list[str]":
    """Every kind that this machine can do."""
    return [kind for kind, (_, needs) in {**MESH, **MACHINE}.items() if needs not in left_out]


async def run(world, left_out: dict):
    """One round: every kind of the first sort once or twice, and of the second as often as there is time."""
    order = [kind for kind in (*MESH, *TWICE) if kind in kinds(left_out)]
    world.random.shuffle(order)
    # First of all, since its limit is a short one: a link that was cut a moment ago may still wait for a retransmission.
    order.sort(key=lambda kind: kind != "SIGTERM of the coordinator")
    mesh_done = asyncio.Event()
    beside = asyncio.ensure_future(_beside(world, left_out, mesh_done))
    again: list[str] = []
    try:
        # What has not happened the first time is tried once more, at the end.
        for kind in itertools.chain(order, again):
            await MESH[kind][0](world)
            if kind not in again and not had(world, kind):
                again.append(kind)
            await world.until_healed()
            await asyncio.sleep(PAUSE_SECONDS)
            world.workload.check()
            if beside.done() or world.history.said("died"):
                break
    finally:
        mesh_done.set()
        await beside


def had(world, kind: str) -> bool:
    """Whether a fault of this kind has happened in this round."""
    effects = {event["id"] for event in world.history.events if event["kind"] == "effect" and event["effect"]}
    faults = [event for event in world.history.events if event["kind"] == "fault" and event["fault"] == kind]
    return any(fault["effect"] or fault["id"] in effects for fault in faults)


async def _beside(world, left_out: dict, mesh_done: asyncio.Event):
    names = [kind for kind in MACHINE if kind in kinds(left_out)]
    had: set[str] = set()
    rounds = 0
    while not world.history.said("died") and (not mesh_done.is_set() or (len(had) < len(names) and rounds < 12)):
        # Those that have not worked yet come first: some need a moment in which all nodes are well.
        missing = [kind for kind in names if kind not in had]
        if world.advances.locked():
            kind, pause = world.random.choice([kind for kind in AT_ANY_TIME if kind in names]), LOCKED_SECONDS
        else:
            kind, pause = world.random.choice(missing or names), BESIDE_SECONDS
        await MACHINE[kind][0](world)
        had |= {e["fault"] for e in world.history.events[-2_000:] if e["kind"] == "fault" and e["effect"] and e["fault"] in MACHINE}
        rounds += mesh_done.is_set()
        await asyncio.sleep(pause)
