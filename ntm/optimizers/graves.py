"""RMSProp in the form of Graves (2013), Generating Sequences With Recurrent Neural Networks, eq. (38) to (41)."""

from collections.abc import Callable
from typing import Annotated, Any

import torch
from pydantic import Field, PositiveFloat, validate_call
from torch import Tensor
from torch.optim import Optimizer

Decay = Annotated[float, Field(ge=0, lt=1)]


class GravesRMSProp(Optimizer):
    """Momentum over gradients divided by their standard deviation, as the paper trains.

        n = alpha n + (1 - alpha) g^2
        m = alpha m + (1 - alpha) g
        d = momentum d - lr g / sqrt(n - m^2 + eps)
        p = p + d

    `torch.optim.RMSprop(centered=True)` differs in where eps is: outside the root, and there an eps of 1e-4 makes steps
    that are up to 100 times larger where gradients hardly vary. Its momentum also takes a new rate at once, while here
    steps that were made at the old one go on.
    """

    @validate_call
    def __init__(self, params: Any, *, lr: PositiveFloat, alpha: Decay, momentum: Decay, eps: PositiveFloat):
        super().__init__(params, {"lr": lr, "alpha": alpha, "momentum": momentum, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                self.update(params, [p.grad for p in params], group)
        return loss

    def update(self, params: list[Tensor], grads: list[Tensor], group: dict[str, Any]) -> None:
        """All parameters of a group together: a few operations for all, not for each."""
        n, m, d = ([self.slot(name, p) for p in params] for name in ("n", "m", "d"))
        torch._foreach_mul_(n, group["alpha"])
        torch._foreach_addcmul_(n, grads, grads, 1 - group["alpha"])
        torch._foreach_lerp_(m, grads, 1 - group["alpha"])
        scale = torch._foreach_mul(m, m)
        torch._foreach_sub_(scale, n)
        torch._foreach_neg_(scale)
        torch._foreach_clamp_min_(scale, 0.0)  # a variance, which rounding may take below zero
        torch._foreach_add_(scale, group["eps"])
        torch._foreach_sqrt_(scale)
        torch._foreach_mul_(d, group["momentum"])
        torch._foreach_addcdiv_(d, grads, scale, -group["lr"])
        torch._foreach_add_(params, d)

    def slot(self, name: str, p: Tensor) -> Tensor:
        """What is kept of a parameter from step to step, from zero."""
        state = self.state[p]
        if name not in state:
            state[name] = torch.zeros_like(p, memory_format=torch.preserve_format)
        return state[name]
