"""Matrix products on addresses and strides: y += x W for a few sequences at a time.

A tile of y, a few rows by a few vectors, stays in registers while the sum over depth runs, so that every number of W
that is loaded serves several sequences. Whatever the tile, each number of y is one sum in the order of the depth, so
that a sequence gets the same bits in any company.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ntm.fused.compiled import stage
from ntm.fused.simd import FLOAT, FLOATS, FUSE, LANES, splat

BYTES = 4


def tile(rows, vectors):
    """y[r, v] += sum_d x[r, d] W[d, v] for one tile, compiled to a loop over d without a store in it.

    Arguments: the addresses of y, x and W; the strides in bytes of a row of y, a row and a column of x, a row of W;
    and the depth.
    """

    @intrinsic
    def multiply_add(typingctx, y, y_row, x, x_row, x_column, w, w_row, depth):
        def lower(context, builder, sig, args):
            y, y_row, x, x_row, x_column, w, w_row, depth = args
            zero = ir.Constant(depth.type, 0)

            def at(base, kind, *terms):
                for index, stride in terms:
                    step = builder.mul(ir.Constant(base.type, index), stride) if isinstance(index, int) else None
                    base = builder.add(base, builder.mul(index, stride) if step is None else step)
                return builder.inttoptr(base, kind.as_pointer())

            width = ir.Constant(depth.type, BYTES * LANES)
            places = [[at(y, FLOATS, (r, y_row), (v, width)) for v in range(vectors)] for r in range(rows)]
            sums = [[cgutils.alloca_once(builder, FLOATS) for _ in range(vectors)] for _ in range(rows)]
            for r in range(rows):
                for v in range(vectors):
                    builder.store(builder.load(places[r][v], align=4), sums[r][v])
            with cgutils.for_range_slice(builder, zero, depth, ir.Constant(depth.type, 1), depth.type) as (d, _):
                weights = [builder.load(at(w, FLOATS, (d, w_row), (v, width)), align=4) for v in range(vectors)]
                for r in range(rows):
                    number = splat(builder, builder.load(at(x, FLOAT, (d, x_column), (r, x_row)), align=4))
                    for v in range(vectors):
                        product = builder.fmul(number, weights[v], flags=FUSE)
                        builder.store(builder.fadd(product, builder.load(sums[r][v]), flags=FUSE), sums[r][v])
            for r in range(rows):
                for v in range(vectors):
                    builder.store(builder.load(sums[r][v]), places[r][v], align=4)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 8), lower

    return multiply_add


eight_by_three, eight_by_two, eight_by_one = tile(8, 3), tile(8, 2), tile(8, 1)
four_by_five, four_by_two, four_by_one = tile(4, 5), tile(4, 2), tile(4, 1)
one_by_sixteen, one_by_four, one_by_one = tile(1, 16), tile(1, 4), tile(1, 1)


@stage
def multiply_add(y, y_row, x, x_row, x_column, w, w_row, rows, depth, columns):
    """y[r, c] += sum_d x[r, d] W[d, c]; strides in numbers, columns rounded up to whole vectors."""
    y_row, x_row, x_column, w_row = y_row * BYTES, x_row * BYTES, x_column * BYTES, w_row * BYTES
    vectors = (columns + LANES - 1) // LANES
    while rows > 0:
        taken = 8 if rows >= 8 else 4 if rows >= 4 else 1
        v, y_v, w_v = vectors, y, w
        while v > 0:
            if taken == 8:
                if v >= 3:
                    wide = 3
                    eight_by_three(y_v, y_row, x, x_row, x_column, w_v, w_row, depth)
                elif v >= 2:
                    wide = 2
                    eight_by_two(y_v, y_row, x, x_row, x_column, w_v, w_row, depth)
                else:
                    wide = 1
                    eight_by_one(y_v, y_row, x, x_row, x_column, w_v, w_row, depth)
            elif taken == 4:
                if v >= 5:
                    wide = 5
                    four_by_five(y_v, y_row, x, x_row, x_column, w_v, w_row, depth)
                elif v >= 2:
                    wide = 2
                    four_by_two(y_v, y_row, x, x_row, x_column, w_v, w_row, depth)
                else:
                    wide = 1
                    four_by_one(y_v, y_row, x, x_row, x_column, w_v, w_row, depth)
            elif v >= 16:
                wide = 16
                one_by_sixteen(y_v, y_row, x, x_row, x_column, w_v, w_row, depth)
            elif v >= 4:
                wide = 4
                one_by_four(y_v, y_row, x, x_row, x_column, w_v, w_row, depth)
            else:
                wide = 1
                one_by_one(y_v, y_row, x, x_row, x_column, w_v, w_row, depth)
            v -= wide
            y_v += wide * LANES * BYTES
            w_v += wide * LANES * BYTES
        rows -= taken
        y += taken * y_row
        x += taken * x_row
