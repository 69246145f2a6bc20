"""Three nodes on loopback addresses, each of which runs one program or the other on the same certificates and data."""

import json
import pathlib
import subprocess

from chaos.cluster import Cluster
from chaos.network import NODES, Loopback

from .models import MODELS
from .programs import OLD, Program

# The end of a log, for the message about a node that has ended.
LOG_LINES = 6


class Addresses(Loopback):
    """Three addresses of this machine; model servers are on the node's own."""

    def __init__(self, net: str):
        self.addresses = {node: f"{net}.{last}" for last, node in enumerate(NODES, 11)}
        self.model_hosts = self.addresses


class Mesh(Cluster):
    """The machines' folders, and on each machine the program that it runs now."""

    models = MODELS
    # Nothing here tries a slow model: a machine under load must not look like one.
    upstream_timeout = "10s"

    def __init__(self, root: pathlib.Path, programs: "dict[str, Program]", net: str):
        self.programs = programs
        self.runs = dict.fromkeys(NODES, OLD)
        # The certificates are those that the old program makes: whoever upgrades has them.
        super().__init__(root, programs[OLD].path, Addresses(net), small_disks=False)
        # Nothing here tries clocks.
        self.faketime = None
        self.pki("operator", "alice")

    def start_with(self, node: str, which: str, *arguments: str):
        """Starts a node with the old or the new program, with the data it has."""
        self.runs[node] = which
        self.start(node, *arguments, program=self.programs[which].path)

    def typed(self, which: str, *words: str) -> subprocess.CompletedProcess:
        """A command of the old or the new program, where the operators' certificates are."""
        return self.command(*words, program=self.programs[which].path)

    def written(self, plan: dict) -> str:
        """The file of a rollout's plan."""
        path = self.root / "plan.json"
        path.write_text(json.dumps(plan), encoding="utf-8")
        return str(path)

    def last_words(self, node: str) -> str:
        """The end of a node's log."""
        path = self.log(node)
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        return "\n    ".join(lines[-LOG_LINES:])

    def is_mixed(self) -> bool:
        """Whether both programs run."""
        return len(set(self.runs.values())) == 2
