"""The LightningModule: what a step is, what is measured, which optimiser turns the screws."""

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ntm.batch import Batch
from ntm.finite import culprit
from ntm.initial import Initial
from ntm.losses.base import Loss
from ntm.machine import Machine
from ntm.metrics import Metric


class Learner(L.LightningModule):
    """Teaches a machine a task.

    Logs `train/loss` and every metric as `train/<metric>` at the trainer's logging steps, `val/<metric>` over held-out
    sequences of the training range, `far/<metric>` over longer ones that training never sees, `both/bits`, the sum of
    their bits, and `test/<length>/<metric>` for every test length; beside each row `sequences`, the number of training
    sequences seen, which is the paper's axis. Its checkpoints carry the configuration in plain containers, so that a
    checkpoint alone rebuilds the machine and the task.
    """

    def __init__(
        self,
        *,
        machine: Machine,
        loss: Loss,
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[[Optimizer], LRScheduler],
        metrics: Mapping[str, Metric],
        config: dict[str, Any],
        test_names: list[str],
    ):
        super().__init__()
        self.machine = machine
        self.loss = loss
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.metrics = metrics
        self.config = config
        self.test_names = test_names
        self.cost: float | None = None  # on held-out sequences, of the weights that are measured at the end
        self.sequences = 0
        self.sequences_before = 0  # the step at hand
        self.unstepped = 0  # sequences whose gradients no step has taken yet

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning notes here which hook it calls, 44 times a step, and a module would search its parts for each.
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.batch = batch  # to look at, should the step fail
        self.sequences_before = self.sequences
        self.machine.memory.at_step(self.global_step)
        logits = self.machine(batch.inputs)
        loss = self.loss(logits, batch.targets, batch.mask)
        self.unstepped += len(batch.inputs) * self.trainer.world_size
        # Measuring costs more than a small machine's step, so only where the row is written.
        if (self.global_step + 1) % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self.log("train/loss", loss.detach())
            self.measure("train", batch, logits.detach())
            self.log_sequences()
        return loss

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Differentiate, and end the run where the loss or the gradient is not finite, before any weight has taken it.

        Raises:
            FloatingPointError: it is not; says at which step, which tensor was the first, and what is left.
        """
        super().backward(loss, *args, **kwargs)
        # The optimiser has its parameters at hand; a module would walk over all its parts.
        groups = self.trainer.optimizers[0].param_groups
        gradients = [p.grad for group in groups for p in group["params"] if p.grad is not None]
        norm = get_total_norm(gradients).item()
        if self.trainer.gradient_clip_val and not isfinite(norm):
            # Squares overflow long before the numbers do, which are about to be clipped: 1e28 after 200 steps, say.
            norm = get_total_norm([gradient.cpu().double() for gradient in gradients]).item()
            if self.trainer.gradient_clip_algorithm != "value" and isfinite(norm):  # torch would divide by infinity
                torch._foreach_mul_(gradients, self.trainer.gradient_clip_val / norm)
        self.check_finite(loss, norm)

    def check_finite(self, loss: Tensor, norm: float) -> None:
        """End the run where the loss or the norm of its gradient is not finite.

        Raises:
            FloatingPointError: as `backward`.
        """
        if not isfinite(loss.item() + norm):
            saved = [c for c in self.trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint)]
            newest = next((c.best_model_path for c in saved if c.monitor is None and c.best_model_path), "none yet")
            name = culprit(self.machine, self.batch, loss)
            taken = "the step before made it so" if name.startswith("weight") else "no weight has taken it"
            raise FloatingPointError(
                f"{name} is not finite in step {self.global_step + 1}; {taken}. The last good checkpoint: {newest}. "
                "Lower optimizer.lr or, with a memory, set or lower memory.gradient_clip_val, which bounds a gradient "
                "as it is made: 0.01 for a mean, 10 for a sum."
            )

    def optimizer_step(self, *step: Any, **kwargs: Any) -> None:
        """Count sequences with the step that they make, so that every checkpoint, a crash's too, agrees with itself."""
        super().optimizer_step(*step, **kwargs)
        self.sequences += self.unstepped
        self.unstepped = 0

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        if 0 <= self.trainer.max_steps <= self.global_step:
            self.trainer.should_stop = True  # so Lightning measures what came after the last whole interval, too

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.measure(("val", "far")[dataloader_idx], batch, self.machine(batch.inputs))

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        logits = self.machine(batch.inputs)
        self.measure(f"test/{self.test_names[dataloader_idx]}", batch, logits)
        return logits

    def on_validation_epoch_end(self) -> None:
        measured = self.trainer.callback_metrics
        if {"val/bits", "far/bits"} <= measured.keys():  # a limit of the trainer's may leave one out
            self.log("both/bits", measured["val/bits"] + measured["far/bits"], sync_dist=True)
        self.log_sequences()

    def on_test_epoch_end(self) -> None:
        self.log_sequences()
        self.log("step", float(self.global_step))  # of the row; Lightning's own lags where no step was left to take

    def measure(self, stage: str, batch: Batch, logits: Tensor) -> None:
        """Log every metric of a batch; Lightning averages over the sequences of a whole stage."""
        evaluating = stage != "train"
        for name, metric in self.metrics.items():
            self.log(
                f"{stage}/{name}",
                metric(logits, *batch[1:]).mean(),
                prog_bar=stage in ("val", "far") and name == "error_bits",
                batch_size=len(logits),
                sync_dist=evaluating,
                add_dataloader_idx=False,
            )

    def log_sequences(self) -> None:
        """The axis of every other figure, in the same row."""
        self.log("sequences", float(self.sequences + self.unstepped), sync_dist=True)  # the same in every process

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer(self.parameters())
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self.scheduler(optimizer), "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["config"] = self.config
        checkpoint["sequences"] = self.sequences

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.sequences = checkpoint["sequences"]
        if plan(self.config) != plan(checkpoint["config"]):
            self.plan_anew(checkpoint)
        if "loops" in checkpoint:  # batches whose gradients no step has taken come again
            taken = checkpoint["global_step"] * checkpoint["config"]["trainer"].get("accumulate_grad_batches", 1)
            progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
            for counts in (progress["total"], progress["current"]):
                counts.update({name: min(count, taken) for name, count in counts.items()})

    def plan_anew(self, checkpoint: dict[str, Any]) -> None:
        """Write into a checkpoint the rates that a run with this one's settings would be at."""
        optimizer = self.optimizer(self.parameters())
        optimizer._opt_called = True  # type: ignore[attr-defined]  # or torch warns of steps that nobody took
        scheduler = self.scheduler(optimizer)
        for kept, schedule in zip(
            checkpoint.get("optimizer_states", ()), checkpoint.get("lr_schedulers", ()), strict=True
        ):
            for _ in range(schedule["last_epoch"]):
                scheduler.step()
            schedule.update(scheduler.state_dict())
            for group, planned in zip(kept["param_groups"], optimizer.param_groups, strict=True):
                group.update({key: value for key, value in planned.items() if key != "params"})

    def check_fits(self, state_dict: Mapping[str, Tensor], source: str) -> None:
        """Raise a ValueError, which names the `source`, unless weights are of this machine's names and sizes."""
        ours = {name: tuple(value.shape) for name, value in self.state_dict().items()}
        theirs = {name: tuple(value.shape) for name, value in state_dict.items()}
        for name in sorted(ours.keys() | theirs.keys()):
            if ours.get(name) != theirs.get(name):
                raise ValueError(
                    f"{source} holds another machine: its {name} is {theirs.get(name)}, this one's is "
                    f"{ours.get(name)}. Choose the controller, memory and task that it was trained with."
                )

    def taken(self, state_dict: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
        """What this machine takes of another's weights: the loss and a state that is constant stay its own.

        Raises:
            ValueError: they do not fit otherwise; it names the `source`.
        """
        states = {name: part for name, part in self.named_modules() if isinstance(part, Initial)}
        constants = {f"{name}.value": state.value for name, state in states.items() if state.kind == "constant"}
        machine = {name: value for name, value in state_dict.items() if name.startswith("machine.")}
        others = {name: value for name, value in self.state_dict().items() if not name.startswith("machine.")}
        weights = {**machine, **constants, **others}
        self.check_fits(weights, source)
        return weights


def plan(config: Mapping[str, Any]) -> tuple[Any, ...]:
    """What the rate of a step follows from."""
    return config["scheduler"], config["optimizer"], config["trainer"]["max_steps"]
