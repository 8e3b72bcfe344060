"""What goes into a machine."""

from typing import NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor


class Batch(NamedTuple):
    """Sequences to learn from: what the machine sees, what it should answer, and which steps count.

    A NamedTuple, since that is what Lightning moves between devices field by field.
    """

    inputs: Float[Tensor, "batch time input"]
    targets: Float[Tensor, "batch time output"]  # bits, 0 or 1
    mask: Bool[Tensor, "batch time"]  # the steps that are scored
