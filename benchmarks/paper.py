"""Train with the paper's own settings, and record in docs/results.md how its figures come out.

    python benchmarks/paper.py --jobs 2                       # everything, which takes many hours
    python benchmarks/paper.py --seeds 1-3 copy_lstm copy_ntm_lstm_one_hot      # or some of it
    python benchmarks/paper.py --only-record                  # what is there so far

As many sequences as it takes to see where a curve goes: fewer than the paper's million. The paper does not say where
the heads of an NTM focus before the first step, so each is tried with weightings that start on slot 0 (`one_hot`) and
with weightings that learn their start (`learned`). The runs are in outputs/paper, or in `--folder`; what was killed
goes on where it stopped. What a record is made of stays in docs/runs/paper, a few kilobytes a run, so that a record can
grow over weeks and machines: a run that is there is not run again.
"""

import argparse
import csv
import json
import shutil
from bisect import bisect_right
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import solve
from measure import ROOT, put, table

from callbacks.metrics import read_rows, whole
from conf.check import OUTCOME
from summarize import Curve, Run, read_runs, spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SEQUENCES = {"copy": 100_000, "repeat_copy": 100_000, "recall": 200_000, "ngrams": 100_000, "sort": 200_000}
MODELS = {"ntm_lstm": "NTM, LSTM", "ntm_feedforward": "NTM, feedforward", "lstm": "LSTM"}  # as in published.yaml
STARTS = {"ntm_lstm": ("one_hot", "learned"), "ntm_feedforward": ("one_hot", "learned"), "lstm": ("",)}
NAME = "The paper's settings"
IMAGE = "images/results_paper.png"
KEPT = ROOT / "docs" / "runs" / "paper"
MEASURES = ("sequences", "val/bits", "val/error_bits", "val/optimal_bits")


class Cell(NamedTuple):
    """One of a table of the paper, and where its weightings start, if it has any."""

    task: str
    model: str
    start: str

    @property
    def experiment(self) -> str:
        return f"{self.task}_{self.model}"


ALL = [Cell(task, model, start) for task in SEQUENCES for model in MODELS for start in STARTS[model]]
CELLS = {f"{cell.experiment}_{cell.start}".rstrip("_"): cell for cell in ALL}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", nargs="*", metavar="CELL", help="what to train; everything if not given")
    parser.add_argument("--seeds", type=solve.seeds, default="1", help="first-last, or one")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once; more than 1 makes their seconds mean less")
    parser.add_argument("--only-record", action="store_true", help="run nothing")
    parser.add_argument("--folder", type=Path, default=ROOT / "outputs" / "paper")
    options = parser.parse_args()
    for cell in options.cells:
        if cell not in CELLS:
            raise SystemExit(f"{cell} is no cell of the paper's tables. Choose from {', '.join(CELLS)}.")

    if not options.only_record:
        chosen = product(options.cells or CELLS, options.seeds)
        missing = [(cell, seed) for cell, seed in chosen if not (KEPT / cell / str(seed) / "results.json").exists()]
        with ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(lambda which: solve.run(options.folder / which[0], which[1], words(which[0])), missing))
    for cell in CELLS:
        for run in read_runs(options.folder / cell):
            keep(run, KEPT / cell / str(run.seed), options.jobs)
    runs = {cell: found for cell in CELLS if (found := read_runs(KEPT / cell))}
    if not runs:
        raise SystemExit(f"no run has ended in {options.folder}. Leave --only-record out, or name a --folder of runs.")
    lines = record(runs)
    solve.save(picture(runs), solve.RECORDS.parent / IMAGE)
    put(solve.RECORDS, NAME, lines, "# Results\n")
    print("\n".join(lines))


def words(cell: str) -> list[str]:
    """What train.py is told."""
    which = CELLS[cell]
    start = [f"memory.initial_weighting={which.start}"] if which.start else []
    return [f"experiment=paper/{which.experiment}", *start, f"trainer.max_steps={SEQUENCES[which.task]}"]


