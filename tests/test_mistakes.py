"""A user's mistake is one line that names the key and the value, exit code 2, and nothing is written."""

import os
import shutil
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fakes import ROOT, TINY, compose
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from lightning.pytorch.callbacks import ProgressBar
from omegaconf import OmegaConf

import evaluate
import tasks
import train
from conf.check import ConfigError, check_settings, check_target, cli, exit_on_mistake, is_first_process

# The overrides, and words that the line must have: the key, the value, the rule or the remedy.
MISTAKES = [
    # options and keys
    ("task=recal", "task=recal is not an option", "Did you mean task=recall?"),
    ("controller=transformer", "controller=transformer is not an option", "feedforward, gru, lstm"),
    ("~memory", "memory is not chosen"),
    ("loss=", "loss="),
    ("experiment=nature", "experiment=nature is not an option", "Choose one of: copy, ngrams, recall"),
    ("experiment=paper/copy", "experiment=paper/copy is not an option", "paper/copy_lstm, paper/copy_ntm_feedforward"),
    ("experiment=papers/copy_lstm", "Did you mean experiment=paper/copy_lstm?"),
    ("hydra/launcher=moon", "hydra/launcher=moon is not an option", "basic"),
    ("logger=[csv,comet]", "logger=comet is not an option"),
    ("callbacks=[default,typo]", "callbacks=typo is not an option", "rare_mistakes, redraw, report, results, rewind"),
    ("+callbacks.redraw.at=8", "callbacks.redraw is not chosen", "callbacks=[...,redraw]"),
    ("+logger.csv=3", "logger.csv is not chosen"),
    ("+callbacks=redraw", "callbacks is chosen already", "callbacks=[default,redraw]"),
    ("callbacks=[]", "callbacks is not chosen"),
    ("logger=[]", "logger is not chosen"),
    ("sede=2", "sede", "Did you mean seed?"),
    ("memory.num_slot=8", "memory.num_slot", "Did you mean memory.num_slots?"),
    ("trainer.max_step=8", "trainer.max_step", "Did you mean trainer.max_steps?"),
    ("task.layot=keras", "task.layot", "Did you mean task.layout?"),
    ("loss.delta=1", "loss.delta is not a setting here. It is one of loss=huber."),
    ("callbacks=none callbacks.film=null", "It is one of callbacks=film. There are: describe, best, last"),
    ("memory=none memory.num_slots=8", "memory.num_slots is not a setting"),
    ("+memory.depth=3", "memory.depth is not a setting of"),
    ("+task.colour=3", "task.colour is not a setting of"),
    ("+optimizer.speed=3", "optimizer.speed"),
    ("+trainer.speed=3", "trainer.speed"),
    ("+callbacks.results.speed=3", "callbacks.results.speed"),
    ("+speed=3", "speed is not a setting"),
    ("~memory.num_slots", "memory.num_slots is missing", "conf/memory/matrix.yaml says what it means"),
    ("~seed", "seed"),
    ("memory.num_slots", "memory.num_slots"),
    # types
    ("memory.num_slots=many", "memory.num_slots=many", "integer"),
    ("memory.num_slots=2.5", "memory.num_slots=2.5", "integer"),
    ("memory.num_slots=null", "memory.num_slots=None", "integer"),
    ("task.test_lengths=10", "task.test_lengths=10", "list"),
    ("task.test_lengths=[ten]", "task.test_lengths", "ten"),
    ("task.mixed_lengths=perhaps", "task.mixed_lengths=perhaps", "boolean"),
    ("controller.hidden_size=[3]", "controller.hidden_size=[3]"),
    ("seed=one", "seed=one", "integer"),
    ("seed=1.5", "seed=1.5", "integer"),
    ("trainer.max_steps=many", "trainer.max_steps=many"),
    ("optimizer.lr=fast", "optimizer.lr=fast"),
    ("checkpoint=3", "checkpoint=3", "string"),
    ("memory=matrix memory={a:1}", "memory"),
    # ranges
    ("seed=-1", "seed=-1", "greater than or equal to 0"),
    ("seed=99999999999", "seed=99999999999", "less than"),
    ("memory.num_slots=0", "memory.num_slots=0", "greater than 0"),
    ("memory.num_slots=-128", "memory.num_slots=-128", "greater than 0"),
    ("memory.slot_width=0", "memory.slot_width=0", "greater than 0"),
    ("memory.num_read_heads=0", "memory.num_read_heads=0", "greater than 0"),
    ("memory.num_write_heads=0", "memory.num_write_heads=0", "greater than 0"),
    ("memory.shift_range=4", "memory.shift_range=4 must be odd"),
    ("memory.shift_range=-3", "memory.shift_range=-3", "greater than 0"),
    ("memory.shift_range=5 memory.num_slots=4", "memory.shift_range=5 needs at least 5 slots", "memory.num_slots=4"),
    ("memory.initial_std=-1", "memory.initial_std=-1", "greater than or equal to 0"),
    ("memory.initial_std=nan", "memory.initial_std=nan", "finite"),
    ("memory.initial_constant=inf", "memory.initial_constant=inf", "finite"),
    ("memory.order=random", "memory.order=random", "write_then_read"),
    ("memory.addressing=location", "memory.addressing=location", "content_and_location"),
    ("memory.initial_weighting=two_hot", "memory.initial_weighting=two_hot", "one_hot"),
    ("controller.hidden_size=0", "controller.hidden_size=0", "greater than 0"),
    ("controller.num_layers=-1", "controller.num_layers=-1", "greater than 0"),
    ("controller.initial_state=zero", "controller.initial_state=zero", "constant"),
    ("loss=huber loss.delta=0", "loss.delta=0", "greater than 0"),
    ("loss=huber loss.delta=nan", "loss.delta=nan", "finite"),
    ("compile=perhaps", "compile=perhaps", "boolean"),
    ("compile=true engine=fused", "compile=true is for the eager machine", "Set engine=auto or engine=eager"),
    ("engine=turbo", "engine=turbo", "auto"),
    ("task.batch_size=0", "task.batch_size=0", "greater than 0"),
    ("task.num_bits=0", "task.num_bits=0", "greater than 0"),
    ("task.min_length=0", "task.min_length=0", "greater than 0"),
    ("task.min_length=21", "task.min_length=21", "task.max_length=20"),
    ("task=recall task.min_length=1", "task.min_length=1 must be at least 2"),
    ("task=recall task.item_length=0", "task.item_length=0", "greater than 0"),
    ("memory.initial_weighting=learned", "memory.initial_weighting=learned gives every slot a", "training_slots=null"),
    ("memory.training_slots=[24,200]", "training_slots=[24,200] goes beyond memory.num_slots=128", "=[24,128]"),
    ("task.test_lengths=[]", "task.test_lengths=[]", "at least 1 item"),
    ("task.test_lengths=[10,-1]", "task.test_lengths", "-1"),
    ("task.test_lengths=[10,20,10]", "task.test_lengths=[10, 20, 10]", "twice"),
    ("task=repeat_copy task.test_lengths=[2,[2,2]]", "task.test_lengths=[2, [2, 2]]", "twice"),
    ("task.test_lengths=[[10,20]]", "task.test_lengths", "10, 20"),
    ("task.probe_length=[2,3]", "task.probe_length", "2, 3"),
    ("task=repeat_copy task.far_length=[20,0]", "task.far_length=[20, 0]", "greater than 0"),
    ("task=repeat_copy task.test_lengths=[[1,2,3]]", "task.test_lengths=[[1, 2, 3]]", "[vectors, repeats]"),
    ("task=repeat_copy task.min_length=[1,11]", "task.min_length=[1, 11] exceeds task.max_length=[10, 10]"),
    ("task=sort task.num_wanted=0", "task.num_wanted=0", "greater than 0"),
    ("task=ngrams task.num_context=-5", "task.num_context=-5", "greater than 0"),
    ("task.validation_size=0", "task.validation_size=0", "greater than 0"),
    ("task.test_size=0", "task.test_size=0", "greater than 0"),
    ("task.probe_length=0", "task.probe_length=0"),
    ("task.layout=pyramid", "task.layout=pyramid", "keras"),
    ("optimizer.lr=-1", "optimizer.lr=-1"),
    ("optimizer.lr=nan", "optimizer.lr=nan", "finite"),
    ("optimizer.lr=inf", "optimizer.lr=inf", "finite"),
    ("optimizer.alpha=-2", "optimizer.alpha=-2"),
    ("optimizer.alpha=2", "optimizer.alpha=2"),
    ("optimizer.momentum=-1", "optimizer.momentum=-1"),
    ("optimizer.momentum=2", "optimizer.momentum=2"),
    ("optimizer.eps=-1", "optimizer.eps=-1"),
    ("optimizer.eps_in_root=perhaps", "optimizer.eps_in_root=perhaps"),
    ("optimizer=adam optimizer.betas=[2,2]", "optimizer.betas"),
    ("optimizer=adam optimizer.betas=[0.9]", "optimizer.betas"),
    ("optimizer=graves optimizer.lr=0", "optimizer.lr=0", "greater than 0"),
    ("optimizer=graves optimizer.alpha=1", "optimizer.alpha=1", "less than 1"),
    ("optimizer=graves optimizer.eps=0", "optimizer.eps=0", "greater than 0"),
    ("scheduler=cosine scheduler.T_max=0", "scheduler.T_max=0"),
    ("scheduler=constant scheduler.factor=-1", "scheduler.factor=-1"),
    ("scheduler=constant scheduler.factor=2", "scheduler.factor=2"),
    # the trainer
    ("trainer.max_steps=0", "trainer.max_steps=0", "greater than 0"),
    ("trainer.max_steps=-5", "trainer.max_steps=-5"),
    ("trainer.max_steps=-1", "trainer.max_steps=-1"),
    ("trainer.max_steps=1.5", "trainer.max_steps=1.5"),
    ("trainer.max_epochs=9", "trainer.max_epochs=9", "-1"),
    ("trainer.accumulate_grad_batches=4", "not set yet. Put a + before it: +trainer.accumulate_grad_batches=..."),
    ("+trainer.overfit_batches=5", "trainer.overfit_batches=5", "should be 0"),
    ("trainer.check_val_every_n_epoch=2", "trainer.check_val_every_n_epoch=2", "should be None"),
    ("+trainer.logger=false", "trainer.logger follows from other choices"),
    ("+task.seed=9", "task.seed follows from other choices"),
    ("trainer.devices=2 +trainer.strategy=ddp_fork", "trainer.strategy=ddp_fork", "Set trainer.strategy=ddp."),
    (
        "scheduler=constant scheduler._target_=torch.optim.lr_scheduler.ReduceLROnPlateau scheduler.factor=0.5",
        "ReduceLROnPlateau waits for a figure",
    ),
    ("+trainer.limit_train_batches=5", "trainer.limit_train_batches=5", "should be None"),
    ("+trainer.limit_val_batches=0", "trainer.limit_val_batches=0", "greater than 0"),
    ("+trainer.limit_test_batches=0.5", "trainer.limit_test_batches=0.5", "integer"),
    ("trainer.val_check_interval=0", "trainer.val_check_interval=0"),
    ("trainer.val_check_interval=-2", "trainer.val_check_interval=-2"),
    ("trainer.val_check_interval=0.5", "trainer.val_check_interval=0.5"),
    ("threads=0", "threads=0", "greater than 0"),
    ("trainer.gradient_clip_val=-1", "trainer.gradient_clip_val=-1"),
    ("trainer.gradient_clip_val=much", "trainer.gradient_clip_val=much"),
    ("trainer.gradient_clip_algorithm=scissors", "trainer.gradient_clip_algorithm=scissors"),
    ("trainer.log_every_n_steps=0", "trainer.log_every_n_steps=0"),
    ("trainer.log_every_n_steps=-1", "trainer.log_every_n_steps=-1"),
    ("trainer.accelerator=abacus", "trainer.accelerator=abacus is not to be had here", "Leave it out"),
    ("trainer.accelerator=mps", "trainer.accelerator=mps is not to be had here", "Leave it out"),
    ("trainer.devices=0", "trainer: ", "devices=0"),
    ("trainer.devices=-3", "trainer: ", "int > 0"),
    ("+trainer.accumulate_grad_batches=0", "trainer.accumulate_grad_batches=0"),
    ("+trainer.accumulate_grad_batches=3", "trainer.val_check_interval=500 must be a multiple of", "batches=3"),
    ("trainer.precision=3", "trainer.precision=3", "64-true"),
    ("trainer.precision=16-mixed", "trainer.precision=16-mixed", "32-true"),
    ("trainer.precision=bf16-true", "trainer.precision=bf16-true", "32-true"),
    ("engine=fused trainer.precision=bf16-mixed", "engine=fused does not apply", "autocast"),
    ("engine=fused memory=none", "engine=fused does not apply", "NoMemory", "engine=auto"),
    ("engine=fused trainer.precision=64-true", "engine=fused does not apply", "float64"),
    ("trainer.num_sanity_val_steps=-2", "trainer.num_sanity_val_steps=-2"),
    # watchers
    ("logger.wandb.mode=sometimes", "logger.wandb.mode=sometimes", "'online'"),
    ("logger.wandb.log_model=best", "logger.wandb.log_model=best", "all"),
    ("logger.wandb.settings.init_timeout=0", "logger.wandb.settings.init_timeout=0", "greater than 0"),
    ("logger.wandb.group=[2026]", "logger.wandb.group=[2026]", "string"),
    ("logger.wandb.tags=mine", "logger.wandb.tags=mine", "list"),
    ("logger.wandb.tags=[[1]]", "logger.wandb.tags.0=[1]", "string"),
    ("logger.wandb.project=a/b", "logger.wandb: Invalid project name 'a/b'", "'/'"),
    ("+logger.wandb.grup=x", "logger.wandb.grup is not a setting of callbacks.loggers.Wandb"),
    ("+logger.wandb.save_code=perhaps", "logger.wandb.save_code=perhaps is refused by W&B", "boolean", "leave it out"),
    ("+logger.wandb.settings.foo=1", "logger.wandb.settings.foo=1 is refused by W&B", "not permitted"),
    ("+logger.wandb.settings.base_url=moon", "logger.wandb.settings.base_url=moon is refused by W&B", "valid URL"),
    (f"logger.wandb.tags=[{'x' * 65}]", "logger.wandb.tags=['xxx", "between 1 and 64 characters"),
    ("+logger.wandb.settings.api_key=5ec2e7", "logger.wandb.settings.api_key would be written", "wandb login"),
    ("vector=png", "vector=png", "svg"),
    ("callbacks.film.growth=1", "callbacks.film.growth=1", "greater than 1"),
    ("callbacks.progress.refresh_rate=-1", "callbacks.progress.refresh_rate=-1"),
    ("callbacks.progress.refresh_rate=often", "callbacks.progress.refresh_rate=often"),
    ("+callbacks.last.every_n_train_steps=-1", "callbacks.last.every_n_train_steps=-1"),
    ("callbacks.best.monitor=val/bitz", "callbacks.best.monitor=val/bitz"),
    ("+callbacks.best.mode=max", "callbacks.best.mode=max", "'min'"),
    ("callbacks.best.monitor=val/exact", "callbacks.best.monitor=val/exact"),
    ("callbacks.solved.monitors=[]", "callbacks.solved.monitors=[]", "at least 1 item"),
    ("callbacks=patient", "callbacks would leave neither", "Put none", "callbacks=[none,...]"),
    ("callbacks=[last,rewind]", "callbacks.rewind goes back to best.ckpt", "Add best"),
    ("callbacks.best=null", "callbacks.rewind goes back to best.ckpt", "Add best"),
    ("+callbacks.best.save_top_k=3", "callbacks.best.save_top_k=3", "should be 1"),
    ("+callbacks.best.save_weights_only=true", "callbacks.best.save_weights_only=True", "should be False"),
    ("+callbacks.last.save_top_k=-2", "callbacks.last: ", "save_top_k=-2"),
    ("logger=wandb logger.wandb.mode=loud", "logger.wandb.mode=loud"),
    # what may be built
    ("loss._target_=os.system", "loss._target_=os.system may not be built"),
    ("loss._target_=torch.load", "loss._target_=torch.load may not be built"),
    ("loss._target_=ntm.machine.torch.load", "loss._target_=ntm.machine.torch.load may not be built"),
    ("loss._target_=tasks.base.torch.hub.load", "may not be built"),
    ("loss._target_=builtins.eval", "may not be built"),
    ("loss._target_=ntmx.losses.Loss", "may not be built"),
    ("loss._target_=callbacks.results.subprocess.run", "may not be built"),
    ("callbacks.best._target_=subprocess.run", "callbacks.best._target_=subprocess.run may not be built"),
    ("+memory.inner._target_=os.system", "memory.inner._target_=os.system may not be built"),
    ("loss._target_=hydra.utils.get_method", "may not be built"),
    ("loss._target_=ntm.losses.huber.Hubris", "loss", "ntm.losses.huber.Hubris"),
    ("loss._target_=lightning.pytorch.cli.LightningCLI", "may not be built"),
    ("loss._target_=ntm.checkpoints.read_checkpoint +loss.path=x", "loss._target_=ntm.checkpoints.read_checkpoint"),
    ("loss._target_=tasks.copy.Copy", "loss._target_=tasks.copy.Copy"),
    ("loss._target_=ntm.losses.base.masked_mean", "loss._target_=ntm.losses.base.masked_mean may not be built"),
    ("loss._target_=ntm.losses.huber", "loss._target_=ntm.losses.huber may not be built"),
    ("loss._target_=ntm.losses.huber.Huber.load_state_dict", "may not be built"),
    ("callbacks.results._target_=callbacks.results.commit", "may not be built"),
    ("controller._target_=ntm.controllers.lstm.LSTMController.__init__.__globals__", "may not be built"),
    ("trainer._target_=lightning.pytorch.trainer.call._call_and_handle_interrupt", "may not be built"),
    ("trainer._target_=lightning.pytorch.trainer.connectors.signal_connector.call", "may not be built"),
    (
        "logger=wandb logger.wandb._target_=lightning.pytorch.loggers.wandb.WandbLogger.download_artifact",
        "not be built",
    ),
    ("scheduler._target_=torch.optim.lr_scheduler.partial", "may not be built"),
    ("optimizer._target_=torch.optim.optimizer.pickle.loads", "optimizer._target_=torch.optim.optimizer.pickle"),
]


