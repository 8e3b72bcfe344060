"""Controller and memory together, for every pair of them."""

from itertools import product

import pytest
import torch
from fakes import compose, feedforward, lstm, machine, matrix_memory, options
from torch.testing import assert_close

from conf.check import instantiate
from ntm import Batch
from ntm.memories.none import NoMemory

SHAPES = {  # every way in which a matrix memory may be built, and none
    "plain": {},
    "content alone": {"addressing": "content"},
    "read first": {"order": "read_then_write"},
    "many heads": {"num_read_heads": 2, "num_write_heads": 3},
    "one slot": {"num_slots": 1, "shift_range": 1},
    "wide shifts": {"num_slots": 5, "shift_range": 5},
    "nothing random": {"initial_memory": "constant", "initial_weighting": "uniform"},
    "all learned": {"initial_memory": "learned", "initial_weighting": "learned", "initial_reads": "learned"},
}


@pytest.fixture(params=[*SHAPES, "none"])
def memory(request):
    return NoMemory() if request.param == "none" else matrix_memory(**SHAPES[request.param])


@pytest.fixture(params=[lstm, feedforward], ids=["lstm", "feedforward"])
def ntm(request, memory):
    return machine(request.param(), memory)


def episode(time=5, batch=1):
    inputs = torch.randn(batch, time, 3)
    return Batch(inputs, torch.zeros(batch, time, 2), torch.ones(batch, time, dtype=torch.bool))


def test_a_row_of_a_batch_is_answered_as_if_alone(ntm):
    inputs = torch.randn(3, 5, 3)
    together = ntm(inputs)
    assert together.shape == (3, 5, 2)
    for row in range(3):
        assert_close(ntm(inputs[row : row + 1])[0], together[row])


def test_an_answer_depends_on_nothing_that_comes_later(ntm):
    inputs = torch.randn(1, 5, 3)
    changed = inputs.clone()
    changed[0, 3] += 1
    before, after = ntm(inputs), ntm(changed)
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.allclose(before[:, 3], after[:, 3])


def test_blank_steps_after_the_end_change_no_earlier_answer(ntm):
    inputs = torch.randn(2, 5, 3)
    padded = torch.cat([inputs, torch.zeros(2, 3, 3)], dim=1)
    assert_close(ntm(padded)[:, :5], ntm(inputs))


def test_running_a_sequence_leaves_the_machine_as_it_was(ntm):
    inputs = torch.randn(2, 5, 3)
    before = {name: value.clone() for name, value in ntm.state_dict().items()}
    assert torch.equal(ntm(inputs), ntm(inputs))
    assert all(torch.equal(before[name], value) for name, value in ntm.state_dict().items())


def test_every_weight_gets_a_finite_gradient(ntm):
    ntm(torch.randn(2, 5, 3)).square().sum().backward()
    assert all(p.grad.isfinite().all() for p in ntm.parameters())  # also one for weights of which there are none
    assert all(
        p.grad.abs().sum() > 0 for name, p in ntm.named_parameters() if name.startswith(("controller", "output"))
    )


def test_a_machine_works_in_float64(ntm):
    logits = ntm.double()(torch.randn(2, 5, 3, dtype=torch.float64))
    assert logits.dtype == torch.float64
    assert logits.requires_grad


@pytest.mark.parametrize("shape", SHAPES)
def test_a_machine_is_built_and_run_without_numbers_on_the_meta_device(shape):
    with torch.device("meta"):
        ghost = machine(lstm(), matrix_memory(**SHAPES[shape]))
    assert all(value.is_meta for value in ghost.state_dict().values())
    assert ghost(torch.empty(2, 5, 3, device="meta")).shape == (2, 5, 2)


def test_the_trace_shows_what_forward_does(ntm):
    one = episode()
    trace = ntm.trace(one)
    assert_close(trace.outputs, torch.sigmoid(ntm(one.inputs)[0]))
    assert torch.equal(trace.inputs, one.inputs[0])
    assert not trace.outputs.requires_grad
    memory = trace.memory
    if memory is None:
        assert isinstance(ntm.memory, NoMemory)
        return
    heads = ntm.memory
    assert memory.M.shape == (5, heads.num_slots, heads.slot_width)
    assert memory.w_write.shape == (5, heads.num_write_heads, heads.num_slots)
    assert memory.w_read.shape == (5, heads.num_read_heads, heads.num_slots)
    if heads.order == "write_then_read":
        assert_close(memory.r, memory.w_read @ memory.M)
    for w in (memory.w_write, memory.w_read):
        assert_close(w.sum(-1), torch.ones_like(w[..., 0]))


