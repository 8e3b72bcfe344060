"""What holds for the whole suite."""

import logging
from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

# The machine works on tensors of a few hundred numbers: a second thread costs more than it brings, and where other
# work shares the cores, threads that wait for one another make the suite a hundred times slower.
torch.set_num_threads(1)

# A suite that passed passes again: the same examples every time, and no clock.
settings.register_profile("suite", max_examples=40, deadline=None, derandomize=True, database=None)
settings.load_profile("suite")


@pytest.fixture(autouse=True)
def unlogged() -> Iterator[None]:
    """What a command that ran in this process logs by, it leaves behind; its terminal is gone."""
    before = logging.root.handlers[:]
    yield
    for handler in logging.root.handlers[:]:
        if handler not in before and not type(handler).__module__.startswith("_pytest"):
            logging.root.removeHandler(handler)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test draws the same numbers, alone or in company."""
    torch.manual_seed(0)
