"""What W&B is told, read back from the files of offline runs; and that a training outlives whatever W&B does."""

import csv
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import time
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import wandb
from fakes import ROOT, TINY, compose
from PIL import Image

import dashboard
import train
from callbacks.loggers import Wandb
from callbacks.results import commit
from ntm.metrics import METRICS

pytestmark = [
    pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*directory .* exists and is not empty"),  # a run that goes on in its folder
]

WATCHED = tuple(word for word in TINY if word not in ("logger=csv", "callbacks=none"))
LOGGED = (*WATCHED, "callbacks=[none,heads,pictures,examples]", "callbacks.weightings.every=2")


def records(folder: Path, kind: str) -> list[dict[str, Any]]:
    """What W&B has written into the folder of an offline run, of one kind."""
    return [record[kind] for record in everything(folder) if record.get("type") == kind]


@cache  # W&B's command takes a second to start
def everything(folder: Path) -> list[dict[str, Any]]:
    command = ["wandb", "leet", "inspect", "--json", str(folder)]
    return list(
        map(json.loads, subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines())
    )


def offline_runs(folder: Path) -> list[Path]:
    return sorted(folder.glob("wandb/offline-run-*"))


def summary(folder: Path) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for record in records(folder, "summary"):
        merged |= record.get("update", {})
    return merged


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """The folder of an offline run that has been moved since it ended."""
    folder = tmp_path_factory.mktemp("here") / "run"
    train.run(compose(*LOGGED, output_dir=folder))
    return shutil.move(folder, tmp_path_factory.mktemp("there"))


@pytest.fixture(scope="module")
def run(trained) -> Path:
    (found,) = offline_runs(Path(trained))
    return found


def test_every_curve_is_over_sequences(run):
    axes = {metric.get("name", metric.get("glob_name")): metric.get("step_metric") for metric in records(run, "metric")}
    assert axes["*"] == "sequences"
    assert axes["val/bits"] == "sequences"
    assert all("sequences" in row["item"] for row in records(run, "history"))


def test_the_costs_within_the_training_range_and_beyond_are_added_up(trained):
    rows = [row for row in csv.DictReader(Path(trained, "metrics.csv").read_text().splitlines()) if row["both/bits"]]
    assert rows
    for row in rows:
        assert float(row["both/bits"]) == pytest.approx(float(row["val/bits"]) + float(row["far/bits"]))


def test_the_history_is_that_of_the_rows(trained, run):
    rows = list(csv.DictReader(Path(trained, "metrics.csv").read_text().splitlines()))
    told = [record["item"] for record in records(run, "history")]
    for name in ("train/loss", "val/bits", "far/exact", "test/3/error_bits"):
        measured = [(float(row["sequences"]), float(row[name])) for row in rows if row[name]]
        assert [(row["sequences"], row[name]) for row in told if name in row] == measured


def test_the_summary_has_the_best_of_every_held_out_figure(run):
    told, rows = summary(run), [record["item"] for record in records(run, "history")]
    for stage in ("val", "far"):
        for name in METRICS:
            best, kind = (max, "max") if name == "exact" else (min, "min")
            assert told[f"{stage}/{name}"][kind] == best(r[f"{stage}/{name}"] for r in rows if f"{stage}/{name}" in r)


def test_the_summary_has_what_runs_are_compared_by(trained, run):
    results = json.loads(Path(trained, "results.json").read_text())
    told = summary(run)
    assert told["cost"] == pytest.approx(results["cost"])
    assert told["seconds"] == pytest.approx(results["seconds"])
    assert told["engine"] == "eager"


def test_the_configuration_is_whole_with_the_commit_and_no_reference_left(run):
    config: dict[str, Any] = {}
    for record in records(run, "config"):
        config |= record.get("update", {})
    assert set(compose(*LOGGED)) <= set(config)
    assert config["task"]["max_length"] == 3
    assert config["commit"] == commit()
    assert "${" not in json.dumps(config)


@pytest.mark.parametrize("name", ["weightings_00000004.png", "animation_00000004.gif"])
def test_a_picture_is_the_file_that_was_drawn_with_a_caption(name, trained, run):
    told, key = summary(run), f"figures/{name.partition('_')[0]}"
    assert (run / "files" / told[f"{key}.path"]).read_bytes() == Path(trained, "figures", name).read_bytes()
    assert told[f"{key}.caption"].startswith(f"{name.partition('_')[0]} after 4 sequences. ")


def files(run: Path, name: str) -> dict[str, Path]:
    """Those of the artifact that a table is."""
    (artifact,) = [artifact for artifact in records(run, "artifact") if name in artifact["name"]]
    return {entry["path"]: run.parent / entry["local_path"] for entry in artifact["manifest"]["contents"]}


def table(run: Path, name: str) -> list[dict[str, Any]]:
    content = json.loads(files(run, name)[f"test/{name}.table.json"].read_text())
    return [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]


