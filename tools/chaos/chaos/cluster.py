"""Three nodes as an operator runs them: a folder, a certificate and a disk for each machine, real processes, signals."""

import ctypes
import os
import pathlib
import shutil
import signal
import subprocess
import sys

from lab.clients import context
from lab.place import inside, kill

from .clients import Client
from .network import NODES
from .upstreams import MODELS, url

ROLES = {"a": "coordinator", "b": "participant_b", "c": "participant_c"}
PORTS = {"a": 50051, "b": 50052, "c": 50053}
# A canary that has not begun its answer by then is shielded by the stable model.
UPSTREAM_TIMEOUT = "700ms"
# Room for what a node writes in an hour, and small enough to be filled in a moment.
DISK_BYTES = 96 * 1024 * 1024
FAKETIME = ("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1")
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x00020000, 0x4000, 1 << 18
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def own_mounts():
    """From now on what is mounted here is seen by this program and its children only, and gone with them."""
    if _libc.unshare(CLONE_NEWNS) != 0 or _libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) != 0:
        raise OSError(ctypes.get_errno(), "a mount namespace needs root")


def faketime() -> "str | None":
    """The library that lies about the wall clock, if it is installed."""
    return next((path for path in FAKETIME if os.path.exists(path)), None)


class Cluster:
    """The machines' folders and the processes on them."""

    ids = NODES
    models = MODELS
    upstream_timeout = UPSTREAM_TIMEOUT

    def __init__(self, root: pathlib.Path, program: str, network, small_disks: bool):
        self.root, self.program, self.network = root, program, network
        self.nodes: dict[str, subprocess.Popen] = {}
        self.small_disks = small_disks
        self.faketime = faketime()
        self.environment = {f"PEERS_NODE_{node.upper()}": network.addresses[node] for node in NODES}
        self.authority = root / "authority"
        self.pki("init")
        for node in NODES:
            self._make_machine(node)
        authority, operator = self.authority / "ca.pem", self.authority / "operator-admin"
        self.reading = context(authority)
        self.operating = context(authority, operator / "client.pem", operator / "client.key")

    def _make_machine(self, node: str):
        certs = self.machine(node) / "certs"
        certs.mkdir(parents=True)
        (self.machine(node) / "data").mkdir()
        shutil.copy2(self.authority / "ca.pem", certs)
        shutil.copytree(self.authority / f"node-{node}", certs / f"node-{node}")
        self.set_clock(node, "+0")
        if self.small_disks:
            command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(self.machine(node) / "data")]
            subprocess.run(command, check=True)

    def machine(self, node: str) -> pathlib.Path:
        """The working directory of a node."""
        return self.root / f"machine-{node}"

    def data(self, node: str) -> pathlib.Path:
        """The durable state of a node."""
        return self.machine(node) / "data" / f"node-{node}"

    def log(self, node: str) -> pathlib.Path:
        """What a node says, over all its lives."""
        return self.machine(node) / "log"

    def pki(self, *words: str):
        """`canary pki …` where the authority's key is."""
        self.command("pki", *words, check=True)

    def command(self, *words: str, check: bool = False, program: "str | None" = None) -> subprocess.CompletedProcess:
        """What an operator types where the certificates were made."""
        environment = {**clean(), **self.environment, "CANARY_CERTS": str(self.authority)}
        command = [program or self.program, *words]
        done = subprocess.run(command, env=environment, cwd=self.root, capture_output=True, text=True, check=False)
        if check and done.returncode != 0:
            sys.exit(f"error: canary {' '.join(words)} ended with {done.returncode}:\n{done.stderr}")
        return done

    def start(self, node: str, *arguments: str, program: "str | None" = None):
        """Starts a node with the data it has."""
        upstreams = ",".join(f"{model}={url(model, self.network.model_hosts[node])}" for model in self.models)
        options = ("--upstream", upstreams, "--upstream-timeout", self.upstream_timeout)
        command = [program or self.program, "node", ROLES[node], *options, *arguments]
        environment = {**clean(), **self.environment, "CANARY_LOG": "info", "RUST_BACKTRACE": "1"}
        if self.faketime:
            # Only what people read is faked: deadlines and leases are no business of the wall clock.
            environment.update(LD_PRELOAD=self.faketime, FAKETIME_TIMESTAMP_FILE=str(self._clock(node)))
            environment.update(FAKETIME_DONT_FAKE_MONOTONIC="1", FAKETIME_CACHE_DURATION="1")
        space = self.network.spaces[node]
        with open(self.log(node), "ab") as log, inside(space):
            self.nodes[node] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.machine(node),
                env=environment,
                preexec_fn=lambda: _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0),
            )

    def signal(self, node: str, number: signal.Signals):
        """Sends a signal to a node."""
        self.nodes[node].send_signal(number)

    def reload(self, node: str):
        """Tells a node to load its certificates anew."""
        self.signal(node, signal.SIGHUP)

    def kill(self, node: str):
        """kill -9; the process is gone when this returns."""
        kill(self.nodes[node])

    def is_running(self, node: str) -> bool:
        """Whether the process of a node lives, paused or not."""
        return node in self.nodes and self.nodes[node].poll() is None

    def stop(self):
        """Ends all nodes at once."""
        for process in self.nodes.values():
            if process.poll() is None:
                kill(process)
        if self.small_disks:
            for node in NODES:
                subprocess.run(["umount", "--lazy", str(self.machine(node) / "data")], check=False, capture_output=True)

    def keep_data(self):
        """Copies what is on the small disks into the directory that stays."""
        for node in NODES:
            if self.data(node).exists():
                shutil.copytree(self.data(node), self.machine(node) / "data-kept", dirs_exist_ok=True)

    def set_clock(self, node: str, offset: str):
        """Moves the wall clock of a node to now and this many seconds, `+3600`; it takes up to a second to be seen."""
        fresh = self._clock(node).with_suffix(".new")
        fresh.write_text(f"{offset}\n")
        fresh.replace(self._clock(node))

    def _clock(self, node: str) -> pathlib.Path:
        return self.machine(node) / "clock"

    def reader(self, node: str, keep: bool = True) -> Client:
        """Calls a node without a certificate, from its own machine."""
        return Client(self.reading, self.network.addresses[node], PORTS[node], self.network.spaces[node], keep)

    def operator(self, node: str, at: "str | None" = None) -> Client:
        """Calls a node with the operator's certificate, from its own machine or from another's."""
        space = self.network.spaces[at or node]
        # On a connection of its own: who sends a change twice does not know which of the two was decided.
        return Client(self.operating, self.network.addresses[node], PORTS[node], space, keep=False)

    def node_at(self, host: str, port: int) -> str:
        """The node that a redirect names."""
        return next(node for node in NODES if (self.network.addresses[node], PORTS[node]) == (host, port))


def clean() -> "dict[str, str]":
    """This program's environment without anything that means something to a node."""
    return {key: text for key, text in os.environ.items() if not key.startswith(("CANARY_", "PEERS_NODE_"))}
