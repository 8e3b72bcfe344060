"""The interface vector: what is cut from where, and what range it is put in."""

import pytest
import torch

from ntm.heads import Heads

NUM_READ, NUM_WRITE, WIDTH, SHIFTS = 2, 1, 2, 3


def heads(**settings) -> Heads:
    defaults = {
        "num_read_heads": NUM_READ,
        "num_write_heads": NUM_WRITE,
        "slot_width": WIDTH,
        "shift_range": SHIFTS,
        "by_location": True,
        "squash": True,
    }
    return Heads(**defaults | settings)


def test_every_number_of_the_interface_says_one_thing():
    cutter = heads()
    per_head = WIDTH + 1 + 1 + SHIFTS + 1  # k, beta, g, s, gamma
    assert cutter.interface_size == (NUM_READ + NUM_WRITE) * per_head + NUM_WRITE * 2 * WIDTH

    def everything(interface):
        emission = cutter.cut(interface)
        pieces = [value for part in (emission.write, emission.read) for value in vars(part).values()]
        return torch.cat([piece.flatten() for piece in (*pieces, emission.e, emission.a)])

    interface = torch.randn(cutter.interface_size, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(everything, interface)
    assert (jacobian != 0).any(dim=0).all()  # no number is ignored
    rows = (jacobian != 0).sum(dim=1)
    assert set(rows.tolist()) == {1, SHIFTS}  # each value has one source, but for a softmax over the shifts


def test_keys_and_add_vectors_are_what_was_said_where_nothing_squashes_them():
    interface = 100 * torch.randn(5, heads().interface_size)
    said, squashed = heads(squash=False).cut(interface), heads().cut(interface)
    for free, bounded in ((said.write.k, squashed.write.k), (said.read.k, squashed.read.k), (said.a, squashed.a)):
        assert torch.equal(free.tanh(), bounded)
        assert torch.isin(free, interface).all()
    for part, other in ((said.write, squashed.write), (said.read, squashed.read)):
        assert all(torch.equal(getattr(part, name), getattr(other, name)) for name in ("beta", "g", "s", "gamma"))
    assert torch.equal(said.e, squashed.e)


def test_the_pieces_have_the_shapes_of_their_heads():
    emission = heads().cut(torch.randn(5, heads().interface_size))
    for addressing, num_heads in ((emission.write, NUM_WRITE), (emission.read, NUM_READ)):
        assert addressing.k.shape == (5, num_heads, WIDTH)
        assert addressing.s.shape == (5, num_heads, SHIFTS)
        for value in (addressing.beta, addressing.g, addressing.gamma):
            assert value.shape == (5, num_heads)
    assert emission.e.shape == emission.a.shape == (5, NUM_WRITE, WIDTH)


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
@pytest.mark.parametrize("sign", [-1, 1])
def test_every_parameter_stays_in_its_range(scale, sign):
    emission = heads().cut(sign * scale * torch.rand(50, heads().interface_size))
    for addressing in (emission.write, emission.read):
        assert (addressing.k.abs() <= 1).all()
        assert (addressing.beta >= 0).all()
        assert ((addressing.g >= 0) & (addressing.g <= 1)).all()
        assert (addressing.gamma >= 1).all()
        torch.testing.assert_close(addressing.s.sum(-1), torch.ones_like(addressing.g))
    assert ((emission.e >= 0) & (emission.e <= 1)).all()
    assert (emission.a.abs() <= 1).all()


def test_content_addressing_asks_for_fewer_numbers_and_fills_in_what_changes_nothing():
    cutter = heads(by_location=False)
    assert cutter.interface_size == heads().interface_size - (NUM_READ + NUM_WRITE) * (1 + SHIFTS + 1)
    emission = cutter.cut(torch.randn(5, cutter.interface_size))
    for addressing in (emission.write, emission.read):
        assert (addressing.g == 1).all()
        assert (addressing.gamma == 1).all()
        assert (addressing.s == torch.tensor([0.0, 1.0, 0.0])).all()


def test_an_episode_is_cut_as_its_steps_are():
    interface = torch.randn(4, 5, heads().interface_size)
    emission = heads().cut(interface)
    for step in range(4):
        torch.testing.assert_close(emission.read.k[step], heads().cut(interface[step]).read.k)
        torch.testing.assert_close(emission.a[step], heads().cut(interface[step]).a)
