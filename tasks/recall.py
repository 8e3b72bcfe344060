"""Associative recall: given an item of a list, say the one that followed it (section 4.3)."""

from typing import Any, Literal

import torch
from pydantic import PositiveInt, validate_call

from ntm.batch import Batch
from ntm.trace import Phase
from tasks.base import Length, Task, ask, random_bits


class Recall(Task):
    """A list of items, each some vectors of bits after a delimiter; then one of them again, as the query.

    Three items A, B, C of two vectors, with B as the query:

        time              0 1 2 3 4 5 6 7 8 9 | 10 11 12 13 | 14 15
        bits                A A   B B   C C   |     B  B    |           input
        item delimiter    1     1     1     1 |             |
        query delimiter                       |  1        1 |
        answer                                |             |  C  C     target, and the only steps the mask counts

    The query is any item but the last. The paper trains on 2 to 6 items of three 6-bit vectors and tests to 20.
    `layout=keras` is that of the 2020 Keras experiment which this project grew from: no delimiter after the last item.
    """

    shortest = 2  # the query has an item after it
    numbers = ("items",)

    @validate_call
    def __init__(
        self, *, num_bits: PositiveInt, item_length: PositiveInt, layout: Literal["paper", "keras"], **stream: Any
    ):
        super().__init__(**stream)
        self.num_bits = num_bits
        self.item_length = item_length
        self.layout = layout
        self.input_size = num_bits + 2
        self.output_size = num_bits

    def sample(self, length: Length, batch_size: int, generator: torch.Generator) -> Batch:
        assert isinstance(length, int)
        items = random_bits(batch_size, length, self.item_length, self.num_bits, generator=generator)
        query = torch.randint(length - 1, (batch_size,), generator=generator)
        rows = torch.arange(batch_size)

        spacing = self.item_length + 1  # an item and the delimiter before it
        _, (_, asked), (_, answer) = self.phases(length)  # asked is the first query delimiter
        question = items.new_zeros(batch_size, answer, self.input_size)
        listed = question[:, : length * spacing].unflatten(1, (length, spacing))
        listed[:, :, 1:, : self.num_bits] = items
        question[:, :asked:spacing, self.num_bits] = 1
        question[:, asked, self.num_bits + 1] = 1
        question[:, asked + 1 : answer - 1, : self.num_bits] = items[rows, query]
        question[:, answer - 1, self.num_bits + 1] = 1
        return ask(question, items[rows, query + 1])

    def stored(self, length: Length) -> int:
        assert isinstance(length, int)
        return length * self.item_length

    def phases(self, length: Length) -> tuple[Phase, ...]:
        assert isinstance(length, int)
        asked = length * (self.item_length + 1) + (1 if self.layout == "paper" else 0)
        return Phase("items", 0), Phase("query", asked), Phase("answer", asked + self.item_length + 2)
