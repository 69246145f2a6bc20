"""A small history in which everything holds, and ways to spoil it."""

import unittest

from .. import judge
from ..looks import says_the_same


def request(at: float, **more) -> dict:
    """An answer of v1 at node-a."""
    event = {"kind": "predict", "node": "a", "home": "a", "key": None, "asked": at, "start": at, "end": at + 0.02}
    return {**event, "status": 200, "model": "v1", "by": "v1", **more}


def turned(at: float, mode: str) -> dict:
    """The canary's server at node-a turns."""
    return {"kind": "turned", "node": "a", "model": "v2", "mode": mode, "start": at, "end": at}


def line(at: float, version: int, step: int, share: float, **more) -> dict:
    """A node shows a decided version of a rollout."""
    rollout = {"id": "rollout-1", "canary_model_id": "v2", "phase": "Progressing", "outcome": None, "why": None}
    rollout.update(step=step, approvals=[])
    shown = {"version": version, "decision": "COMMIT", "by": "rollout/node-a", "state": {"weights": {"v1": 1 - share, "v2": share}}}
    return {"kind": "line", "node": "a", "line": {**shown, "rollout": {**rollout, **more}}, "start": at, "end": at}


def begun(version: int, what: str) -> dict:
    """An operator hears COMMIT."""
    return {"kind": "change", "outcome": "ok", "what": what, "version": version, "start": 0, "end": 0}


def good() -> "list[dict]":
    """A rollout of three steps."""
    approved = [{"step": 3, "by": ["operator/admin"]}]
    return [
        begun(1, "rollout start v2 --plan plan.json"),
        line(1, 1, 1, 0.1),
        line(2, 2, 2, 0.2),
        line(3, 3, 2, 0.2, approvals=approved),
        line(4, 4, 3, 1.0, approvals=approved),
        line(5, 5, 3, 1.0, approvals=approved, phase="Healthy", outcome="Promoted"),
    ]


ROLLED_BACK = {"phase": "Degraded", "outcome": "RolledBack"}


class Answered(unittest.TestCase):
    def violations(self, *events) -> int:
        return len(judge.answered(list(events)).violations)

    def test_good_answers_are_no_violation(self):
        self.assertEqual(self.violations(request(1), request(2)), 0)

    def test_lost_untaken_and_wrong_ones_are(self):
        lost = {"kind": "predict", "node": "a", "key": None, "asked": 1, "start": 1, "end": 1.1, "failed": "lost"}
        untaken = {**lost, "failed": "untaken"}
        self.assertEqual(self.violations(lost, untaken, request(1, status=500), request(2, status=503, by=None), request(3)), 4)

    def test_the_bad_canary_answers_for_itself_and_for_nothing_else(self):
        error = {"status": 500, "model": "v2", "by": "v2"}
        bad = [turned(1, "bad"), turned(2, "ok")]
        self.assertEqual(self.violations(*bad, request(1.5, **error)), 0)
        self.assertEqual(self.violations(turned(1, "bad"), request(9, **error)), 0)
        self.assertEqual(self.violations(*bad, request(3, **error)), 1)
        self.assertEqual(self.violations(*bad, request(1.5, **{**error, "node": "b"})), 1)
        self.assertEqual(self.violations(*bad, request(1.5, **{**error, "by": None})), 1)
        self.assertEqual(self.violations(*bad, request(1.5, status=500)), 1)


class Steps(unittest.TestCase):
    def violations(self, events) -> str:
        return "; ".join(judge.steps(events).violations)

    def with_line(self, at: int, **more) -> "list[dict]":
        events = good()
        events[at] = line(at, at, **more)
        return events

    def test_a_good_rollout_is_no_violation(self):
        self.assertEqual(self.violations(good()), "")

    def test_what_is_undone_is_found(self):
        approved = [{"step": 3, "by": ["operator/admin"]}]
        for words, events in (
            ("step 1 after 2", self.with_line(3, step=1, share=0.2)),
            ("weight 0.1 after 0.2", self.with_line(3, step=2, share=0.1)),
            ("approval of step 3 by operator/admin is gone", self.with_line(4, step=3, share=1.0)),
            ("paused", self.with_line(3, step=2, share=0.2, phase="Paused")),
            ("is RolledBack", self.with_line(5, step=3, share=0.0, approvals=approved, **ROLLED_BACK)),
            ("is Aborted", self.with_line(5, step=3, share=0.0, approvals=approved, phase="Degraded", outcome="Aborted")),
            ("which nobody began", self.with_line(3, step=2, share=0.2, id="rollout-3")),
            ("Progressing after it had ended", [*good(), line(6, 6, 3, 1.0)]),
        ):
            self.assertIn(words, self.violations(events))

    def test_a_rollout_that_vanishes_is_found(self):
        events = good()
        events[3]["line"]["rollout"] = None
        self.assertIn("no longer in the state", self.violations(events))

    def test_each_bad_time_is_an_excuse_for_one_rollback(self):
        once = [*good()[:3], turned(2.5, "bad"), line(3, 3, 2, 0.0, **ROLLED_BACK), turned(3.5, "ok")]
        again = [begun(4, "rollout retry"), line(4, 4, 1, 0.1)]
        self.assertEqual(self.violations([*once, *again]), "")
        self.assertIn("is RolledBack", self.violations([*once, *again, line(5, 5, 1, 0.0, **ROLLED_BACK)]))
        self.assertIn("after it had ended", self.violations([*once, again[1]]))


class Lines(unittest.TestCase):
    def test_a_program_may_say_more_but_nothing_else(self):
        said = {"weights": {"v1": 1.0}, "drained": []}
        self.assertTrue(says_the_same(said, {**said, "services": {}}))
        self.assertTrue(says_the_same({**said, "services": {}}, said))
        self.assertFalse(says_the_same(said, {**said, "drained": ["node-c"]}))
        self.assertFalse(says_the_same({"state": said}, {"state": {**said, "weights": {"v1": 0.9}}}))
