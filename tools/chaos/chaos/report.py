"""What a round did and what held, for people."""

from .checker import NAMED, Finding
from .validity import Done

HELD, VIOLATED, INVALID = 0, 1, 3


class Totals:
    """The rounds of a run put together."""

    def __init__(self):
        self.done, self.findings, self.rounds = Done({}, {}, {}, 0, []), [], 0

    def add(self, done: Done, findings: "list[Finding]") -> str:
        """Adds a round; one line about it."""
        self.rounds += 1
        mine = self.done
        for kind, (fired, tried) in done.faults.items():
            before = mine.faults.get(kind, (0, 0))
            mine.faults[kind] = (before[0] + fired, before[1] + tried)
        for sum_of, more in ((mine.operations, done.operations), (mine.requests, done.requests)):
            for word, count in more.items():
                sum_of[word] = sum_of.get(word, 0) + count
        mine.canary_answers += done.canary_answers
        mine.missing += [f"round {self.rounds}: {reason}" for reason in done.missing]
        self.findings = self.findings or [Finding(finding.promise) for finding in findings]
        for total, finding in zip(self.findings, findings):
            total.add(finding)
        fired = sum(fired for fired, _ in done.faults.values())
        violations = sum(len(finding.violations) for finding in findings)
        counts = f"{fired} faults, {sum(done.operations.values())} operations, {sum(done.requests.values())} requests"
        return f"round {self.rounds}: {counts}, {violations} violations{'' if not done.missing else '; too little happened'}"


def show(done: Done, findings: "list[Finding]", left_out: dict, seconds: float) -> int:
    """Prints everything; gives the exit code."""
    if done.faults:
        print(f"{'FAULT':<35}{'HAPPENED':>9}{'HEALED, WORST':>15}")
    healed = next((finding.figures for finding in findings if finding.promise.startswith("healed")), {})
    for kind, (fired, tried) in done.faults.items():
        worst = f"{healed[kind]:.2f} s" if kind in healed else "-"
        print(f"{kind:<35}{fired:>9}{worst:>15}{f'   tried {tried} times' if tried > fired else ''}")
    for what, why in left_out.items():
        print(f"left out: {what}: {why}")
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(done.operations.items()))
    print(f"\n{sum(done.operations.values())} operations ({outcomes}), {sum(done.requests.values())} requests, ", end="")
    print(f"{done.canary_answers} of them by a canary, in {seconds:.0f} s\n")
    print(f"{'LOOKED AT':>9}  {'VIOLATIONS':>10}  PROMISE")
    for finding in findings:
        print(f"{finding.looked_at:>9}  {len(finding.violations):>10}  {finding.promise}{_figures(finding)}")
    for finding in findings:
        for violation in finding.violations[:NAMED]:
            print(f"VIOLATED  {finding.promise.split(':')[0]}: {violation}")
    if any(finding.violations for finding in findings):
        print("\nVIOLATED: what must hold did not")
        return VIOLATED
    for reason in done.missing:
        print(f"INVALID  {reason}")
    if done.missing:
        print("\nINVALID: nothing was violated, and too little happened for that to mean anything")
        return INVALID
    unseen = "; ".join(finding.promise.split(":")[0] for finding in findings if not finding.looked_at)
    print("\nHELD: every promise" + (f" but these, for which there was nothing to judge by: {unseen}" if unseen else ""))
    return HELD


def _figures(finding: Finding) -> str:
    if finding.promise.startswith("healed"):
        worst = max(finding.figures.values(), default=0)
        return f" (worst {worst:.2f} s)"
    if finding.promise.startswith("a lost coordinator"):
        return "".join(f" ({kind} {seconds:.2f} s)" for kind, seconds in finding.figures.items())
    return "".join(f" ({count:.0f} {what})" for what, count in finding.figures.items() if count)
