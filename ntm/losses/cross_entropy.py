"""Cross-entropy: the paper's loss."""

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ntm.losses.base import Loss, masked_mean


class CrossEntropy(Loss):
    """Mean negative log-likelihood of a scored bit, in nats; log 2 = 0.693 is chance."""

    def forward(
        self,
        logits: Float[Tensor, "batch time output"],
        targets: Float[Tensor, "batch time output"],
        mask: Bool[Tensor, "batch time"],
    ) -> Float[Tensor, ""]:
        # From logits, never from the logarithm of a sigmoid, which is -inf for a confident mistake.
        return masked_mean(F.binary_cross_entropy_with_logits(logits, targets, reduction="none"), mask)
