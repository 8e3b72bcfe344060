"""The episode of a few sequences, forward and backward, one step after the other: what `ntm.machine` does, compiled.

Compiled once for all sizes. Each call takes the sequences from `first` up to `last`, releases the interpreter's lock
and touches no others', so that threads share a batch by its rows.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
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
from ntm.fused.interface import Layout, squash_backward, squash_forward
from ntm.fused.products import multiply_add
from ntm.fused.simd import LANES, address

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
    """Parameters with their columns filled up to whole vectors; layer 0 is the widest, the others fill up their rows."""

    layers: Array  # [layers, operand, gates] forward, [layers, gates, operand] backward
    bias: Array  # [layers, gates]
    interface: Array  # [hidden, interface] forward, [interface, hidden] backward
    interface_bias: Array  # [interface]
    outside: Array  # [slots]


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass."""

    u: Array  # [layers, batch, time, operand] each layer's operand: own h before, (reads before,) input
    z: Array  # [layers, batch, time, gates] squashed
    c: Array  # [layers, batch, 1 + time, hidden] the LSTM's cells
    hr: Array  # [batch, time, hidden + reads] what the machine's output layer sees
    p: Array  # [batch, time, interface] before squashing
    q: Array  # [batch, time, interface] squashed
    M: Array  # [batch, 1 + time, width, slots]
    scale: Array  # [batch, 1 + time, slots] one over the norms of M
    K: Array  # [batch, time, heads, slots] similarity
    w_c: Array  # [batch, time, heads, slots]
    w_s: Array  # [batch, time, heads, slots] shifted
    log_w_s: Array  # [batch, time, heads, slots]
    w: Array  # [batch, 1 + time, heads, slots]


class Gradients(NamedTuple):
    """What the backward pass carries from step to step, for every sequence, and so ends with at the initial state."""

    u: Array  # [layers, batch, operand]
    c: Array  # [layers, batch, hidden]
    M: Array  # [batch, width, slots]
    w: Array  # [batch, heads, slots]
    z: Array  # [layers, batch, time, gates] before squashing, of every step
    p: Array  # [batch, time, interface] before squashing, of every step
    x: Array  # [batch, time, inputs]
    h: Array  # [batch, hidden]
    r: Array  # [batch, reads]


@njit(nogil=True, cache=True)
def episode_forward(first, last, inputs, tape, weights, sizes, h):
    """Run sequences `first` to `last`. A tape of full length is kept whole; a short one is a ring written over."""
    layout, size = sizes.layout, sizes.hidden
    steps, states, time = tape.q.shape[1], tape.M.shape[1], inputs.shape[1]
    ring = np.zeros(tape.w.shape[3] + layout.shifts + LANES, np.float32)
    for b in range(first, last):
        measure(tape.M, tape.scale, b, 0)
    for t in range(time):
        step, following, prev, now = t % steps, (t + 1) % steps, t % states, (t + 1) % states
        if t + 1 == time:
            following = -1
        for b in range(first, last):
            tape.u[0, b, step, sizes.own + sizes.reads : sizes.own + sizes.reads + sizes.inputs] = inputs[b, t]
        controller_forward(first, last, t, step, following, prev, now, tape, weights, sizes, h)
        product_forward(first, last, t, step, tape, weights, size)
        for b in range(first, last):
            squash_forward(tape.p, tape.q, b, step, layout)
            memory_forward(b, t, step, prev, now, tape, weights.outside, ring, sizes)
            if following >= 0:
                for i in range(sizes.reads):
                    tape.u[0, b, following, sizes.own + i] = tape.hr[b, t, size + i]


@njit
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


@njit
def operand_size(layer, sizes):
    return sizes.own + (sizes.reads + sizes.inputs if layer == 0 else sizes.hidden)


@njit
def product_forward(first, last, t, step, tape, weights, size):
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


