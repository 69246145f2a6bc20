"""Model servers, one of each model for each node, which take some time for an answer, as models do.

A request is at a server at almost every moment, so that a node that breaks off what it has taken is seen.
"""

import asyncio

from chaos.upstreams import PORTS, Conversation, Server

MODELS = ("v1", "v2")
ANSWER_SECONDS = 0.015


class Model(Server):
    """One model server."""

    # So many of the next answers are errors, whatever the mode: for seeing this tool fail.
    errors_to_give = 0

    async def listen(self):
        """Takes connections from now on."""
        self.socket = await asyncio.get_running_loop().create_server(lambda: Talk(self), self.host, PORTS[self.model])

    def close(self):
        """Takes none any more, and drops those it has."""
        self.socket.close()
        for transport in list(self.connections):
            transport.abort()


class Talk(Conversation):
    """One connection of a node."""

    def respond(self, head: bytes):
        """Counts a request, and answers it after a while."""
        server = self.server
        server.counts[server.mode] += 1
        is_bad = server.mode == "bad"
        if server.errors_to_give > 0:
            server.errors_to_give -= 1
            is_bad = True
        status = b"500 Internal Server Error" if is_bad else b"200 OK"
        asyncio.get_running_loop().call_later(ANSWER_SECONDS, self.write, status, self.body())


class Models:
    """All model servers of a mesh."""

    def __init__(self, hosts: "dict[str, str]"):
        self.servers = {(node, model): Model(node, model, host, None) for node, host in hosts.items() for model in MODELS}

    async def listen(self):
        """All take connections from now on."""
        for server in self.servers.values():
            await server.listen()

    def turn(self, node: str, model: str, mode: str):
        """Lets a model at a node be `ok` or `bad`."""
        self.servers[node, model].turn(mode)

    def counted(self, mode: str) -> int:
        """Requests that all servers have had in this mode."""
        return sum(server.counts[mode] for server in self.servers.values())

    def close(self):
        """Ends all."""
        for server in self.servers.values():
            server.close()
