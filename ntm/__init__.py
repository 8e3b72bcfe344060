"""A Neural Turing Machine (Graves, Wayne and Danihelka, 2014, arXiv 1410.5401) in plain PyTorch.

`ntm` knows nobody else in this project. It defines the two words that the rest speaks: a `Batch` goes into a
machine, a `Trace` is everything that happened inside it. Start reading in `machine.py` and `equations.py`.
"""

from ntm.batch import Batch
from ntm.machine import Machine
from ntm.trace import MemoryTrace, Trace

__all__ = ["Batch", "Machine", "MemoryTrace", "Trace"]
