"""Other networks under the same task: torch's LSTM, and the `dnc` package with its DNC and its sparse memory, SAM.

pip install dnc --no-deps && pip install flann --no-deps     # SAM wants the system's FLANN library besides
"""

from collections.abc import Callable

import torch
from measure import Setting
from torch import Tensor, nn

SIZES = {"lstm-1x100": (100, 1), "lstm-3x256": (256, 3)}
MEMORIES = {"dnc": "DNC", "sam": "SAM"}


class Recurrent(nn.Module):
    """torch's LSTM, one fused operation, and an output layer."""

    def __init__(self, setting: Setting, hidden: int, layers: int):
        super().__init__()
        self.lstm = nn.LSTM(setting.inputs, hidden, layers, batch_first=True)
        self.output = nn.Linear(hidden, setting.outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.output(self.lstm(inputs)[0])


class External(nn.Module):
    """A memory network of the `dnc` package, which answers in as many numbers as it is asked in."""

    def __init__(self, setting: Setting, network: Callable[..., nn.Module]):
        super().__init__()
        self.network = network(
            input_size=setting.inputs,
            hidden_size=setting.hidden,
            rnn_type="lstm",
            num_layers=1,
            num_hidden_layers=setting.layers,
            nr_cells=setting.slots,
            cell_size=setting.width,
            read_heads=setting.heads,
        )
        self.output = nn.Linear(setting.inputs, setting.outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.output(self.network(inputs, (None, None, None), reset_experience=True)[0])


def build(setting: Setting) -> nn.Module:
    if setting.engine in SIZES:
        return Recurrent(setting, *SIZES[setting.engine])
    import dnc

    return External(setting, getattr(dnc, MEMORIES[setting.engine]))


def why_not(engine: str) -> str:
    """Why a rival cannot run here; empty if it can."""
    try:
        build(Setting(engine=engine, slots=8))(torch.zeros(1, 1, 9))
    except Exception as error:  # its own, or its libraries', whatever they raise
        return f"{type(error).__name__}: {error}"
    return ""
