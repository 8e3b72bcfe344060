"""Teach a machine a task: `python train.py task=recall loss=huber`; `python train.py --help` lists the choices."""

import logging
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from conf.check import ConfigError, check_settings, cli, explained, instantiate, is_pruned
from hydra_plugins.ntm_lab.job import keep_rows, own_checkpoint, run_job

if TYPE_CHECKING:
    from lightning import Trainer
    from lightning.pytorch.loggers import CSVLogger

    from ntm.learner import Learner
    from tasks.base import Task


# torch, lightning and wandb are imported inside functions: completing a word with TAB runs this file.

# torch's threads wait for one another asleep. Spinning, they make a run that shares the cores several times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def build(cfg: DictConfig) -> tuple["Task", "Learner", "Trainer"]:
    """Wire what the configuration chose: a task, a learner around a machine, and a trainer.

    Raises:
        ConfigError: a setting breaks its rule, or choices do not fit together.
    """
    check_settings(cfg)
    # Lightning takes seconds to import, so that comes after what can be refused without it.
    memory = instantiate(cfg, "memory")
    controller = instantiate(cfg, "controller")

    from lightning.pytorch.loggers import CSVLogger

    from callbacks.lean import lean
    from ntm import Machine
    from ntm.learner import Learner
    from tasks.base import key

    quiet()
    # A run shorter than the interval is measured once, at its end.
    cfg.trainer.val_check_interval = min(cfg.trainer.val_check_interval, cfg.trainer.max_steps)
    task = instantiate(cfg, "task", seed=cfg.seed)
    with explained("controller", cfg.controller):
        machine = Machine(
            input_size=task.input_size,
            output_size=task.output_size,
            controller=controller,
            memory=memory,
            engine=cfg.engine,
            compile=cfg.compile,
        )
    learner = Learner(
        machine=machine,
        loss=instantiate(cfg, "loss"),
        optimizer=instantiate(cfg, "optimizer"),
        scheduler=instantiate(cfg, "scheduler"),
        metrics=task.metrics,
        config=cast(dict[str, Any], OmegaConf.to_container(cfg)),
        test_names=[key(length) for length in task.test_lengths],
    )
    loggers = [instantiate(cfg, f"logger.{name}") for name in cfg.logger]
    callbacks = [instantiate(cfg, f"callbacks.{name}") for name in cfg.callbacks]
    # Every row at once, so that whoever looks at a run sees all that it has measured.
    metrics = CSVLogger(cfg.output_dir, name="", version="", flush_logs_every_n_steps=1)
    trainer = instantiate(cfg, "trainer", logger=[metrics, *loggers], callbacks=callbacks)
    lean(trainer)
    # Lightning would do it only after a checkpoint is read, whose numbers may be longer.
    trainer.precision_plugin.convert_module(learner)
    return task, learner, trainer


@hydra.main(config_path="conf", config_name="config", version_base="1.3")
def main(cfg: DictConfig) -> float | None:
    """Train and measure; the cost on held-out sequences is what a search makes small."""
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        return run_job(cfg, check, run)
    return run(cfg)


def run(cfg: DictConfig) -> float:
    """Fit, then measure the best checkpoint; its cost on held-out sequences."""
    import lightning as L
    import rich
    import torch
    import wandb
    from lightning.pytorch.callbacks import ModelCheckpoint
    from lightning.pytorch.utilities.exceptions import SIGTERMException
    from rich.syntax import Syntax

    rich.print(Syntax(OmegaConf.to_yaml(cfg), "yaml", background_color="default"))
    L.seed_everything(cfg.seed, verbose=False)
    if cfg.threads is not None:
        torch.set_num_threads(cfg.threads)
    task, learner, trainer = build(cfg)
    if cfg.checkpoint == own_checkpoint(cfg):  # the rest of a job
        keep_rows(cfg, cast("CSVLogger", trainer.loggers[0]))
    if trainer.is_global_zero:
        resolved = Path(cfg.output_dir, ".hydra", "resolved.yaml")
        resolved.parent.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(cfg, resolved, resolve=True)
    try:
        trainer.fit(learner, datamodule=task, ckpt_path=cfg.checkpoint, weights_only=True)
        ours = [c for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint)]
        best = next(((c.best_model_score, c.best_model_path) for c in ours if c.best_model_score is not None), None)
        if best is None and "val/bits" not in trainer.callback_metrics:  # resumed for less than an interval
            trainer.validate(learner, datamodule=task, verbose=False)
        cost, path = best or (trainer.callback_metrics["val/bits"], None)
        learner.cost = float(cost)
        trainer.test(learner, datamodule=task, ckpt_path=path, verbose=False, weights_only=True)
    except BaseException as error:
        wandb.finish(exit_code=0 if is_pruned(error) else 1)
        if isinstance(error, SIGTERMException):
            raise SystemExit(143) from error  # Lightning would say that all went well
        raise
    wandb.finish()  # or the next job of a sweep would go on in this run
    return learner.cost


def check(cfg: DictConfig) -> "Trainer":
    """Build everything without numbers, so that a mistake is found before it costs anything.

    Raises:
        ConfigError: as `build`, or the checkpoint to resume from does not fit.
    """
    check_settings(cfg)  # first of all, because it needs nothing that is slow to import
    import torch

    with torch.device("meta"):
        task, learner, trainer = build(cfg)
        with explained("optimizer", cfg.optimizer):
            optimizer = learner.optimizer(learner.parameters())
        with explained("scheduler", cfg.scheduler):
            learner.scheduler(optimizer)
    if cfg.engine == "fused":
        with explained("engine", cfg):
            device = trainer.strategy.root_device
            inputs = trainer.precision_plugin.convert_input(torch.empty(1, 1, task.input_size, device=device))
            learner.machine.to_empty(device=device).fuses(inputs)
    if cfg.checkpoint is not None:
        from ntm.learner import read_checkpoint

        with explained("checkpoint", cfg):
            checkpoint = read_checkpoint(cfg.checkpoint)
            learner.check_fits(checkpoint, cfg.checkpoint)
        # A job that was killed after its last step goes on to be measured.
        if checkpoint["global_step"] >= cfg.trainer.max_steps and cfg.checkpoint != own_checkpoint(cfg):
            raise ConfigError(
                f"checkpoint={cfg.checkpoint} is of step {checkpoint['global_step']}, but trainer.max_steps="
                f"{cfg.trainer.max_steps}. Raise trainer.max_steps to go on."
            )
    return trainer


def quiet() -> None:
    """Leave on the terminal what is about the run: no advertising, no advice that does not apply here."""
    logging.getLogger("lightning.pytorch").handlers.clear()  # Hydra's handlers print the same line again
    for name in ("utilities.rank_zero", "accelerators.cuda"):
        logging.getLogger(f"lightning.pytorch.{name}").setLevel(logging.WARNING)
    for advice in (
        ".*does not have many workers",
        ".*Experiment logs directory .* exists and is not empty",  # it is the run's own
        ".*Checkpoint directory .* exists and is not empty",  # so is this
        ".*The dirpath has changed from",  # a resumed run has a folder of its own
        ".*`srun` command is available",  # a machine of a cluster may be used by itself
        ".*isinstance.treespec, LeafSpec.. is deprecated",  # Lightning's affair
    ):
        warnings.filterwarnings("ignore", message=advice)


if __name__ == "__main__":
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra would print its own version of a mistake
    cli(main)
