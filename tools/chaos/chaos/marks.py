"""What the nodes say in their logs, as events: read as it is written, so that it has this program's time."""

import asyncio
import json

LOOK_SECONDS = 0.04
# The beginning of a message, and what the event is called.
WORDS = {
    "Isolated: ": "isolated",
    "In touch with a majority, version confirmed": "confirmed",
    "Canary ejected": "ejected",
    "Alarm: ": "alarm",
    "Certificates reloaded": "reloaded",
    "Certificates not reloaded": "not_reloaded",
    "This node has joined the mesh": "joined",
    "This node coordinates": "coordinates",
    "The disk is full": "disk_full",
}


class Marks:
    """Follows the logs of all nodes."""

    def __init__(self, cluster, history):
        self.cluster, self.history = cluster, history
        self._at = {node: self._size(node) for node in cluster.ids}

    def _size(self, node: str) -> int:
        path = self.cluster.log(node)
        return path.stat().st_size if path.exists() else 0

    async def follow(self, ends: asyncio.Event):
        """Until told to stop, and once more then."""
        while not ends.is_set():
            self.look()
            await asyncio.sleep(LOOK_SECONDS)
        self.look()

    def look(self):
        """Takes every whole line that is new."""
        for node in self.cluster.ids:
            if not self.cluster.log(node).exists():
                continue
            with self.cluster.log(node).open("rb") as log:
                log.seek(self._at[node])
                text = log.read()
            whole = text.rfind(b"\n") + 1
            self._at[node] += whole
            for line in text[:whole].splitlines():
                self._take(node, line.decode(errors="replace"))

    def _take(self, node: str, line: str):
        try:
            message = json.loads(line).get("message", "")
        except (ValueError, AttributeError):
            message = line
        if "panicked at" in message:
            self.history.add("mark", node=node, what="panicked", message=message[:300])
        for words, what in WORDS.items():
            if message.startswith(words):
                self.history.add("mark", node=node, what=what, message=message[:300])
