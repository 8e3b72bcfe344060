"""Back to the best machine from one that has unlearned its task."""

import logging
from copy import deepcopy
from typing import Any

import lightning as L
from lightning.pytorch.trainer.states import TrainerFn
from pydantic import validate_call

log = logging.getLogger(__name__)

KEPT = ("first", "best", "weights", "moments")  # in a checkpoint


class Rewind(L.Callback):
    """Where a validation says that more than half of what was learned is lost, goes back to the best machine so far.

    What was learned is how far `monitor` has come down from the first validation; it is worth keeping once that has
    halved. One step on a rare sequence can undo everything, and where the loss is flat for a machine that is sure and
    wrong, as Huber's on probabilities is, nothing leads back. Weights and the optimiser's moments become those of the
    best validation; steps, sequences and the schedule go on, so the batches are others.

    Logs no key; says in the log when it went back. What it knows survives a resumed run.
    """

    @validate_call
    def __init__(self, *, monitor: str):
        self.monitor = monitor
        self.first: float | None = None  # what the first validation measured
        self.best = float("inf")
        self.weights: dict[str, Any] = {}
        self.moments: dict[int, Any] = {}

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return
        measured = float(trainer.callback_metrics[self.monitor])
        (optimizer,) = trainer.optimizers
        if self.first is None:
            self.first = measured
        if measured <= self.best:
            self.best = measured
            self.weights = deepcopy(pl_module.state_dict())
            self.moments = deepcopy(optimizer.state_dict()["state"])
        elif self.best <= self.first / 2 and measured > (self.best + self.first) / 2:
            log.info(
                f"unlearned after {pl_module.sequences:,} sequences: {self.monitor} is {measured:.3g}, and was "
                f"{self.best:.3g}: back to that machine"
            )
            pl_module.load_state_dict(self.weights)
            optimizer.load_state_dict({**optimizer.state_dict(), "state": deepcopy(self.moments)})

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in KEPT}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name, value in state_dict.items():
            setattr(self, name, value)
