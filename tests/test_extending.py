"""The recipes of docs/extending.md work as they stand there."""

import re
from collections.abc import Callable
from functools import partial
from importlib import import_module

import pytest
import torch
import yaml
from fakes import ROOT, compose, lstm, machine, matrix_memory
from matplotlib.figure import Figure

from ntm.batch import Batch

EPISODE = Batch(torch.rand(1, 5, 3), torch.ones(1, 5, 2), torch.ones(1, 5, dtype=torch.bool))


@pytest.fixture
def recipe(monkeypatch, tmp_path) -> Callable[[str], tuple]:
    """The class that a section tells how to write, in a module of its own, and the yaml beside it."""
    monkeypatch.syspath_prepend(tmp_path)

    def cook(title: str) -> tuple:
        section = (ROOT / "docs/extending.md").read_text().partition(f"## A {title}\n")[2].partition("\n## ")[0]
        code, settings = re.findall(r"```(?:python|yaml)\n(.*?)```", section, re.DOTALL)
        (tmp_path / f"recipe_{title}.py").write_text(code)
        config = yaml.safe_load(settings)
        target = config.get("_target_") or next(iter(config.values()))["_target_"]
        return getattr(import_module(f"recipe_{title}"), target.rpartition(".")[2]), config

    return cook


def test_the_loss_measures(recipe):
    loss, _ = recipe("loss")
    assert loss()(torch.zeros(1, 5, 2), EPISODE.targets, EPISODE.mask) == 0.25


def test_the_controller_drives_a_machine(recipe):
    controller, config = recipe("controller")
    assert config["_partial_"]
    driven = machine(partial(controller, hidden_size=config["hidden_size"]), matrix_memory())
    assert driven(EPISODE.inputs).shape == EPISODE.targets.shape


def test_the_task_samples(recipe):
    task, config = recipe("task")
    settings = {**compose().task, **config, "seed": 1}
    foreign = ("_target_", "layout", "sparse_rate", "skewed_rate")
    made = task(**{name: value for name, value in settings.items() if name not in foreign})
    batch = made.training_batch(0)
    assert batch.inputs.shape[-1] == made.input_size
    assert batch.targets.shape[-1] == made.output_size


def test_the_callback_draws(recipe, tmp_path):
    callback, config = recipe("callback")
    trace = machine(lstm(), matrix_memory()).trace(EPISODE)
    made = callback(every=config["gates"]["every"], folder=tmp_path, vector=None)
    assert made.name == "gates"
    assert isinstance(made.draw(trace), Figure)
