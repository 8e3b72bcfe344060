"""Reading and writing the memory of one sequence at one step, equations (2) to (4); and the gradients."""

from numba import njit

from ntm.equations import NORM_FLOOR
from ntm.fused.simd import LANES, load, spread, square_root, store, total


@njit
def measure(M, scale, b, at):
    """1 / |M(n)| of every slot, which eq. (6) divides by."""
    for n in range(0, M.shape[3], LANES):
        squares = spread(0.0)
        for i in range(M.shape[2]):
            row = load(M, (b, at, i, n))
            squares = squares + row * row
        store(scale, (b, at, n), 1.0 / square_root(squares + NORM_FLOOR))


# -- reading: equation (2), r = sum_n w(n) M(n) ------------------------------------------------------------------------


@njit
def read_forward(M, w, hr, b, step, at, now, head, start):
    """The read of one head goes to hr[b, step, start:]."""
    for i in range(M.shape[2]):
        r = spread(0.0)
        for n in range(0, M.shape[3], LANES):
            r = r + load(w, (b, now, head, n)) * load(M, (b, at, i, n))
        hr[b, step, start + i] = total(r)


@njit
def read_backward(M, dM, w, dw, dr, b, at, now, head, start):
    """dw(n) += dr . M(n),  dM(n) += w(n) dr"""
    for n in range(0, M.shape[3], LANES):
        focus, change = load(w, (b, now, head, n)), load(dw, (b, head, n))
        for i in range(M.shape[2]):
            d = dr[b, start + i]
            change = change + load(M, (b, at, i, n)) * d
            store(dM, (b, i, n), load(dM, (b, i, n)) + focus * d)
        store(dw, (b, head, n), change)


# -- writing: equations (3) and (4), M = M_prev prod_h (1 - w_h e_h) + sum_h w_h a_h -----------------------------------


@njit
def write_forward(q, M, scale, w, b, step, prev, now, layout):
    width = M.shape[2]
    for n in range(0, M.shape[3], LANES):
        squares = spread(0.0)
        for i in range(width):
            row, added = load(M, (b, prev, i, n)), spread(0.0)
            for head in range(layout.write_heads):
                focus, piece = load(w, (b, now, head, n)), head * width + i
                row = row - row * focus * q[b, step, layout.e + piece]
                added = added + focus * q[b, step, layout.a + piece]
            row = row + added
            store(M, (b, now, i, n), row)
            squares = squares + row * row
        store(scale, (b, now, n), 1.0 / square_root(squares + NORM_FLOOR))


@njit
def write_backward(q, dq, M, dM, w, dw, b, step, prev, now, layout):
    """From dM of the memory written to de, da, dw (added) and the dM of the memory before, in place.

    With kept = prod_h (1 - w_h e_h), and others_h the same product without head h,

        da_h = sum_n dM(n) w_h(n),           de_h = -sum_n dM(n) M_prev(n) w_h(n) others_h(n),
        dw_h(n) += dM(n) . (a_h - M_prev(n) e_h others_h(n)),   dM_prev(n) = dM(n) kept(n)
    """
    width, slots, heads = M.shape[2], M.shape[3], layout.write_heads
    for i in range(width):
        for head in range(heads):
            piece = head * width + i
            e, a = q[b, step, layout.e + piece], q[b, step, layout.a + piece]
            de, da = spread(0.0), spread(0.0)
            for n in range(0, slots, LANES):
                d, focus = load(dM, (b, i, n)), load(w, (b, now, head, n))
                others = load(M, (b, prev, i, n))
                for other in range(heads):
                    if other != head:
                        others = (
                            others - others * load(w, (b, now, other, n)) * q[b, step, layout.e + other * width + i]
                        )
                da = da + d * focus
                erased = d * others
                de = de - erased * focus
                store(dw, (b, head, n), load(dw, (b, head, n)) + d * a - erased * e)
            dq[b, step, layout.e + piece] = total(de)
            dq[b, step, layout.a + piece] = total(da)
        for head in range(heads):
            e = q[b, step, layout.e + head * width + i]
            for n in range(0, slots, LANES):
                d = load(dM, (b, i, n))
                store(dM, (b, i, n), d - d * load(w, (b, now, head, n)) * e)
