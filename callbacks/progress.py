"""What is seen of a run while it goes on."""

import logging
import sys
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm
from lightning.pytorch.trainer.states import TrainerFn

log = logging.getLogger(__name__)


class Progress(TQDMProgressBar):
    """A line for every validation, and on a terminal one bar over the whole run: steps, sequences, latest figures."""

    only_looks = True

    def init_train_tqdm(self) -> Tqdm:
        return super().init_train_tqdm() if sys.stdout.isatty() else Tqdm(disable=True)

    def on_train_epoch_start(self, trainer: L.Trainer, *_: Any) -> None:
        super().on_train_epoch_start(trainer)
        self.train_progress_bar.set_description("training")  # there are no epochs to count

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_validation_end(trainer, pl_module)
        if trainer.state.fn == TrainerFn.FITTING and trainer.is_global_zero and self.is_enabled:
            figures = (f"{name} {float(value):.3g}" for name, value in trainer.progress_bar_metrics.items())
            log.info(f"{pl_module.sequences:,} sequences: {', '.join(figures)}")

    def init_validation_tqdm(self) -> Tqdm:
        return Tqdm(disable=True)  # it takes less than a second

    def init_test_tqdm(self) -> Tqdm:
        return Tqdm(disable=True)  # a table follows

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)  # a numbering of runs; ours have folders
        return {"sequences": pl_module.sequences, **metrics}