@pytest.fixture
def said(monkeypatch, capsys, tmp_path):
    """Runs what a user would, in an empty folder; the one line that it says, if it leaves nothing behind."""
    monkeypatch.chdir(tmp_path)

    def command(run: Callable[[], object]) -> str:
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(SystemExit) as ended, exit_on_mistake():
            run()
        assert ended.value.code == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert sorted(tmp_path.rglob("*")) == before
        return err

    return command


@pytest.mark.parametrize(("overrides", "words"), [(o, words) for o, *words in MISTAKES], ids=[m[0] for m in MISTAKES])
def test_a_mistake_in_training_is_one_line(overrides, words, said):
    line = said(lambda: train.check(compose(*overrides.split())))
    assert [word for word in words if word not in line] == []


def test_a_number_or_a_switch_that_is_written_otherwise_is_taken_as_it_is_meant():
    cfg = compose("trainer.max_steps=1e3", "threads=2.0", "compile=off", "seed=7")
    check_settings(cfg)
    meant = (cfg.trainer.max_steps, cfg.threads, cfg.compile, cfg.seed)
    assert meant == (1000, 2, False, 7)
    assert [type(value) for value in meant] == [int, int, bool, int]


def test_a_number_is_a_name_where_a_name_is_asked_for():
    words = ("project", "entity", "group", "job_type", "name", "notes")
    cfg = compose(*(f"logger.wandb.{word}=2026" for word in words), "logger.wandb.tags=[1,mine]")
    check_settings(cfg)
    assert [cfg.logger.wandb[word] for word in words] == ["2026"] * len(words)
    assert cfg.logger.wandb.tags == ["1", "mine"]


