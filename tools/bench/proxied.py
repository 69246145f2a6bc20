#!/usr/bin/env python3
"""`POST /predict` with upstreams against nginx as a TLS proxy with the same split, to the same two upstreams.

The upstreams are one more nginx that answers on two ports with a few bytes of JSON. Each round loads node-a of a cluster of three, and
nginx (two workers, `split_clients`, connections to the upstreams kept), in turn with `wrk`: 64 connections over TLS 1.3 for the requests a
second and the processor time of each, then one connection for the latency. The canary gets 20 % on both sides. Both read the request's
body before they send it on and add the same headers. canary also finds the key in it and counts every answer for the rollout's judge; nginx
takes the key from the query and counts nothing. More requests are better, so that figure is shown upside down, as the time between answers:
1.0 is as many requests as nginx, 0.952 is 1.05 times as many.
"""

import contextlib
import json
import sys

from lab import figures
from lab.both import split_alike
from lab.canary import MODEL, PORTS, Canary, committed
from lab.nginx import start_nginx
from lab.place import Place, require_programs
from lab.wrk import Contestant, add_options, take_turns

NGINX_PORT = 50443
UPSTREAM_PORTS = {"v1": 9001, MODEL: 9002}
# The share of the keys that gets the canary, on both sides.
PER_CENT = 20

# `return` leaves the body unread; nginx then reads it away before the next request, which costs both sides alike.
UPSTREAM = """
  server {{
    listen {address}:{port};
    location / {{
      default_type application/json;
      return 200 '{{"answer":42,"by":"{model}"}}';
    }}
  }}
"""

PROXY = """
  split_clients "{salt}$arg_key" $model {{ {per_cent}% v2; * v1; }}
  upstream v1 {{ server {address}:{v1}; keepalive 128; keepalive_requests 1000000000; }}
  upstream v2 {{ server {address}:{v2}; keepalive 128; keepalive_requests 1000000000; }}
  server {{
    listen {address}:{port} ssl;
    ssl_protocols TLSv1.3;
    ssl_session_tickets off;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    location = /predict {{
      proxy_pass http://$model;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto https;
      proxy_set_header X-Forwarded-Host $http_host;
      add_header x-canary-model $model;
      add_header x-canary-version {version};
      add_header x-canary-node node-a;
      add_header x-content-type-options nosniff;
    }}
  }}
"""


@contextlib.contextmanager
def servers(given):
    """Two upstreams, a cluster that gives the canary its share, and nginx that does the same with the same certificate."""
    require_programs("nginx", "wrk")
    address = f"{given.net}.1"
    with Place(given.dir) as place:
        upstreams = (UPSTREAM.format(address=address, port=port, model=model) for model, port in UPSTREAM_PORTS.items())
        start_nginx(place, "upstream", "".join(upstreams))
        canary = Canary(place, given.canary, [f"{given.net}.{last}" for last in (1, 2, 3)])
        canary.start()
        state = shared_out(canary, {model: f"http://{address}:{port}/predict" for model, port in UPSTREAM_PORTS.items()})
        certificates = canary.certs / "node-a"
        proxy = PROXY.format(
            salt=state["salt"],
            per_cent=PER_CENT,
            version=state["version"],
            address=address,
            port=NGINX_PORT,
            certificate=certificates / "node.pem",
            key=certificates / "node.key",
            **UPSTREAM_PORTS,
        )
        nginx = start_nginx(place, "nginx", proxy)
        tell_apart(canary, address)
        yield place, Contestant("canary", canary.nodes["a"], address, PORTS["a"]), Contestant("nginx", nginx, address, NGINX_PORT)


def shared_out(canary: Canary, upstreams: "dict[str, str]") -> dict:
    """Gives the canary its share and both models their upstreams; the state after it."""
    line = canary.operator("a")

    def say(path: str, **content) -> dict:
        return committed(line.post(path, json.dumps(content).encode()))["state"]

    say("/routing/weights", canary_weight=PER_CENT / 100, canary_model_id=MODEL)
    for model, url in upstreams.items():
        state = say("/models", id=model, upstream=url)
    line.close()
    canary.until_agreed()
    return state


def tell_apart(canary: Canary, address: str):
    """Makes sure that both split the keys, and that both models are asked through both."""
    for port, found in split_alike(canary, address, (PORTS["a"], NGINX_PORT), PER_CENT).items():
        assert all(model == answer["by"] for model, answer in found), f"port {port} names another model than the one that answered"


def measure(given) -> "list[figures.Figure]":
    with servers(given) as (place, canary, nginx):
        take_turns(place, [canary, nginx], given.rounds, given.seconds)
    middle = figures.statistics.median
    print(f"canary: {1e6 / middle(canary.between):.0f} requests/s, nginx: {1e6 / middle(nginx.between):.0f}", file=sys.stderr)
    return [
        figures.ratio("proxied, time between answers", "µs", canary.between, "nginx proxy", nginx.between, 1.0, 0.952),
        figures.ratio("proxied, processor time", "µs", canary.processor, "nginx proxy", nginx.processor, 1.0, 0.9),
        figures.ratio("proxied, one connection, p50", "µs", canary.middle, "nginx proxy", nginx.middle),
        figures.ratio("proxied, one connection, p99", "µs", canary.tail, "nginx proxy", nginx.tail),
    ]


if __name__ == "__main__":
    sys.exit(figures.alone(__doc__, add_options, measure))
