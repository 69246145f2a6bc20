"""The wire between the machines, as a program: takes whole IP packets from each machine's TUN device and gives them to the
one of their destination, after what the rules for this direction say.

Told on stdin, a line of JSON each: {"rules": {"a>b": {"cut": true, "delay": 0.05, "jitter": 0.02, "loss": 0.1}}}; directions that are not
named are whole. Answers each line with {"carried": N, "cut": N, "lost": N, "late": N}, packets since the start. Jitter reorders.
"""

import ctypes
import heapq
import itertools
import json
import os
import random
import select
import sys
import time

from lab.tun import packets

# Packets that may be under way; more are dropped, as a real queue does.
UNDER_WAY = 20_000
PR_SET_TIMERSLACK = 29


class Wire:
    """The packets under way and the rules."""

    def __init__(self, taps: "dict[str, int]", names: "dict[bytes, str]", seed: int):
        self.taps, self.names = taps, names
        self.rules: dict[str, dict] = {}
        self.counts = {"carried": 0, "cut": 0, "lost": 0, "late": 0}
        self.under_way: list = []
        self.numbers = itertools.count()
        self.random = random.Random(seed)

    def take(self, source: str, packet: bytes):
        """A packet that a machine has sent."""
        target = self.names.get(packet[16:20])
        if target is None:
            return
        rule = self.rules.get(f"{source}>{target}")
        if rule is None:
            self.give(target, packet)
        elif rule.get("cut"):
            self.counts["cut"] += 1
        elif self.random.random() < rule.get("loss", 0) or len(self.under_way) >= UNDER_WAY:
            self.counts["lost"] += 1
        else:
            self.counts["late"] += 1
            due = time.monotonic() + rule.get("delay", 0) + rule.get("jitter", 0) * self.random.random()
            heapq.heappush(self.under_way, (due, next(self.numbers), target, packet))

    def give(self, target: str, packet: bytes):
        """Delivers; a device whose queue is full loses the packet."""
        try:
            os.write(self.taps[target], packet)
            self.counts["carried"] += 1
        except OSError:
            self.counts["lost"] += 1

    def deliver_due(self):
        """Delivers what has been under way for long enough."""
        now = time.monotonic()
        while self.under_way and self.under_way[0][0] <= now:
            _, _, target, packet = heapq.heappop(self.under_way)
            self.give(target, packet)

    def wait(self) -> "float | None":
        """Seconds until the next delivery."""
        return max(0.0, self.under_way[0][0] - time.monotonic()) if self.under_way else None


def carry(wire: Wire, sources: "dict[int, str]"):
    """Runs until stdin ends, which it does with the program that started this one."""
    orders = b""
    while True:
        ready, _, _ = select.select([0, *sources], [], [], wire.wait())
        for source in ready:
            if source:
                for packet in packets(source):
                    wire.take(sources[source], packet)
                continue
            said = os.read(0, 65_536)
            if not said:
                return
            orders += said
            *lines, orders = orders.split(b"\n")
            for line in lines:
                wire.rules = json.loads(line).get("rules", wire.rules)
                print(json.dumps(wire.counts), flush=True)
        wire.deliver_due()


def main():
    """Arguments: the seed, and NODE=ADDRESS=DESCRIPTOR for each machine."""
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)
    seed, *words = sys.argv[1:]
    taps, names = {}, {}
    for word in words:
        node, address, tap = word.split("=")
        taps[node] = int(tap)
        names[bytes(map(int, address.split(".")))] = node
    wire = Wire(taps, names, int(seed))
    carry(wire, {tap: node for node, tap in taps.items()})


if __name__ == "__main__":
    main()
