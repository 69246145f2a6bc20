"""The command line, and the run of the stories."""

import argparse
import asyncio
import pathlib
import shutil
import signal
import sys
import tempfile
import time
import unittest

from chaos.checker import Finding

from . import judge, programs, report, spoils
from .looks import AFTER_EACH_PHASE, looks_remembered
from .mesh import Mesh
from .phases import STORIES
from .programs import NEW, OLD, Program
from .story import HAPPENS, Story, Wrong

HELD, VIOLATED = 0, 1
# A story that takes longer has come to a stop somewhere. On a quiet machine the good one takes 47 s and the bad one 28.
STORY_SECONDS = {"good": 145.0, "bad": 85.0}
TITLES = {
    "good": "A good canary: upgraded, taken back, upgraded",
    "bad": "A bad canary: rolled back twice while both programs run",
}


def parser() -> argparse.ArgumentParser:
    """All options."""
    made = argparse.ArgumentParser(prog="tools/upgrade/run", description=sys.modules[__package__].__doc__)
    self_test = "instead: whether the judge finds what it must, in known-bad histories"
    made.add_argument("mode", nargs="?", choices=("self-test",), help=self_test)
    binary = {"type": pathlib.Path, "metavar": "BINARY"}
    made.add_argument("--old", **binary, help="the program to upgrade from (default: 0.1.0, built from its commit)")
    made.add_argument("--new", **binary, help="the program to upgrade to (default: the present tree, built)")
    made.add_argument("--only", choices=tuple(STORIES), help="only this story")
    made.add_argument("--net", default="127.79.0", help="the first three bytes of the loopback addresses to use (default 127.79.0)")
    made.add_argument("--dir", help="where the directory of the run is made (default: the usual one for temporary files)")
    made.add_argument("--keep", action="store_true", help="keep that directory also when every promise held")
    made.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000, help="of what the clients draw; every run prints it")
    kinds = "; ".join(f"{kind}: {what}" for kind, what in spoils.KINDS.items())
    made.add_argument("--spoil", choices=tuple(spoils.KINDS), default="", help=f"break a promise, to see this fail: {kinds}")
    return made


def main() -> int:
    """Gives the exit code: 0 held, 1 violated, 2 it could not run."""
    given = parser().parse_args()
    if given.mode == "self-test":
        here = pathlib.Path(__file__).parent
        tests = unittest.defaultTestLoader.discover(str(here / "tests"), top_level_dir=str(here.parent))
        return HELD if unittest.TextTestRunner(verbosity=0).run(tests).wasSuccessful() else VIOLATED
    old = Program.at(OLD, given.old or programs.build_old())
    new = Program.at(NEW, given.new or programs.build_new())
    print(f"{old}\n{new}\nseed {given.seed}", flush=True)
    if old.digest == new.digest:
        print("note: both are the same program, so that this tries restarts and no upgrade")
    for name in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(name) != signal.SIG_IGN:
            signal.signal(name, lambda *_: sys.exit(1))
    root = pathlib.Path(tempfile.mkdtemp(prefix="canary-upgrade-", dir=given.dir))
    is_kept = given.keep
    began = time.monotonic()
    try:
        held = [tell(kind, {OLD: old, NEW: new}, root / kind, given) for kind in ([given.only] if given.only else STORIES)]
        is_kept |= not all(held)
    except Exception:
        is_kept = True
        raise
    finally:
        if is_kept:
            print(f"certificates, logs, data and histories of the run: {root}", file=sys.stderr)
        else:
            shutil.rmtree(root, ignore_errors=True)
    verdict = "HELD: every promise" if all(held) else "VIOLATED: what must hold did not"
    print(f"\n{verdict}, in {time.monotonic() - began:.0f} s", flush=True)
    return HELD if all(held) else VIOLATED


def tell(kind: str, built: "dict[str, Program]", root: pathlib.Path, given) -> bool:
    """One story on a mesh of its own; whether every promise held."""
    root.mkdir()
    print(f"\n{TITLES[kind]}\n\n{report.HEAD}", flush=True)
    story = asyncio.run(run(kind, Mesh(root, built, given.net), given))
    found = judged(story)
    print(f"\n{report.nodes(story)}\n\n{report.rollouts(story.history.events)}\n{report.totals(story)}")
    for seconds in story.rollback_seconds:
        print(f"{seconds:.2f} s from when the canary turned bad until no node served it and that was decided")
    for note in story.notes:
        print(note)
    print()
    print("\n".join(report.findings(found)), flush=True)
    return not any(finding.violations for finding in found)


async def run(kind: str, mesh: Mesh, given) -> Story:
    """Tells a story until its end, or until it cannot go on."""
    story = Story(mesh, mesh.root / "history.jsonl", given.seed, given.spoil)
    try:
        try:
            await asyncio.wait_for(phases(story, kind), STORY_SECONDS[kind])
        except Wrong as error:
            story.looked(HAPPENS, False, str(error))
        except asyncio.TimeoutError:
            story.looked(HAPPENS, False, f"the story is not over after {STORY_SECONDS[kind]:.0f} s")
        if story.is_whole():
            # It ended early: what was decided says why.
            await looks_remembered(story)
            await story.read_final()
    finally:
        await story.end()
    return story


async def phases(story: Story, kind: str):
    """Every phase of a story, what is looked at after it, and its line."""
    for title, phase in STORIES[kind]:
        begin, step = story.history.now(), story.step()
        try:
            await phase(story)
            if story.alive:
                for look in AFTER_EACH_PHASE:
                    await look(story)
        finally:
            print(report.phase_line(story, title, begin, step), flush=True)


def judged(story: Story) -> "list[Finding]":
    """Everything that was looked at, on the way and at the end. A story in which nothing was seen proves nothing."""
    found = [*judge.judge(story.history.events), *story.findings.values()]
    for finding in found:
        if not finding.looked_at and finding.promise in (judge.ANSWERED, judge.STEPS, *story.findings):
            finding.violated("there was nothing to judge it by")
    return found


if __name__ == "__main__":
    sys.exit(main())
