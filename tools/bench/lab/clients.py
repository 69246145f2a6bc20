"""Bare clients on a TLS socket: HTTP/1.1, and as much HTTP/2 as a gRPC call needs.

Both are written in the same style, so that a ratio between what they measure is a ratio between the servers: a request
is one prepared string of bytes and one write; an answer is cut from what was read with the least parsing that still
tells a good answer from a bad one. No library stands on one side only.
"""

import select
import socket
import ssl
import struct
import time

from .place import inside

# No answer in these tests takes longer; a long poll waits 30 s at most.
ANSWER_SECONDS = 40
# As much as one read takes; every answer here is smaller.
READ_BYTES = 65_536


def context(authority, certificate=None, key=None, alpn: str = "http/1.1") -> ssl.SSLContext:
    """TLS 1.3 with the given roots, and a client certificate if one is named."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.load_verify_locations(authority)
    if certificate:
        made.load_cert_chain(certificate, key)
    made.set_alpn_protocols([alpn])
    return made


class Line:
    """One TLS connection that never blocks; subclasses cut answers from `self.buffer`."""

    def __init__(self, tls: ssl.SSLContext, host: str, port: int, space: "int | None" = None):
        with inside(space):
            plain = socket.create_connection((host, port), timeout=5)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.host = host
        self.socket = tls.wrap_socket(plain, server_hostname=host)
        self.socket.settimeout(0)
        self.buffer = bytearray()

    def fileno(self) -> int:
        return self.socket.fileno()

    def close(self):
        self.socket.close()

    def send(self, data: bytes):
        """Sends all; requests are far smaller than a socket's buffer, so this does not wait in practice."""
        while True:
            try:
                self.socket.send(data)
                return
            except ssl.SSLWantWriteError:
                select.select([], [self.socket], [], 5)
            except ssl.SSLWantReadError:
                select.select([self.socket], [], [], 5)

    def fill(self) -> bool:
        """Reads what is there; false when that was nothing."""
        any_read = False
        while True:
            try:
                data = self.socket.recv(READ_BYTES)
            except ssl.SSLWantReadError:
                return any_read
            if not data:
                raise ConnectionError(f"{self.host} closed the connection")
            self.buffer += data
            any_read = True
            if not self.socket.pending():
                return True

    def wait(self, take):
        """Reads until `take` gives an answer."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while (answer := take()) is None:
            if not self.fill():
                left = deadline - time.monotonic()
                if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                    raise TimeoutError(f"no answer from {self.host} within {ANSWER_SECONDS} s")
        return answer


class Http(Line):
    """HTTP/1.1 with keep-alive, one request at a time."""

    def request(self, method: str, path: str, body: bytes = b"", headers: str = "") -> bytes:
        """The bytes of a request, to be prepared before the clock runs."""
        length = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n" if method == "POST" else ""
        return f"{method} {path} HTTP/1.1\r\nhost: {self.host}\r\n{length}{headers}\r\n".encode() + body

    def call(self, request: bytes) -> "tuple[int, bytes]":
        """Sends a request and waits for its answer: the status and the body."""
        self.send(request)
        return self.wait(self.take)

    def get(self, path: str) -> "tuple[int, bytes]":
        return self.call(self.request("GET", path))

    def post(self, path: str, body: bytes) -> "tuple[int, bytes]":
        return self.call(self.request("POST", path, body))

    def take(self) -> "tuple[int, bytes] | None":
        """Cuts a whole answer from what was read; its headers stay in `self.head`."""
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = bytes(self.buffer[:end]).lower()
        status = int(head[9:12])
        at = head.find(b"content-length:")
        if at >= 0:
            length = int(head[at + 15 :].split(b"\r", 1)[0])
            stop = end + 4 + length
            if len(self.buffer) < stop:
                return None
            body = bytes(self.buffer[end + 4 : stop])
        elif b"transfer-encoding: chunked" in head:
            cut = self._chunks(end + 4)
            if cut is None:
                return None
            body, stop = cut
        else:
            body, stop = b"", end + 4
        self.head = bytes(self.buffer[:end])
        del self.buffer[:stop]
        return status, body

    def header(self, name: bytes) -> str:
        """A header of the last answer."""
        for line in self.head.split(b"\r\n")[1:]:
            key, _, content = line.partition(b":")
            if key.strip().lower() == name:
                return content.strip().decode()
        raise KeyError(name.decode())

    def _chunks(self, at: int) -> "tuple[bytes, int] | None":
        body = b""
        while True:
            line = self.buffer.find(b"\r\n", at)
            if line < 0:
                return None
            size = int(bytes(self.buffer[at:line]).split(b";")[0], 16)
            if len(self.buffer) < line + 4 + size:
                return None
            body += self.buffer[line + 2 : line + 2 + size]
            at = line + 4 + size
            if size == 0:
                return body, at


DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
# Large enough that no flow control happens on what these tests read.
WINDOW = 2**30


class Grpc(Line):
    """gRPC over HTTP/2 to one method. Header fields go into the server's table once and are named by index from then
    on, as gRPC libraries do it."""

    def __init__(self, tls, host: str, port: int, method: str, space: "int | None" = None):
        super().__init__(tls, host, port, space)
        if self.socket.selected_alpn_protocol() != "h2":
            raise ConnectionError(f"{host} does not speak HTTP/2")
        self.next_stream = 1
        self.messages: dict[int, bytearray] = {}
        fields = [(b"\x44", method), (b"\x41", f"{host}:{port}"), (b"\x5f", "application/grpc"), (b"\x40\x02te", "trailers")]
        literal = b"".join(name + bytes([len(text)]) + text.encode() for name, text in fields)
        # Static table: 3 is POST, 7 is https; the fields above became entries 65 to 62 of the dynamic table.
        self._first = b"\x83\x87" + literal
        self._later = b"\x83\x87" + bytes(0x80 | index for index in (65, 64, 63, 62))
        settings = struct.pack(">HI", 4, WINDOW)
        self.send(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            + _frame(SETTINGS, 0, 0, settings)
            + _frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", WINDOW))
        )

    def call(self, message: bytes) -> bytes:
        """A unary call: the answer's message."""
        stream = self.open(message, END_STREAM)
        return self.wait(lambda: self.take(stream))

    def open(self, message: bytes, flags: int = 0) -> int:
        """Sends a call; without END_STREAM it stays open for a stream of answers. Gives the stream's number."""
        stream = self.next_stream
        self.next_stream += 2
        block = self._first if stream == 1 else self._later
        self.messages[stream] = bytearray()
        body = b"\0" + struct.pack(">I", len(message)) + message
        self.send(_frame(HEADERS, END_HEADERS, stream, block) + _frame(DATA, flags, stream, body))
        return stream

    def take(self, stream: int) -> "bytes | None":
        """The whole message of a unary call, once the stream has ended."""
        ended = self._frames()
        if stream not in ended:
            return None
        body = self.messages.pop(stream)
        if len(body) < 5 or len(body) != 5 + struct.unpack_from(">I", body, 1)[0]:
            raise ConnectionError(f"{self.host} answered the call with an error")
        return bytes(body[5:])

    def next_message(self, stream: int) -> "bytes | None":
        """The next message of an open stream of answers."""
        if self._frames():
            raise ConnectionError(f"{self.host} ended the stream")
        body = self.messages[stream]
        if len(body) < 5:
            return None
        length = struct.unpack_from(">I", body, 1)[0]
        if len(body) < 5 + length:
            return None
        message = bytes(body[5 : 5 + length])
        del body[: 5 + length]
        return message

    def _frames(self) -> "set[int]":
        """Takes every whole frame; gives the streams that ended."""
        ended = set()
        while len(self.buffer) >= 9:
            length = int.from_bytes(self.buffer[:3], "big")
            if len(self.buffer) < 9 + length:
                break
            kind, flags = self.buffer[3], self.buffer[4]
            stream = int.from_bytes(self.buffer[5:9], "big")
            payload = bytes(self.buffer[9 : 9 + length])
            del self.buffer[: 9 + length]
            if kind == DATA:
                self.messages[stream] += payload
            elif kind == SETTINGS and not flags & ACK:
                self.send(_frame(SETTINGS, ACK, 0, b""))
            elif kind == PING and not flags & ACK:
                self.send(_frame(PING, ACK, 0, payload))
            elif kind in (RST_STREAM, GOAWAY):
                raise ConnectionError(f"{self.host} gave up the call: {payload!r}")
            if kind in (DATA, HEADERS) and flags & END_STREAM:
                ended.add(stream)
        return ended


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
