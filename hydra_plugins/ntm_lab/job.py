"""A job of a sweep is a run like any other, which can be started again and goes on from its own checkpoint."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from conf.check import ConfigError
from conf.resume import ONE_RUN, has_finished, newest_checkpoint, quoted

if TYPE_CHECKING:
    from lightning import Trainer

log = logging.getLogger(__name__)

# torch and the learner are imported inside functions: Hydra reads every plugin at every start.


def run_job(
    cfg: DictConfig, check: Callable[[DictConfig], "Trainer"], run: Callable[[DictConfig], float]
) -> float | None:
    """Run a job, or what is left of it; None where it has finished already.

    Raises:
        ConfigError: as `check`, or this launcher cannot give the job the processes that it asks for.
    """
    if has_finished(Path(cfg.output_dir)):
        log.info(f"{cfg.output_dir} has finished already")
        return None
    with as_a_run(cfg):
        trainer = check(cfg)  # nobody has seen this job's choices before; a mistake leaves the other jobs alone
        if trainer.strategy.launcher is not None and sys.modules["__main__"].__spec__ is not None:
            raise ConfigError(
                f"trainer.devices={cfg.trainer.devices} takes processes that Lightning cannot start from this "
                "launcher's. Choose hydra/launcher=basic, or trainer.devices=1."
            )
        return run(cfg)


@contextmanager
def as_a_run(cfg: DictConfig) -> Iterator[None]:
    """Give a job what a run has: its own command and folder, and its last checkpoint where it was interrupted.

    Lightning starts the other processes of a run by the command of the first, and in its folder: those of a job get the
    job's own, not the whole sweep's. Nothing of that outlives the job.
    """
    from torch import distributed

    argv, environ, chosen = sys.argv, dict(os.environ), cast(DictConfig, HydraConfig.get())
    if newest := newest_checkpoint(Path(cfg.output_dir)):
        cfg.checkpoint = str(newest)
    checkpoint = [f"checkpoint={quoted(cfg.checkpoint)}"] if cfg.checkpoint else []
    train = str(Path(__file__).parents[2] / "train.py")  # a launcher's worker is another program
    sys.argv = [argv[0] if Path(argv[0]).name == "train.py" else train, *chosen.overrides.task, ONE_RUN, *checkpoint]
    with read_write(chosen), open_dict(chosen):
        chosen.run.dir = cfg.output_dir
    name_in_wandb(cfg)
    try:
        yield
    finally:
        sys.argv = argv
        os.environ.clear()
        os.environ.update(environ)
        if distributed.is_initialized():
            distributed.destroy_process_group()


def name_in_wandb(cfg: DictConfig) -> None:
    """Name a run in W&B by its overrides and tag it by its choices; all jobs of a sweep are one group.

    What was said on the command line counts before that.
    """
    wandb, chosen = OmegaConf.select(cfg, "logger.wandb"), cast(DictConfig, HydraConfig.get())
    if isinstance(wandb, DictConfig):
        words = [word for word in chosen.overrides.task if not word.startswith(("resume=", "checkpoint="))]
        ours = {
            "name": (" ".join(words) or chosen.runtime.choices.task)[:128],
            "tags": [str(chosen.runtime.choices[kind]) for kind in ("task", "controller", "memory", "loss")],
        }
        if chosen.mode == RunMode.MULTIRUN:
            ours["group"] = Path(chosen.sweep.dir).name
            ours["job_type"] = chosen.sweeper._target_.rpartition(".")[2].lower()
        for name, value in ours.items():
            if wandb.get(name) is None:
                wandb[name] = value
