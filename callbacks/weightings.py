"""Where every head focuses over time."""

from matplotlib.figure import Figure

from callbacks import figures
from callbacks.base import Probe
from ntm.trace import Trace


class Weightings(Probe):
    """Logs `figures/weightings` every `every` sequences and after a test: a map for every head."""

    name = "weightings"
    caption = "Orange: where the write heads focus. Blue: where the read heads do."

    def draw(self, trace: Trace) -> Figure:
        return figures.weightings(trace)
