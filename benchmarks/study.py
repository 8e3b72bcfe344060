"""Run a study of conf/experiment/study, or what is left of it, and record it in docs/results.md.

    python benchmarks/study.py losses --jobs 2      # two runs at a time: needs pip install -e '.[joblib]'
    python benchmarks/study.py losses --only-record # what is there so far

The words behind `--` go to `train.py`. The sweep is in multirun/study, and goes on there when it is started again.
"""

import argparse
import shlex
import subprocess
import sys
from collections import defaultdict
from math import comb
from pathlib import Path
from typing import TYPE_CHECKING

import solve
from measure import ROOT, put, table

import summarize

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STUDIES = ROOT / "conf" / "experiment" / "study"
HARDLY = 0.05
ALT = "How many runs of every cell solved and learned, and after how many sequences"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=sorted(path.stem for path in STUDIES.glob("*.yaml")))
    parser.add_argument("--jobs", type=int, default=1, help="runs at once; more than 1 makes their seconds mean less")
    parser.add_argument("--only-record", action="store_true", help="run nothing")
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_intermixed_args()  # the words may stand behind the options

    words = [f"experiment=study/{options.study}"]
    words += ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={options.jobs}"] if options.jobs > 1 else []
    words += options.overrides
    if not options.only_record and subprocess.run([sys.executable, "train.py", *words], cwd=ROOT).returncode == 2:
        raise SystemExit(2)  # a mistake; a run that failed is one line of the record
    image = f"images/study_{options.study}.png"
    runs = summarize.read_runs(ROOT / "multirun" / "study" / options.study)
    if not any(run.results for run in runs):
        raise SystemExit(f"multirun/study/{options.study} holds no run that has finished. Leave --only-record out.")
    solve.save(picture(summarize.aggregate(runs)[1]), solve.RECORDS.parent / image)
    told = ["python", "benchmarks/study.py", options.study, "--jobs", str(options.jobs), *options.overrides]
    lines = record(options.study, shlex.join(told), runs, options.jobs, image)
    put(solve.RECORDS, f"Study: {options.study}", lines, "# Results\n")
    print("\n".join(lines))


def record(study: str, command: str, runs: list[summarize.Run], jobs: int, image: str) -> list[str]:
    """A section of a document: the question, what follows, a row for every cell, and a picture of them."""
    rows = summarize.aggregate(runs)[1]
    seeds = sorted({run.seed for run in runs})
    made = f"Seeds {seeds[0]} to {seeds[-1]}. {solve.made([run.results for run in runs if run.results], jobs)}"
    text = table(summarize.HEADINGS, map(summarize.cells, rows))
    troubles = [f"- {trouble}" for trouble in summarize.troubles(runs, runs[0].folder.parent)]
    title = [f"## Study: {study}", "", question(STUDIES / f"{study}.yaml"), *answers(rows)]
    more = ["", *troubles] if troubles else []
    shown = f"![{ALT}]({image})"
    return [*title, "", f"    {command}", "", made, "", *text, "", summarize.MEANING, *more, "", shown, ""]


def question(path: Path) -> str:
    """What a study asks: the comment at its top, but for the command."""
    lines = [line.removeprefix("# ") for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("# ")]
    return " ".join(line for line in lines if not line.startswith(("@package", "  python")))


def answers(rows: list[summarize.Row]) -> list[str]:
    """A sentence for every task and setting, over all else: which value solves most, and which solve surely fewer.

    A second one says the same of learning, where some value learns surely less often. Surely: chance would leave so few
    in less than one case of twenty, by Fisher's exact test.
    """
    groups: dict[tuple[str, str], dict[str, list[summarize.Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        words = dict(word.split("=", 1) for word in row.configuration.split())
        task = words.pop("task", "")
        for key, value in words.items():
            groups[task, key][value].append(row)
    lines = []
    for (task, key), values in groups.items():
        of_task = f"{task}, " if task else ""
        first = "solved" if any(row.solved for alike in values.values() for row in alike) else "learned"
        for what, of in (("solved", "finished"), ("learned", "runs")):  # a run that goes on has not failed to solve
            sums = {value: [sum(getattr(r, name) for r in rs) for name in (what, of)] for value, rs in values.items()}
            counts = {value: (k, n) for value, (k, n) in sums.items() if n}
            if not counts:
                continue
            best, *others = sorted(counts, key=lambda value: counts[value][0] / counts[value][1], reverse=True)
            chance = {value: fisher(*counts[best], *counts[value]) for value in others}
            told = {value: f"`{value}` {k} of {n}" for value, (k, n) in counts.items()}
            fewer = [f"{told[value]} (p = {p:.2g})" for value, p in chance.items() if p < HARDLY]
            alike = [told[value] for value, p in chance.items() if p >= HARDLY]
            line = f"- {of_task}`{key}`, {what}: {told[best]}"
            line += f"; fewer: {', '.join(fewer)}" if fewer else ""
            line += f"; it may be chance: {', '.join(alike)}" if alike else ""
            if fewer or what == first:
                lines.append(f"{line}.")
    return ["", *lines]


def fisher(k: int, n: int, other_k: int, other_n: int) -> float:
    """Fisher's exact test, of both sides: the chance of tables no likelier than `k` of `n` beside `other_k`."""
    total = k + other_k
    ways = {i: comb(n, i) * comb(other_n, total - i) for i in range(max(0, total - other_n), min(n, total) + 1)}
    return sum(each for each in ways.values() if each <= ways[k]) / sum(ways.values())


def short(word: str) -> str:
    """An override without the groups that its key is in; a task by its name."""
    key, _, value = word.partition("=")
    return value if key == "task" else f"{key.split('.')[-1]}={value}"


def picture(rows: list[summarize.Row]) -> "Figure":
    """A bar for every cell, of how many of its runs solved and learned, and beside it after how many sequences."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    from callbacks.drawing import COLOURS, styled

    @styled
    def draw() -> Figure:
        figure = Figure(figsize=(9, 1.1 + 0.26 * len(rows)), layout="constrained")
        bars, times = figure.subplots(1, 2, sharey=True, width_ratios=(2, 3))
        places = range(len(rows))
        blue, orange = COLOURS[:2]
        bars.barh(places, [row.runs for row in rows], color="0.9", label="neither")
        bars.barh(places, [row.learned for row in rows], color=COLOURS[4], label="learned")
        bars.barh(places, [row.solved for row in rows], height=0.5, color=blue, label="solved")
        bars.set_yticks(places, [" ".join(map(short, row.configuration.split())) for row in rows])
        bars.set(ylim=(len(rows) - 0.4, -0.6), xlabel="runs")
        bars.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        for name, colour, off in (("sequences_to_learn", orange, -0.14), ("sequences_to_solution", blue, 0.14)):
            shown = [(place + off, spread) for place, row in enumerate(rows) if (spread := getattr(row, name))]
            for place, (_, low, high) in shown:
                times.plot([low, high], [place, place], color=colour, alpha=0.5)
            label = "to learn" if "learn" in name else "in all, of those that solved"
            medians = [spread.median for _, spread in shown]
            times.plot(medians, [place for place, _ in shown], "o", color=colour, markersize=4, label=label)
        times.set(xlabel="sequences: median and range", xlim=(0, None))
        times.xaxis.set_major_formatter("{x:,.0f}")
        times.tick_params(labelleft=False)
        for ax in (bars, times):
            ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
        return figure

    return draw()


if __name__ == "__main__":
    main()
