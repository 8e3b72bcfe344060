"""A run may be interrupted: what goes on afterwards is what would have gone on."""

import json
from contextlib import nullcontext
from copy import deepcopy
from pathlib import Path

import lightning as L
import pytest
import torch
from fakes import TINY, compose, options
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor

import train
from callbacks.metrics import read_rows
from callbacks.results import weights_hash
from conf.check import ConfigError
from conf.resume import expand, newest_checkpoint
from ntm.checkpoints import follow

# A learning rate that changes at every step, an optimiser with memory, random states: all that could be lost.
NOISY = (
    "memory.initial_memory=constant",
    "memory.initial_reads=random",
    "memory.training_slots=[3,5]",
    "controller.initial_state=random",
    "scheduler=cosine",
    "scheduler.T_max=6",
)
EVERY = ("trainer.val_check_interval=3",)


class Crash(L.Callback):
    """Ends a run after a step, wherever that is: when all is done, or in the middle of the next one."""

    def __init__(self, step: int, hook: str):
        self.step = step
        setattr(self, hook, self.end)

    def end(self, trainer: L.Trainer, *_) -> None:
        if trainer.global_step == self.step:
            raise ConnectionAbortedError


def fit(
    folder, max_steps: int, *overrides: str, resume=None, crash=None, hook="on_train_batch_end"
) -> dict[str, Tensor]:
    """Train to a step, or until a crash; the weights, with the learning rate and the sequences seen."""
    cfg = compose(*TINY, *NOISY, *EVERY, *overrides, f"trainer.max_steps={max_steps}", output_dir=folder)
    torch.manual_seed(cfg.seed)
    task, learner, trainer = train.build(cfg)
    if crash:
        trainer.callbacks.append(Crash(crash, hook))
    with pytest.raises(ConnectionAbortedError) if crash else nullcontext():
        trainer.fit(learner, datamodule=task, ckpt_path=resume, weights_only=True)
    assert trainer.global_step == (crash or max_steps)
    state = {name: value.clone() for name, value in learner.state_dict().items()}
    return state | {
        "sequences": torch.tensor(learner.sequences),
        "lr": torch.tensor(trainer.optimizers[0].param_groups[0]["lr"]),
    }


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert not [name for name in one if not torch.equal(one[name], other[name])]


@pytest.mark.parametrize("task", options("task"))
@pytest.mark.parametrize("mixed", [False, True], ids=["one length", "mixed lengths"])
def test_a_resumed_run_matches_an_uninterrupted_one(task, mixed, tmp_path):
    chosen = (f"task={task}", f"task.mixed_lengths={mixed}")
    straight = fit(tmp_path / "straight", 6, *chosen)
    fit(tmp_path / "first", 3, *chosen)
    torch.manual_seed(1234)  # another process has other random numbers
    resumed = fit(tmp_path / "second", 6, *chosen, resume=newest_checkpoint(tmp_path / "first"))
    assert_same(straight, resumed)


@pytest.mark.parametrize("optimizer", options("optimizer"))
@pytest.mark.parametrize("crash", [1, 2, 3, 4, 5])
def test_a_run_that_crashed_at_any_step_goes_on_from_the_checkpoint_before_and_matches_too(optimizer, crash, tmp_path):
    chosen = (f"optimizer={optimizer}", "trainer.val_check_interval=2")
    straight = fit(tmp_path / "straight", 6, *chosen)
    fit(tmp_path / "first", 6, *chosen, crash=crash)
    resumed = fit(tmp_path / "second", 6, *chosen, resume=newest_checkpoint(tmp_path / "first"))
    assert_same(straight, resumed)


@pytest.mark.parametrize("hook", ["on_before_backward", "on_before_optimizer_step"])
def test_a_run_that_crashed_in_the_middle_of_a_step_matches_too(hook, tmp_path):
    straight = fit(tmp_path / "straight", 6)
    fit(tmp_path / "first", 6, crash=4, hook=hook)
    resumed = fit(tmp_path / "second", 6, resume=newest_checkpoint(tmp_path / "first"))
    assert_same(straight, resumed)


def test_a_run_in_double_precision_loses_no_digit_when_resumed(tmp_path):
    chosen = ("engine=auto", "trainer.precision=64-true")
    straight = fit(tmp_path / "straight", 6, *chosen)
    fit(tmp_path / "first", 3, *chosen)
    resumed = fit(tmp_path / "second", 6, *chosen, resume=newest_checkpoint(tmp_path / "first"))
    assert straight["machine.output.weight"].dtype == torch.float64
    assert_same(straight, resumed)


