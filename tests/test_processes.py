"""The fused engine's compiled code wherever a run may take it: without a cache, in workers, threads and processes."""

import gc
import importlib.util
import logging
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from fakes import lstm, matrix_memory
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ntm import Machine
from ntm.fused.compiled import Cache, kernel

INPUTS = torch.randn(3, 4, 3, generator=torch.Generator().manual_seed(0))


def fused() -> Machine:
    torch.manual_seed(0)
    return Machine(input_size=3, output_size=2, controller=lstm(), memory=matrix_memory(), engine="fused")


def answer(machine: Machine, inputs: Tensor = INPUTS) -> list:
    with torch.no_grad():
        return machine(inputs).tolist()


@pytest.fixture
def small(tmp_path, monkeypatch) -> ModuleType:
    """A module with one small function, in a folder of its own; the user's own cache folder cannot be made."""
    (tmp_path / "nowhere").write_text("a file")
    for name in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "nowhere"))
    path = tmp_path / "module" / "small.py"
    path.parent.mkdir()
    path.write_text("def double(x):\n    x[0] = 2 * x[0]\n")
    spec = importlib.util.spec_from_file_location("small", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "small", module)  # where what was kept of its functions looks for it
    exec(path.read_text(), module.__dict__)
    module.double = module.__dict__["double"]
    module.double.__code__ = compile(path.read_text(), str(path), "exec").co_consts[0]
    return module


def doubles(compiled) -> bool:
    x = np.ones(1)
    compiled(x)
    return x[0] == 2


def test_where_no_cache_folder_can_be_made_every_process_compiles_for_itself(small, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(Cache, "said", False)
    (tmp_path / "module" / "__pycache__").write_text("a file, so that no folder can be made")
    with caplog.at_level(logging.INFO, logger="ntm.fused.compiled"):
        compiled = kernel(small.double)
        assert doubles(compiled)
    assert "as every process must" in caplog.text
    assert compiled._cache.cache_path is None


@pytest.mark.parametrize("left", ["nothing", "a file"])
def test_a_cache_folder_that_vanishes_before_the_first_call_stops_nothing(left, small):
    compiled = kernel(small.double)
    folder = Path(compiled._cache.cache_path)
    folder.rmdir()
    if left == "a file":
        folder.write_text("in its place")
    assert doubles(compiled)


def test_what_is_kept_is_loaded_and_not_compiled_again(small):
    assert doubles(kernel(small.double))
    gc.collect()  # what was compiled, so that nothing but the file is left of it
    again = kernel(small.double)
    assert doubles(again)
    assert sum(again.stats.cache_hits.values()) == 1


class Answers(Dataset):
    """Answers that a loader's workers compute."""

    def __init__(self, machine: Machine):
        self.machine = machine

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Tensor:
        with torch.no_grad():
            return self.machine(INPUTS)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_it_runs_in_the_workers_of_a_data_loader(method):
    made = fused()
    expected = answer(made)
    loader = DataLoader(Answers(made), batch_size=None, num_workers=1, multiprocessing_context=method)
    assert [found.tolist() for found in loader] == [expected, expected]


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_it_runs_under_joblib(backend):
    joblib = pytest.importorskip("joblib")
    made = fused()
    expected = answer(made)
    found = joblib.Parallel(n_jobs=2, backend=backend)(joblib.delayed(answer)(made) for _ in range(4))
    assert found == [expected] * 4
