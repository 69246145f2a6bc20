"""Three machines: network namespaces joined by a wire in user space, or, without the rights for that, loopback addresses.

Many kernels lack netem, and a delaying proxy would hide the nodes' addresses from one another, which canary refuses; so each
machine has a TUN device, and `wire.py` carries whole packets. Clients of a node sit on the node's own machine and
are touched by no cut: what they ask an isolated node, it must answer.
"""

import os
import pathlib
import subprocess

from lab.lan import forbid_ipv6
from lab.place import inside, new_space
from lab.tun import DEVICE, open_tap

from .helper import Helper

NODES = ("a", "b", "c")
# Set apart for documentation (RFC 5737): no one's network, and only inside the namespaces.
ADDRESSES = {"a": "192.0.2.10", "b": "192.0.2.20", "c": "192.0.2.30"}
LOOPBACK = {"a": "127.77.0.11", "b": "127.77.0.12", "c": "127.77.0.13"}


class Loopback:
    """Three addresses of this machine. Nothing between them can be cut."""

    can_cut = False
    addresses = LOOPBACK
    spaces: "dict[str, int | None]" = dict.fromkeys(NODES)
    # Where a node's model servers are.
    model_hosts = LOOPBACK

    def set_rules(self, rules: dict) -> dict:
        """There are none to set."""
        raise RuntimeError("loopback addresses cannot be cut from one another")

    def stop(self):
        """Nothing was made."""


class Namespaces:
    """Three network namespaces without names, gone with the processes in them, and the wire."""

    can_cut = True
    addresses = ADDRESSES
    model_hosts = dict.fromkeys(NODES, "127.0.0.1")

    def __init__(self, seed: int, log):
        self.spaces = {node: new_space() for node in NODES}
        taps = {}
        for node, space in self.spaces.items():
            with inside(space):
                forbid_ipv6()
                taps[node] = open_tap()
                for words in ("link set lo up", f"addr add {ADDRESSES[node]}/24 dev {DEVICE}", f"link set {DEVICE} mtu 1500 up"):
                    subprocess.run(["ip", *words.split()], check=True)
        words = [f"{node}={ADDRESSES[node]}={tap}" for node, tap in taps.items()]
        program = pathlib.Path(__file__).with_name("wire.py")
        self._wire = Helper(str(program), [str(seed), *words], list(taps.values()), log)
        for tap in taps.values():
            os.close(tap)

    def set_rules(self, rules: dict) -> dict:
        """From now on these directions are hurt and all others whole. Gives the counts of packets so far."""
        return self._wire.ask({"rules": rules})

    def stop(self):
        """Ends the wire; the namespaces go with the nodes."""
        self._wire.stop()


def cut(*pairs: "tuple[str, str]") -> dict:
    """Rules that cut these directions."""
    return {f"{source}>{target}": {"cut": True} for source, target in pairs}


def both_ways(node: str, others) -> "list[tuple[str, str]]":
    """The directions between a node and others."""
    return [pair for other in others if other != node for pair in ((node, other), (other, node))]
