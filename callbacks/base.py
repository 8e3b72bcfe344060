"""The contract of a picture: a fixed example, drawn every so many sequences and published in one way."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import lightning as L
from matplotlib.figure import Figure
from pydantic import PositiveInt, validate_call
from torch import nn

from callbacks.loggers import show
from ntm.batch import Batch
from ntm.trace import Trace


class Probe(L.Callback):
    """Runs one fixed example through the machine and draws what happened.

    A new member states its `name` and its `draw`, and sets `needs_memory` to False if it can do without one. In return
    its picture is made every `every` sequences and after a test, which ends a run: as `<folder>/<name>_<sequences>`
    and as `figures/<name>` in every logger that takes images. Training goes on as if nobody had looked: no random
    number is drawn, and every mode is put back.

    It asks the datamodule for `probe()`, a batch of one sequence, and the module for its `machine` and its count of
    training `sequences`. Members do not share a trace: 41 steps take 0.05 s to run and ten times that to draw.
    """

    name: ClassVar[str]
    caption: ClassVar[str] = ""  # what to look for, where a logger shows words beside pictures
    needs_memory: ClassVar[bool] = True
    suffix: ClassVar[str] = ".png"

    @validate_call
    def __init__(self, *, every: PositiveInt, folder: Path):
        self.key = f"figures/{self.name}"
        self.every = every
        self.folder = folder
        self.sequences_before = 0
        self.last_published: int | None = None

    def draw(self, trace: Trace) -> Figure:
        raise NotImplementedError

    def save(self, trace: Trace, path: Path) -> None:
        """Draw into a file. What is not a `Figure` overrides this in place of `draw`."""
        self.draw(trace).savefig(path)

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.sequences_before = pl_module.sequences

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        # A batch may step over a multiple of `every` without landing on it. Both counts belong to this batch, so a
        # resumed run draws when an uninterrupted one does, with nothing to save.
        if pl_module.sequences // self.every > self.sequences_before // self.every:
            self.publish(trainer, pl_module)

    def on_test_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        self.publish(trainer, pl_module)

    def publish(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Make the picture of now, unless it has just been made, and give it to every logger that takes images."""
        sequences = pl_module.sequences
        if not trainer.is_global_zero or sequences == self.last_published:
            return
        self.last_published = sequences
        trace = probe(trainer, pl_module)
        if self.needs_memory and trace.memory is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{self.name}_{sequences:08d}{self.suffix}"
        self.save(trace, path)
        caption = f"{self.name} after {sequences:,} sequences. {self.caption}".replace("_", " ").strip()
        for logger in trainer.loggers:
            show(logger, self.key, path, caption, sequences, trainer.global_step)


def probe(trainer: L.Trainer, pl_module: Any) -> Trace:
    """The trace of the task's fixed example."""
    return look(trainer, pl_module, trainer.datamodule.probe())  # type: ignore[attr-defined]


def look(trainer: L.Trainer, pl_module: Any, episode: Batch) -> Trace:
    """The trace of a batch of one, on the machine's device and in its precision."""
    batch = trainer.strategy.batch_to_device(episode)
    with evaluating(pl_module):
        return pl_module.machine.trace(trainer.precision_plugin.convert_input(batch))


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while. Each part gets its own mode back, for some may be frozen in training."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
