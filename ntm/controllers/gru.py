"""A recurrent controller of gated recurrent units: an LSTM with one state and fewer gates."""

from jaxtyping import Float
from pydantic import NonNegativeFloat, PositiveInt, validate_call
from torch import Tensor, nn

from ntm.controllers.base import Controller, State
from ntm.initial import Initial, Kind


class GRUController(Controller):
    """`num_layers` layers of `hidden_size` units, each fed by the one below; the last one speaks."""

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
        sizes = [input_size] + [hidden_size] * (num_layers - 1)
        self.cells = nn.ModuleList(nn.GRUCell(size, hidden_size) for size in sizes)
        self.state_0 = nn.ModuleList(Initial(initial_state, (hidden_size,), std=initial_std) for _ in sizes)
        self.output_size = hidden_size

    def initial_state(self, batch_size: int) -> State:
        return tuple(initial.batch(batch_size) for initial in self.state_0)  # type: ignore[operator]

    def forward(self, x: Float[Tensor, "batch input"], state: State) -> tuple[Float[Tensor, "batch control"], State]:
        new_state: State = ()
        for cell, h in zip(self.cells, state, strict=True):
            x = cell(x, h)
            new_state += (x,)
        return x, new_state
