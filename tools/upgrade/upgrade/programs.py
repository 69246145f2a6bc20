"""The two programs: 0.1.0, built from its commit, and the one of the present tree."""

import dataclasses
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

from lab.place import REPOSITORY

# What was released as 0.1.0.
OLD_COMMIT = "65f2006"
OLD, NEW = "old", "new"
CANNOT_RUN = 2


@dataclasses.dataclass(frozen=True)
class Program:
    """A built `canary`."""

    name: str
    path: str
    version: str
    digest: str

    @classmethod
    def at(cls, name: str, path: pathlib.Path) -> "Program":
        """Looks at a program that is there; ends the script when it is none."""
        if not os.access(path, os.X_OK):
            fail(f"there is no program at {path}")
        done = subprocess.run([str(path), "--version"], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            fail(f"{path} --version ended with {done.returncode}: {done.stderr.strip()}")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return cls(name, str(path.resolve()), done.stdout.strip(), digest)

    def __str__(self) -> str:
        return f"{self.name}  {self.version}  sha256 {self.digest[:12]}  {self.path}"


def fail(what: str):
    """Ends the script: nothing can be tried."""
    print(f"error: {what}", file=sys.stderr)
    sys.exit(CANNOT_RUN)


def target() -> pathlib.Path:
    """Cargo's directory for what it builds."""
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")).resolve()


def build_old() -> pathlib.Path:
    """Builds 0.1.0 below `target/upgrade/COMMIT/`, once: what is there already is used again."""
    words = ["git", "-C", str(REPOSITORY), "rev-parse", "--verify", "--quiet", f"{OLD_COMMIT}^{{commit}}"]
    found = subprocess.run(words, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        fail(f"the commit {OLD_COMMIT} is not in this repository (a shallow clone?): name a built 0.1.0 with --old")
    commit = found.stdout.strip()
    folder = target() / "upgrade" / commit
    program = folder / "canary"
    if program.exists():
        return program
    print(f"building 0.1.0 ({OLD_COMMIT}) in {folder}; once, some minutes", file=sys.stderr, flush=True)
    tree = folder / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    archive = subprocess.Popen(["git", "-C", str(REPOSITORY), "archive", commit], stdout=subprocess.PIPE)
    unpacked = subprocess.run(["tar", "-x", "-C", str(tree)], stdin=archive.stdout, check=False)
    if archive.wait() != 0 or unpacked.returncode != 0:
        fail(f"the commit {OLD_COMMIT} could not be unpacked into {tree}")
    built = cargo_build(tree, folder / "target")
    # Moved when it is whole, so that an interrupted build is not taken for one.
    shutil.copy2(built, folder / "canary.part")
    (folder / "canary.part").rename(program)
    shutil.rmtree(tree)
    shutil.rmtree(folder / "target")
    return program


def build_new() -> pathlib.Path:
    """Builds the present tree."""
    return cargo_build(REPOSITORY, target())


def cargo_build(tree: pathlib.Path, into: pathlib.Path) -> pathlib.Path:
    """`cargo build --release`; the program."""
    words = ["cargo", "build", "--release", "--locked"]
    done = subprocess.run(words, cwd=tree, env={**os.environ, "CARGO_TARGET_DIR": str(into)}, check=False)
    if done.returncode != 0:
        fail(f"{' '.join(words)} in {tree} ended with {done.returncode}")
    return into / "release" / "canary"
