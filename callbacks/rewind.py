"""Back to the best machine from one that has unlearned its task."""

import logging
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint, WeightAveraging
from lightning.pytorch.trainer.states import TrainerFn
from pydantic import PositiveFloat, validate_call

from callbacks.metrics import measured
from ntm.checkpoints import read

log = logging.getLogger(__name__)


class Rewind(L.Callback):
    """Where a validation says that more than half of what was learned is lost, goes back to the best checkpoint.

    What was learned is how far `monitor` has come down from `chance`; it is worth keeping once that has halved. One
    step on a rare sequence can undo everything, and where the loss is flat for a machine that is sure and wrong, as
    Huber's on probabilities is, nothing leads back. Weights, their average where there is one, and the optimiser's
    moments become those of the checkpoint; steps, sequences and the schedule go on, so the batches are others.

    Asks for a ModelCheckpoint that monitors something, whose file it reads. Logs no key; says in the log when it went
    back. What it knows survives a resumed run.
    """

    @validate_call
    def __init__(self, *, monitor: str, chance: PositiveFloat):
        self.monitor = monitor
        self.chance = chance
        self.least = chance  # that was measured since there is a checkpoint

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return
        now = measured(trainer, "callbacks.rewind.monitor", self.monitor)
        if kept(trainer).best_model_score is None:  # a new run, whatever machine it began with
            self.least = now
        self.least = min(self.least, now)
        if self.least <= self.chance / 2 and now > (self.least + self.chance) / 2:
            was = f"{self.monitor} is {now:.3g}, and was {self.least:.3g}"
            self.go_back(trainer, pl_module, f"unlearned after {pl_module.sequences:,} sequences: {was}")

    def go_back(self, trainer: L.Trainer, pl_module: Any, why: str) -> None:
        """Back to the best checkpoint, but from a machine that is better yet, and about to be kept."""
        best = kept(trainer)
        if best.best_model_score is None or trainer.callback_metrics[str(best.monitor)] < best.best_model_score:
            return
        log.info(f"{why}: back to {best.best_model_path}")
        checkpoint = read(best.best_model_path)
        pl_module.load_state_dict(checkpoint["state_dict"])
        for average in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(average, WeightAveraging):
                average.on_load_checkpoint(trainer, pl_module, checkpoint)
        for optimizer, state in zip(trainer.optimizers, checkpoint["optimizer_states"], strict=True):
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state["state"]})

    def state_dict(self) -> dict[str, Any]:
        return {"least": self.least}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.least = state_dict["least"]


def kept(trainer: L.Trainer) -> ModelCheckpoint:
    """What keeps the best checkpoint."""
    return next(c for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint) and c.monitor)
