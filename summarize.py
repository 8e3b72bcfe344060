"""Say what came of many runs: a row for every configuration over its seeds, and their learning curves.

    python summarize.py multirun/2026-11-22_12-00-00-000000      # a sweep, finished or not
    python summarize.py outputs/copy                             # any folder with runs somewhere in it

Reads only what every run leaves (results.json, metrics.csv, .hydra/), and puts summary.csv, summary.md and summary.png
into the folder. A sweep does the same at its end.
"""

import csv
import json
import logging
import os
import re
import sys
from bisect import bisect_right
from collections import defaultdict
from dataclasses import asdict, dataclass, fields
from math import prod
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from callbacks.metrics import read_rows, whole
from conf.check import OUTCOME, ConfigError, exit_on_mistake
from conf.resume import chosen

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table

log = logging.getLogger(__name__)

Curve = list[tuple[float, float]]  # sequences seen, what was measured then

LEARNED = 0.1  # wrong bits of a held-out sequence of the training range: below, a task counts as learned
HEADINGS = ("overrides", "finished", "learned", "solved", "seconds", "wrong bits")
MEANING = (
    f"Median (range) over seeds. Learned: after so many sequences, fewer than {LEARNED} bits of a held-out sequence of "
    "the training range were wrong. Solved: no wrong bit at any test length; sequences and seconds of the whole "
    "training. Wrong bits: of a sequence at the longest test length, of finished runs."
)
STYLES = ("-", "--", ":", "-.")
NAMED = 10  # configurations that a picture tells apart; more are grey behind the best of them
BANDED = 4  # so many ranges can be told apart


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a run has left so far."""

    folder: Path
    task: str
    seed: int
    overrides: tuple[str, ...]  # but for the seed
    results: dict[str, Any] | None  # None until it has finished
    outcome: str  # finished, failed: ..., pruned: ..., or unfinished: ...
    curve: Curve  # wrong bits on held-out sequences of the training range

    @property
    def solved(self) -> bool:
        """Whether it ended without a wrong bit at any test length."""
        return self.results is not None and self.results["seconds_to_solution"] is not None

    @property
    def learned(self) -> float | None:
        """The sequences after which fewer than LEARNED bits were wrong, for the first time."""
        return first_below(self.curve, LEARNED)

    def own(self, shared: list[str]) -> list[str]:
        """The overrides that others do not share."""
        return [word for word in self.overrides if word not in shared]

    @property
    def longest(self) -> str | None:
        """Its longest test length."""
        if self.results is None:
            return None
        return str(max(self.results["test"], key=lambda name: prod(map(int, name.split("x")))))


class Spread(NamedTuple):
    """The median of some numbers, and their range."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        middle, low, high = (f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for value in self)
        return middle if low == high else f"{middle} ({low}-{high})"


@dataclass(frozen=True, kw_only=True)
class Row:
    """What came of a configuration over its seeds. A spread over no runs is None."""

    configuration: str
    runs: int
    finished: int
    failed: int
    learned: int
    solved: int
    sequences_to_learn: Spread | None  # of those that learned
    sequences_to_solution: Spread | None  # of the solved: all that they saw
    seconds_to_solution: Spread | None  # of the solved: from the command to the end of training
    longest: str | None  # the longest test length
    wrong_bits: Spread | None  # of the finished: a sequence's mean there


def main() -> None:
    words = sys.argv[1:]
    if not words or {"-h", "--help"} & set(words):
        print(__doc__.strip())
        return
    with exit_on_mistake():
        if len(words) > 1:
            raise ConfigError(f"{words[1]} is one word too many. Give one folder: python summarize.py FOLDER.")
        summarize(Path(words[0]))


def summarize(folder: Path) -> list[Run]:
    """Print a summary of the runs in a folder, and leave it there as a table, a text and a picture.

    Raises:
        ConfigError: there is no run in it.
    """
    import rich

    runs = read_runs(folder)
    if not runs:
        raise ConfigError(f"{folder} holds no run. Give the folder of a sweep, or one with runs somewhere in it.")
    shared, rows = aggregate(runs)
    rich.print(table(shared, rows))
    print(*troubles(runs, folder), sep="\n", end="\n" * bool(troubles(runs, folder)))
    if not os.access(folder, os.W_OK):
        print(f"{folder} may only be read, so the summary is left nowhere")
        return runs
    with whole(folder / "summary.csv") as half:
        write_csv(rows, half)
    with whole(folder / "summary.md") as half:
        half.write_text(markdown(shared, rows, troubles(runs, folder)), encoding="utf-8")
    with whole(folder / "summary.png") as half:
        learning_curves(runs).savefig(half)
    print(f"The summary is in {folder}: summary.csv, summary.md and summary.png")
    return runs