# --- checkpoints


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Of two steps."""
    folder = tmp_path_factory.mktemp("run")
    cfg = compose(*TINY, output_dir=folder)
    task, learner, trainer = train.build(cfg)
    trainer.fit(learner, datamodule=task)
    return folder / "checkpoints/last.ckpt"


class Malice:
    """What a stranger may put into a file: unpickling it would make a folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def flipped(data: bytes) -> bytes:
    """With one bit of a weight changed."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


DAMAGES = {
    "empty": lambda data: b"",
    "truncated": lambda data: data[: len(data) // 2],
    "one bit flipped": flipped,
    "text": lambda data: b"not a checkpoint",
}
PROGRAMS = {
    "train": lambda path: train.check(compose(*TINY, "trainer.max_steps=9", f"checkpoint={path}")),
    "evaluate": lambda path: evaluate.evaluate(OmegaConf.create({"checkpoint": str(path)})),
}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_refused(program, damage, checkpoint, said, tmp_path):
    path = tmp_path / "damaged.ckpt"
    path.write_bytes(DAMAGES[damage](checkpoint.read_bytes()))
    assert f"checkpoint={path} " in said(lambda: PROGRAMS[program](path))


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("name", ["missing.ckpt", "", "runs/missing.ckpt"])
def test_a_missing_checkpoint_is_refused(program, name, said, tmp_path):
    assert said(lambda: PROGRAMS[program](tmp_path / name)).startswith(
        f"error: checkpoint={tmp_path / name} is not a file"
    )


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("kind", ["alone", "among the weights"])
def test_a_malicious_checkpoint_runs_nothing(program, kind, checkpoint, said, tmp_path):
    harm = Malice(tmp_path / "harm")
    path = tmp_path / "malicious.ckpt"
    torch.save(harm if kind == "alone" else torch.load(checkpoint, weights_only=True) | {"harm": harm}, path)
    assert f"checkpoint={path} cannot be read" in said(lambda: PROGRAMS[program](path))
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_checkpoint_of_another_project_is_refused(program, said, tmp_path):
    path = tmp_path / "other.ckpt"
    torch.save({"state_dict": {}, "epoch": 3}, path)
    assert "not a checkpoint of this project" in said(lambda: PROGRAMS[program](path))


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("memory.num_slots=64", "machine.memory.M_0.value"),
        ("controller=feedforward", "machine.controller"),
        ("controller.hidden_size=7", "machine.controller"),
        ("memory=none", "machine.controller"),
        ("task=recall", "machine.controller"),
    ],
)
def test_a_checkpoint_of_another_machine_is_refused_with_the_difference(override, part, checkpoint, said):
    line = said(lambda: train.check(compose(*TINY, override, "trainer.max_steps=9", f"checkpoint={checkpoint}")))
    assert f"checkpoint={checkpoint} holds another machine" in line
    assert part in line


def test_a_machine_to_begin_with_must_fit_but_for_what_is_constant(checkpoint, said):
    given = f"weights={checkpoint}"
    train.check(compose(*TINY, "memory.num_slots=64", "loss=huber", "optimizer=adam", given))
    line = said(lambda: train.check(compose(*TINY, "controller.hidden_size=7", given)))
    assert f"{given} holds another machine: its machine.controller" in line
    assert "weights=nowhere is not a file" in said(lambda: train.check(compose(*TINY, "weights=nowhere")))


@pytest.mark.parametrize(
    ("override", "remedy"),
    [("memory.squash=true", "memory.squash=false"), ("memory.order=read_then_write", "memory.order=write_then_read")],
)
def test_weights_that_would_mean_something_else_are_refused(override, remedy, checkpoint, said):
    line = said(lambda: train.check(compose(*TINY, override, f"weights={checkpoint}")))
    assert line.rstrip().endswith(f"and would mean something else with {override}. Set {remedy}.")


def test_weights_from_before_there_was_a_choice_mean_what_they_did(checkpoint, tmp_path, said):
    older = torch.load(checkpoint, weights_only=True)
    del older["config"]["memory"]["squash"]
    torch.save(older, tmp_path / "older.ckpt")
    given = f"weights={tmp_path / 'older.ckpt'}"
    assert said(lambda: train.check(compose(*TINY, given))).rstrip().endswith("Set memory.squash=true.")
    train.check(compose(*TINY, "memory.squash=true", given))


def test_a_run_that_has_had_all_its_steps_cannot_go_on(checkpoint, said):
    line = said(lambda: train.check(compose(*TINY, f"checkpoint={checkpoint}")))
    assert "is of step 2" in line
    assert "trainer.max_steps=2" in line


# --- evaluate.py


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({}, ["checkpoint is missing", "python evaluate.py checkpoint="]),
        ({"task": {"test_length": [3]}}, ["task.test_length", "task.test_lengths"]),
        ({"speed": 3}, ["speed"]),
        ({"logger": "csv"}, ["logger cannot be chosen", "into its folder alone"]),
        ({"logger": {"wandb": {"mode": "online"}}}, ["logger cannot be chosen"]),
        ({"weights": "other.ckpt"}, ["weights is of training"]),
        ({"optimizer": {"lr": 1}}, ["optimizer is of training"]),
        ({"task": "recall"}, ["task=recall cannot be chosen", "task.NAME=VALUE"]),
        ({"checkpoint": 5}, ["error: checkpoint=5 is not a file"]),
        ({"task": {"test_lengths": [0]}}, ["task.test_lengths=[0]", "greater than 0"]),
        ({"memory": {"num_slots": 0}}, ["memory.num_slots=0", "greater than 0"]),
        ({"memory": {"slot_width": 8}}, ["holds another machine", "machine.controller"]),
        ({"loss": {"_target_": "os.system"}}, ["loss._target_=os.system may not be built"]),
        ({"output_dir": None}, ["output_dir=None should be a valid string"]),
        ({"output_dir": f"{__file__}/new"}, [f"output_dir={__file__}/new cannot be made: {__file__} is a file"]),
        ({"output_dir": "/proc/new"}, ["output_dir=/proc/new cannot be written: /proc: "]),
    ],
)
def test_a_mistake_in_evaluating_is_one_line(overrides, words, checkpoint, said):
    given = {"checkpoint": str(checkpoint)} if overrides else {}
    line = said(lambda: evaluate.evaluate(OmegaConf.create(given | overrides)))
    assert [word for word in words if word not in line] == []


def test_a_word_that_is_not_a_setting_is_taken_for_the_checkpoint(said, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["evaluate.py", "run/best.ckpt"])
    assert "Did you mean checkpoint=run/best.ckpt?" in said(evaluate.main)


def test_a_word_that_yaml_cannot_read_is_told(said, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["evaluate.py", "checkpoint=best.ckpt", "task.test_lengths=[33"])
    assert "task.test_lengths=[33 cannot be read" in said(evaluate.main)


def test_an_evaluation_takes_paths_as_they_are_and_what_lightning_takes(checkpoint, tmp_path, monkeypatch):
    folder = tmp_path / "a run: #2"
    folder.mkdir()
    shutil.copyfile(checkpoint, folder / "best.ckpt")
    words = [f"checkpoint={folder}/best.ckpt", f"output_dir={folder}/it #3", "+trainer.limit_test_batches=1"]
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *words, "callbacks.report=null"])
    evaluate.main()
    assert (folder / "it #3/results.json").exists()


def test_what_lightning_finds_wrong_once_it_trains_is_one_line(tmp_path):
    swa = "{_target_:lightning.pytorch.callbacks.StochasticWeightAveraging,swa_lrs:0.01}"
    with pytest.raises(ConfigError, match="trainer: "):
        train.run(compose(*TINY, f"+callbacks.swa={swa}", output_dir=tmp_path))


@pytest.mark.parametrize(
    ("ranks", "first"),
    [({}, True), ({"LOCAL_RANK": "1"}, False), ({"SLURM_PROCID": "1"}, False), ({"SLURM_PROCID": "0"}, True)],
)
def test_a_run_is_begun_by_its_first_process(ranks, first, monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, rank in ranks.items():
        monkeypatch.setenv(name, rank)
    assert is_first_process() == first


@pytest.mark.parametrize(("chosen", "bars"), [("callbacks.progress=null", 0), ("callbacks.progress.refresh_rate=9", 1)])
def test_a_bar_is_drawn_where_a_callback_draws_one_alone(chosen, bars, tmp_path):
    trainer = train.build(compose(*TINY, chosen, output_dir=tmp_path))[2]
    assert sum(isinstance(callback, ProgressBar) for callback in trainer.callbacks) == bars


def test_an_evaluation_never_goes_where_another_is(checkpoint, said, tmp_path):
    (tmp_path / "results.json").touch()
    given = {"checkpoint": str(checkpoint), "output_dir": str(tmp_path)}
    assert f"output_dir={tmp_path} already holds results" in said(lambda: evaluate.evaluate(OmegaConf.create(given)))


@pytest.mark.parametrize(("place", "beside"), [("checkpoints", "evaluation"), ("kept", "kept/evaluation")])
def test_an_evaluation_lands_in_its_run_whatever_device_that_had(place, beside, checkpoint, tmp_path, monkeypatch):
    kept = torch.load(checkpoint, weights_only=True)
    kept["config"]["trainer"] |= {"accelerator": "cuda", "devices": 8, "strategy": "ddp"}
    (tmp_path / place).mkdir()
    torch.save(kept, tmp_path / place / "best.ckpt")
    monkeypatch.chdir(tmp_path / place)
    evaluate.evaluate(OmegaConf.create({"checkpoint": "best.ckpt"}))
    assert list((tmp_path / beside).glob("*/results.json"))


def test_an_evaluation_shows_all_that_a_test_can_show_whatever_watched_the_training(checkpoint, tmp_path, monkeypatch):
    kept = torch.load(checkpoint, weights_only=True)
    own = {"_target_": "callbacks.episode.Episode", "every": 9, "folder": "${output_dir}/own", "vector": "svg"}
    kept["config"]["callbacks"] = {"weightings": None, "episode": own}
    torch.save(kept, tmp_path / "kept.ckpt")
    monkeypatch.chdir(tmp_path)
    off = {"callbacks": {"animation": None, "memory": None}}
    evaluate.evaluate(OmegaConf.create({"checkpoint": "kept.ckpt", "output_dir": 2026} | off))
    left = {str(path.relative_to("2026")) for path in Path("2026").rglob("*") if path.is_file()}
    figures = ("weightings", "evolution", "written_and_read", "addressing", "lengths", "generalisation")
    assert left == {
        *("report.html", "results.json", "metrics.csv", "own/episode_00000004.png", "own/episode_00000004.svg"),
        *(f"figures/{name}_00000004.png" for name in figures),
    }


def test_a_machine_is_measured_without_what_watched_its_training_and_is_gone(checkpoint, tmp_path, caplog):
    kept = torch.load(checkpoint, weights_only=True)
    kept["config"]["callbacks"] |= {"bygone": {"_target_": "callbacks.bygone.Bygone", "every": 3}}
    torch.save(kept, tmp_path / "kept.ckpt")
    evaluate.evaluate(OmegaConf.create({"checkpoint": str(tmp_path / "kept.ckpt")}))
    assert list(tmp_path.glob("evaluation/*/results.json"))
    assert "callbacks.bygone._target_=callbacks.bygone.Bygone does not exist" in caplog.text


def test_nothing_goes_on_from_a_machine_that_was_shipped_without_its_training(said):
    shipped = ROOT / "models/copy.ckpt"
    line = said(lambda: train.check(compose(f"checkpoint={shipped}")))
    assert f"checkpoint={shipped} holds a machine, and not the training" in line
    assert f"weights={shipped}" in line


# --- the whole way from the command line


@pytest.fixture
def shell(monkeypatch, said):
    """What `python train.py ...` says."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")

    def command(*overrides: str) -> str:
        monkeypatch.setattr(sys, "argv", [train.__file__, *overrides])
        GlobalHydra.instance().clear()
        return said(lambda: cli(train.main))

    yield command
    GlobalHydra.instance().clear()


