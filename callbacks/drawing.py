"""What the pictures share: a style, four colour scales, and panels aligned in time.

The scales are the same in every picture, so that two pictures can be compared: grey for bits, orange for what write
heads do, blue for what read heads do, purple to green for signed values.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import ceil
from typing import Any

from jaxtyping import Bool, Float
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import FuncFormatter, MaxNLocator
from torch import Tensor

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
    }
)

# Orange and blue stay apart for every kind of colour blindness (Okabe and Ito), and so do purple and green.
WRITE, READ = "#D55E00", "#0072B2"
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


def signed(*values: Tensor) -> Scale:
    """Around 0: to 1 either way, which an add vector never leaves, or to the next half for what does."""
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


def timelines(num_steps: int, heights: Sequence[float], columns: int = 1) -> tuple[Figure, list[list[Axes]]]:
    """A figure of aligned rows, as high as said; every panel of a row is followed by a slim one for its colour bar."""
    width = min(max(0.13 * num_steps, 3.5), 11 / columns)
    figure = Figure(figsize=(columns * (width + 1.1), sum(heights) + 0.1 * len(heights) + 0.5))
    figure.set_layout_engine("constrained", w_pad=0.03, h_pad=0.03, wspace=0, hspace=0)
    axes = figure.subplots(
        len(heights), 2 * columns, squeeze=False, height_ratios=heights, width_ratios=[width, 0.08] * columns
    )
    for ax in axes[:-1, ::2].flat:
        ax.tick_params(labelbottom=False)
    for ax in axes[-1, ::2]:
        ax.set_xlabel("time")
    return figure, axes.tolist()


def show(
    ax: Axes, values: Float[Tensor, "rows columns"], scale: Scale, extent: tuple[float, float, float, float]
) -> AxesImage:
    """One rectangle of colour for every value, blurred into its neighbours by nobody."""
    return ax.imshow(values.numpy(force=True), aspect="auto", interpolation="none", extent=extent, **scale)


def over_time(
    panel: Sequence[Axes], values: Float[Tensor, "time rows"], scale: Scale, label: str, first_row: int = 0
) -> None:
    """A map with time to the right and rows down, and its colour bar."""
    ax, bar = panel
    num_steps, num_rows = values.shape
    image = show(ax, values.T, scale, (-0.5, num_steps - 0.5, first_row + num_rows - 0.5, first_row - 0.5))
    ax.set_ylabel(label)
    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    ax.yaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
    color_bar(bar, image)


def color_bar(bar: Axes, image: AxesImage, label: str = "") -> None:
    low, high = image.get_clim()
    bar.figure.colorbar(image, cax=bar, ticks=sorted({low, 0, high}), format="{x:g}", label=label)


def weighting_over_time(
    panel: Sequence[Axes], w: Float[Tensor, "time slots"], slots: range, scale: Scale, label: str
) -> None:
    """A weighting over time, a stretch of slots down."""
    over_time(panel, take(w, slots), scale, label, first_row=slots.start)
    number_slots(panel[0], w.shape[-1])


def number_slots(ax: Axes, num_slots: int) -> None:
    """Slots keep their numbers where the stretch that is shown runs past the last one."""
    ax.yaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: str(int(y) % num_slots)))


def mark_scored(panel: Sequence[Axes], mask: Bool[Tensor, " time"]) -> None:
    """A bar along the top of the steps that count; the others fade."""
    ax = panel[0]
    above: dict[str, Any] = {"transform": ax.get_xaxis_transform(), "linewidth": 0}
    ax.broken_barh(runs(mask), (1.0, 0.06), color="0.2", clip_on=False, **above)
    ax.broken_barh(runs(~mask), (0.0, 1.0), color="white", alpha=0.6, **above)


def runs(mask: Bool[Tensor, " time"]) -> list[tuple[float, int]]:
    """Start and length of every run of chosen steps, as edges of their pixels."""
    starts = [0, *(mask.diff().nonzero().flatten() + 1).tolist(), len(mask)]
    return [(start - 0.5, stop - start) for start, stop in pairwise(starts) if mask[start]]


def note(figure: Figure, text: str) -> None:
    """Small print below a picture."""
    figure.supxlabel(text, x=0.99, ha="right", fontsize=8, color="0.35")
