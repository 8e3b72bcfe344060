"""No run is lost and no wrong number is silent: each fault is a real one, with a real run that meets it."""

import contextlib
import csv
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import lightning as L
import pytest
import torch
from fakes import ROOT, TINY, compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import OmegaConf

import train
from callbacks.metrics import read_rows
from callbacks.rows import Rows
from conf.check import ConfigError, check_writable, cli, explained
from conf.resume import ONE_RUN, changes, chosen, expand, holding, newest_checkpoint
from ntm.checkpoints import Checkpoints, read_checkpoint

sys.path.append(str(ROOT / "benchmarks"))
import kill

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

FAKE = {"state_dict": {"w": torch.zeros(3)}, "config": {}, "sequences": 0, "callbacks": {}, "optimizer_states": []}
STEADY = (*TINY, "scheduler=constant", "trainer.max_steps=4")  # a rate that does not depend on how long it goes on


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The folder of a run of four steps, measured after two and four."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    command(folder.parent, *STEADY, "hydra.run.dir=run")
    return folder


def command(where: Path, *words: str) -> None:
    """`python train.py`, in this process."""
    before, handlers = (Path.cwd(), sys.argv), [*logging.root.handlers]
    GlobalHydra.instance().clear()
    try:
        os.chdir(where)
        sys.argv = [train.__file__, *words]
        os.environ["HYDRA_FULL_ERROR"] = "1"
        cli(train.main)
    finally:
        os.chdir(before[0])
        sys.argv = before[1]
        for handler in {*logging.root.handlers} - {*handlers}:  # Hydra's would outlive what they write to
            logging.root.removeHandler(handler)
            handler.close()
        del os.environ["HYDRA_FULL_ERROR"]
        GlobalHydra.instance().clear()


def short(folder: Path, *overrides: str):
    cfg = compose(*TINY, *overrides, output_dir=folder)
    torch.manual_seed(cfg.seed)
    return train.build(cfg)


# --- killed


def test_a_run_that_is_killed_and_resumed_ends_as_one_that_was_left_alone(tmp_path):
    words = [*kill.TINY, "engine=eager", "trainer.max_steps=30", "callbacks=[none,rewind,average]"]
    struck, _, differing = kill.compare(words, kills=3, folder=tmp_path, seed=0)
    assert struck
    assert differing == []


def test_a_run_that_is_killed_while_it_is_measured_at_its_end_is_measured_again_and_no_more(tmp_path):
    words = [*kill.TINY, "engine=eager", "trainer.max_steps=10", f"hydra.run.dir={tmp_path}"]
    said = tmp_path.with_suffix(".txt")
    assert kill.wait(kill.start(words, said)) == 0
    straight = kill.outcome(tmp_path)
    (tmp_path / "results.json").unlink()
    assert kill.wait(kill.start([f"resume={tmp_path}"], said)) == 0
    assert kill.outcome(tmp_path) == straight


# --- checkpoints


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 256 KiB, which is not that of temporary files."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root mounts a disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_is_full_costs_the_new_checkpoint_alone(small_disk):
    path = small_disk / "checkpoints" / "last.ckpt"
    io = Checkpoints()
    io.save_checkpoint(FAKE | {"sequences": 1}, path)
    with pytest.raises(OSError, match=r"last.ckpt could not be written \(No space left on device\). The one before"):
        io.save_checkpoint(FAKE | {"state_dict": {"w": torch.zeros(400_000)}}, path)
    assert read_checkpoint(str(path))["sequences"] == 1
    assert list(path.parent.iterdir()) == [path]


def test_a_run_that_fills_the_disk_says_so_in_one_line_and_keeps_its_last_checkpoint(small_disk, capsys):
    size = "controller.hidden_size=4", "memory.num_slots=4", "memory.slot_width=2", "memory.training_slots=null"
    stays, grows = [*TINY, *size, "trainer.max_steps=2", "hydra.run.dir=run"], [*TINY, "hydra.run.dir=other"]
    command(small_disk, *stays)
    before = (small_disk / "run/checkpoints/last.ckpt").read_bytes()
    with pytest.raises(SystemExit) as ended:
        command(small_disk, *grows)
    assert ended.value.code == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert "No space left on device" in line
    assert (small_disk / "run/checkpoints/last.ckpt").read_bytes() == before


