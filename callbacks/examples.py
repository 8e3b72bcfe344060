"""What the measured machine answered, sequence by sequence."""

from typing import Any

import lightning as L
import numpy as np
from jaxtyping import Float
from PIL import Image
from pydantic import PositiveInt, validate_call
from torch import Tensor

from callbacks.loggers import tabulate, takes_tables
from ntm.batch import Batch
from ntm.metrics import error_bits

CELL = 4  # pixels of a channel and of a step


class Examples(L.Callback):
    """Gives W&B after a test the table `test/examples`: the first `count` sequences of every test length.

    A row has the input of all steps, the target, the probability answered and their difference on the steps that count,
    and the number of wrong bits. Black is 1; of the difference, a wrong bit.
    """

    only_looks = True

    @validate_call
    def __init__(self, *, count: PositiveInt):
        self.count = count
        self.rows: list[dict[str, Any]] = []

    def on_test_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        shown = trainer.is_global_zero and any(takes_tables(logger) for logger in trainer.loggers)
        if shown and batch_idx == 0:
            few = Batch(*(field[: self.count] for field in batch))
            logits: Tensor = outputs[: self.count]
            wrong = error_bits(logits, few.targets, few.mask)
            for i, (inputs, targets, mask) in enumerate(zip(*few, strict=True)):
                target, answer = targets[mask], logits[i][mask].sigmoid()
                self.rows.append(
                    {
                        "length": pl_module.test_names[dataloader_idx],
                        "example": i,
                        "wrong bits": int(wrong[i]),
                        "input": grey(inputs),
                        "target": grey(target),
                        "answer": grey(answer),
                        "difference": grey((answer - target).abs()),
                    }
                )

    def on_test_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        for logger in trainer.loggers:
            tabulate(logger, "test/examples", self.rows, pl_module.sequences, trainer.global_step)
        self.rows = []


def grey(values: Float[Tensor, "time channels"]) -> Image.Image:
    """Channels down, time to the right, from 0 in white to 1 in black."""
    pixels = (255 * (1 - values.T.clamp(0, 1))).round().numpy(force=True).astype(np.uint8)
    image = Image.fromarray(pixels)
    return image.resize((CELL * image.width, CELL * image.height), Image.Resampling.NEAREST)