def test_a_checkpoint_finds_its_folder_wherever_the_run_was_moved_from():
    for place in ("C:\\runs\\copy\\checkpoints", "/home/me/runs/copy/checkpoints"):
        separator = "\\" if place.startswith("C:") else "/"
        best = f"{place}{separator}best.ckpt"
        state = {"dirpath": place, "best_model_path": best, "kth_best_model_path": "", "last_model_path": ""}
        checkpoint = {"callbacks": {"best": state | {"best_k_models": {best: torch.tensor(1.0)}}}}
        follow(checkpoint, Path("here"))
        moved = checkpoint["callbacks"]["best"]
        assert (moved["dirpath"], moved["best_model_path"]) == ("here", str(Path("here", "best.ckpt")))
        assert list(moved["best_k_models"]) == [moved["best_model_path"]]


def test_a_run_interrupted_twice_matches_too(tmp_path):
    often = "trainer.val_check_interval=2"
    straight = fit(tmp_path / "straight", 6, often)
    fit(tmp_path / "first", 6, often, crash=3)
    fit(tmp_path / "second", 6, often, crash=5, resume=newest_checkpoint(tmp_path / "first"))
    resumed = fit(tmp_path / "third", 6, often, resume=newest_checkpoint(tmp_path / "second"))
    assert_same(straight, resumed)


def test_accumulated_gradients_survive_an_interruption(tmp_path):
    chosen = ("+trainer.accumulate_grad_batches=2", "trainer.val_check_interval=2")
    straight = fit(tmp_path / "straight", 4, *chosen)
    fit(tmp_path / "first", 4, *chosen, crash=3)
    resumed = fit(tmp_path / "second", 4, *chosen, resume=newest_checkpoint(tmp_path / "first"))
    assert_same(straight, resumed)


@pytest.mark.parametrize("batches", [4, 5, 6, 7, 8])  # of three steps of four
def test_gradients_that_no_step_has_taken_are_added_up_anew(batches, tmp_path):
    class Told(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, *step) -> None:
            trainer._signal_connector.received_sigterm = step[-1] + 1 == batches

    chosen = ("+trainer.accumulate_grad_batches=4", "trainer.val_check_interval=12")
    straight = fit(tmp_path / "straight", 3, *chosen)
    cfg = compose(*TINY, *NOISY, *chosen, "trainer.max_steps=3", output_dir=tmp_path / "first")
    torch.manual_seed(cfg.seed)
    task, learner, trainer = train.build(cfg)
    trainer.callbacks.append(Told())
    with pytest.raises(SIGTERMException):
        trainer.fit(learner, datamodule=task)
    resumed = fit(tmp_path / "second", 3, *chosen, resume=newest_checkpoint(tmp_path / "first"))
    assert_same(straight, resumed)


CYCLES = (
    "scheduler._target_=torch.optim.lr_scheduler.CyclicLR",
    *("+scheduler.base_lr=1e-3", "+scheduler.max_lr=1e-2", "+scheduler.step_size_up=2", "~scheduler.T_max"),
)


def test_a_schedule_that_has_rates_of_its_own_goes_on_where_it_was(tmp_path):
    straight = fit(tmp_path / "straight", 6, *CYCLES)
    fit(tmp_path / "first", 6, *CYCLES, crash=5)
    assert_same(straight, fit(tmp_path / "second", 6, *CYCLES, resume=newest_checkpoint(tmp_path / "first")))


@pytest.mark.parametrize("scheduler", ["constant", "cosine", "warmup"])
def test_a_run_that_goes_on_longer_is_at_the_rates_of_one_that_was_meant_to(scheduler, tmp_path):
    chosen = (*TINY, f"scheduler={scheduler}", "trainer.val_check_interval=1")
    train.run(compose(*chosen, "trainer.max_steps=3", output_dir=tmp_path / "first"))
    meant = compose(*chosen, "trainer.max_steps=6", output_dir=tmp_path / "meant")
    longer = compose(*chosen, "trainer.max_steps=6", output_dir=tmp_path / "longer")
    longer.checkpoint = str(tmp_path / "first/checkpoints/last.ckpt")
    rates = []
    for cfg in (meant, longer):
        train.check(deepcopy(cfg))
        task, learner, trainer = train.build(cfg)
        trainer.callbacks.append(rate := Rates())
        trainer.fit(learner, datamodule=task, ckpt_path=cfg.checkpoint, weights_only=True)
        rates.append(rate.seen)
    assert rates[0][3:] == rates[1]


