"""The command line."""

import argparse
import asyncio
import os
import pathlib
import re
import sys
import time

from lab.place import REPOSITORY

UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


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
    """All options."""
    made = argparse.ArgumentParser(prog="tools/chaos/run", description=sys.modules["chaos"].__doc__)
    made.add_argument("mode", nargs="?", default="chaos", choices=("chaos", "soak"), help="what to do (default chaos)")
    made.add_argument("--for", dest="seconds", type=span, help="how long, such as 60s or 3h (default 60s; soak: 1h)")
    made.add_argument("--seed", type=int, help="of all that is drawn; printed by every run")
    made.add_argument("--canary", default=None, help="the program (default: the one in target/ that was built last)")
    made.add_argument("--dir", help="where the directory of the run is made")
    made.add_argument("--keep", action="store_true", help="keep that directory also when all held")
    return made


def main() -> int:
    """Gives the exit code."""
    given = parser().parse_args()
    program = given.canary or newest_program()
    if program is None or not os.access(program, os.X_OK):
        parser().error("no canary program: cargo build, or name one with --canary")
    program = str(pathlib.Path(program).resolve())
    seed = given.seed if given.seed is not None else time.time_ns() % 1_000_000
    from .place import Place

    if given.mode == "soak":
        from .soak import Soak, report

        with Place(program, seed, given.keep, given.dir) as place:
            soak = Soak(place, given.seconds or 3600.0, seed, place.root / "samples.jsonl")
            asyncio.run(soak.run())
            return 0 if report(soak) else 1
    from .chaos import Run

    print(f"seed {seed}, {program}")
    with Place(program, seed, given.keep, given.dir) as place:
        code = Run(place, given.seconds or 60.0, seed).run()
        place.keep |= code != 0
        return code
