"""What is read is what was written (figure 6 of the paper)."""

from matplotlib.figure import Figure

from callbacks import figures
from callbacks.base import Probe
from ntm.trace import Trace


class WrittenAndRead(Probe):
    """Logs `figures/written_and_read` every `every` sequences and after a test: a map of each."""

    name = "written_and_read"
    caption = "Boxes with one letter are the same slots: in a learned copy the columns that went in come out."

    def draw(self, trace: Trace) -> Figure:
        return figures.written_and_read(trace)
