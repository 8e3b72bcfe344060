"""A machine really learns."""

import torch
from fakes import compose

import train


def test_two_bits_are_learned_by_heart(tmp_path):
    cfg = compose(
        "experiment=tiny_copy",
        "logger=csv",
        "callbacks=none",
        "callbacks.progress.refresh_rate=0",
        "trainer.accelerator=cpu",
        "trainer.val_check_interval=1500",
        "trainer.log_every_n_steps=1500",
        output_dir=tmp_path,
    )
    torch.manual_seed(cfg.seed)
    task, learner, trainer = train.build(cfg)
    trainer.fit(learner, datamodule=task)
    assert trainer.callback_metrics["val/error_bits"] < 0.1
    assert trainer.callback_metrics["val/bits"] < 0.5
