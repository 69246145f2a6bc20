"""The command line."""

import argparse
import asyncio
import os
import pathlib
import re
import sys
import tempfile
import time
import unittest

from lab.place import REPOSITORY

from . import history, remote, report, schedule, validity
from .chaos import Run
from .checker import check
from .place import Place
from .soak import Soak
from .soak import report as show_soak

UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}
USAGE = 2


def span(text: str) -> float:
    """Seconds of `90`, `60s`, `10m` or `3h`."""
    matched = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if not matched:
        raise argparse.ArgumentTypeError(f"{text} is no time such as 60s, 10m or 3h")
    return float(matched[1]) * UNITS[matched[2]]


def newest_program() -> "str | None":
    """The program that was built last."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    built = [path for path in (target / "release/canary", target / "debug/canary") if os.access(path, os.X_OK)]
    return str(max(built, key=lambda path: path.stat().st_mtime)) if built else None


def parser() -> argparse.ArgumentParser:
    """All modes and their options."""
    made = argparse.ArgumentParser(prog="tools/chaos/run", description=sys.modules[__package__].__doc__)
    modes = made.add_subparsers(dest="mode", metavar="MODE")
    faults = modes.add_parser("faults", help="faults on three nodes of this machine (this is the default mode)")
    soak = modes.add_parser("soak", help="no faults: a rollout every ten seconds, and what the nodes take of the machine")
    watch = modes.add_parser("watch", help="operators and clients against running nodes (PEERS_NODE_*), while you do the faults")
    judge = modes.add_parser("check", help="judge the history that a run has kept")
    modes.add_parser("self-test", help="whether the checker finds what it must, in known-bad histories")
    for mode, seconds in ((faults, "60s"), (soak, "1h"), (watch, "10m")):
        mode.add_argument("--for", dest="seconds", type=span, default=span(seconds), help=f"how long, such as 60s or 3h (default {seconds})")
        mode.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000, help="of all that is drawn; every run prints it")
    for mode in (faults, soak):
        mode.add_argument("--canary", default=newest_program(), help="the program (default: the one in target/ that was built last)")
        mode.add_argument("--dir", help="where the directory of the run is made (default: the usual one for temporary files)")
        mode.add_argument("--keep", action="store_true", help="keep that directory also when every promise held")
    faults.add_argument("--whole", action="store_true", help="do nothing where this machine cannot do every kind of fault")
    watch.add_argument("--certs", type=pathlib.Path, default=pathlib.Path("certs"), help="ca.pem and the operator's folder (default ./certs)")
    watch.add_argument("--operator", default="admin", help="whose certificate is used (default admin)")
    watch.add_argument("--model", required=True, help="the canary whose weight is changed; it serves nobody else meanwhile")
    judge.add_argument("file", help="history-N.jsonl")
    return made


def main() -> int:
    """Gives the exit code: 0 held, 1 violated, 2 the command line, 3 too little happened to say."""
    words = sys.argv[1:]
    if not words or words[0].startswith("-") and words[0] not in ("-h", "--help"):
        words.insert(0, "faults")
    given = parser().parse_args(words)
    if given.mode == "self-test":
        tests = unittest.defaultTestLoader.discover(str(pathlib.Path(__file__).parent / "tests"), top_level_dir=str(pathlib.Path(__file__).parents[1]))
        return 0 if unittest.TextTestRunner(verbosity=0).run(tests).wasSuccessful() else 1
    if given.mode == "check":
        events = history.read(given.file)
        seen = {event["fault"] for event in events if event["kind"] == "fault"}
        kinds = [kind for kind in schedule.kinds({}) if kind in seen]
        return report.show(validity.look(events, kinds), check(events), {}, max(event["end"] for event in events))
    print(f"seed {given.seed}", flush=True)
    if given.mode == "watch":
        path = pathlib.Path(tempfile.mkdtemp(prefix="canary-chaos-")) / "history-1.jsonl"
        print(f"history: {path}", flush=True)
        return remote.run(given.certs, given.operator, given.model, given.seconds, given.seed, path)
    return _run_here(given)


def _run_here(given) -> int:
    if given.canary is None or not os.access(given.canary, os.X_OK):
        print("error: no canary program: cargo build, or name one with --canary", file=sys.stderr)
        return USAGE
    program = str(pathlib.Path(given.canary).resolve())
    print(f"program {program}", flush=True)
    with Place(program, given.seed, given.keep, given.dir) as place:
        if given.mode == "faults" and given.whole and place.left_out:
            for kind, why in place.left_out.items():
                print(f"error: no fault of the kind {kind} can be made: {why}", file=sys.stderr)
            return USAGE
        if given.mode == "soak":
            soak = Soak(place, given.seconds, given.seed, place.root / "samples.jsonl")
            asyncio.run(soak.run())
            code = report.HELD if show_soak(soak) else report.VIOLATED
        else:
            code = Run(place, given.seconds, given.seed).run()
        place.keep |= code != 0
        return code


if __name__ == "__main__":
    sys.exit(main())
