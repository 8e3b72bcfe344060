"""Huber loss on probabilities: the seed experiment's alternative to cross-entropy."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from pydantic import PositiveFloat, validate_call
from torch import Tensor

from ntm.losses.base import Loss, masked_mean


class Huber(Loss):
    """Mean over the scored bits of d^2 / 2 where d = |p - target| <= delta, and delta (d - delta / 2) beyond.

    Since d < 1, a delta of 1 or more is half the squared error; 0.125 is chance there.
    """

    @validate_call
    def __init__(self, *, delta: PositiveFloat):
        super().__init__()
        self.delta = delta

    def forward(
        self,
        logits: Float[Tensor, "batch time output"],
        targets: Float[Tensor, "batch time output"],
        mask: Bool[Tensor, "batch time"],
    ) -> Float[Tensor, ""]:
        error = F.huber_loss(torch.sigmoid(logits), targets, reduction="none", delta=self.delta)
        return masked_mean(error, mask)
