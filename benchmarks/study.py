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
from pathlib import Path

import solve
from measure import ROOT, put, table

import summarize

STUDIES = ROOT / "conf" / "experiment" / "study"


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
    solve.save(summarize.learning_curves(runs), solve.RECORDS.parent / image)
    told = ["python", "benchmarks/study.py", options.study, "--jobs", str(options.jobs), *options.overrides]
    lines = record(options.study, shlex.join(told), runs, options.jobs, image)
    put(solve.RECORDS, f"Study: {options.study}", lines, "# Results\n")
    print("\n".join(lines))


def record(study: str, command: str, runs: list[summarize.Run], jobs: int, image: str) -> list[str]:
    """A section of a document: the question, a row for every cell, what follows, and the learning curves."""
    rows = summarize.aggregate(runs)[1]
    seeds = sorted({run.seed for run in runs})
    made = f"Seeds {seeds[0]} to {seeds[-1]}. {solve.made([run.results for run in runs if run.results], jobs)}"
    text = table(summarize.HEADINGS, map(summarize.cells, rows))
    troubles = [f"- {trouble}" for trouble in summarize.troubles(runs, runs[0].folder.parent)]
    follows = [f"- {line}" for line in conclusions(rows)]
    title = [f"## Study: {study}", "", question(STUDIES / f"{study}.yaml"), "", f"    {command}", "", made]
    more = ["", *troubles] if troubles else []
    picture = f"![Learning curves over the seeds]({image})"
    return [*title, "", *text, "", summarize.MEANING, *more, "", *follows, "", picture, ""]


def question(path: Path) -> str:
    """What a study asks: the comment at its top, but for the command."""
    lines = [line.removeprefix("# ") for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("# ")]
    return " ".join(line for line in lines if not line.startswith(("@package", "  python")))


def conclusions(rows: list[summarize.Row]) -> list[str]:
    """For every task and setting, how many runs each of its values had learned and solved."""
    groups: dict[tuple[str, str], dict[str, list[summarize.Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        words = dict(word.split("=", 1) for word in row.configuration.split())
        task = words.pop("task", "")
        for key, value in words.items():
            groups[task, key][value].append(row)
    lines = []
    for (task, key), values in groups.items():
        found = []
        for value, alike in values.items():
            names = ("solved", "finished", "learned", "runs")
            solved, finished, learned, runs = (sum(getattr(row, name) for row in alike) for name in names)
            text = f"`{value}` solved {solved} of {finished} and learned {learned} of {runs}"
            found.append((solved / max(finished, 1), learned / runs, text))
        best = [text for *_, text in sorted(found, key=lambda of: of[:2], reverse=True)]
        lines.append(f"{task + ', ' if task else ''}`{key}`: {'; '.join(best)}.")
    return lines


if __name__ == "__main__":
    main()
