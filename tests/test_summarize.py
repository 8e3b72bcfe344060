"""What came of many runs, told from the files that they leave."""

import csv
import io
import json

import numpy as np
import pytest
from omegaconf import OmegaConf
from rich.console import Console
from test_trust import small_disk  # noqa: F401  (a fixture)

import summarize
from callbacks import curves, report
from conf.check import OUTCOME, ConfigError


def leave(folder, *overrides: str, seed: int, solved: bool = True, error: float = 0.0, sequences: int = 400) -> None:
    """What a finished run of copy leaves."""
    start(folder, *overrides, seed=seed)
    test = {"5": {"error_bits": 0.0}, "10": {"error_bits": error}}
    results = {"sequences": sequences, "seconds_to_solution": sequences / 100 if solved else None, "test": test}
    (folder / "results.json").write_text(json.dumps(results))


def start(folder, *overrides: str, seed: int) -> None:
    """What an unfinished run of copy leaves."""
    (folder / ".hydra").mkdir(parents=True)
    OmegaConf.save([*overrides, f"seed={seed}"], folder / ".hydra/overrides.yaml")
    OmegaConf.save({"seed": seed, "task": {"_target_": "tasks.copy.Copy"}}, folder / ".hydra/config.yaml")


def curve(folder, *points: tuple[float, float]) -> None:
    """A metrics.csv, with rows of training in between as Lightning writes them."""
    lines = ["sequences,step,train/loss,val/error_bits"]
    lines += [line for x, y in points for line in (f"{x},{x},,{y}", f"{x},{x},0.5,")]
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")


