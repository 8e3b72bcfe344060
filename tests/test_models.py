"""The machines that come with the project are small, plain data, and do what their tasks ask."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fakes import ROOT

from evaluate import load

MODELS = sorted((ROOT / "models").glob("*.ckpt"))
named = pytest.mark.parametrize("path", MODELS, ids=[path.stem for path in MODELS])


@named
def test_a_shipped_machine_is_small_plain_data_that_says_where_it_came_from(path):
    shipped = torch.load(path, weights_only=True)
    assert path.stat().st_size < (1_000_000 if path.stem == "sort" else 500_000)  # which has ten heads and two layers
    assert "optimizer_states" not in shipped
    assert shipped["config"]["task"]["_target_"].split(".")[1] == path.stem
    assert shipped["origin"]["command"].startswith("train.py")
    assert len(shipped["origin"]["commit"]) == 40
    assert "/" not in shipped["config"]["output_dir"]


@named
def test_a_shipped_machine_is_right_or_nearly_as_good_as_one_can_be_or_better_than_the_paper_s(path, tmp_path):
    lengths = torch.load(path, weights_only=True)["config"]["task"]["test_lengths"][:2]
    figures = measured(tmp_path, path, f"task.test_lengths={json.dumps(lengths[:1])}", "task.test_size=64")
    if "optimal_bits" in figures:
        assert figures["bits"] < figures["optimal_bits"] + 4
    elif path.stem == "sort":
        assert figures["bits"] < 18  # what the paper's machine costs after a million sequences, read off figure 18
    else:
        assert figures["error_bits"] == 0


@named
def test_a_shipped_machine_can_be_loaded_in_python(path):
    task, learner = load(str(path))
    episode = task.probe()
    logits = learner.machine(episode.inputs)
    assert logits.shape == episode.targets.shape
    torch.testing.assert_close(learner.machine.trace(episode).outputs, torch.sigmoid(logits[0]), atol=1e-4, rtol=1e-4)


def test_a_machine_that_learned_20_vectors_in_24_slots_copies_200_where_there_are_slots_for_them(tmp_path):
    path, chosen = ROOT / "models/copy.ckpt", ("task.test_lengths=[200]", "task.test_size=16")
    assert measured(tmp_path / "few", path, *chosen)["error_bits"] > 100
    assert measured(tmp_path / "many", path, *chosen, "memory.num_slots=256")["error_bits"] == 0


def measured(folder: Path, path: Path, *chosen: str) -> dict[str, float]:
    """What evaluate.py says of a machine at one test length."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, str(ROOT / "evaluate.py"), f"checkpoint={path}", f"output_dir={folder / 'out'}", *chosen]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "does not exist" not in done.stdout
    (figures,) = json.loads((folder / "out/results.json").read_text())["test"].values()
    return figures
