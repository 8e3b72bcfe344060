"""A feedforward controller: all that it remembers is in the memory."""

import torch
from jaxtyping import Float
from pydantic import PositiveInt, validate_call
from torch import Tensor, nn

from ntm.controllers.base import Controller, State


class FeedforwardController(Controller):
    """`num_layers` hidden layers of `hidden_size` rectified units."""

    @validate_call
    def __init__(self, *, input_size: PositiveInt, hidden_size: PositiveInt, num_layers: PositiveInt):
        super().__init__()
        sizes = [input_size] + [hidden_size] * (num_layers - 1)
        self.layers = nn.ModuleList(nn.Linear(size, hidden_size) for size in sizes)
        self.output_size = hidden_size

    def initial_state(self, batch_size: int) -> State:
        return ()

    def forward(self, x: Float[Tensor, "batch input"], state: State) -> tuple[Float[Tensor, "batch control"], State]:
        for layer in self.layers:
            x = torch.relu(layer(x))
        return x, ()