def test_a_sweep_that_fills_the_disk_says_so_without_a_traceback(small_disk, capsys):
    with pytest.raises(SystemExit) as ended:
        command(small_disk, "-m", *STEADY, "seed=0,1", "hydra.sweep.dir=sweep")
    assert ended.value.code == 1
    told = "".join(capsys.readouterr())
    assert "error: " in told
    assert "No space left on device" in told
    assert "Traceback" not in told
    assert all(file.read_text() for file in small_disk.glob("sweep/*/outcome.txt"))  # no half a reason


def test_a_checkpoint_never_passes_through_the_folder_for_temporary_files(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", "/nowhere")
    monkeypatch.setattr(tempfile, "tempdir", None)
    Checkpoints().save_checkpoint(FAKE, tmp_path / "last.ckpt")
    assert read_checkpoint(str(tmp_path / "last.ckpt"))["sequences"] == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("part", ["state_dict", "optimizer_states"])
def test_a_checkpoint_that_is_not_finite_is_never_written(part, value, tmp_path):
    path = tmp_path / "last.ckpt"
    Checkpoints().save_checkpoint(FAKE, path)
    before = path.read_bytes()
    with pytest.raises(FloatingPointError, match=rf"{part}.* is not finite, so no checkpoint was written"):
        Checkpoints().save_checkpoint(FAKE | {part: {"w": torch.tensor([0, value])}}, path)
    assert path.read_bytes() == before


def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before(finished, tmp_path, caplog):
    for name in ("best.ckpt", "last.ckpt"):
        data = (finished / "checkpoints" / name).read_bytes()
        (tmp_path / "checkpoints").mkdir(exist_ok=True)
        (tmp_path / "checkpoints" / name).write_bytes(data[: len(data) // (1 if name == "best.ckpt" else 2)])
    assert newest_checkpoint(tmp_path).name == "best.ckpt"
    assert "last.ckpt is damaged" in caplog.text


# --- not a number


class Spoil(L.Callback):
    """Puts nan into one place before a step."""

    def __init__(self, step: int, where: str):
        self.step, self.where = step, where

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if trainer.global_step + 1 == self.step:
            target = {"inputs": batch.inputs, "targets": batch.targets}.get(self.where)
            with torch.no_grad():
                (pl_module.machine.get_parameter(self.where) if target is None else target).view(-1)[-1] = torch.nan


@pytest.mark.parametrize("engine", ["eager", "fused"])
@pytest.mark.parametrize(
    ("where", "named"),
    [
        ("inputs", "the inputs is"),
        ("targets", "the targets is"),
        ("controller.cells.0.weight_hh", "weight controller.cells.0.weight_hh is"),
    ],
)
def test_nan_ends_the_run_on_its_step_and_names_what_was_first(engine, where, named, tmp_path):
    task, learner, trainer = short(tmp_path, f"engine={engine}", "trainer.max_steps=6", "trainer.val_check_interval=2")
    trainer.callbacks.append(Spoil(5, where))
    with pytest.raises(FloatingPointError) as ended:
        trainer.fit(learner, datamodule=task)
    assert trainer.global_step == 4
    last = tmp_path / "checkpoints" / "last.ckpt"
    for words in (named, "not finite in step 5", f"The last good checkpoint: {last}."):
        assert words in str(ended.value)
    assert read_checkpoint(str(last))["global_step"] == 4


def test_an_infinite_gradient_of_a_finite_loss_ends_the_run_too(tmp_path):
    task, learner, trainer = short(tmp_path)
    learner.machine.output.bias.register_hook(lambda gradient: gradient * torch.inf)
    with pytest.raises(FloatingPointError, match=r"gradient of output.bias is not finite in step 1; .* none yet"):
        trainer.fit(learner, datamodule=task)


@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_a_gradient_whose_squares_overflow_is_clipped_as_any_other(algorithm, tmp_path):
    words = ("trainer.gradient_clip_val=10", f"trainer.gradient_clip_algorithm={algorithm}")
    task, learner, trainer = short(tmp_path, *words, "trainer.max_steps=3")
    before = learner.machine.output.bias.detach().clone()
    learner.machine.output.bias.register_hook(lambda gradient: gradient * 1e28)
    norms, check = [], learner.check_finite
    learner.check_finite = lambda loss, norm: (norms.append(norm), check(loss, norm))
    trainer.fit(learner, datamodule=task)
    assert trainer.global_step == 3
    assert all(1e20 < norm < float("inf") for norm in norms)
    assert all(parameter.isfinite().all() for parameter in learner.parameters())
    assert not torch.equal(learner.machine.output.bias, before)


def test_a_gradient_whose_squares_overflow_ends_a_run_that_clips_nothing(tmp_path):
    task, learner, trainer = short(tmp_path, "trainer.gradient_clip_val=null")
    learner.machine.output.bias.register_hook(lambda gradient: gradient * 1e28)
    with pytest.raises(FloatingPointError, match="the norm of the gradient is not finite in step 1"):
        trainer.fit(learner, datamodule=task)


def test_a_run_that_explodes_is_one_line_and_leaves_no_checkpoint_of_it(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        command(tmp_path, *TINY, "optimizer.lr=1e38", "trainer.max_steps=50", "hydra.run.dir=run")
    assert ended.value.code == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert "is not finite" in line
    assert not list(tmp_path.glob("run/checkpoints/*"))


# --- told to end


@pytest.mark.parametrize(("signals", "code"), [([signal.SIGTERM], 143), ([signal.SIGINT], 130)])
def test_a_run_that_is_told_to_end_leaves_a_checkpoint_and_the_command_to_go_on(signals, code, tmp_path):
    words = [*TINY, "trainer.max_steps=100000", "trainer.val_check_interval=50000", "hydra.run.dir=" + str(tmp_path)]
    child = kill.start(words, tmp_path.with_suffix(".txt"))
    metrics = tmp_path / "metrics.csv"
    until = time.monotonic() + 60
    while not metrics.exists() and time.monotonic() < until:
        time.sleep(0.01)
    for number in signals:
        os.kill(child, number)
    assert kill.wait(child) == code
    step = read_checkpoint(str(tmp_path / "checkpoints" / "last.ckpt"))["global_step"]
    rows = list(csv.DictReader(metrics.read_text().splitlines()))
    assert [int(row["step"]) for row in rows] == list(range(step))
    assert f"go on with: python train.py resume={tmp_path}" in tmp_path.with_suffix(".txt").read_text()


def test_ctrl_c_while_a_run_is_measured_ends_it_as_while_it_trains(tmp_path):
    words = [*TINY, "trainer.max_steps=2", "task.test_size=200000", "hydra.run.dir=" + str(tmp_path)]
    child = kill.start(words, tmp_path.with_suffix(".txt"))
    until = time.monotonic() + 60
    while not list(tmp_path.glob("checkpoints/last.ckpt")) and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.5)
    os.kill(child, signal.SIGINT)
    assert kill.wait(child) == 130
    assert not (tmp_path / "results.json").exists()
    assert f"go on with: python train.py resume={tmp_path}" in tmp_path.with_suffix(".txt").read_text()


def test_a_checkpoint_without_a_place_of_its_own_is_where_all_are(tmp_path):
    task, learner, trainer = short(tmp_path, "trainer.max_steps=2")
    trainer.callbacks.append(ModelCheckpoint(filename="mine"))
    trainer.fit(learner, datamodule=task)
    assert (tmp_path / "checkpoints" / "mine.ckpt").is_file()


# --- resumed by its folder


def expanded(folder: Path, *words: str) -> list[str]:
    return expand([f"resume={folder}", *words])


def test_a_folder_stands_for_the_command_that_made_it(finished):
    words = expanded(finished, "trainer.max_steps=8")
    assert words[: len(STEADY)] == [*STEADY]
    assert words[len(STEADY) :] == [
        "trainer.max_steps=8",
        f"resume='{finished}'",
        f"hydra.run.dir='{finished}'",
        ONE_RUN,
        f"checkpoint='{finished}/checkpoints/last.ckpt'",
    ]
    assert expand(words) == words  # as another process of the same run is started


def test_options_stand_before_the_settings_of_a_resumed_run(finished):
    words = expanded(finished, "trainer.max_steps=8", "--config-dir", "elsewhere", "~logger")
    assert words[:3] == ["--config-dir", "elsewhere", TINY[0]]
    assert "~logger" in words[3:]
    assert expand(words) == words


def test_a_run_goes_on_in_no_other_folder_than_its_own(finished):
    with pytest.raises(ConfigError, match=r"hydra.run.dir=elsewhere is not where resume=.* goes on.*checkpoint=FILE"):
        expanded(finished, "hydra.run.dir=elsewhere")
    assert expanded(finished, f"hydra.run.dir='{finished}'") == expanded(finished)


def test_a_reference_in_a_setting_is_resumed_as_it_was_written(tmp_path):
    (tmp_path / ".hydra").mkdir()
    written = ["task.probe_length=${task.max_length}"]
    (tmp_path / ".hydra" / "overrides.yaml").write_text(json.dumps(written))
    assert chosen(tmp_path) == written


def test_a_run_that_begins_where_another_has_begun_meanwhile_leaves_that_alone(tmp_path, monkeypatch, capsys):
    checked, begun = train.check, tmp_path / "run" / ".hydra"
    monkeypatch.setattr(train, "check", lambda cfg: (checked(cfg), begun.mkdir(parents=True)))
    with pytest.raises(SystemExit) as ended:
        command(tmp_path, *TINY, "hydra.run.dir=run")
    assert ended.value.code == 2
    assert "already holds a run" in capsys.readouterr().err
    assert not list(begun.iterdir())


def test_a_bug_in_a_class_says_where_it_is():
    with (
        pytest.raises(ConfigError, match=r"^loss: KeyError: 'weigths' \(.*test_trust.py, line \d+\)"),
        explained("loss", OmegaConf.create({"_target_": "ntm.x.X"})),
    ):
        {"weights": 1}["weigths"]


def test_a_folder_may_have_an_apostrophe_in_its_name(tmp_path):
    folder = tmp_path / "it's" / "run"
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text("[seed=3]")
    words = expanded(folder)
    where = next(word for word in words if word.startswith("hydra.run.dir="))
    assert where == f"hydra.run.dir='{tmp_path}/it\\'s/run'"
    assert OverridesParser.create().parse_override(where).value() == str(folder)
    assert expand(words) == words


def test_what_resumed_a_run_is_no_part_of_the_command_that_made_it(tmp_path):
    elsewhere = f"checkpoint='{tmp_path}/run10/checkpoints/last.ckpt'"
    folder = tmp_path / "run1"
    (folder / ".hydra").mkdir(parents=True)
    again = ["seed=3", elsewhere, f"resume='{folder}'", f"checkpoint='{folder}/checkpoints/last.ckpt'"]
    (folder / ".hydra" / "overrides.yaml").write_text(json.dumps(again))
    assert chosen(folder) == ["seed=3", elsewhere]
    assert expanded(folder) == ["seed=3", elsewhere, f"resume='{folder}'", f"hydra.run.dir='{folder}'", ONE_RUN]


@pytest.mark.parametrize("count", ["0", "1"])
def test_a_job_that_slurm_has_requeued_resumes_by_itself(count, finished, monkeypatch):
    monkeypatch.setenv("SLURM_RESTART_COUNT", count)
    again, fresh = [*TINY, f"hydra.run.dir={finished}"], [*TINY, "hydra.run.dir=elsewhere"]
    assert (f"resume='{finished}'" in expand(again)) == (count == "1")
    assert expand(fresh) == fresh


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("hydra.callbacks.x._target_=os.system", "which is not a setting of a run"),
        ("+hydra/launcher=joblib", "which is not a setting of a run"),
        ("--config-dir=/tmp", "which is not a setting of a run"),
    ],
)
def test_a_stranger_s_folder_says_what_to_learn_and_not_what_to_run(word, said, tmp_path):
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "overrides.yaml").write_text(json.dumps([word]))
    with pytest.raises(ConfigError, match=said):
        expanded(tmp_path)


