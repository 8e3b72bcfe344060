"""Reading and writing the memory of one sequence at one step, equations (2) to (4); and the gradients.

The `width` numbers of a tile of slots go four at a time as rows of one value (see `simd`), then one by one.
"""

from ntm.equations import NORM_FLOOR
from ntm.fused.compiled import stage
from ntm.fused.simd import (
    LANES,
    ROWS,
    fourfold,
    load,
    load_like,
    numbers_like,
    over_root,
    spread,
    store,
    store_totals,
    sum_of_rows,
)


@stage
def in_fours(width):
    """How many of `width` numbers go ROWS at a time."""
    return width - width % ROWS


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
    width = M.shape[3]
    fours = in_fours(width)
    for i in range(0, fours, ROWS):
        read_rows(fourfold(0.0), i, M, w, hr, b, lane, step, at, now, head, start)
    for i in range(fours, width):
        read_rows(spread(0.0), i, M, w, hr, b, lane, step, at, now, head, start)


@stage
def read_rows(r, i, M, w, hr, b, lane, step, at, now, head, start):
    for tile in range(M.shape[2]):
        r = r + load(w, (b, now, head, tile * LANES)) * load_like(r, M, (lane, at, tile, i, 0))
    store_totals(hr, (b, step, start + i), r)


@stage
def read_backward(M, dw, dr, b, lane, at, head, start):
    """dw(n) += dr . M(n); what reaches the memory, dM(n) += w(n) dr, is left to `content_backward`."""
    width = M.shape[3]
    fours = in_fours(width)
    for tile in range(M.shape[2]):
        n = tile * LANES
        rows, change = fourfold(0.0), load(dw, (b, head, n))
        for i in range(0, fours, ROWS):
            rows = rows + load_like(rows, M, (lane, at, tile, i, 0)) * numbers_like(rows, dr, (b, start + i))
        for i in range(fours, width):
            change = change + load(M, (lane, at, tile, i, 0)) * numbers_like(change, dr, (b, start + i))
        store(dw, (b, head, n), change + sum_of_rows(rows))


# -- writing: equations (3) and (4), M = M_prev prod_h (1 - w_h e_h) + sum_h w_h a_h -----------------------------------


@stage
def write_forward(q, M, scale, w, b, lane, step, now, source, target, layout):
    """From M[lane, source] to M[lane, target], which may be the same place, and its `scale`."""
    width = layout.width
    fours = in_fours(width)
    for tile in range(M.shape[2]):
        rows, squares = fourfold(0.0), spread(NORM_FLOOR)
        for i in range(0, fours, ROWS):
            rows = rows + write_rows(rows, i, tile, q, M, w, b, lane, step, now, source, target, layout)
        for i in range(fours, width):
            squares = squares + write_rows(squares, i, tile, q, M, w, b, lane, step, now, source, target, layout)
        store(scale, (lane, target, tile * LANES), over_root(squares + sum_of_rows(rows)))


@stage
def write_rows(like, i, tile, q, M, w, b, lane, step, now, source, target, layout):
    """The squares of what was written."""
    row = load_like(like, M, (lane, source, tile, i, 0))
    for head in range(layout.write_heads):
        e = numbers_like(like, q, (b, step, layout.e + head * layout.width + i))
        row = row - row * (load(w, (b, now, head, tile * LANES)) * e)
    for head in range(layout.write_heads):
        a = numbers_like(like, q, (b, step, layout.a + head * layout.width + i))
        row = row + load(w, (b, now, head, tile * LANES)) * a
    store(M, (lane, target, tile, i, 0), row)
    return row * row


@stage
def write_backward(q, dq, M, dM, w, dw, b, lane, step, now, source, layout):
    """From dM of the memory written to de, da, dw (added) and, in place, the dM of the memory before, M[lane, source].

    With kept_h = 1 - w_h e_h, kept their product over the heads, and others_h = kept / kept_h,

        da_h = sum_n dM(n) w_h(n),           de_h = -sum_n dM(n) M_prev(n) w_h(n) others_h(n),
        dw_h(n) += dM(n) . (a_h - M_prev(n) e_h others_h(n)),   dM_prev(n) = dM(n) kept(n)
    """
    fours = in_fours(layout.width)
    for i in range(0, fours, ROWS):
        unwrite_rows(fourfold(0.0), i, q, dq, M, dM, w, dw, b, lane, step, now, source, layout)
    for i in range(fours, layout.width):
        unwrite_rows(spread(0.0), i, q, dq, M, dM, w, dw, b, lane, step, now, source, layout)


@stage
def unwrite_rows(zero, i, q, dq, M, dM, w, dw, b, lane, step, now, source, layout):
    heads = layout.write_heads
    for head in range(heads):
        piece = head * layout.width + i
        e, a = numbers_like(zero, q, (b, step, layout.e + piece)), numbers_like(zero, q, (b, step, layout.a + piece))
        de, da = zero, zero
        for tile in range(M.shape[2]):
            n = tile * LANES
            d, focus = load_like(zero, dM, (b, tile, i, 0)), load(w, (b, now, head, n))
            others = d
            for other in range(heads):
                if other != head:
                    erased = numbers_like(zero, q, (b, step, layout.e + other * layout.width + i))
                    others = others - others * (load(w, (b, now, other, n)) * erased)
            erasing = others * load_like(zero, M, (lane, source, tile, i, 0))
            da = da + d * focus
            de = de - erasing * focus
            store(dw, (b, head, n), load(dw, (b, head, n)) + sum_of_rows(d * a - erasing * e))
            if head + 1 == heads:
                store(dM, (b, tile, i, 0), others - others * (focus * e))
        store_totals(dq, (b, step, layout.e + piece), de)
        store_totals(dq, (b, step, layout.a + piece), da)
