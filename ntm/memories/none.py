"""No memory: what is left of the machine is a plain recurrent network, the baseline."""

import torch
from jaxtyping import Float
from torch import Tensor

from ntm.memories.base import Memory


class NoMemory(Memory):
    """Wants nothing from the controller and returns nothing; its state is the empty read."""

    interface_size = 0
    read_size = 0
    nothing: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("nothing", torch.empty(0), persistent=False)

    def initial_state(self, batch_size: int) -> Float[Tensor, "batch 0"]:
        return self.nothing.expand(batch_size, 0)

    def forward(self, interface: Float[Tensor, "batch 0"], state: Float[Tensor, "batch 0"]) -> Float[Tensor, "batch 0"]:
        return interface  # as empty, and it gives the interface's weights a gradient, which training over devices needs

    def reads(self, state: Float[Tensor, "batch 0"]) -> Float[Tensor, "batch 0"]:
        return state

    def trace(self, interfaces: Float[Tensor, "time 0"], states: list[Tensor]) -> None:
        return None
