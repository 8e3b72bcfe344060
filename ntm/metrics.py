"""What is reported, everywhere in the same words: one figure for every sequence, from the scored steps alone."""

from collections.abc import Callable
from math import log

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

LN_2 = log(2)


def bits(
    logits: Float[Tensor, "batch time output"],
    targets: Float[Tensor, "batch time output"],
    mask: Bool[Tensor, "batch time"],
) -> Float[Tensor, " batch"]:
    """Negative log-likelihood of the answer in bits: what the paper's learning curves show. Chance is a bit a bit."""
    nats = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(-1)
    return (nats * mask).sum(-1) / LN_2


def error_bits(
    logits: Float[Tensor, "batch time output"],
    targets: Float[Tensor, "batch time output"],
    mask: Bool[Tensor, "batch time"],
) -> Float[Tensor, " batch"]:
    """Wrong bits after rounding."""
    wrong = ((logits > 0) != (targets > 0.5)).sum(-1)
    return (wrong * mask).sum(-1).to(logits.dtype)


def bit_error_rate(
    logits: Float[Tensor, "batch time output"],
    targets: Float[Tensor, "batch time output"],
    mask: Bool[Tensor, "batch time"],
) -> Float[Tensor, " batch"]:
    """Wrong bits as a fraction of the bits scored."""
    return error_bits(logits, targets, mask) / (mask.sum(-1) * logits.shape[-1]).clamp(min=1)


def exact(
    logits: Float[Tensor, "batch time output"],
    targets: Float[Tensor, "batch time output"],
    mask: Bool[Tensor, "batch time"],
) -> Float[Tensor, " batch"]:
    """1 where the whole answer is right, else 0; its mean is the fraction of sequences without a wrong bit."""
    return (error_bits(logits, targets, mask) == 0).to(logits.dtype)


Metric = Callable[[Tensor, Tensor, Tensor], Tensor]  # (logits, targets, mask) -> a figure for every sequence

METRICS: dict[str, Metric] = {
    "bits": bits,
    "error_bits": error_bits,
    "bit_error_rate": bit_error_rate,
    "exact": exact,
}
