"""Where a run happens: a directory, the network, the model servers and the nodes, gone when it ends however it ends."""

import os
import pathlib
import shutil
import signal
import sys
import tempfile

from .cluster import Cluster, own_mounts
from .helper import Helper
from .network import NODES, Loopback, Namespaces


class Place:
    """Everything that runs. `left_out` says what this machine cannot do, and why."""

    def __init__(self, program: str, seed: int, keep: bool, parent: "str | None" = None):
        self.keep, self.left_out = keep, {}
        is_root = os.geteuid() == 0
        if is_root:
            own_mounts()
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="canary-chaos-", dir=parent))
        self._log = open(self.root / "helpers.log", "w", encoding="utf-8")
        self.network = self._network(seed, is_root)
        words = [f"{node}={self.network.model_hosts[node]}={self.network.spaces[node] or 0}" for node in NODES]
        spaces = [space for space in self.network.spaces.values() if space is not None]
        self.models = Helper(str(pathlib.Path(__file__).with_name("upstreams.py")), words, spaces, self._log)
        self.models.heard()
        self.cluster = Cluster(self.root, program, self.network, small_disks=is_root)
        if not is_root:
            self.left_out["disk"] = "a small disk for each node needs root"
        if not self.cluster.faketime:
            self.left_out["clock"] = "libfaketime is not installed (Debian: faketime)"
        for name in (signal.SIGTERM, signal.SIGHUP):
            # Whoever starts a long run with nohup has SIGHUP ignored.
            if signal.getsignal(name) != signal.SIG_IGN:
                signal.signal(name, lambda *_: sys.exit(1))

    def _network(self, seed: int, is_root: bool):
        if is_root and os.path.exists("/dev/net/tun"):
            return Namespaces(seed, self._log)
        self.left_out["network"] = "namespaces and a wire between them need root and /dev/net/tun"
        return Loopback()

    def __enter__(self) -> "Place":
        return self

    def __exit__(self, kind, _error, _trace):
        if kind is not None:
            self.keep = True
        if self.keep:
            self.cluster.keep_data()
        self.cluster.stop()
        self.models.stop()
        self.network.stop()
        self._log.close()
        if self.keep:
            print(f"logs, data and history of the run: {self.root}", file=sys.stderr)
        else:
            shutil.rmtree(self.root, ignore_errors=True)
