"""Look at how machines of sort find the next vector, and record it in docs/results.md.

    python benchmarks/sorting.py outputs/solve/sort --name "Sort, inside"

A machine may have a place for every range of priorities, where vectors of like priorities meet, as the paper supposes
(figure 17); or a place for every vector, and find the highest that is left by what is written there. Of the best
checkpoint of every run, over held-out sequences and where a weighting has more than half on one slot:

- alone: of the vectors, those that some write head put where it put no other;
- read there: of the answers, those on whose step some read head was at such a place of the right vector;
- marked: of these, but for the last of a sequence, after which nothing comes, those to whose place some write head
  came back on the step or on the next one;
- by priority: how far the place of a vector that is wanted follows from its priority, as in figure 17 (there, in a
  straight line): 1 less the mean squared distance between the places of vectors next in priority over that between any
  two, of the write head of which it is most.
"""

import argparse
import shlex
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from math import pi
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, NamedTuple

import solve
import torch
from jaxtyping import Float
from measure import progress, put, table
from torch import Tensor

from callbacks.figures import FOCUSED
from evaluate import load
from ntm.machine import Machine
from ntm.trace import Trace
from tasks.sort import Sort

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Placed(NamedTuple):
    """How far places follow from priorities, and both."""

    share: float
    priority: Float[Tensor, " vectors"]
    slot: Float[Tensor, " vectors"]


class Found(NamedTuple):
    """What a machine does with sequences of one length: shares, places, and wrong bits of a sequence."""

    alone: float
    read_there: float
    marked: float
    placed: Placed
    wrong: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of runs")
    parser.add_argument("--name", required=True, help="heading of the record")
    parser.add_argument("--lengths", type=int, nargs="+", default=[20, 30])
    parser.add_argument("--size", type=int, default=64, help="held-out sequences of a length")
    options = parser.parse_args()

    runs = solve.finished(options.folder)
    rows: list[list[str]] = []
    placed: dict[int, Placed] = {}
    for run in runs:
        progress(f"seed {run.seed}")
        task, learner = load(str(run.folder / "checkpoints" / "best.ckpt"))
        assert isinstance(task, Sort)
        for length in options.lengths:
            found = measure(task, learner.machine, length, options.size)
            placed.setdefault(run.seed, found.placed)  # of the first length
            shares = [f"{100 * share:.0f}%" for share in (*found[:3], found.placed.share)]
            rows.append([str(run.seed), str(length), *shares, f"{found.wrong:.3g}"])
    command = ["python", "benchmarks/sorting.py", str(options.folder), "--name", options.name]
    image = f"images/sorting_{options.folder.name}.png"
    solve.save(picture(placed), solve.RECORDS.parent / image)
    lines = [
        *[f"## {options.name}", "", f"    {shlex.join(command)}", ""],
        *[solve.made([run.results for run in runs if run.results], 1), ""],
        f"The best checkpoints, {options.size} held-out sequences of every length. Alone: vectors that a write head "
        "put where it put no other. Read there: answers that a read head found at such a place of the right vector. "
        "Marked: of these, but for the last of a sequence, those to whose place a write head came back on the step or "
        "on the next one. By priority: 1 less the mean squared distance between the places of vectors next in "
        "priority, whichever their sequences, over that between any two; of the write head of which it is most.",
        *["", *table(["seed", "vectors", "alone", "read there", "marked", "by priority", "wrong bits"], rows), ""],
        *[f"![Where this head puts vectors, over their priorities, a panel for every seed]({image})", ""],
    ]
    put(solve.RECORDS, options.name, lines, "# Results\n")
    print("\n".join(lines))


def measure(task: Sort, machine: Machine, length: int, size: int) -> Found:
    generator = torch.Generator().manual_seed(0)
    episodes = (task.sample(length, 1, generator) for _ in range(size))
    traces = [replace(machine.trace(episode), phases=task.phases(length)) for episode in episodes]
    told = [places(trace, trace.inputs[:, task.num_bits]) for trace in traces]
    read = [came_back is not None for _, answers in told for came_back in answers]
    marked = [came_back for _, answers in told for came_back in answers[:-1] if came_back is not None]
    return Found(
        mean(share for share, _ in told),
        mean(read),
        mean(marked) if marked else 0.0,
        by_priority(task, traces),
        mean(float(trace.wrong.sum()) for trace in traces),
    )


