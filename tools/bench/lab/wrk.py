"""Load by `wrk` on a server, and the processor time that the server takes for it."""

import json
import os
import pathlib
import subprocess

from lab.both import rotated
from lab.place import Place

# A thousand users, one after the other; the summary is one line of JSON.
USERS = """
local requests, at = {}, 0
function init()
  for n = 1, 1000 do
    local body = string.format('{"key":"user-%d","inputs":[0.1,0.2,0.3],"model":"recommender"}', n)
    requests[n] = wrk.format("POST", "/predict?key=user-" .. n, {["content-type"] = "application/json"}, body)
  end
end
function request()
  at = at % 1000 + 1
  return requests[at]
end
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format('SUMMARY {"requests":%d,"micros":%d,"errors":%d,"p50":%d,"p99":%d}\\n', summary.requests, summary.duration,
    errors.status + errors.connect + errors.read + errors.write + errors.timeout, latency:percentile(50), latency:percentile(99)))
end
"""


def add_options(parser):
    """The option of benchmarks whose rounds are loads."""
    parser.add_argument("--seconds", type=int, default=4, help="length of each load (default 4)")


class Contestant:
    """A server under load, and what was measured of it."""

    def __init__(self, name: str, process: subprocess.Popen, address: str, port: int):
        self.name, self.process, self.url = name, process, f"https://{address}:{port}/predict"
        self.between, self.processor, self.middle, self.tail = [], [], [], []

    def load(self, script: pathlib.Path, seconds: int):
        """64 connections on two threads."""
        before = processor_seconds(self.process.pid)
        summary = wrk(self.url, script, seconds, threads=2, connections=64)
        spent = processor_seconds(self.process.pid) - before
        self.between.append(summary["micros"] / summary["requests"])
        self.processor.append(spent * 1e6 / summary["requests"])

    def ask(self, script: pathlib.Path, seconds: int):
        """One connection."""
        summary = wrk(self.url, script, seconds, threads=1, connections=1)
        self.middle.append(summary["p50"])
        self.tail.append(summary["p99"])


def take_turns(place: Place, contestants: "list[Contestant]", rounds: int, seconds: int):
    """Puts all of them under both kinds of load, in another order each round."""
    script = place.root / "predict.lua"
    script.write_text(USERS)
    # The first seconds of any are not like the rest: caches, buffers and processors warm up.
    for contestant in contestants:
        wrk(contestant.url, script, 1, threads=2, connections=64)
    for turn in range(rounds):
        for contestant in rotated(contestants, turn):
            contestant.load(script, seconds)
        for contestant in rotated(contestants, turn):
            contestant.ask(script, seconds)


def wrk(url: str, script: pathlib.Path, seconds: int, threads: int, connections: int) -> dict:
    """One run of wrk; every answer must be a good one."""
    command = ["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "-s", str(script), url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("SUMMARY ")]
    summary = json.loads(lines[0].removeprefix("SUMMARY "))
    if summary["errors"] or not summary["requests"]:
        raise ValueError(f"{url}: {summary}")
    return summary


def processor_seconds(pid: int) -> float:
    """User and system time of a process and its children."""
    ticks = 0
    for one in family(pid):
        fields = pathlib.Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def family(pid: int) -> "list[int]":
    """A process and its children."""
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(int(child) for child in children)]


def resident_megabytes(pid: int) -> float:
    """The resident memory of a process."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1e3