def keep(run: Run, place: Path, jobs: int) -> None:
    """Copy of a run that has ended, unless it is there, what a record is made of; no folder of this machine is named.

    That is its configuration, where it ran and how it ended, and what was held out over time.
    """
    if (place / "results.json").exists() or run.outcome.startswith("unfinished"):
        return
    (place / ".hydra").mkdir(parents=True, exist_ok=True)
    for name in (".hydra/config.yaml", ".hydra/overrides.yaml"):
        shutil.copyfile(run.folder / name, place / name)
    with whole(place / "metrics.csv") as half, half.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, MEASURES, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(row for row in read_rows(run.folder / "metrics.csv") if row.get("val/bits"))
    if run.results is None:
        told = run.outcome.replace(f"{run.folder.absolute()}/", "")
        (place / OUTCOME).write_text(f"{told}\n", encoding="utf-8")
        return
    results = {key: value for key, value in run.results.items() if key != "command"}
    results["ran_on"] = solve.ran_on(jobs)
    with whole(place / "results.json") as half:
        half.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def record(runs: dict[str, list[Run]]) -> list[str]:
    """A section of a document: a row for every experiment, and the learning curves."""
    rows = []
    for cell, found in runs.items():
        finished = [run for run in found if run.results]
        outcomes = [run.outcome for run in found if not run.results]
        seeds = "; ".join([f"{len(finished)} of {len(found)}", *outcomes]) if outcomes else str(len(found))
        rows.append(
            [
                f"`{CELLS[cell].experiment}`",
                CELLS[cell].start,
                seeds,
                *(figures(cell, finished) if finished else [""] * 4),
            ]
        )
    everything = [run for found in runs.values() for run in found]
    tried = sorted({run.seed for run in everything})
    told = "python benchmarks/paper.py" + (f" --seeds {tried[0]}-{tried[-1]}" if tried != [1] else "")
    headings = [
        "experiment",
        "start",
        "seeds",
        "sequences",
        "seconds",
        "bits after so many sequences, here / in the paper",
        "at test lengths",
    ]
    missing = [f"`{cell}`" for cell in CELLS if cell not in runs]
    return [
        f"## {NAME}",
        "",
        f"    {told}",
        "",
        solve.made([run.results for run in everything if run.results]),
        "",
        "The settings of the paper's tables: one sequence a step, Graves' RMSProp, gradients clipped to 10 (what "
        "reaches the heads at every step of the backward pass, their weightings to 1,000, and the finished ones), "
        "learned initial states, no schedule and no early end, for a tenth or a fifth of a million sequences.",
        "",
        *table(headings, rows),
        "",
        "Start: `memory.initial_weighting`, on slot 0 or learned. Median (range) over the seeds, where there is more "
        "than one. Bits: of a held-out sequence, of n-grams above the best guess. At test lengths: wrong bits of a "
        "sequence, of n-grams again bits above the best guess, by the checkpoint that was best on held-out sequences. "
        "The paper's are read off its plots, where 5 bits of repeat copy are as little as can be seen: its text says "
        "solved.",
        *(["", f"Not run: {', '.join(missing)}."] if missing else []),
        "",
        f"![Learning curves with the paper's settings, beside the paper's figures]({IMAGE})",
        "",
    ]


def figures(cell: str, runs: list[Run]) -> list[str]:
    """Of the runs of an experiment: sequences, seconds, held-out bits beside the paper's, and figures of the tests."""
    task, model, _ = CELLS[cell]
    results = [run.results for run in runs if run.results]
    curves = [solve.bits(run) for run in runs]
    seen = min(curve[-1][0] for curve in curves)
    known = {at: value for at, value in solve.read_published(task)[MODELS[model]]["learning"].items() if at <= seen}
    beside = [f"{at:,}: {spread([reached(curve, at) for curve in curves])} / {known[at]:g}" for at in known]
    tests = [f"{n}: {spread([wrong(left['test'][n]) for left in results])}" for n in results[0]["test"]]
    counts = [str(spread([left[what] for left in results])) for what in ("sequences", "seconds")]
    return [*counts, "; ".join(beside), "; ".join(tests)]


def wrong(test: dict[str, float]) -> float:
    """The figure that means something at a test length."""
    return test["bits"] - test["optimal_bits"] if "optimal_bits" in test else test["error_bits"]


def reached(curve: Curve, at: float) -> float:
    """What was last measured by then."""
    return curve[max(bisect_right(curve, at, key=lambda point: point[0]), 1) - 1][1]


def picture(runs: dict[str, list[Run]]) -> "Figure":
    """A panel for every task: our curves as lines, one a seed, the paper's figures as marks of the same colour."""
    from matplotlib.figure import Figure

    from callbacks.drawing import from_zero, styled

    @styled
    def draw() -> Figure:
        figure = Figure(figsize=(9, 5), layout="constrained")
        *panels, corner = figure.subplots(2, 3).flat
        for ax, task in zip(panels, SEQUENCES, strict=True):
            for model, name in MODELS.items():
                look = solve.look(name)
                for cell in (cell for cell in runs if CELLS[cell][:2] == (task, model)):
                    for curve in filter(None, map(solve.bits, runs[cell])):
                        style = ":" if CELLS[cell].start == "learned" else "-"
                        ax.plot(*zip(*curve, strict=True), style, color=look["color"])
                known = {
                    at: value
                    for at, value in solve.read_published(task)[name]["learning"].items()
                    if at <= SEQUENCES[task]
                }
                ax.plot(list(known), list(known.values()), linestyle="", markersize=5, clip_on=False, **look)
            from_zero(ax)
            ax.set(title=task.replace("_", " "), xlabel="sequences seen", xlim=(0, SEQUENCES[task] * 1.03))
            ax.set(ylabel="bits above the best guess" if task == "ngrams" else "bits, held-out sequences")
        corner.axis("off")
        lines = [corner.plot([], [], **solve.look(name))[0] for name in solve.MARKS]
        dotted = "dotted: learned start of weightings\n" * any(CELLS[cell].start == "learned" for cell in runs)
        told = f"line: here, one a seed\n{dotted}mark: read off the paper's figure"
        corner.legend(lines, solve.MARKS, title=told, loc="center")
        return figure

    return draw()


if __name__ == "__main__":
    main()
