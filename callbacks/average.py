"""A moving average of the weights, which is what is measured."""

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import EMAWeightAveraging
from lightning.pytorch.trainer.states import TrainerFn


class Average(EMAWeightAveraging):
    """Lightning's exponential moving average, which validation and the tests measure and `best.ckpt` holds.

    Asked for a checkpoint after a fit, Lightning's takes the weights that a training would go on from. Logs no key.
    """

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        if trainer.state.fn == TrainerFn.FITTING:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)
