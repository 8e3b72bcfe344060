"""The contract of a loss."""

from abc import ABC, abstractmethod

from jaxtyping import Bool, Float
from torch import Tensor, nn


class Loss(nn.Module, ABC):
    """What training makes small: one number from the scored steps of a batch, its unit said in the docstring."""

    @abstractmethod
    def forward(
        self,
        logits: Float[Tensor, "batch time output"],
        targets: Float[Tensor, "batch time output"],
        mask: Bool[Tensor, "batch time"],
    ) -> Float[Tensor, ""]: ...


def masked_mean(values: Float[Tensor, "batch time output"], mask: Bool[Tensor, "batch time"]) -> Float[Tensor, ""]:
    """The mean over every scored bit of the batch; steps outside the mask, and padding, weigh nothing."""
    scored = mask.unsqueeze(-1)
    return (values * scored).sum() / (scored.sum() * values.shape[-1]).clamp(min=1)
