"""Gradients far larger than usual, cut down to size."""

from typing import Any

import lightning as L
import torch
from pydantic import PositiveFloat, validate_call
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_
from torch.optim import Optimizer


class ClipSpikes(L.Callback):
    """Clips the norm of the gradient to `factor` times the usual norm, a running mean over some `memory` steps.

    The gradient of a machine that knows its task is a thousandth of what it was while it learned, but for rare steps
    of ten thousand times as much, where a head stands between two slots. No fixed bound is right for both; a spike
    that passes a loose one undoes what was learned. A bound that follows the gradient, as in AutoClip (Seetharaman et
    al., 2020, there a percentile of all norms so far), stops spikes at any size.

    Asks the module for the `norm` of its gradient. Clips before `trainer.gradient_clip_val` does. Logs no key. What it
    knows survives a resumed run.
    """

    @validate_call
    def __init__(self, *, factor: PositiveFloat, memory: PositiveFloat):
        self.factor = factor
        self.memory = memory
        self.usual: Tensor | None = None  # norm

    @torch.no_grad()
    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: Any, optimizer: Optimizer) -> None:
        norm = pl_module.norm
        if self.usual is None:
            self.usual = norm
        limit = self.factor * self.usual.to(norm.device)
        if norm > limit:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            clip_grads_with_norm_(parameters, limit, norm)  # type: ignore[arg-type]
        # Of the clipped norm: else one spike would open the door to the next.
        self.usual = torch.lerp(self.usual.to(norm.device), torch.fmin(norm, limit), 1 / self.memory)

    def state_dict(self) -> dict[str, Any]:
        return {"usual": self.usual}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.usual = state_dict["usual"]
