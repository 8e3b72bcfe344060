"""Pictures of an episode: each a pure function of a `Trace`. Time runs to the right; slots and channels run down."""

import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from callbacks.drawing import (
    BITS,
    ERROR,
    READ,
    READ_WEIGHTING,
    WRITE,
    WRITE_WEIGHTING,
    Scale,
    bits_or_signed,
    color_bar,
    height,
    mark_scored,
    note,
    number_slots,
    numbered,
    over_time,
    show,
    signed,
    styled,
    take,
    timelines,
    used_slots,
    weighting_over_time,
    which_slots,
)
from ntm.trace import MemoryTrace, Trace

MOMENTS = 8  # heatmaps in a picture of the memory's evolution


@styled
def episode(trace: Trace) -> Figure:
    """What went in, what should have come out, what did, and the difference on the steps that count."""
    error = torch.where(trace.mask.unsqueeze(-1), trace.outputs - trace.targets, torch.nan)
    strips = [
        ("input", trace.inputs, bits_or_signed(trace.inputs)),
        ("target", trace.targets, BITS),
        ("output", trace.outputs, BITS),
        ("error", error, ERROR),
    ]
    figure, rows = timelines(len(error), [height(values.shape[1], least=0.9) for _, values, _ in strips])
    for panel, (name, values, scale) in zip(rows, strips, strict=True):
        over_time(panel, values, scale, f"{name}\nchannel")
        if name != "input":
            mark_scored(panel, trace.mask)
    rows[2][1].set_ylabel("probability")
    rows[3][1].set_ylabel("output - target")
    note(figure, "bars mark the scored steps; the others fade")
    return figure


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
    figure, (first, *middle, last) = timelines(
        len(trace.inputs), [height(trace.inputs.shape[1]), *maps, height(trace.outputs.shape[1])]
    )
    over_time(first, trace.inputs, bits_or_signed(trace.inputs), "input\nchannel")
    for panel, (label, w, scale) in zip(middle, heads, strict=True):
        weighting_over_time(panel, w, slots, scale, f"{label}\nslot")
    over_time(last, trace.outputs, BITS, "output\nchannel")
    mark_scored(last, trace.mask)
    note(figure, which_slots(slots, memory.M.shape[1]))
    return figure


@styled
def memory(trace: Trace) -> Figure:
    """The matrix as the episode left it, every slot of it."""
    M = memory_of(trace).M[-1]
    num_slots, slot_width = M.shape
    width, length = height(slot_width, least=1.6, most=6.0), height(num_slots, least=1.6, most=6.0)
    figure = Figure(figsize=(width + 1.1, length + 0.7), layout="constrained")
    ax, bar = figure.subplots(1, 2, width_ratios=[width, 0.08])
    image = show(ax, M, signed(M), (-0.5, slot_width - 0.5, num_slots - 0.5, -0.5))
    number_slots(ax, num_slots)
    ax.set(xlabel="width", ylabel="slot", title=f"memory at t = {len(trace.inputs) - 1}")
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    color_bar(bar, image)
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
    figure = Figure(figsize=(len(moments) * panel + 2.2, height(len(slots), least=1.6, most=5.0) + 0.8))
    figure.set_layout_engine("constrained", w_pad=0.03, wspace=0)
    *axes, write_bar, bar, read_bar = figure.subplots(
        1, len(moments) + 3, width_ratios=[panel] * len(moments) + [0.08] * 3
    )
    for ax, t in zip(axes, moments, strict=True):
        images = between_its_heads(ax, M[t], w_write[t], w_read[t], slots.start, signed(M))
        number_slots(ax, num_slots)
        ax.tick_params(labelleft=ax is axes[0])
        ax.set_title(f"t = {t}")
    axes[0].set_ylabel("slot")
    color_bar(write_bar, images[0], "write weighting (w)")
    color_bar(bar, images[1], "memory (M)")
    color_bar(read_bar, images[2], "read weighting (r)")
    note(figure, which_slots(slots, num_slots))
    return figure


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


@styled
def written_and_read(trace: Trace) -> Figure:
    """What is read is what was written: the add vectors beside the reads, over the weightings that placed them.

    The paper's figure 6: a head that reads slots in the order they were written gives the left picture back, later.
    """
    memory = memory_of(trace)
    slots = used_slots(memory.w_write, memory.w_read)
    scale = signed(memory.a, memory.r)
    num_heads = max(memory.a.shape[1], memory.r.shape[1])
    row = height(memory.a.shape[2], least=0.8, most=4 / num_heads)
    map_row = height(len(slots), least=0.8, most=4 / num_heads)
    channels = max(height(trace.inputs.shape[1]), height(trace.outputs.shape[1]))
    figure, rows = timelines(len(trace.inputs), [channels] + [row] * num_heads + [map_row] * num_heads, columns=2)
    left, right = [row[:2] for row in rows], [row[2:] for row in rows]
    over_time(left[0], trace.inputs, bits_or_signed(trace.inputs), "input\nchannel")
    over_time(right[0], trace.outputs, BITS, "output\nchannel")
    mark_scored(right[0], trace.mask)
    for (_, *panels), vectors, what, w, head, weighting in [
        (left, memory.a, "add vector", memory.w_write, "write head", WRITE_WEIGHTING),
        (right, memory.r, "read vector", memory.w_read, "read head", READ_WEIGHTING),
    ]:
        for panel, (name, vector) in zip(panels, numbered(what, vectors), strict=False):
            over_time(panel, vector, scale, f"{name}\nwidth")
        for panel, (name, focus) in zip(panels[num_heads:], numbered(head, w), strict=False):
            weighting_over_time(panel, focus, slots, weighting, f"{name}\nslot")
            last = panel
        last[0].tick_params(labelbottom=True)
        last[0].set_xlabel("time")
    for ax, bar in left + right:
        if not ax.images:  # one side has more heads than the other
            ax.remove()
            bar.remove()
    note(figure, which_slots(slots, memory.M.shape[1]))
    return figure


def memory_of(trace: Trace) -> MemoryTrace:
    if trace.memory is None:
        raise ValueError("this is a picture of a memory, and the machine has none")
    return trace.memory
