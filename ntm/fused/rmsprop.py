"""An update of RMSProp in one walk over the numbers, where torch takes ten."""

import math

from ntm.fused.compiled import kernel
from ntm.fused.simd import floats_at


@kernel
def rmsprop(places, sizes, lr, alpha, beside, momentum, inner, outer):
    """What `ntm.optimizers.rmsprop` says, on all tensors of a group; `beside` is 1 - alpha.

    Tensor t has sizes[t] numbers, its p, g, n, m and d at the addresses places[:, t]: to make arrays of them in Python
    would take longer than the walk.
    """
    zero = lr - lr
    for t in range(len(sizes)):
        p, g = floats_at(places[0, t]), floats_at(places[1, t])
        n, m, d = floats_at(places[2, t]), floats_at(places[3, t]), floats_at(places[4, t])
        for i in range(sizes[t]):
            n[i] = alpha * n[i] + beside * (g[i] * g[i])
            m[i] += beside * (g[i] - m[i])
            variance = max(n[i] - m[i] * m[i], zero)
            d[i] = momentum * d[i] - lr * g[i] / (math.sqrt(variance + inner) + outer)
            p[i] += d[i]
