"""The interface vector of one sequence at one step, cut and squashed as `ntm.heads` does; and its gradient.

`p` is what the controller said, `q` the same numbers put in their range: k, beta, (g, s, gamma), e, a, each piece for
all heads, the write heads first. Where the layout says `squash`, k and a pass through tanh.
"""

from typing import NamedTuple

from ntm.fused.compiled import stage
from ntm.fused.elementary import exp, sigmoid, softplus, tanh, within
from ntm.fused.simd import LANES, load_first, spread, store_first, total


class Layout(NamedTuple):
    """Where each piece of an interface vector starts, and how many heads there are to it."""

    k: int
    beta: int
    g: int
    s: int
    gamma: int
    e: int
    a: int
    size: int
    write_heads: int
    heads: int
    width: int
    shifts: int
    by_location: bool
    squash: bool


@stage
def squash_forward(p, q, b, step, layout):
    heads, width = layout.heads, layout.width
    for start, count in ((layout.k, heads * width), (layout.a, layout.write_heads * width)):
        for n in range(0, count, LANES):
            here, rest = (b, step, start + n), count - n
            x = load_first(p, here, rest)
            store_first(q, here, tanh(x) if layout.squash else x, rest)
    for n in range(0, layout.write_heads * width, LANES):
        here, rest = (b, step, layout.e + n), layout.write_heads * width - n
        store_first(q, here, sigmoid(load_first(p, here, rest)), rest)
    for n in range(0, heads, LANES):
        here, rest = (b, step, layout.beta + n), heads - n
        store_first(q, here, softplus(load_first(p, here, rest)), rest)
        if layout.by_location:
            here = (b, step, layout.g + n)
            store_first(q, here, sigmoid(load_first(p, here, rest)), rest)
            here = (b, step, layout.gamma + n)
            store_first(q, here, 1.0 + softplus(load_first(p, here, rest)), rest)
    if layout.by_location:
        for head in range(heads):
            shift_softmax(p, q, b, step, layout.s + head * layout.shifts, layout.shifts)


@stage
def shift_softmax(p, q, b, step, start, count):
    top = p[b, step, start]
    for n in range(1, count):
        top = max(top, p[b, step, start + n])
    mass = spread(0.0)
    for n in range(0, count, LANES):
        here, rest = (b, step, start + n), count - n
        store_first(q, here, exp(load_first(p, here, rest) - top), rest)
        mass = mass + load_first(q, here, rest)
    whole = total(mass)
    for n in range(0, count, LANES):
        here, rest = (b, step, start + n), count - n
        store_first(q, here, load_first(q, here, rest) / whole, rest)


@stage
def squash_backward(p, q, dp, b, step, clip, layout):
    """Turn the gradient of q, in `dp`, into the gradient of p, each number of it between -clip and clip."""
    heads, width = layout.heads, layout.width
    if layout.squash:
        for start, count in ((layout.k, heads * width), (layout.a, layout.write_heads * width)):
            for n in range(0, count, LANES):
                here, rest = (b, step, start + n), count - n
                y = load_first(q, here, rest)
                store_first(dp, here, load_first(dp, here, rest) * (1.0 - y * y), rest)
    for n in range(0, layout.write_heads * width, LANES):
        here, rest = (b, step, layout.e + n), layout.write_heads * width - n
        y = load_first(q, here, rest)
        store_first(dp, here, load_first(dp, here, rest) * y * (1.0 - y), rest)
    for n in range(0, heads, LANES):
        here, rest = (b, step, layout.beta + n), heads - n
        store_first(dp, here, load_first(dp, here, rest) * sigmoid(load_first(p, here, rest)), rest)
        if layout.by_location:
            here = (b, step, layout.gamma + n)
            store_first(dp, here, load_first(dp, here, rest) * sigmoid(load_first(p, here, rest)), rest)
            here = (b, step, layout.g + n)
            y = load_first(q, here, rest)
            store_first(dp, here, load_first(dp, here, rest) * y * (1.0 - y), rest)
    if layout.by_location:
        for head in range(heads):
            start, count = layout.s + head * layout.shifts, layout.shifts
            mean = spread(0.0)
            for n in range(0, count, LANES):
                here, rest = (b, step, start + n), count - n
                mean = mean + load_first(q, here, rest) * load_first(dp, here, rest)
            middle = total(mean)
            for n in range(0, count, LANES):
                here, rest = (b, step, start + n), count - n
                y = load_first(q, here, rest) * (load_first(dp, here, rest) - middle)
                store_first(dp, here, y, rest)
    for n in range(0, layout.size, LANES):
        here, rest = (b, step, n), layout.size - n
        store_first(dp, here, within(load_first(dp, here, rest), clip), rest)
