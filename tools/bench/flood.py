#!/usr/bin/env python3
"""What a flood costs everybody else: the same node in quiet and under it.

The flood goes to node-a, each kind from an address that is nobody's, so that none of them stands in the way of another: 500 TLS handshakes
that are begun and never go on, 200 connections whose first request never ends, each opened anew when the node gives up on it, and 2 000
connections a second that send nonsense, by turns to the HTTPS port and to the one for nodes. Good clients ask from another address: `wrk` for
predictions on one connection that lasts, and one that makes a new connection for each request. Meanwhile the metrics are read four times a
second: links that are down, and the longest silence of a peer.
"""

import errno
import gc
import json
import selectors
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

from lab import figures
from lab.canary import PORTS, Canary
from lab.clients import context
from lab.place import Place, require_programs, stop, until
from lab.wrk import USERS, resident_megabytes, wrk

HALF_OPEN = 500
SLOW_HEADERS = 200
CONNECTIONS_A_SECOND = 2_000
# More connections than these at once would be the flood's own trouble.
MOST_AT_ONCE = 1_000
CONTROL_PORT = 60001
# A record that begins like a handshake and is none.
NONSENSE = b"\x16\x03\x01\x00\x05hello"
BEGUN = b"\x16\x03\x01"
FRESH_EVERY = 0.02
LOOK_EVERY = 0.25


class Flood:
    """The attacker: one thread of one process."""

    def __init__(self, host: str, net: str, authority: str):
        self.host, self.tls = host, context(authority)
        self.sources = {"half": f"{net}.97", "slow": f"{net}.98", "brief": f"{net}.99"}
        self.selector = selectors.DefaultSelector()
        self.open = {"half": 0, "slow": 0, "brief": 0}
        self.made = self.ended = self.failed = 0

    def run(self, seconds: float):
        """Goes on for so long once all the lasting connections stand; tells that they do, and at the end what was made."""
        while self.open["half"] < HALF_OPEN or self.open["slow"] < SLOW_HEADERS:
            self.top_up()
            self.look(0)
        print("standing", flush=True)
        begin = time.monotonic()
        while (passed := time.monotonic() - begin) < seconds:
            while self.made + self.failed < passed * CONNECTIONS_A_SECOND and self.open["brief"] < MOST_AT_ONCE:
                self.connect("brief", (PORTS["a"], CONTROL_PORT)[self.made % 2])
            self.top_up()
            self.look(0.001)
        print(json.dumps({"made": self.made, "ended": self.ended, "failed": self.failed, **self.open}), flush=True)

    def top_up(self):
        if self.open["half"] < HALF_OPEN:
            self.connect("half", PORTS["a"])
        if self.open["slow"] < SLOW_HEADERS:
            self.begin_request()

    def connect(self, kind: str, port: int):
        made = socket.socket()
        made.setblocking(False)
        # Closed with a reset, so that no port is kept from being used again.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        made.bind((self.sources[kind], 0))
        if made.connect_ex((self.host, port)) not in (0, errno.EINPROGRESS):
            self.failed += kind == "brief"
            made.close()
            return
        self.made += kind == "brief"
        self.open[kind] += 1
        self.selector.register(made, selectors.EVENT_WRITE, kind)

    def begin_request(self):
        try:
            plain = socket.create_connection((self.host, PORTS["a"]), timeout=5, source_address=(self.sources["slow"], 0))
            made = self.tls.wrap_socket(plain, server_hostname=self.host)
            made.send(b"GET /livez HTTP/1.1\r\nhost: x\r\nx-slow: ")
        except OSError:
            return
        made.settimeout(0)
        self.open["slow"] += 1
        self.selector.register(made, selectors.EVENT_READ, "slow")

    def look(self, seconds: float):
        """What was connected says its part; what the node has ended is closed."""
        for key, events in self.selector.select(seconds):
            try:
                if events & selectors.EVENT_WRITE:
                    key.fileobj.send(NONSENSE if key.data == "brief" else BEGUN)
                    self.selector.modify(key.fileobj, selectors.EVENT_READ, key.data)
                    continue
                if key.fileobj.recv(4096) and key.data == "slow":
                    continue
            except (ssl.SSLWantReadError, BlockingIOError):
                continue
            except OSError:
                pass
            self.selector.unregister(key.fileobj)
            key.fileobj.close()
            self.open[key.data] -= 1
            self.ended += key.data == "brief"


