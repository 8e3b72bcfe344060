"""A recurrent controller of long short-term memory cells: registers beside the memory's RAM (section 3.4)."""

from jaxtyping import Float
from pydantic import NonNegativeFloat, PositiveInt, validate_call
from torch import Tensor, nn

from ntm.controllers.base import Controller, State
from ntm.initial import Initial, Kind


class LSTMController(Controller):
    """`num_layers` layers of `hidden_size` cells, each fed by the one below; the last one speaks.

    The state is h and c of every layer in turn.
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
        sizes = [input_size] + [hidden_size] * (num_layers - 1)
        self.cells = nn.ModuleList(nn.LSTMCell(size, hidden_size) for size in sizes)
        self.state_0 = nn.ModuleList(Initial(initial_state, (hidden_size,), std=initial_std) for _ in sizes * 2)
        self.output_size = hidden_size

    def initial_state(self, batch_size: int) -> State:
        return tuple(initial.batch(batch_size) for initial in self.state_0)  # type: ignore[operator]

    def forward(self, x: Float[Tensor, "batch input"], state: State) -> tuple[Float[Tensor, "batch control"], State]:
        new_state: State = ()
        for cell, h, c in zip(self.cells, state[::2], state[1::2], strict=True):
            x, c = cell(x, (h, c))
            new_state += (x, c)
        return x, new_state
