"""What the loggers should know about a run before its first number."""

from typing import Any

import lightning as L
from lightning.pytorch.loggers import WandbLogger


class Describe(L.Callback):
    """Gives every logger the whole configuration, and W&B the paper's axis: every curve over sequences seen."""

    def on_fit_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        for logger in trainer.loggers:
            logger.log_hyperparams(pl_module.config)
            if isinstance(logger, WandbLogger) and trainer.is_global_zero:
                logger.experiment.define_metric("*", step_metric="sequences")
