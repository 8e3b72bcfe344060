"""Where to resume from."""

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint


class Last(ModelCheckpoint):
    """Lightning's checkpoint, also of the last step of a run that ends between two of them."""

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        super().on_train_end(trainer, pl_module)
        if self._last_global_step_saved != trainer.global_step:
            self._save_checkpoint(trainer, self.format_checkpoint_name({}))
