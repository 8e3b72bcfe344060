"""Equations (2) to (9) of the paper as pure functions, in its order and its symbols.

This is the reference: everything that is faster is tested against it. Every function works on a batch of memories,
`M` [batch slots width], and on all heads at once, with weightings `w` [batch heads slots]. Equation (1) says what a
weighting is: not negative, and summing to one over the slots.
"""

import torch
from jaxtyping import Float
from torch import Tensor

# Under the root of a norm. An empty slot has no direction (0 / 0, and an infinite gradient of the root at 0); with the
# floor its similarity to any key is 0, so a blank memory is addressed evenly.
NORM_FLOOR = 1e-8

# Inside a logarithm. A weighting smaller than this is no weighting; large enough that the gradient of the logarithm,
# 1 / floor, times any sharpening stays inside float32.
WEIGHTING_FLOOR = 1e-20


def read(
    M: Float[Tensor, "batch slots width"], w: Float[Tensor, "batch heads slots"]
) -> Float[Tensor, "batch heads width"]:
    """Read the slots in proportion to their weighting: eq. (2).

    r = sum_i w(i) M(i)
    """
    return w @ M


def erase(
    M_prev: Float[Tensor, "batch slots width"],
    w: Float[Tensor, "batch heads slots"],
    e: Float[Tensor, "batch heads width"],
) -> Float[Tensor, "batch slots width"]:
    """Wipe what the heads focus on: eq. (3). Several heads multiply, in any order (section 3.2).

    M~(i) = M_prev(i) [1 - w(i) e]
    """
    kept = 1 - w.unsqueeze(-1) * e.unsqueeze(-2)
    return M_prev * (kept.squeeze(1) if kept.shape[1] == 1 else kept.prod(dim=1))


def add(
    M_erased: Float[Tensor, "batch slots width"],
    w: Float[Tensor, "batch heads slots"],
    a: Float[Tensor, "batch heads width"],
) -> Float[Tensor, "batch slots width"]:
    """Write to what the heads focus on: eq. (4). Several heads sum, in any order (section 3.2).

    M(i) = M~(i) + w(i) a
    """
    return torch.baddbmm(M_erased, w.transpose(1, 2), a)


def content_weighting(
    k: Float[Tensor, "batch heads width"],
    beta: Float[Tensor, "batch heads"],
    M: Float[Tensor, "batch slots width"],
) -> Float[Tensor, "batch heads slots"]:
    """Focus on the slots that look like the key, the more sharply the greater its strength: eq. (5).

    w_c(i) = softmax_i( beta K[k, M(i)] )

    A strength of 0 spreads the focus evenly.
    """
    return torch.softmax(beta.unsqueeze(-1) * cosine_similarity(k, M), dim=-1)


def cosine_similarity(
    k: Float[Tensor, "batch heads width"], M: Float[Tensor, "batch slots width"]
) -> Float[Tensor, "batch heads slots"]:
    """Compare every key with every slot: eq. (6).

    K[u, v] = u . v / (|u| |v|)
    """
    k_norm = (k.square().sum(-1, keepdim=True) + NORM_FLOOR).sqrt()
    M_norm = (M.square().sum(-1) + NORM_FLOOR).sqrt()
    return (k / k_norm) @ M.transpose(1, 2) / M_norm.unsqueeze(1)


def interpolate(
    g: Float[Tensor, "batch heads"],
    w_c: Float[Tensor, "batch heads slots"],
    w_prev: Float[Tensor, "batch heads slots"],
) -> Float[Tensor, "batch heads slots"]:
    """Blend where the content points with where the head was: eq. (7).

        w_g = g w_c + (1 - g) w_prev

    An open gate (g = 1) forgets the previous focus; a closed one (g = 0) ignores the content, which is how a head
    steps through memory by shifts alone.
    """
    return torch.lerp(w_prev, w_c, g.unsqueeze(-1))


def shift(
    s: Float[Tensor, "batch heads shifts"], w_g: Float[Tensor, "batch heads slots"]
) -> Float[Tensor, "batch heads slots"]:
    """Move the focus by a distribution over shifts: eq. (8), a circular convolution.

        w~(i) = sum_j w_g(j) s(i - j), indices modulo the number of slots

    The shifts of `s` run from -reach to +reach, so its middle stays and its last one moves the focus furthest ahead.
    """
    slots, reach = w_g.shape[-1], s.shape[-1] // 2
    ring = torch.cat([w_g[..., slots - reach :], w_g, w_g[..., :reach]], dim=-1)
    # Window i holds w_g(i - reach .. i + reach); the slot that a shift of +1 comes from is the one before.
    windows = ring.unfold(-1, s.shape[-1], 1)
    return (windows @ s.flip(-1).unsqueeze(-1)).squeeze(-1)


def sharpen(
    gamma: Float[Tensor, "batch heads"], w_shifted: Float[Tensor, "batch heads slots"]
) -> Float[Tensor, "batch heads slots"]:
    """Undo the blur of shifting: eq. (9).

        w(i) = w~(i)^gamma / sum_j w~(j)^gamma, gamma >= 1

    In log space: a flat weighting over 128 slots underflows float32 once gamma passes 21, and 0 / 0 is nan.
    """
    return torch.softmax(gamma.unsqueeze(-1) * torch.log(w_shifted + WEIGHTING_FLOOR), dim=-1)
