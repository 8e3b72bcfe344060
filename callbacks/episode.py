"""What went in, what should have come out and what did."""

from matplotlib.figure import Figure

from callbacks import figures
from callbacks.base import Probe
from ntm.trace import Trace


class Episode(Probe):
    """Logs `figures/episode` every `every` sequences and after a test: four strips over time."""

    name = "episode"
    caption = "White error is a right answer; paler steps do not count."
    needs_memory = False

    def draw(self, trace: Trace) -> Figure:
        return figures.episode(trace)
