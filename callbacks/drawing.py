"""What the pictures share: a style, four colour scales, and panels aligned in time under the names of its phases.

The scales are the same in every picture, so that two pictures can be compared: grey for bits, orange for what write
heads do, blue for what read heads do, purple to green for signed values.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from math import ceil
from pathlib import Path
from typing import Any

from jaxtyping import Bool, Float
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import FuncFormatter, MaxNLocator
from PIL import Image
from torch import Tensor

from ntm.trace import Phase

DPI = 120

# Decorates a function: the style holds while it draws, and for nobody else.
styled = rc_context(
    {
        "figure.dpi": DPI,
        "font.size": 9,
        "axes.titlesize": 9,
        "axes.labelsize": 9,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "axes.linewidth": 0.6,
        "axes.edgecolor": "0.5",
        "xtick.color": "0.5",
        "ytick.color": "0.5",
        "xtick.labelcolor": "0.2",
        "ytick.labelcolor": "0.2",
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        "legend.frameon": False,
        "legend.fontsize": 8,
        "lines.linewidth": 1.2,
        "svg.fonttype": "none",  # letters stay letters, to be found and edited
        "pdf.fonttype": 42,
    }
)

# Okabe and Ito's colours, which stay apart for every kind of colour blindness. So do the purple and green of SIGNED.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
READ, WRITE = COLOURS[:2]
WRITES: Colormap = LinearSegmentedColormap.from_list("writes", ["white", "#F5A15C", WRITE, "#7A2E00"])
READS: Colormap = LinearSegmentedColormap.from_list("reads", ["white", "#7DBBE3", READ, "#003A5E"])
SIGNED: Colormap = LinearSegmentedColormap.from_list(
    "signed", ["#40004B", "#762A83", "#B08BC0", "#F7F7F7", "#84C582", "#1B7837", "#00441B"]
).with_extremes(bad="0.55")

Scale = dict[str, Any]
BITS: Scale = {"cmap": "Greys", "vmin": 0, "vmax": 1}
WRITE_WEIGHTING: Scale = {"cmap": WRITES, "vmin": 0, "vmax": 1}
READ_WEIGHTING: Scale = {"cmap": READS, "vmin": 0, "vmax": 1}
ERROR: Scale = {"cmap": SIGNED, "vmin": -1, "vmax": 1}

MOST_SLOTS = 32  # as many are legible however they are used
UNUSED = 0.05  # a slot that no head ever weights more than this may be left out of a picture

# Around the panels, in inches: for labels, for colour bars, for the title and the phases, for the axis and a note.
LEFT, RIGHT, TOP, BOTTOM = 0.75, 0.72, 0.62, 0.62
GAP = 0.12  # between rows
STEP, WIDEST = 0.13, 9.5  # of a step, and of all


def signed(*values: Tensor) -> Scale:
    """Around 0: to 1 either way, which a squashed add vector never leaves, or to the next half for what does."""
    limit = max(1, *(ceil(2 * v.nan_to_num().abs().max()) / 2 for v in values))
    return {"cmap": SIGNED, "vmin": -limit, "vmax": limit}


def bits_or_signed(values: Tensor) -> Scale:
    """Some tasks put a priority or a count on a channel, which grey from 0 to 1 would clip."""
    return BITS if values.min() >= 0 and values.max() <= 1 else signed(values)


def used_slots(*weightings: Float[Tensor, "time _ slots"]) -> range:
    """The slots worth showing: all of them, or the shortest stretch with every one that some head ever uses.

    The slots are a ring, so the stretch may run past the last one: take its numbers modulo the number of slots.
    """
    num_slots = weightings[0].shape[-1]
    peaks = [w.amax(dim=(0, 1)) for w in weightings]
    used = [i for i in range(num_slots) if any(peak[i] > UNUSED for peak in peaks)]
    if num_slots <= MOST_SLOTS or not used:
        return range(num_slots)
    following = [*used[1:], used[0] + num_slots]
    gap, after = max((after - before, after) for before, after in zip(used, following, strict=True))
    start = after % num_slots
    stretch = range(start, start + num_slots - gap + 1)
    return stretch if len(stretch) < 0.75 * num_slots else range(num_slots)


def take(values: Float[Tensor, "*lead slots"], slots: range) -> Float[Tensor, "*lead shown"]:
    """The values of a stretch of slots."""
    return values[..., [i % values.shape[-1] for i in slots]]


def which_slots(slots: range, num_slots: int) -> str:
    """Says what was left out, which a picture must not hide."""
    if len(slots) == num_slots:
        return ""
    return f"slots {slots[0]} to {slots[-1] % num_slots} of {num_slots}: no other is ever weighted above {UNUSED}"


def numbered(name: str, values: Float[Tensor, "time heads _"]) -> Iterator[tuple[str, Float[Tensor, "time _"]]]:
    """Every head's name and values; heads have numbers where there are several."""
    heads = values.unbind(1)
    for i, head in enumerate(heads):
        yield (name if len(heads) == 1 else f"{name} {i + 1}"), head


