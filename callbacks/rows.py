"""metrics.csv: what a run has measured, whole at any moment."""

import csv
import io
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from callbacks.metrics import read_rows, whole

Row = dict[str, Any]


class Rows(Logger):
    """Writes a row for every measurement to `metrics.csv` in a folder, each as soon as it is there.

    Lightning's logger begins the file anew where a run is resumed, and writes all of it again in its place when a new
    column comes; a kill in between loses rows. Here a row is appended at once and whole, and a file with new columns
    takes the name of the old one when it is complete.
    """

    def __init__(self, *, folder: str):
        super().__init__()
        self.path = Path(folder, "metrics.csv")
        self.columns: list[str] = []

    @property
    def name(self) -> str:
        return ""  # so that a checkpoint callback without a place of its own writes into the run's checkpoints/

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return str(self.path.parent)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """.hydra/config.yaml lies beside the file."""

    @rank_zero_only
    def keep(self, steps: int) -> None:
        """Go on behind what a run had measured when it had taken so many steps; the rest will be measured again."""
        rows = read_rows(self.path)
        self.columns = sorted(rows[0]) if rows else []
        self.write([row for row in rows if int(row["step"]) < steps and not is_test(row)])

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        row = {"step": int(step or 0), **metrics}
        if row.keys() <= set(self.columns):
            with self.path.open("a", newline="", encoding="utf-8") as file:
                file.write(self.text([row]))
        else:
            before = read_rows(self.path) if self.columns else []  # without columns of ours, it is another run's
            self.columns = sorted(row.keys() | set(self.columns))
            self.write([*before, row])

    def write(self, rows: list[Row]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with whole(self.path) as half, half.open("w", newline="", encoding="utf-8") as file:
            file.write(",".join(self.columns) + "\r\n" + self.text(rows))

    def text(self, rows: list[Row]) -> str:
        out = io.StringIO()
        csv.DictWriter(out, self.columns).writerows(rows)
        return out.getvalue()


def is_test(row: Row) -> bool:
    return any(name.startswith("test/") and value for name, value in row.items())
