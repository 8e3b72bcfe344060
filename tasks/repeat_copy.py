"""Repeat copy: say a sequence back as often as asked, and say when that is done (section 4.2)."""

from math import sqrt
from typing import Any

import torch
from pydantic import PositiveInt, validate_call

from ntm.batch import Batch
from ntm.trace import Phase
from tasks.base import Length, Task, ask, lengths, random_bits

# The paper's counts, 1 to 10, are shown with mean 0 and variance 1. What a number on the channel means does not change
# with the range of training, so that a trained machine can be asked for any count.
MEAN, DEVIATION = 5.5, sqrt(8.25)


class RepeatCopy(Task):
    """`num_bits` random bits a step, a delimiter, the number of copies, then blanks for the copies and an end marker.

    Two vectors, A and B, and a count of two:

        time        0 1 | 2 | 3 | 4 5 6 7 | 8
        bits        A B |   |   |         |           input
        delimiter       | 1 |   |         |
        count           |   | n |         |           n = (2 - 5.5) / sqrt(8.25)
        answer          |   |   | A B A B |           target; the mask counts the answer and the end
        end             |   |   |         | 1         target, on a channel of its own

    A length is `[vectors, repeats]`. The paper trains on 1 to 10 of each, and tests 10 vectors 20 times and 20 vectors
    10 times.
    """

    numbers = ("vectors", "repeats")

    @validate_call
    def __init__(self, *, num_bits: PositiveInt, **stream: Any):
        super().__init__(**stream)
        self.num_bits = num_bits
        self.input_size = num_bits + 2
        self.output_size = num_bits + 1

    def sample(self, length: Length, batch_size: int, generator: torch.Generator) -> Batch:
        assert isinstance(length, tuple)
        num_vectors, repeats = length
        vectors = random_bits(batch_size, num_vectors, self.num_bits, generator=generator)
        _, (_, delimiter), (_, answer) = self.phases(length)
        question = vectors.new_zeros(batch_size, answer, self.input_size)
        question[:, :delimiter, : self.num_bits] = vectors
        question[:, delimiter, self.num_bits] = 1
        question[:, delimiter + 1, self.num_bits + 1] = (repeats - MEAN) / DEVIATION
        said = vectors.new_zeros(batch_size, repeats * num_vectors + 1, self.output_size)
        said[:, :-1, : self.num_bits] = vectors.repeat(1, repeats, 1)
        said[:, -1, self.num_bits] = 1
        return ask(question, said)

    def stored(self, length: Length) -> int:
        return lengths(length)[0]

    def phases(self, length: Length) -> tuple[Phase, ...]:
        assert isinstance(length, tuple)
        num_vectors, _ = length
        return Phase("input", 0), Phase("delimiter, count", num_vectors), Phase("answer", num_vectors + 2)
