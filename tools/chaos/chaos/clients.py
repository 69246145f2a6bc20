"""HTTPS/1.1 on asyncio streams, made in the network namespace of a machine, with what a checker needs to know of a failure:
whether the request can have reached the node."""

import asyncio
import json
import socket
import ssl
import urllib.parse

from lab.place import inside

CONNECT_SECONDS = 2.0


class NotSent(OSError):
    """The request did not reach the node: there was no connection, or the node had closed it before."""


class Broken(OSError):
    """The request may have reached the node, and there is no whole answer."""


class Answer:
    """A status, headers in lower case, and a body."""

    def __init__(self, status: int, headers: "dict[str, str]", body: bytes):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        """The body as JSON; None where it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class Line:
    """One connection, one request at a time."""

    def __init__(self, host: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self.host, self._reader, self._writer = host, reader, writer
        self._used = False

    @classmethod
    async def open(cls, tls: ssl.SSLContext, host: str, port: int, space: "int | None" = None) -> "Line":
        """Connects from the machine `space`. Whatever fails is a `NotSent`."""
        try:
            return await asyncio.wait_for(cls._open(tls, host, port, space), CONNECT_SECONDS)
        except (OSError, asyncio.TimeoutError) as error:
            raise NotSent(f"no connection to {host}: {str(error) or type(error).__name__}") from error

    @classmethod
    async def _open(cls, tls, host, port, space) -> "Line":
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with inside(space):
            plain = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().sock_connect(plain, (host, port))
        except BaseException:
            plain.close()
            raise
        # From here on the socket is the transport's, which closes it whatever becomes of the handshake.
        secured = {"ssl": tls, "server_hostname": host, "ssl_handshake_timeout": CONNECT_SECONDS}
        reader, writer = await asyncio.open_connection(sock=plain, **secured)
        return cls(host, reader, writer)

    def close(self):
        """At once, without a farewell that a dead peer would not answer."""
        self._writer.transport.abort()

    def is_closed(self) -> bool:
        """Whether this side or the node has closed it, as far as is known here."""
        return self._writer.transport.is_closing() or self._reader.at_eof()

    async def call(self, method: str, path: str, body: bytes = b"", headers: str = "", seconds: float = 5.0) -> Answer:
        """Sends a request and waits for its answer."""
        length = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n" if method == "POST" else ""
        head = f"{method} {path} HTTP/1.1\r\nhost: {self.host}\r\n{length}{headers}\r\n".encode()
        try:
            return await asyncio.wait_for(self._call(head + body), seconds)
        except asyncio.TimeoutError as error:
            self.close()
            raise Broken(f"{self.host} gave no answer within {seconds} s") from error

    async def _call(self, request: bytes) -> Answer:
        was_used, self._used = self._used, True
        got_any = False
        try:
            self._writer.write(request)
            await self._writer.drain()
            head = await self._reader.readuntil(b"\r\n\r\n")
            got_any = True
            return await self._rest(head)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
            self.close()
            partial = getattr(error, "partial", b"")
            if was_used and not got_any and not partial:
                # A connection at rest may be closed at any time; who sends on it just then sends again (RFC 9112, 9.3.1).
                raise NotSent(f"{self.host} had closed the connection") from error
            raise Broken(f"{self.host} broke off: {str(error) or type(error).__name__}") from error

    async def _rest(self, head: bytes) -> Answer:
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {}
        for line in lines:
            name, _, content = line.partition(":")
            if name:
                headers[name.strip().lower()] = content.strip()
        if "content-length" in headers:
            body = await self._reader.readexactly(int(headers["content-length"]))
        elif headers.get("transfer-encoding") == "chunked":
            body = await self._chunks()
        else:
            body = b""
        if headers.get("connection") == "close":
            self.close()
        return Answer(int(first.split()[1]), headers, body)

    async def _chunks(self) -> bytes:
        body = b""
        while True:
            size = int((await self._reader.readuntil(b"\r\n")).split(b";")[0], 16)
            body += (await self._reader.readexactly(size + 2))[:size]
            if size == 0:
                return body


class Client:
    """Calls one node, from one machine, on a connection that is kept, or on a new one each time."""

    def __init__(self, tls: ssl.SSLContext, host: str, port: int, space: "int | None" = None, keep: bool = True):
        self.tls, self.host, self.port, self.space, self.keep = tls, host, port, space, keep
        self._line: "Line | None" = None

    async def call(self, method: str, path: str, body: bytes = b"", headers: str = "", seconds: float = 5.0) -> Answer:
        """Calls the node; a request for which the kept connection was closed meanwhile is sent again on a new one."""
        if self._line is not None:
            try:
                return await self._use(method, path, body, headers, seconds)
            except NotSent:
                pass
        self._line = await Line.open(self.tls, self.host, self.port, self.space)
        return await self._use(method, path, body, headers, seconds)

    async def _use(self, *request) -> Answer:
        line, self._line = self._line, None
        try:
            answer = await line.call(*request)
        except BaseException:
            line.close()
            raise
        if self.keep and answer.headers.get("connection") != "close":
            self._line = line
        else:
            line.close()
        return answer

    def close(self):
        """Drops the connection that is kept."""
        if self._line is not None:
            self._line.close()
            self._line = None


def place_of(url: str) -> "tuple[str, int, str]":
    """Host, port and path of a URL."""
    parts = urllib.parse.urlsplit(url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    return parts.hostname or "", parts.port or 443, path
