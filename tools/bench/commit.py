#!/usr/bin/env python3
"""How long a commit takes, as an operator's client sees it, against a durable put to etcd.

Canary: one keep-alive HTTPS connection with the operator's certificate to node-a, `POST /routing/weights`, each a step up
of 0.01 %, so each takes the whole two-phase path with everyone's vote. etcd: three members with mutual TLS for clients
and peers, default settings (every put is forced to disk by a majority), one keep-alive connection with a client
certificate to the *leader*, the put's value as long as canary's routing state; through gRPC and through the JSON gateway.

Both clusters run all the time, their data on the same disk. The client is the same on all sides: Python's `ssl` socket
with requests prepared before the clock runs (see lab/clients.py). A gRPC library on one side only would add its own
time to that side; `--grpcio` measures by how much, in a throw-away venv.
"""

import statistics
import subprocess
import sys

from lab import both, figures
from lab.canary import Ladder, pause_seconds
from lab.etcd import put_message, put_request, revision

WARM_UP = 50


def measure(given) -> "list[figures.Figure]":
    with both.clusters(given) as (canary, etcd):
        line = canary.operator("a")
        ladder = Ladder(line)
        leader = etcd.leader()
        value = line.get("/routing/state")[1]
        grpc, gateway = etcd.grpc(leader, "KV/Put"), etcd.http(leader)
        message, request = put_message(value), put_request(gateway, value)
        revisions = [0]

        def put(message):
            now = revision(grpc.call(message))
            assert now > revisions[0], "etcd acknowledged a put without a new revision"
            revisions[0] = now

        def put_by_gateway(request):
            status, body = gateway.call(request)
            assert status == 200, body

        def canary_call(request):
            status, body = line.call(request)
            assert status == 200 and b"COMMIT" in body, body

        contestants = [
            ("advance", ladder.up, canary_call),
            ("grpc", lambda: message, put),
            ("gateway", lambda: request, put_by_gateway),
        ]
        for _, prepare, act in contestants:
            both.timed(WARM_UP, prepare, act)
        ladder.make(ladder.down())
        found = run_rounds(given, contestants, ladder, canary_call)
        if given.grpcio:
            print(f"grpcio, put p50: {grpcio_p50(canary.place, etcd, leader, value):.3f} ms; the bare client's is in the table")
    return report(found)


def run_rounds(given, contestants, ladder, canary_call) -> dict:
    """The samples of each round: found[name, pace] is a list of lists."""
    found: dict = {}
    for turn in range(given.rounds):
        for pace, pause, count in (("busy", None, given.count), ("paced", pause_seconds, given.count // 2)):
            ladder.zero()
            for name, prepare, act in both.rotated(contestants, turn):
                found.setdefault((name, pace), []).append(both.timed(count, prepare, act, pause))
                if name == "advance":
                    down = both.timed(count - 1, ladder.down, canary_call, pause)
                    found.setdefault(("retreat", pace), []).append(down)
    return found


def report(found: dict) -> "list[figures.Figure]":
    p50 = {key: [statistics.median(samples) for samples in rounds] for key, rounds in found.items()}
    p99 = {key: [figures.percentile(samples, 0.99) for samples in rounds] for key, rounds in found.items()}
    grpc, gateway = "etcd gRPC put", "etcd JSON put"
    busy, paced = "busy", "paced"
    return [
        figures.ratio("commit p50, one after the other", "ms", p50["advance", busy], grpc, p50["grpc", busy], 0.70, 0.55),
        figures.ratio("commit p50, one after the other", "ms", p50["advance", busy], gateway, p50["gateway", busy], 0.77, 0.605),
        figures.ratio("commit p50, one every 20 ms", "ms", p50["advance", paced], grpc, p50["grpc", paced], 0.70, 0.55),
        figures.ratio("commit p50, one every 20 ms", "ms", p50["advance", paced], gateway, p50["gateway", paced], 0.77, 0.605),
        figures.ratio("commit p99, one after the other", "ms", p99["advance", busy], grpc, p99["grpc", busy]),
        figures.ratio("retreat p50, one after the other", "ms", p50["retreat", busy], grpc, p50["grpc", busy]),
        figures.ratio("retreat p50, one every 20 ms", "ms", p50["retreat", paced], grpc, p50["grpc", paced]),
    ]


GRPCIO = """
import statistics, sys, time, grpc
ca, cert, key, target, message = sys.argv[1:]
read = lambda path: open(path, "rb").read()
channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(read(ca), read(key), read(cert)))
put = channel.unary_unary("/etcdserverpb.KV/Put", request_serializer=bytes, response_deserializer=bytes)
times = []
for turn in range(450):
    begin = time.perf_counter()
    put(bytes.fromhex(message), timeout=10)
    times.append((time.perf_counter() - begin) * 1e3)
print(statistics.median(times[50:]))
"""


def grpcio_p50(place, etcd, leader: str, value: bytes) -> float:
    """The same put through the library that most clients use, from a throw-away venv."""
    venv = place.root / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    subprocess.run([str(venv / "bin/pip"), "install", "--quiet", "grpcio"], check=True)
    paths = [str(etcd.pki / name) for name in ("ca.pem", "client.pem", "client.key")]
    target = f"{etcd.addresses[leader]}:2379"
    command = [str(venv / "bin/python"), "-c", GRPCIO, *paths, target, put_message(value).hex()]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def add_options(parser):
    parser.add_argument("--count", type=int, default=200, help="requests a round and contestant (default 200)")
    parser.add_argument("--grpcio", action="store_true", help="also time etcd with the grpcio library")


if __name__ == "__main__":
    sys.exit(figures.alone(__doc__, add_options, measure))
