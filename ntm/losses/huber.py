"""Huber loss on probabilities: the seed experiment's alternative to cross-entropy."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from pydantic import PositiveFloat, validate_call
from torch import Tensor

from ntm.losses.base import Loss, masked_mean


class Huber(Loss):
    """Mean over the scored bits of d^2 / 2 where d = |p - target| is at most delta; beyond, of delta (d - delta / 2).

    Since d < 1, a delta of 1 or more is half the squared error. The mean is scaled such that the gradient of an
    undecided bit is cross-entropy's, so that the same optimiser serves both, whatever the delta.
    """

    @validate_call
    def __init__(self, *, delta: PositiveFloat):
        super().__init__()
        self.delta = delta
        self.scale = 2 / min(delta, 0.5)  # at p = 1/2, d is 1/2, and dp / dlogit 1/4

    def forward(
        self,
        logits: Float[Tensor, "batch time output"],
        targets: Float[Tensor, "batch time output"],
        mask: Bool[Tensor, "batch time"],
    ) -> Float[Tensor, ""]:
        error = F.huber_loss(torch.sigmoid(logits), targets, reduction="none", delta=self.delta)
        return self.scale * masked_mean(error, mask)
