"""Equations (2) to (9): against slow loops over the paper's sums, and by what must hold whatever the numbers are."""

import math

import pytest
import torch
from fakes import weightings
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from ntm import equations

BATCH, HEADS, SLOTS, WIDTH = 2, 3, 5, 4
SEEDS = st.integers(0, 2**32 - 1)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def weighting(*shape: int, seed: int = 0) -> Tensor:
    return weightings(*shape, generator=torch.Generator().manual_seed(seed))


def one_hot(index: int, size: int) -> Tensor:
    """The focus of one head of one sequence, all on one slot."""
    w = torch.zeros(1, 1, size, dtype=torch.float64)
    w[..., index] = 1
    return w


def assert_weighting(w: Tensor) -> None:
    """Equation (1)."""
    assert (w >= 0).all()
    torch.testing.assert_close(w.sum(-1), torch.ones_like(w[..., 0]))


# --- against slow loops


@pytest.mark.parametrize("heads", [1, HEADS])
def test_reading_sums_the_slots_by_their_weighting(heads):
    M, w = normal(BATCH, SLOTS, WIDTH), weighting(BATCH, heads, SLOTS)
    expected = torch.zeros(BATCH, heads, WIDTH, dtype=torch.float64)
    for b in range(BATCH):
        for h in range(heads):
            for i in range(SLOTS):
                expected[b, h] += w[b, h, i] * M[b, i]
    torch.testing.assert_close(equations.read(M, w), expected)


@pytest.mark.parametrize("heads", [1, HEADS])
def test_the_erasures_of_several_heads_multiply(heads):
    M, w, e = normal(BATCH, SLOTS, WIDTH), weighting(BATCH, heads, SLOTS), uniform(BATCH, heads, WIDTH)
    expected = M.clone()
    for b in range(BATCH):
        for h in range(heads):
            for i in range(SLOTS):
                for j in range(WIDTH):
                    expected[b, i, j] *= 1 - w[b, h, i] * e[b, h, j]
    torch.testing.assert_close(equations.erase(M, w, e), expected)


@pytest.mark.parametrize("heads", [1, HEADS])
def test_the_additions_of_several_heads_sum(heads):
    M, w, a = normal(BATCH, SLOTS, WIDTH), weighting(BATCH, heads, SLOTS), normal(BATCH, heads, WIDTH, seed=1)
    expected = M.clone()
    for b in range(BATCH):
        for h in range(heads):
            for i in range(SLOTS):
                for j in range(WIDTH):
                    expected[b, i, j] += w[b, h, i] * a[b, h, j]
    torch.testing.assert_close(equations.add(M, w, a), expected)


def test_similarity_is_the_cosine_of_key_and_slot():
    k, M = normal(BATCH, HEADS, WIDTH, seed=1), normal(BATCH, SLOTS, WIDTH)
    expected = torch.zeros(BATCH, HEADS, SLOTS, dtype=torch.float64)
    for b in range(BATCH):
        for h in range(HEADS):
            for i in range(SLOTS):
                dot = sum(k[b, h, j] * M[b, i, j] for j in range(WIDTH))
                norms = math.sqrt(sum(x**2 for x in k[b, h])) * math.sqrt(sum(x**2 for x in M[b, i]))
                expected[b, h, i] = dot / norms
    torch.testing.assert_close(equations.cosine_similarity(k, M), expected)


def test_content_weighting_is_a_softmax_of_the_similarity_times_the_strength():
    k, beta, M = normal(BATCH, HEADS, WIDTH, seed=1), 5 * uniform(BATCH, HEADS), normal(BATCH, SLOTS, WIDTH)
    K = equations.cosine_similarity(k, M)
    expected = torch.zeros_like(K)
    for b in range(BATCH):
        for h in range(HEADS):
            total = sum(math.exp(beta[b, h] * K[b, h, j]) for j in range(SLOTS))
            for i in range(SLOTS):
                expected[b, h, i] = math.exp(beta[b, h] * K[b, h, i]) / total
    torch.testing.assert_close(equations.content_weighting(k, beta, M), expected)


def test_interpolation_blends_slot_by_slot():
    g, w_c, w_prev = uniform(BATCH, HEADS), weighting(BATCH, HEADS, SLOTS), weighting(BATCH, HEADS, SLOTS, seed=1)
    expected = torch.zeros_like(w_c)
    for b in range(BATCH):
        for h in range(HEADS):
            for i in range(SLOTS):
                expected[b, h, i] = g[b, h] * w_c[b, h, i] + (1 - g[b, h]) * w_prev[b, h, i]
    torch.testing.assert_close(equations.interpolate(g, w_c, w_prev), expected)