def test_a_command_is_read_where_python_checks_every_help_text_too(shell, monkeypatch):
    """As Python does since 3.14; Hydra gives it one that is none yet."""

    def checked(self, *words, **options):
        action = added(self, *words, **options)
        self._check_help(action)
        return action

    def check_help(self, action):
        if action.help:
            self._get_formatter()._expand_help(action)

    added = ArgumentParser.add_argument
    monkeypatch.setattr(ArgumentParser, "add_argument", checked)
    monkeypatch.setattr(ArgumentParser, "_check_help", check_help, raising=False)
    with pytest.raises(TypeError):
        get_args_parser()
    assert "task=recal is not an option" in shell("task=recal")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ("task=recal", ["task=recal is not an option", "task=recall"]),
        ("memory.num_slot=8", ["Did you mean memory.num_slots?"]),
        ("memory.num_slots=[", ["memory.num_slots=["]),
        ("memory.shift_range=4", ["memory.shift_range=4 must be odd"]),
        ("trainer.max_steps=-5", ["trainer.max_steps=-5"]),
        ("optimizer.momentum=-1", ["optimizer.momentum=-1"]),
        ("checkpoint=nowhere.ckpt", ["checkpoint=nowhere.ckpt is not a file"]),
        ("hydra.run.dir=${nothing}", ["nothing"]),
        ("memory=null", ["memory=null is not an option", "matrix, none"]),
        ("loss=[null]", ["loss=null is not an option", "cross_entropy, huber"]),
        ("logger=[csv,1]", ["logger=1 is not an option", "csv, tensorboard, wandb"]),
        ("seed=2 debug=true", ["error: debug=true is not an option", "short"]),
        ("experiment=paper/shared/ntm", ["experiment=paper/shared/ntm is not an option", "paper/copy_lstm"]),
        ("loss=huber,cross_entropy", ["loss=huber,cross_entropy is more than one run", "-m"]),
        ("loss=huber,cross_entropy taks=copy", ["error: taks is not a setting. Did you mean task?"]),
        ("search=optuna seed=1,2 taks=copy", ["error: taks is not a setting. Did you mean task?"]),
        ("search=optuna optimizer.lr=interval(1e-4,1e-2) taks=copy", ["error: taks is not a setting"]),
        ("search=optuna seed=1,2 hydra.sweeper.n_jobs=2", ["error: hydra.sweeper.n_jobs is not a setting"]),
        ("--seed=3", ["unrecognized arguments: --seed=3", "without dashes"]),
        ("--cfg=nothing", ["argument --cfg", "invalid choice"]),
        ("resume=nowhere", ["resume=nowhere holds no run"]),
        ("resume=. -m", ["resume=. holds no run"]),
        ("++resume=nowhere", ["resume=nowhere is for the command line"]),
        ("hydra.run.dir=/proc/new", ["hydra.run.dir=/proc/new cannot be written: /proc: "]),
        ("-m seed=0,1 hydra.sweep.dir=/proc/new", ["hydra.sweep.dir=/proc/new cannot be written: /proc: "]),
        (f"hydra.run.dir={'x' * 300}", ["File name too long"]),
        ("memory.num_slots=\n[", ["cannot be read"]),
    ],
)
def test_a_mistake_on_the_command_line_leaves_no_folder(overrides, words, shell):
    line = shell(*overrides.split())
    assert [word for word in words if word not in line] == []