def read_runs(folder: Path) -> list[Run]:
    """Every run in a folder and its subfolders, by name; a sweep's are numbers. What is not ours is passed over."""
    places = [path.parent.parent for path in folder.rglob(".hydra/overrides.yaml") if is_ours(path.parent)]
    runs = []
    for place in sorted(places, key=lambda place: [(len(part), part) for part in place.parts]):
        try:
            runs.append(read_run(place))
        except (ValueError, OSError, OmegaConfBaseException, YAMLError) as error:
            log.warning(f"{place} cannot be read, and is left out: {' '.join(str(error).split())}")
    return runs


def is_ours(hydra: Path) -> bool:
    """Whether the configuration that Hydra has left there has a task of this project; other programs use Hydra, too."""
    config = hydra / "config.yaml"
    return config.is_file() and "_target_: tasks." in config.read_text(encoding="utf-8")


def read_run(folder: Path) -> Run:
    """What one run has left, finished or not."""
    config = OmegaConf.load(folder / ".hydra" / "config.yaml")
    curve = read_curve(folder / "metrics.csv", "val/error_bits")
    results = None
    if (folder / "results.json").exists():
        outcome, results = "finished", json.loads((folder / "results.json").read_text(encoding="utf-8"))
    elif (folder / OUTCOME).exists():
        outcome = (folder / OUTCOME).read_text(encoding="utf-8").strip()
    else:
        outcome = "unfinished: " + (f"{curve[-1][0]:,.0f} sequences so far" if curve else "not measured so far")
    return Run(
        folder=folder,
        task=str(OmegaConf.select(config, "task._target_")).split(".")[1],
        seed=int(config.seed),
        overrides=tuple(word for word in chosen(folder) if not word.lstrip("+").startswith("seed=")),
        results=results,
        outcome=outcome,
        curve=curve,
    )


def read_curve(path: Path, measure: str) -> Curve:
    """A column of metrics.csv over the training sequences seen; nothing where nothing was measured yet."""
    rows = [row for row in read_rows(path) if row.get(measure)]
    return sorted({float(row["sequences"]): float(row[measure]) for row in rows}.items())


def first_below(curve: Curve, limit: float) -> float | None:
    """Sequences at the first measurement below a limit; None if there is none."""
    return next((sequences for sequences, value in curve if value < limit), None)


def by_configuration(runs: list[Run]) -> dict[tuple[str, ...], list[Run]]:
    """The runs that differ in nothing but their seeds."""
    groups = defaultdict(list)
    for run in runs:
        # In whatever order they were typed; of a key that was typed twice the last counts.
        groups[tuple(sorted({word.partition("=")[0]: word for word in run.overrides}.values()))].append(run)
    return groups


def aggregate(runs: list[Run]) -> tuple[str, list[Row]]:
    """The overrides that all runs share, and a row for every configuration, named by those that they do not."""
    shared = common(runs)
    return " ".join(shared), [row(group, shared) for group in by_configuration(runs).values()]


def common(runs: list[Run]) -> list[str]:
    """The overrides that all of these runs have."""
    return [word for word in runs[0].overrides if all(word in run.overrides for run in runs)]


def row(runs: list[Run], shared: list[str]) -> Row:
    """Runs of one configuration in one row."""
    finished = [(run.longest, run.results) for run in runs if run.results]
    learned = [run.learned for run in runs if run.learned is not None]
    solved = [run.results for run in runs if run.results and run.solved]
    return Row(
        configuration=" ".join(runs[0].own(shared)),
        runs=len(runs),
        finished=len(finished),
        failed=sum(run.outcome.startswith("failed") for run in runs),
        learned=len(learned),
        solved=len(solved),
        sequences_to_learn=spread(learned),
        sequences_to_solution=spread([results["sequences"] for results in solved]),
        seconds_to_solution=spread([results["seconds_to_solution"] for results in solved]),
        longest=finished[0][0] if finished else None,
        wrong_bits=spread([results["test"][longest]["error_bits"] for longest, results in finished]),
    )


def spread(values: list[float]) -> Spread | None:
    return Spread(median(values), min(values), max(values)) if values else None


def write_csv(rows: list[Row], path: Path) -> None:
    """A column for every number: a spread makes three."""
    spreads = [field.name for field in fields(Row) if field.type == Spread | None]
    flat = []
    for row in rows:
        cells: dict[str, Any] = {}
        for name, value in asdict(row).items():
            if name in spreads:
                cells |= {f"{name}_{part}": getattr(value, part, None) for part in Spread._fields}
            else:
                cells[name] = value
        flat.append(cells)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, flat[0])
        writer.writeheader()
        writer.writerows(flat)


