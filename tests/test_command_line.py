"""The programs as a user starts them: what they print, what they leave. A start takes seconds, so there are few."""

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from fakes import ROOT, compose
from hydra.utils import instantiate

from callbacks.curves import validations
from models.ship import unpack
from train import warn_if_crowded

SHORT = (
    "debug=short",
    "engine=eager",
    "scheduler=constant",
    "task.max_length=3",
    "task.batch_size=4",
    "task.far_length=4",
    "task.test_lengths=[2,3]",
    "task.probe_length=3",
)
SECRET = "0123456789abcdef" * 2 + "fedcba98"  # has the form of a key of W&B
METRICS = {"bits", "error_bits", "bit_error_rate", "exact"}


def run(program: str, *overrides: str, folder: Path, code: int = 0) -> str:
    """What a program prints when it is started in `folder`."""
    started = subprocess.run(
        [sys.executable, str(ROOT / program), *overrides],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1", "WANDB_API_KEY": SECRET, "PYTHONWARNDEFAULTENCODING": "1"},
        capture_output=True,
        text=True,
    )
    assert SECRET not in started.stdout + started.stderr
    assert started.returncode == code, started.stdout + started.stderr
    assert "Traceback" not in started.stderr
    # What is read as it was written on every system: in UTF-8, whatever its own encoding.
    ours = [line for line in started.stderr.splitlines() if line.startswith(f"{ROOT}/") and "site-packages" not in line]
    assert not [line for line in ours if "EncodingWarning" in line]  # but for an environment within the checkout
    return started.stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, str]:
    """The folder of a short run with everything on, and what it printed."""
    folder = tmp_path_factory.mktemp("trained")
    printed = run("train.py", *SHORT, "hydra.run.dir=run", folder=folder)
    return folder / "run", printed


def results(folder: Path) -> dict:
    return json.loads((folder / "results.json").read_text())


def test_fewer_training_slots_than_vectors_are_pointed_out(tmp_path):
    printed = run("train.py", *SHORT, "memory.training_slots=2", "memory.shift_range=1", folder=tmp_path)
    assert "task.max_length=3 has up to 3 vectors to keep in memory.training_slots=2" in printed


@pytest.mark.parametrize(
    ("slots", "training_slots", "remedy"),
    [
        (128, 24, "memory.training_slots=36"),
        (128, [22, 128], "memory.training_slots=[30,128]"),
        (25, 24, "memory.num_slots=36"),
        (25, 99, "memory.num_slots=36"),
        (25, None, "memory.num_slots=36"),
        (30, 30, None),
        (128, [30, 128], None),
        (128, None, None),
        (None, None, None),
    ],
)
def test_where_vectors_crowd_the_remedy_is_room_enough(slots, training_slots, remedy, caplog):
    cfg = compose("task.max_length=30")
    task = instantiate(cfg.task, seed=1)
    cfg.memory = {} if slots is None else {"num_slots": slots, "training_slots": training_slots}
    warn_if_crowded(task, "max_length", cfg, "training_slots")
    said = [message.partition("Set ")[2].removesuffix(" for one each.") for message in caplog.messages]
    assert said == ([remedy] if remedy else [])


def test_a_run_may_begin_with_another_s_machine_and_have_all_else_its_own(tmp_path):
    chosen = (f"weights={ROOT / 'models/copy.ckpt'}", "loss=huber", "optimizer=adam", "memory.num_slots=64")
    measured = ("task.test_lengths=[20]", "task.test_size=16", "logger=csv", "callbacks=none", "trainer.max_steps=1")
    measured += ("scheduler=constant",)  # which may go on for longer
    run("train.py", *chosen, *measured, "hydra.run.dir=run", folder=tmp_path)
    assert results(tmp_path / "run")["test"]["20"]["error_bits"] == 0
    assert results(tmp_path / "run")["sequences"] == 4
    run("train.py", "resume=run", "trainer.max_steps=2", folder=tmp_path)
    assert results(tmp_path / "run")["sequences"] == 8


