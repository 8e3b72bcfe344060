"""Pictures of an episode: each a pure function of a `Trace`. Time runs to the right; slots and channels run down."""

from collections.abc import Mapping
from itertools import pairwise
from string import ascii_uppercase
from typing import NamedTuple

import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from callbacks.drawing import (
    BITS,
    ERROR,
    LEFT,
    READ,
    READ_WEIGHTING,
    READS,
    RIGHT,
    TOP,
    WIDEST,
    WRITE,
    WRITE_WEIGHTING,
    WRITES,
    Scale,
    bits_or_signed,
    color_bar,
    fade_unscored,
    grid,
    height,
    mark_phases,
    note,
    number_slots,
    numbered,
    over_time,
    shade,
    show,
    signed,
    styled,
    take,
    timelines,
    used_slots,
    weighting_over_time,
    which_slots,
)
from callbacks.heads import over_steps
from ntm.trace import MemoryTrace, Trace

MOMENTS = 8  # heatmaps in a picture of the memory's evolution
FOCUSED = 0.5  # a weighting of more than this is on one slot
MOST_BOXES = 12  # more would hide the picture


@styled
def episode(trace: Trace) -> Figure:
    """What went in, what should have come out, what did, and the difference on the steps that count.

    Where nobody can know the answer, the best guess stands above the output, and the difference is from that.
    """
    what, right = answer(trace)
    error = torch.where(trace.mask.unsqueeze(-1), trace.outputs - right, torch.nan)
    strips = [
        ("input", trace.inputs, bits_or_signed(trace.inputs), ""),
        ("target", trace.targets, BITS, ""),
        *([] if trace.best_guess is None else [(what, right, BITS, "probability")]),
        ("output", trace.outputs, BITS, "probability"),
        ("error", error, ERROR, f"output - {what}"),
    ]
    figure, rows = timelines(len(error), [height(values.shape[1], least=0.9) for _, values, _, _ in strips])
    for (ax,), (name, values, scale, means) in zip(rows, strips, strict=True):
        image = over_time(ax, values, scale, f"{name}\nchannel")
        if means or scale["vmin"]:
            color_bar(image, means)
        if name != "input":
            fade_unscored(ax, trace.mask)
    mark_phases([ax for (ax,) in rows], trace.phases)
    note(figure, f"{wrong_bits(trace)}; paler steps do not count")
    return figure


def answer(trace: Trace) -> tuple[str, Float[Tensor, "time output"]]:
    """What a perfect machine would say, and what that is called."""
    return ("target", trace.targets) if trace.best_guess is None else ("best guess", trace.best_guess)


def wrong_bits(trace: Trace) -> str:
    """How many bits of the answer are wrong, of how many."""
    return f"{int(trace.wrong.sum())} of {int(trace.mask.sum()) * trace.outputs.shape[1]} bits wrong"


@styled
def weightings(trace: Trace) -> Figure:
    """Where every write head and every read head focuses, between what went in and what came out."""
    memory = memory_of(trace)
    slots = used_slots(memory.w_write, memory.w_read)
    heads = [
        *((label, w, WRITE_WEIGHTING) for label, w in numbered("write head", memory.w_write)),
        *((label, w, READ_WEIGHTING) for label, w in numbered("read head", memory.w_read)),
    ]
    maps = [height(len(slots), least=0.8, most=6 / len(heads))] * len(heads)
    figure, rows = timelines(len(trace.inputs), [height(trace.inputs.shape[1]), *maps, height(trace.outputs.shape[1])])
    first, *middle, last = (ax for (ax,) in rows)
    over_time(first, trace.inputs, bits_or_signed(trace.inputs), "input\nchannel")
    for ax, (label, w, scale) in zip(middle, heads, strict=True):
        color_bar(weighting_over_time(ax, w, slots, scale, f"{label}\nslot"))
    over_time(last, trace.outputs, BITS, "output\nchannel")
    fade_unscored(last, trace.mask)
    mark_phases([first, *middle, last], trace.phases)
    note(figure, which_slots(slots, memory.M.shape[1]))
    return figure


