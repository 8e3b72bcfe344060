"""Where an episode starts: constant, random and saved, or learned."""

import pytest
import torch
from fakes import feedforward, lstm, machine, matrix_memory

from ntm.initial import Initial, InitialWeighting

KINDS = ["constant", "random", "learned"]
WEIGHTING_KINDS = ["one_hot", "uniform", "random", "learned"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_initial_state_is_in_the_state_dict(kind):
    assert list(Initial(kind, (2, 3), std=1.0).state_dict()) == ["value"]


def test_a_constant_state_is_its_constant_and_does_not_learn():
    initial = Initial("constant", (2, 3), constant=0.25, std=1.0)
    assert (initial() == 0.25).all()
    assert not list(initial.parameters())


def test_a_random_state_has_its_spread_and_does_not_learn():
    torch.manual_seed(0)
    initial = Initial("random", (100, 100), constant=5.0, std=0.2)
    assert initial().mean().abs() < 0.01
    assert 0.19 < initial().std() < 0.21
    assert not list(initial.parameters())


def test_a_learned_state_starts_random_and_gets_a_gradient():
    initial = Initial("learned", (2, 3), std=1.0)
    assert initial().std() > 0
    initial.batch(4).sum().backward()
    assert (initial.value.grad == 4).all()


def test_every_sequence_of_a_batch_starts_alike():
    initial = Initial("random", (2, 3), std=1.0)
    assert all(torch.equal(row, initial()) for row in initial.batch(4))


@pytest.mark.parametrize("kind", WEIGHTING_KINDS)
def test_every_initial_weighting_is_a_weighting(kind):
    w = InitialWeighting(kind, 2, 5)()
    assert w.shape == (2, 5)
    assert (w >= 0).all()
    torch.testing.assert_close(w.sum(-1), torch.ones(2))


def test_one_hot_is_slot_0_and_uniform_is_everywhere():
    assert torch.equal(InitialWeighting("one_hot", 2, 3)(), torch.tensor([[1.0, 0, 0]] * 2))
    torch.testing.assert_close(InitialWeighting("uniform", 2, 3)(), torch.full((2, 3), 1 / 3))


def test_random_weightings_of_several_heads_differ():
    w = InitialWeighting("random", 2, 5)()
    assert not torch.allclose(w[0], w[1])


@pytest.mark.parametrize("kind", KINDS)
def test_redrawing_changes_random_states_alone(kind):
    initial = Initial(kind, (2, 3), constant=1.0, std=1.0)
    before = initial().clone()
    initial.redraw(torch.Generator().manual_seed(1))
    assert torch.equal(before, initial()) == (kind != "random")


def test_redrawing_follows_its_generator():
    first, second = (Initial("random", (2, 3), std=1.0) for _ in range(2))
    for initial in (first, second):
        initial.redraw(torch.Generator().manual_seed(1))
    assert torch.equal(first(), second())


def test_redrawing_a_weighting_leaves_a_weighting():
    initial = InitialWeighting("random", 2, 5)
    before = initial().clone()
    initial.redraw(torch.Generator().manual_seed(1))
    assert not torch.equal(before, initial())
    torch.testing.assert_close(initial().sum(-1), torch.ones(2))


def random_machine(kind: str, seed: int):
    memory = matrix_memory(initial_memory=kind, initial_weighting=kind, initial_reads=kind)
    return machine(lstm(initial_state=kind), memory, seed=seed)


@pytest.mark.parametrize("kind", ["random", "learned"])
def test_the_state_dict_carries_where_an_episode_starts(kind):
    trained, fresh = random_machine(kind, seed=1), random_machine(kind, seed=2)
    inputs = torch.randn(2, 4, 3)
    assert not torch.allclose(trained(inputs), fresh(inputs))
    fresh.load_state_dict(trained.state_dict())
    assert torch.equal(trained(inputs), fresh(inputs))


@pytest.mark.parametrize("order", ["write_then_read", "read_then_write"])
def test_every_learned_initial_state_of_a_machine_gets_a_gradient(order):
    memory = matrix_memory(initial_memory="learned", initial_weighting="learned", initial_reads="learned", order=order)
    ntm = machine(lstm(initial_state="learned", num_layers=2), memory)
    ntm(torch.randn(2, 4, 3)).square().sum().backward()
    starts = {name: p.grad for name, p in ntm.named_parameters() if "_0." in name}
    assert len(starts) == 4 + 4  # M, two weightings and the reads; h and c of two layers
    assert all(gradient.abs().sum() > 0 for gradient in starts.values())


def test_the_constant_machine_learns_no_initial_state():
    ntm = machine(feedforward(), matrix_memory(initial_memory="constant"))
    assert not [name for name, _ in ntm.named_parameters() if "_0." in name]
