"""The contract of a controller."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

State = tuple[Tensor, ...]  # each [batch size]; empty for a controller that remembers nothing


class Controller(nn.Module, ABC):
    """The network that sees the input and the previous reads, and drives the heads and the output.

    A new controller takes `input_size` (the machine passes it) beside its own settings, states its `output_size`, and
    promises that a row of a batch does what it would do alone.
    """

    output_size: int

    @abstractmethod
    def initial_state(self, batch_size: int) -> State:
        """The state before the first step, the same for every sequence."""

    @abstractmethod
    def forward(self, x: Float[Tensor, "batch input"], state: State) -> tuple[Float[Tensor, "batch control"], State]:
        """One step: what it says now, and its new state. Nothing is kept on the module."""

    def unroll(
        self, inputs: Float[Tensor, "batch time input"], state: State
    ) -> tuple[Float[Tensor, "batch time control"], State]:
        """All steps of inputs that are known beforehand: what it says at each, and its state after the last.

        Step by step, unless a controller knows something quicker; a machine without memory then uses it.
        """
        said = []
        for x in inputs.unbind(1):
            h, state = self(x, state)
            said.append(h)
        return torch.stack(said, dim=1), state