def test_a_run_leaves_what_is_promised(trained):
    folder, _ = trained
    for promised in (
        ".hydra/config.yaml",
        ".hydra/resolved.yaml",
        ".hydra/overrides.yaml",
        "metrics.csv",
        "results.json",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
    ):
        assert (folder / promised).is_file(), promised
    assert list((folder / "figures").glob("*.png"))
    assert list((folder / "figures").glob("*.gif"))
    assert list((folder / "wandb").glob("offline-run-*/*.wandb"))
    assert list(folder.parent.iterdir()) == [folder]


def test_no_key_is_left_in_a_run_s_folder(trained):
    folder, _ = trained
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


def test_a_run_says_how_to_rebuild_what_it_ran_on(trained):
    lines = (trained[0] / ".hydra" / "requirements.txt").read_text().splitlines()
    assert f"torch=={version('torch')}" in lines
    assert f"lightning=={version('lightning')}" in lines


def test_a_run_prints_what_was_chosen_how_it_goes_and_a_table(trained):
    folder, printed = trained
    chosen, *lines = printed.splitlines()
    assert chosen.startswith("controller=lstm memory=matrix loss=cross_entropy")
    told = [line for line in lines if re.match(r"[48]0 sequences: val/error_bits [\d.]+, far/error_bits [\d.]+$", line)]
    assert len(told) == 2
    assert all(line in (folder / "train.log").read_text() for line in (chosen, *told))
    assert "it/s" not in printed  # a bar is for a terminal
    assert re.search("copy: the measured machine, after [48]0 sequences", printed)
    assert "wrong bits" in printed


def test_results_say_what_was_measured_and_how_to_repeat_it(trained):
    folder, _ = trained
    told = results(folder)
    assert (told["task"], told["seed"], told["sequences"]) == ("copy", 1, 80)
    assert set(told["test"]) == {"2", "3"}
    assert all(set(row) == METRICS for row in told["test"].values())
    assert told["seconds"] > 0
    assert {"python", "torch", "lightning"} <= set(told["versions"])
    assert "debug=short" in told["command"]
    assert {"engine", "commit"} <= set(told)


def test_metrics_are_rows_over_sequences_seen(trained):
    folder, _ = trained
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    validated = [row for row in rows if row["val/bits"]]
    assert [float(row["sequences"]) for row in validated] == [40.0, 80.0]
    assert [float(row["train/loss"]) for row in rows if row["train/loss"]]


def test_a_checkpoint_is_all_that_evaluation_needs(trained, tmp_path):
    folder, _ = trained
    checkpoint = f"checkpoint={folder / 'checkpoints/best.ckpt'}"
    printed = run("evaluate.py", checkpoint, "task.test_lengths=[3,5]", "output_dir=again", folder=tmp_path)
    assert "wrong bits" in printed
    told = results(tmp_path / "again")
    assert set(told["test"]) == {"3", "5"}
    assert told["test"]["3"] == results(folder)["test"]["3"]
    assert told.keys() == results(folder).keys()
    assert told["seconds"] is None
    assert list((tmp_path / "again/figures").glob("*.png"))
    page = (tmp_path / "again/report.html").read_text()
    assert '"val":[[40.0,' in page  # from the run that the checkpoint is of


def test_what_is_shipped_of_a_checkpoint_measures_the_same(trained, tmp_path):
    folder, _ = trained
    run("models/ship.py", str(folder / "checkpoints/best.ckpt"), "small.ckpt", folder=tmp_path)
    run("evaluate.py", "checkpoint=small.ckpt", "output_dir=again", "callbacks={}", folder=tmp_path)
    assert results(tmp_path / "again")["test"] == results(folder)["test"]
    assert (tmp_path / "small.ckpt").stat().st_size < (folder / "checkpoints/best.ckpt").stat().st_size / 2
    assert str(folder).encode() not in (tmp_path / "small.ckpt").read_bytes()


@pytest.mark.parametrize("target", ["nowhere/small.ckpt", ".", "best.ckpt"])
def test_what_is_shipped_goes_into_a_new_file(target, trained, tmp_path):
    folder, _ = trained
    best = tmp_path / "best.ckpt"
    best.write_bytes((folder / "checkpoints/best.ckpt").read_bytes())
    run("models/ship.py", "best.ckpt", target, folder=tmp_path, code=2)
    assert best.read_bytes() == (folder / "checkpoints/best.ckpt").read_bytes()


