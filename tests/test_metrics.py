"""What is reported, against loops over the scored bits."""

import math

import pytest
import torch
from torch.testing import assert_close

from ntm.metrics import METRICS, bit_error_rate, bits, error_bits, exact

BATCH, TIME, CHANNELS = 6, 5, 3


@pytest.fixture
def batch():
    logits = 2 * torch.randn(BATCH, TIME, CHANNELS)
    targets = torch.randint(2, (BATCH, TIME, CHANNELS)).float()
    mask = torch.rand(BATCH, TIME) < 0.5
    mask[0] = False  # one that is not scored at all
    logits[1] = 2 * targets[1] - 1  # one that is right
    mask[1] = True
    return logits, targets, mask


def scored(batch, row):
    logits, targets, mask = batch
    return [(logits[row, t, c], targets[row, t, c]) for t in range(TIME) if mask[row, t] for c in range(CHANNELS)]


def test_bits_is_the_cost_of_the_answer_to_a_coder_who_trusts_the_machine(batch):
    expected = [
        sum(-math.log2(1 / (1 + math.exp(-logit if target else logit))) for logit, target in scored(batch, row))
        for row in range(BATCH)
    ]
    assert_close(bits(*batch), torch.tensor(expected, dtype=torch.float32))


def test_error_bits_counts_what_rounding_leaves_wrong(batch):
    expected = [sum((logit > 0) != (target == 1) for logit, target in scored(batch, row)) for row in range(BATCH)]
    assert error_bits(*batch).tolist() == expected
    assert error_bits(*batch)[2:].sum() > 0


def test_bit_error_rate_is_the_fraction_of_scored_bits_that_are_wrong(batch):
    for row in range(1, BATCH):
        pairs = scored(batch, row)
        wrong = sum((logit > 0) != (target == 1) for logit, target in pairs)
        assert bit_error_rate(*batch)[row].item() == pytest.approx(float(wrong) / max(len(pairs), 1))


def test_exact_asks_for_every_scored_bit(batch):
    assert exact(*batch).tolist() == [float(wrong == 0) for wrong in error_bits(*batch)]
    assert exact(*batch)[1] == 1


def test_an_unscored_sequence_has_no_cost_and_no_mistake(batch):
    assert bits(*batch)[0] == error_bits(*batch)[0] == bit_error_rate(*batch)[0] == 0
    assert exact(*batch)[0] == 1


@pytest.mark.parametrize("name", METRICS)
def test_what_is_not_scored_changes_no_metric(name, batch):
    logits, targets, mask = batch
    metric = METRICS[name]
    elsewhere = torch.where(mask.unsqueeze(-1), logits, -logits)
    assert_close(metric(elsewhere, targets, mask), metric(*batch))
    padded = [torch.cat([field, torch.zeros_like(field)], dim=1) for field in batch]
    assert_close(metric(*padded), metric(*batch))


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_a_figure_for_each_sequence(name, batch):
    metric = METRICS[name]
    together = metric(*batch)
    assert together.shape == (BATCH,)
    for row in range(BATCH):
        assert_close(metric(*(field[row : row + 1] for field in batch))[0], together[row])


def test_chance_is_a_bit_a_bit_and_half_of_them_wrong():
    targets = torch.randint(2, (1000, TIME, CHANNELS)).float()
    mask = torch.ones(1000, TIME, dtype=torch.bool)
    assert_close(bits(torch.zeros_like(targets), targets, mask), torch.full((1000,), float(TIME * CHANNELS)))
    guesses = torch.randn_like(targets)
    assert bit_error_rate(guesses, targets, mask).mean().item() == pytest.approx(0.5, abs=0.02)
