"""The whole episode, forward and backward, as compiled CPU code behind one torch function."""

from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from ntm.controllers.feedforward import FeedforwardController
from ntm.controllers.gru import GRUController
from ntm.controllers.lstm import LSTMController
from ntm.memories.matrix import MatrixMemory

CONTROLLERS = (LSTMController, GRUController, FeedforwardController)


def why_not(machine: Any, inputs: Tensor) -> str:
    """Why the fused engine cannot run this machine on these inputs; empty if it can."""
    if type(machine.memory) is not MatrixMemory:
        return f"memory {type(machine.memory).__name__} is not one that it knows"
    if type(machine.controller) not in CONTROLLERS:
        return f"controller {type(machine.controller).__name__} is not one that it knows"
    if inputs.device.type != "cpu" or machine.interface.weight.device.type != "cpu":
        return f"the device is {inputs.device.type}, not cpu"
    if inputs.dtype != torch.float32 or machine.interface.weight.dtype != torch.float32:
        return f"the numbers are {machine.interface.weight.dtype}, not torch.float32"
    if inputs.shape[0] == 0 or inputs.shape[1] == 0:
        return "there is nothing to run"
    if torch.is_autocast_enabled("cpu"):
        return "autocast asks for other numbers than torch.float32"
    if find_spec("numba") is None:
        return "numba is not installed (pip install numba)"
    return ""
