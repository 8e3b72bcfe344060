"""Vectors of float32 as a Numba type, so that a kernel says what is done sixteen at a time (eight without AVX-512).

The compiler vectorises a plain loop only where it can prove that no two arrays overlap, which it soon gives up on, and
it never keeps a tile of sums in registers. A `Vector` is one register: `load` and `store` move it, `+ - * /` work on
it lane by lane and mix with scalars, and a local variable holding one costs no memory.

Four vectors that follow one another in memory can go together, as the rows of one value: a vector that is wanted for
each is loaded once, and four sums do not wait for one another. What takes a value to be `like` makes another of as many
rows, so that a stage is written once for four rows and for the rest, one by one.
"""

import operator

import llvmlite.binding as llvm
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.core.codegen import get_host_cpu_features
from numba.core.typing import signature
from numba.core.typing.templates import ConcreteTemplate, infer_global
from numba.extending import intrinsic, lower_builtin, models, register_model

LINE = 16  # numbers in a cache line
# What Numba compiles for: this processor, unless NUMBA_CPU_NAME and NUMBA_CPU_FEATURES name another.
NAMED = config.CPU_FEATURES  # type: ignore[attr-defined]  # Numba sets it at import
LANES = 16 if "+avx512f" in (get_host_cpu_features() if NAMED is None else NAMED).split(",") else 8

FLOAT, INT32 = ir.FloatType(), ir.IntType(32)
FLOATS, INTS = ir.VectorType(FLOAT, LANES), ir.VectorType(INT32, LANES)
ROWS = 4  # vectors that go together
FUSE = ("contract",)  # a product and a sum may become one fused operation; nothing may be reordered


class VectorType(types.Type):
    def __init__(self, rows: int) -> None:
        self.rows = rows
        super().__init__(name=f"Vector({rows} x {LANES})")


vector, together = VectorType(1), VectorType(ROWS)


def floats(kind):
    """LLVM's type of a value of so many rows."""
    return ir.VectorType(FLOAT, kind.rows * LANES)


@register_model(VectorType)
class VectorModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, floats(kind))


def pick(builder, value, lanes):
    """The lanes of those numbers, in that order."""
    undefined = ir.Constant(value.type, ir.Undefined)
    return builder.shuffle_vector(value, undefined, ir.Constant(ir.VectorType(INT32, len(lanes)), lanes))


def splat(builder, value, rows=1):
    """The same scalar in every lane."""
    one = builder.insert_element(ir.Constant(FLOATS, ir.Undefined), value, INT32(0))
    return pick(builder, one, [0] * (rows * LANES))


def repeated(builder, value, rows):
    """The same vector in every row."""
    return pick(builder, value, list(range(LANES)) * rows)


def constant(value):
    return ir.Constant(FLOATS, [float(value)] * LANES)


def arithmetic(operation, emit):
    """Teach Numba `operation` between vectors, rows of them and numbers: what is less takes part in every row."""
    numbers = (types.float32, types.float64, types.int64)
    pairs = [(a, b) for a in (vector, together) for b in (vector, together)]
    pairs += [pair for a in (vector, together) for n in numbers for pair in ((a, n), (n, a))]

    def of_both(pair):
        return together if together in pair else vector

    @infer_global(operation)
    class Template(ConcreteTemplate):
        cases = [signature(of_both(pair), *pair) for pair in pairs]  # noqa: RUF012

    def lower(context, builder, sig, args):
        def widened(value, kind):
            if not isinstance(kind, VectorType):
                return splat(builder, context.cast(builder, value, kind, types.float32), sig.return_type.rows)
            return value if kind == sig.return_type else repeated(builder, value, sig.return_type.rows)

        return emit(builder, *map(widened, args, sig.args))

    for pair in pairs:
        lower_builtin(operation, *pair)(lower)


arithmetic(operator.add, lambda builder, a, b: builder.fadd(a, b, flags=FUSE))
arithmetic(operator.sub, lambda builder, a, b: builder.fsub(a, b, flags=FUSE))
arithmetic(operator.mul, lambda builder, a, b: builder.fmul(a, b, flags=FUSE))
# A division may become an estimate of the reciprocal and one step of Newton's: a quarter of the time, one bit at most.
arithmetic(operator.truediv, lambda builder, a, b: builder.fdiv(a, b, flags=(*FUSE, "arcp")))