def test_a_table_has_every_measure_at_every_test_length(trained, run):
    test = json.loads(Path(trained, "results.json").read_text())["test"]
    assert table(run, "lengths") == [{"length": name, **row} for name, row in test.items()]


def test_a_table_shows_what_was_answered_to_examples_of_every_test_length(run):
    rows = table(run, "examples")
    assert [(row["length"], row["example"]) for row in rows] == [("2", 0), ("2", 1), ("3", 0), ("3", 1)]
    pictures = files(run, "examples")
    for row in rows:
        target, answer = (pixels(pictures[row[name]["path"]]) for name in ("target", "answer"))
        assert sum((t < 128) != (a < 128) for t, a in zip(target, answer, strict=True)) == row["wrong bits"]


def pixels(path: Path) -> list[int]:
    """One for each bit."""
    with Image.open(path) as image:
        grey = image.convert("L")
        return list(grey.resize((grey.width // 4, grey.height // 4), Image.Resampling.NEAREST).tobytes())


def test_checkpoints_are_versions_called_best_and_last_and_moved_with_the_run(trained, run):
    models = [artifact for artifact in records(run, "artifact") if artifact["type"] == "model"]
    assert len({artifact["name"] for artifact in models}) == 1
    for artifact in models:
        (entry,) = artifact["manifest"]["contents"]
        (alias,) = set(artifact["aliases"]) - {"latest"}
        assert entry["path"] == f"{alias}.ckpt"
        kept, saved = run.parent / entry["local_path"], Path(trained, "checkpoints", entry["path"])
        assert kept.read_bytes() == saved.read_bytes()
    assert len(models) == 2


def test_every_file_of_every_artifact_is_found_from_where_a_moved_run_is_sent(run):
    artifacts = records(run, "artifact")
    assert {artifact["type"] for artifact in artifacts} == {"model", "run_table"}
    for artifact in artifacts:
        for entry in artifact["manifest"]["contents"]:
            assert not Path(entry["local_path"]).is_absolute()
            assert (run.parent / entry["local_path"]).stat().st_size == int(entry["size"])


def test_a_run_ends_as_it_should(run):
    assert [record.get("exit_code", 0) for record in records(run, "exit")] == [0]


def test_a_run_that_fails_is_marked_as_failed_and_keeps_its_last_checkpoint(tmp_path, monkeypatch):
    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("callbacks.results.Results.on_test_end", fail)
    with pytest.raises(ZeroDivisionError):
        train.run(compose(*LOGGED, output_dir=tmp_path))
    (run,) = offline_runs(tmp_path)
    assert [record["exit_code"] for record in records(run, "exit")] == [1]
    assert "last" in {alias for artifact in records(run, "artifact") for alias in artifact["aliases"]}


def test_a_run_that_goes_on_in_its_folder_keeps_its_id(tmp_path):
    short = (*WATCHED, "callbacks=none", "scheduler=constant")
    train.run(compose(*short, output_dir=tmp_path))
    longer = (*short, "trainer.max_steps=4", f"checkpoint={tmp_path}/checkpoints/last.ckpt")
    train.run(compose(*longer, output_dir=tmp_path))
    time.sleep(1)  # W&B names its folders by the second
    first, second = offline_runs(tmp_path)
    assert [records(run, "run")[0]["run_id"] for run in (first, second)] == [first.name.rpartition("-")[2]] * 2


def test_a_logger_begins_a_run_of_its_own_where_another_was_left_open(tmp_path):
    loggers = [Wandb(save_dir=tmp_path / name, mode="offline") for name in "ab"]
    ids = {logger.experiment.id for logger in loggers}
    for logger in loggers:
        logger.finish()
    assert len(ids) == 2


def test_a_run_that_goes_on_keeps_an_id_with_hyphens(tmp_path):
    for _ in range(2):
        logger = Wandb(save_dir=tmp_path, mode="offline", id=None if offline_runs(tmp_path) else "half-the-slots")
        assert logger.experiment.id == "half-the-slots"
        logger.finish()


@pytest.mark.parametrize(("mode", "said"), [("offline", ["lost"]), ("online", ["out of reach", "lost"])])
def test_a_training_goes_on_where_no_run_can_begin(mode, said, tmp_path, monkeypatch, caplog):
    def refuse(**_: Any) -> None:
        raise wandb.Error("no")

    monkeypatch.setattr(wandb, "init", refuse)
    logger = Wandb(save_dir=tmp_path, mode=mode)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            logger.log_metrics({"val/bits": 1.0})
        logger.finish()
    ours = [record.getMessage() for record in caplog.records if record.name == "callbacks.loggers"]  # W&B's threads too
    assert [re.match(r"W&B is (.+?),", message)[1] for message in ours] == said


def test_an_offline_run_says_nothing_of_w_and_b_on_the_terminal(tmp_path, capfd):
    logger = Wandb(save_dir=tmp_path, mode="offline")
    logger.log_metrics({"val/bits": 1.0})
    logger.finish()
    assert "wandb" not in "".join(capfd.readouterr())


KILL = """
import sys
import lightning as L, psutil
import train

built = train.build

class Kill(L.Callback):
    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == 1:
            (service,) = (p for p in psutil.Process().children() if "wandb-core" in p.name())
            service.kill()
            service.wait()

def build(cfg):
    task, learner, trainer = built(cfg)
    trainer.callbacks.append(Kill())
    return task, learner, trainer

train.build = build
train.main()
"""


def test_a_training_outlives_the_service_of_w_and_b(trained, tmp_path):
    command = [sys.executable, "-c", KILL, *LOGGED, "hydra.run.dir=run"]
    own = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_SERVICE")}
    environment = own | {"PYTHONPATH": str(ROOT), "HYDRA_FULL_ERROR": "1"}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    told = ended.stdout + ended.stderr
    assert ended.returncode == 0, told
    assert told.count("W&B is lost, and this run goes on without it") == 1
    assert "Traceback" not in told
    rows, undisturbed = (Path(folder, "metrics.csv").read_text() for folder in (tmp_path / "run", trained))
    assert rows == undisturbed
    assert (tmp_path / "run" / "results.json").is_file()


@pytest.fixture
def unreachable(monkeypatch):
    """A server that nobody answers for, and a key for it."""
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "5ec2e7" * 7)
    monkeypatch.setenv("SOME_PASSWORD", "correcthorsebattery")
    wandb.teardown()  # it reads the environment once
    yield
    wandb.teardown()


def test_a_run_whose_server_is_out_of_reach_goes_on_offline_and_keeps_no_secret(unreachable, tmp_path, caplog):
    began = time.monotonic()
    with caplog.at_level(logging.WARNING):
        train.run(compose(*LOGGED, "logger.wandb.settings.init_timeout=1", output_dir=tmp_path))
    assert time.monotonic() - began < 60
    assert [r.getMessage()[:19] for r in caplog.records if r.name == "callbacks.loggers"] == ["W&B is out of reach"]
    (run,) = offline_runs(tmp_path)
    rows = list(csv.DictReader((tmp_path / "metrics.csv").read_text().splitlines()))
    assert len([r for r in records(run, "history") if "train/loss" in r["item"]]) == sum(
        bool(r["train/loss"]) for r in rows
    )
    assert {artifact["type"] for artifact in records(run, "artifact")} == {"model", "run_table"}
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in written if b"5ec2e75ec2e7" in path.read_bytes()]
    assert not [path for path in written if b"correcthorsebattery" in path.read_bytes()]


@pytest.fixture(scope="module")
def panels() -> list[dict[str, Any]]:
    """Those of the dashboard, as W&B would get them."""
    pytest.importorskip("wandb_workspaces")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it is written for the pydantic of before
        made = dashboard.dashboard("somebody")
    bank = json.loads(made._to_model().model_dump_json(by_alias=True))["spec"]["section"]
    sections = bank["panelBankConfig"]["sections"]
    assert [section["name"] for section in sections] == list(dashboard.SECTIONS)
    return [panel for section in sections for panel in section["panels"]]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["me"], "error: me gets no dashboard: no key. It takes `wandb login`"),
        (["me", "ntm", "again"], "error: again is one word too many. Give two at most"),
    ],
)
def test_a_dashboard_that_cannot_be_made_is_one_line(words, said, monkeypatch, capsys):
    workspaces = pytest.importorskip("wandb_workspaces.workspaces")

    def refuse(_: Any) -> None:
        raise wandb.errors.UsageError("no key.")

    monkeypatch.setattr(workspaces.Workspace, "save", refuse)
    monkeypatch.setattr(sys, "argv", ["dashboard.py", *words])
    with pytest.raises(SystemExit) as ended:
        dashboard.main()
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(said)


def test_every_line_of_the_dashboard_is_over_sequences_and_drawn_by_a_run(panels, run):
    logged = set().union(*(record["item"] for record in records(run, "history")))
    lines = [panel["config"] for panel in panels if panel["viewType"] == "Run History Line Plot"]
    assert {line["xAxis"] for line in lines} == {"sequences"}
    for line in lines:
        if line["metricRegex"]:
            assert [key for key in logged if re.fullmatch(line["metricRegex"], key)]
        else:
            assert set(line["metrics"]) <= logged


def test_every_picture_and_table_of_the_dashboard_is_logged_by_a_run(panels, run):
    told = {key.partition(".")[0] for key in summary(run)}
    media = [key for panel in panels for key in panel["config"].get("mediaKeys") or []]
    assert set(media) == {key for key in told if key.startswith("figures/")}
    assert {"test/lengths", "test/examples", "cost", "seconds"} <= told
    assert all(name in json.dumps(panels) for name in ("test/lengths", "test/examples", "test/120/error_bits"))
