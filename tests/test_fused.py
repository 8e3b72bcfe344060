"""The fused engine against the eager machine in float64, over everything that it covers."""

import copy
import logging
import multiprocessing
import os
import subprocess
import sys
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from fakes import lstm
from torch import Tensor

from ntm.controllers.feedforward import FeedforwardController
from ntm.controllers.gru import GRUController
from ntm.controllers.lstm import LSTMController
from ntm.fused import no_numba
from ntm.fused.episode import episode_backward, episode_forward, weight_gradients
from ntm.fused.parameters import pack, unpack
from ntm.fused.simd import LANES
from ntm.machine import Machine
from ntm.memories.matrix import MatrixMemory
from ntm.memories.none import NoMemory
from ntm.optimizers.rmsprop import RMSProp

INPUTS, OUTPUTS = 5, 3


def machine(
    controller="lstm",
    num_layers=1,
    hidden_size=20,
    num_slots=16,
    training_slots=None,
    slot_width=5,
    num_read_heads=1,
    num_write_heads=1,
    addressing="content_and_location",
    shift_range=3,
    order="write_then_read",
    initial="learned",
    weighting="learned",
    gradient_clip_val=None,
    squash=False,
    seed=0,
) -> Machine:
    torch.manual_seed(seed)
    memory = MatrixMemory(
        num_slots=num_slots,
        training_slots=training_slots,
        slot_width=slot_width,
        num_read_heads=num_read_heads,
        num_write_heads=num_write_heads,
        addressing=addressing,
        shift_range=shift_range,
        order=order,
        initial_memory=initial,
        initial_weighting=weighting,
        initial_reads=initial,
        initial_constant=1e-6,
        initial_std=0.3,
        gradient_clip_val=gradient_clip_val,
        squash=squash,
    )
    shape = {"hidden_size": hidden_size, "num_layers": num_layers}
    state = {"initial_state": initial, "initial_std": 0.3}
    controllers = {
        "lstm": partial(LSTMController, **shape, **state),
        "gru": partial(GRUController, **shape, **state),
        "feedforward": partial(FeedforwardController, **shape),
    }
    return Machine(
        input_size=INPUTS, output_size=OUTPUTS, controller=controllers[controller], memory=memory, engine="fused"
    )


