"""The small HTTP/1.1 server of model servers: cuts requests from a connection, and writes answers of JSON."""

import asyncio
import threading


class Conversation(asyncio.Protocol):
    """One connection; subclasses answer each request in `respond`, at once or later."""

    def __init__(self):
        self.buffer = b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data: bytes):
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            at = head.find(b"content-length:")
            stop = end + 4 + (int(head[at + 15 :].split(b"\r", 1)[0]) if at >= 0 else 0)
            if len(self.buffer) < stop:
                return
            self.buffer = self.buffer[stop:]
            self.respond(head)

    def respond(self, head: bytes):
        """Answers the request with this head, which is in lower case."""
        raise NotImplementedError

    def write(self, status: bytes, body: bytes):
        """Answers, unless the connection is gone."""
        if not self.transport.is_closing():
            head = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (status, len(body))
            self.transport.write(head + body)


def serve_models(conversation: "type[Conversation]", address: str, ports: "dict[str, int]"):
    """A server for each model, on a thread of their own; each connection is a conversation that is made with the model's name."""
    ready = threading.Event()

    async def serve():
        loop = asyncio.get_running_loop()
        for model, port in ports.items():
            await loop.create_server(lambda model=model: conversation(model), address, port)
        ready.set()
        await asyncio.Event().wait()

    threading.Thread(target=lambda: asyncio.run(serve()), daemon=True).start()
    ready.wait()