def height(num_rows: int, least: float = 0.6, most: float = 3.0) -> float:
    """In inches: room for the label and for the rest of the picture, but for no row less than a pixel and a half."""
    return max(min(0.11 * num_rows, most), least, 1.5 * num_rows / DPI)


def grid(widths: Sequence[float], heights: Sequence[float], between: float = GAP) -> tuple[Figure, list[list[Axes]]]:
    """A figure of panels, rows of columns, as wide and as high as said, in inches; `between` the columns.

    Its places are sums, because matplotlib's layout engines draw a picture twice to find them.
    """
    lefts = list(accumulate((width + between for width in widths), initial=LEFT))
    tops = list(accumulate((row + GAP for row in heights), initial=TOP))
    width, length = lefts.pop() - between + RIGHT, tops.pop() - GAP + BOTTOM
    figure = Figure(figsize=(width, length))
    rows = [
        [
            figure.add_axes((left / width, 1 - (top + row) / length, column / width, row / length))
            for left, column in zip(lefts, widths, strict=True)
        ]
        for top, row in zip(tops, heights, strict=True)
    ]
    return figure, rows


def timelines(num_steps: int, heights: Sequence[float], columns: int = 1) -> tuple[Figure, list[list[Axes]]]:
    """A figure of rows aligned in time, as high as said, in inches."""
    width = min(max(STEP * num_steps, 3.5), WIDEST / columns)
    figure, rows = grid([width] * columns, heights, between=LEFT + RIGHT)
    for ax in (ax for row in rows for ax in row):
        ax.tick_params(labelbottom=ax in rows[-1])
        ax.set_xlim(-0.5, num_steps - 0.5)
        ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    for ax in rows[-1]:
        ax.set_xlabel("time")
    return figure, rows


def inches(ax: Axes) -> tuple[float, float]:
    """How wide and how high a panel is."""
    box = ax.get_window_extent()
    return box.width / ax.figure.dpi, box.height / ax.figure.dpi


def title(figure: Figure, text: str) -> None:
    """What a picture is of, above it."""
    width, length = figure.get_size_inches()
    place = {} if figure.get_layout_engine() else {"y": 1 - 0.1 / length}  # a layout engine knows better
    figure.suptitle(text, x=0.1 / width, ha="left", fontsize=10, **place)


def mark_phases(column: Sequence[Axes], phases: Sequence[Phase]) -> None:
    """Names the phases above the panels of a column, and draws a line where each begins, through all of them."""
    first = column[0]
    end = first.get_xlim()[1]
    width, tall = inches(first)
    inch = (end + 0.5) / width  # in steps
    across = first.get_xaxis_transform()
    ends = [*(phase.start - 0.5 for phase in phases), end][1:]
    taken: list[tuple[float, float]] = []
    # The longest first: where two names would touch, the shorter phase goes without.
    for (name, start), stop in sorted(zip(phases, ends, strict=True), key=lambda p: p[0].start - p[1]):
        middle, half = (start - 0.5 + stop) / 2, 0.04 * inch * len(name)
        if all(middle + half < left or right < middle - half for left, right in taken):
            taken.append((middle - half, middle + half))
            first.text(middle, 1 + 0.04 / tall, name, ha="center", fontsize=8, color="0.35", transform=across)
    for ax in column:
        for phase in phases[1:]:
            ax.axvline(phase.start - 0.5, color="0.35", linewidth=0.6, linestyle=(0, (3, 2)))