def episode(batch: int, time: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(batch, time, INPUTS, generator=generator)
    return inputs, torch.rand(batch, time, OUTPUTS, generator=generator).round()


def outcome(machine: Machine, inputs: Tensor, targets: Tensor, engine: str) -> dict[str, Tensor]:
    """The output and every gradient, the inputs' among them."""
    machine.engine = engine
    machine.zero_grad()
    inputs = inputs.clone().requires_grad_()
    output = machine(inputs)
    F.binary_cross_entropy_with_logits(output, targets).backward()
    gradients = {name: p.grad.clone() for name, p in machine.named_parameters() if p.grad is not None}
    return {"output": output.detach(), "inputs": inputs.grad, **gradients}


def error(found: Tensor, true: Tensor) -> float:
    return float((found.double() - true).norm() / true.norm().clamp_min(1e-9))


def assert_agrees(machine: Machine, batch: int, time: int) -> None:
    """The bound: no further from float64 than four times eager float32, or 1e-5 of the norm where that is luckier."""
    inputs, targets = episode(batch, time)
    true = outcome(copy.deepcopy(machine).double(), inputs.double(), targets.double(), "eager")
    eager = outcome(machine, inputs, targets, "eager")
    fused = outcome(machine, inputs, targets, "fused")
    assert fused.keys() == true.keys()
    for name, value in true.items():
        bound = max(4 * error(eager[name], value), 1e-5)
        assert error(fused[name], value) <= bound, f"{name}: {error(fused[name], value):.1e} > {bound:.1e}"
    with torch.no_grad():
        assert torch.equal(machine(inputs), fused["output"])  # inference equals the training forward pass


@pytest.mark.parametrize("order", ["write_then_read", "read_then_write"])
@pytest.mark.parametrize("addressing", ["content_and_location", "content"])
@pytest.mark.parametrize(
    ("controller", "num_layers"),
    [("lstm", 1), ("lstm", 2), ("gru", 1), ("gru", 3), ("feedforward", 1), ("feedforward", 2)],
)
@pytest.mark.parametrize(("reads", "writes"), [(1, 1), (3, 1), (1, 2), (2, 4)])
def test_agrees_with_eager_over_controllers_heads_orders_and_addressing(
    controller, num_layers, reads, writes, addressing, order
):
    made = machine(
        controller, num_layers, num_read_heads=reads, num_write_heads=writes, addressing=addressing, order=order
    )
    assert_agrees(made, batch=3, time=4)


@pytest.mark.parametrize(("slots", "shifts"), [(1, 1), (3, 3), (16, 1), (16, 5), (19, 19), (50, 7), (128, 3)])
@pytest.mark.parametrize("width", [1, 16, 20])
def test_agrees_with_eager_over_slots_widths_and_shifts(slots, width, shifts):
    assert_agrees(machine(num_slots=slots, slot_width=width, shift_range=shifts), batch=2, time=6)


@pytest.mark.parametrize("order", ["write_then_read", "read_then_write"])
@pytest.mark.parametrize("addressing", ["content_and_location", "content"])
@pytest.mark.parametrize("width", [6, 7])
def test_agrees_with_eager_where_no_size_fills_a_vector_or_a_block(width, addressing, order):
    made = machine(
        hidden_size=17,
        num_slots=33,
        slot_width=width,
        num_read_heads=3,
        num_write_heads=2,
        addressing=addressing,
        order=order,
    )
    assert_agrees(made, batch=9, time=17)


@pytest.mark.parametrize("weighting", ["one_hot", "uniform"])
def test_agrees_with_eager_over_the_slots_it_trains_with(weighting):
    made = machine(num_slots=40, training_slots=7, initial="constant", weighting=weighting)
    inputs, targets = episode(2, 6)
    seven, forty = (
        {engine: outcome(made.train(mode), inputs, targets, engine) for engine in ("eager", "fused")}
        for mode in (True, False)
    )
    for results in (seven, forty):
        for name, value in results["eager"].items():
            assert error(results["fused"][name], value.double()) < 1e-5, name
    assert error(seven["fused"]["output"], forty["fused"]["output"].double()) > 1e-3


@pytest.mark.parametrize(
    ("batch", "time"), [(1, 1), (1, 33), (2, 8), (4, 9), (7, 2), (8, 1), (9, 7), (13, 17), (29, 3)]
)
def test_agrees_with_eager_over_batches_and_lengths(batch, time):
    assert_agrees(machine(), batch, time)


@pytest.mark.parametrize("initial", ["constant", "random", "learned"])
@pytest.mark.parametrize("weighting", ["one_hot", "uniform", "random", "learned"])
def test_agrees_with_eager_over_initial_states(initial, weighting):
    assert_agrees(machine(initial=initial, weighting=weighting), batch=3, time=7)


@pytest.mark.parametrize("hidden_size", [1, 15, 100])
@pytest.mark.parametrize("controller", ["lstm", "gru", "feedforward"])
def test_agrees_with_eager_over_controller_sizes(controller, hidden_size):
    # Of one unit, some seeds leave a gradient that is a small difference of large numbers, hardly more than rounding.
    assert_agrees(machine(controller, hidden_size=hidden_size, seed=2), batch=5, time=5)


@pytest.mark.parametrize("squash", [True, False])
def test_agrees_with_eager_at_the_paper_s_size(squash):
    assert_agrees(machine(hidden_size=100, num_slots=128, slot_width=20, squash=squash), batch=9, time=41)


@pytest.mark.parametrize("controller", ["lstm", "gru", "feedforward"])
@pytest.mark.parametrize("addressing", ["content_and_location", "content"])
@pytest.mark.parametrize("squash", [True, False])
def test_agrees_with_eager_where_much_is_said_with_a_range_of_its_own_and_without(controller, addressing, squash):
    settings = {"num_slots": 33, "num_read_heads": 2, "num_write_heads": 3, "addressing": addressing}
    loud = machine(controller, **settings, squash=squash)
    with torch.no_grad():
        loud.interface.weight.mul_(4)
    assert_agrees(loud, batch=9, time=17)


@pytest.mark.parametrize("controller", ["lstm", "gru", "feedforward"])
@pytest.mark.parametrize("addressing", ["content_and_location", "content"])
@pytest.mark.parametrize("bound", [1e-5, 1e-7])  # of the heads' alone, and of their weightings', too
@pytest.mark.parametrize("order", ["write_then_read", "read_then_write"])
def test_agrees_with_eager_where_gradients_are_clipped_at_every_step(controller, addressing, bound, order):
    settings = {"num_slots": 33, "num_read_heads": 2, "num_write_heads": 2, "addressing": addressing, "order": order}
    clipped = machine(controller, **settings, gradient_clip_val=bound)
    assert_agrees(clipped, batch=9, time=17)
    whole = outcome(machine(controller, **settings), *episode(9, 17), "fused")
    cut = outcome(clipped, *episode(9, 17), "fused")
    assert torch.equal(cut["output"], whole["output"])
    assert error(cut["interface.weight"], whole["interface.weight"].double()) > 0.1


def test_stays_with_eager_over_a_thousand_steps():
    inputs, _ = episode(2, 1000)
    made = machine()
    with torch.no_grad():
        fused = made(inputs)
        made.engine = "eager"
        torch.testing.assert_close(fused, made(inputs), atol=1e-4, rtol=1e-4)
    made.engine = "fused"
    made(inputs).square().mean().backward()
    assert all(p.grad.isfinite().all() for p in made.parameters())


@pytest.mark.parametrize("value", [-1e4, 1e4])
@pytest.mark.parametrize("order", ["write_then_read", "read_then_write"])
def test_extreme_interfaces_on_a_blank_memory_stay_finite(value, order):
    made = machine(initial="constant", weighting="one_hot", order=order)
    made.memory.M_0.value.zero_()
    with torch.no_grad():
        made.interface.weight.zero_()
        for piece in (slice(None), slice(0, None, 2), slice(1, None, 3)):
            made.interface.bias.zero_()
            made.interface.bias[piece] = value
            inputs, targets = episode(3, 9)
            with torch.enable_grad():
                fused = outcome(made, inputs, targets, "fused")
                eager = outcome(made, inputs, targets, "eager")
            assert all(value.isfinite().all() for value in fused.values())
            assert error(fused["output"], eager["output"].double()) < 1e-5  # sums of numbers of 1e4


@pytest.mark.parametrize("shape", [{}, {"num_slots": 33, "num_write_heads": 3}])
def test_one_and_two_threads_give_the_same_bits(shape):
    inputs, targets = episode(13, 20)
    made, before = machine(hidden_size=100, **shape), torch.get_num_threads()
    results = []
    for threads in (1, 2, 1, 2):
        torch.set_num_threads(threads)
        results.append(outcome(made, inputs, targets, "fused"))
    torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(results[0][name], other[name]) for name in other)


