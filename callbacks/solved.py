"""Stops when there is nothing left to learn."""

import logging
from math import cos, pi
from pathlib import Path
from typing import Annotated, Any

import lightning as L
from lightning.pytorch.trainer.states import TrainerFn
from pydantic import Field, NonNegativeInt, PositiveInt, validate_call
from torch.optim import Optimizer

from callbacks.metrics import measured
from callbacks.rewind import Rewind

log = logging.getLogger(__name__)

KEPT = ("in_a_row", "first_in_a_row", "settling_since", "waited", "done")  # in a checkpoint


class Solved(L.Callback):
    """Once all `monitors` have been at or below `threshold` in `patience` validations in a row, settles and then stops.

    Settling multiplies the rate by half a cosine from one to zero over `cooldown` steps (0 stops at once): it sharpens
    the weightings, and with them the generalisation to longer sequences. A machine that loses the first monitor's
    sequences while it settles goes back to the best checkpoint, where there is a `Rewind`; one that is not solved at
    the end of it goes back to the full rate. The scheduler knows nothing of it.

    Some machines learn the first monitor's sequences in a way that never extends to the others'. Once the first alone
    has been solved in `limit` validations in a row, the others are not waited for any more.

    Logs no key; says in the log after how many sequences. What it knows survives a resumed run, and is forgotten in a
    new one that trains on from a solved one's checkpoint.
    """

    @validate_call
    def __init__(
        self,
        *,
        monitors: Annotated[list[str], Field(min_length=1)],
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
        self.rates: list[float] = []  # of the optimiser's groups, where this step takes a share of them
        self.start_anew()

    def start_anew(self) -> None:
        self.in_a_row = 0  # of all monitors
        self.first_in_a_row = 0
        self.settling_since: int | None = None  # the step
        self.waited = False  # long enough: it settles for the first alone
        self.done = False

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        if self.done:
            checkpoint, folder = Path(str(trainer.ckpt_path)).resolve(), Path(trainer.default_root_dir).resolve()
            if checkpoint.is_relative_to(folder):
                log.info("solved before it was resumed: nothing is left to train, only to measure")
            else:  # another run trains on from where that one ended
                self.start_anew()
        trainer.should_stop = self.done
        (optimizer,) = trainer.optimizers
        optimizer.register_step_pre_hook(lambda *_: self.settle(trainer.global_step, optimizer))
        optimizer.register_step_post_hook(lambda *_: self.restore(optimizer))

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.has_settled(trainer.global_step) and (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            trainer.should_stop = True  # so Lightning measures now; what comes of that decides

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return
        self.in_a_row = self.in_a_row + 1 if self.solved(trainer, self.monitors) else 0
        self.first_in_a_row = self.first_in_a_row + 1 if self.solved(trainer, self.monitors[:1]) else 0
        if self.settling_since is None:
            self.waited = self.first_in_a_row >= self.limit
            if self.waited or self.in_a_row >= self.patience:
                which = " and ".join(self.monitors[: 1 if self.waited else None])
                log.info(f"solved after {pl_module.sequences:,} sequences: {which} <= {self.threshold:g}")
                self.settling_since = trainer.global_step
        if self.settling_since is not None and not self.first_in_a_row:
            for callback in trainer.callbacks:  # type: ignore[attr-defined]
                if isinstance(callback, Rewind):
                    lost = f"not solved any more after {pl_module.sequences:,} sequences, while it settles"
                    callback.go_back(trainer, pl_module, lost)
        if self.has_settled(trainer.global_step):
            self.done = trainer.should_stop = (self.first_in_a_row if self.waited else self.in_a_row) > 0
            if not self.done:
                log.info(f"not solved any more after {pl_module.sequences:,} sequences: back to the full rate")
                self.settling_since, self.first_in_a_row = None, 0  # waits anew

    def has_settled(self, step: int) -> bool:
        return self.settling_since is not None and step >= self.settling_since + self.cooldown

    def settle(self, step: int, optimizer: Optimizer) -> None:
        """Take a share of the rate for a step."""
        if self.settling_since is not None and self.cooldown:
            share = (1 + cos(pi * min(1, (step - self.settling_since) / self.cooldown))) / 2
            self.rates = [group["lr"] for group in optimizer.param_groups]
            for group in optimizer.param_groups:
                group["lr"] *= share

    def restore(self, optimizer: Optimizer) -> None:
        """Give back the whole rate, from which a scheduler finds the next."""
        for group, rate in zip(optimizer.param_groups, self.rates, strict=False):
            group["lr"] = rate
        self.rates = []

    def solved(self, trainer: L.Trainer, monitors: list[str]) -> bool:
        figures = [measured(trainer, "callbacks.solved.monitors", monitor) for monitor in monitors]
        solved = all(figure <= self.threshold for figure in figures)
        # All processes must stop together, whatever each of them has measured.
        return trainer.strategy.reduce_boolean_decision(solved)

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in KEPT}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name, value in state_dict.items():
            setattr(self, name, value)
