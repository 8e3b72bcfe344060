"""What every head does, in a few figures."""

from typing import Any

import lightning as L
import torch
from jaxtyping import Float
from torch import Tensor

from callbacks.base import probe
from ntm.heads import Addressing
from ntm.trace import MemoryTrace


class HeadFigures(L.Callback):
    """Logs at every validation, over the steps of the task's fixed example, for every head, as `head/read0/peak`:

    - `peak`: its greatest weight; 1 is a focus on a single slot
    - `entropy`: of its weighting, in bits; 0 is a single slot, 7 is evenly over 128
    - `gate`: g; 1 finds its place by content, 0 moves from where it was
    - `strength`: beta, of the key
    - `shift`: expected, in slots; 1 is a step ahead
    - `sharpening`: gamma; 1 is none
    - `erase`, `add`: the sizes of what a write head erases and adds, in each of the slot's numbers

    Each is a mean over the steps. Training goes on as if nobody had looked. A machine without memory has no heads.
    """

    only_looks = True

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if trainer.sanity_checking:
            return
        memory = probe(trainer, pl_module).memory
        if memory is not None:
            figures = {f"head/{name}": value for name, value in head_figures(memory).items()}
            pl_module.log_dict(figures, sync_dist=True)  # the same in every process


def head_figures(memory: MemoryTrace) -> dict[str, Float[Tensor, ""]]:
    """Every figure of every head over an episode, as `read0/peak`; heads are counted from 0."""
    return {
        f"{kind}{head}/{name}": mean
        for kind, figures in over_steps(memory).items()
        for name, values in figures.items()
        for head, mean in enumerate(values.mean(0))
    }


def over_steps(memory: MemoryTrace) -> dict[str, dict[str, Float[Tensor, "time heads"]]]:
    """Every figure of the read and of the write heads, at every step of an episode."""
    written = {"erase": memory.e.mean(-1), "add": memory.a.abs().mean(-1)}
    return {
        "read": addressing_figures(memory.w_read, memory.read),
        "write": addressing_figures(memory.w_write, memory.write) | written,
    }


def addressing_figures(
    w: Float[Tensor, "time heads slots"], told: Addressing
) -> dict[str, Float[Tensor, "time heads"]]:
    """What where a head is and what it was told come to at every step."""
    reach = told.s.shape[-1] // 2
    shifts = torch.arange(-reach, reach + 1, device=w.device, dtype=w.dtype)
    return {
        "peak": w.amax(-1),
        "entropy": -torch.xlogy(w, w).sum(-1) / torch.log(w.new_tensor(2)),
        "gate": told.g,
        "strength": told.beta,
        "shift": told.s @ shifts,
        "sharpening": told.gamma,
    }
