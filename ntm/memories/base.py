"""The contract of a memory."""

from abc import ABC, abstractmethod
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from ntm.trace import MemoryTrace


class Memory(nn.Module, ABC):
    """What a controller writes to and reads from.

    A new memory states two sizes and promises that a row of a batch does what it would do alone. In return it can be
    paired with every controller, trained, resumed and (through `trace`) drawn.
    """

    interface_size: int  # numbers it wants from the controller each step
    read_size: int  # numbers it returns each step

    def at_step(self, step: int) -> None:
        """Training step `step` is about to begin."""

    @abstractmethod
    def initial_state(self, batch_size: int) -> Any:
        """The state before the first step, the same for every sequence."""

    @abstractmethod
    def forward(self, interface: Float[Tensor, "batch interface"], state: Any) -> Any:
        """Obey the controller for one step; the new state. Nothing is kept on the module."""

    @abstractmethod
    def reads(self, state: Any) -> Float[Tensor, "batch reads"]:
        """What was read last, all heads side by side."""

    @abstractmethod
    def trace(self, interfaces: Float[Tensor, "time interface"], states: list[Any]) -> MemoryTrace | None:
        """What happened in the episode of one sequence with these interfaces and the states they led to."""