class Malice:
    def __reduce__(self):
        return os.mkdir, ("harm",)


def test_a_stranger_s_checkpoint_runs_nothing_when_its_folder_is_resumed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, value in ((".hydra/overrides.yaml", "[]"), ("checkpoints/last.ckpt", FAKE | {"config": Malice()})):
        path = tmp_path / name
        path.parent.mkdir()
        path.write_text(value) if isinstance(value, str) else torch.save(value, path)
    with pytest.raises(ConfigError, match="has no checkpoint that can be read"):
        expanded(tmp_path)
    assert not Path("harm").exists()


def test_a_pickle_of_hydra_is_not_run(tmp_path):
    with pytest.raises(ConfigError, match="Use resume=FOLDER"):
        expand(["--experimental-r", str(tmp_path / "config.pickle")])


def changed(finished: Path, *overrides: str) -> list[str]:
    checkpoint = finished / "checkpoints" / "last.ckpt"
    cfg = compose(*STEADY, *overrides, f"checkpoint={checkpoint}", output_dir=finished)
    return changes(cfg, read_checkpoint(str(checkpoint))["config"])


def test_what_may_change_is_said(finished):
    assert changed(finished) == []
    assert changed(finished, "trainer.max_steps=8", "threads=2", "callbacks.progress.refresh_rate=1") == [
        "callbacks.progress.refresh_rate=1 (it was 50)",
        "threads=2 (it was 1)",
        "trainer.max_steps=8 (it was 4)",
    ]