@styled
def memory(trace: Trace) -> Figure:
    """The matrix as the episode left it, every slot of it, between when each slot was written and when it was read.

    Of several heads, the greatest weight.
    """
    memory = memory_of(trace)
    M = memory.M[-1]
    num_slots, slot_width = M.shape
    time = min(max(0.06 * len(memory.M), 1.5), 4.0)
    between = 0.15
    figure, ((left, ax, right),) = grid(
        [time, height(slot_width, least=1.6, most=6.0), time], [height(num_slots, least=1.6, most=6.0)], between
    )
    image = show(ax, M, signed(M), (-0.5, slot_width - 0.5, num_slots - 0.5, -0.5))
    ax.set(xlabel=f"width\nmemory at t = {len(memory.M) - 1}")
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    for side, w, scale, what in [
        (left, memory.w_write, WRITE_WEIGHTING, "when written"),
        (right, memory.w_read, READ_WEIGHTING, "when read"),
    ]:
        over_time(side, w.amax(1), scale, "")
        side.set_xlabel(f"time\n{what}")
        side.xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
        mark_phases([side], trace.phases)
    for panel in (left, ax, right):
        number_slots(panel, num_slots)
        panel.tick_params(labelleft=panel is left)
    left.set_ylabel("slot")
    color_bar(image, "memory M", beside=right)
    return figure


@styled
def evolution(trace: Trace) -> Figure:
    """The memory at moments spread over the episode, between the weightings that wrote it and that read it."""
    memory = memory_of(trace)
    num_slots = memory.M.shape[1]
    slots = used_slots(memory.w_write, memory.w_read)
    M = take(memory.M.transpose(1, 2), slots).transpose(1, 2)
    w_write, w_read = take(memory.w_write, slots), take(memory.w_read, slots)
    moments = sorted({round(t) for t in torch.linspace(0, len(M) - 1, MOMENTS).tolist()})

    panel = 0.8 + 0.12 * (w_write.shape[1] + w_read.shape[1])
    figure, (row,) = grid([panel] * len(moments), [height(len(slots), least=1.6, most=5.0)], between=0.08)
    for ax, t in zip(row, moments, strict=True):
        images = between_its_heads(ax, M[t], w_write[t], w_read[t], slots.start, signed(M))
        number_slots(ax, num_slots)
        ax.tick_params(labelleft=ax is row[0])
        ax.set_title(f"t = {t}")
        ax.set_xlabel(phase_at(trace, t), fontsize=8, color="0.35")
    row[0].set_ylabel("slot")
    color_bar(images[1], "memory M")
    note(figure, which_slots(slots, num_slots) or "write weightings on the left (w), read weightings on the right (r)")
    return figure


def phase_at(trace: Trace, t: int) -> str:
    """The name of the phase of a step."""
    return next((name for name, start in reversed(trace.phases) if start <= t), "")


def between_its_heads(
    ax: Axes,
    M: Float[Tensor, "slots width"],
    w_write: Float[Tensor, "write_heads slots"],
    w_read: Float[Tensor, "read_heads slots"],
    first_slot: int,
    scale: Scale,
) -> list[AxesImage]:
    """A memory with a column for every write head on its left and for every read head on its right."""
    num_slots, slot_width = M.shape
    column, gap = 0.12 * slot_width, 0.08 * slot_width
    images, ticks, left = [], [], 0.0
    for values, width, scaled in [
        (w_write.T, column * len(w_write), WRITE_WEIGHTING),
        (M, slot_width, scale),
        (w_read.T, column * len(w_read), READ_WEIGHTING),
    ]:
        extent = (left, left + width, first_slot + num_slots - 0.5, first_slot - 0.5)
        images.append(show(ax, values, scaled, extent))
        ticks.append(left + width / 2)
        left += width + gap
    ax.set_xlim(0, left - gap)
    ax.set_xticks(ticks, ["w", "M", "r"])
    for label, colour in zip(ax.get_xticklabels(), [WRITE, "0.2", READ], strict=True):
        label.set_color(colour)
    return images