def call(builder, name, result, *args):
    """Call one of LLVM's own functions."""
    kinds = [arg.type for arg in args]
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, kinds), name)
    return builder.call(function, args)


SUFFIX = f"v{LANES}f32"


# -- memory ------------------------------------------------------------------------------------------------------------


def element(context, builder, kinds, args):
    """Pointer to array[index], where index is a tuple of one integer for each axis of a contiguous array."""
    array_type, index_type = kinds[:2]
    array = context.make_array(array_type)(context, builder, args[0])
    index = cgutils.unpack_tuple(builder, args[1], len(index_type))
    shape = cgutils.unpack_tuple(builder, array.shape, array_type.ndim)
    offset = index[0]
    for i, size in zip(index[1:], shape[1:], strict=True):
        offset = builder.add(builder.mul(offset, size, flags=["nsw"]), i, flags=["nsw"])
    return builder.gep(array.data, [offset])


def vector_pointer(builder, pointer, kind=vector):
    return builder.bitcast(pointer, floats(kind).as_pointer())


def indexed(array, index):
    assert array.layout == "C", array
    assert array.dtype == types.float32, array
    assert len(index) == array.ndim, (array, index)
    return array, types.UniTuple(types.intp, array.ndim)


@intrinsic
def number(typingctx, array, index):
    """array[index] for an index that is never negative, which Numba would look out for at every turn."""

    def lower(context, builder, sig, args):
        return builder.load(element(context, builder, sig.args, args))

    return types.float32(*indexed(array, index)), lower


@intrinsic
def load(typingctx, array, index):
    """The vector that starts at array[index]."""

    def lower(context, builder, sig, args):
        return builder.load(vector_pointer(builder, element(context, builder, sig.args, args)), align=4)

    return vector(*indexed(array, index)), lower


@intrinsic
def load_like(typingctx, like, array, index):
    """The vectors, as many as `like` has rows, that start at array[index]."""

    def lower(context, builder, sig, args):
        return builder.load(vector_pointer(builder, element(context, builder, sig.args[1:], args[1:]), like), align=4)

    return like(like, *indexed(array, index)), lower


@intrinsic
def numbers_like(typingctx, like, array, index):
    """As many numbers as `like` has rows, array[index] and what follows, each in every lane of its row."""

    def lower(context, builder, sig, args):
        start = element(context, builder, sig.args[1:], args[1:])
        numbers = builder.load(builder.bitcast(start, ir.VectorType(FLOAT, like.rows).as_pointer()), align=4)
        return pick(builder, numbers, [row for row in range(like.rows) for _ in range(LANES)])

    return like(like, *indexed(array, index)), lower


@intrinsic
def store(typingctx, array, index, value):
    """Write the vector, or the rows of them, to array[index] and what follows."""

    def lower(context, builder, sig, args):
        builder.store(args[2], vector_pointer(builder, element(context, builder, sig.args, args), value), align=4)
        return context.get_dummy_value()

    return types.void(*indexed(array, index), value), lower


def first(builder, count):
    """A mask of the first `count` lanes."""
    counts = builder.trunc(count, INT32)
    counts = builder.insert_element(ir.Constant(INTS, ir.Undefined), counts, INT32(0))
    counts = builder.shuffle_vector(counts, ir.Constant(INTS, ir.Undefined), ir.Constant(INTS, [0] * LANES))
    return builder.icmp_signed("<", ir.Constant(INTS, list(range(LANES))), counts)


@intrinsic
def load_first(typingctx, array, index, count):
    """The vector at array[index], of which only the first `count` numbers exist; zeros after them."""

    def lower(context, builder, sig, args):
        pointer = vector_pointer(builder, element(context, builder, sig.args, args))
        mask = first(builder, args[2])
        return call(builder, f"llvm.masked.load.{SUFFIX}.p0", FLOATS, pointer, INT32(4), mask, constant(0))

    return vector(*indexed(array, index), types.intp), lower


@intrinsic
def store_first(typingctx, array, index, value, count):
    """Write the first `count` lanes of the vector to array[index] and what follows."""

    def lower(context, builder, sig, args):
        pointer = vector_pointer(builder, element(context, builder, sig.args, args))
        call(
            builder,
            f"llvm.masked.store.{SUFFIX}.p0",
            ir.VoidType(),
            args[2],
            pointer,
            INT32(4),
            first(builder, args[3]),
        )
        return context.get_dummy_value()

    return types.void(*indexed(array, index), vector, types.intp), lower


