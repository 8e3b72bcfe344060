"""What every head was told."""

from matplotlib.figure import Figure

from callbacks import figures
from callbacks.base import Probe
from ntm.trace import Trace


class Addressing(Probe):
    """Logs `figures/addressing` every `every` sequences and after a test: gate, shift and the like over time."""

    name = "addressing"
    caption = "Orange: what the write heads are told. Blue: the read heads."

    def draw(self, trace: Trace) -> Figure:
        return figures.addressing(trace)
