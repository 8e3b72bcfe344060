"""An update of RMSProp in one walk over the numbers, where torch takes ten."""

import math

from ntm.fused.compiled import kernel


@kernel
def rmsprop(p, g, n, m, d, lr, alpha, beside, momentum, inner, outer):
    """What `ntm.optimizers.rmsprop` says, on arrays of one axis; `beside` is 1 - alpha."""
    zero = p.dtype.type(0)
    for i in range(p.size):
        n[i] = alpha * n[i] + beside * (g[i] * g[i])
        m[i] += beside * (g[i] - m[i])
        variance = max(n[i] - m[i] * m[i], zero)
        d[i] = momentum * d[i] - lr * g[i] / (math.sqrt(variance + inner) + outer)
        p[i] += d[i]
