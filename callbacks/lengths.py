"""How far a machine generalises, in figures."""

from typing import Any

import lightning as L
from matplotlib.figure import Figure

from callbacks import curves
from callbacks.base import Overview
from callbacks.results import measured
from tasks.base import key


class Lengths(Overview):
    """Logs `figures/lengths` after a test: wrong bits and cost over the test lengths."""

    name = "lengths"
    caption = "Of held-out sequences."

    def figure(self, trainer: L.Trainer, pl_module: Any) -> Figure | None:
        task = trainer.datamodule  # type: ignore[attr-defined]
        return curves.lengths(measured(trainer, pl_module), (key(task.min_length), key(task.max_length)))
