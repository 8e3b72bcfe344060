"""What a run has measured, for whoever wants to know; programs import this before anything slow."""

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import lightning as L


def measured(trainer: "L.Trainer", setting: str, monitor: str) -> float:
    """The last figure of a monitor that a callback's setting names.

    Raises:
        ValueError: validation does not measure it.
    """
    if monitor not in trainer.callback_metrics:
        there = ", ".join(sorted(trainer.callback_metrics)) or "nothing"
        raise ValueError(f"{setting}={monitor} is not measured by validation, which has {there}. Name one of these.")
    return float(trainer.callback_metrics[monitor])


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a metrics.csv, none where there is no such file; what was not measured in one is an empty word.

    A last line that a full disk has cut off is no row.
    """
    lines, end, _ = path.read_text(encoding="utf-8").rpartition("\n") if path.exists() else ("", "", "")
    return list(csv.DictReader(io.StringIO(lines + end)))


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A file to write in place of another: who looks finds all of the one or all of the other, also on a full disk."""
    half = path.with_stem(f"{path.stem}.half")
    try:
        yield half
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)
