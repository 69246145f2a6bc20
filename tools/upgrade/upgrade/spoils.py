"""Deliberate breaches, one a run, so that this tool can be seen to fail: `--spoil`."""

import asyncio
import signal

KINDS = {
    "kill": "nodes are stopped with kill -9",
    "error": "v1 at node-b answers one request with 500",
    "weight": "somebody lowers the weight in the midst of the upgrade",
    "data": "a byte of each log of a stopped node is another one",
    "door": "the last node's new program is told to speak the old protocol only",
    "history": "the first line of a stopped node's history is gone",
}
# Behind the head of a log, within its first record.
SPOILT_BYTE = 200


def stop_signal(story) -> signal.Signals:
    """SIGTERM, as operators do it."""
    return signal.SIGKILL if story.spoil == "kill" else signal.SIGTERM


def arguments(story, node: str, which: str) -> "tuple[str, ...]":
    """More words for a node's command line."""
    return ("--wire-version", "5") if story.spoil == "door" and (node, which) == ("a", "new") else ()


async def after_the_first(story):
    """When the first node is new."""
    if story.spoil == "error":
        story.models.servers["b", "v1"].errors_to_give = 1
        await story.some_traffic("b")


async def on_the_way_back(story):
    """When a node is old again."""
    if story.spoil == "weight":
        await asyncio.to_thread(story.mesh.typed, "old", "rollout", "set-weight", "1")


async def while_stopped(story, node: str):
    """When a node has ended, before the other program is started on its data."""
    data = story.mesh.data(node)
    if story.spoil == "data":
        for path in data.glob("log.*"):
            text = bytearray(path.read_bytes())
            text[SPOILT_BYTE] ^= 0xFF
            path.write_bytes(text)
    if story.spoil == "history":
        path = data / "history.jsonl"
        path.write_bytes(path.read_bytes().split(b"\n", 1)[1])
