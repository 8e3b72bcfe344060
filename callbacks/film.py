"""How a machine learns to use its memory: one episode, over and over, as an animated GIF."""

import zlib
from dataclasses import replace
from math import floor, log
from pathlib import Path
from typing import Annotated, Any

import lightning as L
import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from pydantic import Field, PositiveInt, validate_call
from torch import Tensor

from callbacks.animation import CHANNEL, WIDTH, Map, coloured, page, write_gif
from callbacks.base import Picture, Vector, probe
from callbacks.drawing import BITS, READ_WEIGHTING, WRITE_WEIGHTING, numbered, take, used_slots
from callbacks.figures import wrong_bits
from ntm.trace import Trace

MILLISECONDS = 250  # that a frame stays
TOGETHER = 440  # pixels of all weightings, from top to bottom; more where a slot would be too small to see


class Film(Picture):
    """Logs `figures/film` when training ends: the fixed example's output and weightings, as they came to be.

    A frame is taken before the first step, whenever the sequences seen have grown by a factor of `growth` from `first`
    on, because what is learned early is learned quickly, and at the end. What was taken is in the checkpoints, so the
    film of a resumed run is whole. A machine without memory shows its output alone.
    """

    name = "film"
    caption = "The same episode from before the first step to the end of training."
    suffix = ".gif"

    @validate_call
    def __init__(
        self, *, first: PositiveInt, growth: Annotated[float, Field(gt=1)], folder: Path, vector: Vector | None
    ):
        super().__init__(folder=folder, vector=vector)
        self.first = first
        self.growth = growth
        self.taken: dict[int, bytes] = {}  # by sequences seen: what changes from frame to frame, compressed

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        if not pl_module.sequences:
            self.take(trainer, pl_module)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.number(pl_module.sequences) > self.number(pl_module.sequences_before):
            self.take(trainer, pl_module)

    def number(self, sequences: int) -> int:
        """Of the latest frame that is due."""
        return floor(log(sequences / self.first) / log(self.growth)) if sequences >= self.first else -1

    def take(self, trainer: L.Trainer, pl_module: Any) -> None:
        if trainer.is_global_zero:
            self.taken[pl_module.sequences] = frozen(probe(trainer, pl_module))

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        self.publish(trainer, pl_module)

    def on_test_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """A test adds nothing."""

    def save(self, trainer: L.Trainer, pl_module: Any, path: Path) -> bool:
        now = probe(trainer, pl_module)
        task = trainer.datamodule  # type: ignore[attr-defined]
        taken = self.taken | {pl_module.sequences: frozen(now)}  # a run that goes on would not have taken this one
        write_gif(path, frames(now, taken, task.title(task.probe_length)), MILLISECONDS)
        return True

    def state_dict(self) -> dict[str, Any]:
        return {"taken": dict(self.taken)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.taken = dict(state_dict["taken"])


def moving(trace: Trace) -> Float[Tensor, "time columns"]:
    """What changes from frame to frame: the outputs, and the weightings of every write and every read head."""
    heads = [] if trace.memory is None else [trace.memory.w_write.flatten(1), trace.memory.w_read.flatten(1)]
    return torch.cat([trace.outputs, *heads], dim=1)


def frozen(trace: Trace) -> bytes:
    """That in the 256 steps which a picture has, compressed."""
    return zlib.compress((255 * moving(trace)).round().byte().numpy(force=True).tobytes())


def frames(now: Trace, taken: dict[int, bytes], title: str) -> list[Image.Image]:
    """The episode as it went at each of these moments; `now` says what the columns are, and which slots are shown.

    What is of another size is of another episode: of before a run went on with another `task.probe_length`.
    """
    shape, device = moving(now).shape, now.outputs.device
    sizes = [now.outputs.shape[1]]
    step = max(2, WIDTH // len(now.outputs))
    target = Map(("target",), coloured(now.targets.T, BITS, step, CHANNEL))
    heads = []
    if now.memory is not None:
        heads = [("write", WRITE_WEIGHTING, now.memory.w_write), ("read", READ_WEIGHTING, now.memory.w_read)]
        sizes += [w.flatten(1).shape[1] for _, _, w in heads]
        slots = used_slots(now.memory.w_write, now.memory.w_read)
        row = min(8, max(2, TOGETHER // (len(slots) * sum(w.shape[1] for _, _, w in heads))))
        ends = (slots[0], slots[-1] % now.memory.M.shape[1])
    pages = []
    for sequences, compressed in sorted(taken.items()):
        values = np.frombuffer(zlib.decompress(compressed), np.uint8)
        if values.size != shape.numel():
            continue
        outputs, *weightings = (torch.tensor(values.reshape(shape), device=device) / 255).split(sizes, dim=1)
        wrong = wrong_bits(replace(now, outputs=outputs))
        maps = [target, Map(("output", wrong), coloured(outputs.T, BITS, step, CHANNEL))]
        for (kind, scale, like), w in zip(heads, weightings, strict=True):
            for name, head in numbered(f"{kind} head", w.unflatten(1, like.shape[1:])):
                maps.append(Map((name,), coloured(take(head, slots).T, scale, step, row), ends))
        pages.append(page(f"{title} - {sequences:,} sequences seen", maps))
    return pages
