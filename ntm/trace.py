"""Everything that happened inside a machine during one episode, stacked over time: what figures are drawn from."""

from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor

from ntm.heads import Addressing


@dataclass(frozen=True)
class MemoryTrace:
    """What the heads did and what the memory held after each step."""

    M: Float[Tensor, "time slots width"]
    w_write: Float[Tensor, "time write_heads slots"]
    w_read: Float[Tensor, "time read_heads slots"]
    r: Float[Tensor, "time read_heads width"]
    e: Float[Tensor, "time write_heads width"]
    a: Float[Tensor, "time write_heads width"]
    write: Addressing  # k, beta, g, s, gamma of every write head
    read: Addressing


class Phase(NamedTuple):
    """A stretch of an episode, up to where the next one starts."""

    name: str
    start: int  # its first step


@dataclass(frozen=True)
class Trace:
    """One episode: what went in, what should have come out, what did, and what the memory did meanwhile."""

    inputs: Float[Tensor, "time input"]
    targets: Float[Tensor, "time output"]
    mask: Bool[Tensor, " time"]
    outputs: Float[Tensor, "time output"]  # probabilities that the bit is 1
    memory: MemoryTrace | None  # None for a machine without one
    # What the task calls the stretches of the episode, and the best prediction where nobody can know the answer: the
    # machine knows neither.
    phases: tuple[Phase, ...] = ()
    best_guess: Float[Tensor, "time output"] | None = None

    @property
    def wrong(self) -> Bool[Tensor, "time output"]:
        """Which bits of the answer are wrong after rounding."""
        return ((self.outputs > 0.5) != (self.targets > 0.5)) & self.mask.unsqueeze(-1)
