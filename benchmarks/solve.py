"""Train over many seeds as a user would, and record in docs/results.md what came of it.

    python benchmarks/solve.py --seeds 1-10 --name "Copy, cross-entropy" -- task=copy
    python benchmarks/solve.py --seeds 1-10 --name "Recall, Huber" -- task=recall loss=huber

Each seed is one `python train.py` with the words behind `--`, as the only job of a sweep: a record that was killed goes
on where it stopped, and runs that are there already are not run again; `--folder` says where the runs are kept.
"""

import argparse
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from measure import ROOT, processor, put, table

from conf.resume import quoted
from summarize import LEARNED, Curve, Run, band, first_below, read_curve, read_run, read_runs, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RECORDS = ROOT / "docs" / "results.md"
PUBLISHED = ROOT / "benchmarks" / "published.yaml"
MARKS = {"NTM, LSTM": "s", "NTM, feedforward": "^", "LSTM": "o"}  # of the paper's models, as in published.yaml


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=seeds, required=True, help="first-last, or one")
    parser.add_argument("--name", required=True, help="heading of the record")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once; 1 for wall times that mean something")
    parser.add_argument("--folder", type=Path, default=ROOT / "outputs" / "solve")
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()

    folder = options.folder / re.sub(r"\W+", "_", options.name.lower())
    with ThreadPoolExecutor(options.jobs) as pool:
        runs = list(pool.map(lambda seed: run(folder, seed, options.overrides), options.seeds))
    told = f"{options.seeds[0]}-{options.seeds[-1]}"
    command = ["python", "benchmarks/solve.py", "--seeds", told, "--name", options.name]
    command += ["--jobs", str(options.jobs)] if options.jobs > 1 else []
    command += ["--folder", str(options.folder)] if options.folder != parser.get_default("folder") else []
    lines = record(options.name, shlex.join([*command, "--", *options.overrides]), runs, options.jobs)
    image = f"images/results_{folder.name}.png"
    save(picture(runs), RECORDS.parent / image)
    lines += [f"![Learning curve and error against length, beside the paper's]({image})", ""]
    put(RECORDS, options.name, lines, "# Results\n")
    print("\n".join(lines))


def seeds(told: str) -> range:
    """From first to last, `1-10`, or one alone, `7`.

    Raises:
        ArgumentTypeError: it is neither.
    """
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", told)
    chosen = range(int(found[1]), int(found[2] or found[1]) + 1) if found else ()
    if not chosen:
        raise argparse.ArgumentTypeError(f"{told} must be first-last or one seed. Write 1-10 or 7.")
    return chosen


def run(folder: Path, seed: int, overrides: list[str]) -> Run:
    """Train with one seed, or what is left of that; what the run left behind.

    Raises:
        SystemExit: the overrides are a mistake, which is one in every seed, never began, or the folder holds others.
    """
    place = folder.absolute() / str(seed)
    print(f"seed {seed} ...", flush=True)
    where = [f"hydra.sweep.dir={quoted(place.parent)}", f"hydra.sweep.subdir={place.name}"]
    command = [sys.executable, str(ROOT / "train.py"), "-m", f"seed={seed}", *overrides, *where]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode == 2 or not (place / ".hydra").exists():
        raise SystemExit(done.stderr.strip())
    left = read_run(place)
    print(f"seed {seed}: {left.outcome}", flush=True)
    return left


def finished(folder: Path) -> list[Run]:
    """The runs in a folder that have results.

    Raises:
        SystemExit: there are none.
    """
    runs = [run for run in read_runs(folder) if run.results]
    if not runs:
        raise SystemExit(f"{folder} holds no run that has finished. Give a folder of runs.")
    return runs


def record(name: str, command: str, runs: list[Run], jobs: int) -> list[str]:
    """Tables of the runs, as a section of a document.

    Raises:
        SystemExit: there is nothing to record, for every run failed.
    """
    finished = [(run, run.results) for run in runs if run.results]
    if not finished:
        raise SystemExit(f"every run failed: {runs[0].outcome}")
    results = [left for _, left in finished]
    guessed = is_guessed(results[0])
    return [
        f"## {name}",
        "",
        f"    {command}",
        "",
        made(results, jobs),
        "",
        *(costs(runs, results) if guessed else mistakes(runs, finished)),
        f"- Sequences in all: {median([r['sequences'] for r in results])}.",
        f"- Seconds from the command to the end of training: {median([r['seconds'] for r in results])}.",
        "",
        *([] if guessed else mistakes_of_all(results)),
        *(costs_of_each(runs, results) if guessed else mistakes_of_each(runs, results)),
        "",
    ]