def show(
    ax: Axes, values: Float[Tensor, "rows columns"], scale: Scale, extent: tuple[float, float, float, float]
) -> AxesImage:
    """One rectangle of colour for every value, blurred into its neighbours by nobody."""
    return ax.imshow(values.numpy(force=True), aspect="auto", interpolation="none", extent=extent, **scale)


def over_time(ax: Axes, values: Float[Tensor, "time rows"], scale: Scale, label: str, first_row: int = 0) -> AxesImage:
    """A map with time to the right and rows down."""
    num_steps, num_rows = values.shape
    image = show(ax, values.T, scale, (-0.5, num_steps - 0.5, first_row + num_rows - 0.5, first_row - 0.5))
    ax.set_ylabel(label)
    ax.yaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
    return image


def color_bar(image: AxesImage, label: str = "", beside: Axes | None = None) -> None:
    """A slim bar to the right of a map, or of another panel, with what its colours mean."""
    ax = beside or image.axes
    assert ax is not None
    inch = 1 / inches(ax)[0]
    low, high = image.get_clim()
    bar = ax.inset_axes((1 + 0.06 * inch, 0, 0.08 * inch, 1))
    ax.figure.colorbar(image, cax=bar, ticks=sorted({low, 0, high}), format="{x:g}", label=label)


def weighting_over_time(ax: Axes, w: Float[Tensor, "time slots"], slots: range, scale: Scale, label: str) -> AxesImage:
    """A weighting over time, a stretch of slots down."""
    image = over_time(ax, take(w, slots), scale, label, first_row=slots.start)
    number_slots(ax, w.shape[-1])
    return image


def number_slots(ax: Axes, num_slots: int) -> None:
    """Slots keep their numbers where the stretch that is shown runs past the last one."""
    ax.yaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: str(int(y) % num_slots)))


def fade_unscored(ax: Axes, mask: Bool[Tensor, " time"]) -> None:
    """The steps that do not count are paler than those that do."""
    ax.broken_barh(runs(~mask), (0.0, 1.0), color="white", alpha=0.6, transform=ax.get_xaxis_transform(), linewidth=0)


def runs(mask: Bool[Tensor, " time"]) -> list[tuple[float, int]]:
    """Start and length of every run of chosen steps, as edges of their pixels."""
    starts = [0, *(mask.diff().nonzero().flatten() + 1).tolist(), len(mask)]
    return [(start - 0.5, stop - start) for start, stop in pairwise(starts) if mask[start]]


def from_zero(ax: Axes) -> None:
    """A logarithm that reaches 0, where a curve should end, with room above; for an axis that has its curves."""
    ax.set_yscale("symlog", linthresh=0.1, linscale=0.3)
    ax.yaxis.set_major_formatter("{x:g}")
    ax.set_ylim(0, max(1, 1.5 * ax.dataLim.ymax) if ax.has_data() else 1)


def shade(cmap: Colormap, i: int, count: int) -> tuple[float, ...]:
    """The colour of line `i` of so many that share a scale, from pale to dark."""
    return cmap(0.6 if count == 1 else 0.35 + 0.6 * i / (count - 1))


def note(figure: Figure, text: str) -> None:
    """Small print below a picture."""
    figure.supxlabel(text, x=1 - 0.1 / figure.get_figwidth(), ha="right", fontsize=8, color="0.35")


def shrink(path: Path) -> None:
    """Write a picture in 256 colours, well packed and without transparency: the same to the eye in half the bytes."""
    with Image.open(path) as image:
        colours = image.convert("RGB").quantize(method=Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    colours.save(path, optimize=True)
