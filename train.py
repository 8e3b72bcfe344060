"""Teach a machine a task: `python train.py task=recall loss=huber`; `python train.py --help` lists the choices."""

import logging
import os
import shlex
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from conf.check import ConfigError, check_settings, cli, explained, instantiate, is_first_process, is_pruned
from conf.resume import changes, check_meaning, holding, is_own
from hydra_plugins.ntm_lab.job import name_in_wandb, run_job

if TYPE_CHECKING:
    from lightning import Trainer
    from torch import Tensor

    from callbacks.rows import Rows
    from ntm.learner import Learner
    from tasks.base import Task

log = logging.getLogger(__name__)

# torch, lightning and wandb are imported inside functions: completing a word with TAB runs this file.

# torch's threads wait for one another asleep. Spinning, they make a run that shares the cores several times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def build(cfg: DictConfig) -> tuple["Task", "Learner", "Trainer"]:
    """Wire what the configuration chose: a task, a learner around a machine, and a trainer.

    Raises:
        ConfigError: a setting breaks its rule, or choices do not fit together.
    """
    check_settings(cfg)
    if cfg.threads is not None:
        import torch

        torch.set_num_threads(cfg.threads)
    # Lightning takes seconds to import, so that comes after what can be refused without it.
    memory = instantiate(cfg, "memory")
    controller = instantiate(cfg, "controller")

    from lightning.pytorch.callbacks import ProgressBar

    from callbacks.last import Together
    from callbacks.rows import Rows
    from callbacks.unprofiled import skip_empty_hooks
    from ntm import Machine
    from ntm.checkpoints import Checkpoints
    from ntm.learner import Learner
    from tasks.base import key

    quiet()
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
    loggers = [instantiate(cfg, f"logger.{name}") for name in members(cfg.logger)]
    callbacks = [instantiate(cfg, f"callbacks.{name}") for name in members(cfg.callbacks)]
    shown = any(isinstance(callback, ProgressBar) for callback in callbacks) or "enable_progress_bar" in cfg.trainer
    trainer = instantiate(
        cfg,
        "trainer",
        logger=[Rows(folder=cfg.output_dir), *loggers],
        callbacks=callbacks,
        plugins=[Checkpoints()],
        default_root_dir=cfg.output_dir,  # where Lightning looks for checkpoints of its own accord
        **({} if shown else {"enable_progress_bar": False}),  # or Lightning adds its own
    )
    if trainer.world_size > 1:
        trainer.callbacks.append(Together())  # type: ignore[attr-defined]
    skip_empty_hooks(trainer.callbacks)  # type: ignore[attr-defined]
    # Lightning would do it only after a checkpoint is read, whose numbers may be longer.
    trainer.precision_plugin.convert_module(learner)
    return task, learner, trainer


def members(group: DictConfig) -> list[str]:
    """What a group of several holds, but for what null has switched off."""
    return [str(name) for name, chosen in group.items() if chosen]


@hydra.main(config_path="conf", config_name="config", version_base="1.3")
def main(cfg: DictConfig) -> float | None:
    """Train and measure; the cost on held-out sequences is what a search makes small."""
    choices = HydraConfig.get().runtime.choices
    if is_first_process():
        log.info(" ".join(f"{key}={choices.get(key, cfg[key])}" for key in cfg if key in choices or key == "seed"))
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        return run_job(cfg, check, run)
    name_in_wandb(cfg)
    try:
        return run(cfg)
    except ConfigError:
        raise
    except BaseException:
        from lightning.pytorch.utilities import rank_zero_only

        if any(Path(cfg.output_dir).glob("checkpoints/*.ckpt")):
            told = shlex.quote(f"resume={cfg.output_dir}")
            rank_zero_only(log.info)(f"go on with: python train.py {told}")
        raise


