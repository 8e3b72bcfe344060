"""The episode of a few sequences, forward and backward, one step after the other: what `ntm.machine` does, compiled.

Compiled once for all sizes. Each call takes the sequences from `first` up to `last`, releases the interpreter's lock
and touches no others', so that threads share a batch by its rows.
"""

from typing import NamedTuple

from ntm.fused.access import measure, read_backward, read_forward, write_backward, write_forward
from ntm.fused.addressing import OUTSIDE, content_backward, content_forward, location_backward, location_forward
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
from ntm.fused.elementary import within
from ntm.fused.interface import squash_backward, squash_forward
from ntm.fused.parameters import Array, operand_size, start_forward, start_of
from ntm.fused.products import multiply_add
from ntm.fused.simd import (
    LANES,
    address,
    copy,
    fetch,
    flush_denormals,
    load,
    load_first,
    restore_denormals,
    spread,
    store,
    store_first,
)

EVERY = 8  # steps from one memory on the tape to the next; those between are written again in the backward pass
BLOCK = 8  # sequences that go through a step together
CHUNK = 128  # rows of a sum over all steps that stay in cache while it runs over them


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass."""

    u: Array  # [layers, batch, time, operand] each layer's operand: own h before, (reads before,) input
    z: Array  # [layers, batch, time, gates] squashed
    c: Array  # [layers, batch, 1 + time, hidden] the LSTM's cells
    h: Array  # [batch, hidden] what a layer says, of the step at hand
    hr: Array  # [batch, time, hidden + reads] what the machine's output layer sees
    p: Array  # [batch, time, interface] before squashing
    q: Array  # [batch, time, interface] squashed
    M: Array  # [batch, time / EVERY, tiles, width, LANES] as found by every EVERY-th step
    K: Array  # [batch, time, heads, slots] similarity
    w_c: Array  # [batch, time, heads, slots]
    w: Array  # [batch, 1 + time, heads, slots]


class Scratch(NamedTuple):
    """What one thread works on."""

    M: Array  # [BLOCK, 1 (forward) or EVERY + 1, tiles, width, LANES]
    scale: Array  # [BLOCK, as M, slots] 1 / |M(n)|
    ring: Array  # [slots + shifts + a vector]
    outside: Array  # [slots] 0, and beyond the memory's slots OUTSIDE
    dw_c: Array  # [slots]
    spare: Array  # [slots]


class Gradients(NamedTuple):
    """What the backward pass carries from step to step, for every sequence, and so ends with at the initial state."""

    u: Array  # [layers, batch, operand]
    c: Array  # [layers, batch, hidden]
    M: Array  # [batch, tiles, width, LANES]
    w: Array  # [batch, heads, slots]
    z: Array  # [layers, batch, time, gates] before squashing, of every step
    p: Array  # [batch, time, interface] before squashing, of every step
    x: Array  # [batch, time, inputs]
    hr: Array  # [batch, hidden + reads] of the step at hand, as h and r
    h: Array  # [batch, hidden]
    r: Array  # [batch, reads]


@kernel
def episode_forward(first, last, inputs, outputs, vector, tape, weights, scratch, sizes):
    """Run sequences `first` to `last`. A tape of full length is kept whole; a short one is a ring written over."""
    denormals = flush_denormals()
    scratch.ring[:] = 0
    scratch.outside[: sizes.slots] = 0
    scratch.outside[sizes.slots :] = OUTSIDE
    start = start_of(vector, sizes)
    for b in range(first, last, BLOCK):
        block_forward(b, min(b + BLOCK, last), inputs, start, tape, weights, scratch, sizes)
    for b in range(first, last):
        for t in range(inputs.shape[1]):
            copy(outputs, (b, t, 0), weights.output_bias, (0,), outputs.shape[2])
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
def block_forward(first, last, inputs, start, tape, weights, scratch, sizes):
    steps, states, time = tape.q.shape[1], tape.w.shape[1], inputs.shape[1]
    x, stored = sizes.own + sizes.reads, memory_size(scratch.M)
    for b in range(first, last):
        start_forward(start, tape, scratch.M, b, b - first, sizes)
        measure(scratch.M, scratch.scale, b - first, 0)
    for t in range(time):
        step, following, prev, now = t % steps, (t + 1) % steps, t % states, (t + 1) % states
        if t + 1 == time:
            following = -1
        for b in range(first, last):
            copy(tape.u, (0, b, step, x), inputs, (b, t, 0), sizes.inputs)
        controller_forward(first, last, t, step, following, prev, now, tape, weights, sizes)
        interface_forward(first, last, t, step, tape, weights, sizes.hidden)
        for b in range(first, last):
            squash_forward(tape.p, tape.q, b, step, sizes.layout)
            if steps == time and t % EVERY == 0:
                copy(tape.M, (b, t // EVERY, 0, 0, 0), scratch.M, (b - first, 0, 0, 0, 0), stored)
            memory_forward(b, b - first, t, step, prev, now, tape, scratch, sizes)
            if following >= 0:
                copy(tape.u, (0, b, following, sizes.own), tape.hr, (b, t, sizes.hidden), sizes.reads)


@stage
def memory_size(M):
    return M.shape[2] * M.shape[3] * M.shape[4]


@stage
def controller_forward(first, last, t, step, following, prev, now, tape, weights, sizes):
    u, z, h, size = tape.u, tape.z, tape.h, sizes.hidden
    layers = u.shape[0]
    for layer in range(layers):
        for b in range(first, last):
            copy(z, (layer, b, step, 0), weights.bias, (layer, 0), z.shape[3])
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
            if following >= 0 and sizes.own > 0:
                copy(u, (layer, b, following, 0), h, (b, 0), size)
            if layer + 1 < layers:
                copy(u, (layer + 1, b, step, sizes.own), h, (b, 0), size)
            else:
                copy(tape.hr, (b, t, 0), h, (b, 0), size)


@stage
def interface_forward(first, last, t, step, tape, weights, size):
    p, hr = tape.p, tape.hr
    for b in range(first, last):
        copy(p, (b, step, 0), weights.interface_bias, (0,), p.shape[2])
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
def memory_forward(b, lane, t, step, prev, now, tape, scratch, sizes):
    """One step of the memory, which is overwritten."""
    layout = sizes.layout
    writes, heads = layout.write_heads, layout.heads
    if sizes.write_then_read:
        address_forward(b, lane, step, prev, now, 0, writes, tape, scratch, sizes)
        write_forward(tape.q, scratch.M, scratch.scale, tape.w, b, lane, step, now, 0, 0, layout)
        address_forward(b, lane, step, prev, now, writes, heads, tape, scratch, sizes)
    else:
        address_forward(b, lane, step, prev, now, 0, heads, tape, scratch, sizes)
    for head in range(writes, heads):
        read_forward(
            scratch.M, tape.w, tape.hr, b, lane, t, 0, now, head, sizes.hidden + (head - writes) * layout.width
        )
    if not sizes.write_then_read:
        write_forward(tape.q, scratch.M, scratch.scale, tape.w, b, lane, step, now, 0, 0, layout)


@stage
def address_forward(b, lane, step, prev, now, start, stop, tape, scratch, sizes):
    layout, q, w, w_c = sizes.layout, tape.q, tape.w, tape.w_c
    M, scale, ring, outside = scratch.M, scratch.scale, scratch.ring, scratch.outside
    for head in range(start, stop):
        if layout.by_location:
            content_forward(q, M, scale, outside, tape.K, w_c, b, lane, step, 0, step, head, layout)
            location_forward(q, w_c, w, outside, ring, b, step, prev, now, head, layout, sizes.slots)
        else:
            content_forward(q, M, scale, outside, tape.K, w, b, lane, step, 0, now, head, layout)


@kernel
def episode_backward(first, last, d_outputs, tape, gradients, weights, scratch, sizes, need_x):
    """Run sequences `first` to `last` backwards."""
    denormals = flush_denormals()
    scratch.ring[:] = 0
    for b in range(first, last):
        gradients.u[:, b] = 0
        gradients.c[:, b] = 0
        gradients.M[b] = 0
        gradients.w[b] = 0
    for start in range(first, last, BLOCK):
        stop = min(start + BLOCK, last)
        block_backward(start, stop, d_outputs, tape, gradients, weights, scratch, sizes, need_x)
    restore_denormals(denormals)


@stage
def block_backward(first, last, d_outputs, tape, gradients, weights, scratch, sizes, need_x):
    layout, size = sizes.layout, sizes.hidden
    du, dp, dh, dr, dhr = gradients.u, gradients.p, gradients.h, gradients.r, gradients.hr
    time = d_outputs.shape[1]
    for t in range(time - 1, -1, -1):
        at = t % EVERY
        output_backward(first, last, t, d_outputs, gradients, weights, size + sizes.reads)
        for b in range(first, last):
            lane = b - first
            if t > 0:
                fetch_step(b, t - 1, tape, gradients)
            if t + 1 == time or at + 1 == EVERY:
                write_again(b, lane, t, tape, scratch, layout)
            for i in range(sizes.reads):
                dr[b, i] = dhr[b, size + i] + du[0, b, sizes.own + i]
            memory_backward(b, lane, t, at, tape, gradients, scratch, sizes)
            squash_backward(tape.p, tape.q, dp, b, t, sizes.clip, layout)
            copy(dh, (b, 0), dhr, (b, 0), size)
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
                copy(gradients.x, (b, t, 0), du, (0, b, sizes.own + sizes.reads), sizes.inputs)


@stage
def output_backward(first, last, t, d_outputs, gradients, weights, seen):
    dhr, outputs = gradients.hr, d_outputs.shape[2]
    for b in range(first, last):
        dhr[b] = 0
    multiply_add(
        address(dhr, (first, 0)),
        dhr.shape[1],
        address(d_outputs, (first, t, 0)),
        d_outputs.shape[1] * outputs,
        1,
        address(weights.output, (0, 0)),
        weights.output.shape[1],
        last - first,
        outputs,
        seen,
    )


@stage
def write_again(b, lane, t, tape, scratch, layout):
    """The memories since the last that is on the tape, up to the one that step t left."""
    M, scale, start = scratch.M, scratch.scale, t - t % EVERY
    copy(M, (lane, 0, 0, 0, 0), tape.M, (b, t // EVERY, 0, 0, 0), memory_size(M))
    measure(M, scale, lane, 0)
    for step in range(start, t + 1):
        write_forward(tape.q, M, scale, tape.w, b, lane, step, step + 1, step - start, step - start + 1, layout)


@stage
def fetch_step(b, t, tape, gradients):
    """The processor foresees a walk through a few arrays, not one through all arrays of eight sequences."""
    z, c, q, w, M = tape.z, tape.c, tape.q, tape.w, tape.M
    slots = w.shape[2] * w.shape[3]
    for layer in range(z.shape[0]):
        fetch(z, (layer, b, t, 0), z.shape[3])
        fetch(c, (layer, b, t, 0), c.shape[3])
        fetch(gradients.z, (layer, b, t, 0), z.shape[3])
    for array in (tape.p, q, gradients.p):
        fetch(array, (b, t, 0), q.shape[2])
    for array in (tape.K, tape.w_c, w):
        fetch(array, (b, t, 0, 0), slots)
    if (t + 1) % EVERY == 0:
        fetch(M, (b, t // EVERY, 0, 0, 0), memory_size(M))


@stage
def controller_backward(first, last, t, layer, tape, gradients, weights, sizes, need_x):
    z, dz, du, dh, size = tape.z, gradients.z, gradients.u, gradients.h, sizes.hidden
    for b in range(first, last):
        if layer + 1 < du.shape[0]:
            copy(dh, (b, 0), du, (layer + 1, b, sizes.own), size)
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
def memory_backward(b, lane, t, found, tape, gradients, scratch, sizes):
    """One step of the memory that it found in M[lane, found] and left in the next."""
    layout, w, M = sizes.layout, tape.w, scratch.M
    dM, dw, dq = gradients.M, gradients.w, gradients.p
    writes, heads, width = layout.write_heads, layout.heads, layout.width
    at = found + 1 if sizes.write_then_read else found
    if not sizes.write_then_read:
        write_backward(tape.q, dq, M, dM, w, dw, b, lane, t, t + 1, found, layout)
    for head in range(writes, heads):
        read_backward(M, dw, gradients.r, b, lane, at, head, (head - writes) * width)
    address_backward(b, lane, t, at, writes, heads, tape, gradients, scratch, sizes)
    if sizes.write_then_read:
        write_backward(tape.q, dq, M, dM, w, dw, b, lane, t, t + 1, found, layout)
    address_backward(b, lane, t, found, 0, writes, tape, gradients, scratch, sizes)


@stage
def address_backward(b, lane, t, at, start, stop, tape, gradients, scratch, sizes):
    layout, q, dq, dM, w, dw = sizes.layout, tape.q, gradients.p, gradients.M, tape.w, gradients.w
    K, w_c, dr = tape.K, tape.w_c, gradients.r
    M, scale, ring, dw_c, spare = scratch.M, scratch.scale, scratch.ring, scratch.dw_c, scratch.spare
    for head in range(start, stop):
        read = (head - layout.write_heads) * layout.width
        for n in range(0, dw.shape[2], LANES):
            store(dw, (b, head, n), within(load(dw, (b, head, n)), sizes.clip_w))
        if layout.by_location:
            location_backward(q, dq, w_c, w, dw, dw_c, ring, b, t, t, t + 1, head, layout, sizes.slots)
            content_backward(
                q, dq, M, dM, scale, K, w_c, w, dw_c, spare, dr, b, lane, t, at, t, t + 1, head, read, layout
            )
        else:
            for n in range(dw.shape[2]):
                dw_c[n] = dw[b, head, n]
                dw[b, head, n] = 0
            content_backward(
                q, dq, M, dM, scale, K, w, w, dw_c, spare, dr, b, lane, t, at, t + 1, t + 1, head, read, layout
            )


@kernel
def weight_gradients(first, last, shares, d_outputs, tape, gradients, found, sizes):
    """Shares `first` to `last` of the rows of all weights' gradients; each is summed over all steps in order."""
    denormals = flush_denormals()
    hidden, reads, said = sizes.hidden, sizes.reads, sizes.layout.size
    weight_gradient(first, last, shares, gradients.p, tape.hr, found.interface, found.interface_bias, said, hidden)
    weight_gradient(
        first, last, shares, d_outputs, tape.hr, found.output, found.output_bias, sizes.outputs, hidden + reads
    )
    for layer in range(sizes.layers):
        dz, u, d_weight, d_bias = gradients.z[layer], tape.u[layer], found.layers[layer], found.bias[layer]
        weight_gradient(first, last, shares, dz, u, d_weight, d_bias, found.layers.shape[1], operand_size(layer, sizes))
    restore_denormals(denormals)


@stage
def weight_gradient(first, last, shares, dz, u, d_weight, d_bias, rows, columns):
    """Of a layer z = W u + b: dW(g) = sum dz(g) u,  db(g) = sum dz(g), over all steps of all sequences.

    Steps count on from one sequence to the next.
    """
    first, last, steps = first * rows // shares, last * rows // shares, dz.shape[0] * dz.shape[1]
    d_weight[first:last] = 0
    for start in range(0, steps, CHUNK):
        multiply_add(
            address(d_weight, (first, 0)),
            d_weight.shape[1],
            address(dz, (0, start, first)),
            1,
            dz.shape[2],
            address(u, (0, start, 0)),
            u.shape[2],
            last - first,
            min(CHUNK, steps - start),
            columns,
        )
    for g in range(first, last, LANES):
        d = spread(0.0)
        for step in range(steps):
            d = d + load_first(dz, (0, step, g), last - g)
        store_first(d_bias, (g,), d, last - g)
