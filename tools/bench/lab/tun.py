"""TUN devices of a machine that is a namespace: what programs need that carry its packets."""

import fcntl
import os
import struct

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
DEVICE = "wire0"


def open_tap() -> int:
    """A TUN device in the namespace of this thread."""
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
    return tap


def packets(tap: int):
    """All packets that wait on a tap."""
    while True:
        try:
            yield os.read(tap, 65_535)
        except BlockingIOError:
            return
