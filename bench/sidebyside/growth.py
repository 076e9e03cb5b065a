"""What a growth study found: how a cost grows with its cause, in tables, plots and sentences. No measuring here.

A study has points `(x, y)` for one or more series. What it promises is `flat` (y does not depend on x) or `linear` (y is
a constant plus a part in proportion to x). Whatever is neither is named in the report, with its reason or as not explained."""

import dataclasses
import json
import math

from . import plots, report

# A cost that doubles with its cause has an exponent of 1; measurements of the same thing differ by a few per cent.
EXPONENT_MAX = 1.10
UNEXPLAINED = "**Not explained.**"
FLAT_MAX = 1.25  # largest over smallest value that still counts as flat


@dataclasses.dataclass
class Study:
    key: str  # name of the plot's file
    title: str
    x_label: str
    y_label: str
    promise: str  # "flat" or "linear"
    series: dict  # name -> [(x, y), ...]
    sizes: bool = False  # x is a number of bytes
    log_y: bool = True
    note: str = ""
    reason: str = ""  # why it is neither flat nor linear, where that is known

    def plot(self):
        xs = sorted({x for points in self.series.values() for x, _ in points if x > 0})
        shown = {name: [(x, y) for x, y in points if x > 0] for name, points in self.series.items()}
        name = plots.size_name if self.sizes else plots.number
        return plots.lines(
            self.title, self.x_label, self.y_label, shown, log_y=self.log_y, x_ticks=spaced(xs), x_name=name
        )

    def table(self):
        xs = sorted({x for points in self.series.values() for x, _ in points})
        name = plots.size_name if self.sizes else lambda x: f"{x:g}"
        of = {series: dict(points) for series, points in self.series.items()}
        rows = [[name(x)] + [report.number(of[series].get(x), 2) for series in of] for x in xs]
        return report.table([self.x_label] + [f"{series}, {self.y_label}" for series in of], rows)

    def deviations(self):
        """Sentences about what is neither flat nor linear, as promised."""
        judge = {"flat": not_flat, "linear": not_linear}[self.promise]
        return [
            f"{series}: {sentence}" for series, points in self.series.items() for sentence in judge(points, self.sizes)
        ]


def spaced(xs):
    """Not more ticks than can be read, the first and the last among them."""
    wanted = 8
    if len(xs) <= wanted:
        return xs
    step = math.ceil((len(xs) - 1) / (wanted - 1))
    return sorted(set(xs[::step]) | {xs[-1]})


def not_flat(points, sizes=False):
    values = [(y, x) for x, y in points if y]
    if len(values) < 2:
        return []
    (low, at_low), (high, at_high) = min(values), max(values)
    if high <= FLAT_MAX * low:
        return []
    name = plots.size_name if sizes else plots.number
    return [f"not flat: {high:.3g} at {name(at_high)} against {low:.3g} at {name(at_low)}, {high / low:.2f} times"]


def not_linear(points, sizes=False):
    """Steps between neighbours that cost more than in proportion. Below proportion a constant part explains it."""
    name = plots.size_name if sizes else plots.number
    found = []
    points = sorted((x, y) for x, y in points if x > 0 and y and y > 0)
    for (x1, y1), (x2, y2) in zip(points, points[1:]):
        exponent = math.log(y2 / y1) / math.log(x2 / x1)
        if exponent > EXPONENT_MAX:
            found.append(
                f"more than linear from {name(x1)} to {name(x2)}: {y2 / y1:.2f} times the cost for {x2 / x1:.2f} times (exponent {exponent:.2f})"
            )
    return found


def slope(points):
    """Cost for each unit of the cause, from the first to the last point."""
    (x1, y1), (x2, y2) = min(points), max(points)
    return (y2 - y1) / (x2 - x1) if x2 != x1 else None


def write(folder, title, command, facts, runs, studies, absent, cores):
    """The dated folder of a growth study. Returns whether all answers were right."""
    folder.mkdir(parents=True, exist_ok=False)
    with open(folder / "raw.jsonl", "w") as raw:
        for run in runs:
            raw.write(json.dumps(run, separators=(",", ":")) + "\n")
    right, (quiet, quiet_sentence) = all(run["right"] for run in runs), report.quietness(runs)
    unknown = UNEXPLAINED if quiet else f"{UNEXPLAINED} But the machine was not quiet: repeat it first."
    verdict = (
        "All answers were right, every call arrived once."
        if right
        else "**INVALID: wrong, lost or repeated answers; see raw.jsonl.**"
    )
    text = [f"# {title}", "", f"`{command}`", "", verdict, quiet_sentence, ""]
    deviations = [(study, sentence) for study in studies for sentence in study.deviations()]
    text += ["## What is neither flat nor linear", ""]
    text += [f"- {study.title}: {sentence}. {study.reason or unknown}" for study, sentence in deviations] or [
        "Nothing."
    ]
    text += [""]
    for study in studies:
        (folder / f"{study.key}.svg").write_text(study.plot())
        text += [f"## {study.title}", "", study.table(), ""]
        text += [study.note, ""] if study.note else []
        text += [f"![{study.title}]({study.key}.svg)", ""]
    text += ["## What could not be varied", ""] + [f"- {sentence}" for sentence in absent] + [""]
    text += [
        "## How it was measured",
        "",
        HOW.format(proxy=cores.proxy, load=cores.load, mock=cores.mock),
        report.machine_table(facts),
        "",
    ]
    (folder / "README.md").write_text("\n".join(text))
    summary = {"machine": facts, "command": command, "studies": [vars(study) for study in studies]}
    (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    return right


HOW = """\
Closed loop, one gateway at a time on core {proxy}, generator on core {load}, mock server on core {mock}. CPU is that of all
threads of the proxy, from schedstat, per answered request; each point is the median of its rounds. Memory is what is resident in the process once it rests; the
kernel's socket buffers are not in it. *full* is redaction with audit, *off* neither. Flat means that the largest value
is at most {flat} times the smallest; linear, that no step between neighbours grows faster than in proportion (by
an exponent above {exponent}).
""".replace("{flat}", f"{FLAT_MAX:g}").replace("{exponent}", f"{EXPONENT_MAX:g}")