def cells(row: Row) -> list[str]:
    """A row for a person to read, under HEADINGS."""
    return [
        row.configuration or "-",
        f"{row.finished} of {row.runs}" + (f", {row.failed} failed" if row.failed else ""),
        f"{row.learned} of {row.runs}" + (f": {row.sequences_to_learn}" if row.learned else ""),
        f"{row.solved} of {row.finished}" + (f": {row.sequences_to_solution}" if row.solved else ""),
        str(row.seconds_to_solution or "-"),
        f"{row.wrong_bits} at {row.longest}" if row.wrong_bits else "-",
    ]


def table(shared: str, rows: list[Row]) -> "Table":
    """The rows on the terminal."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    title = escape(f"all with {shared}") if shared else None
    shown = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    shown.caption = MEANING
    for heading in HEADINGS:
        shown.add_column(heading, justify="left" if heading == "overrides" else "right", overflow="fold")
    for row in rows:
        name, *numbers = map(escape, cells(row))
        shown.add_row(
            name.replace(" ", "\n"), *(re.sub(r"(?<=[,:]) | (?=\(|at )|(?<=,\d{3}-)", "\n", cell) for cell in numbers)
        )
    return shown


def markdown(shared: str, rows: list[Row], troubles: list[str]) -> str:
    """The rows in a document."""
    lines = [f"All with `{shared}`.", ""] if shared else []
    lines += ["| " + " | ".join(HEADINGS) + " |", "| --- " + "| ---: " * (len(HEADINGS) - 1) + "|"]
    lines += ["| " + " | ".join(cells(row)) + " |" for row in rows]
    lines += ["", MEANING, "", "![learning curves](summary.png)", ""]
    lines += [f"- {trouble}" for trouble in troubles]
    return "\n".join(lines).rstrip() + "\n"


def troubles(runs: list[Run], folder: Path) -> list[str]:
    """A line for every run without results: which it is, and why."""
    shared = common(runs)
    return [
        " ".join([f"{run.folder.relative_to(folder)}:", *run.own(shared), f"seed={run.seed}", run.outcome])
        for run in runs
        if run.results is None
    ]


def learning_curves(runs: list[Run]) -> "Figure":
    """Wrong bits on held-out sequences against sequences seen: median and range over seeds, a panel for every task.

    Of several configurations only the medians are drawn; of many the best are told apart, and the others are grey.
    """
    from matplotlib.figure import Figure

    from callbacks.drawing import COLOURS, from_zero, styled

    @styled
    def draw() -> Figure:
        tasks = sorted({run.task for run in runs})
        figure = Figure(figsize=(5.5 * len(tasks) + 0.5, 4.2), layout="constrained")
        for ax, task in zip(figure.subplots(1, len(tasks), squeeze=False)[0], tasks, strict=True):
            group = [run for run in runs if run.task == task]
            found = {
                f"{' '.join(alike[0].own(common(group))) or task} ({len(curves)})": band(curves)
                for alike in by_configuration(group).values()
                if (curves := [run.curve for run in alike if run.curve])
            }
            best = sorted(found, key=lambda name: found[name][1][-1])[:NAMED]  # by their last medians
            many, crowded = len(found) > NAMED, len(found) > BANDED
            for name in found.keys() - set(best):
                ax.plot(*found[name][:2], color="0.85", linewidth=0.8)
            for i, name in enumerate(best if many else found):
                sequences, middle, low, high = found[name]
                look = {"color": COLOURS[i % len(COLOURS)], "linestyle": STYLES[i // len(COLOURS) % len(STYLES)]}
                ax.plot(sequences, middle, label=name, marker="o" if len(sequences) == 1 else None, **look)
                if not crowded:
                    ax.fill_between(sequences, low, high, alpha=0.2, linewidth=0, color=look["color"])
            from_zero(ax)
            ax.set(title=task, xlabel="sequences seen", ylabel="wrong bits of a held-out sequence")
            if ax.lines:
                what = "median of (n) runs" if crowded else "median and range of (n) runs"
                what += f", the best {NAMED} of {len(found)}" if many else ""
                below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16)} if crowded else {}
                figure.set_figheight(6.4 if crowded else figure.get_figheight())
                ax.legend(title=what, fontsize=7, title_fontsize=7, **below)
        return figure

    return draw()


def band(curves: list[Curve]) -> tuple[list[float], list[float], list[float], list[float]]:
    """Where some run was measured: the median, the lowest and the highest of all, each as it was last measured.

    A run that has stopped keeps its last value, or the median would jump when the quick ones leave. The band begins
    where every run has been measured.
    """
    start = max(curve[0][0] for curve in curves)
    grid = sorted({x for curve in curves for x, _ in curve if x >= start})
    values = [[curve[bisect_right(curve, x, key=lambda point: point[0]) - 1][1] for curve in curves] for x in grid]
    return grid, [median(v) for v in values], [min(v) for v in values], [max(v) for v in values]


if __name__ == "__main__":
    main()
