"""The fused episode as one torch function: parameters in, logits out, gradients back."""

import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ntm.controllers.feedforward import FeedforwardController
from ntm.controllers.gru import GRUController
from ntm.controllers.lstm import LSTMController
from ntm.fused.arena import Arena, Shapes
from ntm.fused.cells import FEEDFORWARD, GRU, LSTM
from ntm.fused.compiled import Cache
from ntm.fused.episode import (
    BLOCK,
    EVERY,
    Gradients,
    Scratch,
    Tape,
    episode_backward,
    episode_forward,
    weight_gradients,
)
from ntm.fused.interface import Layout
from ntm.fused.parameters import Sizes, Weights, pack, unpack
from ntm.fused.simd import LANES
from ntm.memories.matrix import WIDER

log = logging.getLogger(__name__)

SHARES = 16  # of the rows of a weight gradient, between threads

CELLS: dict[type, int] = {LSTMController: LSTM, GRUController: GRU, FeedforwardController: FEEDFORWARD}


def run(machine: Any, inputs: Tensor) -> Tensor:
    """Logits of every step of every sequence, as `Machine.forward` gives them."""
    controller, memory = machine.controller, machine.memory
    interface, output = machine.interface, machine.output
    M_0, w_write_0, w_read_0, r_0 = memory.start()
    if not memory.heads.by_location:  # nobody looks at where a head was
        w_write_0, w_read_0 = w_write_0.detach(), w_read_0.detach()
    tensors = [
        *(interface.weight, interface.bias, output.weight, output.bias),
        *layer_parameters(controller),
        *(initial() for initial in getattr(controller, "state_0", ())),
        *(M_0, w_write_0, w_read_0, r_0),
    ]
    return Episode.apply(sizes(machine, len(M_0)), torch.is_grad_enabled(), inputs, *tensors)


def prepare(machine: Any, inputs: Tensor) -> None:
    """Compile, or load, every kernel now, by an episode whose result nobody sees; no gradient is left behind."""
    before = Cache.seconds
    with torch.enable_grad():
        trained = [p for p in machine.parameters() if p.requires_grad]
        torch.autograd.grad(run(machine, inputs).sum(), trained, allow_unused=True)
    if Cache.seconds > before:
        log.info(f"compiled in {Cache.seconds - before:.0f} s")


def sizes(machine: Any, slots: int) -> Sizes:
    controller, memory, heads = machine.controller, machine.memory, machine.memory.heads
    cell, hidden = CELLS[type(controller)], controller.output_size
    layers = controller.layers if cell == FEEDFORWARD else controller.cells
    pieces = accumulate(heads.sizes, initial=0)
    k, beta = next(pieces), next(pieces)
    g, s, gamma = (next(pieces), next(pieces), next(pieces)) if heads.by_location else (0, 0, 0)
    e, a, size = pieces
    clip = np.inf if memory.gradient_clip_val is None else memory.gradient_clip_val
    return Sizes(
        cell=cell,
        layers=len(layers),
        hidden=hidden,
        own=0 if cell == FEEDFORWARD else hidden,
        states={LSTM: 2, GRU: 1, FEEDFORWARD: 0}[cell],
        gates=hidden if cell == FEEDFORWARD else 4 * hidden,
        inputs=machine.input_size,
        reads=memory.read_size,
        outputs=machine.output.out_features,
        slots=slots,
        write_then_read=memory.order == "write_then_read",
        clip=np.float32(clip),
        clip_w=np.float32(WIDER * clip),
        layout=Layout(
            k=k,
            beta=beta,
            g=g,
            s=s,
            gamma=gamma,
            e=e,
            a=a,
            size=size,
            write_heads=heads.num_write_heads,
            heads=heads.num_heads,
            width=heads.slot_width,
            shifts=heads.shift_range,
            by_location=heads.by_location,
            squash=heads.squash,
        ),
    )


