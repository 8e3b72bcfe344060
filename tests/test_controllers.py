"""What every controller promises, over every yaml of the family."""

import pytest
import torch
from fakes import compose, feedforward, lstm, options
from torch.testing import assert_close

from conf.check import instantiate
from ntm.controllers.gru import GRUController

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


def test_the_forget_gates_start_open_by_the_forget_bias():
    def gates(**settings):
        torch.manual_seed(0)
        controller = lstm(num_layers=2, **settings)(input_size=INPUT_SIZE)
        return [cell.bias_ih.detach().unflatten(0, (4, -1)) for cell in controller.cells]

    for closed, opened in zip(gates(forget_bias=0.0), gates(forget_bias=2.0), strict=True):
        assert_close(opened - closed, torch.tensor([0.0, 2.0, 0.0, 0.0])[:, None].expand(4, 4))


def test_a_feedforward_controller_remembers_nothing():
    controller = feedforward(num_layers=2)(input_size=INPUT_SIZE)
    assert controller.initial_state(2) == ()
    inputs = torch.randn(2, 4, INPUT_SIZE)
    assert_close(run(controller, inputs.flip(1)), run(controller, inputs).flip(1))


@pytest.mark.parametrize("recurrent", [lstm, gru])
@pytest.mark.parametrize("kind", ["constant", "random", "learned"])
def test_a_recurrent_controller_starts_from_the_state_that_was_chosen(recurrent, kind):
    state = recurrent(initial_state=kind)(input_size=INPUT_SIZE).initial_state(2)
    assert all((part == 0).all() == (kind == "constant") for part in state)


@pytest.mark.parametrize("settings", [{"hidden_size": 0}, {"num_layers": 0}, {"hidden_size": -3}])
@pytest.mark.parametrize("family", [lstm, gru, feedforward])
def test_a_network_without_units_is_refused(family, settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))}(.|\n)*greater than 0"):
        family(**settings)(input_size=INPUT_SIZE)
