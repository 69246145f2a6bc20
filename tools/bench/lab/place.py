"""A directory and a set of child processes that are gone when the script ends, however it ends."""

import argparse
import contextlib
import ctypes
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]
# File systems that keep nothing on a disk: a forced write costs nothing there, so no commit time means anything.
MEMORY_FILE_SYSTEMS = {"tmpfs", "ramfs", "overlay-on-tmpfs"}
PR_SET_PDEATHSIG = 1
CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def options(description: str) -> argparse.ArgumentParser:
    """The options that every script here takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--canary", default=str(REPOSITORY / "target/release/canary"), help="the program to measure")
    parser.add_argument("--net", default="127.26.0", help="the first three bytes of the loopback addresses to use")
    parser.add_argument("--dir", default="/var/tmp", help="where the data of both sides lies: a real disk")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default 5)")
    parser.add_argument("--json", help="also write the figures to this file")
    return parser


class Place:
    """A temporary directory on a disk, and the processes started in it."""

    def __init__(self, parent: str):
        self.children: list[subprocess.Popen] = []
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="canary-bench-", dir=parent))

    def __enter__(self) -> "Place":
        for name in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(name, lambda *_: sys.exit(1))
        return self

    def __exit__(self, _kind, error, _trace):
        for child in self.children:
            stop(child)
        if isinstance(error, Exception):
            kept = tempfile.mkdtemp(prefix="canary-bench-logs-")
            for log in self.root.glob("*.log"):
                shutil.copy(log, kept)
            print(f"the logs of all processes: {kept}", file=sys.stderr)
        shutil.rmtree(self.root, ignore_errors=True)

    def start(self, command: list[str], log: str, space: "int | None" = None, **environment: str) -> subprocess.Popen:
        """Starts `command` with its output in the file `log`, in a network namespace if one is given."""
        with open(self.root / log, "ab") as output:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.root,
                env={**os.environ, **environment},
                preexec_fn=lambda: _prepare(space),
            )
        self.children.append(child)
        return child

    def log(self, name: str, lines: int = 15) -> str:
        """The end of a log, for an error message."""
        text = (self.root / name).read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])


def file_system(path: str) -> str:
    """The type of the file system that holds `path`."""
    done = subprocess.run(["stat", "-f", "-c", "%T", path], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def require_disk(path: str):
    """Ends the script when `path` does not lie on a disk."""
    kind = file_system(path)
    if kind in MEMORY_FILE_SYSTEMS:
        sys.exit(f"error: {path} is on {kind}, where a forced write costs nothing: name a directory on a disk with --dir")


def require_programs(*names: str):
    """Ends the script when a program is missing."""
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        sys.exit(f"error: not installed: {', '.join(missing)} (Debian: etcd-server openssl iproute2 strace nginx-light wrk)")


def stop(child: subprocess.Popen):
    """Ends a process: asks first, then insists."""
    if child.poll() is not None:
        return
    child.send_signal(signal.SIGCONT)
    child.terminate()
    try:
        child.wait(5)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def kill(child: subprocess.Popen):
    """kill -9."""
    child.kill()
    child.wait()


def until(what: str, seconds: float, question, pause: float = 0.005):
    """Asks `question` until it gives something true; an error is a no. Ends the script after `seconds`."""
    deadline = time.monotonic() + seconds
    trouble: "Exception | None" = None
    while time.monotonic() < deadline:
        try:
            if answer := question():
                return answer
            trouble = None
        except (OSError, ValueError, KeyError) as error:
            trouble = error
        time.sleep(pause)
    raise TimeoutError(f"{what}: not within {seconds} s{f' ({trouble})' if trouble else ''}")


@contextlib.contextmanager
def inside(space: "int | None"):
    """Runs the block with this thread in a network namespace; sockets made in it stay there."""
    if space is None:
        yield
        return
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        enter(space)
        yield
    finally:
        enter(home)
        os.close(home)


def enter(space: int):
    """Moves this thread to a network namespace."""
    if _libc.setns(space, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def new_space() -> int:
    """A new network namespace without a name: it is gone when the last process and file in it are."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    if _libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "network namespaces need root")
    space = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    enter(home)
    os.close(home)
    return space


def _prepare(space: "int | None"):
    """In the child, before exec: ends with the script, and sits in its namespace."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if space is not None:
        enter(space)