def layer_parameters(controller: Any) -> list[Tensor]:
    """All layers' in turn: weight and bias of a feedforward layer, those of input and of own h of a recurrent one."""
    if type(controller) is FeedforwardController:
        return [p for layer in controller.layers for p in layer.parameters()]
    return [p for cell in controller.cells for p in (cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh)]


def whole_vectors(size: int) -> int:
    return -(-size // LANES) * LANES


def tape_shapes(sizes: Sizes, batch: int, time: int, keep: bool) -> Shapes:
    """All steps to `keep`; or one, which every step writes over."""
    steps, versions = (time, time + 1) if keep else (1, 2)
    layers, hidden, heads, width = sizes.layers, sizes.hidden, sizes.layout.heads, sizes.layout.width
    gates, interface, slots = whole_vectors(sizes.gates), whole_vectors(sizes.layout.size), whole_vectors(sizes.slots)
    return {
        "u": (layers, batch, steps, whole_vectors(widest_operand(sizes))),
        "z": (layers, batch, steps, gates),
        "c": (layers, batch, versions, whole_vectors(hidden) if sizes.cell == LSTM else 0),
        "h": (batch, whole_vectors(hidden)),
        "hr": (batch, time, whole_vectors(hidden + sizes.reads)),
        "p": (batch, steps, interface),
        "q": (batch, steps, interface),
        "M": (batch, -(-time // EVERY) if keep else 1, slots // LANES, width, LANES),
        "K": (batch, steps, heads, slots),
        "w_c": (batch, steps, heads, slots),
        "w": (batch, versions, heads, slots),
    }


def gradient_shapes(sizes: Sizes, batch: int, time: int, need_x: bool) -> Shapes:
    tape = tape_shapes(sizes, batch, time, True)
    return {
        "u": (sizes.layers, batch, tape["u"][3]),
        "c": (sizes.layers, batch, tape["c"][3]),
        "M": (batch, *tape["M"][2:]),
        "w": (batch, *tape["w"][2:]),
        "z": tape["z"],
        "p": tape["p"],
        "x": (batch, time, sizes.inputs) if need_x else (0, 0, 0),
        "hr": (batch, tape["hr"][2]),
        "h": tape["h"],
        "r": (batch, sizes.reads),
    }


def forward_shapes(sizes: Sizes) -> Shapes:
    """Of the weights for the forward pass."""
    gates, seen = whole_vectors(sizes.gates), sizes.hidden + sizes.reads
    said, outputs = whole_vectors(sizes.layout.size), whole_vectors(sizes.outputs)
    return {
        "layers": (sizes.layers, widest_operand(sizes), gates),
        "bias": (sizes.layers, gates),
        "interface": (sizes.hidden, said),
        "interface_bias": (said,),
        "output": (seen, outputs),
        "output_bias": (outputs,),
    }


def backward_shapes(sizes: Sizes) -> Shapes:
    """Of the weights for the backward pass, and of their gradients."""
    forward = forward_shapes(sizes)
    return {
        "layers": (sizes.layers, sizes.gates, whole_vectors(widest_operand(sizes))),
        "bias": forward["bias"],
        "interface": (sizes.layout.size, whole_vectors(sizes.hidden)),
        "interface_bias": forward["interface_bias"],
        "output": (sizes.outputs, whole_vectors(sizes.hidden + sizes.reads)),
        "output_bias": forward["output_bias"],
    }


def scratch_shapes(sizes: Sizes, versions: int) -> Shapes:
    """For one thread, with room for so many memories of every sequence of a block."""
    slots = whole_vectors(sizes.slots)
    return {
        "M": (BLOCK, versions, slots // LANES, sizes.layout.width, LANES),
        "scale": (BLOCK, versions, slots),
        "ring": (slots + sizes.layout.shifts + LANES,),
        "outside": (slots,),
        "dw_c": (slots,),
        "spare": (slots,),
    }


def widest_operand(sizes: Sizes) -> int:
    above = sizes.hidden if sizes.layers > 1 else 0
    return sizes.own + max(sizes.reads + sizes.inputs, above)


class Episode(torch.autograd.Function):
    """Logits from the inputs, the parameters and the initial states."""

    @staticmethod
    def forward(ctx: Any, sizes: Sizes, learns: bool, inputs: Tensor, *tensors: Tensor) -> Tensor:
        batch, time, _ = inputs.shape
        keep = learns and any(ctx.needs_input_grad)
        arena = Arena()
        tape = Tape(**arena.arrays(tape_shapes, sizes, batch, time, keep))
        weights, back = Weights(**arena.arrays(forward_shapes, sizes)), Weights(**arena.arrays(backward_shapes, sizes))
        vector = np.concatenate([tensor.detach().numpy().ravel() for tensor in tensors])
        pack(vector, weights, back, sizes)
        x = np.ascontiguousarray(inputs.detach().numpy())
        outputs = np.empty((batch, time, len(weights.output_bias)), np.float32)

        def forward(first: int, last: int) -> None:
            lent = Arena()
            scratch = Scratch(**lent.arrays(scratch_shapes, sizes, 1))
            episode_forward(first, last, x, outputs, vector, tape, weights, scratch, sizes)

        share(batch, forward)
        if keep:
            ctx.sizes, ctx.tape, ctx.weights, ctx.arena = sizes, tape, back, arena
            ctx.save_for_backward(*tensors)
        return torch.from_numpy(outputs[:, :, : sizes.outputs].copy())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_outputs: Tensor) -> tuple[Tensor | None, ...]:
        sizes, tape, weights, tensors = ctx.sizes, ctx.tape, ctx.weights, ctx.saved_tensors
        batch, time, _ = d_outputs.shape
        need_x, arena = ctx.needs_input_grad[2], Arena()
        gradients = Gradients(**arena.arrays(gradient_shapes, sizes, batch, time, need_x))
        found = Weights(**arena.arrays(backward_shapes, sizes))
        d_y = np.ascontiguousarray(d_outputs.numpy())

        def backward(first: int, last: int) -> None:
            lent = Arena()
            scratch = Scratch(**lent.arrays(scratch_shapes, sizes, EVERY + 1))
            episode_backward(first, last, d_y, tape, gradients, weights, scratch, sizes, need_x)

        share(batch, backward)

        def sum_up(first: int, last: int) -> None:
            weight_gradients(first, last, SHARES, d_y, tape, gradients, found, sizes)

        share(SHARES, sum_up)
        lengths = [tensor.numel() for tensor in tensors]
        vector = np.empty(sum(lengths), np.float32)
        unpack(vector, found, gradients, sizes)
        parts = torch.from_numpy(vector).split(lengths)
        d_tensors = [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]
        return None, None, torch.from_numpy(gradients.x.copy()) if need_x else None, *d_tensors


threads: dict[int, ThreadPoolExecutor] = {}


def share(batch: int, work: Callable[[int, int], None]) -> None:
    """Run work(first, last) over the batch, in as many threads as torch uses.

    No sum runs over sequences and a tile's shape changes no sum, so the shares change no bit of the result.
    """
    shares = min(torch.get_num_threads(), batch)
    if shares == 1:
        work(0, batch)
        return
    unit = 4 if batch >= 4 * shares else 1  # matrix products like multiples of four sequences
    ends = [unit * round(batch * i / shares / unit) for i in range(shares)] + [batch]
    pid = os.getpid()
    if pid not in threads:  # a forked child inherits the pool but not its threads
        threads.clear()
        threads[pid] = ThreadPoolExecutor(thread_name_prefix="ntm-fused")
    others = [threads[pid].submit(work, *ends[i : i + 2]) for i in range(1, shares)]
    work(*ends[:2])
    for other in others:
        other.result()
