"""What every controller promises, over every yaml of the family."""

import pytest
import torch
from fakes import compose, feedforward, lstm, options
from torch.testing import assert_close

from conf.check import instantiate
from ntm.controllers.deep_lstm import DeepLSTMController
from ntm.controllers.gru import GRUController
from ntm.machine import Machine
from ntm.memories.none import NoMemory

CONTROLLERS = options("controller")
INPUT_SIZE = 3


@pytest.fixture(params=CONTROLLERS)
def controller(request):
    torch.manual_seed(0)
    return instantiate(compose(f"controller={request.param}"), "controller")(input_size=INPUT_SIZE)


def run(controller, inputs):
    """What it says at every step, [batch time control]."""
    state, said = controller.initial_state(len(inputs)), []
    for x in inputs.unbind(1):
        h, state = controller(x, state)
        said.append(h)
    return torch.stack(said, dim=1)


def test_a_controller_says_as_many_numbers_as_it_promises(controller):
    assert run(controller, torch.randn(2, 4, INPUT_SIZE)).shape == (2, 4, controller.output_size)


def test_a_row_of_a_batch_is_controlled_as_if_alone(controller):
    inputs = torch.randn(3, 4, INPUT_SIZE)
    together = run(controller, inputs)
    for row in range(3):
        assert_close(run(controller, inputs[row : row + 1])[0], together[row])


def test_a_controller_keeps_nothing_of_an_episode(controller):
    inputs = torch.randn(2, 4, INPUT_SIZE)
    assert torch.equal(run(controller, inputs), run(controller, inputs))


def test_a_controller_that_runs_ahead_does_and_learns_what_it_does_step_by_step(controller):
    controller.double()
    inputs = torch.randn(2, 5, INPUT_SIZE).double()
    weights = torch.randn(2, 5, controller.output_size).double()

    def gradients(said):
        controller.zero_grad()
        (said * weights).sum().backward()
        return [p.grad.clone() for p in controller.parameters()]

    state = controller.initial_state(2)
    ahead, after = controller.unroll(inputs, state)
    assert_close(ahead, run(controller, inputs))
    assert_close(gradients(ahead), gradients(run(controller, inputs)))
    for x in inputs.unbind(1):
        _, state = controller(x, state)
    assert_close(after, state)


def test_a_controller_works_in_float64(controller):
    assert run(controller.double(), torch.randn(2, 4, INPUT_SIZE).double()).dtype == torch.float64


def test_a_controller_sees_its_input_and_nothing_that_comes_later(controller):
    inputs = torch.randn(1, 4, INPUT_SIZE)
    changed = inputs.clone()
    changed[0, 2] += 1
    before, after = run(controller, inputs), run(controller, changed)
    assert torch.equal(before[:, :2], after[:, :2])
    assert not torch.allclose(before[:, 2], after[:, 2])


def test_every_weight_of_a_controller_gets_a_gradient(controller):
    run(controller, torch.randn(2, 4, INPUT_SIZE)).square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in controller.parameters())


def gru(**settings):
    defaults = {"hidden_size": 4, "num_layers": 1, "initial_state": "constant", "initial_std": 0.5}
    return lambda input_size: GRUController(input_size=input_size, **defaults | settings)


@pytest.mark.parametrize(("recurrent", "module"), [(lstm, torch.nn.LSTM), (gru, torch.nn.GRU)])
@pytest.mark.parametrize("num_layers", [1, 3])
def test_a_recurrent_controller_is_torchs_own_network_of_as_many_layers(recurrent, module, num_layers):
    controller = recurrent(num_layers=num_layers)(input_size=INPUT_SIZE)
    network = module(INPUT_SIZE, 4, num_layers=num_layers, batch_first=True)
    for layer, cell in enumerate(controller.cells):
        for name, value in cell.named_parameters():
            getattr(network, f"{name}_l{layer}").data.copy_(value)
    inputs = torch.randn(2, 5, INPUT_SIZE)
    assert_close(run(controller, inputs), network(inputs)[0])


def deep_lstm(**settings):
    defaults = {"hidden_size": 4, "num_layers": 3, "initial_state": "learned", "initial_std": 0.5}
    return lambda input_size: DeepLSTMController(input_size=input_size, **defaults | settings)


def test_a_deep_lstm_sees_its_input_in_every_layer_and_speaks_with_all_of_them():
    """Against the equations of an LSTM, gate by gate."""
    controller = deep_lstm()(input_size=INPUT_SIZE)
    inputs = torch.randn(5, INPUT_SIZE)
    state = [part.squeeze(0) for part in controller.initial_state(1)]
    for x, said in zip(inputs, run(controller, inputs.unsqueeze(0)).squeeze(0), strict=True):
        below = torch.empty(0)
        for n, layer in enumerate(controller.layers):
            h, c = state[2 * n], state[2 * n + 1]
            W, b = layer.weight_ih_l0[:, torch.arange(len(x) + 1 + len(below)) != len(x)], layer.weight_ih_l0[:, len(x)]
            i, f, g, o = (W @ torch.cat([x, below]) + layer.weight_hh_l0 @ h + b).chunk(4)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            below = o.sigmoid() * c.tanh()
            state[2 * n], state[2 * n + 1] = below, c
            assert_close(said[4 * n : 4 * (n + 1)], below)


@pytest.mark.parametrize(
    ("hidden_size", "inputs", "outputs", "parameters"),
    [
        (256, 10, 9, 1_352_969),  # copy
        (512, 8, 7, 5_312_007),  # repeat copy
        (256, 8, 6, 1_344_518),  # associative recall
        (128, 1, 1, 331_905),  # n-grams
        (128, 10, 8, 348_424),  # sort; the paper's 384,424 must be two digits transposed
    ],
)
def test_a_deep_lstm_has_as_many_parameters_as_the_paper_counts(hidden_size, inputs, outputs, parameters):
    baseline = Machine(
        input_size=inputs, output_size=outputs, controller=deep_lstm(hidden_size=hidden_size), memory=NoMemory()
    )
    assert sum(p.numel() for p in baseline.parameters()) == parameters


def test_a_feedforward_controller_remembers_nothing():
    controller = feedforward(num_layers=2)(input_size=INPUT_SIZE)
    assert controller.initial_state(2) == ()
    inputs = torch.randn(2, 4, INPUT_SIZE)
    assert_close(run(controller, inputs.flip(1)), run(controller, inputs).flip(1))


@pytest.mark.parametrize("recurrent", [lstm, gru, deep_lstm])
@pytest.mark.parametrize("kind", ["constant", "random", "learned"])
def test_a_recurrent_controller_starts_from_the_state_that_was_chosen(recurrent, kind):
    state = recurrent(initial_state=kind)(input_size=INPUT_SIZE).initial_state(2)
    assert all((part == 0).all() == (kind == "constant") for part in state)


@pytest.mark.parametrize("settings", [{"hidden_size": 0}, {"num_layers": 0}, {"hidden_size": -3}])
@pytest.mark.parametrize("family", [lstm, gru, deep_lstm, feedforward])
def test_a_network_without_units_is_refused(family, settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))}(.|\n)*greater than 0"):
        family(**settings)(input_size=INPUT_SIZE)