def test_what_is_shipped_of_a_checkpoint_still_draws_how_it_learned(trained, tmp_path):
    folder, _ = trained
    run("models/ship.py", str(folder / "checkpoints/best.ckpt"), "small.ckpt", folder=tmp_path)
    paths = (tmp_path / "small.ckpt", folder / "checkpoints/best.ckpt")
    shipped, whole = (torch.load(path, weights_only=True) for path in paths)
    assert shipped["film"] == whole["callbacks"]["Film"]["taken"]
    measured = validations(folder / "metrics.csv")
    assert measured
    for kept, row in zip(unpack(shipped["validations"]), measured, strict=True):
        assert kept == pytest.approx(row)


def test_a_run_goes_on_from_its_checkpoint_in_a_folder_of_its_own(trained, tmp_path):
    folder, _ = trained
    checkpoint = f"checkpoint={folder / 'checkpoints/last.ckpt'}"
    chosen = (
        "logger=csv",
        "callbacks=[best_both,last,rewind,solved,results]",
        "trainer.max_steps=30",
        "hydra.run.dir=run",
    )
    run("train.py", *SHORT, checkpoint, *chosen, folder=tmp_path)
    assert results(tmp_path / "run")["sequences"] == 120


def test_a_run_is_resumed_by_its_folder_alone(trained, tmp_path):
    shutil.copytree(trained[0], tmp_path / "run")
    run("train.py", "resume=run", "trainer.max_steps=30", folder=tmp_path)
    assert results(tmp_path / "run")["sequences"] == 120
    assert results(tmp_path / "run")["cost"] <= results(trained[0])["cost"]  # its best is of the whole run
    assert "resumed with trainer.max_steps=30 (it was 20)" in (tmp_path / "run" / "train.log").read_text()
    assert list(tmp_path.iterdir()) == [tmp_path / "run"]
    run("models/ship.py", "run/checkpoints/best.ckpt", "small.ckpt", folder=tmp_path)
    origin = torch.load(tmp_path / "small.ckpt", weights_only=True)["origin"]
    assert shlex.split(origin["command"]) == ["train.py", *SHORT, "trainer.max_steps=30"]


def test_a_sweep_runs_every_combination_in_a_folder_of_its_own(tmp_path):
    chosen = ("trainer.max_steps=2", "trainer.val_check_interval=2", "callbacks=none", "hydra.sweep.dir=sweep")
    run("train.py", "-m", *SHORT, *chosen, "loss=cross_entropy,huber", folder=tmp_path)
    for job in ("0", "1"):
        assert (tmp_path / "sweep" / job / "results.json").is_file()
        assert len(list((tmp_path / "sweep" / job / "wandb").glob("offline-run-*"))) == 1


@pytest.mark.parametrize("engine", ["eager", "fused"])
def test_two_processes_train_one_machine_in_one_folder(engine, tmp_path):
    two = (
        f"engine={engine}",
        "trainer.devices=2",
        "trainer.accelerator=cpu",
        "trainer.max_steps=2",
        "trainer.val_check_interval=2",
    )
    run("train.py", *SHORT[:1], *SHORT[2:], *two, "logger=csv", "callbacks=none", "hydra.run.dir=run", folder=tmp_path)
    assert results(tmp_path / "run")["sequences"] == 2 * 2 * 4
    assert list(tmp_path.iterdir()) == [tmp_path / "run"]


def test_a_mistake_exits_with_code_2_and_leaves_nothing(tmp_path):
    run("train.py", "memory.num_slots=0", folder=tmp_path, code=2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("program", ["train.py", "evaluate.py"])
def test_help_needs_nothing_heavy_and_leaves_nothing(program, tmp_path):
    script = (
        f"import runpy, sys; sys.argv = ['{program}', '--help']\n"
        f"try: runpy.run_path({str(ROOT / program)!r}, run_name='__main__')\n"
        "except SystemExit as ended: assert not ended.code\n"
        "assert not {'torch', 'lightning', 'wandb'} & set(sys.modules)"
    )
    started = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},  # a script's own folder is on the path, a string's is not
    )
    assert started.returncode == 0, started.stderr
    assert "checkpoint=" in started.stdout
    assert list(tmp_path.iterdir()) == []
