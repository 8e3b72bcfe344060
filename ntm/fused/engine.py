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
from ntm.fused.arena import Arena
from ntm.fused.cells import FEEDFORWARD, GRU, LSTM
from ntm.fused.compiled import Cache
from ntm.fused.episode import (
    BLOCK,
    EVERY,
    Gradients,
    Sizes,
    Tape,
    Weights,
    episode_backward,
    episode_forward,
    weight_gradient,
)
from ntm.fused.interface import Layout
from ntm.fused.simd import LANES

log = logging.getLogger(__name__)

FIRST_STATE = 7  # of the arguments of `Episode.forward`
PARTS = 16  # of the rows of a weight gradient, shared between threads

CELLS: dict[type, int] = {LSTMController: LSTM, GRUController: GRU, FeedforwardController: FEEDFORWARD}


def run(machine: Any, inputs: Tensor) -> Tensor:
    """Logits of every step of every sequence, as `Machine.forward` gives them."""
    controller, memory = machine.controller, machine.memory
    layers, states = layer_parameters(controller), [initial() for initial in getattr(controller, "state_0", ())]
    M_0, w_write_0, w_read_0, r_0 = memory.start()
    w_0 = torch.cat([w_write_0, w_read_0])
    if not memory.heads.by_location:
        w_0 = w_0.detach()  # nobody looks at where a head was
    ends = [machine.interface.weight, machine.interface.bias, machine.output.weight, machine.output.bias]
    tensors = [*ends, M_0, w_0, r_0, *layers, *states]
    keep = torch.is_grad_enabled() and (inputs.requires_grad or any(tensor.requires_grad for tensor in tensors))
    return Episode.apply(sizes(machine, len(M_0), inputs.shape[2]), keep, inputs, *tensors)


def prepare(machine: Any, inputs: Tensor) -> None:
    """Compile, or load, every kernel now, by an episode whose result nobody sees; no gradient is left behind."""
    before = Cache.seconds
    with torch.enable_grad():
        trained = [p for p in machine.parameters() if p.requires_grad]
        torch.autograd.grad(run(machine, inputs).sum(), trained, allow_unused=True)
    if Cache.seconds > before:
        log.info(f"compiled in {Cache.seconds - before:.0f} s")


def sizes(machine: Any, slots: int, inputs: int) -> Sizes:
    controller, memory, heads = machine.controller, machine.memory, machine.memory.heads
    pieces = accumulate(heads.sizes, initial=0)
    k, beta = next(pieces), next(pieces)
    g, s, gamma = (next(pieces), next(pieces), next(pieces)) if heads.by_location else (0, 0, 0)
    e, a, size = pieces
    cell, hidden = CELLS[type(controller)], controller.output_size
    return Sizes(
        cell=cell,
        hidden=hidden,
        own=0 if cell == FEEDFORWARD else hidden,
        inputs=inputs,
        reads=memory.read_size,
        slots=slots,
        write_then_read=memory.order == "write_then_read",
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
        ),
    )


def layer_parameters(controller: Any) -> list[Tensor]:
    """All layers' in turn: weight and bias of a feedforward layer, those of input and of own h of a recurrent one."""
    if type(controller) is FeedforwardController:
        return [p for layer in controller.layers for p in layer.parameters()]
    return [p for cell in controller.cells for p in (cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh)]


