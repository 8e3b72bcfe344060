"""The table at the end, and results.json."""

import hashlib
import json
import shlex
import subprocess
import sys
import time
from functools import cache
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

import lightning as L
import psutil
import rich
import torch
from pydantic import validate_call
from rich.table import Table

from callbacks.loggers import Wandb, tabulate
from callbacks.metrics import whole
from ntm.metrics import METRICS

NUMBERS = ("cost", "seconds", "seconds_to_solution", "seconds_to_first_step", "sequences_per_second")
IN_SUMMARY = (*NUMBERS, "engine")  # what runs are sorted and compared by, beside what they have measured
OBJECTIVES = (*NUMBERS, "sequences")  # what of results.json a search may go by

# When this run began: with its process, or in a sweep of one process where the run before it ended, or with its trial.
began = psutil.Process().create_time()


class Results(L.Callback):
    """Prints a row for every test length, and writes them to `results.json` with all that it takes to repeat them.

    Wall times count from the command's start, imports and all, in a search from the trial's. `seconds` ends with
    training; `seconds_to_first_step` after the first step; `seconds_to_solution` is `seconds` of a run that ended
    without a wrong bit at any test length, else null. `sequences_per_second` is the rate from the first step on,
    held-out measurements and pictures included. `sequences` and `seconds` are of the whole training, also where an
    earlier checkpoint is what was measured. Where nothing was trained, what would be of its training is null. A resumed
    run counts the seconds up to its checkpoint, too. `cost` is the lowest of the figure that `best.ckpt`, the measured
    machine, was chosen by: of `both/bits`, or with `callbacks=best`, which n-grams and sort have, of `val/bits`.
    """

    only_looks = True

    @validate_call
    def __init__(self, *, folder: Path):
        self.path = folder / "results.json"
        self.seconds_before = 0.0  # up to the checkpoint that this run went on from
        self.training: dict[str, Any] = dict.fromkeys(("seconds", "seconds_to_first_step", "sequences_per_second"))

    def setup(self, trainer: L.Trainer, pl_module: Any, stage: str) -> None:
        commit()

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self.first_sequence = pl_module.sequences

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, *_: Any) -> None:
        if self.training["seconds_to_first_step"] is None:
            self.training["seconds_to_first_step"] = time.time() - began

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if self.training["seconds_to_first_step"] is None:
            return  # there was no step
        seconds, sequences = time.time() - began, pl_module.sequences
        seen, spent = sequences - self.first_sequence, seconds - self.training["seconds_to_first_step"]
        seconds += self.seconds_before
        self.training |= {"sequences": sequences, "seconds": seconds, "sequences_per_second": seen / spent}

    def on_fit_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if self.training["seconds"] is None:  # resumed where nothing was left to train
            self.training |= {"sequences": pl_module.sequences, "seconds": self.seconds_before}

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": time.time() - began + self.seconds_before}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.seconds_before = state_dict["seconds"]

    def on_exception(self, trainer: L.Trainer, pl_module: Any, exception: BaseException) -> None:
        start_clock()

    def on_test_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if trainer.is_global_zero:
            results = self.results(trainer, pl_module)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with whole(self.path) as half:
                half.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
            rows = [{"length": name, **row} for name, row in results["test"].items()]
            for logger in trainer.loggers:
                tabulate(logger, "test/lengths", rows, pl_module.sequences, trainer.global_step)
                if isinstance(logger, Wandb):
                    logger.summarize({name: results[name] for name in IN_SUMMARY})
            rich.print(table(results, pl_module.sequences))
            print(f"Everything is in {self.path.parent}")  # as it is: rich would break the line, and read brackets
        start_clock()

    def results(self, trainer: L.Trainer, pl_module: Any) -> dict[str, Any]:
        config = pl_module.config
        test = measured(trainer, pl_module)
        solved = self.training["seconds"] and all(row["error_bits"] == 0 for row in test.values())
        return {
            "task": config["task"]["_target_"].split(".")[1],
            "seed": config["seed"],
            "engine": pl_module.machine.ran,
            "threads": torch.get_num_threads(),
            "sequences": pl_module.sequences,
            **self.training,
            "cost": pl_module.cost,
            "seconds_to_solution": self.training["seconds"] if solved else None,
            "test": test,
            "weights": weights_hash(pl_module),
            "versions": versions(),
            "commit": commit(),
            "command": shlex.join(sys.argv),
        }


def measured(trainer: L.Trainer, pl_module: Any) -> dict[str, dict[str, float]]:
    """Every metric at every test length, after a test."""
    return {
        name: {metric: trainer.callback_metrics[f"test/{name}/{metric}"].item() for metric in pl_module.metrics}
        for name in pl_module.test_names
    }


def start_clock() -> None:
    """The next run of this process begins now."""
    global began
    began = time.time()


def leave_out(seconds: float) -> None:
    """So long this process was busy with what is not of its run."""
    global began
    began += seconds


def table(results: dict[str, Any], sequences: int) -> Table:
    """The figures over the test lengths of a machine that has seen so many sequences, for a person to read."""
    shown = Table(title=f"{results['task']}: the measured machine, after {sequences:,} sequences")
    for heading in ("length", "bits", "wrong bits", "bit error rate", "exact"):
        shown.add_column(heading, justify="right")
    for name, row in results["test"].items():
        rates = f"{row['bit_error_rate']:.3%}", f"{row['exact']:.1%}"
        shown.add_row(name, f"{row['bits']:.4g}", f"{row['error_bits']:.4g}", *rates)
    own = [metric for metric in next(iter(results["test"].values())) if metric not in METRICS]  # the task's
    shown.caption = "\n".join(
        f"{metric.replace('_', ' ')} at {name}: {row[metric]:.5g}"
        for name, row in results["test"].items()
        for metric in own
    )
    return shown


def weights_hash(module: torch.nn.Module) -> str:
    """Of every number that a machine consists of, to the last bit."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Of Python and of the packages that numbers depend on."""
    packages = ("torch", "lightning", "hydra-core", "numpy", "numba")
    return {"python": sys.version.split()[0]} | {package: version(package) for package in packages}


def packages() -> str:
    """Every installed package as a requirement, which rebuilds this environment: pip install -r FILE."""
    found = {f"{package.name}=={package.version}" for package in distributions() if package.name != "ntm-lab"}
    return "".join(f"{line}\n" for line in [f"# Python {sys.version.split()[0]}", *sorted(found, key=str.lower)])


@cache
def commit() -> str | None:
    """The commit of this checkout, marked where code differs from it (documents may); None outside a repository.

    Of when it is first asked, as a run begins: the code that runs is the code of then.
    """

    def git(*words: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *words]
        return subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)docs")
        return git("rev-parse", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None