class Watch(threading.Thread):
    """Reads the metrics of a node until told to stop."""

    def __init__(self, canary: Canary, name: str):
        super().__init__(daemon=True)
        self.line, self.pid = canary.reader(name), canary.nodes[name].pid
        self.go_on, self.looks, self.down, self.silence, self.memory, self.error = True, 0, 0, 0.0, 0.0, None

    def run(self):
        try:
            while self.go_on:
                text = self.line.get("/metrics")[1].decode()
                self.down += len(samples(text, "canary_peer_link_up")) - sum(samples(text, "canary_peer_link_up"))
                self.silence = max(self.silence, *samples(text, "canary_peer_silence_seconds"))
                self.memory = max(self.memory, resident_megabytes(self.pid))
                self.looks += 1
                time.sleep(LOOK_EVERY)
        except (OSError, ValueError) as error:
            self.error = error

    def end(self) -> "Watch":
        self.go_on = False
        self.join(10)
        self.line.close()
        if self.error or not self.looks:
            raise self.error or ValueError("the metrics were never read")
        return self


def samples(text: str, name: str) -> "list[float]":
    return [float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name + "{")]


def phase(canary: Canary, url: str, script, seconds: int) -> "tuple[int, float, Watch, Watch]":
    """The p99 in microseconds of a connection that lasts and of one that is new each time, and what was seen meanwhile."""
    watches = [Watch(canary, name) for name in ("a", "b")]
    for watch in watches:
        watch.start()
    lasting: dict = {}
    load = threading.Thread(target=lambda: lasting.update(wrk(url, script, seconds, threads=1, connections=1)), daemon=True)
    load.start()
    times, due = [], time.perf_counter()
    while load.is_alive():
        begin = time.perf_counter()
        line = canary.reader("a")
        if line.get("/livez")[0] != 200:
            raise ValueError("a good client was not answered")
        times.append(time.perf_counter() - begin)
        line.close()
        due = max(due + FRESH_EVERY, time.perf_counter() - 1)
        time.sleep(max(0.0, due - time.perf_counter()))
    a, b = [watch.end() for watch in watches]
    return lasting["p99"], figures.percentile(times, 0.99) * 1e6, a, b


def flooded(place: Place, canary: Canary, given, url: str, script):
    """The same under the flood, which must have been one."""
    authority = str(canary.certs / "ca.pem")
    command = [sys.executable, __file__, "--flood", canary.addresses["a"], given.net, authority, str(given.seconds + 1)]
    place.children.append(attacker := subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    try:
        if attacker.stdout.readline().strip() != "standing":
            raise ValueError("the flood did not begin")
        found = phase(canary, url, script, given.seconds)
        flood = json.loads(attacker.stdout.readline())
    finally:
        stop(attacker)
    print(f"flood: {flood}", file=sys.stderr)
    if flood["made"] < 0.9 * CONNECTIONS_A_SECOND * given.seconds:
        raise ValueError(f"only {flood['made']} connections in {given.seconds} s: the flood was none")
    return found


def measure(given) -> "list[figures.Figure]":
    require_programs("wrk")
    quiet, busy, memory = [], [], []
    with Place(given.dir) as place:
        canary = Canary(place, given.canary, [f"{given.net}.{last}" for last in (1, 2, 3)])
        canary.start()
        script = place.root / "predict.lua"
        script.write_text(USERS)
        url, pid = f"https://{given.net}.1:{PORTS['a']}/predict", canary.nodes["a"].pid
        wrk(url, script, 1, threads=1, connections=1)
        gc.disable()
        for _ in range(given.rounds):
            quiet.append(phase(canary, url, script, given.seconds))
            busy.append(flooded(place, canary, given, url, script))
            # What the flood left open ends by the node's time limits.
            until("the connections of the flood to be gone", 30, lambda: connections(canary) <= 2, 0.1)
            memory.append(resident_megabytes(pid))
        gc.enable()
        lost = place.log("canary-a.log", 10**9).count("Lost the link") + place.log("canary-b.log", 10**9).count("Lost the link")
    silences = [[max(each[2].silence, each[3].silence) for each in phases] for phases in (busy, quiet)]
    kinds = (("one lasting connection", 0), ("a new connection each time", 1))
    return [
        *(figures.ratio(f"p99, {name}", "µs", [b[at] for b in busy], "quiet", [q[at] for q in quiet]) for name, at in kinds),
        figures.worst("links seen down, or lost by the logs", "", [b[2].down + b[3].down + lost for b in busy], "quiet", None, 0),
        figures.worst("longest silence of a peer", "s", silences[0], "quiet", silences[1], 6),
        figures.worst("most memory", "MB", [b[2].memory for b in busy], "quiet", [q[2].memory for q in quiet]),
        figures.worst("memory after a flood, over that after the first", "MB", [each - memory[0] for each in memory], "", None, 10),
    ]


def connections(canary: Canary) -> float:
    line = canary.reader("a")
    try:
        text = line.get("/metrics")[1].decode()
    finally:
        line.close()
    return next(float(row.rpartition(" ")[2]) for row in text.splitlines() if row.startswith("canary_https_connections "))


def add_options(parser):
    parser.add_argument("--seconds", type=int, default=10, help="length of each phase (default 10)")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--flood"]:
        Flood(*sys.argv[2:5]).run(float(sys.argv[5]))
        sys.exit(0)
    sys.exit(figures.alone(__doc__, add_options, measure))
