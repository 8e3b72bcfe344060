"""The episode of a few sequences, forward and backward, one step after the other: what `ntm.machine` does, compiled.

Compiled once for all sizes. Each call takes the sequences from `first` up to `last`, releases the interpreter's lock
and touches no others', so that threads share a batch by its rows.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ntm.fused.access import measure, read_backward, read_forward, write_backward, write_forward
from ntm.fused.addressing import content_backward, content_forward, location_backward, location_forward
from ntm.fused.cells import (
    GRU,
    LSTM,
    feedforward_backward,
    feedforward_forward,
    gru_backward,
    gru_forward,
    lstm_backward,
    lstm_forward,
)
from ntm.fused.compiled import kernel, stage
from ntm.fused.interface import Layout, squash_backward, squash_forward
from ntm.fused.products import multiply_add
from ntm.fused.simd import LANES, address, flush_denormals, load_first, restore_denormals, spread, store_first

EVERY = 8  # steps from one memory on the tape to the next; those between are written again in the backward pass
BLOCK = 8  # sequences that go through a step together
CHUNK = 128  # rows of a sum over all steps that stay in cache while it runs over them

Array = NDArray[np.float32]


class Sizes(NamedTuple):
    """All that is not in the shape of an array."""

    cell: int
    hidden: int
    own: int  # of a layer's operand, the numbers that are its own previous h: `hidden`, or 0 for a feedforward layer
    inputs: int
    reads: int
    slots: int  # without those that fill up the last vector
    write_then_read: bool
    layout: Layout


class Weights(NamedTuple):
    """Parameters with columns filled up to whole vectors, and layers to the size of the widest."""

    layers: Array  # [layers, operand, gates] forward, [layers, gates, operand] backward
    bias: Array  # [layers, gates]
    interface: Array  # [hidden, interface] forward, [interface, hidden] backward
    interface_bias: Array  # [interface]
    output: Array  # [hidden + reads, output] forward, [output, hidden + reads] backward
    output_bias: Array  # [output]
    outside: Array  # [slots]


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass."""

    u: Array  # [layers, batch, time, operand] each layer's operand: own h before, (reads before,) input
    z: Array  # [layers, batch, time, gates] squashed
    c: Array  # [layers, batch, 1 + time, hidden] the LSTM's cells
    hr: Array  # [batch, time, hidden + reads] what the machine's output layer sees
    p: Array  # [batch, time, interface] before squashing
    q: Array  # [batch, time, interface] squashed
    M: Array  # [batch, time / EVERY, tiles, width, LANES] as found by every EVERY-th step
    K: Array  # [batch, time, heads, slots] similarity
    w_c: Array  # [batch, time, heads, slots]
    w_s: Array  # [batch, time, heads, slots] shifted
    log_w_s: Array  # [batch, time, heads, slots]
    w: Array  # [batch, 1 + time, heads, slots]


class Gradients(NamedTuple):
    """What the backward pass carries from step to step, for every sequence, and so ends with at the initial state."""

    u: Array  # [layers, batch, operand]
    c: Array  # [layers, batch, hidden]
    M: Array  # [batch, tiles, width, LANES]
    w: Array  # [batch, heads, slots]
    z: Array  # [layers, batch, time, gates] before squashing, of every step
    p: Array  # [batch, time, interface] before squashing, of every step
    x: Array  # [batch, time, inputs]
    hr: Array  # [batch, time, hidden + reads]
    h: Array  # [batch, hidden]
    r: Array  # [batch, reads]


@kernel
def episode_forward(first, last, inputs, outputs, tape, weights, sizes, h, M, scale, ring):
    """Run sequences `first` to `last`. A tape of full length is kept whole; a short one is a ring written over."""
    denormals = flush_denormals()
    for start in range(first, last, BLOCK):
        block_forward(start, min(start + BLOCK, last), inputs, tape, weights, sizes, h, M, scale, ring)
    for b in range(first, last):
        for t in range(inputs.shape[1]):
            outputs[b, t] = weights.output_bias
        multiply_add(
            address(outputs, (b, 0, 0)),
            outputs.shape[2],
            address(tape.hr, (b, 0, 0)),
            tape.hr.shape[2],
            1,
            address(weights.output, (0, 0)),
            weights.output.shape[1],
            inputs.shape[1],
            sizes.hidden + sizes.reads,
            outputs.shape[2],
        )
    restore_denormals(denormals)


