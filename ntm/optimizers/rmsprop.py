"""Centred RMSProp with momentum: Graves (2013), Generating Sequences With Recurrent Neural Networks, eq. 38 to 41."""

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field, PositiveFloat, validate_call
from torch import Tensor
from torch.autograd.graph import increment_version
from torch.optim import Optimizer

from ntm.fused import no_numba

Decay = Annotated[float, Field(ge=0, lt=1)]
Group = dict[str, Any]
Tensors = list[Tensor]


class RMSProp(Optimizer):
    """Momentum over gradients divided by their standard deviation.

        n = alpha n + (1 - alpha) g^2
        m = alpha m + (1 - alpha) g
        d = momentum d - lr g / sqrt(n - m^2 + eps)       with `eps_in_root`, as the paper trains
        d = momentum d - lr g / (sqrt(n - m^2) + eps)     without, as `torch.optim.RMSprop(centered=True)` does
        p = p + d

    Outside the root, an eps of 1e-4 makes steps that are up to 100 times larger where gradients hardly vary. Unlike
    torch's, this one has no nan where rounding takes a variance below zero; on a CPU in float32, with Numba, it is one
    compiled walk over the numbers; and steps that were made at an old rate go on when the rate changes.
    """

    @validate_call
    def __init__(
        self, params: Any, *, lr: PositiveFloat, alpha: Decay, momentum: Decay, eps: PositiveFloat, eps_in_root: bool
    ):
        settings = {"lr": lr, "alpha": alpha, "momentum": momentum, "eps": eps, "eps_in_root": eps_in_root}
        super().__init__(params, settings)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                grads = [p.grad for p in params]
                n, m, d = ([self.slot(name, p) for p in params] for name in ("n", "m", "d"))
                update = compiled if not no_numba() and all(map(suits, params + grads)) else vectorised
                update(group, params, grads, n, m, d)
        return loss

    def slot(self, name: str, p: Tensor) -> Tensor:
        """What is kept of a parameter from step to step, from zero."""
        state = self.state[p]
        if name not in state:
            state[name] = torch.zeros_like(p, memory_format=torch.preserve_format)
        return state[name]


def suits(tensor: Tensor) -> bool:
    """Whether the compiled update applies."""
    return tensor.is_cpu and tensor.dtype == torch.float32 and tensor.is_contiguous()


def compiled(group: Group, params: Tensors, grads: Tensors, n: Tensors, m: Tensors, d: Tensors) -> None:
    """All parameters of a group in one walk."""
    from ntm.fused.rmsprop import rmsprop

    alpha = group["alpha"]
    inner, outer = (group["eps"], 0) if group["eps_in_root"] else (0, group["eps"])
    numbers = [np.float32(number) for number in (group["lr"], alpha, 1 - alpha, group["momentum"], inner, outer)]
    places = np.array([[tensor.data_ptr() for tensor in tensors] for tensors in (params, grads, n, m, d)], np.intp)
    rmsprop(places, np.array([p.numel() for p in params], np.intp), *numbers)
    increment_version(params)  # as torch's own operations do: a graph that still needs the old weights is an error


def vectorised(group: Group, params: Tensors, grads: Tensors, n: Tensors, m: Tensors, d: Tensors) -> None:
    """All parameters of a group together, on any device: a few operations for all, not for each."""
    torch._foreach_mul_(n, group["alpha"])
    torch._foreach_addcmul_(n, grads, grads, 1 - group["alpha"])
    torch._foreach_lerp_(m, grads, 1 - group["alpha"])
    scale = torch._foreach_mul(m, m)
    torch._foreach_sub_(scale, n)
    torch._foreach_neg_(scale)
    torch._foreach_clamp_min_(scale, 0.0)  # a variance, which rounding may take below zero
    if group["eps_in_root"]:
        torch._foreach_add_(scale, group["eps"])
    torch._foreach_sqrt_(scale)
    if not group["eps_in_root"]:
        torch._foreach_add_(scale, group["eps"])
    torch._foreach_mul_(d, group["momentum"])
    torch._foreach_addcdiv_(d, grads, scale, -group["lr"])
    torch._foreach_add_(params, d)
