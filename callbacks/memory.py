"""The memory as an episode leaves it."""

from matplotlib.figure import Figure

from callbacks import figures
from callbacks.base import Probe
from ntm.trace import Trace


class Memory(Probe):
    """Logs `figures/memory` every `every` sequences and after a test: the matrix."""

    name = "memory"
    caption = "Between when each slot was written and when it was read."

    def draw(self, trace: Trace) -> Figure:
        return figures.memory(trace)
