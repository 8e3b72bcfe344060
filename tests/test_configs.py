"""Every yaml of every family composes, builds and trains; so a new member is tested before anybody writes a test."""

import inspect
import json
from itertools import zip_longest
from pathlib import Path

import pytest
import torch
import yaml
from fakes import ROOT, TINY, compose, options
from omegaconf import OmegaConf

import train
from callbacks.loggers import Wandb, finish
from callbacks.rewind import Rewind
from tasks.base import lengths

FAMILIES = sorted(path.name for path in (ROOT / "conf").iterdir() if path.is_dir() and path.name[0].isalpha())
FAMILIES = [family for family in FAMILIES if family not in ("hydra", "search") and options(family)]
MEMBERS = [(family, option) for family in FAMILIES for option in options(family)]
PAPERS = ["copy", "repeat_copy", "recall", "ngrams", "sort"]
FILES = sorted((ROOT / "conf").rglob("*.yaml"))


def without(family: str) -> list[str]:
    """TINY, but for its choice in this family."""
    return [setting for setting in TINY if not setting.startswith(f"{family}=")]


def fit(cfg) -> tuple:
    """Build and train; the task, the learner and the trainer, and the weights before."""
    torch.manual_seed(cfg.seed)
    task, learner, trainer = train.build(cfg)
    before = [p.detach().clone() for p in learner.parameters()]
    trainer.fit(learner, datamodule=task)
    finish(trainer)  # a run of W&B that is left open listens to whatever is printed after it
    return task, learner, trainer, before


@pytest.mark.parametrize(("family", "option"), MEMBERS)
def test_every_option_composes_builds_and_takes_a_training_step(family, option, tmp_path):
    cfg = compose(f"{family}={option}", *without(family), output_dir=tmp_path)
    _, learner, trainer, before = fit(cfg)
    assert trainer.global_step == 2
    after = list(learner.parameters())
    assert all(p.isfinite().all() for p in after)
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    assert (tmp_path / "metrics.csv").is_file()


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(ROOT / "conf")) for path in FILES])
def test_every_yaml_says_first_what_it_is(path):
    first, *rest = path.read_text().splitlines()
    if first.startswith("# @package"):
        first = rest[0]
    assert first.startswith("# ")
    assert len(first) > 8


def test_a_family_has_no_setting_that_its_class_has_a_default_for():
    """Defaults live in yaml only, so that a configuration shows all of them."""
    for family in ("task", "controller", "memory", "loss"):
        for option in options(family):
            cls = OmegaConf.to_container(compose(f"{family}={option}"))[family]["_target_"]
            module, _, name = cls.rpartition(".")
            constructor = inspect.signature(getattr(__import__(module, fromlist=[name]), name).__init__)
            defaults = {p.name for p in constructor.parameters.values() if p.default is not p.empty}
            assert defaults <= {"squash", "gradient_clip_val", "skewed_rate"}  # of which older checkpoints say nothing


def test_a_built_learner_carries_its_configuration_in_plain_containers(tmp_path):
    _, learner, _ = train.build(compose(*TINY, output_dir=tmp_path))
    plain = yaml.safe_load(yaml.safe_dump(learner.config))
    assert plain == learner.config
    assert plain["task"]["batch_size"] == 2


def test_several_loggers_at_once(tmp_path):
    cfg = compose("logger=[csv,tensorboard]", *without("logger"), output_dir=tmp_path)
    fit(cfg)
    assert (tmp_path / "metrics.csv").is_file()
    assert list(tmp_path.rglob("events.out.tfevents*"))


def test_null_switches_a_callback_or_a_logger_off(tmp_path):
    words = ("callbacks=[none,rewind]", "callbacks.rewind=null", "logger=[csv,wandb]", "logger.wandb=null")
    *_, trainer = train.build(compose(*TINY, *words, f"output_dir={tmp_path}"))
    assert not any(isinstance(callback, Rewind) for callback in trainer.callbacks)
    assert not any(isinstance(logger, Wandb) for logger in trainer.loggers)


def test_a_callback_of_lightning_s_may_watch_what_is_the_more_the_better(tmp_path):
    watching = "monitor: val/exact, mode: max"
    early = f"{{_target_: lightning.pytorch.callbacks.EarlyStopping, {watching}, stopping_threshold: -1}}"
    right = f"{{_target_: lightning.pytorch.callbacks.ModelCheckpoint, {watching}, dirpath: {tmp_path}}}"
    words = (f"+callbacks.early={early}", f"+callbacks.right={right}", "trainer.val_check_interval=1")
    cfg = compose(*TINY, *words, output_dir=tmp_path / "run")
    train.check(cfg)
    *_, trainer, _ = fit(cfg)
    assert trainer.global_step == 1  # stopped at once, as any fraction is more
    assert list(tmp_path.glob("*.ckpt"))
    assert (tmp_path / "run/checkpoints/best.ckpt").is_file()


def test_lightning_measures_nothing_unless_asked(tmp_path):
    _, _, trainer, _ = fit(compose(*TINY, output_dir=tmp_path / "run"))
    assert trainer.profiler.summary() == ""
    _, _, trainer, _ = fit(compose(*TINY, "trainer.profiler=simple", output_dir=tmp_path / "asked"))
    assert trainer.profiler.recorded_durations["run_training_batch"]


