"""What Lightning does at every step for nobody, which the step of a small machine is short enough to feel."""

from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

import lightning as L
from lightning.pytorch.profilers import PassThroughProfiler

STEP = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)


class Unprofiled(PassThroughProfiler):
    """Lightning's profiler that measures nothing, without the generator that it starts for every call of a hook."""

    nothing = nullcontext()

    def profile(self, action_name: str) -> Any:
        return self.nothing


def skip_empty_hooks(callbacks: Iterable[L.Callback]) -> None:
    """Have Lightning pass over the hooks of a step that a callback leaves empty; it would call each of them."""
    for callback in callbacks:
        for hook in STEP:
            if getattr(type(callback), hook) is getattr(L.Callback, hook):
                setattr(callback, hook, None)