def is_guessed(results: dict[str, Any]) -> bool:
    """Whether nobody knows the answers of this task, so that a cost only means something beside the best guess's."""
    return all("optimal_bits" in figures for figures in results["test"].values())


def mistakes(runs: list[Run], finished: list[tuple[Run, dict[str, Any]]]) -> list[str]:
    """How many runs make none any more, and since when."""
    sure = [first_below(read_curve(run.folder / "metrics.csv", "val/bits"), 0.05) for run, _ in finished]
    right = sum(run.curve[-1:] != [] and run.curve[-1][1] == 0 for run, _ in finished)
    return [
        f"- No wrong bit at the end on held-out sequences of the training range: {right} of {len(runs)} seeds.",
        f"- No wrong bit at any test length: {sum(run.solved for run in runs)} of {len(runs)} seeds.",
        f"- Sequences to the first held-out evaluation below {LEARNED} wrong bits: "
        f"{median([run.learned for run, _ in finished])}.",
        f"- Sequences to the first below 0.05 bits: {median(sure)}.",
    ]


def mistakes_of_all(results: list[dict[str, Any]]) -> list[str]:
    """Wrong bits and bits at every test length, over the seeds."""
    rows = [
        [what, *(str(spread([left["test"][n][figure] for left in results])) for n in results[0]["test"])]
        for what, figure in (("wrong bits", "error_bits"), ("bits", "bits"))
    ]
    headings = ["median (range) over the seeds", *(f"at {n}" for n in results[0]["test"])]
    return [*table(headings, rows), ""]


def mistakes_of_each(runs: list[Run], results: list[dict[str, Any]]) -> list[str]:
    def cells(run: Run, left: dict[str, Any]) -> list[str]:
        first = run.learned
        held = first is not None and all(error < LEARNED for sequences, error in run.curve if sequences >= first)
        row = [f"{first:,.0f}" if first else "never", "yes" if held else "no"]
        row += [f"{left['sequences']:,}", f"{left['seconds']:.0f}"]
        return row + [f"{figures['error_bits']:.3g}" for figures in left["test"].values()]

    headings = [
        "seed",
        f"first below {LEARNED}",
        "held",
        "sequences",
        "seconds",
        *(f"at {n}" for n in results[0]["test"]),
    ]
    return [*each(runs, headings, cells), "", "`at n`: mean wrong bits of a sequence at test length n."]


def costs(runs: list[Run], results: list[dict[str, Any]]) -> list[str]:
    """How near the runs come to the best guess, of a task where nobody knows the answer."""
    lines = [f"- Finished: {len(results)} of {len(runs)} seeds."]
    for n in results[0]["test"]:
        above = [r["test"][n]["bits"] - r["test"][n]["optimal_bits"] for r in results]
        lines.append(f"- Bits above the best guess at {n}: {median(above, decimals=2)}.")
    return lines


def costs_of_each(runs: list[Run], results: list[dict[str, Any]]) -> list[str]:
    def cells(run: Run, left: dict[str, Any]) -> list[str]:
        row = [f"{left['sequences']:,}", f"{left['seconds']:.0f}"]
        return row + [f"{test[figure]:.2f}" for test in left["test"].values() for figure in ("bits", "optimal_bits")]

    pairs = [[f"bits at {n}", f"best guess at {n}"] for n in results[0]["test"]]
    lines = each(runs, ["seed", "sequences", "seconds", *chain(*pairs)], cells)
    return [*lines, "", "`best guess`: what the best prediction, eq. (10), costs on the same sequences."]


def each(runs: list[Run], headings: list[str], cells: Callable[[Run, dict[str, Any]], list[str]]) -> list[str]:
    """A row for every seed: what `cells` makes of its run and results, or why there are none."""
    nothing = [""] * (len(headings) - 2)
    rows = [cells(run, run.results) if run.results else [run.outcome, *nothing] for run in runs]
    return table(headings, [[str(run.seed), *row] for run, row in zip(runs, rows, strict=True)])


def made(results: list[dict[str, Any]], jobs: int = 1) -> str:
    """When and on what these results were made."""
    versions = "; ".join(sorted({", ".join(f"{name} {v}" for name, v in r["versions"].items()) for r in results}))
    machines = "; ".join(sorted({r.get("ran_on", ran_on(jobs)) for r in results}))
    commits = sorted({str(r["commit"])[:10] + ("-dirty" if "dirty" in str(r["commit"]) else "") for r in results})
    return f"{date.today()}, commit {', '.join(commits)}, {machines}; {versions}."


def ran_on(jobs: int) -> str:
    """This machine, and how many runs shared it."""
    return f"{processor()}, {jobs} run(s) at a time"


