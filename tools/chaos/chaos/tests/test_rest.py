"""Where keys belong, whether a run is valid, and what a history keeps."""

import pathlib
import tempfile
import unittest

from .. import history, pick, validity
from . import histories as h


class Pick(unittest.TestCase):
    def test_published_vectors_hold(self):
        self.assertEqual(pick.murmur3(b""), 0)
        self.assertEqual(pick.murmur3(b"test"), 0xBA6BD213)
        self.assertEqual(pick.murmur3(b"Hello, world!"), 0xC0363E43)
        self.assertEqual(pick.murmur3(b"The quick brown fox jumps over the lazy dog"), 0x2E4FF723)

    def test_keys_land_where_the_nodes_put_them(self):
        places = {key: pick.bucket("rollout-1", key) for key in ("alice", "bob", "user-1", "user-42")}
        self.assertEqual(places, {"alice": 8249, "bob": 6910, "user-1": 9345, "user-42": 3407})


class Validity(unittest.TestCase):
    def test_a_run_in_which_little_happened_is_not_valid(self):
        missing = " ".join(validity.look(h.good(), ["isolated, both ways", "clock jump"]).missing)
        for words in ("“clock jump”", "2 faults", "operations", "requests", "changes aborted", "answers of a canary"):
            self.assertIn(words, missing)

    def test_a_fault_without_an_effect_did_not_happen(self):
        kind = "isolated, both ways"
        events = [{**event, "effect": None} if event.get("fault") == kind else event for event in h.good()]
        self.assertIn(f"“{kind}” happened", " ".join(validity.look(events, [kind]).missing))
        later = {"kind": "effect", "id": 2_000, "effect": {"yes": True}, "start": 16, "end": 16}
        self.assertNotIn(kind, " ".join(validity.look([*events, later], [kind]).missing))

    def test_an_isolation_without_a_canary_tries_nothing(self):
        events = [{**event, "canary_at_begin": False} if event["kind"] == "fault" else event for event in h.good()]
        self.assertIn("served no canary", " ".join(validity.look(events, []).missing))

    def test_a_run_with_enough_is_valid(self):
        events = h.good()
        events += [h.fault("isolated, both ways", 100 + n, 100.5 + n) for n in range(25)]
        events += [h.told(200 + n, 100 + n, 0.5) for n in range(200)]
        events += [{**h.told(500 + n, 900, 0.5), "outcome": "aborted", "txid": f"x{n}"} for n in range(3)]
        events += [h.answer("a", 500 + n, 1, "v2", h.INSIDE) for n in range(1_000)]
        self.assertEqual(validity.look(events, ["isolated, both ways"]).missing, [])


class File(unittest.TestCase):
    def test_what_was_added_is_read(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "history.jsonl"
            written = history.History(path)
            written.add("life", node="a", what="killed")
            written.close()
            with path.open("a", encoding="utf-8") as file:
                file.write('{"kind":"cut sh')
            self.assertEqual(history.read(path), written.events)
