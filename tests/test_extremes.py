"""Numbers at the ends of what can occur: finite forward and backward, and as near to float64 as they can be."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from fakes import lstm, matrix_memory
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ntm import Machine
from ntm.memories.matrix import MatrixMemory, MatrixState

EPS = torch.finfo(torch.float32).eps
WIDTH, SHIFTS = 2, 1
EXTREMES = st.sampled_from([-1e4, -30.0, -1.0, 0.0, 1e-6, 1.0, 30.0, 1e4])
CORNERS = st.sampled_from(["first", "last", "even", "vanishing"])
CONTENTS = st.sampled_from(["zero", "equal", "huge", "tiny", "mixed"])


def corner(kind: str, slots: int) -> Tensor:
    w = torch.zeros(slots, dtype=torch.float64)
    w[{"first": 0, "last": -1, "even": slice(None), "vanishing": 0}[kind]] = 1
    w[1:] += 1e-30 * (kind == "vanishing")
    return w / w.sum()


def contents(kind: str, slots: int) -> Tensor:
    ramp = torch.linspace(-1, 1, slots * WIDTH, dtype=torch.float64).view(slots, WIDTH)
    return {
        "zero": torch.zeros_like(ramp),
        "equal": torch.full_like(ramp, 0.7),
        "huge": 1e4 * ramp,
        "tiny": 1e-6 * ramp,
        "mixed": ramp.sign() * ramp.abs() ** 3,
    }[kind]


def step(
    memory: MatrixMemory, interface: Tensor, w: Tensor, M: Tensor, dtype: torch.dtype
) -> tuple[MatrixState, list[Tensor]]:
    """The state after one step, and the gradients of its reads and writes by everything that went in."""
    leaves = [value[None].to(dtype).requires_grad_() for value in (interface, w[None], w[None], M)]
    one, write, read, matrix = leaves
    state = memory(one, MatrixState(M=matrix, w_write=write, w_read=read, r=matrix.new_zeros(1, 1, WIDTH)))
    scale = torch.arange(1, M.shape[0] + 1, dtype=dtype)
    ((state.w_read * scale).sum() + state.r.sum() + (state.M.sum(-1) * scale).sum()).backward()
    return state, [leaf.grad for leaf in leaves]


@settings(max_examples=100)
@given(data=st.data(), slots=st.sampled_from([1, 2, 5]), order=st.sampled_from(["write_then_read", "read_then_write"]))
def test_a_step_is_finite_and_errs_by_no_more_than_strength_and_sharpening_magnify_a_rounding(data, slots, order):
    shifts = 3 if slots >= 3 else 1
    memory = matrix_memory(num_slots=slots, slot_width=WIDTH, shift_range=shifts, order=order)
    size = memory.interface_size
    interface = torch.tensor(data.draw(st.lists(EXTREMES, min_size=size, max_size=size)), dtype=torch.float64)
    w, M = corner(data.draw(CORNERS), slots), contents(data.draw(CONTENTS), slots)

    found, gradients = step(memory, interface, w, M, torch.float32)
    true, _ = step(memory, interface, w, M, torch.float64)

    assert all(gradient.isfinite().all() for gradient in gradients)
    heads = memory.heads.cut(interface)
    magnified = 1 + max(float((head.beta + 1).max() * head.gamma.max()) for head in (heads.write, heads.read))
    for w_found, w_true in ((found.w_write, true.w_write), (found.w_read, true.w_read)):
        assert (w_found >= 0).all()
        torch.testing.assert_close(w_found.sum(-1), torch.ones(1, 1), atol=1e-5, rtol=0)
        assert apart(w_found, w_true) <= 100 * EPS * magnified
    largest = float(M.abs().max() + heads.a.abs().max()) + 1
    assert apart(found.M, true.M) <= 100 * EPS * magnified * largest
    assert apart(found.r, true.r) <= 100 * EPS * magnified * largest * slots


def apart(one: Tensor, other: Tensor) -> float:
    return float((one.detach() - other.detach()).abs().max())


@settings(max_examples=50)
@given(values=st.lists(st.floats(-3, 3, width=32), min_size=20, max_size=20), kind=CONTENTS)
def test_gradients_of_usual_numbers_are_those_of_float64(values, kind):
    memory = matrix_memory(num_slots=5, slot_width=WIDTH)
    interface = torch.tensor(values[:1] * memory.interface_size, dtype=torch.float64)
    interface[: len(values)] = torch.tensor(values[: len(interface)], dtype=torch.float64)
    _, found = step(memory, interface, corner("even", 5), contents(kind, 5), torch.float32)
    _, true = step(memory, interface, corner("even", 5), contents(kind, 5), torch.float64)
    for one, other in zip(found, true, strict=True):
        assert float((one - other).norm()) <= 1e-4 * float(other.norm()) + 1e-6


@pytest.mark.parametrize("value", [-1e4, 0.0, 1e4])
def test_the_memory_computes_under_autocast_what_it_computes_without(value):
    memory = matrix_memory(num_slots=5)
    interface = (torch.randn(2, memory.interface_size) + value).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        short = memory(interface, memory.initial_state(2))
    full = memory(interface.float(), memory.initial_state(2))
    for name in ("M", "w_write", "w_read", "r"):
        assert torch.equal(getattr(short, name), getattr(full, name))


@pytest.mark.parametrize("value", [-1e4, 1.0, 1e4])
def test_a_machine_under_autocast_is_finite_and_near_to_float32(value):
    torch.manual_seed(0)
    machine = Machine(input_size=3, output_size=2, controller=lstm(), memory=matrix_memory(), engine="auto")
    with torch.no_grad():
        machine.interface.bias.mul_(value)
    inputs = torch.randn(2, 6, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = machine(inputs)
    F.binary_cross_entropy_with_logits(outputs, torch.ones_like(outputs)).backward()
    assert outputs.dtype == torch.float32
    assert all(p.grad.isfinite().all() for p in machine.parameters() if p.grad is not None)
    torch.testing.assert_close(outputs, machine(inputs), atol=0.05, rtol=0.05)


@pytest.mark.parametrize(("time", "slots"), [(1, 1), (1, 3), (500, 1), (10_000, 3)])
def test_one_step_and_ten_thousand_are_finite_forward_and_backward_and_begin_as_in_float64(time, slots):
    torch.manual_seed(0)
    memory = partial(matrix_memory, num_slots=slots, shift_range=1, initial_memory="constant")
    fused, true = (
        Machine(input_size=3, output_size=2, controller=lstm(), memory=memory(), engine=engine)
        for engine in ("fused", "eager")
    )
    true.load_state_dict(fused.state_dict())
    inputs = torch.randn(1, time, 3)
    outputs = fused(inputs)
    outputs.square().mean().backward()
    assert all(p.grad.isfinite().all() for p in fused.parameters() if p.grad is not None)
    assert outputs.isfinite().all()
    with torch.no_grad():
        reference = true.double()(inputs[:, :500].double())  # a step knows nothing of those after it
        torch.testing.assert_close(outputs[:, :500].double(), reference, atol=1e-4, rtol=1e-4)
