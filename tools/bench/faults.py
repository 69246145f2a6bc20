#!/usr/bin/env python3
"""What a failure costs: how soon a dead participant is known, and how soon a killed node is back at the version of all.

Dead participant: `kill -9` of node-c, at once an advance at node-a; the time until its answer is 2PC: ABORT. The frozen one
(SIGSTOP) is not known to be dead, so that the vote timeout decides. Killed and restarted: an operator keeps changing weights, a random
node is killed at a random moment, a change is made without it where that is possible, and it is started again; the time from its
`/readyz` until all three serve one version, none isolated, which must not be below any version that was answered with COMMIT.
etcd: the same kill, put and restart; from `/health` until the member itself reads the last revision. Coordinator gone: from
`kill -9` of node-a (etcd: of the leader) until another node commits a change.
"""

import base64
import json
import os
import pathlib
import random
import signal
import statistics
import sys
import threading
import time

from lab import both, figures
from lab.canary import IDS, Ladder, advance_until_committed
from lab.etcd import KEY, put_message, put_request
from lab.place import until

# A kill comes at a random moment of this many seconds, during which changes are made without a pause.
LOAD_SECONDS = 0.1


def aborted_after(canary, ladder, hurt) -> float:
    """Milliseconds from asking for an advance, right after `hurt`, until the answer is ABORT."""
    request = ladder.up()
    hurt()
    begin = time.perf_counter()
    status, body = ladder.line.call(request)
    took = (time.perf_counter() - begin) * 1e3
    ladder.at -= 1
    if status != 409 or json.loads(body).get("decision") != "ABORT":
        raise ValueError(f"an advance without node-c was answered with {status} {body.decode(errors='replace')}")
    return took


def freeze(process):
    """Stops a process, and waits until all its threads stand still: a signal takes a moment to reach them."""
    process.send_signal(signal.SIGSTOP)
    threads = f"/proc/{process.pid}/task"

    def stands(thread: str) -> bool:
        status = pathlib.Path(threads, thread, "stat").read_text(encoding="utf-8")
        return status.rsplit(") ", 1)[1].startswith("T")

    until("node-c stands still", 5, lambda: all(stands(thread) for thread in os.listdir(threads)), 0.0005)


def dead_participant(canary, rounds: int) -> "tuple[list, list, list]":
    """For each round: milliseconds to ABORT with node-c dead, with it frozen, and to COMMIT with all well."""
    dead, frozen, well = [], [], []
    for _ in range(rounds):
        ladder = Ladder(canary.operator("a"))
        ladder.zero()
        well.append(statistics.median(both.timed(20, ladder.up, ladder.make)))
        dead.append(aborted_after(canary, ladder, lambda: canary.kill_node("c")))
        canary.start_node("c")
        canary.until_ready("c")
        canary.until_agreed()
        advance_until_committed(canary, ladder)
        frozen.append(aborted_after(canary, ladder, lambda: freeze(canary.nodes["c"])))
        canary.nodes["c"].send_signal(signal.SIGCONT)
        canary.until_agreed()
        advance_until_committed(canary, ladder)
        ladder.line.close()
    return dead, frozen, well


class Load(threading.Thread):
    """Changes weights without a pause until told to stop or until its connection breaks; knows the last version that
    was answered with COMMIT."""

    def __init__(self, canary):
        super().__init__(daemon=True)
        self.ladder = Ladder(canary.operator("a"))
        self.ladder.zero()
        self.go_on, self.version = True, 0

    def run(self):
        try:
            while self.go_on:
                for step in (self.ladder.up, self.ladder.up, self.ladder.down):
                    status, body = self.ladder.line.call(step())
                    if status != 200:
                        return
                    self.version = json.loads(body)["state"]["version"]
        except (OSError, ValueError):
            return


def back_after_kill(canary, name: str) -> float:
    """Seconds from /readyz of a killed and restarted node until all serve one version."""
    load = Load(canary)
    load.start()
    time.sleep(random.uniform(0.2, 1) * LOAD_SECONDS)
    canary.kill_node(name)
    load.go_on = False
    committed = load.version
    if name != "a":
        load.join(5)
        retreat = Ladder(canary.operator("a"))
        status, body = retreat.line.call(retreat.line.request("POST", "/routing/weights", b'{"canary_weight": 0}'))
        if status == 200:
            committed = json.loads(body)["state"]["version"]
        retreat.line.close()
    canary.start_node(name)
    canary.until_ready(name)
    begin = time.perf_counter()
    version = canary.until_agreed()
    took = time.perf_counter() - begin
    load.join(10)
    if version < committed:
        raise ValueError(f"version {committed} was committed, and after the restart all are at {version}")
    return took