def test_a_run_from_before_there_was_a_choice_goes_on_with_what_there_was(finished):
    checkpoint = read_checkpoint(str(finished / "checkpoints" / "last.ckpt"))
    del checkpoint["config"]["memory"]["squash"]
    given = (*STEADY, f"checkpoint={finished}")
    assert not changes(compose(*given, "memory.squash=true", output_dir=finished), checkpoint["config"])
    with pytest.raises(ConfigError, match=r"memory.squash=False \(it was True\)"):
        changes(compose(*given, output_dir=finished), checkpoint["config"])


@pytest.mark.parametrize("name", ["heads", "pictures", "examples", "report"])
def test_a_callback_that_only_looks_may_come_and_go(name, finished):
    there = f"callbacks=[none,{name}]"
    said = changed(finished, there)
    assert said
    assert all(line.startswith("callbacks.") for line in said)
    checkpoint = read_checkpoint(str(finished / "checkpoints" / "last.ckpt"))
    with_it = compose(*STEADY, there, f"checkpoint={finished}", output_dir=finished)
    cfg = compose(*STEADY, f"checkpoint={finished}", output_dir=finished)
    before = OmegaConf.to_container(with_it)
    assert len(changes(cfg, before)) == len(said)
    assert not changes(cfg, checkpoint["config"])


