"""Figures over a run: each a pure function of what it measured."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from callbacks.drawing import COLOURS, READS, WRITES, from_zero, grid, note, shade, styled
from callbacks.metrics import read_rows

Row = Mapping[str, float]  # the figures of one measurement, by their names

COST, FAR, NEAR = COLOURS[2], COLOURS[3], COLOURS[6]  # none is the colour of a head
HEADS = ("peak", "gate", "strength", "shift", "sharpening")


def validations(metrics: Path) -> list[Row]:
    """What each validation of a run measured, from its metrics.csv; nothing where there is no such file."""
    rows = [{name: float(value) for name, value in row.items() if value} for row in read_rows(metrics)]
    return [row for row in rows if "val/error_bits" in row]


@styled
def learning(rows: list[Row], measured: int) -> Figure:
    """Held-out wrong bits and cost, and what every head does meanwhile, over the training sequences seen.

    A dashed line is where the machine that is `measured` had seen so many.

    Where nobody can know the answer, the cost is what is above that of the best guess.
    """
    guessed = any("val/optimal_bits" in row for row in rows)
    if guessed:
        rows = [above_the_best_guess(row) for row in rows]
    names = {name for row in rows for name in row}
    told = [name for name in HEADS if any(key.startswith("head/") and key.endswith(f"/{name}") for key in names)]
    figure, panels = grid([5.5], [1.5, 1.5, *[0.8] * len(told)])
    wrong, cost, *heads = (ax for (ax,) in panels)
    for ax, measure, label in [
        (wrong, "error_bits", "wrong bits\na sequence"),
        (cost, "bits", "bits above\nthe best guess" if guessed else "cost\nbits a sequence"),
    ]:
        for stage, colour, of in [("val", NEAR, "training range"), ("far", FAR, "far beyond it")]:
            curve(ax, rows, f"{stage}/{measure}", colour, of)
        from_zero(ax)
        ax.set_ylabel(label)
    wrong.legend(loc="best")
    for ax, name in zip(heads, told, strict=True):
        for kind, cmap in (("write", WRITES), ("read", READS)):
            own = sorted(key for key in names if key.startswith(f"head/{kind}") and key.endswith(f"/{name}"))
            for i, key in enumerate(own):
                curve(ax, rows, key, shade(cmap, i, len(own)), f"{kind} head")
        ax.set_ylabel(name)
    for (ax,) in panels:
        ax.axvline(measured, color="0.35", linewidth=0.6, linestyle=(0, (3, 2)))
        ax.tick_params(labelbottom=ax is panels[-1][0])
        ax.set_xlim(0, max(row["sequences"] for row in rows))
        ax.xaxis.set_major_formatter("{x:,.0f}")
    panels[-1][0].set_xlabel("training sequences seen")
    if told:
        note(figure, "write heads orange, read heads blue: means over the steps of the fixed example")
    return figure


def above_the_best_guess(row: Row) -> Row:
    excess = {f"{stage}/bits": row[f"{stage}/bits"] - row[f"{stage}/optimal_bits"] for stage in ("val", "far")}
    return {**row, **excess}


def curve(ax: Axes, rows: list[Row], name: str, colour: str | tuple[float, ...], label: str) -> None:
    points = [(row["sequences"], row[name]) for row in rows if name in row]
    if points:
        ax.plot(*zip(*points, strict=True), color=colour, label=label, marker=".", markersize=3, clip_on=False)


@styled
def lengths(test: Mapping[str, Row], trained: tuple[str, str]) -> Figure:
    """Wrong bits and cost of a sequence over the test lengths, after figure 11 of the paper.

    Where nobody can know the answer, the cost is what is above that of the best guess, which errs as well.

    `test` has a measurement for every length, by its name; `trained` names the training range's least and greatest.
    """
    figure, ((ax,),) = grid([5.5], [2.4])
    drawn = {
        ("wrong bits", NEAR): [row["error_bits"] for row in test.values() if "optimal_bits" not in row],
        ("cost in bits", COST): [row["bits"] for row in test.values() if "optimal_bits" not in row],
        ("bits above the best guess", COST): [
            row["bits"] - row["optimal_bits"] for row in test.values() if "optimal_bits" in row
        ],
    }
    for (label, colour), values in drawn.items():
        if values:
            ax.plot(values, color=colour, label=label, marker="o", markersize=4, clip_on=False)
    from_zero(ax)
    ax.set_xticks(range(len(test)), list(test))
    ax.set(xlabel="test length", ylabel="of a sequence", xlim=(-0.3, len(test) - 0.7))
    ax.legend(loc="best")
    least, greatest = trained
    note(figure, "trained on length" + (f" {least}" if least == greatest else f"s from {least} to {greatest}"))
    return figure
