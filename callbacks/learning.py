"""How the figures of a run and of its heads changed while it learned."""

from pathlib import Path
from typing import Any

import lightning as L
from matplotlib.figure import Figure
from pydantic import validate_call

from callbacks import curves
from callbacks.base import Overview, Vector


class Learning(Overview):
    """Logs `figures/learning` after a test: held-out figures and heads over the sequences seen, from `metrics`.

    That file holds the whole run, also where it was resumed. Without a validation in it there is no picture.
    """

    name = "learning"
    caption = "Held-out figures, and what the heads do meanwhile."

    @validate_call
    def __init__(self, *, metrics: Path, folder: Path, vector: Vector | None):
        super().__init__(folder=folder, vector=vector)
        self.metrics = metrics

    def figure(self, trainer: L.Trainer, pl_module: Any) -> Figure | None:
        rows = curves.validations(self.metrics)
        return curves.learning(rows, pl_module.sequences) if rows else None

    def heading(self, trainer: L.Trainer, pl_module: Any) -> str:
        return f"{self.title(trainer.datamodule)} - measured after {pl_module.sequences:,} sequences (dashed line)"  # type: ignore[attr-defined]
