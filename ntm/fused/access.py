"""Reading and writing the memory of one sequence at one step, equations (2) to (4); and the gradients."""

from ntm.equations import NORM_FLOOR
from ntm.fused.compiled import stage
from ntm.fused.simd import LANES, load, number, over_root, spread, store, total


@stage
def measure(M, scale, lane, at):
    """1 / |M(n)| of every slot, which eq. (6) divides by."""
    for tile in range(M.shape[2]):
        squares = spread(0.0)
        for i in range(M.shape[3]):
            row = load(M, (lane, at, tile, i, 0))
            squares = squares + row * row
        store(scale, (lane, at, tile * LANES), over_root(squares + NORM_FLOOR))


# -- reading: equation (2), r = sum_n w(n) M(n) ------------------------------------------------------------------------


@stage
def read_forward(M, w, hr, b, lane, step, at, now, head, start):
    """The read of one head goes to hr[b, step, start:]."""
    for i in range(M.shape[3]):
        r = spread(0.0)
        for tile in range(M.shape[2]):
            r = r + load(w, (b, now, head, tile * LANES)) * load(M, (lane, at, tile, i, 0))
        hr[b, step, start + i] = total(r)


@stage
def read_backward(M, dM, w, dw, dr, b, lane, at, now, head, start):
    """dw(n) += dr . M(n),  dM(n) += w(n) dr"""
    for tile in range(M.shape[2]):
        n = tile * LANES
        focus, change = load(w, (b, now, head, n)), load(dw, (b, head, n))
        for i in range(M.shape[3]):
            d = number(dr, (b, start + i))
            change = change + load(M, (lane, at, tile, i, 0)) * d
            store(dM, (b, tile, i, 0), load(dM, (b, tile, i, 0)) + focus * d)
        store(dw, (b, head, n), change)


# -- writing: equations (3) and (4), M = M_prev prod_h (1 - w_h e_h) + sum_h w_h a_h -----------------------------------


@stage
def write_forward(q, M, scale, w, b, lane, step, now, source, target, layout):
    """From M[lane, source] to M[lane, target], which may be the same place, and its `scale`."""
    width = layout.width
    for tile in range(M.shape[2]):
        n = tile * LANES
        focus, squares = load(w, (b, now, 0, n)), spread(0.0)
        for i in range(width):
            row = load(M, (lane, source, tile, i, 0))
            row = row - row * (focus * number(q, (b, step, layout.e + i)))
            added = focus * number(q, (b, step, layout.a + i))
            for head in range(1, layout.write_heads):
                further, piece = load(w, (b, now, head, n)), head * width + i
                row = row - row * (further * number(q, (b, step, layout.e + piece)))
                added = added + further * number(q, (b, step, layout.a + piece))
            row = row + added
            store(M, (lane, target, tile, i, 0), row)
            squares = squares + row * row
        store(scale, (lane, target, n), over_root(squares + NORM_FLOOR))


@stage
def write_backward(q, dq, M, dM, w, dw, b, lane, step, now, source, layout):
    """From dM of the memory written to de, da, dw (added) and, in place, the dM of the memory before, M[lane, source].

    With kept_h = 1 - w_h e_h, kept their product over the heads, and others_h = kept / kept_h,

        da_h = sum_n dM(n) w_h(n),           de_h = -sum_n dM(n) M_prev(n) w_h(n) others_h(n),
        dw_h(n) += dM(n) . (a_h - M_prev(n) e_h others_h(n)),   dM_prev(n) = dM(n) kept(n)
    """
    width, heads = layout.width, layout.write_heads
    for i in range(width):
        for head in range(heads):
            piece = head * width + i
            e, a = number(q, (b, step, layout.e + piece)), number(q, (b, step, layout.a + piece))
            de, da = spread(0.0), spread(0.0)
            for tile in range(M.shape[2]):
                n = tile * LANES
                d, focus = load(dM, (b, tile, i, 0)), load(w, (b, now, head, n))
                others = d
                for other in range(heads):
                    if other != head:
                        erased = load(w, (b, now, other, n)) * number(q, (b, step, layout.e + other * width + i))
                        others = others - others * erased
                erasing = others * load(M, (lane, source, tile, i, 0))
                da = da + d * focus
                de = de - erasing * focus
                store(dw, (b, head, n), load(dw, (b, head, n)) + d * a - erasing * e)
                if head + 1 == heads:
                    store(dM, (b, tile, i, 0), others - others * (focus * e))
            dq[b, step, layout.e + piece] = total(de)
            dq[b, step, layout.a + piece] = total(da)
