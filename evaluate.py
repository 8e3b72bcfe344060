"""Measure a trained machine over test lengths and draw what it does.

    python evaluate.py checkpoint=outputs/.../checkpoints/best.ckpt
    python evaluate.py checkpoint=... task.test_lengths=[33,73,90] task.probe_length=40

Machine and task are rebuilt from the checkpoint alone. Every further key=value changes its configuration; results and
pictures go to a new folder in the run's `evaluation/`, or to `output_dir=PATH`.
"""

import sys
from datetime import datetime
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from conf.check import ConfigError, exit_on_mistake, explained
from train import build


def main() -> None:
    if not sys.argv[1:] or {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__.strip())
        return
    with exit_on_mistake():
        evaluate(OmegaConf.from_dotlist(sys.argv[1:]))


def evaluate(overrides: DictConfig) -> None:
    """Test the machine in `overrides.checkpoint` under its own configuration, changed by the other overrides.

    Raises:
        ConfigError: there is no such checkpoint, or an override names no setting of it or breaks its rule.
    """
    from ntm.learner import read_checkpoint

    path = overrides.pop("checkpoint", None)
    if path is None:
        raise ConfigError("checkpoint is missing. Say which: python evaluate.py checkpoint=PATH.")
    with explained("checkpoint", overrides):
        checkpoint = read_checkpoint(path)
    cfg = OmegaConf.create(checkpoint["config"])
    cfg.output_dir = str(Path(path).parent.parent / "evaluation" / f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}")
    cfg.logger = {}
    OmegaConf.set_struct(cfg, True)
    cfg.merge_with(overrides)

    task, learner, trainer = build(cfg)
    with explained("checkpoint", cfg):
        learner.check_fits(checkpoint, path)
    learner.load_state_dict(checkpoint["state_dict"])
    learner.on_load_checkpoint(checkpoint)
    trainer.test(learner, datamodule=task, verbose=False)


if __name__ == "__main__":
    main()
