"""Every launcher runs a sweep, tells a failed job from the others, and ends with the same summary."""

import csv
import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
from fakes import ROOT, TINY

PLUGINS = {
    "joblib": "hydra_joblib_launcher",
    "local": "hydra_submitit_launcher",
    "slurm": "hydra_submitit_launcher",
    "ray": "hydra_ray_launcher",
}


def need(launcher: str) -> None:
    if find_spec("hydra_plugins") is None or find_spec(f"hydra_plugins.{PLUGINS[launcher]}") is None:
        pytest.skip(f"{PLUGINS[launcher]} is not installed")


def start(*words: str, folder, **environ: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *words],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"} | environ,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("launcher", ["joblib", "local", "ray"])
def test_a_launcher_runs_every_job_and_a_mistake_in_one_is_told(launcher, tmp_path):
    need(launcher)
    jobs, told = (
        "trainer.devices=1,2",
        "trainer.devices=2 takes processes that Lightning cannot start from this launcher",
    )
    if launcher == "ray":  # it can
        jobs, told = "seed=0,-1", "seed=-1 should be greater than or equal to 0"
    chosen = ("-m", *TINY, "threads=null", f"hydra/launcher={launcher}", "hydra.sweep.dir=sweep")
    # Workers of submitit find the project as it is installed; a checkout alone is on the path of train.py only.
    ended = start(*chosen, jobs, folder=tmp_path, PYTHONPATH=str(ROOT))
    assert f"failed: {told}" in ended.stdout, ended.stderr
    assert ended.returncode == 2
    assert (tmp_path / "sweep/0/results.json").is_file()
    with (tmp_path / "sweep/summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [sum(int(row[count]) for row in rows) for count in ("runs", "finished", "failed")] == [2, 1, 1]
    assert not list(tmp_path.rglob("*%*"))
    if launcher == "joblib":  # its jobs do not fight over the cores
        assert json.loads((tmp_path / "sweep/0/results.json").read_text())["threads"] == 1


def test_slurm_composes(tmp_path):
    need("slurm")
    shown = start("hydra/launcher=slurm", "--cfg", "hydra", "-p", "hydra.launcher", folder=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "SlurmLauncher" in shown.stdout
    assert "max_num_timeout: 100" in shown.stdout
