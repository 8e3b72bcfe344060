"""The paper's baseline network: LSTM layers with connections past one another (table 3)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import NonNegativeFloat, PositiveInt, validate_call
from torch import Tensor, nn

from ntm.controllers.base import Controller, State
from ntm.initial import Initial, Kind


class DeepLSTMController(Controller):
    """`num_layers` LSTM layers of `hidden_size`: each sees the input and the layer below, and all of them speak.

    A layer has one bias vector and no peepholes, which with learned initial states and an affine output gives the
    parameters that the paper counts. The bias is the weight of an input that is always 1, because torch's LSTM has
    either two bias vectors or none. The state is h and c of every layer in turn.
    """

    @validate_call
    def __init__(
        self,
        *,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        num_layers: PositiveInt,
        initial_state: Kind,
        initial_std: NonNegativeFloat,
    ):
        super().__init__()
        sizes = [input_size + 1] + [input_size + 1 + hidden_size] * (num_layers - 1)
        self.layers = nn.ModuleList(nn.LSTM(size, hidden_size, bias=False, batch_first=True) for size in sizes)
        self.state_0 = nn.ModuleList(Initial(initial_state, (hidden_size,), std=initial_std) for _ in sizes * 2)
        self.output_size = num_layers * hidden_size

    def initial_state(self, batch_size: int) -> State:
        return tuple(initial.batch(batch_size) for initial in self.state_0)  # type: ignore[operator]

    def forward(self, x: Float[Tensor, "batch input"], state: State) -> tuple[Float[Tensor, "batch control"], State]:
        said, state = self.unroll(x.unsqueeze(1), state)
        return said.squeeze(1), state

    def unroll(
        self, inputs: Float[Tensor, "batch time input"], state: State
    ) -> tuple[Float[Tensor, "batch time control"], State]:
        """One layer after the other, each over all steps at once: torch has one operation for that."""
        inputs = F.pad(inputs, (0, 1), value=1.0)
        new_state: State = ()
        said: list[Tensor] = []
        for layer, h, c in zip(self.layers, state[::2], state[1::2], strict=True):
            below = torch.cat([inputs, *said[-1:]], dim=-1)
            h_all, (h, c) = layer(below, (h.unsqueeze(0).contiguous(), c.unsqueeze(0).contiguous()))
            said.append(h_all)
            new_state += (h.squeeze(0), c.squeeze(0))
        return torch.cat(said, dim=-1), new_state
