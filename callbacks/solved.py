"""Stops when there is nothing left to learn."""

import logging
from math import cos, pi
from typing import Any

import lightning as L
from lightning.pytorch.trainer.states import TrainerFn
from pydantic import NonNegativeInt, PositiveInt, validate_call
from torch.optim import Optimizer

log = logging.getLogger(__name__)

KEPT = ("in_a_row", "first_in_a_row", "settling_since", "shares", "done")  # in a checkpoint


class Solved(L.Callback):
    """Once all `monitors` have been at or below `threshold` in `patience` validations in a row, settles and then stops.

    Settling is half a cosine from the rate of that moment to zero over `cooldown` steps (0 stops at once): it sharpens
    the weightings, and with them the generalisation to longer sequences. A machine that is not solved at its end goes
    back to the full rate. While it lasts, this rate overrules the scheduler's.

    Some machines learn the first monitor's sequences in a way that never extends to the others'. Once the first alone
    has been solved in `limit` validations in a row, the others are not waited for any more.

    Logs no key; says in the log after how many sequences. What it knows survives a resumed run.
    """

    @validate_call
    def __init__(
        self,
        *,
        monitors: list[str],
        threshold: float,
        patience: PositiveInt,
        limit: PositiveInt,
        cooldown: NonNegativeInt,
    ):
        self.monitors = monitors
        self.threshold = threshold
        self.patience = patience
        self.limit = limit
        self.cooldown = cooldown
        self.in_a_row = 0  # of all monitors
        self.first_in_a_row = 0
        self.settling_since: int | None = None  # the step
        self.shares: list[float] = []  # of their initial rates that the optimiser's groups had then
        self.done = False

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        trainer.should_stop = self.done  # resumed where only the tests were left

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return
        self.in_a_row = self.in_a_row + 1 if self.solved(trainer, self.monitors) else 0
        self.first_in_a_row = self.first_in_a_row + 1 if self.solved(trainer, self.monitors[:1]) else 0
        (optimizer,) = trainer.optimizers
        waited = self.first_in_a_row >= self.limit
        if self.settling_since is None and (waited or self.in_a_row >= self.patience):
            which = " and ".join(self.monitors[: 1 if waited else None])
            log.info(f"solved after {pl_module.sequences:,} sequences: {which} <= {self.threshold:g}")
            self.settling_since = trainer.global_step
            self.shares = [group["lr"] / group["initial_lr"] for group in optimizer.param_groups]
        if self.settling_since is not None and trainer.global_step >= self.settling_since + self.cooldown:
            if waited or self.in_a_row:
                self.done = trainer.should_stop = True
            else:
                log.info(f"not solved any more after {pl_module.sequences:,} sequences: back to the full rate")
                self.settling_since = None
                set_rates(optimizer, self.shares)

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: Any, optimizer: Optimizer) -> None:
        if self.settling_since is not None and self.cooldown:
            progress = (trainer.global_step - self.settling_since) / self.cooldown
            set_rates(optimizer, [share * (1 + cos(pi * min(1, progress))) / 2 for share in self.shares])

    def solved(self, trainer: L.Trainer, monitors: list[str]) -> bool:
        for monitor in monitors:
            if monitor not in trainer.callback_metrics:
                measured = ", ".join(sorted(trainer.callback_metrics)) or "nothing"
                raise ValueError(
                    f"callbacks.solved.monitors={monitor} is not measured by validation, which has {measured}. "
                    "Name one of these."
                )
        solved = all(float(trainer.callback_metrics[monitor]) <= self.threshold for monitor in monitors)
        # All processes must stop together, whatever each of them has measured.
        return trainer.strategy.reduce_boolean_decision(solved)

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in KEPT}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name, value in state_dict.items():
            setattr(self, name, value)


def set_rates(optimizer: Optimizer, shares: list[float]) -> None:
    """Shares of the initial rates, which a resumed run may have otherwise than before."""
    for group, share in zip(optimizer.param_groups, shares, strict=True):
        group["lr"] = share * group["initial_lr"]
