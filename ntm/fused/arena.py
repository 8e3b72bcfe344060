"""Memory for the arrays of an episode, handed on to later episodes, each from the start of a cache line.

Fresh memory comes as pages that the system fills with zeros at the first touch, which costs about as much as the
episode itself. An `Arena` leaves its arrays to the next one when nobody holds it any more, which is when torch drops
the graph; a process keeps what it once needed.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ntm.fused.simd import LINE

Shapes = dict[str, tuple[int, ...]]

spare: dict[int, list["Page"]] = {}  # by size, a power of two


class Page:
    """A stretch of memory; what is cut from it is found again by it."""

    def __init__(self, size: int):
        raw = np.empty(size + LINE, np.float32)
        start = -raw.ctypes.data // raw.itemsize % LINE
        self.numbers = raw[start : start + size]


class Arena:
    """Lends float32 arrays, uninitialised, for as long as it lives."""

    def __init__(self) -> None:
        self.lent: list[Page] = []

    def arrays(self, shapes: Callable[..., Shapes], *about: Any) -> dict[str, NDArray[np.float32]]:
        """The arrays that `shapes` of `about` says, side by side."""
        size = plan(shapes, *about)[0]
        try:
            page = spare[size].pop()
        except (KeyError, IndexError):  # not asked beforehand: another thread may take the last one in between
            page = Page(size)
        self.lent.append(page)
        return cut(page, shapes, *about)

    def __del__(self) -> None:
        for page in self.lent:
            spare.setdefault(len(page.numbers), []).append(page)


# To cut a page costs as much as to run some steps on it, and most episodes are like one before.


@lru_cache(maxsize=1024)
def plan(shapes: Callable[..., Shapes], *about: Any) -> tuple[int, dict[str, tuple[int, int, tuple[int, ...]]]]:
    """How large a page they take, and where each array starts and ends."""
    wanted = shapes(*about)
    counts = [math.prod(shape) for shape in wanted.values()]
    *starts, end = accumulate((-(-count // LINE) * LINE for count in counts), initial=0)
    places = zip(wanted.items(), starts, counts, strict=True)
    return 1 << max(10, (end - 1).bit_length()), {
        name: (start, start + count, shape) for (name, shape), start, count in places
    }


@lru_cache(maxsize=1024)
def cut(page: Page, shapes: Callable[..., Shapes], *about: Any) -> dict[str, NDArray[np.float32]]:
    places = plan(shapes, *about)[1]
    return {name: page.numbers[start:stop].reshape(shape) for name, (start, stop, shape) in places.items()}
