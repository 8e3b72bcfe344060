"""Priority sort: say the vectors of highest priority, the highest first (section 4.5)."""

from typing import Any

import torch
from pydantic import PositiveInt, validate_call

from ntm.batch import Batch
from ntm.trace import Phase
from tasks.base import Length, Task, ask, random_bits


class Sort(Task):
    """Vectors of `num_bits` random bits, each with a priority beside it; a delimiter; blanks while the answer is due.

    Four vectors, of which two are wanted:

        time         0    1    2    3  | 4 | 5 6
        bits         A    B    C    D  |   |           input
        priority    .3  -.9   .8   .1  |   |           uniform in (-1, 1)
        delimiter                      | 1 |
        answer                         |   | C A       target, and the only steps the mask counts

    A length is the number of vectors; `num_wanted` of them are wanted, or all where there are fewer. The paper has 20
    vectors and wants 16.
    """

    @validate_call
    def __init__(self, *, num_bits: PositiveInt, num_wanted: PositiveInt, **stream: Any):
        super().__init__(**stream)
        self.num_bits = num_bits
        self.num_wanted = num_wanted
        self.input_size = num_bits + 2
        self.output_size = num_bits

    def sample(self, length: Length, batch_size: int, generator: torch.Generator) -> Batch:
        assert isinstance(length, int)
        vectors = random_bits(batch_size, length, self.num_bits, generator=generator)
        priorities = 2 * torch.rand(batch_size, length, generator=generator, dtype=vectors.dtype) - 1
        wanted = priorities.argsort(dim=1, descending=True)[:, : self.num_wanted]
        _, (_, delimiter), (_, answer) = self.phases(length)
        question = vectors.new_zeros(batch_size, answer, self.input_size)
        question[:, :delimiter, : self.num_bits] = vectors
        question[:, :delimiter, self.num_bits] = priorities
        question[:, delimiter, self.num_bits + 1] = 1
        return ask(question, vectors.take_along_dim(wanted.unsqueeze(-1), dim=1))

    def stored(self, length: Length) -> int:
        assert isinstance(length, int)
        return length

    def phases(self, length: Length) -> tuple[Phase, ...]:
        assert isinstance(length, int)
        return Phase("input", 0), Phase("delimiter", length), Phase("answer", length + 1)