def etcd_back_after_kill(etcd, name: str) -> float:
    """Seconds from /health of a killed and restarted member until it reads the revision of a put made without it."""
    etcd.kill_member(name)
    other = etcd.http(next(member for member in IDS if member != name))
    request = put_request(other, b"x" * 500)
    answer = until("a put without one member", 10, lambda: put_ok(other, request), 0.05)
    other.close()
    etcd.start_member(name)
    etcd.until_healthy(name)
    begin = time.perf_counter()
    line = etcd.http(name)
    question = json.dumps({"key": base64.b64encode(KEY).decode(), "serializable": True}).encode()
    until("the put on the restarted member", 30, lambda: revision_of(line.post("/v3/kv/range", question)) >= answer, 0.002)
    line.close()
    return time.perf_counter() - begin


def put_ok(line, request) -> "int | None":
    answer = line.call(request)
    return revision_of(answer) if answer[0] == 200 else None


def revision_of(answer) -> int:
    return int(json.loads(answer[1])["header"]["revision"])


def takeover(canary, end) -> float:
    """Seconds from the end of node-a, which `end` makes, until node-b commits a change."""
    Ladder(canary.operator("a")).zero()
    retreat = canary.operator("b")
    request = retreat.request("POST", "/routing/weights", b'{"canary_weight": 0}')
    begin = time.perf_counter()
    end("a")
    until("a commit by node-b", 20, lambda: retreat.call(request)[0] == 200, 0.005)
    took = time.perf_counter() - begin
    retreat.close()
    canary.until_stopped("a")
    canary.start_node("a")
    canary.until_ready("a")
    canary.until_agreed()
    advance_until_committed(canary, Ladder(canary.operator("a")))
    return took


def etcd_takeover(etcd) -> float:
    """Seconds from kill -9 of the leader until a put through another member is done."""
    leader = etcd.leader()
    other = next(member for member in IDS if member != leader)
    line = etcd.grpc(other, "KV/Put")
    begin = time.perf_counter()
    etcd.kill_member(leader)
    until("a put without the leader", 20, lambda: try_put(line), 0.02)
    took = time.perf_counter() - begin
    line.close()
    etcd.start_member(leader)
    etcd.until_healthy(leader)
    return took


def try_put(line) -> bool:
    try:
        return bool(line.call(put_message(b"x" * 500)))
    except ConnectionError as refused:
        if "error" not in str(refused):
            raise
        return False


def measure(given) -> "list[figures.Figure]":
    gone, told, etcd_gone = [], [], []
    back: dict = {name: [] for name in IDS}
    etcd_back: dict = {name: [] for name in IDS}
    with both.clusters(given) as (canary, etcd):
        dead, frozen, well = dead_participant(canary, given.rounds)
        for _ in range(given.rounds):
            for name in random.sample(IDS, 3):
                back[name].append(back_after_kill(canary, name))
                etcd_back[name].append(etcd_back_after_kill(etcd, name))
            gone.append(takeover(canary, canary.kill_node))
            told.append(takeover(canary, canary.tell_to_stop))
            etcd_gone.append(etcd_takeover(etcd))
    return [
        figures.worst("2PC: ABORT, participant dead", "ms", dead, "commit, all well", well, 500, 50),
        figures.value("2PC: ABORT, participant frozen", "ms", frozen, "commit, all well", well),
        *(
            figures.worst(f"one version after kill -9 of {name}, /readyz", "s", back[name], "etcd after /health", etcd_back[name], 1.0)
            for name in IDS
        ),
        figures.worst("commit by another, coordinator told to stop", "s", told, "etcd, leader killed", etcd_gone, 0.5),
        figures.value("commit by another, coordinator killed", "s", gone, "etcd, leader killed", etcd_gone),
    ]


def add_options(_parser):
    """None of its own."""


if __name__ == "__main__":
    sys.exit(figures.alone(__doc__, add_options, measure))
