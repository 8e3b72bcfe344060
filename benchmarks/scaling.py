"""Time of a training step of one sequence over its length and over the memory's slots, with a plot.

    python benchmarks/scaling.py --record

Length L is a copy of L vectors, 2 L + 1 steps. Everything else is the paper's machine, one sequence, one thread. The
eager machine is left out where it would take minutes or memory that a laptop does not have.
"""

import statistics
from pathlib import Path

from matplotlib.figure import Figure
from measure import ROOT, Setting, Turns, options, progress, report, spread, table

ENGINES = {"fused": "tab:orange", "eager": "tab:blue"}
EAGER_UP_TO = {"length": 120, "slots": 8192}

Curves = dict[str, dict[str, list[tuple[int, float]]]]  # by axis, by engine: a size, and microseconds of a step


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--plot", type=Path, help="where to; docs/images/scaling.png when recorded")
    args = parser.parse_args()
    sizes = {"length": [20, 120, 1_000, 10_000], "slots": [128, 1_024, 8_192, 65_536]}
    if args.quick:
        sizes, args.rounds = {"length": [2, 4], "slots": [16, 32]}, 1

    curves: Curves = {axis: {engine: [] for engine in ENGINES} for axis in sizes}
    rows = []
    with Turns(threads=1, rounds=args.rounds) as turns:
        for axis, values in sizes.items():
            for value in values:
                progress(f"{axis} {value}")
                one = Setting(batch=1, steps=2 * value + 1) if axis == "length" else Setting(batch=1, slots=value)
                engines = [engine for engine in ENGINES if engine == "fused" or value <= EAGER_UP_TO[axis]]
                taken, _ = turns.compare([one._replace(engine=engine) for engine in engines])
                for setting, seconds in taken.items():
                    each = [1e6 * s / setting.steps for s in seconds]
                    curves[axis][setting.engine].append((value, statistics.median(each)))
                    rows.append([f"{axis} {value:,}", setting.engine, spread(each)])

    path = args.plot or (ROOT / "docs/images/scaling.png" if args.record else None)
    if path:
        plot(curves).savefig(path, dpi=120)
    lines = [f"One thread, {args.rounds} rounds.", ""]
    lines += table(["", "engine", "microseconds a sequence-step (range)"], rows)
    if args.record:
        lines += ["", "![Time of a step over length and over slots](images/scaling.png)"]
    report("Scaling", lines, args.record)


def plot(curves: Curves) -> Figure:
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    for axes, (axis, engines) in zip(figure.subplots(1, 2, sharey=True), curves.items(), strict=True):
        for engine, points in engines.items():
            axes.loglog(*zip(*points, strict=True), "o-", color=ENGINES[engine], label=engine)
        axes.set(xlabel="vectors to copy" if axis == "length" else "slots")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set(ylabel="µs a sequence-step, with its gradient")
    figure.axes[1].legend(frameon=False)
    return figure


if __name__ == "__main__":
    main()
