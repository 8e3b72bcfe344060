"""The machines that come with the project are small, plain data, and do what their tasks ask."""

import json
import subprocess
import sys

import pytest
import torch
from fakes import ROOT

MODELS = sorted((ROOT / "models").glob("*.ckpt"))
named = pytest.mark.parametrize("path", MODELS, ids=[path.stem for path in MODELS])


@named
def test_a_shipped_machine_is_small_plain_data_that_says_where_it_came_from(path):
    shipped = torch.load(path, weights_only=True)
    assert path.stat().st_size < 500_000
    assert "optimizer_states" not in shipped
    assert shipped["config"]["task"]["_target_"].split(".")[1] == path.stem
    assert shipped["origin"]["command"].startswith("train.py")
    assert len(shipped["origin"]["commit"]) == 40
    assert "/" not in shipped["config"]["output_dir"]


@named
def test_a_shipped_machine_answers_without_a_wrong_bit_or_guesses_nearly_as_well_as_one_can(path, tmp_path):
    lengths = torch.load(path, weights_only=True)["config"]["task"]["test_lengths"][:2]
    folder = tmp_path / "out"
    command = [sys.executable, str(ROOT / "evaluate.py"), f"checkpoint={path}", f"output_dir={folder}"]
    command += [f"task.test_lengths={json.dumps(lengths[:1])}", "task.test_size=64"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (figures,) = json.loads((folder / "results.json").read_text())["test"].values()
    if "optimal_bits" in figures:
        assert figures["bits"] < figures["optimal_bits"] + 4
    else:
        assert figures["error_bits"] == 0
