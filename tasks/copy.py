"""Copy: store a sequence and say it back (section 4.1)."""

from typing import Any, Literal

import torch
from pydantic import PositiveInt, validate_call

from ntm.batch import Batch
from ntm.trace import Phase
from tasks.base import Length, Task, random_bits


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
    """

    @validate_call
    def __init__(self, *, num_bits: PositiveInt, layout: Literal["paper", "keras"], **stream: Any):
        super().__init__(**stream)
        self.num_bits = num_bits
        self.num_flags = 1 if layout == "paper" else 2
        self.input_size = num_bits + self.num_flags
        self.output_size = num_bits

    def sample(self, length: Length, batch_size: int, generator: torch.Generator) -> Batch:
        assert isinstance(length, int)
        vectors = random_bits(batch_size, length, self.num_bits, generator=generator)
        *_, (_, start), (_, end), (_, answer) = self.phases(length)
        time = answer + length
        inputs = vectors.new_zeros(batch_size, time, self.input_size)
        inputs[:, :start, self.num_bits] = 1
        inputs[:, start:end, : self.num_bits] = vectors
        inputs[:, end, -1] = 1
        targets = vectors.new_zeros(batch_size, time, self.num_bits)
        targets[:, answer:] = vectors
        mask = torch.zeros(batch_size, time, dtype=torch.bool)
        mask[:, answer:] = True
        return Batch(inputs, targets, mask)

    def phases(self, length: Length) -> tuple[Phase, ...]:
        assert isinstance(length, int)
        start = self.num_flags - 1  # one step later when a start flag comes first
        flag = (Phase("start", 0),) if start else ()
        end = start + length
        return (*flag, Phase("input", start), Phase("delimiter", end), Phase("answer", end + 1))
