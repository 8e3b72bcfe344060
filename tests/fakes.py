"""Small things to test with: a memory of a few slots, a machine around it, a configuration that trains in a blink."""

from copy import deepcopy
from functools import cache, partial
from pathlib import Path
from typing import Any

import hydra
import torch
from omegaconf import DictConfig
from torch import Tensor

from ntm import Machine
from ntm.controllers.feedforward import FeedforwardController
from ntm.controllers.lstm import LSTMController
from ntm.memories.base import Memory
from ntm.memories.matrix import MatrixMemory

ROOT = Path(__file__).parent.parent

# A training that takes a blink, of any task and any machine.
TINY = (
    "engine=eager",
    "logger=csv",
    "callbacks=none",
    "task.batch_size=2",
    "task.min_length=2",
    "task.max_length=3",
    "task.validation_size=2",
    "task.far_length=4",
    "task.far_size=2",
    "task.test_lengths=[2,3]",
    "task.test_size=2",
    "task.probe_length=2",
    "trainer.accelerator=cpu",
    "trainer.max_steps=2",
    "trainer.val_check_interval=2",
    "trainer.log_every_n_steps=1",
)


def options(group: str) -> list[str]:
    """Every option of a configuration group: one for each yaml file."""
    return sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml"))


def compose(*overrides: str, output_dir: Path | str = "unused") -> DictConfig:
    """The configuration that these overrides give on the command line."""
    return deepcopy(composed((*overrides, f"output_dir={output_dir}")))


@cache  # Hydra reads every yaml file each time: a quarter of a second
def composed(overrides: tuple[str, ...]) -> DictConfig:
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(ROOT / "conf")):
        return hydra.compose("config", list(overrides))


def matrix_memory(**settings: Any) -> MatrixMemory:
    """Three slots of two numbers under one head of each kind, with `settings` changed."""
    defaults = {
        "num_slots": 3,
        "training_slots": None,
        "slot_width": 2,
        "num_read_heads": 1,
        "num_write_heads": 1,
        "addressing": "content_and_location",
        "shift_range": 3,
        "order": "write_then_read",
        "initial_memory": "random",
        "initial_weighting": "one_hot",
        "initial_reads": "constant",
        "initial_constant": 1e-6,
        "initial_std": 0.5,
        "squash": False,
    }
    return MatrixMemory(**defaults | settings)


def lstm(**settings: Any) -> partial[LSTMController]:
    """An LSTM controller that still waits for its input size."""
    defaults = {"hidden_size": 4, "num_layers": 1, "initial_state": "constant", "initial_std": 0.5}
    return partial(LSTMController, **defaults | settings)


def feedforward(**settings: Any) -> partial[FeedforwardController]:
    """A feedforward controller that still waits for its input size."""
    return partial(FeedforwardController, **{"hidden_size": 4, "num_layers": 1} | settings)


def machine(controller: Any, memory: Memory, seed: int = 0) -> Machine:
    """A machine for three channels in and two out, run step by step."""
    torch.manual_seed(seed)
    return Machine(input_size=3, output_size=2, controller=controller, memory=memory, engine="eager")


def weightings(*shape: int, generator: torch.Generator, dtype: torch.dtype = torch.float64) -> Tensor:
    """Random weightings: not negative, and summing to one over the last axis."""
    return torch.softmax(2 * torch.randn(*shape, generator=generator, dtype=dtype), dim=-1)
