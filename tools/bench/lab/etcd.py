"""Three members of etcd with mutual TLS for clients and peers, durable as it is by default, and the calls made to it."""

import base64
import json
import os
import subprocess

from .clients import Grpc, Http, context
from .place import Place, kill, stop, until

CLIENT_PORT, PEER_PORT = 2379, 2380
IDS = ("a", "b", "c")
KEY = b"canary/routing"


class Etcd:
    """A cluster of three."""

    def __init__(self, place: Place, addresses: "list[str]", spaces: "list[int] | None" = None):
        self.place = place
        self.addresses = dict(zip(IDS, addresses))
        self.spaces = dict(zip(IDS, spaces or [None] * 3))
        self.members: dict[str, subprocess.Popen] = {}
        self.pki = place.root / "etcd-pki"
        make_certificates(self.pki, self.addresses)
        self.tls = {
            alpn: context(str(self.pki / "ca.pem"), str(self.pki / "client.pem"), str(self.pki / "client.key"), alpn)
            for alpn in ("http/1.1", "h2")
        }

    def start(self):
        """Starts all members and waits until they have a leader; ends after 30 s."""
        for name in IDS:
            self.start_member(name)
        for name in IDS:
            self.until_healthy(name)

    def start_member(self, name: str):
        """Starts one member, with its data if it has any."""
        host, peers = self.addresses[name], ",".join(f"{n}=https://{a}:{PEER_PORT}" for n, a in self.addresses.items())
        command = ["etcd", "--name", name, "--data-dir", str(self.place.root / f"etcd-{name}"), "--log-level", "error"]
        command += ["--logger", "zap", "--initial-cluster", peers, "--initial-cluster-state", "new"]
        for kind, port in (("client", CLIENT_PORT), ("peer", PEER_PORT)):
            url = f"https://{host}:{port}"
            advertise = "--advertise-client-urls" if kind == "client" else "--initial-advertise-peer-urls"
            prefix = "--" if kind == "client" else "--peer-"
            command += [f"--listen-{kind}-urls", url, advertise, url, f"{prefix}client-cert-auth"]
            command += [f"{prefix}trusted-ca-file", str(self.pki / "ca.pem")]
            command += [f"{prefix}cert-file", str(self.pki / f"{name}.pem"), f"{prefix}key-file", str(self.pki / f"{name}.key")]
        environment = {key: "" for key in os.environ if key.startswith("ETCD_")}
        self.members[name] = self.place.start(command, f"etcd-{name}.log", self.spaces[name], **environment)

    def until_healthy(self, name: str):
        """Waits until a member says that it is, which it does once it knows a leader."""

        def healthy():
            if self.members[name].poll() is not None:
                raise SystemExit(f"error: etcd {name} ended:\n{self.place.log(f'etcd-{name}.log')}")
            line = self.http(name)
            try:
                return b'"true"' in line.get("/health")[1]
            finally:
                line.close()

        until(f"etcd {name} healthy", 30, healthy, 0.002)

    def kill_member(self, name: str):
        """kill -9."""
        kill(self.members[name])

    def stop(self):
        for member in self.members.values():
            stop(member)

    def http(self, name: str) -> Http:
        """A connection to the JSON gateway of a member, from its own machine."""
        return Http(self.tls["http/1.1"], self.addresses[name], CLIENT_PORT, self.spaces[name])

    def grpc(self, name: str, method: str) -> Grpc:
        """A gRPC connection to a member, from its own machine."""
        return Grpc(self.tls["h2"], self.addresses[name], CLIENT_PORT, f"/etcdserverpb.{method}", self.spaces[name])

    def leader(self) -> str:
        """The member that leads: a put there takes one hop less, so that is where these tests put."""

        def ask():
            for name in IDS:
                line = self.http(name)
                status = json.loads(line.post("/v3/maintenance/status", b"{}")[1])
                line.close()
                if status["header"]["member_id"] == status["leader"]:
                    return name
            return None

        return until("a leader of etcd", 10, ask, 0.1)


def put_message(value: bytes) -> bytes:
    """A PutRequest of gRPC."""
    return field(1, KEY) + field(2, value)


def put_request(line: Http, value: bytes) -> bytes:
    """A put through the JSON gateway."""
    pair = {"key": base64.b64encode(KEY).decode(), "value": base64.b64encode(value).decode()}
    return line.request("POST", "/v3/kv/put", json.dumps(pair).encode())


def watch_message() -> bytes:
    """A WatchRequest of gRPC that creates a watcher on the key."""
    return field(1, field(1, KEY))


def revision(answer: bytes) -> int:
    """The revision in the header of an answer of gRPC: field 3 of field 1."""
    return fields(fields(answer)[1]).get(3, 0)


def has_events(answer: bytes) -> bool:
    """Whether a WatchResponse carries events: field 11."""
    return 11 in fields(answer)


def field(tag: int, content: bytes) -> bytes:
    """A field of bytes."""
    return varint(tag << 3 | 2) + varint(len(content)) + content


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


def fields(message: bytes) -> dict:
    """The fields of a message: numbers, and bytes for all that has a length. Of repeated ones the last."""
    found, at = {}, 0
    while at < len(message):
        tag, at = read_varint(message, at)
        if tag & 7 == 0:
            found[tag >> 3], at = read_varint(message, at)
        elif tag & 7 == 2:
            length, at = read_varint(message, at)
            found[tag >> 3] = message[at : at + length]
            at += length
        else:
            raise ValueError(f"a field of wire type {tag & 7} is not expected here")
    return found


def read_varint(message: bytes, at: int) -> "tuple[int, int]":
    number = shift = 0
    while True:
        byte = message[at]
        number |= (byte & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if byte < 0x80:
            return number, at


def make_certificates(folder, addresses: "dict[str, str]"):
    """A CA, a certificate a member and one for the client: ECDSA P-256, as canary's."""
    folder.mkdir(mode=0o700)

    def make(name: str, *more: str):
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        command += ["-subj", f"/CN={name}", "-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem"), *more]
        subprocess.run(command, check=True, capture_output=True)

    signed = ["-CA", str(folder / "ca.pem"), "-CAkey", str(folder / "ca.key"), "-addext", "basicConstraints=critical,CA:FALSE"]
    make("ca", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    for name, address in addresses.items():
        # Members compare a peer's address with its certificate, and dial from 127.0.0.1 wherever on loopback they listen.
        names = f"subjectAltName=IP:{address},IP:127.0.0.1"
        make(name, *signed, "-addext", names, "-addext", "extendedKeyUsage=serverAuth,clientAuth")
    make("client", *signed, "-addext", "extendedKeyUsage=clientAuth")
