"""Copy: store a sequence and say it back (section 4.1)."""

from math import sqrt
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, PositiveInt, validate_call
from torch import Tensor

from ntm.batch import Batch
from ntm.trace import Phase
from tasks.base import Length, Task, ask, random_bits

Rate = Annotated[float, Field(ge=0, le=1)]


class Copy(Task):
    """`num_bits` random bits a step, then a delimiter on a channel of its own, then blanks while the answer is due.

        time        0 1 2 3 | 4 5 6
        bits        1 0 1   |           input
                    0 1 1   |
        delimiter         1 |
        answer              | 1 0 1     target, and the only steps the mask counts
                            | 0 1 1

    The paper trains on 1 to 20 vectors of 8 bits and tests to 120. `layout=keras` is that of the 2020 Keras experiment
    which this project grew from: a start flag on channel 8 before the vectors and an end flag on channel 9 after them.

    To learn from, `sparse_rate` of the sequences have few bits set, which fair coins make too rare to be learned: blank
    vectors look like the steps of the answer, and those with a bit or two hardly differ from them. In `skewed_rate` of
    the rest every bit has a share of its own, so that vectors are alike: a head that one of them tips is tipped again.
    """

    @validate_call
    def __init__(
        self,
        *,
        num_bits: PositiveInt,
        layout: Literal["paper", "keras"],
        sparse_rate: Rate,
        skewed_rate: Rate = 0.0,  # checkpoints from before it was there say nothing of it
        **stream: Any,
    ):
        super().__init__(**stream)
        self.num_bits = num_bits
        self.sparse_rate, self.skewed_rate = sparse_rate, skewed_rate
        self.num_flags = 1 if layout == "paper" else 2
        self.input_size = num_bits + self.num_flags
        self.output_size = num_bits

    def sample(self, length: Length, batch_size: int, generator: torch.Generator) -> Batch:
        assert isinstance(length, int)
        return self.episodes(random_bits(batch_size, length, self.num_bits, generator=generator))

    def training_sample(self, length: Length, batch_size: int, generator: torch.Generator) -> Batch:
        assert isinstance(length, int)
        sparse, skewed = torch.rand(2, batch_size, 1, 1, generator=generator)
        few = torch.rand(batch_size, 1, 1, generator=generator) / 2  # of the bits; a half is fair
        own = torch.rand(batch_size, 1, self.num_bits, generator=generator)
        share = torch.where(sparse < self.sparse_rate, few, torch.where(skewed < self.skewed_rate, own, 0.5))
        share = share.expand(batch_size, length, self.num_bits)
        return self.episodes(torch.bernoulli(share, generator=generator))

    def unit_noise(self, shape: torch.Size, generator: torch.Generator) -> Tensor:
        """Evenly spread: with less than 0.5 / sqrt(3) of it there is no bit that could be the other one."""
        return sqrt(12) * (torch.rand(shape, generator=generator) - 0.5)

    def episodes(self, vectors: Tensor) -> Batch:
        """Sequences of these vectors, [batch, length, bits]."""
        batch_size, length, _ = vectors.shape
        *_, (_, start), (_, end), (_, answer) = self.phases(length)
        question = vectors.new_zeros(batch_size, answer, self.input_size)
        question[:, :start, self.num_bits] = 1
        question[:, start:end, : self.num_bits] = vectors
        question[:, end, -1] = 1
        return ask(question, vectors)

    def stored(self, length: Length) -> int:
        assert isinstance(length, int)
        return length

    def phases(self, length: Length) -> tuple[Phase, ...]:
        assert isinstance(length, int)
        start = self.num_flags - 1  # one step later when a start flag comes first
        flag = (Phase("start", 0),) if start else ()
        end = start + length
        return (*flag, Phase("input", start), Phase("delimiter", end), Phase("answer", end + 1))
