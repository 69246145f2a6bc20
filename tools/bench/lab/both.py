"""Both clusters side by side on loopback, and the timing of one block of requests."""

import contextlib
import gc
import json
import time

from .canary import MODEL, Canary
from .clients import Http
from .etcd import Etcd
from .place import Place, require_disk, require_programs, until


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


def split_alike(canary: Canary, address: str, ports: "tuple[int, ...]", per_cent: int) -> "dict[int, list[tuple[str, dict]]]":
    """What each port answers to the same 200 keys: the model that the headers name, and the body. Makes sure that the canary gets its share
    of them at all."""

    def answers(port: int) -> "list[tuple[str, dict]]":
        line = Http(canary.reading, address, port)
        found = []
        for n in range(200):
            status, body = line.call(line.request("POST", f"/predict?key=user-{n}", b'{"key":"user-%d"}' % n))
            assert status == 200, (port, status, body)
            found.append((line.header(b"x-canary-model"), json.loads(body)))
        line.close()
        return found

    found = {port: until(f"answers on port {port}", 10, lambda port=port: answers(port)) for port in ports}
    for port in ports:
        share = sum(model == MODEL for model, _ in found[port]) / len(found[port])
        assert 0.1 < share < 0.3, f"port {port} gave the canary {share:.0%} of the keys, not about {per_cent} %"
    return found
