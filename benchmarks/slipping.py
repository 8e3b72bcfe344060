"""See how decided the write heads of machines of copy are, and how rarely they slip; record it in docs/results.md.

    python benchmarks/slipping.py outputs/solve/copy_cross_entropy --name "Copy, slipping"

While vectors come in, the write head is to go on by one slot at every step. A shift weighting that says so by a little
more than a half is enough, as long as sharpening makes a slot of it; where a rare vector takes the rest, the weighting
spreads over two slots, two vectors end in one, and all that follow are read a slot too early. Of the best checkpoint of
every run, over held-out sequences of 20 vectors:

- shift: what the shift weighting gives to the shift that it usually takes, in the middle and in one step of a thousand;
- wrong: sequences of so many with a wrong bit.
"""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import solve
import torch
from measure import progress, put, table

from evaluate import load
from ntm.machine import Machine
from ntm.memories.matrix import MatrixMemory
from ntm.metrics import exact
from tasks.base import split
from tasks.copy import Copy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VECTORS = 20  # of a sequence, as many as were learned from
LOOKED_AT = 2_048  # of the sequences, for their shifts


class Steadiness(NamedTuple):
    """What a machine's write head does while vectors come in, and how many of its answers are wrong."""

    usual: float  # median of what its usual shift is given
    least: float  # in one step of a thousand
    wrong: int  # sequences


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of runs")
    parser.add_argument("--name", required=True, help="heading of the record")
    parser.add_argument("--size", type=int, default=16_384, help="held-out sequences")
    options = parser.parse_args()

    runs = solve.finished(options.folder)
    found: dict[int, Steadiness] = {}
    for run in runs:
        progress(f"seed {run.seed}")
        task, learner = load(str(run.folder / "checkpoints" / "best.ckpt"))
        assert isinstance(task, Copy)
        found[run.seed] = measure(task, learner.machine, options.size)
    command = ["python", "benchmarks/slipping.py", str(options.folder), "--name", options.name]
    image = f"images/slipping_{options.folder.name}.png"
    solve.save(picture(found, options.size), solve.RECORDS.parent / image)
    rows = [[str(seed), f"{each.usual:.2f}", f"{each.least:.2f}", f"{each.wrong:,}"] for seed, each in found.items()]
    lines = [
        *[f"## {options.name}", "", f"    {shlex.join(command)}", ""],
        *[solve.made([run.results for run in runs if run.results], 1), ""],
        f"The best checkpoints, {options.size:,} held-out sequences of {VECTORS} vectors. Shift: what the write head's "
        "shift weighting gives, while vectors come in, to the shift that it usually takes, in the middle and in one "
        f"step of a thousand, over {min(LOOKED_AT, options.size):,} of them. Wrong: sequences with a wrong bit.",
        *["", *table(["seed", "shift", "1 in 1,000", "wrong"], rows), ""],
        *[f"![Wrong sequences over the shift in one step of a thousand, a point for every seed]({image})", ""],
    ]
    put(solve.RECORDS, options.name, lines, "# Results\n")
    print("\n".join(lines))


@torch.no_grad()
def measure(task: Copy, machine: Machine, size: int) -> Steadiness:
    generator = torch.Generator().manual_seed(0)
    assert isinstance(machine.memory, MatrixMemory)
    shifts, wrong, seen = [], 0, 0
    for count in split(size):
        batch = task.sample(VECTORS, count, generator)
        wrong += int((exact(machine(batch.inputs), batch.targets, batch.mask) == 0).sum())
        if seen < LOOKED_AT:
            steps = list(machine.steps(batch.inputs[:, :VECTORS]))[1:]  # the first only leaves the start
            shifts += [machine.memory.heads.cut(step.interface).write.s[:, 0] for step in steps]
        seen += count
    s = torch.cat(shifts)
    usual = s[:, s.mean(0).argmax()]
    return Steadiness(usual.median().item(), usual.quantile(0.001).item(), wrong)


def picture(found: dict[int, Steadiness], size: int) -> "Figure":
    """Wrong sequences over the least shift, a point for every seed."""
    from matplotlib.figure import Figure

    from callbacks.drawing import COLOURS, styled

    @styled
    def draw() -> Figure:
        figure = Figure(figsize=(5.5, 3), layout="constrained")
        ax = figure.subplots()
        ax.axvline(0.5, color="0.8", linewidth=0.8)
        ax.plot(
            [each.least for each in found.values()],
            [each.wrong for each in found.values()],
            ".",
            color=COLOURS[0],
            clip_on=False,
        )
        ax.set_yscale("symlog", linthresh=1)
        ax.set_yticks([0, 1, 10, 100, 1_000], ["0", "1", "10", "100", "1,000"])
        ax.set(xlim=(None, 1), ylim=(0, 1_000), ylabel=f"wrong of {size:,} sequences")
        ax.set_xlabel("what the write head's usual shift is given in one step of a thousand")
        return figure

    return draw()


if __name__ == "__main__":
    main()