@pytest.mark.parametrize("gone", ["callbacks.heads.Gone", "os.system"])
def test_a_callback_that_is_not_there_any_more_is_no_reason_to_fail(gone, finished):
    checkpoint = read_checkpoint(str(finished / "checkpoints" / "last.ckpt"))
    checkpoint["config"]["callbacks"]["gone"] = {"_target_": gone}
    cfg = compose(*STEADY, f"checkpoint={finished}", output_dir=finished)
    with pytest.raises(ConfigError, match=r"allow=\[callbacks.gone._target_\]"):
        changes(cfg, checkpoint["config"])


@pytest.mark.parametrize(
    "override",
    [
        "loss=huber",
        "task.max_length=4",
        "trainer.devices=2",
        "optimizer.lr=1",
        "callbacks=[none,rewind]",
        "scheduler=cosine",
    ],
)
def test_what_changes_the_training_is_refused_unless_allowed(override, finished):
    with pytest.raises(ConfigError, match="is of a run with other settings: ") as refused:
        changed(finished, override)
    key = override.split("=")[0].removesuffix("s") if "callbacks" in override else override.split("=")[0]
    assert key in str(refused.value)
    assert "allow=[" in str(refused.value)
    assert changed(
        finished, override, "allow=[loss,task.max_length,trainer.devices,optimizer.lr,callbacks.rewind,scheduler]"
    )


