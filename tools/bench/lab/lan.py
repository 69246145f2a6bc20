"""A small network: one namespace a machine, joined by a wire in user space that can delay every packet.

Many kernels lack netem, and a delaying TCP proxy would hide the nodes' addresses from one another, which canary
refuses. So each machine gets a TUN device in a namespace of its own, and `lan.py`, run as a program, carries whole IP
packets from one to the other, as they are, after a delay that can be changed while it runs. Nothing of it can be reached
from the machine's own network, and all of it is gone when the wire's process is.
"""

import collections
import ctypes
import json
import os
import select
import struct
import subprocess
import sys
import time

if __name__ == "__main__":
    from tun import packets
else:
    from .place import Place, inside, new_space
    from .tun import DEVICE, open_tap

# Addresses set apart for documentation (RFC 5737): no one's network, and only inside the namespaces.
MACHINES = ("192.0.2.10", "192.0.2.20", "192.0.2.30")
# Packets that may be under way; a benchmark has a few dozen. More are dropped, as a real queue does.
UNDER_WAY = 10_000
PR_SET_TIMERSLACK = 29


class Lan:
    """Three machines on one wire."""

    def __init__(self, place: "Place"):
        self.spaces = [new_space() for _ in MACHINES]
        for space in self.spaces:
            # Without IPv6 no router solicitations of the kernel are counted as if they were the nodes'.
            with inside(space):
                forbid_ipv6()
        taps = []
        for space in self.spaces:
            with inside(space):
                taps.append(open_tap())
        for address, space in zip(MACHINES, self.spaces):
            for words in ("link set lo up", f"addr add {address}/24 dev {DEVICE}", f"link set {DEVICE} mtu 1500 up"):
                with inside(space):
                    subprocess.run(["ip", *words.split()], check=True)
        ours, control = os.pipe()
        pairs = [f"{address}={tap}" for address, tap in zip(MACHINES, taps)]
        command = [sys.executable, __file__, str(ours), *pairs]
        self.wire = subprocess.Popen(command, pass_fds=[ours, *taps], stdin=subprocess.DEVNULL)
        place.children.append(self.wire)
        self.control = control
        for descriptor in (ours, *taps):
            os.close(descriptor)

    def delay(self, milliseconds: float):
        """From now on each packet takes this long to the other machine: half a round trip."""
        os.write(self.control, struct.pack("d", milliseconds / 1e3))

    def sent(self) -> "list[tuple[int, int]]":
        """Bytes and packets that each machine has sent over the wire: IP packets, headers included."""
        counts = []
        for space in self.spaces:
            with inside(space):
                done = subprocess.run(["ip", "-s", "-j", "link", "show", DEVICE], check=True, capture_output=True)
            sent = json.loads(done.stdout)[0]["stats64"]["tx"]
            counts.append((sent["bytes"], sent["packets"]))
        return counts


def carry(control: int, taps: "dict[bytes, int]"):
    """The wire: takes packets from each tap and gives them to the one of their destination when their time has come.
    Ends when the control pipe closes, which it does with the script."""
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)
    delay, under_way = 0.0, collections.deque()
    while True:
        wait = max(0.0, under_way[0][0] - time.monotonic()) if under_way else None
        ready, _, _ = select.select([control, *taps.values()], [], [], wait)
        for source in ready:
            if source == control:
                message = os.read(control, 8)
                if len(message) < 8:
                    return
                delay = struct.unpack("d", message)[0]
            else:
                for packet in packets(source):
                    if len(under_way) < UNDER_WAY:
                        under_way.append((time.monotonic() + delay, packet))
        now = time.monotonic()
        while under_way and under_way[0][0] <= now:
            packet = under_way.popleft()[1]
            if (out := taps.get(packet[16:20])) is not None:
                os.write(out, packet)


def forbid_ipv6():
    """No IPv6 in the namespace of this thread, its devices yet to come included."""
    with open("/proc/sys/net/ipv6/conf/all/disable_ipv6", "w", encoding="ascii") as file:
        file.write("1")


if __name__ == "__main__":
    ends = dict(pair.split("=") for pair in sys.argv[2:])
    carry(int(sys.argv[1]), {bytes(map(int, address.split("."))): int(tap) for address, tap in ends.items()})