def run(cfg: DictConfig) -> float:
    """Fit, then measure the best checkpoint; its cost on held-out sequences.

    Raises:
        SystemExit: with 130 after Ctrl-C and with 143 after SIGTERM, once a checkpoint is written.
    """
    import lightning as L
    from lightning.pytorch.utilities.exceptions import MisconfigurationException, SIGTERMException

    from callbacks.loggers import finish

    L.seed_everything(cfg.seed, verbose=False)
    task, learner, trainer = build(cfg)
    if cfg.weights is not None and cfg.checkpoint is None:
        learner.load_state_dict(begun(cfg, learner))
    Path(cfg.output_dir).mkdir(parents=True, exist_ok=True)
    try:
        with holding(Path(cfg.output_dir)) if trainer.is_global_zero else nullcontext():
            begin(cfg, trainer)
            learn(cfg, task, learner, trainer)
    except BaseException as error:
        finish(trainer, exit_code=0 if is_pruned(error) else 1)
        if isinstance(error, KeyboardInterrupt | SIGTERMException):
            code = 130 if isinstance(error, KeyboardInterrupt) else 143
            # The first process speaks for all: where another one fails, Lightning kills the first at once.
            raise SystemExit(code if trainer.is_global_zero else 0) from error
        if isinstance(error, MisconfigurationException):
            raise ConfigError(f"trainer: {error}") from error
        raise
    finish(trainer)
    assert learner.cost is not None
    return learner.cost


def begun(cfg: DictConfig, learner: "Learner") -> "dict[str, Tensor]":
    """The weights that a run begins with, where they are another's.

    Raises:
        ConfigError: there are none, or they do not fit.
    """
    from ntm.checkpoints import read_checkpoint

    with explained("weights", cfg):
        checkpoint = read_checkpoint(cfg.weights, "weights")
        weights = learner.taken(checkpoint["state_dict"], f"weights={cfg.weights}")
    check_meaning(cfg, checkpoint["config"])
    return weights


def begin(cfg: DictConfig, trainer: "Trainer") -> None:
    """Leave in the run's folder what it takes to repeat the run; keep what it had measured before a resumption."""
    from callbacks.results import packages
    from ntm.checkpoints import read_checkpoint

    if cfg.checkpoint is not None:
        checkpoint = read_checkpoint(cfg.checkpoint)
        for change in changes(cfg, checkpoint["config"]):
            log.info(f"resumed with {change}")
        if is_own(cfg):
            cast("Rows", trainer.loggers[0]).keep(checkpoint["global_step"])
    if trainer.is_global_zero:
        Path(cfg.output_dir, "results.json").unlink(missing_ok=True)  # of a run that goes on, and has not ended
        folder = Path(cfg.output_dir, ".hydra")
        folder.mkdir(exist_ok=True)
        OmegaConf.save(cfg, folder / "resolved.yaml", resolve=True)
        (folder / "requirements.txt").write_text(packages(), encoding="utf-8")


def learn(cfg: DictConfig, task: "Task", learner: "Learner", trainer: "Trainer") -> None:
    """Fit, then measure the best checkpoint."""
    from lightning.pytorch.callbacks import ModelCheckpoint
    from tqdm.contrib.logging import logging_redirect_tqdm

    from callbacks.last import leaving_between_steps

    warn_if_crowded(task, "max_length", cfg, "training_slots")
    warn_if_crowded(task, "test_lengths", cfg, "num_slots")
    with leaving_between_steps(), logging_redirect_tqdm():  # what is logged goes above the bar
        trainer.fit(learner, datamodule=task, ckpt_path=cfg.checkpoint, weights_only=True)
        ours = [c for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint)]
        best = next(((c.best_model_score, c.best_model_path) for c in ours if c.best_model_score is not None), None)
        if best is None and "val/bits" not in trainer.callback_metrics:  # resumed for less than an interval
            trainer.validate(learner, datamodule=task, verbose=False)
        cost, path = best or (trainer.callback_metrics["val/bits"], None)
        learner.cost = float(cost)
        trainer.test(learner, datamodule=task, ckpt_path=path, verbose=False, weights_only=True)


def warn_if_crowded(task: "Task", lengths: str, cfg: DictConfig, slots: str) -> None:
    """Say so where episodes of the task's `lengths` have more vectors to keep than the memory has `slots`."""
    chosen, there, most = getattr(task, lengths), cfg.memory.get(slots), cfg.memory.get("num_slots")
    stored = max(map(task.stored, chosen if isinstance(chosen, list) else [chosen]))
    if most is not None and stored > most:
        slots, there = "num_slots", most
    ranges = OmegaConf.is_list(there)  # over another number at every step
    enough = f"[{stored},{max(stored, there[1])}]" if ranges else stored * 6 // 5
    if there is not None and stored > (there[0] if ranges else there):
        log.warning(
            f"task.{lengths}={cfg.task[lengths]} has up to {stored} vectors to keep in memory.{slots}={there}: some "
            f"must share a slot. Set memory.{slots}={enough} for one each."
        )