def test_the_memory_in_a_trace_is_what_its_writes_make_of_it():
    ntm = machine(lstm(), matrix_memory(num_write_heads=2))
    memory = ntm.trace(episode()).memory
    M = ntm.memory.M_0().detach()
    for step in range(5):
        for head in range(2):
            M = M * (1 - torch.outer(memory.w_write[step, head], memory.e[step, head]))
        for head in range(2):
            M = M + torch.outer(memory.w_write[step, head], memory.a[step, head])
        assert_close(memory.M[step], M)


@pytest.mark.parametrize("values", list(product([-1e4, 1e4], repeat=2)))
@pytest.mark.parametrize("shape", SHAPES)
def test_interface_values_of_ten_thousand_stay_finite_forward_and_backward(shape, values):
    ntm = machine(lstm(), matrix_memory(**SHAPES[shape]))
    with torch.no_grad():  # alternating along the interface, so that neighbours pull in opposite directions
        ntm.interface.bias[0::2], ntm.interface.bias[1::2] = values
    inputs = torch.randn(2, 5, 3, requires_grad=True)
    logits = ntm(inputs)
    assert logits.isfinite().all()
    logits.square().sum().backward()
    assert inputs.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in ntm.parameters())


# --- how the parts are wired


def test_the_previous_reads_reach_the_controller():
    ntm = machine(feedforward(), matrix_memory())
    state = ntm.initial_state(1)
    reads = torch.zeros(1, 1, 2, requires_grad=True)
    state = state._replace(memory=type(state.memory)(**vars(state.memory) | {"r": reads}))
    ntm.step(torch.zeros(1, 3), state).interface.sum().backward()
    assert reads.grad.abs().sum() > 0


def test_the_current_reads_reach_the_output():
    ntm = machine(feedforward(), matrix_memory())
    with torch.no_grad():  # a controller that says nothing: only the reads are left
        ntm.output.weight[:, : ntm.controller.output_size] = 0
    step = ntm.step(torch.randn(1, 3), ntm.initial_state(1))
    assert_close(step.output, step.state.memory.r.flatten(1) @ ntm.output.weight[:, -2:].T + ntm.output.bias)


def test_the_output_depends_on_what_the_memory_holds():
    ntm = machine(feedforward(), matrix_memory())
    inputs = torch.randn(1, 5, 3)
    before = ntm(inputs)
    ntm.memory.M_0.value += torch.randn(3, 2)
    assert not torch.allclose(before, ntm(inputs))


def test_a_feedforward_machine_remembers_the_first_input_through_memory_alone():
    inputs = torch.randn(1, 5, 3, requires_grad=True)
    machine(feedforward(), matrix_memory())(inputs)[0, -1].sum().backward()
    assert inputs.grad[0, 0].abs().sum() > 0


def test_a_feedforward_machine_without_memory_remembers_nothing():
    inputs = torch.randn(1, 5, 3, requires_grad=True)
    machine(feedforward(hidden_size=16), NoMemory())(inputs)[0, -1].sum().backward()
    assert inputs.grad[0, :-1].abs().sum() == 0
    assert inputs.grad[0, -1].abs().sum() > 0


def test_an_lstm_without_memory_is_torchs_own_lstm_and_an_affine_layer():
    ntm = machine(lstm(), NoMemory())
    network = torch.nn.LSTM(3, 4, batch_first=True)
    for name, value in ntm.controller.cells[0].named_parameters():
        getattr(network, f"{name}_l0").data.copy_(value)
    inputs = torch.randn(2, 5, 3)
    assert_close(ntm(inputs), ntm.output(network(inputs)[0]))


@pytest.mark.parametrize(("controller", "memory"), list(product(options("controller"), options("memory"))))
def test_every_controller_goes_with_every_memory(controller, memory):
    cfg = compose(f"controller={controller}", f"memory={memory}")
    ntm = machine(instantiate(cfg, "controller"), instantiate(cfg, "memory"))
    logits = ntm(torch.randn(2, 3, 3))
    assert logits.shape == (2, 3, 2)
    logits.square().sum().backward()
    assert all(p.grad.isfinite().all() for p in ntm.parameters())
