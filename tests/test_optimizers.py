"""RMSProp against a loop over single numbers, against torch's, and its two ways to the same numbers."""

import sys
from copy import deepcopy
from math import sqrt

import pytest
import torch
from torch import nn

from ntm.optimizers import rmsprop
from ntm.optimizers.rmsprop import RMSProp

SETTINGS = {"lr": 0.1, "alpha": 0.95, "momentum": 0.9, "eps": 1e-4, "eps_in_root": True}


def parameters(dtype=torch.float64) -> list[nn.Parameter]:
    shapes = [(2, 3), (4,), (), (3, 0)]  # the last is the interface of a machine without memory
    return [nn.Parameter(torch.randn(shape, dtype=dtype)) for shape in shapes]


def give(params: list[nn.Parameter], gradients: list[torch.Tensor]) -> None:
    for p, gradient in zip(params, gradients, strict=True):
        p.grad = gradient.clone()


def scalar(
    p: float, gradients: list[float], lr: float, alpha: float, momentum: float, eps: float, eps_in_root: bool
) -> float:
    """One number through the equations, as they stand in the paper, or with epsilon outside the root."""
    n = m = d = 0.0
    for g in gradients:
        n = alpha * n + (1 - alpha) * g**2
        m = alpha * m + (1 - alpha) * g
        scale = sqrt(n - m**2 + eps) if eps_in_root else sqrt(n - m**2) + eps
        d = momentum * d - lr * g / scale
        p = p + d
    return p


@pytest.mark.parametrize(
    "changed", [{}, {"alpha": 0.5}, {"momentum": 0.0}, {"eps": 1e-2}, {"lr": 1e-3}, {"eps_in_root": False}]
)
def test_every_number_takes_the_steps_of_the_equations(changed):
    settings = SETTINGS | changed
    params = parameters()
    start = [p.detach().clone() for p in params]
    gradients = [[torch.randn_like(p) for p in params] for _ in range(7)]
    optimizer = RMSProp(params, **settings)
    for step in gradients:
        give(params, step)
        optimizer.step()
    for which, (before, after) in enumerate(zip(start, params, strict=True)):
        each = torch.stack([step[which].flatten() for step in gradients])
        expected = [scalar(p.item(), each[:, i].tolist(), **settings) for i, p in enumerate(before.flatten())]
        assert after.flatten().tolist() == pytest.approx(expected, rel=1e-12)


def test_groups_have_rates_of_their_own_and_what_has_no_gradient_stays():
    fast, slow, still = (nn.Parameter(torch.ones(2)) for _ in range(3))
    settings = {name: value for name, value in SETTINGS.items() if name != "lr"}
    groups = [{"params": [fast, still]}, {"params": [slow], "lr": 0.001}]
    optimizer = RMSProp(groups, lr=0.1, **settings)
    fast.grad = slow.grad = torch.ones(2)
    optimizer.step()
    assert torch.equal(still, torch.ones(2))
    assert ((1 - fast) / (1 - slow)).tolist() == pytest.approx([100, 100], rel=1e-3)


def test_on_numbers_that_suit_it_the_compiled_update_is_the_vectorised_one_and_torchs(monkeypatch):
    ours, theirs, vectorised = (parameters(torch.float32) for _ in range(3))
    for p, q, r in zip(ours, theirs, vectorised, strict=True):
        q.data.copy_(p)
        r.data.copy_(p)
    settings = SETTINGS | {"eps_in_root": False}
    torchs = {name: value for name, value in SETTINGS.items() if name != "eps_in_root"}
    optimizers = RMSProp(ours, **settings), torch.optim.RMSprop(theirs, centered=True, **torchs)
    slow = RMSProp(vectorised, **settings)
    for _ in range(9):
        gradients = [torch.randn_like(p) for p in ours]
        for params in (ours, theirs, vectorised):
            give(params, gradients)
        for optimizer in optimizers:
            optimizer.step()
        with monkeypatch.context() as patched:
            patched.setattr(rmsprop, "suits", lambda tensor: False)
            slow.step()
    for p, q, r in zip(ours, theirs, vectorised, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(p, r, rtol=1e-5, atol=1e-6)


def test_a_part_of_a_tensor_and_a_transposed_one_take_the_same_steps():
    """What is not one piece of memory is left to torch."""
    whole, part = nn.Parameter(torch.ones(3, 4)), nn.Parameter(torch.ones(4, 3).t())
    optimizer = RMSProp([whole, part], **SETTINGS)
    for _ in range(3):
        whole.grad = torch.arange(12.0).view(3, 4)
        part.grad = whole.grad.clone()
        optimizer.step()
    torch.testing.assert_close(whole, part)
    assert not torch.equal(whole, torch.ones(3, 4))


@pytest.mark.parametrize("eps_in_root", [True, False])
def test_a_great_gradient_that_never_changes_has_no_variance_and_no_nan(eps_in_root):
    p = nn.Parameter(torch.zeros(1000))
    optimizer = RMSProp([p], **SETTINGS | {"eps_in_root": eps_in_root})
    for _ in range(200):
        p.grad = 1e4 * torch.arange(1.0, 1001.0)
        optimizer.step()
    assert p.isfinite().all()


def test_its_state_survives_a_checkpoint():
    one, other = parameters(torch.float32), parameters(torch.float32)
    gradients = [[torch.randn_like(p) for p in one] for _ in range(4)]
    straight = RMSProp(one, **SETTINGS)
    for step in gradients[:2]:
        give(one, step)
        straight.step()
    resumed = RMSProp(other, **SETTINGS)
    resumed.load_state_dict(deepcopy(straight.state_dict()))
    for mine, theirs in zip(other, one, strict=True):
        mine.data.copy_(theirs)
    for step in gradients[2:]:
        give(one, step)
        give(other, step)
        straight.step()
        resumed.step()
    assert all(map(torch.equal, one, other))


def test_a_step_computes_the_loss_with_gradients_where_it_is_asked_to():
    p = nn.Parameter(torch.ones(()))
    optimizer = RMSProp([p], **SETTINGS)

    def closure():
        loss = p.square()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 1
    assert p < 1


@pytest.mark.parametrize("wrong", [{"lr": 0}, {"lr": -1}, {"alpha": 1.0}, {"momentum": 1.5}, {"eps": 0}])
def test_a_setting_out_of_its_range_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RMSProp(parameters(), **SETTINGS | wrong)


def test_without_numba_it_takes_the_same_steps(monkeypatch):
    gradients = [torch.randn_like(p) for p in parameters(torch.float32)]
    params = parameters(torch.float32)
    without = [nn.Parameter(p.detach().clone()) for p in params]
    give(params, gradients)
    RMSProp(params, **SETTINGS).step()
    monkeypatch.setattr(rmsprop, "no_numba", lambda: "it is hidden")
    monkeypatch.setitem(sys.modules, "ntm.fused.rmsprop", None)  # cannot be imported
    give(without, gradients)
    RMSProp(without, **SETTINGS).step()
    for one, other in zip(params, without, strict=True):
        torch.testing.assert_close(one, other)
