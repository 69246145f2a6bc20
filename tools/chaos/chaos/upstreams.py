"""Model servers that say who they are and can be told to be bad, in a process of their own: one of each model on each
machine.

Told on stdin, a line of JSON each: {"node": "b", "model": "v2", "mode": "ok"|"dead"|"slow"|"bad"}. Answers each line with how many
requests every server has answered in every mode since the start: {"b/v2": {"ok": 12, "dead": 0 …}}.
"""

import asyncio
import json
import sys

from lab import serving
from lab.place import inside

MODELS = ("v1", "v2", "v3")
PORTS = {"v1": 9001, "v2": 9002, "v3": 9003}
MODES = ("ok", "dead", "slow", "bad")
# Longer than the nodes' --upstream-timeout in these tests.
SLOW_SECONDS = 2.0


class Server:
    """One model on one machine."""

    def __init__(self, node: str, model: str, host: str, space: "int | None"):
        self.node, self.model, self.host, self.space = node, model, host, space
        self.mode = "ok"
        self.counts = dict.fromkeys(MODES, 0)
        self.connections: set[asyncio.Transport] = set()

    async def listen(self):
        """Takes connections from now on, whatever the mode: a dead one breaks them off."""
        with inside(self.space):
            await asyncio.get_running_loop().create_server(lambda: Conversation(self), self.host, PORTS[self.model])

    def turn(self, mode: str):
        """Answers like this from now on."""
        self.mode = mode
        if mode == "dead":
            for transport in list(self.connections):
                transport.abort()


class Conversation(serving.Conversation):
    """One connection of a node to a model server."""

    def __init__(self, server: Server):
        super().__init__()
        self.server = server

    def connection_made(self, transport):
        super().connection_made(transport)
        self.server.connections.add(transport)
        if self.server.mode == "dead":
            self.server.counts["dead"] += 1
            transport.abort()

    def connection_lost(self, _error):
        self.server.connections.discard(self.transport)

    def respond(self, head: bytes):
        mode = self.server.mode
        self.server.counts[mode] += 1
        if mode == "slow":
            asyncio.get_running_loop().call_later(SLOW_SECONDS, self.write, b"200 OK", self.body())
        else:
            self.write(b"500 Internal Server Error" if mode == "bad" else b"200 OK", self.body())

    def body(self) -> bytes:
        """Who answers."""
        return json.dumps({"by": self.server.model, "at": self.server.node}).encode()


def url(model: str, host: str) -> str:
    """Where a node finds a model on its own machine."""
    return f"http://{host}:{PORTS[model]}/predict"


async def serve(nodes: "dict[str, tuple[str, int | None]]"):
    """All servers of all machines, until stdin ends."""
    servers = {(node, model): Server(node, model, host, space) for node, (host, space) in nodes.items() for model in MODELS}
    for server in servers.values():
        await server.listen()
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    print("{}", flush=True)
    while line := await orders.readline():
        order = json.loads(line)
        if "mode" in order:
            servers[order["node"], order["model"]].turn(order["mode"])
        print(json.dumps({f"{node}/{model}": server.counts for (node, model), server in servers.items()}), flush=True)


def main():
    """Arguments: NODE=HOST=DESCRIPTOR of the namespace, or 0 for this one."""
    nodes = {}
    for word in sys.argv[1:]:
        node, host, space = word.split("=")
        nodes[node] = (host, int(space) or None)
    asyncio.run(serve(nodes))


if __name__ == "__main__":
    main()
