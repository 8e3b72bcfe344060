"""The memory of section 3: a matrix addressed by content and by location."""

from contextlib import nullcontext
from dataclasses import dataclass
from math import sqrt
from typing import Any, Literal

import torch
from jaxtyping import Float
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt, validate_call
from torch import Tensor

from ntm import equations
from ntm.heads import Addressing, Heads
from ntm.initial import Initial, InitialWeighting, Kind, WeightingKind
from ntm.memories.base import Memory
from ntm.trace import MemoryTrace

WIDER = 100.0  # times the heads' bound is the weightings', whose gradient is a sum over a slot
GOLDEN = (sqrt(5) - 1) / 2  # its multiples fall evenly between whole numbers, and no two alike


@dataclass(frozen=True)
class MatrixState:
    """The memory, where its heads are, and what they read last."""

    M: Float[Tensor, "batch slots width"]
    w_write: Float[Tensor, "batch write_heads slots"]
    w_read: Float[Tensor, "batch read_heads slots"]
    r: Float[Tensor, "batch read_heads width"]


class Clipped(torch.autograd.Function):
    """x as it is; its gradient cut to [-bound, bound], number by number."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bound: float) -> Tensor:  # type: ignore[override]
        ctx.bound = bound
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return d.clamp(-ctx.bound, ctx.bound), None


class MatrixMemory(Memory):
    """`num_slots` vectors of `slot_width` numbers, under any number of write and read heads.

    With `order=write_then_read` a read head addresses and reads the memory as this step's write left it; with
    `read_then_write`, as the step found it. The paper leaves it open.

    In training mode at most the first `training_slots` of them are there (all, if None). Where they start alike, no
    parameter knows how many there are, and in a memory that hardly holds its episodes a machine cannot learn habits
    that harm longer ones, such as writing on after the last input into slots that nobody needs yet. A range, `(22,
    128)`, is another number of them in every step, lest a machine count on one: on a head that comes round after 24,
    say. Where every slot has a start of its own, random or learned, a machine must learn in all of them.

    `squash` passes keys and add vectors through tanh. The paper gives them no range.

    `gradient_clip_val` bounds, at every step of the backward pass, each number of the gradient that reaches what the
    heads are told (section 4.6: "during the training backward pass"); the bound of a weighting's gradient is a hundred
    times as high. What grows from step to step must pass there: sharpening alone multiplies the gradient of an even
    focus by gamma.
    """

    @validate_call
    def __init__(
        self,
        *,
        num_slots: PositiveInt,
        training_slots: PositiveInt | tuple[PositiveInt, PositiveInt] | None,
        slot_width: PositiveInt,
        num_read_heads: PositiveInt,
        num_write_heads: PositiveInt,
        addressing: Literal["content_and_location", "content"],
        shift_range: PositiveInt,
        order: Literal["write_then_read", "read_then_write"],
        initial_memory: Kind,
        initial_weighting: WeightingKind,
        initial_reads: Kind,
        initial_constant: float,
        initial_std: NonNegativeFloat,
        # Checkpoints from before these were there say nothing of them.
        squash: bool = True,
        gradient_clip_val: PositiveFloat | None = None,
    ):
        super().__init__()
        if shift_range % 2 == 0:
            raise ValueError(
                f"memory.shift_range={shift_range} must be odd, as many shifts back as ahead and one that stays. "
                f"Set memory.shift_range={shift_range + 1} for shifts of up to {shift_range // 2} slots."
            )
        fewest, most = training_slots if isinstance(training_slots, tuple) else (training_slots, training_slots)
        if fewest and most and fewest > most:
            raise ValueError(
                f"memory.training_slots=[{fewest},{most}] goes down. Set memory.training_slots=[{most},{fewest}]."
            )
        for key, slots in (("num_slots", num_slots), ("training_slots", fewest)):
            if slots is not None and shift_range > slots:
                raise ValueError(
                    f"memory.shift_range={shift_range} needs at least {shift_range} slots, but memory.{key}={slots}. "
                    f"Lower memory.shift_range or raise memory.{key}."
                )
        if isinstance(training_slots, tuple) and training_slots[1] > num_slots:
            raise ValueError(
                f"memory.training_slots=[{fewest},{most}] goes beyond memory.num_slots={num_slots}. Set "
                f"memory.training_slots=[{fewest},{num_slots}] or raise memory.num_slots."
            )
        for key, start in (("initial_memory", initial_memory), ("initial_weighting", initial_weighting)):
            if fewest and fewest < num_slots and start in ("random", "learned"):
                raise ValueError(
                    f"memory.{key}={start} gives every slot a start of its own, so no machine may learn in the first "
                    f"{fewest} alone and be measured in memory.num_slots={num_slots}. Set memory.training_slots=null."
                )
        self.num_slots, self.slot_width = num_slots, slot_width
        self.training_slots, self.fewest, self.most = fewest, fewest, most
        self.num_read_heads, self.num_write_heads = num_read_heads, num_write_heads
        self.order, self.gradient_clip_val = order, gradient_clip_val
        self.heads = Heads(
            num_read_heads=num_read_heads,
            num_write_heads=num_write_heads,
            slot_width=slot_width,
            shift_range=shift_range,
            by_location=addressing == "content_and_location",
            squash=squash,
        )
        self.interface_size = self.heads.interface_size
        self.read_size = num_read_heads * slot_width
        self.M_0 = Initial(initial_memory, (num_slots, slot_width), constant=initial_constant, std=initial_std)
        self.w_write_0 = InitialWeighting(initial_weighting, num_write_heads, num_slots)
        self.w_read_0 = InitialWeighting(initial_weighting, num_read_heads, num_slots)
        self.r_0 = Initial(initial_reads, (num_read_heads, slot_width), constant=initial_constant, std=initial_std)

    def at_step(self, step: int) -> None:
        """Choose between the fewest and the most slots: evenly, and alike in every process and after a resumption."""
        if self.fewest and self.most:
            self.training_slots = self.fewest + int(step * GOLDEN % 1 * (self.most - self.fewest + 1))

    def start(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Where one sequence starts: the memory, the weightings of the write and of the read heads, and the reads."""
        M, w_write, w_read = self.M_0(), self.w_write_0(), self.w_read_0()
        if self.training and self.training_slots:
            M, w_write, w_read = M[: self.training_slots], *(first(self.training_slots, w) for w in (w_write, w_read))
        return M, w_write, w_read, self.r_0()

    def initial_state(self, batch_size: int) -> MatrixState:
        return MatrixState(*(value.expand(batch_size, *value.shape) for value in self.start()))

    def forward(self, interface: Float[Tensor, "batch interface"], state: MatrixState) -> MatrixState:
        # In the short numbers of autocast the guards against 0 / 0 would vanish, and a sharp head would lose its slot.
        device = interface.device.type
        shortened = device != "meta" and torch.is_autocast_enabled(device)
        with torch.autocast(device, enabled=False) if shortened else nullcontext():
            interface = interface.to(state.M.dtype)
            heads = self.heads.cut(self.clipped(interface))
            w_write = self.clipped(self.address(heads.write, state.M, state.w_write), WIDER)
            M = equations.add(equations.erase(state.M, w_write, heads.e), w_write, heads.a)
            M_read = M if self.order == "write_then_read" else state.M
            w_read = self.clipped(self.address(heads.read, M_read, state.w_read), WIDER)
            return MatrixState(M=M, w_write=w_write, w_read=w_read, r=equations.read(M_read, w_read))

    def address(
        self,
        head: Addressing,
        M: Float[Tensor, "batch slots width"],
        w_prev: Float[Tensor, "batch heads slots"],
    ) -> Float[Tensor, "batch heads slots"]:
        """Find by content, then move by location: figure 2 of the paper, from left to right."""
        w_c = equations.content_weighting(head.k, head.beta, M)
        if not self.heads.by_location:
            return w_c
        w_g = equations.interpolate(head.g, w_c, w_prev)
        w_shifted = equations.shift(head.s, w_g)
        return equations.sharpen(head.gamma, w_shifted)

    def clipped(self, x: Tensor, times: float = 1.0) -> Tensor:
        """x as it is, its gradient within so many times the bound, if there is one."""
        return x if self.gradient_clip_val is None else Clipped.apply(x, times * self.gradient_clip_val)

    def reads(self, state: MatrixState) -> Float[Tensor, "batch reads"]:
        return state.r.flatten(1)

    def trace(self, interfaces: Float[Tensor, "time interface"], states: list[MatrixState]) -> MemoryTrace:
        heads = self.heads.cut(interfaces)
        stacked = {name: torch.cat([getattr(s, name) for s in states]) for name in ("M", "w_write", "w_read", "r")}
        return MemoryTrace(**stacked, e=heads.e, a=heads.a, write=heads.write, read=heads.read)


def first(num_slots: int, w: Float[Tensor, "heads all"]) -> Float[Tensor, "heads slots"]:
    """The weightings over the first slots alone."""
    w = w[:, :num_slots]
    return w / w.sum(-1, keepdim=True)