@pytest.mark.parametrize("left", [".hydra", "checkpoints", "results.json"])
@pytest.mark.parametrize("given", ["run", "new/../run"])
def test_a_run_never_goes_into_the_folder_of_another(given, left, shell, tmp_path):
    (tmp_path / "run" / left).mkdir(parents=True)
    assert f"hydra.run.dir={given} already holds a run" in shell(f"hydra.run.dir={given}")


@pytest.mark.parametrize("words", [["hydra.run.dir=notes/run"], ["-m", "seed=0,1", "hydra.sweep.dir=notes/run"]])
def test_a_run_or_a_sweep_never_goes_where_a_file_is(words, shell, tmp_path):
    (tmp_path / "notes").touch()
    assert f"{words[-1]} cannot be made: {tmp_path / 'notes'} is a file" in shell(*words)


@pytest.mark.parametrize("mistake", ["seed=-1", "checkpoint=nowhere.ckpt"])
def test_a_mistake_in_one_job_of_a_sweep_is_one_line(mistake, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(sys, "argv", [train.__file__, "-m", mistake, "logger=csv"])
    GlobalHydra.instance().clear()
    with pytest.raises(SystemExit) as ended:
        cli(train.main)
    GlobalHydra.instance().clear()
    assert ended.value.code == 2
    assert f"error: {mistake} " in capsys.readouterr().err
    assert not list(tmp_path.rglob("metrics.csv"))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import no_such_package", ["cannot be imported", "no_such_package"]),
        ("from ntm.batch import Bach", ["cannot be imported", "Bach"]),
        ("", ["does not exist", "Name a class in tasks"]),
    ],
)
def test_a_task_of_ones_own_that_cannot_be_imported_says_why(code, words, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(code)
    monkeypatch.setattr("tasks.__path__", [*tasks.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "tasks.mine", raising=False)
    with pytest.raises(ConfigError, match=r"task._target_=tasks.mine.Mine .*") as error:
        check_target("task._target_", "tasks.mine.Mine")
    assert all(word in str(error.value) for word in words)
