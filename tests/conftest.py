"""What holds for the whole suite."""

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
def seeded() -> None:
    """Every test draws the same numbers, alone or in company."""
    torch.manual_seed(0)