class Rates(L.Callback):
    """The rate of every step that is taken."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_before_optimizer_step(self, trainer: L.Trainer, learner: L.LightningModule, optimizer) -> None:
        self.seen.append(optimizer.param_groups[0]["lr"])


@pytest.mark.parametrize("engine", ["eager", "fused"])
def test_the_same_seed_twice_gives_the_same_weights(engine, tmp_path):
    assert_same(fit(tmp_path / "one", 3, f"engine={engine}"), fit(tmp_path / "two", 3, f"engine={engine}"))


def test_another_seed_gives_other_weights(tmp_path):
    one, two = fit(tmp_path / "one", 3), fit(tmp_path / "two", 3, "seed=2")
    assert not torch.equal(one["machine.output.weight"], two["machine.output.weight"])


def test_measuring_more_often_changes_no_weight(tmp_path):
    often = fit(tmp_path / "often", 4, "trainer.val_check_interval=1", "trainer.log_every_n_steps=1")
    seldom = fit(tmp_path / "seldom", 4, "trainer.val_check_interval=4", "trainer.log_every_n_steps=50")
    assert_same(often, seldom)


def test_a_run_that_ends_between_two_measurements_can_be_resumed_too(tmp_path):
    straight = fit(tmp_path / "straight", 6)
    fit(tmp_path / "first", 4)  # measured after 3
    resumed = fit(tmp_path / "second", 6, resume=newest_checkpoint(tmp_path / "first"))
    assert_same(straight, resumed)


@pytest.mark.parametrize("end", [3, 4])  # at a measurement, and between two
def test_a_moving_average_of_the_weights_goes_on_where_it_was(end, tmp_path):
    chosen = ("callbacks=[none,average]", "callbacks.average.decay=0.5")
    straight = fit(tmp_path / "straight", 6, *chosen)
    fit(tmp_path / "first", end, *chosen)
    resumed = fit(tmp_path / "second", 6, *chosen, resume=newest_checkpoint(tmp_path / "first"))
    assert_same(straight, resumed)
    assert not torch.equal(straight["machine.output.weight"], fit(tmp_path / "plain", 6)["machine.output.weight"])


def test_the_tests_measure_the_average_that_the_best_checkpoint_holds(tmp_path):
    cfg = compose(*TINY, "callbacks=[none,average]", "callbacks.average.decay=0.5", output_dir=tmp_path)
    train.run(cfg)
    measured = json.loads((tmp_path / "results.json").read_text())["weights"]
    best = torch.load(tmp_path / "checkpoints/best.ckpt", weights_only=True)
    learner = train.build(cfg)[1]
    hashes = []
    for weights in (best["state_dict"], best["current_model_state"]):
        learner.load_state_dict(weights)
        hashes.append(weights_hash(learner))
    assert measured == hashes[0] != hashes[1]


@pytest.mark.parametrize(("steps", "interval", "measured"), [(2, 1000, [2]), (5, 3, [3, 5]), (6, 3, [3, 6])])
def test_what_comes_after_the_last_whole_interval_is_measured_too(steps, interval, measured, tmp_path):
    fit(tmp_path, steps, f"trainer.val_check_interval={interval}")
    rows = read_rows(tmp_path / "metrics.csv")
    assert [int(float(row["sequences"])) / 2 for row in rows if row.get("val/bits")] == measured
    assert (tmp_path / "checkpoints/best.ckpt").exists()


def test_a_machine_may_begin_under_a_loss_that_holds_numbers(tmp_path):
    fit(tmp_path, 2)
    learner = train.build(compose(*TINY, *NOISY))[1]
    learner.loss.register_buffer("weight", torch.ones(8))
    taken = learner.taken(torch.load(tmp_path / "checkpoints/best.ckpt", weights_only=True)["state_dict"], "weights=it")
    learner.load_state_dict(taken)
    assert torch.equal(taken["loss.weight"], torch.ones(8))


def test_a_run_resumed_for_less_than_an_interval_measures_the_machine_it_has(tmp_path):
    fit(tmp_path / "first", 3)
    resumed = (f"checkpoint={tmp_path}/first/checkpoints/last.ckpt", "trainer.max_steps=4")
    cost = train.run(compose(*TINY, *NOISY, *EVERY, *resumed, output_dir=tmp_path / "second"))
    assert cost > 0
    assert json.loads((tmp_path / "second/results.json").read_text())["sequences"] == 4 * 2


def test_a_run_that_goes_on_has_not_ended(tmp_path):
    run, steady = tmp_path / "run", (*TINY, "scheduler=constant")
    train.run(compose(*steady, output_dir=run))
    assert (run / "results.json").exists()
    goes_on = ("trainer.max_steps=9", "optimizer.lr=1e38", "allow=[optimizer.lr]")
    cfg = compose(*steady, f"checkpoint={run}/checkpoints/last.ckpt", *goes_on, output_dir=run)
    with pytest.raises(FloatingPointError):
        train.run(cfg)
    assert not (run / "results.json").exists()


def test_a_resumption_cannot_begin_in_two_places(tmp_path):
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "overrides.yaml").write_text("[checkpoint=elsewhere/last.ckpt]")
    assert expand([f"resume={tmp_path}"])[0] == "checkpoint=elsewhere/last.ckpt"
    with pytest.raises(ConfigError, match="Leave one out"):
        expand([f"resume={tmp_path}", f"checkpoint={tmp_path}/checkpoints/best.ckpt"])


def test_a_run_that_has_ended_without_a_checkpoint_is_not_begun_anew(tmp_path):
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "overrides.yaml").write_text("[seed=1]")
    assert expand([f"resume={tmp_path}"])
    (tmp_path / "results.json").touch()
    with pytest.raises(ConfigError, match="has ended, and left no checkpoint"):
        expand([f"resume={tmp_path}"])
