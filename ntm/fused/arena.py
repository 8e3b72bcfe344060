"""Memory for the arrays of an episode, handed on to later episodes.

Fresh memory comes as pages that the system fills with zeros at the first touch, which costs about as much as the
episode itself. An `Arena` gives its arrays back when nobody holds it any more, which is when torch drops the graph.
"""

import math

import numpy as np
from numpy.typing import NDArray

LINE = 64  # bytes of a cache line, where every array starts, so that no vector straddles two

spare: dict[int, list[NDArray[np.float32]]] = {}  # by size, a power of two


class Arena:
    """Lends float32 arrays, uninitialised or zero, for as long as it lives."""

    def __init__(self) -> None:
        self.lent: list[NDArray[np.float32]] = []

    def empty(self, *shape: int) -> NDArray[np.float32]:
        count = math.prod(shape)
        size = 1 << max(10, (count - 1).bit_length())
        try:
            block = spare[size].pop()
        except (KeyError, IndexError):  # not asked beforehand: another thread may take the last one in between
            block = aligned(size)
        self.lent.append(block)
        return block[:count].reshape(shape)

    def zeros(self, *shape: int) -> NDArray[np.float32]:
        array = self.empty(*shape)
        array.fill(0)
        return array

    def __del__(self) -> None:
        for block in self.lent:
            spare.setdefault(block.size, []).append(block)


def aligned(size: int) -> NDArray[np.float32]:
    raw = np.empty(size + LINE // 4, np.float32)
    start = -raw.ctypes.data % LINE // 4
    return raw[start : start + size]