def join(cell: int, inputs: int, parameters: list[np.ndarray], weight: np.ndarray, bias: np.ndarray) -> None:
    """Write one layer to `weight` [gates, operand] and `bias`, both zero before, for its operand: own h, reads, input.

    `inputs` is how many columns of its own weight, the first, belong to the machine's input: none above layer 0.
    """
    w_x, *w_h = parameters[: len(parameters) // 2]
    b_x, *b_h = parameters[len(parameters) // 2 :]
    own = w_h[0].shape[1] if w_h else 0
    end = own + w_x.shape[1]
    weight[: len(w_x), own : end - inputs] = w_x[:, inputs:]
    weight[: len(w_x), end - inputs : end] = w_x[:, :inputs]
    bias[: len(b_x)] = b_x
    # A GRU's new content sees its input and its own past apart: two blocks of rows, each blind to the other.
    rows = 2 * own if cell == GRU else 4 * own
    for w, b in zip(w_h, b_h, strict=True):
        weight[:rows, :own] = w[:rows]
        bias[:rows] += b[:rows]
        weight[rows + own : 4 * own, :own] = w[rows:]
        bias[rows + own : 4 * own] = b[rows:]


def part(cell: int, inputs: int, own: int, dw: np.ndarray, db: np.ndarray) -> list[np.ndarray]:
    """The gradients of one layer's parameters from those of its joint weight and bias: `join` undone."""
    end = dw.shape[1] - inputs
    dw_x = np.concatenate([dw[:, end:], dw[:, own:end]], 1)
    if cell == FEEDFORWARD:
        return [dw_x, db]
    if cell == LSTM:
        return [dw_x, dw[:, :own].copy(), db, db.copy()]
    new, rows = 2 * own, 3 * own
    dw_h, db_h = (np.concatenate([d[:new], d[rows:]]) for d in (dw[:, :own], db))
    return [dw_x[:rows], dw_h, db[:rows], db_h]


def whole_vectors(size: int) -> int:
    return -(-size // LANES) * LANES


def into_tiles(M: np.ndarray) -> np.ndarray:
    """[slots width] to [tiles width LANES], the last tile filled up with zeros."""
    slots, width = M.shape
    padded = np.zeros((whole_vectors(slots), width), np.float32)
    padded[:slots] = M
    return padded.reshape(-1, LANES, width).transpose(0, 2, 1)


class Episode(torch.autograd.Function):
    """Logits from the inputs, the parameters and the initial states."""

    @staticmethod
    def forward(ctx: Any, sizes: Sizes, keep: bool, inputs: Tensor, *tensors: Tensor) -> Tensor:
        batch, time, _ = inputs.shape
        arena = Arena()
        empty, zeros = arena.empty, arena.zeros
        w_p, b_p, w_y, b_y, M_0, w_0, r_0, *rest = (tensor.detach().numpy() for tensor in tensors)
        recurrent = {LSTM: 2, GRU: 1, FEEDFORWARD: 0}[sizes.cell]  # states of a layer
        each = 2 if sizes.cell == FEEDFORWARD else 4  # parameters of a layer
        num_layers = len(rest) // (each + recurrent)
        states = rest[each * num_layers :]

        reads, hidden = sizes.reads, sizes.hidden
        gates = hidden if sizes.cell == FEEDFORWARD else 4 * hidden
        operands = [sizes.own + (reads + sizes.inputs if layer == 0 else hidden) for layer in range(num_layers)]
        operand = max(operands)
        slots, width, heads = whole_vectors(sizes.slots), sizes.layout.width, sizes.layout.heads
        packed = Weights(
            layers=zeros(num_layers, operand, whole_vectors(gates)),
            bias=zeros(num_layers, whole_vectors(gates)),
            interface=zeros(hidden, whole_vectors(sizes.layout.size)),
            interface_bias=zeros(whole_vectors(sizes.layout.size)),
            output=zeros(hidden + reads, whole_vectors(len(b_y))),
            output_bias=zeros(whole_vectors(len(b_y))),
            outside=zeros(slots),
        )
        joint = zeros(num_layers, gates, whole_vectors(operand))
        for layer, (weight, bias) in enumerate(zip(joint, packed.bias, strict=True)):
            inputs_here = sizes.inputs if layer == 0 else 0
            join(sizes.cell, inputs_here, rest[each * layer : each * (layer + 1)], weight, bias)
        packed.layers[:, :, :gates] = joint.transpose(0, 2, 1)[:, :operand]
        packed.interface[:, : sizes.layout.size] = w_p.T
        packed.interface_bias[: sizes.layout.size] = b_p
        packed.output[:, : len(b_y)] = w_y.T
        packed.output_bias[: len(b_y)] = b_y
        packed.outside[sizes.slots :] = -1e30

        steps, versions = (time, time + 1) if keep else (1, 2)
        cells = hidden if sizes.cell == LSTM else 0
        tape = Tape(
            u=empty(num_layers, batch, steps, whole_vectors(operand)),
            z=empty(num_layers, batch, steps, whole_vectors(gates)),
            c=empty(num_layers, batch, versions, cells),
            hr=empty(batch, time, whole_vectors(hidden + reads)),
            p=empty(batch, steps, whole_vectors(sizes.layout.size)),
            q=empty(batch, steps, whole_vectors(sizes.layout.size)),
            M=empty(batch, -(-time // EVERY) if keep else 1, slots // LANES, width, LANES),
            K=empty(batch, steps, heads, slots),
            w_c=empty(batch, steps, heads, slots),
            w_s=empty(batch, steps, heads, slots),
            log_w_s=empty(batch, steps, heads, slots),
            w=empty(batch, versions, heads, slots),
        )
        tape.M[:, 0] = into_tiles(M_0)
        tape.w[:, 0, :, : sizes.slots] = w_0
        tape.w[:, 0, :, sizes.slots :] = 0
        tape.u[0, :, 0, sizes.own : sizes.own + reads] = r_0.reshape(-1)
        for layer in range(num_layers):
            if recurrent:
                tape.u[layer, :, 0, :hidden] = states[layer * recurrent]
            if recurrent == 2:
                tape.c[layer, :, 0] = states[layer * recurrent + 1]

        x = np.ascontiguousarray(inputs.detach().numpy())
        h = empty(batch, whole_vectors(hidden))
        outputs = empty(batch, time, whole_vectors(len(b_y)))

        def forward(first: int, last: int) -> None:
            scratch = Arena()
            M = scratch.empty(BLOCK, 1, *tape.M.shape[2:])
            scale = scratch.empty(BLOCK, 1, slots)
            ring = scratch.zeros(slots + sizes.layout.shifts + LANES)
            episode_forward(first, last, x, outputs, tape, packed, sizes, h, M, scale, ring)

        share_batch(batch, forward)

        if keep:
            ctx.sizes, ctx.tape, ctx.outside, ctx.arena = sizes, tape, packed.outside, arena
            ctx.joint, ctx.operands, ctx.recurrent = joint, operands, recurrent
            ctx.save_for_backward(*tensors)
        return torch.from_numpy(outputs[:, :, : len(b_y)].copy())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_outputs: Tensor) -> tuple[Tensor | None, ...]:
        sizes, tape, joint, operands, recurrent = ctx.sizes, ctx.tape, ctx.joint, ctx.operands, ctx.recurrent
        w_p, _, w_y, _, _, _, r_0, *_ = (tensor.detach() for tensor in ctx.saved_tensors)
        num_layers, hidden, reads = len(joint), sizes.hidden, sizes.reads
        need_x = ctx.needs_input_grad[2]
        arena = Arena()
        empty, zeros = arena.empty, arena.zeros
        _, batch, time, operand = tape.u.shape
        packed = Weights(
            layers=joint,
            bias=zeros(1, 1),
            interface=zeros(sizes.layout.size, whole_vectors(hidden)),
            interface_bias=zeros(1),
            output=zeros(len(w_y), whole_vectors(hidden + reads)),
            output_bias=zeros(1),
            outside=ctx.outside,
        )
        packed.interface[:, :hidden] = w_p.numpy()
        packed.output[:, : hidden + reads] = w_y.numpy()

        gradients = Gradients(
            u=zeros(num_layers, batch, operand),
            c=zeros(num_layers, batch, tape.c.shape[3]),
            M=zeros(*tape.M[:, 0].shape),
            w=zeros(*tape.w[:, 0].shape),
            z=empty(*tape.z.shape),
            p=empty(*tape.p.shape),
            x=np.empty((batch, time, sizes.inputs) if need_x else (0, 0, 0), np.float32),
            hr=empty(*tape.hr.shape),
            h=empty(batch, whole_vectors(hidden)),
            r=empty(batch, reads),
        )
        d_y = np.ascontiguousarray(d_outputs.numpy())

        def backward(first: int, last: int) -> None:
            slots = tape.w.shape[3]
            scratch = Arena()
            M = scratch.empty(BLOCK, EVERY + 1, *tape.M.shape[2:])
            scale = scratch.empty(BLOCK, EVERY + 1, slots)
            ring = scratch.zeros(slots + sizes.layout.shifts + LANES)
            dw_c, spare = scratch.empty(slots), scratch.empty(slots)
            episode_backward(first, last, d_y, tape, gradients, packed, sizes, need_x, M, scale, ring, dw_c, spare)

        share_batch(batch, backward)

        def every_step(array: np.ndarray) -> np.ndarray:
            return array.reshape(batch * time, -1)

        hr = every_step(tape.hr)
        products = [
            (every_step(gradients.p), hr, w_p.shape),
            (every_step(d_y), hr, w_y.shape),
            *(
                (every_step(dz), every_step(u), (joint.shape[1], columns))
                for dz, u, columns in zip(gradients.z, tape.u, operands, strict=True)
            ),
        ]
        sums = [(empty(rows, whole_vectors(columns)), np.empty(rows, np.float32)) for *_, (rows, columns) in products]

        def multiply(first: int, last: int) -> None:
            for (d_z, u, (rows, _)), (d_weight, d_bias) in zip(products, sums, strict=True):
                start, stop = (rows if part == PARTS else part * (rows // PARTS) for part in (first, last))
                weight_gradient(start, stop, d_z, u, d_weight, d_bias)

        share_batch(PARTS, multiply)
        found = [(dw[:, :columns], db) for (*_, (_, columns)), (dw, db) in zip(products, sums, strict=True)]
        d_ends = [torch.from_numpy(d) for dw, db in found[:2] for d in (dw.copy(), db)]
        d_layers = [
            torch.from_numpy(d)
            for layer, (dw, db) in enumerate(found[2:])
            for d in part(sizes.cell, sizes.inputs if layer == 0 else 0, sizes.own, dw, db)
        ]
        # Summed by numpy, which starts no threads: torch's would wait for a core that somebody else has.
        needed = ctx.needs_input_grad[FIRST_STATE:]
        d_M = gradients.M.sum(0).transpose(0, 2, 1).reshape(-1, sizes.layout.width) if needed[0] else None
        d_w = gradients.w.sum(0) if needed[1] else None
        d_u = gradients.u.sum(1)
        d_states: list[Tensor | None] = []
        for layer in range(num_layers):
            if recurrent:
                d_states.append(torch.from_numpy(d_u[layer, :hidden]))
            if recurrent == 2:
                d_states.append(torch.from_numpy(gradients.c[layer].sum(0)))
        return (
            None,
            None,
            torch.from_numpy(gradients.x) if need_x else None,
            *d_ends,
            None if d_M is None else torch.from_numpy(d_M[: sizes.slots]),
            None if d_w is None else torch.from_numpy(d_w[:, : sizes.slots]),
            torch.from_numpy(d_u[0, sizes.own : sizes.own + reads]).view_as(r_0),
            *d_layers,
            *d_states,
        )


threads: dict[int, ThreadPoolExecutor] = {}


def share_batch(batch: int, work: Callable[[int, int], None]) -> None:
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
