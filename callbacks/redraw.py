"""New random initial states in the middle of training."""

import logging
from typing import Any

import lightning as L
from pydantic import NonNegativeInt, PositiveInt, validate_call

from ntm.initial import Initial
from tasks.base import generator

log = logging.getLogger(__name__)


class RedrawInitialStates(L.Callback):
    """Draws every random initial state anew, once, when `at` training sequences have been seen; the weights stay.

    Does the machine know its task, or only the states that it has always started from? Constant and learned states
    stay as they are. Logs no key; says in the log what it did.
    """

    @validate_call
    def __init__(self, *, at: PositiveInt, seed: NonNegativeInt):
        self.at = at
        self.seed = seed

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        # Both counts belong to this batch, so a run that is resumed later does not redraw again.
        if not pl_module.sequences_before < self.at <= pl_module.sequences:
            return
        # The same seed in every process, so that their machines stay equal.
        numbers = generator("redraw", self.seed)
        initials = [part for part in pl_module.modules() if isinstance(part, Initial)]
        for initial in initials:
            initial.redraw(numbers)
        redrawn = sum(initial.kind == "random" for initial in initials)
        log.info(
            "redrew %d of %d initial states after %s sequences", redrawn, len(initials), f"{pl_module.sequences:,}"
        )
        if not redrawn:
            log.warning(
                "callbacks=redraw changed nothing: no initial state is random. Set "
                "memory.initial_memory=random memory.training_slots=null."
            )
