"""What the controller tells the heads: one interface vector, cut into the paper's parameters, each put in its range."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Addressing:
    """Where heads should focus: section 3.3."""

    k: Float[Tensor, "*lead heads width"]  # key; in (-1, 1) if squashed
    beta: Float[Tensor, "*lead heads"]  # key strength, > 0
    g: Float[Tensor, "*lead heads"]  # interpolation gate, in (0, 1)
    s: Float[Tensor, "*lead heads shifts"]  # shift weighting, sums to 1
    gamma: Float[Tensor, "*lead heads"]  # sharpening, >= 1


@dataclass(frozen=True)
class Emission:
    """All that an interface vector says: where to write and to read, and what to write."""

    write: Addressing
    read: Addressing
    e: Float[Tensor, "*lead write_heads width"]  # erase vector, in (0, 1)
    a: Float[Tensor, "*lead write_heads width"]  # add vector; in (-1, 1) if squashed


class Heads:
    """Cuts interface vectors for `num_write_heads` and `num_read_heads`; the write heads come first in every piece.

    Heads that address by content alone emit no gate, shift or sharpening; theirs are the constants that change nothing.
    `squash` passes keys and add vectors through tanh.
    """

    def __init__(
        self,
        *,
        num_read_heads: int,
        num_write_heads: int,
        slot_width: int,
        shift_range: int,
        by_location: bool,
        squash: bool,
    ):
        self.num_write_heads = num_write_heads
        self.num_heads = num_write_heads + num_read_heads
        self.slot_width = slot_width
        self.shift_range = shift_range
        self.by_location = by_location
        self.squash = squash
        location = [self.num_heads, self.num_heads * shift_range, self.num_heads] if by_location else []
        write = [num_write_heads * slot_width] * 2
        self.sizes = [self.num_heads * slot_width, self.num_heads, *location, *write]  # k, beta, (g, s, gamma), e, a
        self.interface_size = sum(self.sizes)

    def cut(self, interface: Float[Tensor, "*lead interface"]) -> Emission:
        """Slice, and put each piece in its range."""
        k, beta, *location, e, a = interface.split(self.sizes, dim=-1)
        k, e, a = (piece.unflatten(-1, (-1, self.slot_width)) for piece in (k, e, a))
        if self.squash:
            k, a = torch.tanh(k), torch.tanh(a)
        if self.by_location:
            g, s, gamma = location
            g = torch.sigmoid(g)
            s = torch.softmax(s.unflatten(-1, (-1, self.shift_range)), dim=-1)
            gamma = 1 + F.softplus(gamma)
        else:
            g = gamma = torch.ones_like(beta)
            s = F.one_hot(torch.tensor(self.shift_range // 2, device=beta.device), self.shift_range)
            s = s.to(beta.dtype).expand(*beta.shape, -1)
        pieces = (k, F.softplus(beta), g, s, gamma)
        parts = [self.num_write_heads, self.num_heads - self.num_write_heads]
        (k_w, k_r), (beta_w, beta_r), (g_w, g_r), (s_w, s_r), (gamma_w, gamma_r) = (
            piece.split(parts, dim=interface.ndim - 1) for piece in pieces
        )
        return Emission(
            write=Addressing(k_w, beta_w, g_w, s_w, gamma_w),
            read=Addressing(k_r, beta_r, g_r, s_r, gamma_r),
            e=torch.sigmoid(e),
            a=a,
        )
