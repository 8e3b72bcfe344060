"""Log-likelihood of whole sequences: cross-entropy that is summed, not averaged."""

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ntm.losses.base import Loss


class LogLikelihood(Loss):
    """Mean over the sequences of the negative log-likelihood of a whole answer, in nats; 0.693 a bit is chance.

    The gradients of a sequence grow with its answer, as those of the paper do: what clipping at 10 and an epsilon of
    1e-4 mean depends on it.
    """

    def forward(
        self,
        logits: Float[Tensor, "batch time output"],
        targets: Float[Tensor, "batch time output"],
        mask: Bool[Tensor, "batch time"],
    ) -> Float[Tensor, ""]:
        nats = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(-1)
        return (nats * mask).sum(-1).mean()
