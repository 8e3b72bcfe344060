"""Stops when there is nothing left to learn."""

import logging
from typing import Any

import lightning as L
from lightning.pytorch.trainer.states import TrainerFn
from pydantic import PositiveInt, validate_call

log = logging.getLogger(__name__)


class Solved(L.Callback):
    """Ends training once `monitor` has been at or below `threshold` in `patience` validations in a row.

    Logs no key; says once, in the log, after how many sequences. The count survives a resumed run.
    """

    @validate_call
    def __init__(self, *, monitor: str, threshold: float, patience: PositiveInt):
        self.monitor = monitor
        self.threshold = threshold
        self.patience = patience
        self.in_a_row = 0

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return
        if self.monitor not in trainer.callback_metrics:
            measured = ", ".join(sorted(trainer.callback_metrics)) or "nothing"
            raise ValueError(
                f"callbacks.solved.monitor={self.monitor} is not measured by validation, which has {measured}. "
                "Set callbacks.solved.monitor to one of these."
            )
        solved = float(trainer.callback_metrics[self.monitor]) <= self.threshold
        # All processes must stop together, whatever each of them has measured.
        solved = trainer.strategy.reduce_boolean_decision(solved)
        self.in_a_row = self.in_a_row + 1 if solved else 0
        if self.in_a_row >= self.patience:
            trainer.should_stop = True
            log.info(
                "solved after %s sequences: %s has been at most %g in %d validations in a row",
                f"{pl_module.sequences:,}",
                self.monitor,
                self.threshold,
                self.in_a_row,
            )

    def state_dict(self) -> dict[str, int]:
        return {"in_a_row": self.in_a_row}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.in_a_row = state_dict["in_a_row"]
