"""Where one head focuses, equations (5) to (9), for one sequence at one step; and the gradients.

Slots run along vectors: a row of M is one of the `width` numbers of all slots. Slots beyond the memory's, which fill up
the last vector, hold zeros; `outside` is 0 for a slot and very negative beyond, so that a softmax gives them nothing.
"""

import math

import numpy as np

from ntm.equations import NORM_FLOOR, WEIGHTING_FLOOR
from ntm.fused.access import in_fours
from ntm.fused.compiled import stage
from ntm.fused.elementary import exp, log
from ntm.fused.simd import (
    LANES,
    ROWS,
    fourfold,
    larger,
    largest,
    load,
    load_first,
    load_like,
    number,
    numbers_like,
    spread,
    store,
    store_first,
    store_totals,
    sum_of_rows,
    total,
)

ONE, FLOOR = np.float32(1.0), np.float32(NORM_FLOOR)
OUTSIDE = -1e30


@stage
def softmax(z, b, t, head, slots, top):
    """In place, over z[b, t, head]; `top` is the largest of it."""
    mass = spread(0.0)
    for n in range(0, slots, LANES):
        here = (b, t, head, n)
        e = exp(load(z, here) - top)
        store(z, here, e)
        mass = mass + e
    share = ONE / total(mass)
    for n in range(0, slots, LANES):
        here = (b, t, head, n)
        store(z, here, load(z, here) * share)


@stage
def key_scale(q, b, step, k, width):
    """1 / |k|"""
    squares = spread(0.0)
    for i in range(0, width, LANES):
        part = load_first(q, (b, step, k + i), width - i)
        squares = squares + part * part
    return ONE / math.sqrt(total(squares) + FLOOR)


# -- content: equations (5) and (6) ------------------------------------------------------------------------------------
#
#     K(n) = (k / |k|) . M(n) / |M(n)|,  w_c = softmax(beta K);  `scale` is 1 / |M(n)|


@stage
def content_forward(q, M, scale, outside, K, w_c, b, lane, step, at, to, head, layout):
    """Compare the key with memory M[lane, at]; the weighting goes to w_c[b, to]."""
    k, beta = layout.k + head * layout.width, number(q, (b, step, layout.beta + head))
    k_scale = key_scale(q, b, step, k, layout.width)
    top, fours = spread(OUTSIDE), in_fours(layout.width)
    for tile in range(M.shape[2]):
        n = tile * LANES
        rows, dot = fourfold(0.0), spread(0.0)
        for i in range(0, fours, ROWS):
            rows = rows + numbers_like(rows, q, (b, step, k + i)) * load_like(rows, M, (lane, at, tile, i, 0))
        for i in range(fours, layout.width):
            dot = dot + number(q, (b, step, k + i)) * load(M, (lane, at, tile, i, 0))
        similarity = (dot + sum_of_rows(rows)) * k_scale * load(scale, (lane, at, n))
        z = similarity * beta + load(outside, (n,))
        store(K, (b, step, head, n), similarity)
        store(w_c, (b, to, head, n), z)
        top = larger(top, z)
    softmax(w_c, b, to, head, w_c.shape[3], largest(top))


@stage
def content_backward(q, dq, M, dM, scale, K, w_c, w, dw_c, spare, dr, b, lane, step, at, to, now, head, read, layout):
    """From dw_c to dk, dbeta and, added, dM. With dz = w_c (dw_c - w_c . dw_c), the gradient through the softmax,

    dbeta = dz . K,  dK = beta dz,  dM(n) += dK(n) / |M(n)| (k / |k| - K(n) M(n) / |M(n)|)

    Where the head reads, and so `read` >= 0 says where its dr starts, dM(n) += w(n) dr goes the same way: eq. (2).
    """
    width, slots = layout.width, w_c.shape[3]
    k, beta = layout.k + head * width, number(q, (b, step, layout.beta + head))
    k_scale = key_scale(q, b, step, k, width)
    mean = spread(0.0)
    for n in range(0, slots, LANES):
        mean = mean + load(w_c, (b, to, head, n)) * load(dw_c, (n,))
    middle = total(mean)
    strength = spread(0.0)
    for n in range(0, slots, LANES):
        dz = load(w_c, (b, to, head, n)) * (load(dw_c, (n,)) - middle)
        similarity, norm = load(K, (b, step, head, n)), load(scale, (lane, at, n))
        strength = strength + dz * similarity
        towards = dz * beta * norm
        store(dw_c, (n,), towards)
        store(spare, (n,), towards * similarity * norm)
    dq[b, step, layout.beta + head] = total(strength)
    fours = in_fours(width)
    for i in range(0, fours, ROWS):
        content_rows(fourfold(0.0), i, q, dq, M, dM, w, dw_c, spare, dr, b, lane, step, at, now, head, k, k_scale, read)
    for i in range(fours, width):
        content_rows(spread(0.0), i, q, dq, M, dM, w, dw_c, spare, dr, b, lane, step, at, now, head, k, k_scale, read)
    through_norm(q, dq, b, step, k, k_scale, width)


@stage
def content_rows(zero, i, q, dq, M, dM, w, towards, back, dr, b, lane, step, at, now, head, k, k_scale, read):
    """`towards` the key go the slots, by so much, and `back` to themselves."""
    direction, dk = numbers_like(zero, q, (b, step, k + i)) * k_scale, zero
    d = numbers_like(zero, dr, (b, read + i)) if read >= 0 else zero
    for tile in range(M.shape[2]):
        n = tile * LANES
        pull, row = load(towards, (n,)), load_like(zero, M, (lane, at, tile, i, 0))
        dk = dk + pull * row
        change = load_like(zero, dM, (b, tile, i, 0)) + pull * direction - load(back, (n,)) * row
        if read >= 0:
            change = change + load(w, (b, now, head, n)) * d
        store(dM, (b, tile, i, 0), change)
    store_totals(dq, (b, step, k + i), dk)


