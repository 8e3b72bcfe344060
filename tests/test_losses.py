"""What training makes small: the scored bits alone, against loops."""

import math

import pytest
import torch
from fakes import compose, options
from torch.testing import assert_close

from conf.check import instantiate
from ntm.losses.cross_entropy import CrossEntropy
from ntm.losses.huber import Huber
from ntm.losses.log_likelihood import LogLikelihood
from ntm.metrics import bits

# Two sequences of three steps of two bits; the second sequence is scored once.
LOGITS = torch.tensor([[[0.5, -1.0], [2.0, 0.0], [-3.0, 1.5]], [[0.1, 0.2], [-0.3, 4.0], [1.0, -1.0]]])
TARGETS = torch.tensor([[[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]], [[1.0, 1.0], [0.0, 1.0], [0.0, 1.0]]])
MASK = torch.tensor([[False, True, True], [False, True, False]])


@pytest.fixture(params=options("loss"))
def loss(request):
    return instantiate(compose(f"loss={request.param}"), "loss")


def scored():
    for b in range(2):
        for t in range(3):
            if MASK[b, t]:
                for c in range(2):
                    yield LOGITS[b, t, c].item(), TARGETS[b, t, c].item()


# --- the contract


def test_a_loss_is_one_number_smaller_for_better_answers(loss):
    right, wrong = 5 * (2 * TARGETS - 1), -5 * (2 * TARGETS - 1)
    assert loss(right, TARGETS, MASK).shape == ()
    assert 0 <= loss(right, TARGETS, MASK) < loss(LOGITS, TARGETS, MASK) < loss(wrong, TARGETS, MASK)


def test_a_loss_sees_nothing_but_the_scored_steps(loss):
    logits = LOGITS.clone().requires_grad_()
    value = loss(logits, TARGETS, MASK)
    value.backward()
    assert (logits.grad[~MASK] == 0).all()
    assert (logits.grad[MASK] != 0).all()
    noise = 10 * torch.randn_like(LOGITS)
    elsewhere = torch.where(MASK.unsqueeze(-1), LOGITS, noise)
    assert_close(loss(elsewhere, torch.where(MASK.unsqueeze(-1), TARGETS, noise.sigmoid().round()), MASK), value)


def test_padding_weighs_nothing(loss):
    padded = [torch.cat([field, torch.zeros_like(field)], dim=1) for field in (LOGITS, TARGETS, MASK)]
    assert_close(loss(*padded), loss(LOGITS, TARGETS, MASK))


def test_a_loss_of_nothing_is_zero(loss):
    assert loss(LOGITS, TARGETS, torch.zeros_like(MASK)) == 0


@pytest.mark.parametrize("scale", [1e2, 1e4, 1e30])
def test_a_confident_mistake_is_finite_forward_and_backward(loss, scale):
    logits = (-scale * (2 * TARGETS - 1)).requires_grad_()
    value = loss(logits, TARGETS, MASK)
    assert value.isfinite()
    value.backward()
    assert logits.grad.isfinite().all()


def test_a_loss_works_in_float64(loss):
    assert loss(LOGITS.double(), TARGETS.double(), MASK).dtype == torch.float64


# --- the members


def test_log_likelihood_is_minus_the_log_of_the_probability_of_a_whole_answer():
    logs = []
    for logit, target in scored():
        p = 1 / (1 + math.exp(-logit))
        logs.append(math.log(p if target else 1 - p))
    assert_close(LogLikelihood()(LOGITS, TARGETS, MASK).item(), -sum(logs) / 2)
    assert_close(LogLikelihood()(LOGITS, TARGETS, MASK), bits(LOGITS, TARGETS, MASK).mean() * math.log(2))


def test_cross_entropy_is_the_mean_of_minus_the_log_of_the_right_answer():
    losses = []
    for logit, target in scored():
        p = 1 / (1 + math.exp(-logit))
        losses.append(-math.log(p if target else 1 - p))
    assert_close(CrossEntropy()(LOGITS, TARGETS, MASK).item(), sum(losses) / len(losses), rtol=1e-6, atol=0)


def test_chance_is_log_2_in_cross_entropy():
    assert_close(CrossEntropy()(torch.zeros_like(LOGITS), TARGETS, MASK).item(), math.log(2))


@pytest.mark.parametrize("delta", [0.1, 0.5, 1.0, 3.0])
def test_huber_is_a_square_up_to_delta_and_a_line_beyond(delta):
    losses = []
    for logit, target in scored():
        d = abs(1 / (1 + math.exp(-logit)) - target)
        losses.append(d**2 / 2 if d <= delta else delta * (d - delta / 2))
    mean = sum(losses) / len(losses) * 2 / min(delta, 0.5)
    assert_close(Huber(delta=delta)(LOGITS, TARGETS, MASK).item(), mean, rtol=1e-6, atol=0)


@pytest.mark.parametrize("delta", [0.0, -1.0])
def test_huber_needs_a_positive_delta(delta):
    with pytest.raises(ValueError, match="greater than 0"):
        Huber(delta=delta)


@pytest.mark.parametrize("delta", [0.1, 0.5, 1.0, 3.0])
def test_an_undecided_bit_pulls_as_hard_as_under_cross_entropy_whatever_the_delta(delta):
    def pull(loss):
        logits = torch.zeros_like(LOGITS, requires_grad=True)
        return torch.autograd.grad(loss(logits, TARGETS, MASK), logits)[0]

    assert_close(pull(Huber(delta=delta)), pull(CrossEntropy()))
