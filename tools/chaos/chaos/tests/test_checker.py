"""A checker that finds nothing proves nothing: each promise is broken here in each way that it can be, and must be found."""

import unittest

from ..checker import PROMISES, check
from . import histories as h


def broken(events) -> "set[str]":
    """The first words of the promises that a history breaks."""
    return {finding.promise.split(":")[0] for finding in check(events) if finding.violations}


def name(word: str) -> str:
    """The first words of the promise that begins so."""
    return next(promise.split(":")[0] for promise, _ in PROMISES if promise.startswith(word))


class Good(unittest.TestCase):
    def test_nothing_is_found_where_all_holds(self):
        found = [violation for finding in check(h.good()) for violation in finding.violations]
        self.assertEqual(found, [])

    def test_every_promise_looks_at_something(self):
        idle = [finding.promise for finding in check(h.good()) if finding.looked_at == 0 and not finding.promise.startswith("processes")]
        self.assertEqual(idle, [])


class Bad(unittest.TestCase):
    """Each adds to the good history the least that breaks one promise."""

    def breaks(self, word: str, *events, without=lambda event: False, others=()):
        history = [event for event in h.good() if not without(event)] + list(events)
        self.assertEqual(broken(history), {name(word), *map(name, others)})

    def test_two_transactions_at_one_version(self):
        self.breaks("agreement", h.read("b", 4.05, 2, 0, txid="other"), others=["no dirty"])

    def test_two_transactions_on_two_disks(self):
        self.breaks("agreement", {"kind": "decided", "node": "c", "start": 5, "end": 5, "commits": {"2": "other"}, "aborts": []})

    def test_two_digests_at_one_version(self):
        self.breaks("agreement", h.read("b", 4.05, 2, 0, digest="other"))

    def test_one_transaction_at_two_versions(self):
        self.breaks("agreement", {"kind": "decided", "node": "c", "start": 5, "end": 5, "commits": {"7": "t2"}, "aborts": []})

    def test_another_transaction_than_in_an_earlier_round(self):
        known = {"kind": "known", "start": 0, "end": 0, "states": {"2": {**h.agreed(2, 0), "txid": "other"}}}
        self.breaks("agreement", known)

    def test_a_told_commit_is_gone(self):
        self.breaks("durability", h.told(39.95, 4, 0))

    def test_a_told_commit_is_another_transaction_at_the_end(self):
        self.breaks("durability", h.told(34.0, 3, 0, txid="other"), others=["agreement"])

    def test_nobody_was_asked_at_the_end(self):
        self.breaks("durability", without=lambda event: event["kind"] == "final")

    def test_a_told_abort_is_on_a_disk(self):
        self.breaks("stability", {"kind": "decided", "node": "b", "start": 5, "end": 5, "commits": {"9": "x1"}, "aborts": []})

    def test_a_weight_that_was_refused_is_agreed(self):
        refused = {**h.told(0.9, 1, 0.5), "outcome": "refused", "points": 5_000, "txid": None, "code": "stopping"}
        self.breaks("stability", refused)

    def test_a_refused_weight_may_be_that_of_an_earlier_round(self):
        known = {"kind": "known", "start": 0, "end": 0, "states": {"0": {**h.agreed(0, 0.3)}}}
        refused = {**h.told(0.9, 1, 0.3), "outcome": "refused", "points": 3_000, "txid": None, "code": "busy"}
        self.assertEqual(broken(h.good() + [known, refused]), set())

    def test_a_confirmed_version_goes_back(self):
        self.breaks("monotony", h.read("b", 5.06, 1, 0, serving={"v1": 1.0}))

    def test_a_request_is_answered_by_an_older_version(self):
        self.breaks("monotony", h.answer("b", 5.05, 1, "v1", h.OUTSIDE))

    def test_a_restarted_node_may_answer_by_what_it_had_on_disk(self):
        history = h.good() + [h.life("b", 5.0, "killed"), h.life("b", 5.2, "ready"), h.answer("b", 5.25, 1, "v1", h.OUTSIDE)]
        self.assertEqual(broken(history), set())

    def test_a_state_that_nobody_decided_is_shown(self):
        self.breaks("no dirty", h.read("b", 39.0, 7, 0), others=["monotony"])

    def test_a_version_that_nobody_knows_answers(self):
        self.breaks("no dirty", h.answer("b", 39.0, 8, "v1", h.OUTSIDE))

    def test_canary_a_lease_after_the_told_rollback(self):
        self.breaks("rollback", h.answer("c", 13.6, 1, "v2", h.INSIDE), others=["right model"])

    def test_canary_shown_a_lease_after_the_told_rollback(self):
        self.breaks("rollback", h.read("c", 13.62, 1, 0.5, isolated=True))

    def test_canary_within_the_lease_is_allowed(self):
        self.assertEqual(broken(h.good() + [h.answer("c", 11.9, 1, "v2", h.INSIDE)]), set())

    def test_canary_by_a_node_that_had_acknowledged(self):
        restart = [h.life("b", 3.05, "killed"), h.life("b", 3.1, "ready")]
        self.breaks("rollback", *restart, h.answer("b", 3.12, 1, "v2", h.INSIDE))

    def test_canary_for_a_key_of_the_stable_model(self):
        self.breaks("right model", h.answer("b", 1.75, 1, "v2", h.OUTSIDE))

    def test_stable_for_a_key_of_the_canary(self):
        self.breaks("right model", h.answer("b", 1.75, 1, "v1", h.INSIDE))

    def test_stable_instead_of_a_canary_that_cannot_be_asked(self):
        self.assertEqual(broken(h.good() + [h.answer("b", 1.75, 1, "v1", h.INSIDE, shielded="v2")]), set())

    def test_canary_by_an_isolated_node(self):
        self.breaks("right model", h.answer("c", 12.55, 1, "v2", h.INSIDE))

    def test_a_model_that_is_neither(self):
        self.breaks("right model", h.answer("b", 1.75, 1, "v3", h.INSIDE))

    def test_another_model_than_the_one_named(self):
        self.breaks("right model", h.answer("b", 1.75, 1, "v1", h.OUTSIDE, by="v2"))

    def test_another_node_than_the_one_asked(self):
        self.breaks("right model", h.answer("b", 1.75, 1, "v1", h.OUTSIDE, by_node="node-c"))

    def test_canary_by_a_drained_node(self):
        drained = {**h.agreed(4, 0.5), "drained": ["node-b"]}
        known = {"kind": "known", "start": 0, "end": 0, "states": {"4": drained}}
        self.breaks("right model", known, h.answer("b", 39.7, 4, "v2", h.INSIDE))

    def test_a_request_without_an_answer(self):
        for failed in ("not_sent", "broken"):
            self.breaks("/predict", {"kind": "predict", "node": "b", "key": "k", "start": 20, "end": 20.1, "failed": failed})

    def test_an_error_of_the_node_itself(self):
        self.breaks("/predict", h.answer("b", 20.0, None, None, h.INSIDE, status=503, by=None))

    def test_an_error_of_the_node_itself_while_it_stops(self):
        stopping = [h.life("b", 20.0, "stopping"), h.life("b", 20.2, "ready")]
        self.breaks("/predict", *stopping, h.answer("b", 20.1, None, None, h.INSIDE, status=503, by=None))

    def test_a_node_says_that_it_has_not_joined_only_until_it_has(self):
        waits = h.answer("b", 20.1, None, None, h.INSIDE, status=503, by=None, error='503 {"code":"not_joined"}')
        self.breaks("/predict", waits)
        starting = [h.life("b", 20.0, "killed"), h.life("b", 20.2, "ready")]
        self.assertEqual(broken(h.good() + [*starting, waits]), set())

    def test_an_error_of_the_model_is_an_answer(self):
        self.assertEqual(broken(h.good() + [h.answer("b", 20.0, 2, "v1", h.INSIDE, status=500)]), set())

    def test_a_node_that_does_not_heal(self):
        late = [event for event in h.good() if not (event["kind"] == "state" and event["node"] == "c" and 15 <= event["start"] < 20.5)]
        self.assertEqual(broken(late), {name("healed")})

    def test_a_node_that_stays_behind(self):
        late = [event for event in h.good() if not (event["kind"] == "state" and event["node"] == "c" and 15 <= event["start"] < 20.5)]
        self.assertEqual(broken(late + [h.read("c", 15 + tick / 10, 1, 0.5, serving={"v1": 1.0}) for tick in range(50)]), {name("healed")})

    def test_what_was_pending_stays_pending(self):
        def held_up(event):
            return event["kind"] == "state" and event["node"] == "b" and 14.5 <= event["start"] < 21

        history = [{**event, "pending": "x9"} if held_up(event) else event for event in h.good()]
        self.assertEqual(broken(history), {name("healed")})

    def test_no_agreement_at_the_end(self):
        self.breaks("healed", {"kind": "quiet", "start": 40, "end": 45, "settled": False, "shown": {}})

    def test_a_coordinator_that_nobody_replaces_in_time(self):
        self.breaks("a lost", without=lambda event: event["kind"] == "change" and event["start"] > 30)
        late = h.told(37.1, 3, 0, ("b", "c"))
        self.breaks("a lost", late, without=lambda event: event["kind"] == "change" and event["start"] > 30)

    def test_a_coordinator_that_stops_and_is_not_replaced_at_once(self):
        slow = h.fault("SIGTERM of the coordinator", 33.0, 34.0, ("b",), takeover=True)
        self.breaks("a lost", slow)

    def test_a_process_that_ends_by_itself(self):
        self.breaks("processes", {"kind": "died", "node": "b", "start": 5, "end": 5, "code": 74})

    def test_an_alarm(self):
        self.breaks("processes", {"kind": "mark", "node": "b", "start": 5, "end": 5, "what": "alarm", "message": "Alarm: …"})

    def test_a_stop_that_is_no_clean_one(self):
        self.breaks("processes", {"kind": "stopped", "node": "b", "start": 5, "end": 7, "code": -9, "by_itself": False})
