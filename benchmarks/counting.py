"""Ask machines of repeat copy for more repeats than they learned, see how they count, and record it in docs/results.md.

    python benchmarks/counting.py outputs/solve/repeat_copy --name "Repeat copy, counting" --counts 1 5 10 11 12 15 20

A machine says how far it counts by its first end marker. The best checkpoint of every run in the folder is given time
for half as many repeats again as the largest count, so that a marker may also come late.

How it counts is read off the state of its controller, or, where that has none, off what was read from memory: least
squares find the linear function of it that comes closest to the repeats that are left, over all counts learned from and
after every repeat. Then other sequences, of every count, are read by it.
"""

import argparse
import shlex
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import solve
import torch
from jaxtyping import Float
from measure import progress, put, table
from torch import Tensor

import summarize
from evaluate import load
from ntm.machine import Machine
from tasks.base import Task, lengths

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VECTORS = 5  # of a sequence
Said = dict[int, float]  # repeats to the first end marker, by how many were asked for
Left = dict[int, list[float]]  # repeats left after 0, 1, 2, ..., as they are read off, likewise


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of runs")
    parser.add_argument("--name", required=True, help="heading of the record")
    parser.add_argument("--counts", type=int, nargs="+", required=True)
    parser.add_argument("--size", type=int, default=16, help="held-out sequences of a count")
    options = parser.parse_args()

    runs = solve.finished(options.folder)
    said: dict[int, Said] = {}
    left: dict[int, Left] = {}
    for run in runs:
        progress(f"seed {run.seed}")
        task, learner = load(str(run.folder / "checkpoints" / "best.ckpt"))
        said[run.seed] = ends(task, learner.machine, options.counts, options.size)
        left[run.seed] = counter(task, learner.machine, options.counts, options.size)
    command = ["python", "benchmarks/counting.py", str(options.folder), "--name", options.name]
    command += ["--counts", *map(str, options.counts)]
    image = f"images/counting_{options.folder.name}.png"
    solve.save(picture(said, left, lengths(task.max_length)[1]), solve.RECORDS.parent / image)
    headings = [
        "asked for",
        "said: median (range) over seeds",
        "as asked",
        "left at the start, as read off: median (range)",
    ]
    lines = [
        *[f"## {options.name}", "", f"    {shlex.join(command)}", ""],
        *[solve.made([run.results for run in runs if run.results], 1), ""],
        f"The best checkpoints of seeds {min(said)} to {max(said)}, asked for {VECTORS} vectors. Said: repeats up to "
        f"the first end marker, the median of {options.size} held-out sequences. Left: what a linear function of the "
        "controller's state, or of what was read where it has none, fitted to the repeats left over all counts learned "
        "from, says before the first repeat.",
        *["", *table(headings, rows(said, left)), ""],
        *[f"![Repeats said over repeats asked for, and repeats left after each, for every seed]({image})", ""],
    ]
    put(solve.RECORDS, options.name, lines, "# Results\n")
    print("\n".join(lines))


def questions(task: Task, count: int, size: int, seed: int) -> tuple[Float[Tensor, "batch time input"], int]:
    """Sequences with one count, blank from the step on that is returned beside them."""
    generator = torch.Generator().manual_seed(seed)
    return task.sample((VECTORS, count), size, generator).inputs, task.phases((VECTORS, count))[-1].start


@torch.no_grad()
def ends(task: Task, machine: Machine, counts: list[int], size: int) -> Said:
    """How many repeats a machine says, up to its first end marker: infinity where there is none."""
    said = {}
    for count in counts:
        inputs, start = questions(task, count, size, seed=count)
        steps = start + VECTORS * max(counts) * 3 // 2
        blanks = inputs.new_zeros(size, steps - inputs.shape[1], task.input_size)
        is_end = machine(torch.cat([inputs, blanks], dim=1))[:, start:, -1] > 0
        first = torch.where(is_end.any(1), is_end.int().argmax(1), torch.inf)
        said[count] = median(first.tolist()) / VECTORS
    return said


@torch.no_grad()
def counter(task: Task, machine: Machine, counts: list[int], size: int) -> Left:
    """What is left after every repeat, as a linear function of the state says: means over sequences."""
    low, high = lengths(task.min_length)[1], lengths(task.max_length)[1]
    states, left = [], []
    for count in range(low, high + 1):
        for done, state in enumerate(after_repeats(task, machine, count, 4 * size, seed=0)):
            states.append(state)
            left.append(state.new_full((len(state), 1), float(count - done)))
    # Directions that the states hardly take are left out: what they would add to a state of another count is chance.
    fitted = torch.linalg.lstsq(affine(torch.cat(states)), torch.cat(left), rcond=1e-3, driver="gelsd").solution
    return {
        count: [(affine(state) @ fitted).mean().item() for state in after_repeats(task, machine, count, size, seed=1)]
        for count in counts
    }


def after_repeats(task: Task, machine: Machine, count: int, size: int, seed: int) -> list[Float[Tensor, "batch state"]]:
    """The controller's state, or what was read where it has none, before the first repeat and after every one."""
    inputs, start = questions(task, count, size, seed)
    kept = [step.state.controller or (machine.memory.reads(step.state.memory),) for step in machine.steps(inputs)]
    states = [torch.cat(state, dim=1) for state in kept]
    return states[start - 1 :: VECTORS]


def affine(states: Float[Tensor, "batch state"]) -> Float[Tensor, "batch state+1"]:
    return torch.cat([states, torch.ones_like(states[:, :1])], dim=1)


def rows(said: dict[int, Said], left: dict[int, Left]) -> list[list[str]]:
    shown = []
    for count in next(iter(said.values())):
        ends, starts = [each[count] for each in said.values()], [each[count][0] for each in left.values()]
        end, start = str(summarize.spread(ends)).replace("inf", "never"), str(summarize.spread(starts))
        shown.append([f"{count}", end, f"{ends.count(count)} of {len(ends)}", start])
    return shown


def picture(said: dict[int, Said], left: dict[int, Left], learned: int) -> "Figure":
    """Repeats said over repeats asked for, shaded as far as was learned from, and repeats left while they are said."""
    from matplotlib.figure import Figure

    from callbacks.drawing import COLOURS, styled

    asked = list(next(iter(said.values())))
    shown = [count for count in asked if count in (learned // 2, learned, 2 * learned)]

    @styled
    def draw() -> Figure:
        figure = Figure(figsize=(9, 3.4), layout="constrained")
        ends, counter = figure.subplots(1, 2)
        ends.plot(asked, asked, "--", color="0.5", linewidth=1, label="as asked")
        for each in said.values():
            ends.plot(*zip(*each.items(), strict=True), ".-", color=COLOURS[0], linewidth=0.8, alpha=0.5)
        ends.axvspan(0, learned, color="0.9", label="learned from", zorder=0)
        ends.set(
            xlabel="repeats asked for", ylabel="repeats to the first end marker", xlim=(0, None), ylim=(0, max(asked))
        )
        ends.legend()
        for count, colour in zip(shown, COLOURS[1:], strict=False):
            counter.plot([0, count], [count, 0], "--", color=colour, linewidth=1)
            for each in left.values():
                counter.plot(each[count], color=colour, linewidth=0.8, alpha=0.5)
            counter.plot([], color=colour, label=f"asked for {count}")
        counter.axhline(0, color="0.8", linewidth=0.8, zorder=0)
        counter.set(xlabel="repeats said", ylabel="repeats left, as read off", xlim=(0, None))
        counter.xaxis.get_major_locator().set_params(integer=True)
        counter.legend()
        return figure

    return draw()


if __name__ == "__main__":
    main()