def test_a_sequence_alone_gives_what_it_gives_in_a_batch():
    inputs, _ = episode(13, 5)
    made = machine()
    with torch.no_grad():
        torch.testing.assert_close(torch.cat([made(row[None]) for row in inputs]), made(inputs), atol=1e-6, rtol=1e-6)


def test_a_graph_can_be_walked_twice():
    inputs, _ = episode(2, 9)
    made = machine()
    loss = made(inputs).square().mean()
    first = torch.autograd.grad(loss, list(made.parameters()), retain_graph=True)
    made(inputs + 1).square().mean().backward()  # another episode in between must not write over the first
    second = torch.autograd.grad(loss, list(made.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_an_update_between_forward_and_backward_is_an_error():
    inputs, _ = episode(2, 3)
    made = machine()
    optimizer = RMSProp(made.parameters(), lr=1e-3, alpha=0.95, momentum=0.9, eps=1e-4, eps_in_root=False)
    loss = made(inputs).square().mean()
    loss.backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_not_a_number_comes_out_where_it_goes_in():
    inputs, _ = episode(2, 3)
    inputs[1, 0, 0] = float("nan")
    with torch.no_grad():
        outputs = machine()(inputs)
    assert outputs[0].isfinite().all()
    assert outputs[1].isnan().all()


def test_the_engine_is_no_part_of_a_checkpoint():
    fused, eager = machine(), machine()
    eager.engine = "eager"
    assert fused.state_dict().keys() == eager.state_dict().keys()


def test_auto_falls_back_to_eager_and_says_why_once(caplog):
    made = machine().double()
    made.engine = "auto"
    inputs = episode(2, 3)[0].double()
    with caplog.at_level(logging.INFO, logger="ntm.machine"):
        made(inputs)
        made(inputs)
    assert [record.message for record in caplog.records if record.name == "ntm.machine"] == [
        "running eager, because the inputs are torch.float64, not torch.float32"
    ]


def test_without_a_numba_that_can_be_imported_it_runs_eager_and_says_why(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "numba", None)
    made = machine()
    made.engine = "auto"
    no_numba.cache_clear()
    try:
        with caplog.at_level(logging.INFO):
            made(torch.zeros(1, 2, INPUTS))
    finally:
        no_numba.cache_clear()
    assert "running eager, because numba cannot be imported" in caplog.text


def test_fused_where_it_does_not_apply_is_one_clear_line():
    controller = lstm()
    made = Machine(input_size=INPUTS, output_size=2, controller=controller, memory=NoMemory(), engine="fused")
    with pytest.raises(ValueError, match=r"engine=fused does not apply: .* know memory NoMemory. Set engine=auto"):
        made(episode(2, 3)[0])


class Louder(Machine):
    """A machine whose step is another than that which is compiled."""

    def step(self, x, state):
        return super().step(2 * x, state)


def test_what_would_be_left_out_runs_eager():
    inputs, _ = episode(2, 3)
    made = machine()
    made.engine = "auto"
    made.interface.register_forward_hook(lambda module, given, made: made + 1)
    hooked = made(inputs)
    assert made.ran == "eager"
    made.engine = "eager"
    assert torch.equal(made(inputs), hooked)
    louder = machine()
    louder.__class__ = Louder
    with pytest.raises(ValueError, match="engine=fused does not apply: Louder has a step of its own"):
        louder(inputs)


@pytest.mark.parametrize("engine", ["eager", "fused"])
@pytest.mark.parametrize("shape", [(2, 3, INPUTS - 1), (2, 3, INPUTS + 1)])
def test_inputs_of_another_shape_are_an_error(engine, shape):
    made = machine()
    made.engine = engine
    with pytest.raises(ValueError, match=rf"are not \(batch, time, {INPUTS}\), which this machine was built for"):
        made(torch.zeros(shape))


def run_in_a_child(machine: Machine, inputs: Tensor) -> list:
    with torch.no_grad():
        return machine(inputs).tolist()


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_runs_in_a_child_process(method):
    inputs, _ = episode(9, 5)
    made = machine()
    expected = run_in_a_child(made, inputs)  # starts this process' threads first
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply(run_in_a_child, (made, inputs)) == expected


def test_preparing_compiles_all_that_training_needs_and_leaves_nothing_behind():
    made, (inputs, targets) = machine(), episode(3, 9)
    random, weights = torch.get_rng_state(), copy.deepcopy(made.state_dict())
    made.prepare()
    kernels = (pack, episode_forward, episode_backward, weight_gradients, unpack)
    compiled = [kernel.signatures[:] for kernel in kernels]
    assert all(compiled)
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(value, weights[name]) for name, value in made.state_dict().items())
    assert all(p.grad is None for p in made.parameters())
    outcome(made, inputs, targets, "fused")
    assert [kernel.signatures for kernel in kernels] == compiled


@pytest.mark.skipif(LANES != 16, reason="the other tests have run with vectors of eight")
def test_agrees_on_a_processor_without_avx_512():
    """Most laptops have none, and vectors of eight. What is compiled for them is kept beside what is for this one."""
    laptop = {**os.environ, "NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "", "PYTEST_ADDOPTS": ""}
    some = "vector_or_a_block or batches or controller_sizes or paper_s_size or same_bits"
    for told in (
        ["-c", "from ntm.fused.simd import LANES; assert LANES == 8"],
        ["-m", "pytest", "-p", "no:cacheprovider", __file__, "-k", some],
    ):
        ran = subprocess.run([sys.executable, *told], env=laptop, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout + ran.stderr