@njit
def memory_forward(b, t, step, prev, now, tape, outside, ring, sizes):
    layout = sizes.layout
    writes, heads, width = layout.write_heads, layout.heads, layout.width
    address_forward(b, step, prev, prev, now, 0, writes, tape, outside, ring, sizes)
    write_forward(tape.q, tape.M, tape.scale, tape.w, b, step, prev, now, layout)
    at = now if sizes.write_then_read else prev
    address_forward(b, step, at, prev, now, writes, heads, tape, outside, ring, sizes)
    for head in range(writes, heads):
        start = sizes.hidden + (head - writes) * width
        read_forward(tape.M, tape.w, tape.hr, b, t, at, now, head, start)


@njit
def address_forward(b, step, at, prev, now, start, stop, tape, outside, ring, sizes):
    layout, q, M, w, w_c = sizes.layout, tape.q, tape.M, tape.w, tape.w_c
    for head in range(start, stop):
        if layout.by_location:
            content_forward(q, M, tape.scale, outside, tape.K, w_c, b, step, at, step, head, layout)
            location_forward(
                q, w_c, tape.w_s, tape.log_w_s, w, outside, ring, b, step, prev, now, head, layout, sizes.slots
            )
        else:
            content_forward(q, M, tape.scale, outside, tape.K, w, b, step, at, now, head, layout)


@njit(nogil=True, cache=True)
def episode_backward(first, last, dhr, tape, gradients, weights, sizes, need_x):
    """Run sequences `first` to `last` backwards. `dhr` is the gradient of `tape.hr`."""
    layout, size = sizes.layout, sizes.hidden
    du, dp, dh, dr = gradients.u, gradients.p, gradients.h, gradients.r
    top = du.shape[0] - 1
    slots = tape.w.shape[3]
    ring = np.zeros(slots + layout.shifts + LANES, np.float32)
    dw_c, scratch = np.zeros(slots, np.float32), np.zeros(slots, np.float32)
    for t in range(dhr.shape[1] - 1, -1, -1):
        for b in range(first, last):
            for i in range(sizes.reads):
                dr[b, i] = dhr[b, t, size + i] + du[0, b, sizes.own + i]
            dp[b, t] = 0
            memory_backward(b, t, tape, gradients, ring, dw_c, scratch, sizes)
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
        for layer in range(top, -1, -1):
            controller_backward(first, last, t, layer, tape, gradients, weights, sizes, need_x)
        if need_x:
            for b in range(first, last):
                for i in range(sizes.inputs):
                    gradients.x[b, t, i] = du[0, b, sizes.own + sizes.reads + i]


@njit
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


@njit
def memory_backward(b, t, tape, gradients, ring, dw_c, scratch, sizes):
    layout, M, w, dM, dw = sizes.layout, tape.M, tape.w, gradients.M, gradients.w
    writes, heads, width = layout.write_heads, layout.heads, layout.width
    at = t + 1 if sizes.write_then_read else t
    if not sizes.write_then_read:
        write_backward(tape.q, gradients.p, M, dM, w, dw, b, t, t, t + 1, layout)
    for head in range(writes, heads):
        read_backward(M, dM, w, dw, gradients.r, b, at, t + 1, head, (head - writes) * width)
    address_backward(b, t, at, writes, heads, tape, gradients, ring, dw_c, scratch, sizes)
    if sizes.write_then_read:
        write_backward(tape.q, gradients.p, M, dM, w, dw, b, t, t, t + 1, layout)
    address_backward(b, t, t, 0, writes, tape, gradients, ring, dw_c, scratch, sizes)


@njit
def address_backward(b, t, at, start, stop, tape, gradients, ring, dw_c, scratch, sizes):
    layout, q, dq, M, dM, w, dw = sizes.layout, tape.q, gradients.p, tape.M, gradients.M, tape.w, gradients.w
    for head in range(start, stop):
        if layout.by_location:
            location_backward(
                q, dq, tape.w_c, tape.w_s, tape.log_w_s, w, dw, dw_c, ring, b, t, t, t + 1, head, layout, sizes.slots
            )
            content_backward(q, dq, M, dM, tape.scale, tape.K, tape.w_c, dw_c, scratch, b, t, at, t, head, layout)
        else:
            for n in range(dw.shape[2]):
                dw_c[n] = dw[b, head, n]
                dw[b, head, n] = 0
            content_backward(q, dq, M, dM, tape.scale, tape.K, w, dw_c, scratch, b, t, at, t + 1, head, layout)