@stage
def block_forward(first, last, inputs, tape, weights, sizes, h, M, scale, ring):
    steps, states, time = tape.q.shape[1], tape.w.shape[1], inputs.shape[1]
    x = sizes.own + sizes.reads
    for b in range(first, last):
        M[b - first, 0] = tape.M[b, 0]
        measure(M, scale, b - first, 0)
    for t in range(time):
        step, following, prev, now = t % steps, (t + 1) % steps, t % states, (t + 1) % states
        if t + 1 == time:
            following = -1
        for b in range(first, last):
            for i in range(sizes.inputs):
                tape.u[0, b, step, x + i] = inputs[b, t, i]
        controller_forward(first, last, t, step, following, prev, now, tape, weights, sizes, h)
        interface_forward(first, last, t, step, tape, weights, sizes.hidden)
        for b in range(first, last):
            squash_forward(tape.p, tape.q, b, step, sizes.layout)
            if steps == time and t % EVERY == 0:
                tape.M[b, t // EVERY] = M[b - first, 0]
            memory_forward(b, b - first, t, step, prev, now, tape, weights.outside, M, scale, ring, sizes)
            if following >= 0:
                for i in range(sizes.reads):
                    tape.u[0, b, following, sizes.own + i] = tape.hr[b, t, sizes.hidden + i]


@stage
def controller_forward(first, last, t, step, following, prev, now, tape, weights, sizes, h):
    u, z, size = tape.u, tape.z, sizes.hidden
    layers = u.shape[0]
    for layer in range(layers):
        for b in range(first, last):
            z[layer, b, step] = weights.bias[layer]
        multiply_add(
            address(z, (layer, first, step, 0)),
            z.shape[2] * z.shape[3],
            address(u, (layer, first, step, 0)),
            u.shape[2] * u.shape[3],
            1,
            address(weights.layers, (layer, 0, 0)),
            weights.layers.shape[2],
            last - first,
            operand_size(layer, sizes),
            z.shape[3],
        )
        for b in range(first, last):
            if sizes.cell == LSTM:
                lstm_forward(z, tape.c, h, layer, b, step, prev, now, size)
            elif sizes.cell == GRU:
                gru_forward(z, u, h, layer, b, step, size)
            else:
                feedforward_forward(z, h, layer, b, step, size)
            for n in range(size):
                if following >= 0 and sizes.own > 0:
                    u[layer, b, following, n] = h[b, n]
                if layer + 1 < layers:
                    u[layer + 1, b, step, sizes.own + n] = h[b, n]
                else:
                    tape.hr[b, t, n] = h[b, n]


@stage
def operand_size(layer, sizes):
    return sizes.own + (sizes.reads + sizes.inputs if layer == 0 else sizes.hidden)


@stage
def interface_forward(first, last, t, step, tape, weights, size):
    p, hr = tape.p, tape.hr
    for b in range(first, last):
        p[b, step] = weights.interface_bias
    multiply_add(
        address(p, (first, step, 0)),
        p.shape[1] * p.shape[2],
        address(hr, (first, t, 0)),
        hr.shape[1] * hr.shape[2],
        1,
        address(weights.interface, (0, 0)),
        weights.interface.shape[1],
        last - first,
        size,
        p.shape[2],
    )


@stage
def memory_forward(b, lane, t, step, prev, now, tape, outside, M, scale, ring, sizes):
    """One step of the memory, which is overwritten."""
    layout = sizes.layout
    writes, heads = layout.write_heads, layout.heads
    if sizes.write_then_read:
        address_forward(b, lane, step, prev, now, 0, writes, tape, outside, M, scale, ring, sizes)
        write_forward(tape.q, M, scale, tape.w, b, lane, step, now, 0, 0, layout)
        address_forward(b, lane, step, prev, now, writes, heads, tape, outside, M, scale, ring, sizes)
    else:
        address_forward(b, lane, step, prev, now, 0, heads, tape, outside, M, scale, ring, sizes)
    for head in range(writes, heads):
        read_forward(M, tape.w, tape.hr, b, lane, t, 0, now, head, sizes.hidden + (head - writes) * layout.width)
    if not sizes.write_then_read:
        write_forward(tape.q, M, scale, tape.w, b, lane, step, now, 0, 0, layout)


@stage
def address_forward(b, lane, step, prev, now, start, stop, tape, outside, M, scale, ring, sizes):
    layout, q, w, w_c = sizes.layout, tape.q, tape.w, tape.w_c
    for head in range(start, stop):
        if layout.by_location:
            content_forward(q, M, scale, outside, tape.K, w_c, b, lane, step, 0, step, head, layout)
            location_forward(
                q, w_c, tape.w_s, tape.log_w_s, w, outside, ring, b, step, prev, now, head, layout, sizes.slots
            )
        else:
            content_forward(q, M, scale, outside, tape.K, w, b, lane, step, 0, now, head, layout)


@kernel
def episode_backward(first, last, d_outputs, tape, gradients, weights, sizes, need_x, M, scale, ring, dw_c, scratch):
    """Run sequences `first` to `last` backwards."""
    dhr = gradients.hr
    denormals = flush_denormals()
    for b in range(first, last):
        dhr[b] = 0
        multiply_add(
            address(dhr, (b, 0, 0)),
            dhr.shape[2],
            address(d_outputs, (b, 0, 0)),
            d_outputs.shape[2],
            1,
            address(weights.output, (0, 0)),
            weights.output.shape[1],
            dhr.shape[1],
            d_outputs.shape[2],
            sizes.hidden + sizes.reads,
        )
    for start in range(first, last, BLOCK):
        stop = min(start + BLOCK, last)
        block_backward(start, stop, dhr, tape, gradients, weights, sizes, need_x, M, scale, ring, dw_c, scratch)
    restore_denormals(denormals)


@stage
def block_backward(first, last, dhr, tape, gradients, weights, sizes, need_x, M, scale, ring, dw_c, scratch):
    layout, size = sizes.layout, sizes.hidden
    du, dp, dh, dr = gradients.u, gradients.p, gradients.h, gradients.r
    time = dhr.shape[1]
    for t in range(time - 1, -1, -1):
        at = t % EVERY
        for b in range(first, last):
            lane = b - first
            if t + 1 == time or at + 1 == EVERY:
                M[lane, 0] = tape.M[b, t // EVERY]
                measure(M, scale, lane, 0)
                for j in range(at + 1):
                    step = t - at + j
                    write_forward(tape.q, M, scale, tape.w, b, lane, step, step + 1, j, j + 1, layout)
            for i in range(sizes.reads):
                dr[b, i] = dhr[b, t, size + i] + du[0, b, sizes.own + i]
            memory_backward(b, lane, t, at, tape, gradients, M, scale, ring, dw_c, scratch, sizes)
            squash_backward(tape.p, tape.q, dp, b, t, layout)
            for n in range(size):
                dh[b, n] = dhr[b, t, n]
        multiply_add(
            address(dh, (first, 0)),
            dh.shape[1],
            address(dp, (first, t, 0)),
            dp.shape[1] * dp.shape[2],
            1,
            address(weights.interface, (0, 0)),
            weights.interface.shape[1],
            last - first,
            layout.size,
            size,
        )
        for layer in range(du.shape[0] - 1, -1, -1):
            controller_backward(first, last, t, layer, tape, gradients, weights, sizes, need_x)
        if need_x:
            for b in range(first, last):
                for i in range(sizes.inputs):
                    gradients.x[b, t, i] = du[0, b, sizes.own + sizes.reads + i]


@stage
def controller_backward(first, last, t, layer, tape, gradients, weights, sizes, need_x):
    z, dz, du, dh, size = tape.z, gradients.z, gradients.u, gradients.h, sizes.hidden
    for b in range(first, last):
        if layer + 1 < du.shape[0]:
            for n in range(size):
                dh[b, n] = du[layer + 1, b, sizes.own + n]
        if sizes.own > 0:
            for n in range(size):
                dh[b, n] += du[layer, b, n]
        du[layer, b] = 0
        if sizes.cell == LSTM:
            lstm_backward(z, dz, tape.c, gradients.c, dh, layer, b, t, t, t + 1, size)
        elif sizes.cell == GRU:
            gru_backward(z, dz, tape.u, du, dh, layer, b, t, size)
        else:
            feedforward_backward(z, dz, dh, layer, b, t, size)
    columns = operand_size(layer, sizes)
    if layer == 0 and not need_x:
        columns -= sizes.inputs
    multiply_add(
        address(du, (layer, first, 0)),
        du.shape[2],
        address(dz, (layer, first, t, 0)),
        dz.shape[2] * dz.shape[3],
        1,
        address(weights.layers, (layer, 0, 0)),
        weights.layers.shape[2],
        last - first,
        weights.layers.shape[1],
        columns,
    )


@stage
def memory_backward(b, lane, t, found, tape, gradients, M, scale, ring, dw_c, scratch, sizes):
    """One step of the memory that it found in M[lane, found] and left in the next."""
    layout, w, dM, dw, dq = sizes.layout, tape.w, gradients.M, gradients.w, gradients.p
    writes, heads, width = layout.write_heads, layout.heads, layout.width
    at = found + 1 if sizes.write_then_read else found
    if not sizes.write_then_read:
        write_backward(tape.q, dq, M, dM, w, dw, b, lane, t, t + 1, found, layout)
    for head in range(writes, heads):
        read_backward(M, dM, w, dw, gradients.r, b, lane, at, t + 1, head, (head - writes) * width)
    address_backward(b, lane, t, at, writes, heads, tape, gradients, M, scale, ring, dw_c, scratch, sizes)
    if sizes.write_then_read:
        write_backward(tape.q, dq, M, dM, w, dw, b, lane, t, t + 1, found, layout)
    address_backward(b, lane, t, found, 0, writes, tape, gradients, M, scale, ring, dw_c, scratch, sizes)


@stage
def address_backward(b, lane, t, at, start, stop, tape, gradients, M, scale, ring, dw_c, scratch, sizes):
    layout, q, dq, dM, w, dw = sizes.layout, tape.q, gradients.p, gradients.M, tape.w, gradients.w
    K, w_c = tape.K, tape.w_c
    for head in range(start, stop):
        if layout.by_location:
            location_backward(
                q, dq, w_c, tape.w_s, tape.log_w_s, w, dw, dw_c, ring, b, t, t, t + 1, head, layout, sizes.slots
            )
            content_backward(q, dq, M, dM, scale, K, w_c, dw_c, scratch, b, lane, t, at, t, head, layout)
        else:
            for n in range(dw.shape[2]):
                dw_c[n] = dw[b, head, n]
                dw[b, head, n] = 0
            content_backward(q, dq, M, dM, scale, K, w, dw_c, scratch, b, lane, t, at, t + 1, head, layout)


@kernel
def weight_gradient(first, last, dz, u, d_weight, d_bias):
    """Rows `first` to `last` of the gradients of a layer z = W u + b, summed over all steps of all sequences in order.

    dW(g) = sum dz(g) u,  db(g) = sum dz(g)
    """
    denormals = flush_denormals()
    d_weight[first:last] = 0
    for start in range(0, dz.shape[0], CHUNK):
        multiply_add(
            address(d_weight, (first, 0)),
            d_weight.shape[1],
            address(dz, (start, first)),
            1,
            dz.shape[1],
            address(u, (start, 0)),
            u.shape[1],
            last - first,
            min(CHUNK, dz.shape[0] - start),
            d_weight.shape[1],
        )
    for g in range(first, last, LANES):
        d = spread(0.0)
        for row in range(dz.shape[0]):
            d = d + load_first(dz, (row, g), last - g)
        store_first(d_bias, (g,), d, last - g)
    restore_denormals(denormals)
