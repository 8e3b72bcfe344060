"""The bar on the terminal."""

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm


class Progress(TQDMProgressBar):
    """One bar over the whole run: steps, sequences seen, and the latest held-out figures."""

    only_looks = True

    def on_train_epoch_start(self, trainer: L.Trainer, *_: Any) -> None:
        super().on_train_epoch_start(trainer)
        self.train_progress_bar.set_description("training")  # there are no epochs to count

    def init_validation_tqdm(self) -> Tqdm:
        return Tqdm(disable=True)  # it takes less than a second

    def init_test_tqdm(self) -> Tqdm:
        return Tqdm(disable=True)  # a table follows

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)  # a numbering of runs; ours have folders
        return {"sequences": pl_module.sequences, **metrics}
