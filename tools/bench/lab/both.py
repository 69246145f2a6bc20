"""Both clusters side by side on loopback, and the timing of one block of requests."""

import contextlib
import gc
import time

from .canary import Canary
from .etcd import Etcd
from .place import Place, require_disk, require_programs


@contextlib.contextmanager
def clusters(options):
    """Canary on addresses .1 to .3 and etcd on the same ones, their data side by side on one disk."""
    require_programs("etcd", "openssl")
    require_disk(options.dir)
    addresses = [f"{options.net}.{last}" for last in (1, 2, 3)]
    with Place(options.dir) as place:
        canary, etcd = Canary(place, options.canary, addresses), Etcd(place, addresses)
        canary.start()
        etcd.start()
        yield canary, etcd


def timed(count: int, prepare, act, pause=None) -> "list[float]":
    """Milliseconds that each of `count` calls of `act` took; what `prepare` makes for it is not counted."""
    times = []
    gc.disable()
    try:
        for _ in range(count):
            if pause:
                time.sleep(pause())
            request = prepare()
            begin = time.perf_counter()
            act(request)
            times.append((time.perf_counter() - begin) * 1e3)
    finally:
        gc.enable()
    return times


def rotated(contestants: list, turn: int) -> list:
    """The contestants in another order each round, so that none always runs after the same one."""
    turn %= len(contestants)
    return contestants[turn:] + contestants[:turn]
