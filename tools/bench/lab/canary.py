"""Three nodes of canary, driven only through what contract.md promises."""

import json
import os
import random
import subprocess
import sys

from .clients import Http, context
from .place import Place, kill, stop, until

IDS = ("a", "b", "c")
ROLES = {"a": "coordinator", "b": "participant_b", "c": "participant_c"}
PORTS = {"a": 50051, "b": 50052, "c": 50053}
MODEL = "v2"
# The highest weight that the ladders climb to, in basis points.
TOP = 10_000


class Canary:
    """A cluster of three."""

    def __init__(self, place: Place, program: str, addresses: "list[str]", spaces: "list[int] | None" = None):
        if not os.access(program, os.X_OK):
            sys.exit(f"error: no program at {program}: cargo build --release, or name one with --canary")
        self.place, self.program = place, program
        self.addresses = dict(zip(IDS, addresses))
        self.spaces = dict(zip(IDS, spaces or [None] * 3))
        self.nodes: dict[str, subprocess.Popen] = {}
        self.certs = place.root / "canary-certs"
        self.environment = {f"PEERS_NODE_{name.upper()}": address for name, address in self.addresses.items()}
        clean = {key: text for key, text in os.environ.items() if not key.startswith(("CANARY_", "PEERS_NODE_"))}
        done = subprocess.run(
            [program, "pki", "init"],
            env={**clean, **self.environment, "CANARY_CERTS": str(self.certs)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            sys.exit(f"error: canary pki init ended with {done.returncode}:\n{done.stderr}")
        authority, operator = str(self.certs / "ca.pem"), self.certs / "operator-admin"
        self.reading = context(authority)
        self.operating = context(authority, str(operator / "client.pem"), str(operator / "client.key"))

    def start(self):
        """Starts all nodes and waits until all agree on a first state and none is isolated; ends after 30 s."""
        for name in IDS:
            self.start_node(name)
        for name in IDS:
            self.until_ready(name)
        self.until_agreed()

    def start_node(self, name: str):
        """Starts one node, with its data if it has any."""
        command = [self.program, "node", ROLES[name], "--certs", str(self.certs), "--data", str(self.place.root / "canary-data")]
        self.nodes[name] = self.place.start(command, f"canary-{name}.log", self.spaces[name], CANARY_LOG="info", **self.environment)

    def until_ready(self, name: str):
        """Waits for 200 from `/readyz`, asking every 2 ms."""

        def ready():
            if self.nodes[name].poll() is not None:
                raise SystemExit(f"error: node {name} ended:\n{self.place.log(f'canary-{name}.log')}")
            line = self.reader(name)
            try:
                return line.get("/readyz")[0] == 200
            finally:
                line.close()

        until(f"node {name} ready", 30, ready, 0.002)

    def until_agreed(self) -> int:
        """Waits until all nodes serve one version and none is isolated: that version. Asks every 2 ms."""
        lines = {}

        def agreed():
            for name in IDS:
                lines[name] = lines.get(name) or self.reader(name)
            try:
                states = [json.loads(line.get("/routing/state")[1]) for line in lines.values()]
            except (OSError, ValueError):
                lines.clear()
                raise
            one = len({(state["version"], state["digest"]) for state in states}) == 1
            return one and not any(state["isolated"] for state in states) and (states[0]["version"] or -1)

        try:
            return max(0, until("one version on all nodes", 30, agreed, 0.002))
        finally:
            for line in lines.values():
                line.close()

    def kill_node(self, name: str):
        """kill -9."""
        kill(self.nodes[name])

    def tell_to_stop(self, name: str):
        """SIGTERM, which is not waited for."""
        self.nodes[name].terminate()

    def until_stopped(self, name: str):
        """Waits for the end of a node that was told to stop."""
        self.nodes[name].wait(10)

    def stop(self):
        for node in self.nodes.values():
            stop(node)

    def reader(self, name: str) -> Http:
        """A connection without a client certificate, from the node's own machine."""
        return Http(self.reading, self.addresses[name], PORTS[name], self.spaces[name])

    def operator(self, name: str) -> Http:
        """A connection with the operator's certificate, from the node's own machine."""
        return Http(self.operating, self.addresses[name], PORTS[name], self.spaces[name])

    def state(self, name: str) -> dict:
        """What a node serves."""
        line = self.reader(name)
        try:
            return json.loads(line.get("/routing/state")[1])
        finally:
            line.close()


class Ladder:
    """Weights to ask for: each step up is an advance by one basis point, each step down a retreat."""

    def __init__(self, line: Http):
        self.line, self.at = line, 0

    def up(self) -> bytes:
        """The request for the next advance."""
        self.at += 1
        return self._request()

    def down(self) -> bytes:
        """The request for the next retreat."""
        self.at -= 1
        return self._request()

    def zero(self):
        """Retreats to nothing, outside of what is measured."""
        self.at = 0
        self.make(self._request())

    def make(self, request: bytes) -> dict:
        """Makes a change, which must be committed."""
        return committed(self.line.call(request))

    def _request(self) -> bytes:
        body = json.dumps({"canary_weight": self.at / TOP, "canary_model_id": MODEL}).encode()
        return self.line.request("POST", "/routing/weights", body)


def committed(answer: "tuple[int, bytes]") -> dict:
    """The body of an answer that must say COMMIT."""
    status, body = answer
    content = json.loads(body)
    if status != 200 or content.get("decision") != "COMMIT":
        raise ValueError(f"the change was not committed: {status} {body.decode(errors='replace')}")
    return content


def advance_until_committed(cluster: Canary, ladder: Ladder):
    """Advances as soon as all nodes vote for it again; ends after 30 s."""

    def try_once():
        status, _ = ladder.line.call(ladder.up())
        return status == 200

    until("an advance after the cluster is whole again", 30, try_once, 0.02)


def pause_seconds(middle: float = 0.02) -> float:
    """A pause between paced requests, random so that no timer of either side falls into step with it."""
    return random.uniform(0.5 * middle, 1.5 * middle)
