"""The memory at moments of an episode."""

from matplotlib.figure import Figure

from callbacks import figures
from callbacks.base import Probe
from ntm.trace import Trace


class Evolution(Probe):
    """Logs `figures/evolution` every `every` sequences and after a test: a row of heatmaps."""

    name = "evolution"
    caption = "Between the focus of the write heads (left) and of the read heads (right)."

    def draw(self, trace: Trace) -> Figure:
        return figures.evolution(trace)