@stage
def through_norm(q, dq, b, step, k, k_scale, width):
    """From the gradient of v = k / |k|, in dq, to dk = (dv - v (v . dv)) / |k|."""
    along = spread(0.0)
    for i in range(0, width, LANES):
        here, rest = (b, step, k + i), width - i
        along = along + load_first(q, here, rest) * load_first(dq, here, rest)
    share = total(along) * k_scale * k_scale
    for i in range(0, width, LANES):
        here, rest = (b, step, k + i), width - i
        store_first(dq, here, (load_first(dq, here, rest) - load_first(q, here, rest) * share) * k_scale, rest)


# -- location: equations (7), (8) and (9) ------------------------------------------------------------------------------
#
#     w_g = g w_c + (1 - g) w_prev, written on a ring that repeats its ends: slot n at n + reach
#     w_s(n) = sum_q s(q) w_g(n + reach - q)
#     w = softmax(gamma log w_s)


@stage
def close_ring(ring, num_slots, reach):
    """Repeat the last slots before the first, and the first ones after the last."""
    for j in range(reach):
        ring[j] = ring[num_slots + j]
        ring[num_slots + reach + j] = ring[reach + j]


@stage
def interpolate(q, w_c, w, ring, b, step, prev, head, layout, num_slots):
    """w_g onto the ring: eq. (7)."""
    g, reach = number(q, (b, step, layout.g + head)), layout.shifts // 2
    for n in range(0, w.shape[3], LANES):
        before = load(w, (b, prev, head, n))
        store(ring, (n + reach,), before + (load(w_c, (b, step, head, n)) - before) * g)
    close_ring(ring, num_slots, reach)


@stage
def shift(ring, q, b, step, s, n, last):
    """w_s of the slots from n on: eq. (8)."""
    shifted = spread(0.0)
    for j in range(last + 1):
        shifted = shifted + load(ring, (n + last - j,)) * number(q, (b, step, s + j))
    return shifted


@stage
def location_forward(q, w_c, w, outside, ring, b, step, prev, now, head, layout, num_slots):
    slots = w.shape[3]
    interpolate(q, w_c, w, ring, b, step, prev, head, layout, num_slots)
    gamma, s, last = number(q, (b, step, layout.gamma + head)), layout.s + head * layout.shifts, layout.shifts - 1
    top = spread(OUTSIDE)
    for n in range(0, slots, LANES):
        z = log(shift(ring, q, b, step, s, n, last) + WEIGHTING_FLOOR) * gamma + load(outside, (n,))
        store(w, (b, now, head, n), z)
        top = larger(top, z)
    softmax(w, b, now, head, slots, largest(top))


@stage
def location_backward(q, dq, w_c, w, dw, dw_c, ring, b, step, prev, now, head, layout, num_slots):
    """From dw[b, head] to dg, ds, dgamma and dw_c; leaves the gradient of w_prev in dw[b, head].

    dz = w (dw - w . dw),  dgamma = dz . log w_s,  dw_s = gamma dz / w_s,
    ds(q) = sum_n dw_s(n) w_g(n + reach - q),  dw_g(n) = sum_q s(q) dw_s(n - reach + q),
    dg = dw_g . (w_c - w_prev),  dw_c = g dw_g,  dw_prev = (1 - g) dw_g
    """
    slots, reach, last = w.shape[3], layout.shifts // 2, layout.shifts - 1
    g, gamma, s = (
        number(q, (b, step, layout.g + head)),
        number(q, (b, step, layout.gamma + head)),
        layout.s + head * layout.shifts,
    )
    interpolate(q, w_c, w, ring, b, step, prev, head, layout, num_slots)
    mean = spread(0.0)
    for n in range(0, slots, LANES):
        mean = mean + load(w, (b, now, head, n)) * load(dw, (b, head, n))
    middle = total(mean)
    sharpening = spread(0.0)
    for n in range(0, slots, LANES):
        dz = load(w, (b, now, head, n)) * (load(dw, (b, head, n)) - middle)
        shifted = shift(ring, q, b, step, s, n, last) + WEIGHTING_FLOOR
        sharpening = sharpening + dz * log(shifted)
        store(dw, (b, head, n), dz * gamma / shifted)
    dq[b, step, layout.gamma + head] = total(sharpening)

    for j in range(layout.shifts):
        ds = spread(0.0)
        for n in range(0, slots, LANES):
            ds = ds + load(dw, (b, head, n)) * load(ring, (n + last - j,))
        dq[b, step, s + j] = total(ds)

    for n in range(0, slots, LANES):
        store(ring, (n + reach,), load(dw, (b, head, n)))
    close_ring(ring, num_slots, reach)
    gate = spread(0.0)
    for n in range(0, slots, LANES):
        dw_g = spread(0.0)
        for j in range(layout.shifts):
            dw_g = dw_g + load(ring, (n + j,)) * number(q, (b, step, s + j))
        gate = gate + dw_g * (load(w_c, (b, step, head, n)) - load(w, (b, prev, head, n)))
        store(dw_c, (n,), dw_g * g)
        store(dw, (b, head, n), dw_g * (ONE - g))
    dq[b, step, layout.g + head] = total(gate)