def check(cfg: DictConfig) -> "Trainer":
    """Build everything without numbers, so that a mistake is found before it costs anything.

    Raises:
        ConfigError: as `build`, or the checkpoint to resume from does not fit.
    """
    check_settings(cfg)  # first of all, because it needs nothing that is slow to import
    chosen = members(cfg.callbacks)
    if not {"best", "last", "results"} & set(chosen):
        raise ConfigError(
            "callbacks would leave neither a checkpoint nor results. Put none, which leaves both, before your choice: "
            "callbacks=[none,...]."
        )
    if "rewind" in chosen and "best" not in chosen:
        raise ConfigError(
            "callbacks.rewind goes back to best.ckpt, which nobody writes. Add best: callbacks=[best,...]."
        )
    import torch
    from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher

    with torch.device("meta"):
        task, learner, trainer = build(cfg)
        with explained("optimizer", cfg.optimizer):
            optimizer = learner.optimizer(learner.parameters())
        with explained("scheduler", cfg.scheduler):
            if isinstance(learner.scheduler(optimizer), torch.optim.lr_scheduler.ReduceLROnPlateau):
                raise ConfigError("scheduler: ReduceLROnPlateau waits for a figure. Choose a schedule over steps.")
    if isinstance(trainer.strategy.launcher, _MultiProcessingLauncher):
        raise ConfigError(
            f"trainer.strategy={cfg.trainer.get('strategy')} leaves what it has learned in another process. Set "
            "trainer.strategy=ddp."
        )
    if cfg.engine == "fused":
        with explained("engine", cfg):
            device = trainer.strategy.root_device
            inputs = trainer.precision_plugin.convert_input(torch.empty(1, 1, task.input_size, device=device))
            with trainer.precision_plugin.forward_context():
                learner.machine.to_empty(device=device).fuses(inputs)
    if cfg.weights is not None and cfg.checkpoint is None:
        begun(cfg, learner)
    if cfg.checkpoint is not None:
        from ntm.checkpoints import read_checkpoint

        with explained("checkpoint", cfg):
            checkpoint = read_checkpoint(cfg.checkpoint)
            learner.check_fits(checkpoint["state_dict"], f"checkpoint={cfg.checkpoint}")
        if "optimizer_states" not in checkpoint:
            raise ConfigError(
                f"checkpoint={cfg.checkpoint} holds a machine, and not the training that would go on. Begin a new one "
                f"with it: weights={cfg.checkpoint}. Or measure it: python evaluate.py checkpoint={cfg.checkpoint}."
            )
        changes(cfg, checkpoint["config"])
        # A run that was killed after its last step goes on to be measured.
        if checkpoint["global_step"] >= cfg.trainer.max_steps + is_own(cfg):
            raise ConfigError(
                f"checkpoint={cfg.checkpoint} is of step {checkpoint['global_step']}, but trainer.max_steps="
                f"{cfg.trainer.max_steps}. Raise trainer.max_steps to go on."
            )
    return trainer


def quiet() -> None:
    """Leave on the terminal what is about the run: no advertising, no advice that does not apply here."""
    for name in ("lightning", "lightning.fabric", "lightning.pytorch"):
        logging.getLogger(name).handlers.clear()  # Hydra's handlers print the same line again
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch.accelerators.cuda", "fontTools"):
        logging.getLogger(name).setLevel(logging.WARNING)  # the last tells of every glyph in a picture for print
    for advice in (
        ".*does not have many workers",
        ".*Checkpoint directory .* exists and is not empty",  # it is the run's own
        ".*The dirpath has changed from",  # a resumed run has a folder of its own
        ".*`srun` command is available",  # a machine of a cluster may be used by itself
        ".*available but not used",  # so is a GPU
        ".*isinstance.treespec, LeafSpec.. is deprecated",  # Lightning's affair
    ):
        warnings.filterwarnings("ignore", message=advice)


if __name__ == "__main__":
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra would print its own version of a mistake
    cli(main)
