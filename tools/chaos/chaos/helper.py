"""A program of ours that runs beside, takes one line of JSON and answers it with one."""

import json
import os
import pathlib
import subprocess
import sys

# Where these programs find `lab`, as this one does.
BENCH = pathlib.Path(__file__).resolve().parents[2] / "bench"


class Helper:
    """Started in a process of its own, so that a busy workload does not hold it up; ends when its stdin does."""

    def __init__(self, program: str, arguments: "list[str]", descriptors: "list[int]", log):
        self.process = subprocess.Popen(
            [sys.executable, program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            pass_fds=descriptors,
            env={**os.environ, "PYTHONPATH": str(BENCH)},
            text=True,
            bufsize=1,
        )

    def ask(self, order: dict) -> dict:
        """Sends an order and waits for the answer, a millisecond or so."""
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self.heard()

    def heard(self) -> dict:
        """The next line."""
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args[1]} has ended")
        return json.loads(line)

    def stop(self):
        """Ends it and waits for that."""
        self.process.stdin.close()
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