def rows(folder) -> list[dict[str, str]]:
    with (folder / "summary.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture
def sweep(tmp_path):
    """Two losses over three seeds: one failed, one unfinished."""
    for job, (loss, seed) in enumerate((loss, seed) for loss in ("huber", "cross_entropy") for seed in (0, 1, 2)):
        place, overrides = tmp_path / str(job), ("task=copy", f"loss={loss}")
        if job == 1:
            start(place, *overrides, seed=seed)
            (place / OUTCOME).write_text("failed: ValueError: no number\n")
        elif job == 5:
            start(place, *overrides, seed=seed)
            curve(place, (100, 3.0))
        else:
            leave(place, *overrides, seed=seed, solved=job != 2, error=float(job), sequences=100 * (job + 1))
            curve(place, (100, 2.0), (200, 0.0))
    return tmp_path


def test_a_row_for_every_configuration_over_its_seeds(sweep):
    summarize.summarize(sweep)
    huber, cross_entropy = rows(sweep)
    assert (huber["configuration"], cross_entropy["configuration"]) == ("loss=huber", "loss=cross_entropy")
    assert [huber[name] for name in ("runs", "finished", "failed", "learned", "solved")] == ["3", "2", "1", "2", "1"]
    assert (huber["longest"], float(huber["sequences_to_learn_median"])) == ("10", 200)
    assert [cross_entropy[name] for name in ("runs", "finished", "failed", "solved")] == ["3", "2", "0", "2"]
    assert [float(cross_entropy[f"wrong_bits_{part}"]) for part in ("median", "low", "high")] == [3.5, 3.0, 4.0]
    assert [float(huber[f"sequences_to_solution_{part}"]) for part in ("median", "low", "high")] == [100, 100, 100]
    assert [float(cross_entropy[f"seconds_to_solution_{part}"]) for part in ("median", "low", "high")] == [4.5, 4, 5]


def test_every_run_without_results_has_a_line_that_says_why(sweep, capsys):
    summarize.summarize(sweep)
    for text in (capsys.readouterr().out, (sweep / "summary.md").read_text()):
        assert "1: loss=huber seed=1 failed: ValueError: no number" in text
        assert "5: loss=cross_entropy seed=2 unfinished: 100 sequences so far" in text


def test_the_text_the_table_and_the_terminal_agree(sweep, capsys):
    summarize.summarize(sweep)
    text = (sweep / "summary.md").read_text()
    cells = ["loss=cross_entropy", "2 of 3", "2 of 3: 200", "2 of 2: 450 (400-500)", "4.5 (4-5)", "3.5 (3-4) at 10"]
    assert f"| {' | '.join(cells)} |" in text
    assert "| loss=huber | 2 of 3, 1 failed | 2 of 3: 200 | 1 of 2: 100 | 1 | 1 (0-2) at 10 |" in text
    assert "All with `task=copy`." in text
    printed = capsys.readouterr().out
    assert "(400-500)" in printed
    assert (sweep / "summary.png").stat().st_size > 10_000


def test_a_terminal_of_80_columns_shows_the_numbers_of_every_column(tmp_path):
    row = summarize.Row(
        configuration="loss=cross_entropy",
        runs=10,
        finished=10,
        failed=0,
        learned=10,
        solved=9,
        sequences_to_learn=summarize.Spread(8000, 4000, 20000),
        sequences_to_solution=summarize.Spread(34567, 24000, 48000),
        seconds_to_solution=summarize.Spread(39.2, 31.1, 117),
        longest="120",
        wrong_bits=summarize.Spread(3.52, 3.49, 3.86),
    )
    told = Console(width=80, file=io.StringIO(), record=True)
    told.print(summarize.table("task=copy", [row]))
    shown = told.export_text()
    words = "10 of 10 8,000 (4,000- 20,000) 9 of 10 34,567 39.2 (31.1-117) 3.52 (3.49-3.86) at 120"
    assert [word for word in words.split() if word not in shown] == []


def test_ten_runs_come_in_the_order_of_their_numbers(tmp_path):
    for job in range(11):
        leave(tmp_path / str(job), f"loss.delta={job}", seed=1)
    assert [run.folder.name for run in summarize.read_runs(tmp_path)] == [str(job) for job in range(11)]


def test_a_folder_of_folders_of_runs_is_read_too_but_not_an_evaluation(tmp_path):
    leave(tmp_path / "copy/monday", seed=1)
    leave(tmp_path / "recall/tuesday", seed=2)
    (tmp_path / "copy/monday/evaluation/x").mkdir(parents=True)
    (tmp_path / "copy/monday/evaluation/x/results.json").write_text("{}")
    (row,) = summarize.aggregate(summarize.read_runs(tmp_path))[1]
    assert row.runs == 2


@pytest.mark.parametrize("config", [{"task": "render"}, {"task": {"_target_": "render.Scene"}, "seed": 1}, [1], None])
def test_a_run_of_another_program_is_passed_over(config, tmp_path):
    leave(tmp_path / "ours", seed=1)
    (tmp_path / "other/.hydra").mkdir(parents=True)
    OmegaConf.save(["width=3"], tmp_path / "other/.hydra/overrides.yaml")
    if config is not None:
        OmegaConf.save(config, tmp_path / "other/.hydra/config.yaml")
    assert [run.folder.name for run in summarize.read_runs(tmp_path)] == ["ours"]


def test_the_order_of_words_makes_no_other_configuration(tmp_path):
    leave(tmp_path / "0", "task=copy", "loss=huber", seed=0)
    leave(tmp_path / "1", "loss=huber", "task=copy", seed=1)
    leave(tmp_path / "2", "loss=mine", "task=copy", "loss=huber", seed=2)  # the last counts
    (row,) = summarize.aggregate(summarize.read_runs(tmp_path))[1]
    assert row.runs == 3


@pytest.mark.parametrize("name", ["results.json", ".hydra/config.yaml", ".hydra/overrides.yaml"])
def test_a_run_that_cannot_be_read_leaves_the_others_alone(name, tmp_path, caplog):
    leave(tmp_path / "0", seed=0)
    leave(tmp_path / "1", seed=1)
    (tmp_path / "1" / name).write_text("task:\n  _target_: tasks.copy.Copy\n" if "config" in name else "")
    assert [run.seed for run in summarize.read_runs(tmp_path)] == [0]
    assert f"{tmp_path}/1 cannot be read, and is left out" in caplog.text


def test_a_folder_that_may_only_be_read_is_summarised_on_the_terminal(tmp_path, monkeypatch, capsys):
    leave(tmp_path / "0", seed=0)
    monkeypatch.setattr(summarize.os, "access", lambda *_: False)
    summarize.summarize(tmp_path)
    assert "may only be read" in capsys.readouterr().out
    assert not (tmp_path / "summary.csv").exists()


def test_rows_of_training_do_not_hide_what_was_measured_at_the_same_sequences(tmp_path):
    curve(tmp_path, (100, 2.0), (200, 0.0))
    assert summarize.read_curve(tmp_path / "metrics.csv", "val/error_bits") == [(100.0, 2.0), (200.0, 0.0)]


def test_a_run_that_has_not_measured_anything_has_no_curve(tmp_path):
    (tmp_path / "metrics.csv").write_text("sequences,step,train/loss\n50,1,0.7\n")
    assert summarize.read_curve(tmp_path / "metrics.csv", "val/error_bits") == []
    assert summarize.read_curve(tmp_path / "nothing.csv", "val/error_bits") == []


def test_the_band_is_that_of_a_slow_loop(tmp_path):
    rng = np.random.default_rng(0)
    curves = [[(float(x), rng.random()) for x in sorted(rng.choice(50, size, replace=False))] for size in (3, 9, 20)]
    grid, *bands = summarize.band(curves)
    for i, x in enumerate(grid):
        now = []
        for points in curves:
            value = None
            for when, y in points:
                value = y if when <= x else value
            now.append(value)
        assert [band[i] for band in bands] == [np.median(now), min(now), max(now)]
    assert grid[-1] == max(points[-1][0] for points in curves)


def test_a_folder_without_a_run_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match=f"{tmp_path} holds no run"):
        summarize.summarize(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_summary_that_was_there(small_disk):  # noqa: F811
    leave(small_disk / "0", seed=1)
    summarize.summarize(small_disk)
    before = {path.name: path.read_bytes() for path in small_disk.glob("summary.*")}
    leave(small_disk / "1", "loss=huber", seed=1)
    with (small_disk / "fill").open("wb", buffering=0) as file:
        file.write(bytes(256 * 1024))
    with pytest.raises(OSError, match="No space left on device"):
        summarize.summarize(small_disk)
    assert {path.name: path.read_bytes() for path in small_disk.glob("summary.*")} == before


def test_a_run_that_was_resumed_is_of_the_configuration_of_one_that_was_left_alone(tmp_path):
    place = tmp_path / "resumed"
    leave(tmp_path / "straight", "loss=huber", seed=1)
    leave(place, "loss=huber", seed=2)
    resumed = ["loss=huber", "seed=2", f"resume='{place}'", f"checkpoint='{place}/checkpoints/last.ckpt'"]
    OmegaConf.save(resumed, place / ".hydra/overrides.yaml")
    (row,) = summarize.aggregate(summarize.read_runs(tmp_path))[1]
    assert row.runs == 2


def test_runs_of_nothing_but_seeds_have_a_row_and_a_picture(tmp_path):
    start(tmp_path / "0", seed=1)
    assert summarize.learning_curves(summarize.read_runs(tmp_path)).axes
    assert summarize.aggregate(summarize.read_runs(tmp_path))[1][0].configuration == ""


def test_of_many_configurations_the_best_are_told_apart(tmp_path):
    for number in range(12):
        start(tmp_path / str(number), f"lr={number}", seed=1)
        curve(tmp_path / str(number), (100, 9.0), (200, 9.0 - number / 2))
    (ax,) = summarize.learning_curves(summarize.read_runs(tmp_path)).axes
    assert [line.get_label() for line in ax.lines if line.get_color() != "0.85"] == [
        f"lr={number} (1)" for number in range(11, 1, -1)
    ]
    assert len(ax.lines) == 12


def test_a_last_line_that_is_not_whole_is_left_out_by_all_who_read(tmp_path):
    metrics = tmp_path / "metrics.csv"
    metrics.write_text("sequences,val/error_bits\n16,9.5\n32,1")
    assert summarize.read_curve(metrics, "val/error_bits") == [(16, 9.5)]
    assert curves.validations(metrics) == [{"sequences": 16, "val/error_bits": 9.5}]
    assert report.curves(metrics, ["error_bits"])["error_bits"]["val"] == [(16, 9.5)]
