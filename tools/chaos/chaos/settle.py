"""Waiting for the mesh: until a node answers, until all are at one version with nothing pending."""

import asyncio

from .clients import Broken, NotSent

LOOK_SECONDS = 0.02


async def until_ready(cluster, node: str, seconds: float = 10.0) -> bool:
    """Waits for 200 from a node's /readyz; false when it ended or the time is over."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    client = cluster.reader(node)
    try:
        while loop.time() < end and cluster.is_running(node):
            try:
                if (await client.call("GET", "/readyz", seconds=1.0)).status == 200:
                    return True
            except (NotSent, Broken):
                pass
            await asyncio.sleep(LOOK_SECONDS)
        return False
    finally:
        client.close()


async def read_all(mesh) -> "dict[str, dict]":
    """The state that each node shows now; one that does not answer is left out."""

    async def read(node: str):
        client = mesh.reader(node, keep=False)
        try:
            answer = await client.call("GET", "/routing/state", seconds=2.0)
            return node, answer.json()
        except (NotSent, Broken):
            return node, None

    states = await asyncio.gather(*(read(node) for node in mesh.ids))
    return {node: state for node, state in states if state}


def is_settled(states: "dict[str, dict]", ids) -> bool:
    """Whether all are at one version, none is isolated and nothing is pending."""
    one = len({(state["version"], state["digest"]) for state in states.values()}) == 1
    return one and len(states) == len(ids) and not any(state["isolated"] or state["pending"] for state in states.values())


async def until_settled(mesh, seconds: float) -> "tuple[bool, dict]":
    """Waits until all agree; the last states seen."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while True:
        states = await read_all(mesh)
        if is_settled(states, mesh.ids):
            return True, states
        if loop.time() > end:
            return False, states
        await asyncio.sleep(LOOK_SECONDS)
