"""How far a machine generalises, in its answers."""

from typing import Any

import lightning as L
from matplotlib.figure import Figure

from callbacks import figures
from callbacks.base import Overview, look


class Generalisation(Overview):
    """Logs `figures/generalisation` after a test: the answers to one sequence of every test length."""

    name = "generalisation"
    caption = "White error is a right answer."

    def figure(self, trainer: L.Trainer, pl_module: Any) -> Figure | None:
        task = trainer.datamodule  # type: ignore[attr-defined]
        return figures.generalisation(
            {task.counts(length): look(trainer, pl_module, task.probe(length)) for length in task.test_lengths}
        )
