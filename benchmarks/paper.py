"""Train with the paper's own settings, and record in docs/results.md how its figures come out.

    python benchmarks/paper.py --jobs 2                       # the ten NTMs of tables 1 and 2
    python benchmarks/paper.py copy_lstm recall_lstm          # or some of the fifteen experiments
    python benchmarks/paper.py --only-record                  # what is there so far

One seed each, and as many sequences as it takes to see where a curve goes: fewer than the paper's million. The runs are
kept in outputs/paper, or in `--folder`; what was killed goes on where it stopped.
"""

import argparse
from bisect import bisect_right
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import solve
from measure import ROOT, put, table

from summarize import Curve, Run, read_run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SEQUENCES = {"copy": 100_000, "repeat_copy": 100_000, "recall": 200_000, "ngrams": 100_000, "sort": 200_000}
MODELS = {"ntm_lstm": "NTM, LSTM", "ntm_feedforward": "NTM, feedforward", "lstm": "LSTM"}  # as in published.yaml
CELLS = {f"{task}_{model}": (task, model) for task in SEQUENCES for model in MODELS}
NAME = "The paper's settings"
IMAGE = "images/results_paper.png"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", nargs="*", metavar="CELL", help="experiments of conf/experiment/paper")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once; more than 1 makes their seconds mean less")
    parser.add_argument("--only-record", action="store_true", help="run nothing")
    parser.add_argument("--folder", type=Path, default=ROOT / "outputs" / "paper")
    options = parser.parse_args()
    for cell in options.cells:
        if cell not in CELLS:
            raise SystemExit(f"{cell} is no experiment of the paper. Choose from {', '.join(CELLS)}.")

    chosen = options.cells or [cell for cell, (_, model) in CELLS.items() if model != "lstm"]
    if not options.only_record:
        with ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(lambda cell: solve.run(options.folder / cell, 1, words(cell)), chosen))
    runs = {cell: read_run(options.folder / cell / "1") for cell in CELLS if (options.folder / cell / "1").exists()}
    if not any(run.results for run in runs.values()):
        raise SystemExit(f"{options.folder} holds no run that has finished. Leave --only-record out.")
    lines = record(runs, options.jobs)
    solve.save(picture(runs), solve.RECORDS.parent / IMAGE)
    put(solve.RECORDS, NAME, lines, "# Results\n")
    print("\n".join(lines))


def words(cell: str) -> list[str]:
    """What train.py is told."""
    return [f"experiment=paper/{cell}", f"trainer.max_steps={SEQUENCES[CELLS[cell][0]]}"]


def record(runs: dict[str, Run], jobs: int) -> list[str]:
    """A section of a document: a row for every experiment, and the learning curves."""
    rows = []
    for cell, run in runs.items():
        if run.results is None:
            rows.append([f"`{cell}`", run.outcome, "", "", ""])
            continue
        tests = "; ".join(f"{n}: {wrong(test)}" for n, test in run.results["test"].items())
        row = [f"`{cell}`", f"{run.results['sequences']:,}", f"{run.results['seconds']:,.0f}", beside(cell, run), tests]
        rows.append(row)
    made = solve.made([run.results for run in runs.values() if run.results], jobs)
    told = "python benchmarks/paper.py" + (f" --jobs {jobs}" if jobs > 1 else "")
    headings = [
        "experiment",
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
        made,
        "",
        "The settings of the paper's tables: one sequence a step, Graves' RMSProp, gradients clipped to 10, learned "
        "initial states, no schedule and no early end, for a tenth or a fifth of a million sequences. One seed; not "
        "every seed does the same.",
        "",
        *table(headings, rows),
        "",
        "Bits: of a held-out sequence, of n-grams above the best guess. At test lengths: wrong bits of a sequence, of "
        "n-grams again bits above the best guess, by the checkpoint that was best on held-out sequences. The paper's "
        "are read off its plots, where 5 bits of repeat copy are as little as can be seen: its text says solved.",
        *(["", f"Not run: {', '.join(missing)}."] if missing else []),
        "",
        f"![Learning curves with the paper's settings, beside the paper's figures]({IMAGE})",
        "",
    ]


def wrong(test: dict[str, float]) -> str:
    """The figure that means something at a test length."""
    return f"{test['bits'] - test['optimal_bits']:.2f}" if "optimal_bits" in test else f"{test['error_bits']:.3g}"


def beside(cell: str, run: Run) -> str:
    """Our figures where the paper has some."""
    task, model = CELLS[cell]
    curve = solve.bits(run)
    known = {
        at: value for at, value in solve.read_published(task)[MODELS[model]]["learning"].items() if at <= curve[-1][0]
    }
    return "; ".join(f"{at:,}: {reached(curve, at):.3g} / {value:g}" for at, value in known.items())


def reached(curve: Curve, at: float) -> float:
    """What was last measured by then."""
    return curve[max(bisect_right(curve, at, key=lambda point: point[0]), 1) - 1][1]


def picture(runs: dict[str, Run]) -> "Figure":
    """A panel for every task: our curves as lines, the paper's figures as marks of the same colour."""
    from matplotlib.figure import Figure

    from callbacks.drawing import from_zero, styled

    @styled
    def draw() -> Figure:
        figure = Figure(figsize=(9, 5), layout="constrained")
        *panels, corner = figure.subplots(2, 3).flat
        for ax, task in zip(panels, SEQUENCES, strict=True):
            for model, name in MODELS.items():
                look, run = solve.look(name), runs.get(f"{task}_{model}")
                if run and (curve := solve.bits(run)):
                    ax.plot(*zip(*curve, strict=True), color=look["color"])
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
        corner.legend(lines, solve.MARKS, title="line: here, one seed\nmark: read off the paper's figure", loc="center")
        return figure

    return draw()


if __name__ == "__main__":
    main()
