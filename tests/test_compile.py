"""compile=true: the eager machine's step through torch.compile, with the same answers and gradients."""

import os
import shutil
import subprocess
import sys

import pytest
import torch
from fakes import ROOT, lstm, machine, matrix_memory

from ntm import Machine

# In a process of its own: torch.compile would meet what this suite wraps around every function to check shapes.
AGREES = """
import copy
import sys
sys.path.insert(0, "tests")
import torch
from fakes import lstm, matrix_memory
from ntm import Machine
torch.manual_seed(0)
made = Machine(
    input_size=3, output_size=2, controller=lstm(), memory=matrix_memory(), engine="eager", compile=True
)
plain = Machine(input_size=3, output_size=2, controller=lstm(), memory=matrix_memory(), engine="eager")
plain.load_state_dict(made.state_dict())
inputs = torch.randn(2, 3, 3)
made(inputs)
made = copy.deepcopy(made)
with torch.no_grad():
    for machine in (made, plain):
        machine.output.weight.mul_(2)  # a copy answers with its own weights
outputs = []
for machine in (made, plain):
    outputs.append(machine(inputs))
    outputs[-1].square().sum().backward()
torch.testing.assert_close(*outputs)
for compiled, eager in zip(made.parameters(), plain.parameters(), strict=True):
    assert (compiled.grad is None) == (eager.grad is None)
    if eager.grad is not None:
        torch.testing.assert_close(compiled.grad, eager.grad, atol=1e-6, rtol=1e-4)
from torch._dynamo.utils import counters
assert counters["stats"]["unique_graphs"] > 0
assert not counters["graph_break"], counters["graph_break"]
"""


@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler, g++, on a CPU")
def test_a_compiled_step_agrees_with_the_eager_one():
    one = os.environ | {"TORCHINDUCTOR_COMPILE_THREADS": "1"}  # a pool of compilers costs more than one small step
    done = subprocess.run([sys.executable, "-c", AGREES], cwd=ROOT, env=one, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


class Silent(Machine):
    """A machine with a step of its own."""

    def step(self, x, state):
        return super().step(x, state)._replace(output=x[..., :2] * 0)


def test_what_is_compiled_is_a_machine_s_own_step(monkeypatch):
    taken = []
    monkeypatch.setattr(torch, "compile", lambda step: taken.append(step) or step)
    made = Silent(input_size=3, output_size=2, controller=lstm(), memory=matrix_memory(), engine="eager", compile=True)
    assert not made(torch.ones(2, 3, 3)).any()
    assert taken == [Silent.step]


def test_compiling_changes_no_name_in_a_checkpoint():
    compiled = Machine(input_size=3, output_size=2, controller=lstm(), memory=matrix_memory(), compile=True)
    assert compiled.state_dict().keys() == machine(lstm(), matrix_memory()).state_dict().keys()
