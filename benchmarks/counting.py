"""Ask machines of repeat copy for more repeats than they learned, and record in docs/results.md how many they say.

    python benchmarks/counting.py outputs/solve/repeat_copy --name "Repeat copy, counting" --counts 1 5 10 11 12 15 20

A machine says how far it counts by its first end marker. The best checkpoint of every run in the folder is given time
for half as many repeats again as the largest count, so that a marker may also come late.
"""

import argparse
import shlex
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import solve
import torch
from measure import progress, put, table

import summarize
from evaluate import configuration, rebuild
from ntm.checkpoints import read_checkpoint
from ntm.machine import Machine
from tasks.base import Task, lengths

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Counts = dict[int, float]  # repeats to the first end marker, by how many were asked for


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of runs")
    parser.add_argument("--name", required=True, help="heading of the record")
    parser.add_argument("--counts", type=int, nargs="+", required=True)
    parser.add_argument("--vectors", type=int, default=5, help="of a sequence")
    parser.add_argument("--size", type=int, default=16, help="held-out sequences of a count")
    options = parser.parse_args()

    runs = [run for run in summarize.read_runs(options.folder) if run.results]
    if not runs:
        raise SystemExit(f"{options.folder} holds no run that has finished. Give a folder of runs.")
    found: dict[int, Counts] = {}
    for run in runs:
        progress(f"seed {run.seed}")
        task, machine = load(run.folder / "checkpoints" / "best.ckpt")
        found[run.seed] = measure(task, machine, options.counts, options.vectors, options.size)
    command = ["python", "benchmarks/counting.py", str(options.folder), "--name", options.name]
    command += ["--counts", *map(str, options.counts)]
    image = f"images/counting_{options.folder.name}.png"
    solve.save(picture(found, lengths(task.max_length)[1]), solve.RECORDS.parent / image)
    lines = [
        *[f"## {options.name}", "", f"    {shlex.join(command)}", ""],
        *[solve.made([run.results for run in runs if run.results], 1), ""],
        f"The best checkpoints of seeds {min(found)} to {max(found)}, asked for {options.vectors} vectors: repeats up "
        f"to the first end marker, the median of {options.size} held-out sequences.",
        *["", *table(["asked for", "said: median (range) over seeds", "as asked"], rows(found)), ""],
        *[f"![Repeats said over repeats asked for, a line for every seed]({image})", ""],
    ]
    put(solve.RECORDS, options.name, lines, "# Results\n")
    print("\n".join(lines))


def load(path: Path) -> tuple[Task, Machine]:
    """What a checkpoint's machine learned, and the machine."""
    checkpoint = read_checkpoint(str(path))
    cfg = configuration(checkpoint)
    cfg.update(callbacks={}, output_dir=str(path.parent))  # where nothing is written
    task, learner, _ = rebuild(cfg, checkpoint, str(path))
    return task, learner.machine


@torch.no_grad()
def measure(task: Task, machine: Machine, counts: list[int], num_vectors: int, size: int) -> Counts:
    """How many repeats a machine says, up to its first end marker: infinity where there is none."""
    said = {}
    for count in counts:
        inputs, *_ = task.sample((num_vectors, count), size, torch.Generator().manual_seed(count))
        start = task.phases((num_vectors, count))[-1].start
        steps = start + num_vectors * max(counts) * 3 // 2
        blanks = inputs.new_zeros(size, steps - inputs.shape[1], task.input_size)
        ends = machine(torch.cat([inputs, blanks], dim=1))[:, start:, -1] > 0
        first = torch.where(ends.any(1), ends.int().argmax(1), torch.inf)
        said[count] = median(first.tolist()) / num_vectors
    return said


def rows(found: dict[int, Counts]) -> list[list[str]]:
    return [
        [f"{count}", str(summarize.spread(said)), f"{said.count(count)} of {len(said)}"]
        for count in next(iter(found.values()))
        if (said := [each[count] for each in found.values()])
    ]


def picture(found: dict[int, Counts], learned: int) -> "Figure":
    """Repeats said over repeats asked for, a line for every seed; shaded as far as was learned from."""
    from matplotlib.figure import Figure

    from callbacks.drawing import COLOURS, styled

    @styled
    def draw() -> Figure:
        figure = Figure(figsize=(5, 3.2), layout="constrained")
        ax = figure.subplots()
        asked = list(next(iter(found.values())))
        ax.plot(asked, asked, "--", color="0.5", linewidth=1, label="as asked")
        for said in found.values():
            ax.plot(*zip(*said.items(), strict=True), ".-", color=COLOURS[0], linewidth=0.8, alpha=0.5)
        ax.axvspan(0, learned, color="0.9", label="learned from", zorder=0)
        limits = (0, max(asked))
        ax.set(xlabel="repeats asked for", ylabel="repeats to the first end marker", xlim=limits, ylim=limits)
        ax.legend()
        return figure

    return draw()


if __name__ == "__main__":
    main()
