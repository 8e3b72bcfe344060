"""Huber loss on probabilities: the seed experiment's alternative to cross-entropy."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from pydantic import PositiveFloat, validate_call
from torch import Tensor

from ntm.losses.base import Loss, masked_mean


class Huber(Loss):
    """`weight` times the mean over the scored bits of d^2 / 2 where d = |p - target| is at most delta.

    Beyond, it is delta (d - delta / 2). Since d < 1, a delta of 1 or more is half the squared error. A weight of 4
    makes the gradient of an undecided bit as large as cross-entropy's, so that one optimiser serves both; chance
    is then 0.5.
    """

    @validate_call
    def __init__(self, *, delta: PositiveFloat, weight: PositiveFloat):
        super().__init__()
        self.delta = delta
        self.weight = weight

    def forward(
        self,
        logits: Float[Tensor, "batch time output"],
        targets: Float[Tensor, "batch time output"],
        mask: Bool[Tensor, "batch time"],
    ) -> Float[Tensor, ""]:
        error = F.huber_loss(torch.sigmoid(logits), targets, reduction="none", delta=self.delta)
        return self.weight * masked_mean(error, mask)
