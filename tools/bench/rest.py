#!/usr/bin/env python3
"""What a node costs when nothing happens: bytes on the wire, memory, processor time.

Three nodes in three network namespaces, and three members of etcd in three others, side by side. After some commits and
a pause, five windows (`--rounds`) of 12 s. Bytes are those of the machine's only interface to the others, IP and TCP headers
included, Ethernet's not (the interfaces are TUN devices); a machine in a real Ethernet adds 14 bytes a packet, which a line of its
own counts. Each figure is that of the node that costs most. Needs root.
"""

import os
import sys
import time

from lab import figures
from lab.canary import Canary, Ladder
from lab.etcd import Etcd, put_message
from lab.lan import MACHINES, Lan
from lab.place import Place, require_disk, require_programs

COMMITS = 50
SETTLE_SECONDS = 10
ETHERNET_HEADER = 14


class Meter:
    """Reads what the three processes of one side have cost so far."""

    def __init__(self, lan, processes):
        self.lan, self.processes = lan, processes
        self.last = self._read()

    def window(self) -> "dict[str, float]":
        """The highest cost of any node since the last call, a second."""
        before, self.last = self.last, self._read()
        seconds = self.last[0] - before[0]
        sent = [(now[0] - then[0], now[1] - then[1]) for now, then in zip(self.last[1], before[1])]
        return {
            "bytes": max(count for count, _ in sent) / seconds,
            "framed": max(count + ETHERNET_HEADER * packets for count, packets in sent) / seconds,
            "packets": max(packets for _, packets in sent) / seconds,
            "cpu": max(now - then for now, then in zip(self.last[2], before[2])) / seconds,
            "rss": max(resident_mb(process.pid) for process in self.processes),
        }

    def _read(self):
        return time.monotonic(), self.lan.sent(), [cpu_ms(process.pid) for process in self.processes]


def resident_mb(pid: int) -> float:
    """The memory that a process holds, in units of 10^6 bytes."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        line = next(line for line in file if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024 / 1e6


def cpu_ms(pid: int) -> float:
    """The processor time that a process has used, in milliseconds, from the scheduler's own count."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
            total += int(file.read().split()[0])
    return total / 1e6


def measure(given) -> "list[figures.Figure]":
    require_programs("etcd", "openssl", "ip")
    require_disk(given.dir)
    with Place(given.dir) as place:
        ours, theirs = Lan(place), Lan(place)
        canary = Canary(place, given.canary, list(MACHINES), ours.spaces)
        etcd = Etcd(place, list(MACHINES), theirs.spaces)
        canary.start()
        etcd.start()
        ladder, grpc = Ladder(canary.operator("a")), etcd.grpc(etcd.leader(), "KV/Put")
        for _ in range(COMMITS):
            ladder.make(ladder.up())
            grpc.call(put_message(b"x" * 500))
        ladder.line.close()
        grpc.close()
        time.sleep(SETTLE_SECONDS)
        meters = [Meter(ours, canary.nodes.values()), Meter(theirs, etcd.members.values())]
        found: dict = {}
        for _ in range(given.rounds):
            time.sleep(given.window)
            for side, meter in enumerate(meters):
                for name, amount in meter.window().items():
                    found.setdefault(name, ([], []))[side].append(amount)
    member = "etcd member"
    return [
        figures.worst("sent at rest, a node", "B/s", found["bytes"][0], member, found["bytes"][1], 1000, 330),
        figures.value("… with Ethernet headers", "B/s", found["framed"][0], member, found["framed"][1]),
        figures.value("… packets", "/s", found["packets"][0], member, found["packets"][1]),
        figures.worst("memory at rest (RSS), a node", "MB", found["rss"][0], member, found["rss"][1], 20, 10),
        figures.value("processor at rest, a node", "ms/s", found["cpu"][0], member, found["cpu"][1]),
    ]


def add_options(parser):
    parser.add_argument("--window", type=float, default=12, help="seconds a round (default 12)")


if __name__ == "__main__":
    sys.exit(figures.alone(__doc__, add_options, measure))
