"""Several processes train one machine as one process would, alone and as a job of a sweep."""

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from fakes import ROOT, TINY, compose
from test_command_line import run

import train
from ntm.batch import Batch
from tasks.copy import Copy

ONE_LENGTH = ("task.min_length=3", "trainer.max_steps=4")  # or processes with short sequences would weigh as much


def fit(folder, *overrides: str) -> dict[str, torch.Tensor]:
    cfg = compose(*TINY, *ONE_LENGTH, *overrides, output_dir=folder)
    torch.manual_seed(cfg.seed)
    task, learner, trainer = train.build(cfg)
    trainer.fit(learner, datamodule=task)
    return torch.load(folder / "checkpoints/last.ckpt", weights_only=True)


@pytest.mark.parametrize("optimizer", ["rmsprop", "adam"])
def test_two_processes_learn_what_one_does_from_both_their_batches(optimizer, tmp_path, monkeypatch):
    two = fit(tmp_path / "two", f"optimizer={optimizer}", "trainer.devices=2", "+trainer.strategy=ddp_fork")
    drawn = Copy.training_batch

    def of_both(self, step: int, rank: int = 0) -> Batch:
        return Batch(*map(torch.cat, zip(drawn(self, step, 0), drawn(self, step, 1), strict=True)))

    alone = fit(tmp_path / "alone", f"optimizer={optimizer}")
    monkeypatch.setattr(Copy, "training_batch", of_both)
    one = fit(tmp_path / "one", f"optimizer={optimizer}")
    assert two["sequences"] == 2 * alone["sequences"] == 4 * 2 * 2
    for name, value in one["state_dict"].items():
        torch.testing.assert_close(value, two["state_dict"][name], rtol=1e-5, atol=1e-6)
    weight = "machine.output.weight"
    assert (one["state_dict"][weight] - alone["state_dict"][weight]).abs().max() > 1e-5


def test_jobs_of_a_sweep_may_have_two_processes_each_and_go_on_too(tmp_path):
    study = (
        "experiment=study/practice",
        "controller=lstm",
        "task.sparse_rate=0",
        "task.noise=0",
    )  # by itself a sweep
    chosen = (*study, *TINY, "trainer.devices=2", "seed=0,1", "hydra.sweep.dir=sweep")
    run("train.py", "-m", *chosen, folder=tmp_path)
    sweep = tmp_path / "sweep"
    assert [json.loads((sweep / job / "results.json").read_text())["sequences"] for job in "01"] == [8, 8]
    with (sweep / "summary.csv").open() as file:
        assert [row["finished"] for row in csv.DictReader(file)] == ["2"]
    assert list(tmp_path.iterdir()) == [sweep]
    measured = json.loads((sweep / "1/results.json").read_text())["test"]
    (sweep / "1/results.json").unlink()
    run("train.py", "-m", *chosen, folder=tmp_path)
    assert json.loads((sweep / "1/results.json").read_text())["test"] == measured


def test_two_processes_that_are_told_to_end_leave_after_the_same_step(tmp_path):
    words = [*TINY, "trainer.devices=2", "trainer.max_steps=100000", "trainer.val_check_interval=50000"]
    with (tmp_path / "said.txt").open("w+") as said:
        first = subprocess.Popen(
            [sys.executable, str(ROOT / "train.py"), *words, f"hydra.run.dir={tmp_path / 'run'}"],
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        metrics, until = tmp_path / "run/metrics.csv", time.monotonic() + 120
        try:
            while not metrics.exists() and time.monotonic() < until:
                time.sleep(0.01)
            os.killpg(first.pid, signal.SIGTERM)
            code = first.wait(60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(first.pid, signal.SIGKILL)
        said.seek(0)
        text = said.read()
    assert code == 143, text
    assert "Received SIGTERM" not in text  # as Lightning's own handler says, which may wait for ever
    step = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["global_step"]
    with metrics.open() as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == list(range(step))
    assert (tmp_path / "run/train.log").read_text().count("go on with: python train.py resume=") == 1


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_a_run_may_be_allowed_to_go_on_with_another_number_of_processes(before, after, tmp_path):
    words = [*TINY, "scheduler=constant", "trainer.max_steps=2", "hydra.run.dir=run"]
    run("train.py", *words, f"trainer.devices={before}", folder=tmp_path)
    again = ["resume=run", f"trainer.devices={after}", "trainer.max_steps=4"]
    run("train.py", *again, "allow=[trainer.devices]", folder=tmp_path)
    assert json.loads((tmp_path / "run/results.json").read_text())["sequences"] == 2 * (2 * before + 2 * after)
