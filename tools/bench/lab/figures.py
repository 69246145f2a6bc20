"""Figures: medians over rounds, a ratio to something measured in the same run, and what the ratio must reach."""

import dataclasses
import json
import statistics

from .place import options


@dataclasses.dataclass
class Figure:
    """One line of the table."""

    name: str
    unit: str
    ours: float
    against: str
    theirs: "float | None"
    ratio: "float | None"
    spread: str
    judged: float
    judged_unit: str
    must: "float | None"
    aim: "float | None"

    def verdict(self) -> str:
        """Whether the figure is where it must be; nothing for a figure that only informs."""
        if self.must is None:
            return ""
        if self.judged > self.must:
            return "MISSED"
        return "aim" if self.aim is not None and self.judged <= self.aim else "ok"


def ratio(name, unit, ours, against, theirs, must=None, aim=None) -> Figure:
    """A figure judged by the ratio of ours to theirs: the median of the rounds' ratios."""
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    middle = statistics.median(ratios)
    spread = f"{min(ratios):.2f}–{max(ratios):.2f}"
    other = statistics.median(theirs)
    return Figure(name, unit, statistics.median(ours), against, other, middle, spread, middle, "", must, aim)


def value(name, unit, ours, against, theirs, must=None, aim=None) -> Figure:
    """A figure judged by its own value: the median over the rounds; the ratio only informs."""
    middle = statistics.median(ours)
    other = statistics.median(theirs) if theirs else None
    share = middle / other if other else None
    spread = f"{number(min(ours))}–{number(max(ours))} {unit}"
    return Figure(name, unit, middle, against, other, share, spread, middle, f" {unit}", must, aim)


def worst(name, unit, ours, against, theirs, must=None, aim=None) -> Figure:
    """A figure that must hold each time: judged by the largest value."""
    figure = value(name, unit, ours, against, theirs, must, aim)
    figure.judged = max(ours)
    return figure


def percentile(samples, share: float) -> float:
    """The sample below which `share` of all lie."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def number(amount: "float | None") -> str:
    """Three digits that matter."""
    if amount is None:
        return ""
    if amount >= 100 or amount == int(amount):
        return f"{amount:.0f}"
    return f"{amount:.2f}" if amount >= 1 else f"{amount:.3f}"


def table(figures: "list[Figure]") -> str:
    """All figures in aligned columns."""
    rows = [("figure", "canary", "against", "its", "ratio", "rounds", "must", "aim", "")]
    for figure in figures:
        rows.append(
            (
                figure.name,
                f"{number(figure.ours)} {figure.unit}",
                figure.against,
                f"{number(figure.theirs)} {figure.unit}" if figure.theirs is not None else "",
                number(figure.ratio),
                figure.spread,
                f"≤ {number(figure.must)}{figure.judged_unit}" if figure.must is not None else "",
                f"{number(figure.aim)}{figure.judged_unit}" if figure.aim is not None else "",
                figure.verdict(),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("─" * width for width in widths), *lines[1:]])


def finish(figures: "list[Figure]", path: "str | None") -> int:
    """Prints the table, writes the file if one is asked for, and gives the exit code: 1 when a figure is missed."""
    print(table(figures))
    if path:
        rows = [{**dataclasses.asdict(figure), "verdict": figure.verdict()} for figure in figures]
        with open(path, "w", encoding="utf-8") as file:
            json.dump(rows, file, ensure_ascii=False, indent=1)
    return 1 if any(figure.verdict() == "MISSED" for figure in figures) else 0


def alone(description: str, add_options, measure) -> int:
    """Runs one benchmark by itself, as its command line says; the exit code."""
    parser = options(description)
    add_options(parser)
    given = parser.parse_args()
    return finish(measure(given), given.json)
