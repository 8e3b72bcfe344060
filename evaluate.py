"""Measure a trained machine over test lengths and draw what it does.

    python evaluate.py checkpoint=outputs/.../checkpoints/best.ckpt
    python evaluate.py checkpoint=... task.test_lengths=[33,73,90] task.probe_length=40

Machine and task are rebuilt from the checkpoint alone. Every further key=value changes its configuration; results,
every picture and `report.html`, a page to play episodes in, go to a new folder in the run's `evaluation/`, or to
`output_dir=PATH`; `callbacks.NAME=null` leaves one of them out. It runs in one process, on a CPU
(`trainer.accelerator=gpu` for another device).
"""

import logging
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from conf.check import ConfigError, check_settings, check_target, check_writable, exit_on_mistake, explained
from conf.resume import unquoted
from train import build, members, warn_if_crowded

if TYPE_CHECKING:
    from lightning import Trainer

    from ntm.learner import Learner
    from tasks.base import Task

OF_A_RUN = ("weights", "resume", "allow", "optimizer", "scheduler")
OF_TRAINING = ("film", "learning")  # the pictures of how a machine came to be, which a test has nothing to draw of


def main() -> None:
    if not sys.argv[1:] or {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__.strip())
        return
    logging.basicConfig(format="%(message)s", stream=sys.stdout)
    with exit_on_mistake():
        for word in sys.argv[1:]:
            if "=" not in word:
                raise ConfigError(f"{word} is not key=value. Did you mean checkpoint={word}?")
        paths = [word for word in sys.argv[1:] if word.startswith(("checkpoint=", "output_dir="))]
        words = [word for word in sys.argv[1:] if word not in paths]
        try:
            overrides = OmegaConf.from_dotlist([word for word in words if not word.startswith("+")])
            added = OmegaConf.from_dotlist([word[1:] for word in words if word.startswith("+")])
        except YAMLError as error:
            raise ConfigError(f"{' '.join(words)} cannot be read: {error}. Write key=value, as in YAML.") from error
        overrides.update({key: unquoted(path) for key, _, path in (word.partition("=") for word in paths)})
        evaluate(overrides, added)


def evaluate(overrides: DictConfig, added: DictConfig | None = None) -> None:
    """Test the machine in `overrides.checkpoint` in its own configuration, changed by the others and `added` ones.

    Raises:
        ConfigError: there is no such checkpoint, or an override names no setting of it or breaks its rule.
    """
    from ntm.checkpoints import read_checkpoint

    path = overrides.pop("checkpoint", None)
    if path is None:
        raise ConfigError("checkpoint is missing. Say which: python evaluate.py checkpoint=PATH.")
    with explained("checkpoint", overrides):
        checkpoint = read_checkpoint(path := str(path))
    cfg = configuration(checkpoint)
    run = run_of(path)
    cfg.output_dir = str(run / "evaluation" / f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}")
    show_all(cfg.callbacks)
    cfg.callbacks.report.run = str(run)
    added = added or OmegaConf.create()
    given = cast(DictConfig, OmegaConf.merge(overrides, added))
    for key in map(str, given):
        if key == "logger":
            raise ConfigError("logger cannot be chosen: an evaluation is written into its folder alone. Leave it out.")
        if key in OF_A_RUN:
            raise ConfigError(f"{key} is of training, and changes nothing of a trained machine. Leave it out.")
        if isinstance(cfg.get(key), DictConfig) and not isinstance(given[key], DictConfig):
            raise ConfigError(
                f"{key}={given[key]} cannot be chosen: a checkpoint is measured with its own task and machine. "
                f"Leave it out, or change a setting of it: {key}.NAME=VALUE."
            )
    cfg.merge_with(added)
    OmegaConf.set_struct(cfg, True)
    cfg.merge_with(overrides)
    check_settings(cfg)
    check_writable("output_dir", Path(cfg.output_dir))
    if Path(cfg.output_dir, "results.json").exists():
        raise ConfigError(f"output_dir={cfg.output_dir} already holds results. Choose another folder, or leave it out.")

    task, learner, trainer = rebuild(cfg, checkpoint, path)
    warn_if_crowded(task, "test_lengths", cfg, "num_slots")
    trainer.test(learner, datamodule=task, verbose=False)


def load(path: str) -> "tuple[Task, Learner]":
    """The task and the learner of a checkpoint, in Python: `task, learner = load("models/copy.ckpt")`.

    `learner.machine` is the trained machine, in evaluation mode, on the CPU.

    Raises:
        ConfigError: there is no such checkpoint, or this code cannot build what it holds.
    """
    from ntm.checkpoints import read_checkpoint

    with explained("checkpoint", OmegaConf.create()):
        checkpoint = read_checkpoint(path)
    cfg = configuration(checkpoint)
    cfg.callbacks, cfg.output_dir = {}, str(run_of(path))
    task, learner, _ = rebuild(cfg, checkpoint, path)
    return task, learner.eval()


def configuration(checkpoint: dict[str, Any]) -> DictConfig:
    """What a checkpoint was trained under, to be measured here: what it ran on and what watched it need not be."""
    cfg = OmegaConf.create(checkpoint["config"])
    for name in members(cfg.callbacks):
        where = f"callbacks.{name}._target_"
        try:
            check_target(where, OmegaConf.select(cfg, where))
        except ConfigError as error:
            logging.warning(f"warning: {error} It watched the training; this goes on without it.")
            del cfg.callbacks[name]
    cfg.logger = {}
    cfg.trainer.update(accelerator="cpu", devices=1, num_nodes=1, strategy="auto")
    if cfg.engine == "fused":
        cfg.engine = "auto"
    return cfg


def show_all(callbacks: DictConfig) -> None:
    """Have results, report and every picture made, each as the training had it, if it did."""
    folder = Path(__file__).with_name("conf") / "callbacks"
    for name in [*OmegaConf.load(folder / "pictures.yaml").defaults, "results", "report"]:
        if name not in OF_TRAINING and not callbacks.get(name):
            callbacks.update(OmegaConf.load(folder / f"{name}.yaml"))


def rebuild(cfg: DictConfig, checkpoint: dict[str, Any], path: str) -> "tuple[Task, Learner, Trainer]":
    """The task, the machine with its weights, and a trainer to measure it by.

    Raises:
        ConfigError: as `build`, or the weights are of another machine.
    """
    task, learner, trainer = build(cfg)
    with explained("checkpoint", cfg):
        learner.load_state_dict(learner.taken(checkpoint["state_dict"], f"checkpoint={path}"))
    learner.on_load_checkpoint(checkpoint)
    return task, learner, trainer


def run_of(path: str) -> Path:
    """The folder of the training that a checkpoint is from."""
    folder = Path(path).resolve().parent
    return folder.parent if folder.name == "checkpoints" else folder


if __name__ == "__main__":
    main()