class Echo(NamedTuple):
    """Steps on which a read head is where a write head was: `length` of each, from these on."""

    head: int  # the read head
    written: int
    read: int
    length: int


def echoes(trace: Trace) -> list[Echo]:
    """What of the answer is read where something was written: the latest write before it to the slot in focus."""
    memory = memory_of(trace)
    writing = memory.w_write.amax(1) > FOCUSED
    found = []
    for head, w in enumerate(memory.w_read.unbind(1)):
        pairs = []
        for t in trace.mask.nonzero().flatten().tolist():
            peak, slot = w[t].max(0)
            before = writing[: t + 1, slot].nonzero().flatten()
            if peak > FOCUSED and len(before):
                pairs.append((int(before[-1]), t))
        starts = [i for i, (s, t) in enumerate(pairs) if i == 0 or (s - 1, t - 1) != pairs[i - 1]]
        found += [Echo(head, *pairs[i], stop - i) for i, stop in pairwise([*starts, len(pairs)])]
    return found


@styled
def written_and_read(trace: Trace) -> Figure:
    """What is read is what was written: the add vectors beside the reads, over the weightings that placed them.

    The paper's figure 6: a head that reads slots in the order they were written gives the left picture back, later.
    Boxes with one letter hold the same slots.
    """
    memory = memory_of(trace)
    slots = used_slots(memory.w_write, memory.w_read)
    scale = signed(memory.a, memory.r)
    num_heads = max(memory.a.shape[1], memory.r.shape[1])
    row = height(memory.a.shape[2], least=0.8, most=4 / num_heads)
    map_row = height(len(slots), least=0.8, most=4 / num_heads)
    channels = max(height(trace.inputs.shape[1]), height(trace.outputs.shape[1]))
    figure, rows = timelines(len(trace.inputs), [channels] + [row] * num_heads + [map_row] * num_heads, columns=2)
    left, right = ([row[side] for row in rows] for side in (0, 1))
    over_time(left[0], trace.inputs, bits_or_signed(trace.inputs), "input\nchannel")
    over_time(right[0], trace.outputs, BITS, "output\nchannel")
    fade_unscored(right[0], trace.mask)
    for (_, *panels), vectors, what, w, head, weighting in [
        (left, memory.a, "add vector", memory.w_write, "write head", WRITE_WEIGHTING),
        (right, memory.r, "read vector", memory.w_read, "read head", READ_WEIGHTING),
    ]:
        for ax, (name, vector) in zip(panels, numbered(what, vectors), strict=False):
            color_bar(over_time(ax, vector, scale, f"{name}\nwidth"))
        for ax, (name, focus) in zip(panels[num_heads:], numbered(head, w), strict=False):
            color_bar(weighting_over_time(ax, focus, slots, weighting, f"{name}\nslot"))
            last = ax
        last.tick_params(labelbottom=True)
        last.set_xlabel("time")
    for side in (left, right):
        mark_phases([ax for ax in side if ax.images], trace.phases)
    letters: dict[tuple[int, int], str] = {}
    for echo in sorted(echoes(trace), key=lambda echo: -echo.length)[:MOST_BOXES]:
        letter = letters.setdefault((echo.written, echo.length), ascii_uppercase[len(letters)])
        for ax in left[1 : 1 + memory.a.shape[1]]:
            box(ax, echo.written, echo.length, letter)
        box(right[1 + echo.head], echo.read, echo.length, letter)
    for ax in left + right:
        if not ax.images:  # one side has more heads than the other
            ax.remove()
    note(figure, which_slots(slots, memory.M.shape[1]))
    return figure


def box(ax: Axes, start: int, length: int, letter: str) -> None:
    """A frame around some steps of a map, and its letter above it."""
    bottom, top = ax.get_ylim()
    at = (start - 0.5, top)
    ax.add_patch(Rectangle(at, length, bottom - top, fill=False, edgecolor="black", linewidth=1.6, clip_on=False))
    middle = (start - 0.5 + length / 2, top)
    ax.annotate(letter, middle, (0, 2), textcoords="offset points", ha="center", fontsize=7, weight="bold")


