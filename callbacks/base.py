"""The contract of a picture: of a fixed example every so many sequences, or of a run at its end."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import lightning as L
from matplotlib.figure import Figure
from pydantic import PositiveInt, validate_call
from torch import nn

from callbacks.drawing import styled, title
from callbacks.loggers import show
from ntm.batch import Batch
from ntm.trace import Trace

Vector = Literal["svg", "pdf"]


class Picture(L.Callback, ABC):
    """Makes a picture and publishes it after a test, which ends a run.

    A new member states its `name`, says in its `caption` what to look for and in `save` how it is made; what
    matplotlib draws is an `Overview` of a run or a `Probe` of one episode. It is written as
    `<folder>/<name>_<sequences>`, in PNG and, where `vector` is not None, in that format beside it, and goes as
    `figures/<name>` to every logger that takes images. Training goes on as if nobody had looked: no random number is
    drawn, and every mode is put back.

    It asks the datamodule for `probe()`, a batch of one sequence, for its `probe_length`, for the `title` and the
    `phases` of a length, and for the `best_guess` of a batch; and the module for its `machine` and its count of
    training `sequences`.
    """

    name: ClassVar[str]
    caption: ClassVar[str] = ""  # what to look for, where a logger shows words beside pictures
    suffix: ClassVar[str] = ".png"
    only_looks: ClassVar[bool] = True  # so that a resumed run may have it otherwise, as every callback that says this

    @validate_call
    def __init__(self, *, folder: Path, vector: Vector | None):
        self.key = f"figures/{self.name}"
        self.folder = folder
        self.vector = vector
        self.last_published: int | None = None

    @abstractmethod
    def save(self, trainer: L.Trainer, pl_module: Any, path: Path) -> bool:
        """Make the picture of now into a file; False where there is nothing to show."""

    def heading(self, trainer: L.Trainer, pl_module: Any) -> str:
        """What the picture is of, and how much the machine has seen."""
        return f"{self.title(trainer.datamodule)} - {pl_module.sequences:,} sequences seen"  # type: ignore[attr-defined]

    def title(self, task: Any) -> str:
        """What the picture is of: the task, for a picture of all of it has no length."""
        return task.title()

    def on_test_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        self.publish(trainer, pl_module)

    def publish(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Make the picture of now, unless it has just been made, and give it to every logger that takes images."""
        sequences = pl_module.sequences
        if not trainer.is_global_zero or sequences == self.last_published:
            return
        self.last_published = sequences
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{self.name}_{sequences:08d}{self.suffix}"
        if self.save(trainer, pl_module, path):
            caption = f"{self.name} after {sequences:,} sequences. {self.caption}".replace("_", " ").strip()
            for logger in trainer.loggers:
                show(logger, self.key, path, caption, sequences, trainer.global_step)


class Overview(Picture):
    """Draws a run, after a test. A new member states its `name` and its `figure`."""

    @abstractmethod
    def figure(self, trainer: L.Trainer, pl_module: Any) -> Figure | None:
        """The picture of now, or None where there is nothing to show."""

    def save(self, trainer: L.Trainer, pl_module: Any, path: Path) -> bool:
        figure = self.figure(trainer, pl_module)
        if figure is not None:
            write(figure, path, self.heading(trainer, pl_module), self.vector)
        return figure is not None


class Periodic(Picture):
    """A picture of one fixed example, `every` so many sequences and after a test.

    A member sets `needs_memory` to False if it can do without one. Members do not share a trace: 41 steps take 0.03 s
    to run and ten times that to draw.
    """

    needs_memory: ClassVar[bool] = True

    @validate_call
    def __init__(self, *, every: PositiveInt, folder: Path, vector: Vector | None):
        super().__init__(folder=folder, vector=vector)
        self.every = every

    def title(self, task: Any) -> str:
        return task.title(task.probe_length)

    def trace(self, trainer: L.Trainer, pl_module: Any) -> Trace | None:
        """What happened in the fixed example, or None where it has no memory and needs one."""
        trace = probe(trainer, pl_module)
        return None if self.needs_memory and trace.memory is None else trace

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        # A batch may step over a multiple of `every` without landing on it. Both counts belong to this batch, so a
        # resumed run draws when an uninterrupted one does, with nothing to save.
        if pl_module.sequences // self.every > pl_module.sequences_before // self.every:
            self.publish(trainer, pl_module)


class Probe(Periodic):
    """Runs one fixed example through the machine and draws what happened. A new member states its `name` and `draw`."""

    @abstractmethod
    def draw(self, trace: Trace) -> Figure:
        """What happened, as a figure."""

    def save(self, trainer: L.Trainer, pl_module: Any, path: Path) -> bool:
        trace = self.trace(trainer, pl_module)
        if trace is not None:
            write(self.draw(trace), path, self.heading(trainer, pl_module), self.vector)
        return trace is not None


def probe(trainer: L.Trainer, pl_module: Any) -> Trace:
    """The trace of the task's fixed example, its phases named."""
    task = trainer.datamodule  # type: ignore[attr-defined]
    return replace(look(trainer, pl_module, task.probe()), phases=task.phases(task.probe_length))


def look(trainer: L.Trainer, pl_module: Any, episode: Batch) -> Trace:
    """The trace of a batch of one, on the machine's device and in its precision, and the task's best guess."""
    batch = trainer.strategy.batch_to_device(episode)
    with evaluating(pl_module):
        trace = pl_module.machine.trace(trainer.precision_plugin.convert_input(batch))
    best_guess = trainer.datamodule.best_guess(batch)  # type: ignore[attr-defined]
    return trace if best_guess is None else replace(trace, best_guess=best_guess[0])


@styled
def write(figure: Figure, path: Path, heading: str, vector: Vector | None) -> None:
    """A picture under its title into a PNG, and into a vector format beside it, if one is chosen."""
    title(figure, heading)
    figure.savefig(path)
    if vector:
        figure.savefig(path.with_suffix(f".{vector}"))


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
