"""What happened, in the order of its ends: one JSON object a line in a file, and the same in memory for the checker.

Times are seconds of the monotonic clock since the history began, so that no jump of a wall clock reorders anything. Every
operation has a `start` and an `end`: between the two it took effect, or it did not.
"""

import json
import pathlib
import time


class History:
    """The events of one round. Whoever adds one says its kind; `checker.py` says what each kind means."""

    def __init__(self, path: "pathlib.Path | None", began: "float | None" = None):
        self.path = path
        self.events: list[dict] = []
        self._kinds: set[str] = set()
        self.began = time.monotonic() if began is None else began
        self._file = path.open("w", encoding="utf-8") if path else None

    def now(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.began

    def add(self, kind: str, **fields) -> dict:
        """Adds an event. One without an `end` is an instant, which is now."""
        event = {"kind": kind, **fields}
        event.setdefault("end", self.now())
        event.setdefault("start", event["end"])
        self.events.append(event)
        self._kinds.add(kind)
        if self._file:
            self._file.write(json.dumps(event, separators=(",", ":")) + "\n")
        return event

    def said(self, kind: str) -> bool:
        """Whether there was an event of this kind."""
        return kind in self._kinds

    def close(self):
        """No more comes."""
        if self._file:
            self._file.close()
            self._file = None


def read(path: "str | pathlib.Path") -> "list[dict]":
    """The events in a file; a line that was cut short by a crash of the writer is left out."""
    events = []
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            try:
                events.append(json.loads(line))
            except ValueError:
                if line.endswith("\n"):
                    raise
    return events