@pytest.mark.parametrize(
    ("slots", "shift_range"), [(1, 1), (2, 1), (3, 3), (5, 1), (5, 3), (5, 5), (7, 5), (8, 7), (11, 11)]
)
def test_shifting_is_a_circular_convolution_with_any_odd_range(slots, shift_range):
    s, w_g = weighting(BATCH, HEADS, shift_range), weighting(BATCH, HEADS, slots, seed=1)
    expected = torch.zeros_like(w_g)
    for b in range(BATCH):
        for h in range(HEADS):
            for i in range(slots):
                for j in range(slots):
                    for place, offset in enumerate(range(-(shift_range // 2), shift_range // 2 + 1)):
                        if (i - j - offset) % slots == 0:
                            expected[b, h, i] += w_g[b, h, j] * s[b, h, place]
    torch.testing.assert_close(equations.shift(s, w_g), expected)


def test_sharpening_raises_to_a_power_and_normalises():
    gamma, w = 1 + 5 * uniform(BATCH, HEADS), weighting(BATCH, HEADS, SLOTS)
    expected = torch.zeros_like(w)
    for b in range(BATCH):
        for h in range(HEADS):
            total = sum(w[b, h, j] ** gamma[b, h] for j in range(SLOTS))
            for i in range(SLOTS):
                expected[b, h, i] = w[b, h, i] ** gamma[b, h] / total
    torch.testing.assert_close(equations.sharpen(gamma, w), expected)


# --- what must hold whatever the numbers are


@given(seed=SEEDS, slots=st.integers(1, 9), reach=st.integers(0, 4), scale=st.sampled_from([0.0, 1e-3, 1.0, 1e3]))
def test_every_stage_of_addressing_yields_weightings(seed, slots, reach, scale):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    reach = min(reach, (slots - 1) // 2)
    w_prev = weightings(BATCH, HEADS, slots, generator=generator, dtype=torch.float32)
    w_c = equations.content_weighting(
        scale * draw(BATCH, HEADS, WIDTH), scale * draw(BATCH, HEADS).abs(), scale * draw(BATCH, slots, WIDTH)
    )
    assert_weighting(w_c)
    w_g = equations.interpolate(torch.sigmoid(scale * draw(BATCH, HEADS)), w_c, w_prev)
    assert_weighting(w_g)
    s = torch.softmax(scale * draw(BATCH, HEADS, 2 * reach + 1), dim=-1)
    w_shifted = equations.shift(s, w_g)
    assert_weighting(w_shifted)
    assert_weighting(equations.sharpen(1 + scale * draw(BATCH, HEADS).abs(), w_shifted))


@given(seed=SEEDS)
def test_zero_strength_spreads_content_weighting_evenly(seed):
    k, M = normal(BATCH, HEADS, WIDTH, seed=seed), normal(BATCH, SLOTS, WIDTH, seed=seed + 1)
    w = equations.content_weighting(k, torch.zeros(BATCH, HEADS, dtype=torch.float64), M)
    torch.testing.assert_close(w, torch.full_like(w, 1 / SLOTS))


@given(seed=SEEDS, slot=st.integers(0, SLOTS - 1))
def test_great_strength_finds_the_slot_that_is_the_key_whatever_its_length(seed, slot):
    M = normal(1, SLOTS, WIDTH, seed=seed)
    w = equations.content_weighting(0.1 * M[:, slot : slot + 1], torch.full((1, 1), 1e6, dtype=torch.float64), M)
    torch.testing.assert_close(w, one_hot(slot, SLOTS), atol=1e-3, rtol=0)


@given(seed=SEEDS)
def test_an_open_gate_takes_the_content_and_a_closed_one_the_previous_focus(seed):
    w_c, w_prev = weighting(BATCH, HEADS, SLOTS, seed=seed), weighting(BATCH, HEADS, SLOTS, seed=seed + 1)
    ones = torch.ones(BATCH, HEADS, dtype=torch.float64)
    assert torch.equal(equations.interpolate(ones, w_c, w_prev), w_c)
    assert torch.equal(equations.interpolate(0 * ones, w_c, w_prev), w_prev)


@given(slots=st.integers(3, 9), focus=st.integers(0, 8))
def test_shift_by_one_moves_the_focus_to_the_next_slot_and_wraps(slots, focus):
    focus %= slots
    w = equations.shift(one_hot(2, 3), one_hot(focus, slots))  # -1, 0, +1: all on +1
    assert torch.equal(w, one_hot((focus + 1) % slots, slots))


@given(seed=SEEDS, reach=st.integers(0, 2))
def test_shifting_ahead_then_as_far_back_changes_nothing(seed, reach):
    w, shift_range = weighting(1, 1, SLOTS, seed=seed), 2 * reach + 1
    ahead, back = one_hot(shift_range - 1, shift_range), one_hot(0, shift_range)
    assert torch.equal(equations.shift(back, equations.shift(ahead, w)), w)


def test_no_sharpening_leaves_a_weighting_as_it_is():
    w = weighting(BATCH, HEADS, SLOTS)
    torch.testing.assert_close(equations.sharpen(torch.ones(BATCH, HEADS, dtype=torch.float64), w), w)


@given(seed=SEEDS)
def test_great_sharpening_leaves_only_the_largest(seed):
    w = weighting(1, 1, SLOTS, seed=seed)
    sharp = equations.sharpen(torch.full((1, 1), 1e7, dtype=torch.float64), w)
    torch.testing.assert_close(sharp, one_hot(int(w.argmax()), SLOTS), atol=1e-3, rtol=0)


@pytest.mark.parametrize("gamma", [1.0, 21.0, 1e3, 1e6])
def test_sharpening_keeps_a_flat_weighting_flat(gamma):
    w = torch.full((1, 1, 128), 1 / 128)
    torch.testing.assert_close(equations.sharpen(torch.full((1, 1), gamma), w), w)


def test_full_erase_clears_the_focused_slot_and_no_other():
    M = normal(1, SLOTS, WIDTH)
    erased = equations.erase(M, one_hot(2, SLOTS), torch.ones(1, 1, WIDTH, dtype=torch.float64))
    expected = M.clone()
    expected[:, 2] = 0
    assert torch.equal(erased, expected)


@given(seed=SEEDS, slot=st.integers(0, SLOTS - 1))
def test_what_is_erased_then_added_is_what_is_read(seed, slot):
    M, a, w = normal(1, SLOTS, WIDTH, seed=seed), normal(1, 1, WIDTH, seed=seed + 1), one_hot(slot, SLOTS)
    M = equations.add(equations.erase(M, w, torch.ones_like(a)), w, a)
    assert torch.equal(equations.read(M, w), a)


@given(seed=SEEDS)
def test_the_order_of_write_heads_does_not_matter(seed):
    M, w = normal(BATCH, SLOTS, WIDTH, seed=seed), weighting(BATCH, HEADS, SLOTS, seed=seed + 1)
    e, a = uniform(BATCH, HEADS, WIDTH, seed=seed + 2), normal(BATCH, HEADS, WIDTH, seed=seed + 3)
    together = equations.add(equations.erase(M, w, e), w, a)
    reversed_ = equations.add(equations.erase(M, w.flip(1), e.flip(1)), w.flip(1), a.flip(1))
    torch.testing.assert_close(together, reversed_)


# --- gradients, and the numbers that break them


M, w = normal(BATCH, SLOTS, WIDTH), weighting(BATCH, HEADS, SLOTS)
k, e, a = normal(BATCH, HEADS, WIDTH, seed=1), uniform(BATCH, HEADS, WIDTH), normal(BATCH, HEADS, WIDTH, seed=2)
positive, s = uniform(BATCH, HEADS, seed=3), weighting(BATCH, HEADS, 3)
CALLS = {
    "read": (M, w),
    "erase": (M, w, e),
    "add": (M, w, a),
    "cosine_similarity": (k, M),
    "content_weighting": (k, 3 * positive, M),
    "interpolate": (positive, w, w.roll(1, -1)),
    "shift": (s, w),
    "sharpen": (1 + positive, w),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_gradient_of_every_equation_is_that_of_its_differences(name):
    inputs = tuple(value.clone().requires_grad_() for value in CALLS[name])
    assert gradcheck(getattr(equations, name), inputs)


@pytest.mark.parametrize("beta", [0.0, 1.0, 1e4])
@pytest.mark.parametrize("key", [0.0, 1e-20, 1.0])
def test_a_blank_memory_is_addressed_evenly_and_its_gradient_is_finite(beta, key):
    M = torch.zeros(1, SLOTS, WIDTH, requires_grad=True)
    k = torch.full((1, 1, WIDTH), key, requires_grad=True)
    strength = torch.full((1, 1), beta, requires_grad=True)
    w = equations.content_weighting(k, strength, M)
    torch.testing.assert_close(w, torch.full_like(w, 1 / SLOTS))
    (w * torch.arange(SLOTS)).sum().backward()
    assert all(value.grad.isfinite().all() for value in (M, k, strength))


@pytest.mark.parametrize("gamma", [1.0, 30.0, 1e4])
@pytest.mark.parametrize("focus", ["one slot", "everywhere", "vanishing"])
def test_extreme_sharpening_is_finite_forward_and_backward(gamma, focus):
    w = {
        "one slot": torch.eye(SLOTS)[:1],
        "everywhere": torch.full((1, SLOTS), 1 / SLOTS),
        "vanishing": torch.tensor([[1.0, 1e-10, 1e-20, 1e-38, 0.0]]),
    }[focus].unsqueeze(1)
    w, power = w.requires_grad_(), torch.full((1, 1), gamma, requires_grad=True)
    sharp = equations.sharpen(power, w)
    assert_weighting(sharp)
    (sharp * torch.arange(SLOTS)).sum().backward()
    assert w.grad.isfinite().all()
    assert power.grad.isfinite().all()
