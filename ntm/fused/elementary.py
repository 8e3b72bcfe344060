"""exp, log, the squashing functions and a bound on vectors, to three units in the last place of float32 and fewer.

The library's exp takes a number at a time, 30 times as long. These cut the argument down to where a polynomial of
low degree is exact to rounding (the coefficients are those of the Cephes library), and put the rest into the exponent.
"""

from ntm.fused.compiled import stage
from ntm.fused.simd import (
    exponent,
    larger,
    magnitude,
    mantissa,
    smaller,
    spread,
    two_to_the,
    where_below,
    whole,
)

SMALLEST, LARGEST = -87.0, 88.0  # beyond these exp leaves the normal numbers of float32


@stage
def exp(x):
    """e^x; exactly 0 below -87, and as if at 88 above."""
    inside = smaller(larger(x, spread(SMALLEST)), spread(LARGEST))
    n = whole(inside * 1.44269504)
    f = inside - n * 0.693359375 - n * -2.12194440e-4
    p = (((1.9875691500e-4 * f + 1.3981999507e-3) * f + 8.3334519073e-3) * f + 4.1665795894e-2) * f + 1.6666665459e-1
    y = ((p * f + 5.0000001201e-1) * f * f + f + 1.0) * two_to_the(n)
    return where_below(x, spread(SMALLEST), spread(0.0), y)


@stage
def log(x):
    """The natural logarithm of a positive, normal x."""
    n, f = exponent(x), mantissa(x) - 1.0
    z = f * f
    p = (((7.0376836292e-2 * f - 1.1514610310e-1) * f + 1.1676998740e-1) * f - 1.2420140846e-1) * f + 1.4249322787e-1
    p = (((p * f - 1.6668057665e-1) * f + 2.0000714765e-1) * f - 2.4999993993e-1) * f + 3.3333331174e-1
    y = p * f * z + n * -2.12194440e-4 - 0.5 * z
    return f + y + n * 0.693359375


@stage
def sigmoid(x):
    return 1.0 / (1.0 + exp(0.0 - x))


@stage
def tanh(x):
    """Near 0 from its odd polynomial: there 1 - 2 / (e^2x + 1) would lose all digits."""
    z = x * x
    p = (
        ((-5.70498872745e-3 * z + 2.06390887954e-2) * z - 5.37397155531e-2) * z + 1.33314422036e-1
    ) * z - 3.33332819422e-1
    near = p * z * x + x
    far = 1.0 - 2.0 / (exp(2.0 * x) + 1.0)
    return where_below(magnitude(x), spread(0.625), near, far)


@stage
def softplus(x):
    """log(1 + e^x) = max(x, 0) + log(1 + e^-|x|); what the sum 1 + e loses to rounding is added back."""
    e = exp(0.0 - magnitude(x))
    u = 1.0 + e
    return larger(x, spread(0.0)) + log(u) + (e - (u - 1.0)) / u


@stage
def within(x, bound):
    """x, cut to [-bound, bound]."""
    return larger(smaller(x, spread(bound)), spread(-bound))
