"""Links that are cut, one way or both, flap, lose and delay. Clients of a node sit on its own machine and are not cut off."""

import asyncio

from ..network import both_ways, cut

# From the told rollback until an isolated node must have stopped serving the canary, and a look at it afterwards.
LEASE_SECONDS = 10.5
LOOK_SECONDS = 0.8
# Longer than a node lets an operator wait, and shorter than the silence after which another coordinates.
QUESTION_SECONDS = 3.4
SETTLE_SECONDS = 5.0
DECISION_SECONDS = 9.0


async def isolate(world):
    """A node that serves a canary is cut off, both ways, and the others take the canary away: for longer than a lease."""
    # A coordinator that is cut off is replaced after five seconds, and the wait for the lease begins only then.
    node = world.random.choice(world.ids if world.is_long else [node for node in world.ids if node != world.coordinator()])
    async with world.advances:
        world.operators.wait.clear()
        had = await world.operators.raise_on_all()
        async with world.fault("isolated, both ways", [node], canary_at_begin=had) as fault:
            before = world.network.set_rules(cut(*both_ways(node, world.ids)))
            world.operators.wait.set()
            await _take_away(world, node)
            await asyncio.sleep(LEASE_SECONDS)
            was_isolated = await world.until(lambda: world.workload.seen[node]["isolated"], LOOK_SECONDS)
            await asyncio.sleep(LOOK_SECONDS / 2)
            _repair(world, fault, before, isolated=bool(was_isolated), canary=had)


async def _take_away(world, node: str):
    """An operator of the others takes everything from the canary."""
    begin = world.history.now()
    others = [other for other in world.ids if other != node]
    while world.history.now() < begin + DECISION_SECONDS:
        done = await world.operators.change(world.random.choice(others), "zero", "/routing/weights", {"canary_weight": 0}, None)
        if done["outcome"] == "ok":
            return
        await asyncio.sleep(0.1)


async def cut_off_coordinator(world):
    """The coordinator is cut off just before it is asked for a change: what it has written and nobody else has, is an open
    question, and is decided, one way or the other, when the links are back. Nobody else asks meanwhile, so that it often
    is decided for."""
    node = world.coordinator()
    world.operators.wait.clear()
    async with world.fault("coordinator cut off in mid-change", [node]) as fault:
        before = world.network.set_rules(cut(*both_ways(node, world.ids)))
        asking = await _ask_what_stays_open(world, node)
        await asyncio.sleep(world.some(QUESTION_SECONDS, 8.0))
        _repair(world, fault, before, asked=not asking.done() or asking.result()["outcome"] != "refused")
    await world.until(lambda: not world.workload.seen[node]["pending"], SETTLE_SECONDS)
    world.operators.wait.set()
    await asking


async def _ask_what_stays_open(world, node: str) -> asyncio.Task:
    """Asks for less until the node takes it and does not answer at once: others may still be before us."""
    for _ in range(8):
        lower = world.operators.weight(world.workload.seen[node], "lower")
        asking = asyncio.ensure_future(world.operators.change(node, *lower))
        await asyncio.wait([asking], timeout=0.3)
        if not asking.done():
            break
    return asking


async def cut_one_way(world):
    """Packets of one node to another are lost; the other direction is whole."""
    source, target = world.random.sample(world.ids, 2)
    async with world.fault("cut one way", [source, target]) as fault:
        before = world.network.set_rules(cut((source, target)))
        await asyncio.sleep(world.some(1.6, 9.0))
        _repair(world, fault, before)


async def cut_pair(world):
    """Two nodes lose each other; the third hears both."""
    pair = world.random.sample(world.ids, 2)
    async with world.fault("partial cut, two of three", pair) as fault:
        before = world.network.set_rules(cut(*both_ways(pair[0], pair)))
        await asyncio.sleep(world.some(1.6, 9.0))
        _repair(world, fault, before)


async def flap(world):
    """A node's links come and go many times a second."""
    node = world.random.choice(world.ids)
    async with world.fault("flapping link", [node]) as fault:
        before = world.network.set_rules({})
        end = world.history.now() + world.some(1.6, 6.0)
        while world.history.now() < end:
            world.network.set_rules(cut(*both_ways(node, world.ids)))
            await asyncio.sleep(world.random.uniform(0.05, 0.25))
            world.network.set_rules({})
            await asyncio.sleep(world.random.uniform(0.05, 0.25))
        _repair(world, fault, before)


async def slow_network(world):
    """Every packet is late, some overtake others, one in twelve is lost."""
    rule = {"delay": 0.04, "jitter": 0.08, "loss": 0.08}
    async with world.fault("delay, reorder, loss", world.ids) as fault:
        before = world.network.set_rules({f"{a}>{b}": rule for a in world.ids for b in world.ids if a != b})
        await asyncio.sleep(world.some(2.2, 8.0))
        _repair(world, fault, before)


def _repair(world, fault: dict, before: dict, **more):
    """Makes all links whole; packets that were hurt show that the fault happened."""
    after = world.network.set_rules({})
    hurt = {word: after[word] - before[word] for word in ("cut", "lost", "late")}
    happened = (hurt["cut"] or hurt["lost"]) and all(more.values())
    fault["effect"] = {**hurt, **more} if happened else None