@styled
def addressing(trace: Trace) -> Figure:
    """What every head was told at every step, and how sharp its focus was: the parameters of section 3.3 over time."""
    memory = memory_of(trace)
    reach = max(1, memory.write.s.shape[-1] // 2)
    panels = [
        ("peak", "greatest\nweight", (-0.05, 1.05)),
        ("strength", "key\nstrength", (0, None)),
        ("gate", "gate", (-0.05, 1.05)),
        ("shift", "shift\n(slots)", (-1.1 * reach, 1.1 * reach)),
        ("sharpening", "sharpening", (1, None)),
        ("erase", "erase", (-0.05, 1.05)),
        ("add", "add\n(size)", (0, None)),
    ]
    figure, rows = timelines(len(trace.inputs), [0.7] * len(panels))
    measured = over_steps(memory)
    for (ax,), (name, text, limits) in zip(rows, panels, strict=True):
        for kind, cmap in (("write", WRITES), ("read", READS)):
            heads = measured[kind][name].unbind(1) if name in measured[kind] else ()
            for i, values in enumerate(heads):
                label = f"{kind} head {i + 1}" if len(heads) > 1 else f"{kind} head"
                if 0 < i < len(heads) - 1:
                    label = "_"  # a shade between those of the first and the last, which the legend names
                ax.plot(values.numpy(force=True), color=shade(cmap, i, len(heads)), label=label, drawstyle="steps-mid")
        ax.set_ylim(*limits)
        ax.set_ylabel(text)
    figure.legend(*rows[0][0].get_legend_handles_labels(), loc="lower center", ncols=4)
    mark_phases([ax for (ax,) in rows], trace.phases)
    return figure


@styled
def generalisation(episodes: Mapping[str, Trace]) -> Figure:
    """The answers to episodes of several lengths: target, output and error, side by side; figures 4, 5 and 14.

    Only the steps that count; `episodes` by how they are called. A best guess stands in between, as in `episode`.
    """
    cell = min(0.07, WIDEST / max(int(trace.mask.sum()) for trace in episodes.values()))
    rows = [max(0.07 * trace.outputs.shape[1], 0.25) for trace in episodes.values()]
    strip, below, beside, narrowest = max(rows), 0.05, 0.3, 1.15
    guessed = any(trace.best_guess is not None for trace in episodes.values())
    block = (4 if guessed else 3) * (strip + below) + 0.5

    places, x, y = [], 0.0, 0.0  # of the blocks, as words on a page
    for trace in episodes.values():
        width = cell * int(trace.mask.sum())
        if x and x + width > WIDEST:
            x, y = 0.0, y + block
        places.append((x, y, width))
        x += max(width, narrowest) + beside
    width = LEFT + max(x + max(w, narrowest) for x, _, w in places) + RIGHT
    length = TOP + y + block + 0.1
    figure = Figure(figsize=(width, length))
    for (name, trace), (x, y, w) in zip(episodes.items(), places, strict=True):
        best, right = answer(trace)
        strips = [
            ("target", trace.targets, BITS),
            *([(best, right, BITS)] if guessed else []),
            ("output", trace.outputs, BITS),
            ("error", trace.outputs - right, ERROR),
        ]
        for i, (what, values, scale) in enumerate(strips):
            top = TOP + y + i * (strip + below)
            ax = figure.add_axes(((LEFT + x) / width, 1 - (top + strip) / length, w / width, strip / length))
            over_time(ax, values[trace.mask], scale, "")
            ax.set(xticks=[], yticks=[])
            if x == 0:  # across: a strip of one channel is too low for letters along it
                ax.set_ylabel(what, rotation=0, ha="right", va="center", fontsize=8)
            if what == "target":
                ax.set_title(name, loc="left")
            if what == "error":
                ax.set_xlabel(wrong_bits(trace), loc="left", fontsize=8, color="0.35")
    return figure


def memory_of(trace: Trace) -> MemoryTrace:
    if trace.memory is None:
        raise ValueError("this is a picture of a memory, and the machine has none")
    return trace.memory
