"""A sweep runs every job that it can, says what came of it, and can be started again."""

import csv
import gc
import json
import os
import subprocess
import sys
import time
import weakref
from concurrent.futures.process import BrokenProcessPool

import lightning as L
import pytest
import torch
import wandb
import yaml
from fakes import ROOT, TINY, compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins

import train
from callbacks.results import start_clock
from conf.check import OUTCOME, ConfigError, cli
from hydra_plugins.ntm_lab import grid

FOUR = (*TINY, "trainer.max_steps=4")


@pytest.fixture
def sweep(monkeypatch, tmp_path):
    """`python train.py -m ...` into `tmp_path/sweep`; its exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    wandb.finish()  # a test that only fits leaves its run open

    def run(*overrides: str) -> int:
        monkeypatch.setattr(sys, "argv", [train.__file__, "-m", *overrides, "hydra.sweep.dir=sweep"])
        GlobalHydra.instance().clear()
        try:
            cli(train.main)
        except SystemExit as ended:
            return int(ended.code)
        return 0

    yield run
    GlobalHydra.instance().clear()


@pytest.fixture
def crash(monkeypatch):
    """Let the jobs of a seed end at a step, as a machine that is switched off does."""
    built, crashes = train.build, {}

    class Crash(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, *_) -> None:
            if trainer.global_step == crashes.get(trainer.datamodule.seed):
                raise ConnectionAbortedError("switched off")

    def build(cfg):
        parts = built(cfg)
        parts[2].callbacks.append(Crash())
        return parts

    monkeypatch.setattr(train, "build", build)
    return crashes


def results(folder) -> dict:
    return json.loads((folder / "results.json").read_text())


def rows(path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_a_sweep_ends_with_a_summary(sweep, tmp_path, capsys):
    assert sweep(*TINY, "loss=cross_entropy,huber", "seed=0,1") == 0
    assert [row["configuration"] for row in rows(tmp_path / "sweep/summary.csv")] == [
        "loss=cross_entropy",
        "loss=huber",
    ]
    assert (tmp_path / "sweep/summary.png").is_file()
    assert "The summary is in sweep" in capsys.readouterr().out


def test_the_others_run_where_one_fails_and_the_exit_code_says_so(sweep, crash, tmp_path, capsys):
    crash[0] = 1
    assert sweep(*FOUR, "seed=0,1") == 1
    assert not (tmp_path / "sweep/0/results.json").exists()
    assert (tmp_path / "sweep/1/results.json").is_file()
    assert (tmp_path / "sweep/0" / OUTCOME).read_text() == "failed: ConnectionAbortedError: switched off\n"
    said = capsys.readouterr().out
    assert "0: seed=0 failed: ConnectionAbortedError: switched off" in said
    assert "go on with" not in said  # the sweep's own command does that
    assert "Traceback" in (tmp_path / "sweep/0/train.log").read_text()


def test_a_sweep_whose_workers_die_ends_with_one_line(sweep, monkeypatch, capsys):
    class Broken:
        def launch(self, *_, **__):
            raise BrokenProcessPool("killed")  # as joblib does

    monkeypatch.setattr(Plugins, "instantiate_launcher", lambda *_, **__: Broken())
    assert sweep(*TINY) == 1
    assert capsys.readouterr().err.startswith("error: the process of a job died")


def test_started_again_it_runs_what_is_missing_and_goes_on_where_it_was_interrupted(sweep, crash, tmp_path):
    crash[1] = 3
    assert sweep(*FOUR, "seed=0,1") == 1
    finished = (tmp_path / "sweep/0/results.json").stat().st_mtime_ns
    crash.clear()
    assert sweep(*FOUR, "seed=0,1,2") == 0
    assert (tmp_path / "sweep/0/results.json").stat().st_mtime_ns == finished
    assert not (tmp_path / "sweep/1" / OUTCOME).exists()
    assert [results(tmp_path / "sweep" / job)["sequences"] for job in "012"] == [8, 8, 8]


def test_an_interrupted_job_ends_as_if_nothing_had_been(sweep, crash, tmp_path):
    assert sweep(*FOUR, "seed=1") == 0
    (tmp_path / "sweep").rename(tmp_path / "straight")
    crash[1] = 3
    assert sweep(*FOUR, "seed=1") == 1
    crash.clear()
    assert sweep(*FOUR, "seed=1") == 0
    straight, resumed = tmp_path / "straight/0", tmp_path / "sweep/0"
    weights = [
        torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for run in (straight, resumed)
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert rows(straight / "metrics.csv") == rows(resumed / "metrics.csv")
    assert results(straight)["cost"] == results(resumed)["cost"]
    assert results(straight)["test"] == results(resumed)["test"]


def test_a_resumed_run_counts_the_seconds_that_it_took_before(sweep, crash, tmp_path):
    crash[1] = 3
    sweep(*FOUR, "seed=1")
    last = tmp_path / "sweep/0/checkpoints/last.ckpt"
    checkpoint = torch.load(last, weights_only=True)
    (state,) = (state for name, state in checkpoint["callbacks"].items() if name.startswith("Results"))
    assert state["seconds"] > 0
    state["seconds"] = 1e6
    torch.save(checkpoint, last)
    crash.clear()
    sweep(*FOUR, "seed=1")
    assert results(tmp_path / "sweep/0")["seconds"] > 1e6


def test_a_job_that_was_interrupted_after_its_last_step_is_only_measured(sweep, tmp_path):
    assert sweep(*FOUR) == 0
    measured = results(tmp_path / "sweep/0")
    (tmp_path / "sweep/0/results.json").unlink()
    assert sweep(*FOUR) == 0
    assert results(tmp_path / "sweep/0")["test"] == measured["test"]
    assert results(tmp_path / "sweep/0")["sequences"] == 8


def test_a_job_leaves_nothing_in_memory_for_the_next(sweep, monkeypatch):
    run, jobs, left = train.run, [], []

    def watched(cfg):
        gc.collect()
        left.append(sum(job() is not None for job in jobs))
        jobs.append(weakref.ref(cfg))
        return run(cfg)

    monkeypatch.setattr(train, "run", watched)
    assert sweep(*FOUR, "seed=range(3)") == 0
    assert left == [0, 0, 0]


def test_a_folder_of_another_sweep_is_refused(sweep, tmp_path, capsys):
    assert sweep(*TINY, "seed=0") == 0
    left = results(tmp_path / "sweep/0")
    assert sweep(*TINY, "seed=1") == 2
    assert "error: hydra.sweep.dir=sweep holds another sweep: its job 0 has" in capsys.readouterr().err
    assert results(tmp_path / "sweep/0") == left


def test_a_sweep_that_is_refused_leaves_everything_as_it_was(sweep, tmp_path, capsys):
    assert sweep(*TINY, "seed=0,-1") == 2
    assert "seed=-1 should be greater than or equal to 0" in capsys.readouterr().err
    assert not (tmp_path / "sweep").exists()
    assert sweep(*TINY, "seed=0") == 0
    before = (tmp_path / "sweep/multirun.yaml").read_bytes()
    assert sweep(*TINY, "seed=3") == 2
    assert (tmp_path / "sweep/multirun.yaml").read_bytes() == before


def test_a_sweep_that_is_refused_leaves_a_folder_as_empty_as_it_was(sweep, tmp_path):
    (tmp_path / "sweep").mkdir()
    assert sweep(*TINY, "seed=0,-1") == 2
    assert not any((tmp_path / "sweep").iterdir())


def test_a_mistake_in_the_last_job_is_found_before_the_first_runs(sweep, tmp_path, capsys):
    assert sweep(*TINY, "memory.shift_range=3,4") == 2  # four is refused when a machine is built
    assert "error: memory.shift_range=4 must be odd" in capsys.readouterr().err
    assert not (tmp_path / "sweep").exists()


def test_a_sweep_one_of_whose_jobs_turns_out_a_mistake_says_what_it_ran(sweep, monkeypatch, tmp_path):
    run = train.run

    def fussy(cfg):
        if cfg.seed == 1:
            raise ConfigError("seed=1 is bad luck")
        return run(cfg)

    monkeypatch.setattr(train, "run", fussy)
    assert sweep(*TINY, "seed=0") == 0
    assert sweep(*TINY, "seed=0,1") != 0
    assert "seed=0,1" in (tmp_path / "sweep/multirun.yaml").read_text()


@pytest.mark.parametrize("more", [(), ("threads=1", "trainer.enable_model_summary=false")])
def test_a_job_that_was_resumed_by_its_folder_is_still_of_its_sweep(more, sweep, crash, monkeypatch, tmp_path):
    crash[1] = 3
    assert sweep(*FOUR, "seed=0,1") == 1
    crash.clear()
    with monkeypatch.context() as once:
        once.setattr(sys, "argv", [train.__file__, "resume=sweep/1", *more])
        GlobalHydra.instance().clear()
        cli(train.main)
    assert results(tmp_path / "sweep/1")["sequences"] == 8
    assert sweep(*FOUR, "seed=0,1") == 0
    assert sweep(*FOUR, "seed=0,2") == 2


def test_what_a_job_was_resumed_with_is_still_said_when_its_sweep_is_repeated(sweep, monkeypatch, tmp_path):
    words = (*TINY, "scheduler=constant", "seed=0,1")
    assert sweep(*words) == 0
    with monkeypatch.context() as once:
        once.setattr(sys, "argv", [train.__file__, "resume=sweep/1", "trainer.max_steps=4"])
        GlobalHydra.instance().clear()
        cli(train.main)
    assert sweep(*words) == 0
    assert [row["runs"] for row in rows(tmp_path / "sweep/summary.csv")] == ["1", "1"]
    assert "max_steps: 4" in (tmp_path / "sweep/1/.hydra/config.yaml").read_text()


def test_no_two_jobs_go_into_one_folder(sweep, tmp_path, capsys):
    assert sweep(*TINY, "hydra.sweep.subdir=one", "seed=0,1") == 2
    assert "hydra.sweep.subdir=one is the folder of jobs 0 and 1" in capsys.readouterr().err
    assert not (tmp_path / "sweep").exists()


def test_jobs_may_go_into_folders_of_folders(sweep, tmp_path):
    assert sweep(*TINY, "hydra.sweep.subdir=deep/${seed}", "seed=0,1") == 0
    assert [row["runs"] for row in rows(tmp_path / "sweep/summary.csv")] == ["2"]


def test_a_job_whose_results_a_power_cut_has_emptied_is_measured_again(sweep, tmp_path):
    assert sweep(*TINY, "seed=0") == 0
    left = results(tmp_path / "sweep/0")
    (tmp_path / "sweep/0/results.json").write_text("")
    assert sweep(*TINY, "seed=0") == 0
    assert results(tmp_path / "sweep/0")["weights"] == left["weights"]


def test_a_job_of_an_experiment_that_is_a_sweep_is_resumed_as_one_run(sweep, monkeypatch, tmp_path):
    cell = ("controller=lstm", "task.sparse_rate=0", "task.noise=0", "seed=1")
    study = ("experiment=study/practice", *TINY, *cell, "scheduler=constant")
    assert sweep(*study) == 0
    monkeypatch.setattr(sys, "argv", [train.__file__, "resume=sweep/0", "trainer.max_steps=4"])
    GlobalHydra.instance().clear()
    cli(train.main)
    assert results(tmp_path / "sweep/0")["sequences"] == 8
    assert sweep(*study) == 0


def test_the_first_job_is_not_charged_for_looking_at_the_others(sweep, monkeypatch, tmp_path):
    check, looked = grid.check_job, []

    def slow(*args):
        looked.append(args)
        time.sleep(10 * (len(looked) == 2))
        return check(*args)

    monkeypatch.setattr(grid, "check_job", slow)
    start_clock()
    assert sweep(*TINY, "seed=0,1") == 0
    assert len(looked) == 2
    assert results(tmp_path / "sweep/0")["seconds_to_first_step"] < 10


def test_jobs_cannot_be_kept_back_by_those_before_them(sweep, capsys):
    assert sweep(*TINY, "seed=0,1", "hydra.sweeper.max_batch_size=1") == 2
    assert "hydra.sweeper.max_batch_size is not a setting" in capsys.readouterr().err


def test_a_job_that_was_a_mistake_can_be_put_right_in_its_place(sweep, tmp_path):
    assert sweep(*TINY, "seed=0,-1") == 2
    assert sweep(*TINY, "seed=0,1") == 0
    assert results(tmp_path / "sweep/1")["seed"] == 1


def test_wandb_gets_the_jobs_of_a_sweep_as_one_group_named_by_their_overrides(sweep, crash, tmp_path):
    before, crash[1] = dict(os.environ), 1
    assert sweep("seed=0,1", *(word for word in TINY if word != "logger=csv")) == 1
    assert dict(os.environ) == before
    for job in "01":
        (folder,) = (tmp_path / "sweep" / job / "wandb").glob("offline-run-*")
        told = subprocess.run(
            ["wandb", "leet", "inspect", "--json", folder], capture_output=True, text=True, check=True
        )
        records = [json.loads(line) for line in told.stdout.splitlines()]
        (run,) = [record["run"] for record in records if record.get("type") == "run"]
        assert (run["run_group"], run["job_type"]) == ("sweep", "grid")
        assert run["tags"] == ["copy", "lstm", "matrix", "cross_entropy"]
        overrides = " ".join(
            str(word) for word in yaml.safe_load((folder.parents[1] / ".hydra/overrides.yaml").read_text())
        )
        assert run["display_name"] == overrides[:128]
        assert run["display_name"].startswith(f"seed={job} ")
        (ended,) = [record["exit"] for record in records if record.get("type") == "exit"]
        assert ended.get("exit_code", 0) == int(job)  # that of seed 1 failed


@pytest.mark.parametrize("end", [0, -1])
def test_the_commands_that_a_wandb_agent_makes_of_our_sweep_are_accepted(end):
    agent = pytest.importorskip("wandb.sdk.launch.sweeps.utils")
    sweep = yaml.safe_load((ROOT / "docs/wandb_sweep.yaml").read_text())
    ranges = {key: spec.get("values") or [spec["min"], spec["max"]] for key, spec in sweep["parameters"].items()}
    chosen = {"args": {key: {"value": values[end]} for key, values in ranges.items()}}
    filled = agent.create_sweep_command_args(chosen) | {"env": ["/usr/bin/env"], "program": [sweep["program"]]}
    command = []
    for chunk in agent.create_sweep_command(sweep["command"]):
        command += filled[chunk[2:-1]] if chunk.startswith("${") else [chunk]
    assert command[:3] == ["/usr/bin/env", "python", "train.py"]
    cfg = compose(*command[3:])
    train.check(cfg)
    assert (cfg.optimizer.lr, cfg.controller.hidden_size) == (ranges["optimizer.lr"][end], (50, 200)[end])
    assert sweep["metric"]["name"] == "val/bits"
