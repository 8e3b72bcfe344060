"""What the default recipe owes to each of its parts: one change at a time, over some seeds, into docs/results.md.

    python benchmarks/recipe.py --task copy --seeds 1-5
    python benchmarks/recipe.py --task recall --seeds 1-5 -- loss=huber

Every run is one `python train.py` without pictures; those that are there already are not run again. The words behind
`--` hold for all.
"""

import argparse
import shlex
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import solve
from measure import ROOT, processor, put

import summarize
from callbacks.results import commit

CHANGES = [
    "",
    "memory=matrix",
    "memory=all_slots",
    "optimizer=rmsprop",
    "optimizer=rmsprop_fine",
    "callbacks.spikes.factor=1e9",
    "callbacks.spikes.factor=1e9 trainer.gradient_clip_val=10",
    "callbacks.spikes.factor=30",
    "task.batch_size=4",
    "task.batch_size=16",
    "controller=gru",
    "controller=feedforward",
    "memory.initial_weighting=learned",
    "optimizer=adam",
]
SHARED = ["logger=csv", "callbacks=[none,best,last,spikes,solved,results]"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=("copy", "recall"), required=True)
    parser.add_argument("--seeds", required=True, help="first-last")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once; more than 1 makes their seconds mean less")
    parser.add_argument("--changes", type=int, default=len(CHANGES), help="only so many, from the first")
    parser.add_argument("--folder", type=Path, default=ROOT / "outputs" / "recipe")
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()

    first, last = map(int, options.seeds.split("-"))
    folder = options.folder / "_".join([options.task, *options.overrides])
    jobs = [
        (folder / str(number), seed, [f"task={options.task}", *options.overrides, *SHARED, *change.split()])
        for seed in range(first, last + 1)
        for number, change in enumerate(CHANGES[: options.changes])
    ]
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(lambda job: solve.run(*job), jobs))

    runs = summarize.read_runs(folder)
    shared, rows = summarize.aggregate(runs)
    title = " ".join([f"What the recipe of {options.task} owes to its parts", *options.overrides])
    picture = f"images/recipe_{folder.name.replace('=', '_')}.png"
    summarize.learning_curves(runs).savefig(ROOT / "docs" / picture, dpi=120)
    text = summarize.markdown(shared, rows, summarize.troubles(runs, folder))
    lines = [
        f"## {title}",
        "",
        f"    python benchmarks/recipe.py {shlex.join(sys.argv[1:])}",
        "",
        f"{date.today()}, commit {commit()}, {processor()}, {options.jobs} run(s) at a time. One change in each row.",
        "",
        *text.replace("(summary.png)", f"({picture})").splitlines(),
        "",
    ]
    put(solve.RECORDS, title, lines, "# Results\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
