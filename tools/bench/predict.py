#!/usr/bin/env python3
"""`POST /predict` without an upstream against nginx `split_clients`, both over TLS 1.3 with keep-alive.

Each round loads node-a of a cluster of three and nginx (two workers) in turn with `wrk`: 64 connections for the requests a second and the
processor time of each, then one connection for the latency. Both get the same bytes and give the same answer: canary takes the key from the
JSON body, which it parses; nginx cannot, so it takes the same key from the query. More requests are better, so that figure is shown
upside down, as the time between answers: 0.952 is 1.05 times the requests of nginx, 0.833 is 1.2 times.
"""

import contextlib
import sys

from lab import figures
from lab.both import split_alike
from lab.canary import MODEL, PORTS, TOP, Canary, Ladder
from lab.nginx import start_nginx
from lab.place import Place, require_programs
from lab.wrk import Contestant, add_options, family, resident_megabytes, take_turns

NGINX_PORT = 50443
# The share of the keys that gets the canary, on both sides.
PER_CENT = 20

NGINX = """
  split_clients "{salt}$arg_key" $model {{ {per_cent}% {model}; * v1; }}
  server {{
    listen {address}:{port} ssl;
    ssl_protocols TLSv1.3;
    ssl_session_tickets off;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    location = /predict {{
      default_type application/json;
      add_header x-canary-model $model;
      add_header x-canary-version {version};
      add_header x-canary-node node-a;
      add_header x-content-type-options nosniff;
      return 200 '{{"model_selected":"$model","version":{version},"node_id":"node-a","sticky":true}}';
    }}
  }}
"""


@contextlib.contextmanager
def servers(given):
    """A cluster that gives the canary its share, and nginx that does the same with the same certificate."""
    require_programs("nginx", "wrk")
    address = f"{given.net}.1"
    with Place(given.dir) as place:
        canary = Canary(place, given.canary, [f"{given.net}.{last}" for last in (1, 2, 3)])
        canary.start()
        ladder = Ladder(canary.operator("a"))
        ladder.at = PER_CENT * TOP // 100 - 1
        state = ladder.make(ladder.up())["state"]
        certificates = canary.certs / "node-a"
        configuration = NGINX.format(
            salt=state["salt"],
            per_cent=PER_CENT,
            model=MODEL,
            version=state["version"],
            address=address,
            port=NGINX_PORT,
            certificate=certificates / "node.pem",
            key=certificates / "node.key",
        )
        nginx = start_nginx(place, "nginx", configuration)
        tell_apart(canary, address)
        yield place, Contestant("canary", canary.nodes["a"], address, PORTS["a"]), Contestant("nginx", nginx, address, NGINX_PORT)


def tell_apart(canary: Canary, address: str):
    """Makes sure that both split the keys and answer alike, and not one of them something shorter."""
    for port, found in split_alike(canary, address, (PORTS["a"], NGINX_PORT), PER_CENT).items():
        assert all(model == answer["model_selected"] for model, answer in found), f"port {port} names two models for one answer"
        assert set(found[0][1]) >= {"model_selected", "version", "node_id", "sticky"}, found[0]


def measure(given) -> "list[figures.Figure]":
    with servers(given) as (place, canary, nginx):
        take_turns(place, [canary, nginx], given.rounds, given.seconds)
        memory = sum(resident_megabytes(pid) for pid in family(canary.process.pid))
    rate = figures.statistics.median(canary.between)
    print(f"canary: {1e6 / rate:.0f} requests/s, {memory:.1f} MB resident after the load", file=sys.stderr)
    return [
        figures.ratio("/predict, time between answers", "µs", canary.between, "nginx split_clients", nginx.between, 0.952, 0.833),
        figures.ratio("/predict, processor time", "µs", canary.processor, "nginx split_clients", nginx.processor, 1.0, 0.8),
        figures.ratio("/predict, one connection, p50", "µs", canary.middle, "nginx split_clients", nginx.middle),
        figures.ratio("/predict, one connection, p99", "µs", canary.tail, "nginx split_clients", nginx.tail, 1.5, 1.0),
    ]


if __name__ == "__main__":
    sys.exit(figures.alone(__doc__, add_options, measure))