@intrinsic
def address(typingctx, array, index):
    """Where array[index] is, as an integer: for `products`, which walk over memory with strides."""

    def lower(context, builder, sig, args):
        return builder.ptrtoint(element(context, builder, sig.args, args), cgutils.intp_t)

    return types.intp(*indexed(array, index)), lower


@intrinsic
def copy(typingctx, target, here, source, there, count):
    """target[here] and what follows become the `count` numbers from source[there] on."""

    def lower(context, builder, sig, args):
        pointers = [element(context, builder, sig.args[2 * i : 2 * i + 2], args[2 * i : 2 * i + 2]) for i in (0, 1)]
        cgutils.raw_memcpy(builder, *pointers, args[4], context.get_constant(types.intp, 4))
        return context.get_dummy_value()

    return types.void(*indexed(target, here), *indexed(source, there), types.intp), lower


@intrinsic
def fetch(typingctx, array, index, count):
    """Have array[index] and what follows, `count` numbers, brought near, which will be wanted soon."""

    def lower(context, builder, sig, args):
        start = element(context, builder, sig.args, args)
        kind = ir.FunctionType(ir.VoidType(), [start.type, INT32, INT32, INT32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        to_read, second_cache, data = INT32(0), INT32(2), INT32(1)
        zero, line = ir.Constant(args[2].type, 0), ir.Constant(args[2].type, LINE)
        with cgutils.for_range_slice(builder, zero, args[2], line, args[2].type) as (n, _):
            builder.call(function, [builder.gep(start, [n]), to_read, second_cache, data])
        return context.get_dummy_value()

    return types.void(*indexed(array, index), types.intp), lower


@intrinsic
def floats_at(typingctx, place):
    """A pointer to the numbers at an address."""

    def lower(context, builder, sig, args):
        return builder.inttoptr(args[0], FLOAT.as_pointer())

    return types.CPointer(types.float32)(types.intp), lower


# -- lanes -------------------------------------------------------------------------------------------------------------


@intrinsic
def spread(typingctx, number):
    """The same number in every lane."""

    def lower(context, builder, sig, args):
        return splat(builder, args[0])

    return vector(types.float32), lower


def lanewise(name, arity):
    """One of LLVM's functions on every lane."""

    def lower(context, builder, sig, args):
        return call(builder, f"llvm.{name}.{SUFFIX}", FLOATS, *args)

    return vector(*[vector] * arity), lower


@intrinsic
def larger(typingctx, a, b):
    """The larger of a and b; where a is not a number, neither is the result."""

    def lower(context, builder, sig, args):
        return builder.select(builder.fcmp_ordered(">", args[1], args[0]), args[1], args[0])

    return vector(vector, vector), lower


@intrinsic
def smaller(typingctx, a, b):
    """The smaller of a and b; where a is not a number, neither is the result."""

    def lower(context, builder, sig, args):
        return builder.select(builder.fcmp_ordered("<", args[1], args[0]), args[1], args[0])

    return vector(vector, vector), lower


@intrinsic
def magnitude(typingctx, a):
    return lanewise("fabs", 1)


@intrinsic
def whole(typingctx, a):
    """The nearest whole number."""
    return lanewise("rint", 1)


@intrinsic
def over_root(typingctx, a):
    """1 / sqrt(a), by an estimate and one step of Newton's."""

    def lower(context, builder, sig, args):
        kind = ir.FunctionType(FLOATS, [FLOATS])
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.sqrt.{SUFFIX}")
        root = builder.call(function, args, fastmath=("arcp", "afn", "contract", "reassoc", "nsz"))
        return builder.fdiv(constant(1), root, flags=("arcp", "afn", "contract", "reassoc", "nsz"))

    return vector(vector), lower


@intrinsic
def where_below(typingctx, a, b, yes, no):
    """In every lane `yes` where a < b, otherwise `no`."""

    def lower(context, builder, sig, args):
        return builder.select(builder.fcmp_ordered("<", args[0], args[1]), args[2], args[3])

    return vector(vector, vector, vector, vector), lower


@intrinsic
def two_to_the(typingctx, n):
    """2^n of a vector of whole numbers from -126 to 127: n becomes the exponent's bits."""

    def lower(context, builder, sig, args):
        bits = builder.add(builder.fptosi(args[0], INTS), ir.Constant(INTS, [127] * LANES))
        return builder.bitcast(builder.shl(bits, ir.Constant(INTS, [23] * LANES)), FLOATS)

    return vector(vector), lower


@intrinsic
def exponent(typingctx, x):
    """n of x = m 2^n with 1/sqrt(2) <= m < sqrt(2), for x positive and normal."""

    def lower(context, builder, sig, args):
        bits = builder.sub(builder.bitcast(args[0], INTS), ir.Constant(INTS, [0x3F3504F3] * LANES))
        return builder.sitofp(builder.ashr(bits, ir.Constant(INTS, [23] * LANES)), FLOATS)

    return vector(vector), lower


@intrinsic
def mantissa(typingctx, x):
    """m of x = m 2^n with 1/sqrt(2) <= m < sqrt(2), for x positive and normal."""

    def lower(context, builder, sig, args):
        bits = builder.bitcast(args[0], INTS)
        n = builder.sub(bits, ir.Constant(INTS, [0x3F3504F3] * LANES))
        n = builder.and_(n, ir.Constant(INTS, [0xFF800000] * LANES))
        return builder.bitcast(builder.sub(bits, n), FLOATS)

    return vector(vector), lower


@intrinsic
def fourfold(typingctx, number):
    """The same number in every lane of four rows."""

    def lower(context, builder, sig, args):
        return splat(builder, args[0], ROWS)

    return together(types.float32), lower


@intrinsic
def sum_of_rows(typingctx, a):
    """The vector that is the sum of all rows."""

    def lower(context, builder, sig, args):
        (value,) = args
        while (half := value.type.count // 2) >= LANES:
            a, b = (pick(builder, value, list(range(start, start + half))) for start in (0, half))
            value = builder.fadd(a, b, flags=FUSE)
        return value

    return vector(a), lower


@intrinsic
def store_totals(typingctx, array, index, value):
    """Write the sum over the lanes of each row to array[index] and what follows."""

    def lower(context, builder, sig, args):
        sums = args[2]
        while (lanes := sums.type.count // value.rows) > 1:
            starts = range(0, sums.type.count, lanes)
            first = [start + lane for start in starts for lane in range(lanes // 2)]
            sums = builder.fadd(pick(builder, sums, first), pick(builder, sums, [i + lanes // 2 for i in first]))
        pointer = element(context, builder, sig.args, args)
        builder.store(sums, builder.bitcast(pointer, sums.type.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(*indexed(array, index), value), lower


@intrinsic
def total(typingctx, a):
    """The sum over the lanes."""

    def lower(context, builder, sig, args):
        kind = ir.FunctionType(FLOAT, [FLOAT, FLOATS])
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.fadd.{SUFFIX}")
        return builder.call(function, [FLOAT(0.0), args[0]], fastmath=("reassoc",))

    return types.float32(vector), lower


@intrinsic
def largest(typingctx, a):
    """The largest lane."""

    def lower(context, builder, sig, args):
        kind = ir.FunctionType(FLOAT, [FLOATS])
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.fmax.{SUFFIX}")
        return builder.call(function, [args[0]], fastmath=("nnan",))

    return types.float32(vector), lower


# -- numbers too small to be normal ------------------------------------------------------------------------------------

X86 = llvm.get_process_triple().startswith(("x86_64", "i686"))
FLUSH = 0x8040  # results and operands below 1e-38 count as 0: the processor takes a hundred times as long over them


def control_word(builder, name, word):
    kind = ir.FunctionType(ir.VoidType(), [word.type])
    builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.sse.{name}"), [word])


@intrinsic
def flush_denormals(typingctx):
    """Count denormal numbers as 0 from here on, on this thread; what `restore_denormals` needs to undo it."""

    def lower(context, builder, sig, args):
        if not X86:
            return INT32(0)
        word = cgutils.alloca_once(builder, INT32)
        control_word(builder, "stmxcsr", word)
        before = builder.load(word)
        builder.store(builder.or_(before, INT32(FLUSH)), word)
        control_word(builder, "ldmxcsr", word)
        return before

    return types.int32(), lower


@intrinsic
def restore_denormals(typingctx, before):
    def lower(context, builder, sig, args):
        if X86:
            word = cgutils.alloca_once(builder, INT32)
            builder.store(args[0], word)
            control_word(builder, "ldmxcsr", word)
        return context.get_dummy_value()

    return types.void(types.int32), lower
