#!/usr/bin/env python3
"""How many writes are forced to disk for a commit, and how many of them one after the other, as strace sees them.

`strace -f` on each process, counting fsync, fdatasync and their relatives; changes with 50 ms between them, so that
each forced write belongs to one. *In series*: the longest chain of forced writes, on any nodes, each begun after the one before it
had ended, between the request and its answer; those that overlap count once. Files opened for synchronous writing would
hide from this count, so the script looks for them and fails. strace slows everything: no times from here mean anything.
"""

import os
import re
import statistics
import subprocess
import sys
import time

from lab import both, figures
from lab.canary import Ladder
from lab.etcd import put_message
from lab.place import require_programs, until

CALLS = "fsync,fdatasync,sync_file_range,syncfs,sync,msync"
BETWEEN_SECONDS = 0.05
SYNCHRONOUS = os.O_DSYNC | os.O_SYNC
LINE = re.compile(r"^(\d+) +(\d+\.\d+) (?:(\w+)\(|<\.\.\. (\w+) resumed>)(.*)$")
TOOK = re.compile(r"<(\d+\.\d+)>$")


class Trace:
    """strace on one process."""

    def __init__(self, place, name: str, pid: int):
        self.file = place.root / f"strace-{name}"
        place.start(["strace", "-f", "-ttt", "-T", "-e", f"trace={CALLS}", "-o", str(self.file), "-p", str(pid)], f"strace-{name}.log")
        until("strace attached", 5, lambda: traced(pid), 0.02)
        forbid_synchronous(pid)

    def forced(self) -> "list[tuple[float, float]]":
        """Begin and end of each forced write so far."""
        spans, open_calls = [], {}
        for line in self.file.read_text(errors="replace").splitlines():
            parts = LINE.match(line)
            if not parts:
                continue
            task, at, begun, resumed, rest = parts.groups()
            took = TOOK.search(rest)
            begin = float(at) if begun else open_calls.pop(task, float(at))
            if took:
                spans.append((begin, begin + float(took.group(1))))
            elif begun:
                open_calls[task] = begin
        return spans


def traced(pid: int) -> bool:
    """Whether every thread of a process is under a tracer."""
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status", encoding="ascii", errors="replace") as file:
            if "TracerPid:\t0\n" in file.read():
                return False
    return True


def forbid_synchronous(pid: int):
    """Fails when a process holds a file that forces every write."""
    for number in os.listdir(f"/proc/{pid}/fdinfo"):
        with open(f"/proc/{pid}/fdinfo/{number}", encoding="ascii") as file:
            flags = int(next(line for line in file if line.startswith("flags")).split()[1], 8)
        if flags & os.O_ACCMODE and flags & SYNCHRONOUS:
            raise SystemExit(f"error: process {pid} writes synchronously to descriptor {number}: this count would be too low")


def block(count: int, prepare, act) -> "list[tuple[float, float]]":
    """Makes changes; gives when each was asked for and when it was answered."""
    windows = []
    for _ in range(count):
        request = prepare()
        begin = time.time()
        act(request)
        windows.append((begin, time.time()))
        time.sleep(BETWEEN_SECONDS)
    return windows


def longest_chain(spans) -> int:
    """The most spans that follow one another without overlap."""
    chain, free = 0, 0.0
    for begin, end in sorted(spans, key=lambda span: span[1]):
        if begin >= free:
            chain, free = chain + 1, end
    return chain


def count(windows, traces) -> "tuple[float, float, float]":
    """Medians over the changes of a block: forced writes in series before the answer, the most that any one node began before the
    answer, and the most of any one node with what came after it."""
    forced = [trace.forced() for trace in traces]
    series, before, all_of_it = [], [], []
    for begin, end in windows:
        here = [[span for span in spans if begin <= span[0] < end] for spans in forced]
        with_later = [sum(begin <= span[0] < end + BETWEEN_SECONDS for span in spans) for spans in forced]
        series.append(longest_chain([span for spans in here for span in spans]))
        before.append(max(len(spans) for spans in here))
        all_of_it.append(max(with_later))
    return statistics.median(series), statistics.median(before), statistics.median(all_of_it)


def measure(given) -> "list[figures.Figure]":
    require_programs("strace")
    found: dict = {}
    with both.clusters(given) as (canary, etcd):
        ladder, grpc, message = Ladder(canary.operator("a")), etcd.grpc(etcd.leader(), "KV/Put"), put_message(b"x" * 500)
        ladder.make(ladder.up())
        traces = {
            "advance": [Trace(canary.place, f"canary-{name}", node.pid) for name, node in canary.nodes.items()],
            "etcd": [Trace(canary.place, f"etcd-{name}", member.pid) for name, member in etcd.members.items()],
        }
        traces["retreat"] = traces["advance"]
        windows: dict = {name: [] for name in traces}
        for _ in range(given.rounds):
            windows["advance"].append(block(given.count, ladder.up, ladder.make))
            windows["retreat"].append(block(given.count - 1, ladder.down, ladder.make))
            windows["etcd"].append(block(given.count, lambda: message, grpc.call))
        time.sleep(0.2)
        for name, rounds in windows.items():
            found[name] = [count(windows, traces[name]) for windows in rounds]
        for tracer in canary.place.children:
            if tracer.args[0] == "strace":
                subprocess.run(["kill", "-INT", str(tracer.pid)], check=False)
                tracer.wait(5)
    put = "etcd gRPC put"

    def figure(name, kind, part, must=None):
        ours, theirs = ([counts[part] for counts in found[side]] for side in (kind, "etcd"))
        return figures.value(name, "writes", ours, put, theirs, must, must)

    return [
        figure("forced in series, a commit", "advance", 0, 1),
        figure("forced before the answer, most of any node", "advance", 1, 1),
        figure("forced a commit, most of any node", "advance", 2),
        figure("forced in series, a retreat", "retreat", 0, 1),
    ]


def add_options(parser):
    parser.add_argument("--count", type=int, default=20, help="changes a round and kind (default 20)")


if __name__ == "__main__":
    sys.exit(figures.alone(__doc__, add_options, measure))