@pytest.mark.parametrize("override", ["optimizer=adam", "optimizer.alpha=0.5"])
def test_what_a_checkpoint_would_overrule_is_refused_always(override, finished):
    with pytest.raises(ConfigError, match="goes on with its own optimiser, but"):
        changed(finished, override, "allow=[optimizer]")


SETTLING = ("callbacks=[none,solved]", *(f"callbacks.solved.{word}" for word in ("threshold=999", "patience=1")))


@pytest.mark.parametrize(
    ("scheduler", "others"),
    [("constant", ()), ("cosine", ()), ("constant", SETTLING)],
    ids=["constant", "cosine", "settling"],
)
def test_an_allowed_learning_rate_is_the_one_that_is_used(scheduler, others, tmp_path):
    chosen = (f"scheduler={scheduler}", *others, "optimizer=adam", "trainer.max_steps=4")
    task, learner, trainer = short(tmp_path, *chosen)
    trainer.fit(learner, datamodule=task)
    last = tmp_path / "checkpoints" / "last.ckpt"
    rates = []
    for rate in ("1e-3", "1e-4"):
        task, learner, trainer = short(
            tmp_path / rate,
            *chosen,
            "trainer.max_steps=6",
            f"optimizer.lr={rate}",
        )
        trainer.fit(learner, datamodule=task, ckpt_path=last, weights_only=True)
        rates.append(trainer.optimizers[0].param_groups[0]["lr"])
    assert rates[1] == pytest.approx(rates[0] / 10)


def test_a_folder_is_one_process_s_alone_and_free_when_that_is_killed(tmp_path):
    child = os.fork()
    if not child:
        with holding(tmp_path):
            (tmp_path / "held").touch()
            time.sleep(60)
        os._exit(0)
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    with pytest.raises(ConfigError, match="belongs to a run that has not ended"), holding(tmp_path):
        pass
    os.kill(child, signal.SIGKILL)
    kill.wait(child)
    with holding(tmp_path):
        pass


@pytest.mark.parametrize("kind", ["read only", "full"])
def test_a_folder_that_cannot_be_written_is_refused_before_anything_else(kind, small_disk):
    above = small_disk
    if kind == "full":
        with contextlib.suppress(OSError):
            (small_disk / "filled").write_bytes(bytes(2**19))
    else:
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(ConfigError, match=rf"hydra.run.dir={above}/new/run cannot be written: {above}: "):
        check_writable("hydra.run.dir", above / "new" / "run")


# --- rows


def test_rows_have_what_was_measured_and_columns_that_come_later(tmp_path):
    rows = Rows(folder=str(tmp_path))
    rows.log_metrics({"loss": 1.5}, 0)
    rows.log_metrics({"loss": 1.25}, 1)
    rows.log_metrics({"bits": 3.0}, 1)
    assert (tmp_path / "metrics.csv").read_text().splitlines() == ["bits,loss,step", ",1.5,0", ",1.25,1", "3.0,,1"]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


def test_rows_go_on_behind_a_checkpoint_and_without_the_tests_that_are_repeated(tmp_path):
    rows = Rows(folder=str(tmp_path))
    for step in range(4):
        rows.log_metrics({"loss": float(step)}, step)
    rows.log_metrics({"test/3/bits": 1.0}, 2)
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("9.")  # cut off by a full disk
    again = Rows(folder=str(tmp_path))
    again.keep(3)
    again.log_metrics({"loss": 3.0}, 3)
    assert [row["loss"] for row in read_rows(again.path)] == ["0.0", "1.0", "2.0", "3.0"]


def test_a_new_run_in_an_old_place_begins_its_rows_anew(tmp_path):
    for value in (1.0, 2.0):
        Rows(folder=str(tmp_path)).log_metrics({"loss": value}, 0)
    assert (tmp_path / "metrics.csv").read_text().splitlines() == ["loss,step", "2.0,0"]
