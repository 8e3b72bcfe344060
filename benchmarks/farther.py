"""Measure machines on sequences longer than their memory was, given slots for them, and record it in docs/results.md.

    python benchmarks/farther.py outputs/solve/copy_cross_entropy --name "Copy, far beyond" --lengths 120 500 2000

No parameter knows the number of slots, so the best checkpoint of every run in the folder is measured at every length
with a twentieth more slots than it has to keep vectors. Its initial memory and weightings must be constant.
"""

import argparse
import shlex
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import solve
from measure import progress, put, table

import summarize
from evaluate import configuration, rebuild
from ntm.checkpoints import read_checkpoint

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Errors = dict[int, float]  # mean wrong bits of a sequence, by length


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of runs")
    parser.add_argument("--name", required=True, help="heading of the record")
    parser.add_argument("--lengths", type=int, nargs="+", required=True)
    parser.add_argument("--size", type=int, default=16, help="held-out sequences of a length")
    options = parser.parse_args()

    runs = solve.finished(options.folder)
    found: dict[int, Errors] = {}
    for run in runs:
        progress(f"seed {run.seed}")
        path = run.folder / "checkpoints" / "best.ckpt"
        found[run.seed] = {length: measure(path, length, options.size) for length in options.lengths}
    command = ["python", "benchmarks/farther.py", str(options.folder), "--name", options.name]
    command += ["--lengths", *map(str, options.lengths), "--size", str(options.size)]
    image = f"images/farther_{options.folder.name}.png"
    solve.save(picture(found, runs[0].task), solve.RECORDS.parent / image)
    lines = [
        *[f"## {options.name}", "", f"    {shlex.join(command)}", ""],
        *[solve.made([run.results for run in runs if run.results], 1), ""],
        f"The best checkpoints of seeds {min(found)} to {max(found)}; {options.size} held-out sequences of every "
        "length, in a memory with a twentieth more slots than vectors.",
        *["", *table(["length", "without a wrong bit", "wrong bits: median (range)"], rows(found)), ""],
        *[f"![Wrong bits over length, a line for every seed]({image})", ""],
    ]
    put(solve.RECORDS, options.name, lines, "# Results\n")
    print("\n".join(lines))


def measure(path: Path, length: int, size: int) -> float:
    """The mean wrong bits of a checkpoint's machine on so many sequences of a length, with slots for it."""
    checkpoint = read_checkpoint(str(path))
    cfg = configuration(checkpoint)
    cfg.callbacks = {}
    cfg.task.update(test_lengths=[length], test_size=size)
    cfg.trainer.update(enable_checkpointing=False)
    cfg.memory.num_slots = length * 21 // 20
    with TemporaryDirectory() as cfg.output_dir:
        task, learner, trainer = rebuild(cfg, checkpoint, str(path))
        trainer.test(learner, datamodule=task, verbose=False)
    return trainer.callback_metrics[f"test/{length}/error_bits"].item()


def rows(found: dict[int, Errors]) -> list[list[str]]:
    return [
        [f"{length:,}", f"{sum(error == 0 for error in errors)} of {len(errors)}", str(summarize.spread(errors))]
        for length in next(iter(found.values()))
        if (errors := [each[length] for each in found.values()])
    ]


def picture(found: dict[int, Errors], task: str) -> "Figure":
    """Wrong bits over length, a line for every seed."""
    from matplotlib.figure import Figure

    from callbacks.drawing import COLOURS, from_zero, styled

    @styled
    def draw() -> Figure:
        figure = Figure(figsize=(5.5, 3), layout="constrained")
        ax = figure.subplots()
        for errors in found.values():
            ax.plot(*zip(*errors.items(), strict=True), ".-", color=COLOURS[0], linewidth=0.8, alpha=0.5, clip_on=False)
        from_zero(ax)
        ax.set(xscale="log", xlabel="test length", ylabel="wrong bits of a sequence", title=f"{task}: every seed")
        ax.set_xticks(list(next(iter(found.values()))), [f"{n:,}" for n in next(iter(found.values()))])
        ax.minorticks_off()
        return figure

    return draw()


if __name__ == "__main__":
    main()
