"""The table at the end, and results.json."""

import json
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning as L
import rich
from pydantic import validate_call
from rich.table import Table

from ntm.metrics import METRICS


class Results(L.Callback):
    """Prints a row for every test length, and writes them to `results.json` with all that it takes to repeat them.

    `sequences` and `seconds` are of the whole training, held-out measurements and pictures included, also where an
    earlier checkpoint is the one that was measured.
    """

    @validate_call
    def __init__(self, *, folder: Path):
        self.path = folder / "results.json"
        self.seconds = 0.0
        self.sequences: int | None = None

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.started = time.perf_counter()

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.seconds = time.perf_counter() - self.started
        self.sequences = pl_module.sequences

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        test = {
            name: {metric: trainer.callback_metrics[f"test/{name}/{metric}"].item() for metric in METRICS}
            for name in pl_module.test_names
        }
        config = pl_module.config
        results = {
            "task": config["task"]["_target_"].split(".")[1],
            "seed": config["seed"],
            "engine": config["engine"],
            "sequences": self.sequences or pl_module.sequences,
            "seconds": round(self.seconds, 2),
            "test": test,
            "versions": versions(),
            "commit": commit(),
            "command": " ".join(sys.argv),
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(results, indent=2) + "\n")
        rich.print(table(results))
        rich.print(f"Everything is in {self.path.parent}")


def table(results: dict[str, Any]) -> Table:
    """The figures over the test lengths, for a person to read."""
    title = f"{results['task']} after {results['sequences']:,} sequences"
    shown = Table(title=title, caption="means over held-out sequences")
    for heading in ("length", "bits", "wrong bits", "bit error rate", "exact"):
        shown.add_column(heading, justify="right")
    for name, row in results["test"].items():
        shown.add_row(
            name,
            f"{row['bits']:.4g}",
            f"{row['error_bits']:.4g}",
            f"{row['bit_error_rate']:.3%}",
            f"{row['exact']:.1%}",
        )
    return shown


def versions() -> dict[str, str]:
    """Of Python and of the packages that numbers depend on."""
    packages = ("torch", "lightning", "hydra-core", "numpy")
    return {"python": sys.version.split()[0]} | {package: version(package) for package in packages}


def commit() -> str | None:
    """The commit of this checkout, marked where files differ from it; None outside a repository."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
