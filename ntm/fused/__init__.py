"""The whole episode, forward and backward, as compiled CPU code behind one torch function.

Eager PyTorch issues some sixty small operations a step, each of which costs more to start than to do. Here Numba
compiles the loop over the steps itself. It reads the parameters of the same modules, so nothing but `Machine.engine`
knows which way an episode went; `ntm.machine` over `ntm.equations` stays the reference, and `tests/test_fused.py`
holds this package to it. The gradients are derived in `docs/fused.md`.

**Who does what.** `engine` is the torch function: it says how large the arrays are and shares the batch between
threads. `parameters` brings torch's weights and initial states into the kernels' order and the gradients back.
`episode` runs the steps, `cells` are the controllers', `interface` squashes what the heads are told, `addressing` and
`access` are the memory; in each, forward and backward of a stage stand side by side. `products` multiplies by weights,
`simd` and `elementary` are vectors of float32 and exp, log and tanh on them, `arena` hands memory on from episode to
episode, `compiled` keeps the kernels on disk.

**Sequences.** Eight go through a step together (`BLOCK`), because a weight that is loaded once then serves eight; a
block runs its whole episode before the next begins, so its memories stay in cache. Threads take whole ranges of
sequences. The sums over all sequences, of the gradients of weights and initial states, are in one order whatever their
number, those of weights shared by rows: any number of threads gives the same bits.

**The memory** of a sequence is M[tile, width, lane], tiles of sixteen slots with the numbers of those slots in
parallel: every loop over slots is a loop over vectors, and a pass over the memory walks straight on. The width goes
four numbers at a time, rows of one value: what all four want is loaded once, and their sums do not wait for each
other. Slots that fill up the last tile are zero and stay so; `outside` keeps them out of every softmax.

**A layer's operand** u is what its weights multiply, in one row: its own h before, the reads before, the input. So a
step of a layer is one product z = W u + b, its gradient du = W^T dz carries h and r a step back by itself, and all of
dW is one product over all steps after the episode.

**The tape** keeps what the backward pass needs of every step (about 7 KB at the paper's size): u, gates, cells,
interfaces, similarities and weightings. What is quicker to find again than to fetch is left out: the shifted
weightings, and of the memory itself, another 10 KB, all but every eighth (`EVERY`), between which the backward pass
writes it again. A step of the tape is fetched one step ahead: many arrays of eight sequences, walked backwards, are
more than the processor foresees. Inference runs on a tape of one step.
"""

from functools import cache
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from ntm.controllers.feedforward import FeedforwardController
from ntm.controllers.gru import GRUController
from ntm.controllers.lstm import LSTMController
from ntm.memories.matrix import MatrixMemory

CONTROLLERS = (LSTMController, GRUController, FeedforwardController)


@cache
def no_numba() -> str:
    """Why Numba cannot be used here; empty if it can."""
    try:
        import numba  # noqa: F401
    except ImportError as error:  # it is not there, or not made for the numpy that is
        return f"numba cannot be imported ({error}): pip install --upgrade numba"
    return ""


def why_not(machine: Any, inputs: Tensor) -> str:
    """Why the fused engine cannot run this machine on these inputs; empty if it can."""
    if type(machine.memory) is not MatrixMemory:
        return f"the fused engine does not know memory {type(machine.memory).__name__}"
    if type(machine.controller) not in CONTROLLERS:
        return f"the fused engine does not know controller {type(machine.controller).__name__}"
    for what, tensor in (("inputs", inputs), ("weights", machine.interface.weight)):
        if tensor.device.type != "cpu":
            return f"the {what} are on {tensor.device.type}, not on the cpu"
        if tensor.dtype != torch.float32:
            return f"the {what} are {tensor.dtype}, not torch.float32"
    parts = islice(machine.modules(), 1, None)
    if any(part._forward_pre_hooks or part._forward_hooks or part._backward_hooks for part in parts):
        return "a hook waits for what its parts are given"
    if inputs.shape[0] == 0 or inputs.shape[1] == 0:
        return "there is nothing to run"
    if torch.is_autocast_enabled("cpu"):
        return "autocast asks for other numbers than torch.float32"
    return no_numba()
