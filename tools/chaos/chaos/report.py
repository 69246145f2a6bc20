"""What a round did and what held, for people."""

from .checker import NAMED, Finding
from .validity import Done

HELD, VIOLATED, INVALID = 0, 1, 3


def show(done: Done, findings: "list[Finding]", left_out: dict, seconds: float) -> int:
    """Prints everything; gives the exit code."""
    print(f"{'FAULT':<30}{'HAPPENED':>9}{'HEALED, WORST':>15}")
    healed = next((finding.figures for finding in findings if finding.promise.startswith("healed")), {})
    for kind, (fired, tried) in done.faults.items():
        worst = f"{healed[kind]:.2f} s" if kind in healed else "-"
        print(f"{kind:<30}{fired:>9}{worst:>15}{f'   tried {tried} times' if tried > fired else ''}")
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
    for reason in done.missing:
        print(f"INVALID  {reason}")
    if any(finding.violations for finding in findings):
        print("\nVIOLATED: what must hold did not")
        return VIOLATED
    if done.missing:
        print("\nINVALID: nothing was violated, and too little happened for that to mean anything")
        return INVALID
    print("\nHELD: every promise")
    return HELD


def _figures(finding: Finding) -> str:
    if finding.promise.startswith("healed"):
        worst = max(finding.figures.values(), default=0)
        return f" (worst {worst:.2f} s)"
    if finding.promise.startswith("a lost coordinator"):
        return "".join(f" ({kind} {seconds:.2f} s)" for kind, seconds in finding.figures.items())
    return "".join(f" ({count:.0f} {what})" for what, count in finding.figures.items() if count)