def by_priority(task: Sort, traces: list[Trace]) -> Placed:
    """Where vectors are put by the write head that does it most by their priorities, of those that have many places.

    Or, where none has as many as half of the vectors that are wanted, by the head that has most.
    """
    priorities, weightings = [], []
    for trace in traces:
        assert trace.memory is not None
        _, (_, length), _ = trace.phases
        priority = trace.inputs[:length, task.num_bits]
        wanted = priority.argsort(descending=True)[: task.num_wanted]
        priorities.append(priority[wanted])
        weightings.append(trace.memory.w_write[wanted])
    priority, order = torch.cat(priorities).sort()
    w = torch.cat(weightings)[order]
    slots = w.shape[-1]
    ring = torch.polar(torch.ones(slots), torch.arange(slots) * 2 * pi / slots)
    heads = []
    for head, place in enumerate((w.to(ring.dtype) @ ring).unbind(1)):
        used = len({at[head] for at in focus(w)} - {None})
        near, far = place.diff().abs().square().mean(), 2 * (place - place.mean()).abs().square().mean()
        share = max(0.0, 1 - (near / far).item()) if used >= task.num_wanted / 2 else 0.0
        heads.append((share, used, place.angle() % (2 * pi) * slots / (2 * pi)))
    share, _, slot = max(heads, key=lambda head: head[:2])
    return Placed(share, priority, slot)


def places(trace: Trace, priority: Tensor) -> tuple[float, list[bool | None]]:
    """The share of vectors with a place of their own; and of every answer whether a head came back to write there.

    None is an answer that was not read from there.
    """
    assert trace.memory is not None
    _, (_, length), (_, answer) = trace.phases
    writes, reads = list(focus(trace.memory.w_write)), list(focus(trace.memory.w_read))
    own: list[set[int | None]] = [set() for _ in range(length)]
    for slots in zip(*writes[:length], strict=True):  # of one head
        for vector, slot in enumerate(slots):
            if slot is not None and slots.count(slot) == 1:
                own[vector].add(slot)
    wanted = priority[:length].argsort(descending=True).tolist()
    answers: list[bool | None] = []
    for t, vector in zip(range(answer, len(reads)), wanted, strict=False):
        there = own[vector].intersection(reads[t])
        answers.append(bool(there.intersection(chain(*writes[t : t + 2]))) if there else None)
    return sum(map(bool, own)) / length, answers


def focus(w: Tensor) -> Iterator[tuple[int | None, ...]]:
    """At every step the slot of every head, or None where it is on no slot by more than half."""
    peak, slot = w.max(-1)
    for peaks, slots in zip(peak.tolist(), slot.tolist(), strict=True):
        yield tuple(at if most > FOCUSED else None for most, at in zip(peaks, slots, strict=True))


def picture(found: dict[int, Placed]) -> "Figure":
    """Places over priorities, a panel for every machine."""
    from matplotlib.figure import Figure

    from callbacks.drawing import WRITE, styled

    @styled
    def draw() -> Figure:
        columns = min(len(found), 5)
        rows = -(-len(found) // columns)
        figure = Figure(figsize=(1.9 * columns, 1.7 * rows), layout="constrained")
        panels = list(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat)
        for ax, (seed, (share, priority, slot)) in zip(panels, found.items(), strict=False):
            ax.plot(priority, slot, ".", color=WRITE, markersize=1, alpha=0.5)
            ax.set_title(f"seed {seed}: {100 * share:.0f}%")
        for ax in panels[len(found) :]:
            ax.set_axis_off()
        figure.supxlabel("priority", fontsize=9)
        figure.supylabel("slot", fontsize=9)
        return figure

    return draw()


if __name__ == "__main__":
    main()
