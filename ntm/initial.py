"""Where every episode starts: states that are constant, random (drawn once and saved) or learned."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

Kind = Literal["constant", "random", "learned"]
WeightingKind = Literal["one_hot", "uniform", "random", "learned"]


class Initial(nn.Module):
    """A state that every sequence starts from; part of the model, so every checkpoint carries it.

    `constant` is `constant` everywhere; `random` is drawn from N(0, std^2) once and kept as a buffer; `learned` starts
    like `random` and is a parameter.
    """

    value: Tensor

    def __init__(self, kind: Kind, shape: tuple[int, ...], *, constant: float = 0.0, std: float = 0.0):
        super().__init__()
        self.kind = kind
        self.std = std
        value = torch.full(shape, constant) if kind == "constant" else std * torch.randn(shape)
        if kind == "learned":
            self.value = nn.Parameter(value)
        else:
            self.register_buffer("value", value)

    def forward(self) -> Tensor:
        """The state of one sequence, without a batch axis."""
        return self.value

    def batch(self, size: int) -> Tensor:
        """The same state for every sequence of a batch."""
        value = self()
        return value.expand(size, *value.shape)

    @torch.no_grad()
    def redraw(self, generator: torch.Generator) -> None:
        """Draw a random state anew, leaving constant and learned ones as they are."""
        if self.kind == "random":
            self.value.copy_(self.std * torch.randn(self.value.shape, generator=generator))


class InitialWeighting(Initial):
    """Where the heads focus before the first step.

    `one_hot` is slot 0, `uniform` is everywhere; `random` and `learned` are kept as logits and pass through a softmax,
    so that they stay weightings (eq. 1).
    """

    def __init__(self, kind: WeightingKind, num_heads: int, num_slots: int):
        if kind in ("random", "learned"):
            super().__init__(kind, (num_heads, num_slots), std=1.0)
        else:
            super().__init__("constant", (num_heads, num_slots), constant=1 / num_slots)
            if kind == "one_hot":
                self.value.zero_()
                self.value[:, 0] = 1

    def forward(self) -> Float[Tensor, "heads slots"]:
        if self.kind == "constant":
            return self.value
        # Head by head, as torch cuts the sums of several rows up by thread, which would change a gradient's last bits.
        return torch.cat([torch.softmax(head, dim=-1) for head in self.value.split(1)])
