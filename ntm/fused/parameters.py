"""Parameters and initial states as one vector, the way torch's modules have them, and as the kernels have them.

In the vector stand the interface layer, the output layer and the controller's layers, each with its weights before its
biases and those of its input before those of its own h; then `Start`. Gradients go back in the same places.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ntm.fused.cells import GRU, LSTM
from ntm.fused.compiled import kernel, stage
from ntm.fused.interface import Layout
from ntm.fused.simd import LANES, copy, load_first, store_first

Array = NDArray[np.float32]


class Sizes(NamedTuple):
    """All that is not in the shape of an array."""

    cell: int
    layers: int
    hidden: int
    own: int  # of a layer's operand, the numbers that are its own previous h: `hidden`, or 0 for a feedforward layer
    states: int  # of a layer: h and c, h alone, or none
    gates: int  # of a layer, all together
    inputs: int
    reads: int
    outputs: int
    slots: int  # without those that fill up the last vector
    write_then_read: bool
    clip: np.float32  # bound of the gradient of each number of an interface, at every step
    clip_w: np.float32  # and of a weighting
    layout: Layout


class Weights(NamedTuple):
    """Parameters with columns filled up to whole vectors, and layers to the size of the widest; or their gradients."""

    layers: Array  # [layers, operand, gates] forward, [layers, gates, operand] backward
    bias: Array  # [layers, gates]
    interface: Array  # [hidden, interface] forward, [interface, hidden] backward
    interface_bias: Array  # [interface]
    output: Array  # [hidden + reads, output] forward, [output, hidden + reads] backward
    output_bias: Array  # [output]


class Start(NamedTuple):
    """What every sequence starts from; or, added up over the sequences, its gradient."""

    states: Array  # [layers, states, hidden]
    M: Array  # [slots, width]
    w: Array  # [heads, slots]
    r: Array  # [reads]


@stage
def operand_size(layer, sizes):
    return sizes.own + (sizes.reads + sizes.inputs if layer == 0 else sizes.hidden)


@kernel
def pack(vector, forward, backward, sizes):
    """Lay the parameters out for both passes."""
    backward.layers[:] = 0
    backward.bias[:] = 0
    backward.interface[:] = 0
    backward.interface_bias[:] = 0
    backward.output[:] = 0
    backward.output_bias[:] = 0
    exchange(vector, backward, sizes, False)
    for layer in range(sizes.layers):
        transpose(backward.layers[layer], forward.layers[layer])
    transpose(backward.interface, forward.interface)
    transpose(backward.output, forward.output)
    copy(forward.bias, (0, 0), backward.bias, (0, 0), forward.bias.size)
    copy(forward.interface_bias, (0,), backward.interface_bias, (0,), forward.interface_bias.size)
    copy(forward.output_bias, (0,), backward.output_bias, (0,), forward.output_bias.size)


@kernel
def unpack(vector, weights, gradients, sizes):
    """Gather the gradients: those of the weights, and what reached the start of every sequence."""
    exchange(vector, weights, sizes, True)
    start_backward(start_of(vector, sizes), gradients, sizes)


@stage
def transpose(source, target):
    rows = len(source)
    for column in range(len(target)):
        for row in range(rows):
            target[column, row] = source[row, column]
        target[column, rows:] = 0


# -- weights -----------------------------------------------------------------------------------------------------------


@stage
def exchange(vector, weights, sizes, back):
    """Bring the parameters in the vector to `weights` in their backward form, or put their gradients `back`."""
    hidden, own, seen, said = sizes.hidden, sizes.own, sizes.hidden + sizes.reads, sizes.layout.size
    at = move(vector, 0, hidden, weights.interface, 0, said, 0, hidden, back)
    at = move_bias(vector, at, weights.interface_bias, 0, said, back)
    at = move(vector, at, seen, weights.output, 0, sizes.outputs, 0, seen, back)
    at = move_bias(vector, at, weights.output_bias, 0, sizes.outputs, back)
    # A GRU's new content sees its input and its own h apart: rows `own` further down.
    rows = 3 * own if sizes.cell == GRU else sizes.gates
    joint = 2 * own if sizes.cell == GRU else 4 * own
    for layer in range(sizes.layers):
        weight, bias, end = weights.layers[layer], weights.bias[layer], operand_size(layer, sizes)
        inputs = sizes.inputs if layer == 0 else 0  # stand first in the parameter, last in the operand
        move(vector, at, end - own, weight, 0, rows, end - inputs, end, back)
        move(vector, at + inputs, end - own, weight, 0, rows, own, end - inputs, back)
        at += rows * (end - own)
        at = move(vector, at, own, weight, 0, joint, 0, own, back)
        at = move(vector, at, own, weight, joint + own, 4 * own, 0, own, back)
        at = move_bias(vector, at, bias, 0, rows, back)
        at = move_bias(vector, at, bias, 0, joint, back)
        at = move_bias(vector, at, bias, joint + own, 4 * own, back)


@stage
def move(vector, at, columns, weight, top, bottom, left, right, back):
    """Between weight[top:bottom, left:right] and rows of `columns` numbers from vector[at]; where they end."""
    for row in range(top, bottom):
        for i in range(left, right, LANES):
            place, here, rest = (at + i - left,), (row, i), right - i
            if back:
                store_first(vector, place, load_first(weight, here, rest), rest)
            else:
                store_first(weight, here, load_first(vector, place, rest), rest)
        at += columns
    return at


@stage
def move_bias(vector, at, bias, first, last, back):
    for i in range(first, last):
        if back:
            vector[at + i - first] = bias[i]
        else:
            bias[i] += vector[at + i - first]
    return at + max(last - first, 0)


# -- initial states ----------------------------------------------------------------------------------------------------


@stage
def start_of(vector, sizes):
    """The last numbers of the vector."""
    width, heads = sizes.layout.width, sizes.layout.heads
    r = len(vector) - sizes.reads
    w = r - heads * sizes.slots
    M = w - sizes.slots * width
    states = M - sizes.layers * sizes.states * sizes.hidden
    return Start(
        vector[states:M].reshape(sizes.layers, sizes.states, sizes.hidden),
        vector[M:w].reshape(sizes.slots, width),
        vector[w:r].reshape(heads, sizes.slots),
        vector[r:],
    )


@stage
def start_forward(start, tape, M, b, lane, sizes):
    """One sequence's first operands, cells, weightings and, in M[lane, 0], memory."""
    for layer in range(sizes.layers):
        copy(tape.u, (layer, b, 0, 0), start.states, (layer, 0, 0), sizes.own)
        if sizes.cell == LSTM:
            copy(tape.c, (layer, b, 0, 0), start.states, (layer, 1, 0), sizes.hidden)
    copy(tape.u, (0, b, 0, sizes.own), start.r, (0,), sizes.reads)
    tape.w[b, 0] = 0
    for head in range(sizes.layout.heads):
        copy(tape.w, (b, 0, head, 0), start.w, (head, 0), sizes.slots)
    M[lane, 0] = 0
    for n in range(sizes.slots):
        for i in range(sizes.layout.width):
            M[lane, 0, n // LANES, i, n % LANES] = start.M[n, i]


@stage
def start_backward(start, gradients, sizes):
    """The sum over the sequences, one after the other."""
    for layer in range(sizes.layers):
        for state in range(sizes.states):
            reached = gradients.u if state == 0 else gradients.c
            for n in range(sizes.hidden):
                start.states[layer, state, n] = reached[layer, :, n].sum()
    for i in range(sizes.reads):
        start.r[i] = gradients.u[0, :, sizes.own + i].sum()
    start.w[:] = 0
    start.M[:] = 0
    for b in range(len(gradients.w)):
        for head in range(sizes.layout.heads):
            for n in range(sizes.slots):
                start.w[head, n] += gradients.w[b, head, n]
        for n in range(sizes.slots):
            for i in range(sizes.layout.width):
                start.M[n, i] += gradients.M[b, n // LANES, i, n % LANES]