def picture(runs: list[Run]) -> "Figure":
    """Bits over the sequences seen and over the test lengths: median and range of the seeds, beside the paper's."""
    from matplotlib.figure import Figure

    from callbacks.drawing import styled

    @styled
    def draw() -> Figure:
        figure = Figure(figsize=(9, 3.4), layout="constrained")
        learning, lengths = figure.subplots(1, 2)
        finished = [run for run in runs if run.results]
        published = read_published(finished[0].task)
        guessed = is_guessed(finished[0].results)
        known = {model: points["learning"] for model, points in published.items()}
        curves = [bits(run) for run in finished]
        compare(learning, *band(curves), curves, known)
        what = "bits above the best guess" if guessed else "bits"
        learning.set(xlabel="sequences seen", ylabel=f"{what}, held-out sequences", xscale="log")
        learning.legend(fontsize=7, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False)
        names = sorted(finished[0].results["test"], key=lambda name: float(name) if name.isdigit() else 0)
        joined = len(names) > 1 and names[0].isdigit()  # lengths are an axis, pairs of numbers are not
        tests = [[run.results["test"][name] for name in names] for run in finished]
        figures = [[test["bits"] - (test["optimal_bits"] if guessed else 0) for test in each] for each in tests]
        columns = list(zip(*figures, strict=True))
        at = [float(name) if name.isdigit() else place for place, name in enumerate(names)]
        known = {model: points["lengths"] for model, points in published.items() if "lengths" in points}
        compare(
            lengths,
            at,
            *zip(*map(spread, columns), strict=True),
            [zip(at, each, strict=True) for each in figures],
            known,
            joined=joined,
        )
        lengths.set(xlabel="test length", ylabel=f"{what}, test sequences", xticks=at, xticklabels=names)
        if not joined:
            lengths.margins(x=0.3)
        return figure

    return draw()


def bits(run: Run) -> Curve:
    """Bits of a held-out sequence over the sequences seen: above the best guess, where nobody can do better."""
    best = dict(read_curve(run.folder / "metrics.csv", "val/optimal_bits"))
    return [(at, cost - best.get(at, 0.0)) for at, cost in read_curve(run.folder / "metrics.csv", "val/bits")]


def read_published(task: str) -> dict[str, dict[str, Any]]:
    """The paper's figures of every model; none of a task that is not the paper's."""
    return yaml.safe_load(PUBLISHED.read_text(encoding="utf-8")).get(task, {})


def save(figure: "Figure", path: Path) -> None:
    """Write a picture of a record, which stays in the repository, in few bytes."""
    from callbacks.drawing import shrink

    figure.savefig(path)
    shrink(path)


def compare(
    ax: "Axes",
    x: Any,
    middle: Any,
    low: Any,
    high: Any,
    seeds: Iterable[Iterable[tuple[float, float]]],
    published: dict[str, dict[int, float]],
    joined: bool = True,
) -> None:
    """Our median as a line, every seed as a thin one and their range as a band; the paper's figures as marks.

    What is not `joined` is points and bars.
    """
    from callbacks.drawing import COLOURS, from_zero

    colour = COLOURS[0]
    single: dict[str, Any] = {"linewidth": 0.5} if joined else {"linestyle": "", "marker": "_", "clip_on": False}
    for each in seeds:
        ax.plot(*zip(*each, strict=True), color=colour, alpha=0.4, **single)
    ax.plot(x, middle, ".-" if joined else ".", color=colour, label="here: median, range, every seed", clip_on=False)
    if joined:
        ax.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)
    else:
        ax.vlines(x, low, high, color=colour, alpha=0.4, linewidth=0.8)
    for model, points in published.items():
        label = f"paper: {model}"
        ax.plot(list(points), list(points.values()), linestyle="", clip_on=False, label=label, **look(model))
    from_zero(ax)


def look(model: str) -> dict[str, Any]:
    """Of a model of the paper: the same in every picture, in a colour that no line of ours has."""
    from callbacks.drawing import COLOURS

    return {"color": COLOURS[1 + list(MARKS).index(model)], "marker": MARKS[model]}


def median(values: Sequence[float | None], decimals: int = 0) -> str:
    """The median and the range of those that are there."""
    there = [value for value in values if value is not None]
    if not (found := spread(there)):
        return "none"
    of_some = f" on {len(there)} of {len(values)}" if len(there) < len(values) else ""
    middle, low, high = (f"{number:,.{decimals}f}" for number in found)
    return f"median {middle} ({low} to {high}){of_some}"


if __name__ == "__main__":
    main()