def test_building_writes_nothing(tmp_path):
    train.build(compose(*without("logger"), output_dir=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_checking_builds_everything_without_numbers_and_writes_nothing(tmp_path):
    cfg = compose("logger=[wandb,tensorboard]", output_dir=tmp_path / "run")
    state = torch.get_rng_state()
    train.check(cfg)
    assert not (tmp_path / "run").exists()
    assert torch.equal(state, torch.get_rng_state())


def test_the_metrics_are_those_that_are_promised_beside_the_sequences_seen(tmp_path):
    cfg = compose(*TINY, output_dir=tmp_path)
    task, learner, trainer, _ = fit(cfg)
    trainer.test(learner, datamodule=task, verbose=False)
    header, *rows = (tmp_path / "metrics.csv").read_text().splitlines()
    figures = ("bits", "error_bits", "bit_error_rate", "exact")
    stages = ("train", "val", "test/2", "test/3")
    assert {f"{stage}/{figure}" for stage in stages for figure in figures} <= set(header.split(","))
    assert "train/loss" in header
    seen = header.split(",").index("sequences")
    assert [float(row.split(",")[seen]) for row in rows] == [2, 4, 4, 4]  # two steps, validation, test


@pytest.mark.parametrize("name", options("task"))
def test_every_task_is_measured_at_each_of_its_own_test_lengths(name, tmp_path):
    own = [setting for setting in TINY if not setting.startswith("task.test_lengths")]
    task, learner, trainer = train.build(compose(f"task={name}", *own, output_dir=tmp_path))
    trainer.test(learner, datamodule=task, verbose=False)
    measured = json.loads((tmp_path / "results.json").read_text())["test"]
    assert list(measured) == ["x".join(map(str, lengths(length))) for length in task.test_lengths]
    assert all(set(row) == set(task.metrics) for row in measured.values())


def test_a_checkpoint_is_plain_data_and_gives_the_same_answers(tmp_path):
    _, learner, _, _ = fit(compose(*TINY, output_dir=tmp_path))
    checkpoint = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["sequences"] == 4
    _, rebuilt, _ = train.build(OmegaConf.create(checkpoint["config"]))
    rebuilt.load_state_dict(checkpoint["state_dict"])
    inputs = torch.rand(2, 5, 9)
    assert torch.equal(learner.machine(inputs), rebuilt.machine(inputs))


def test_nothing_in_the_configuration_names_this_machine():
    for path in FILES:
        assert str(Path.home()) not in path.read_text()


@pytest.mark.parametrize("study", options("experiment/study"))
def test_every_cell_of_a_study_is_a_run_that_can_be_built(study, tmp_path):
    params = yaml.safe_load((ROOT / f"conf/experiment/study/{study}.yaml").read_text())["hydra"]["sweeper"]["params"]
    for values in zip_longest(*(str(value).split(", ") for value in params.values())):  # every value once
        cell = [f"{key}={value}" for key, value in zip(params, values, strict=True) if value is not None]
        train.build(compose(f"experiment=study/{study}", *cell, output_dir=tmp_path))


@pytest.mark.parametrize("task", ["copy", "recall"])
def test_the_keras_experiment_is_the_documented_one(task, tmp_path):
    cfg = compose(f"experiment=keras/{task}", output_dir=tmp_path)
    assert (cfg.task.layout, cfg.task.batch_size) == ("keras", {"copy": 40, "recall": 60}[task])
    assert cfg.trainer.max_steps * cfg.task.batch_size == pytest.approx(
        {"copy": 400_000, "recall": 158_000}[task], 1e-3
    )
    fit(compose(f"experiment=keras/{task}", *TINY, output_dir=tmp_path))


@pytest.mark.parametrize("task", PAPERS)
def test_every_task_of_the_paper_has_a_baseline_of_its_lstm(task, tmp_path):
    quick, paper = (compose(f"experiment={kind}") for kind in (f"baseline/{task}", f"paper/{task}_lstm"))
    assert quick.memory == paper.memory
    assert quick.task == {**paper.task, "batch_size": 16}
    assert quick.controller == {**paper.controller, "hidden_size": min(paper.controller.hidden_size, 256)}
    cfg = compose(f"experiment=baseline/{task}", "trainer.max_steps=2", "callbacks=none", output_dir=tmp_path)
    cfg.task.update(batch_size=2, validation_size=2, far_size=2)
    fit(cfg)


def test_no_pictures_takes_away_all_that_default_draws_and_nothing_that_trains():
    drawn = set(compose("callbacks=pictures").callbacks)
    left = {name for name, chosen in compose("callbacks=[default,no_pictures]").callbacks.items() if chosen}
    assert left == set(compose().callbacks) - drawn - {"examples"}
    assert {"best", "last", "rewind", "solved", "results"} <= left


@pytest.mark.parametrize("task", PAPERS)
def test_a_task_is_its_own_recipe(task):
    assert compose(f"task={task}") == compose(f"experiment={task}")
