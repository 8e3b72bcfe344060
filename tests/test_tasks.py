"""What every task promises, over every yaml of the family; then the layouts, step by step."""

from itertools import product
from math import log

import pytest
import torch
import torch.nn.functional as F
from fakes import compose, options
from torch import Tensor

from conf.check import instantiate
from ntm import Batch
from ntm.losses.cross_entropy import CrossEntropy
from ntm.metrics import bits
from tasks.base import Length, Task, generator, key, lengths, pad, split
from tasks.ngrams import optimal_probabilities

TASKS = options("task")
SMALL = ("task.batch_size=5", "task.validation_size=130", "task.test_size=3")


def build(name: str, *overrides: str, seed: int = 1) -> Task:
    return instantiate(compose(f"task={name}", *SMALL, *overrides), "task", seed=seed)


def equal(one: Batch, other: Batch) -> bool:
    return all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.fixture(params=TASKS)
def name(request):
    return request.param


@pytest.fixture(params=[False, True], ids=["one length", "mixed lengths"])
def mixed(request):
    return f"task.mixed_lengths={request.param}"


# --- the contract


def test_every_task_has_the_sizes_it_states(name, mixed):
    task = build(name, mixed)
    inputs, targets, mask = task.training_batch(0)
    time = inputs.shape[1]
    assert inputs.shape == (5, time, task.input_size)
    assert targets.shape == (5, time, task.output_size)
    assert mask.shape == (5, time)
    assert mask.dtype == torch.bool
    assert mask.any(dim=1).all()
    assert inputs.dtype == targets.dtype == torch.get_default_dtype()
    assert ((targets == 0) | (targets == 1)).all()


def test_a_training_batch_is_a_pure_function_of_seed_rank_and_step(name, mixed):
    batch = build(name, mixed).training_batch(3, rank=1)
    torch.manual_seed(1234)  # nobody else's random numbers matter
    again = build(name, mixed)
    again.training_batch(7)  # nor what was drawn before
    assert equal(batch, again.training_batch(3, rank=1))


def test_another_seed_rank_or_step_is_another_batch(name, mixed):
    task = build(name, mixed)
    batches = [
        task.training_batch(0),
        task.training_batch(1),
        task.training_batch(0, rank=1),
        task.training_batch(1, rank=1),
        build(name, mixed, seed=2).training_batch(0),
        build(name, mixed, seed=2).training_batch(1),
    ]
    for i, one in enumerate(batches):
        assert not any(equal(one, other) for other in batches[:i])


def test_drawing_leaves_the_random_numbers_of_others_alone(name, mixed):
    before = torch.get_rng_state()
    task = build(name, mixed)
    task.training_batch(0)
    task.val_dataloader()
    assert torch.equal(before, torch.get_rng_state())


def test_training_lengths_reach_both_ends_of_the_range_and_nothing_beyond(name):
    task = build(name)
    drawn = {lengths(task.draw_length(generator("training", i))) for i in range(2000)}
    ends = zip(lengths(task.min_length), lengths(task.max_length), strict=True)
    assert drawn == set(product(*(range(low, high + 1) for low, high in ends)))


def test_mixed_lengths_are_the_same_sequences_padded(name):
    task = build(name, "task.mixed_lengths=true", "task.min_length=2", "task.noise=0")
    batch = task.training_batch(0)
    source = generator("training", 1, 0, 0)
    rows = [task.training_sample(task.draw_length(source), 1, source) for _ in range(5)]
    times = [row.mask.shape[1] for row in rows]
    assert len(set(times)) > 1
    assert batch.mask.shape[1] == max(times)
    for i, (row, time) in enumerate(zip(rows, times, strict=True)):
        for ours, alone in zip(batch, row, strict=True):
            assert torch.equal(ours[i, :time], alone[0])
            assert not ours[i, time:].any()


def test_noise_is_on_what_goes_in_to_learn_from_alone(name, mixed):
    noisy, clean = (build(name, mixed, "task.batch_size=100", f"task.noise={noise}") for noise in (0.25, 0))
    one, other = noisy.training_batch(0), clean.training_batch(0)
    added = one.inputs - other.inputs
    assert added.mean().item() == pytest.approx(0, abs=0.01)
    assert added.std().item() == pytest.approx(0.25, abs=0.01)
    assert torch.equal(one.targets, other.targets)
    assert torch.equal(one.mask, other.mask)
    assert torch.equal(noisy.probe().inputs, clean.probe().inputs)
    for held_out in ("val_dataloader", "test_dataloader"):
        for ours, theirs in zip(getattr(noisy, held_out)(), getattr(clean, held_out)(), strict=True):
            assert all(map(equal, ours, theirs))


def test_held_out_sets_have_the_sizes_that_were_asked_for(name):
    task = build(name)
    near, far = task.val_dataloader()
    assert sum(len(batch.mask) for batch in near) == 130
    assert sum(len(batch.mask) for batch in far) == task.far_size
    loaders = task.test_dataloader()
    assert len(loaders) == len(task.test_lengths)
    assert [sum(len(batch.mask) for batch in loader) for loader in loaders] == [3] * len(loaders)


def test_held_out_sets_are_the_same_in_every_run(name):
    one, other = build(name, seed=1), build(name, "task.mixed_lengths=true", "task.batch_size=7", seed=2)
    for held_out in ("val_dataloader", "test_dataloader"):
        for ours, theirs in zip(getattr(one, held_out)(), getattr(other, held_out)(), strict=True):
            assert all(map(equal, ours, theirs))
    assert equal(one.probe(), other.probe())
    assert len(one.probe().mask) == 1


def test_the_test_set_of_a_length_does_not_depend_on_the_other_lengths(name):
    task = build(name)
    last = task.test_lengths[-1]
    shown = str(last).replace("(", "[").replace(")", "]")
    alone = build(name, f"task.test_lengths=[{shown}]").test_dataloader()[0]
    assert all(map(equal, alone, task.test_dataloader()[-1]))


def test_sequences_of_a_held_out_set_differ_from_one_another_and_from_training(name):
    task = build(name)
    rows = [row for batch in task.val_dataloader()[0] for row in batch.inputs]
    longest = max(rows, key=lambda row: row.count_nonzero())
    assert sum(row.shape == longest.shape and torch.equal(row, longest) for row in rows) == 1
    for step in range(20):
        assert not any(
            row.shape == longest.shape and torch.equal(row, longest) for row in task.training_batch(step).inputs
        )


def test_a_task_draws_in_the_default_dtype(name):
    torch.set_default_dtype(torch.float64)
    try:
        batch = build(name).training_batch(0)
    finally:
        torch.set_default_dtype(torch.float32)
    assert batch.inputs.dtype == batch.targets.dtype == torch.float64


# --- the base


def test_every_purpose_and_position_has_random_numbers_of_its_own():
    positions = [(), *[(i,) for i in range(3)], *[(i, j) for i in range(3) for j in range(3)], (0, 0, 0), (0, 0, 0, 0)]
    seeds = [
        generator(p, *position).initial_seed() for p in ("training", "validation", "test") for position in positions
    ]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize(("size", "sizes"), [(1, [1]), (128, [128]), (129, [128, 1]), (300, [128, 128, 44])])
def test_a_held_out_set_is_run_in_batches(size, sizes):
    assert split(size) == sizes


def test_a_test_length_is_named_by_its_numbers():
    assert key(20) == "20"
    assert key((10, 20)) == "10x20"


def test_padding_is_blank_and_unscored():
    short = Batch(torch.ones(1, 1, 3), torch.ones(1, 1, 2), torch.ones(1, 1, dtype=torch.bool))
    long = Batch(torch.ones(1, 3, 3), torch.ones(1, 3, 2), torch.ones(1, 3, dtype=torch.bool))
    inputs, targets, mask = pad([short, long])
    assert inputs[:, :, 0].tolist() == [[1, 0, 0], [1, 1, 1]]
    assert targets[:, :, 0].tolist() == [[1, 0, 0], [1, 1, 1]]
    assert mask.tolist() == [[True, False, False], [True, True, True]]


# --- copy


def draw(name: str, length: Length, *overrides: str, batch_size: int = 4) -> Batch:
    return build(name, *overrides).sample(length, batch_size, generator("training", 0))


def timeline(channel: Tensor) -> list[int]:
    """The steps at which a channel is 1, the same in every sequence."""
    assert (channel == channel[0]).all()
    return channel[0].nonzero().flatten().tolist()


@pytest.mark.parametrize("length", [1, 3, 20])
def test_copy_is_vectors_a_delimiter_and_as_many_blanks(length):
    inputs, targets, mask = draw("copy", length)
    assert inputs.shape == (4, 2 * length + 1, 9)
    assert targets.shape == (4, 2 * length + 1, 8)
    assert timeline(inputs[..., 8]) == [length]
    assert timeline(mask) == list(range(length + 1, 2 * length + 1))
    assert torch.equal(targets[:, length + 1 :], inputs[:, :length, :8])
    assert not inputs[:, length:, :8].any()
    assert not targets[~mask].any()


@pytest.mark.parametrize("length", [1, 3, 20])
def test_copy_in_the_keras_layout_starts_with_a_flag_of_its_own(length):
    inputs, targets, mask = draw("copy", length, "task.layout=keras")
    assert inputs.shape == (4, 2 * length + 2, 10)
    assert timeline(inputs[..., 8]) == [0]
    assert timeline(inputs[..., 9]) == [length + 1]
    assert timeline(mask) == list(range(length + 2, 2 * length + 2))
    assert torch.equal(targets[:, length + 2 :], inputs[:, 1 : length + 1, :8])
    assert not inputs[:, 0, :8].any()
    assert not inputs[:, length + 1 :, :8].any()
    assert not targets[~mask].any()


def test_copy_draws_fair_coins():
    inputs = draw("copy", 20, batch_size=500).inputs[:, :20, :8]
    assert set(inputs.unique().tolist()) == {0.0, 1.0}
    assert inputs.mean().item() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("layout", ["paper", "keras"])
def test_copy_practises_sparse_sequences_and_is_measured_on_fair_ones(layout):
    rates = ("task.sparse_rate=0.4", "task.skewed_rate=0")
    words = (f"task.layout={layout}", *rates, "task.min_length=20", "task.batch_size=1000")
    practised = build("copy", *words).training_batch(0).targets[:, -20:]
    measured = draw("copy", 20, *words, batch_size=1000).targets[:, -20:]
    for vectors, sparse in (practised, 0.4), (measured, 0.0):
        shares = vectors.mean((1, 2))  # of bits that are set; of a sparse sequence any up to a half is as likely
        assert shares.mean().item() == pytest.approx(0.25 * sparse + 0.5 * (1 - sparse), abs=0.02)
        assert (shares < 0.3).float().mean().item() == pytest.approx(0.6 * sparse, abs=0.05)


def test_copy_practises_sequences_whose_bits_have_a_share_each():
    words = ("task.sparse_rate=0", "task.skewed_rate=0.4", "task.min_length=20", "task.batch_size=1000")
    practised = build("copy", *words).training_batch(0).targets[:, -20:]
    measured = draw("copy", 20, *words, batch_size=1000).targets[:, -20:]
    for vectors, skewed in (practised, 0.4), (measured, 0.0):
        constant = (vectors == vectors[:, :1]).all(1).float().mean().item()  # p^20 + (1 - p)^20 of them
        assert constant == pytest.approx(skewed * 2 / 21, abs=0.01)
        assert vectors.mean().item() == pytest.approx(0.5, abs=0.02)


def test_the_noise_of_copy_leaves_no_bit_in_doubt():
    vectors = build("copy", "task.min_length=20", "task.batch_size=1000").training_batch(0)
    seen = vectors.inputs[:, :20, :8]
    assert torch.equal(seen > 0.5, vectors.targets[:, -20:] > 0.5)
    assert (seen - seen.round()).abs().max().item() == pytest.approx(0.25 * 3**0.5, abs=1e-3)


# --- recall


@pytest.mark.parametrize("items", [2, 3, 6])
def test_recall_lists_items_asks_for_one_and_wants_the_next(items):
    inputs, targets, mask = draw("recall", items, batch_size=64)
    end = 4 * items  # of the list; an item delimiter, a query delimiter, the query, another, the answer
    assert inputs.shape == (64, end + 1 + 1 + 3 + 1 + 3, 8)
    assert targets.shape == (64, end + 9, 6)
    assert timeline(inputs[..., 6]) == [4 * i for i in range(items + 1)]
    assert timeline(inputs[..., 7]) == [end + 1, end + 5]
    assert timeline(mask) == [end + 6, end + 7, end + 8]
    assert not targets[~mask].any()
    asked = set()
    for sequence, target in zip(inputs[..., :6], targets, strict=True):
        listed = [sequence[4 * i + 1 : 4 * i + 4] for i in range(items)]
        query, answer = sequence[end + 2 : end + 5], target[end + 6 :]
        places = [i for i in range(items - 1) if torch.equal(listed[i], query) and torch.equal(listed[i + 1], answer)]
        assert places
        asked.add(places[0])
        blank = [*range(0, end + 1, 4), end + 1, *range(end + 5, end + 9)]
        assert not sequence[blank].any()
    assert asked == set(range(items - 1))  # any item but the last


def test_recall_in_the_keras_layout_has_no_delimiter_after_the_last_item():
    inputs, targets, mask = draw("recall", 3, "task.layout=keras")
    assert inputs.shape == (4, 12 + 1 + 3 + 1 + 3, 8)
    assert timeline(inputs[..., 6]) == [0, 4, 8]
    assert timeline(inputs[..., 7]) == [12, 16]
    assert timeline(mask) == [17, 18, 19]
    for sequence, target in zip(inputs[..., :6], targets, strict=True):
        listed = [sequence[4 * i + 1 : 4 * i + 4] for i in range(3)]
        assert any(
            torch.equal(sequence[13:16], listed[i]) and torch.equal(target[17:], listed[i + 1]) for i in range(2)
        )


def test_the_chance_level_of_recall_is_18_bits():
    batch = draw("recall", 6)
    indifferent = torch.zeros_like(batch.targets)
    assert bits(indifferent, batch.targets, batch.mask).tolist() == pytest.approx([18.0] * 4)
    assert CrossEntropy()(indifferent, batch.targets, batch.mask).item() == pytest.approx(0.693147, abs=1e-5)


# --- repeat copy


@pytest.mark.parametrize(("vectors", "repeats"), [(1, 1), (3, 2), (10, 10), (2, 20)])
def test_repeat_copy_is_vectors_a_delimiter_a_count_and_blanks_for_the_copies_and_the_end(vectors, repeats):
    inputs, targets, mask = draw("repeat_copy", (vectors, repeats))
    answer, end = vectors + 2, vectors + 2 + vectors * repeats
    assert inputs.shape == (4, end + 1, 10)
    assert targets.shape == (4, end + 1, 9)
    assert timeline(inputs[..., 8]) == [vectors]
    assert inputs[..., 9].nonzero()[:, 1].unique().tolist() == [vectors + 1]
    assert not inputs[:, vectors:, :8].any()
    assert timeline(mask) == list(range(answer, end + 1))
    for copy in range(repeats):
        start = answer + copy * vectors
        assert torch.equal(targets[:, start : start + vectors, :8], inputs[:, :vectors, :8])
    assert timeline(targets[..., 8]) == [end]
    assert not targets[:, end, :8].any()
    assert not targets[~mask].any()


def test_the_counts_of_repeat_copy_have_mean_0_and_variance_1_over_the_papers_range():
    shown = torch.stack([draw("repeat_copy", (3, count)).inputs[0, 4, 9] for count in range(1, 11)])
    assert shown.mean().item() == pytest.approx(0, abs=1e-6)
    assert shown.var(correction=0).item() == pytest.approx(1, abs=1e-6)
    assert (shown.diff() > 0).all()


def test_a_count_means_the_same_whatever_the_training_range():
    narrow = draw("repeat_copy", (3, 4), "task.max_length=[10,4]")
    assert equal(narrow, draw("repeat_copy", (3, 4)))


def test_one_number_stands_for_each_of_several():
    task = build("repeat_copy", "task.test_lengths=[3,[10,20]]", "task.max_length=4")
    assert task.test_lengths == [(3, 3), (10, 20)]
    assert task.max_length == (4, 4)


# --- n-grams


def test_ngrams_shows_every_bit_one_step_after_it_was_due():
    inputs, targets, mask = draw("ngrams", 200)
    assert inputs.shape == targets.shape == (4, 200, 1)
    assert torch.equal(inputs[:, 1:], targets[:, :-1])
    assert not inputs[:, 0].any()
    assert mask.all()


def test_ngrams_alone_has_a_best_guess_and_it_costs_the_optimal_bits():
    task = build("ngrams")
    batch = task.sample(200, 16, generator("test", 0))
    cost = F.binary_cross_entropy(task.best_guess(batch), batch.targets, reduction="none").sum((1, 2)) / log(2)
    torch.testing.assert_close(cost, task.metrics["optimal_bits"](batch.targets, *batch[1:]), rtol=1e-4, atol=0)
    assert build("copy").best_guess(build("copy").probe()) is None


def test_the_first_bits_of_ngrams_are_fair_and_those_after_the_same_context_alike():
    targets = draw("ngrams", 200, batch_size=3000).targets.squeeze(-1)
    assert targets[:, :5].mean().item() == pytest.approx(0.5, abs=0.02)
    best = optimal_probabilities(targets, 5)
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):  # where it says 30 %, 30 % are ones
        told = (low < best[:, 5:]) & (best[:, 5:] < low + 0.2)
        assert targets[:, 5:][told].mean().item() == pytest.approx(best[:, 5:][told].mean().item(), abs=0.01)


def test_the_best_prediction_of_a_bit_counts_what_followed_the_same_context():
    sequence = draw("ngrams", 200).targets.squeeze(-1)
    best = optimal_probabilities(sequence, 5)
    for row in range(2):
        counts: dict[tuple, list[int]] = {}
        for t, bit in enumerate(sequence[row].int().tolist()):
            if t < 5:
                assert best[row, t] == 0.5
                continue
            seen = counts.setdefault(tuple(sequence[row, t - 5 : t].tolist()), [0, 0])
            assert best[row, t].item() == pytest.approx((seen[1] + 0.5) / (sum(seen) + 1), abs=1e-6)
            seen[bit] += 1


def test_the_best_prediction_costs_what_was_published_and_the_first_five_bits_a_bit_each():
    """127.96 +- 0.26 bits over the 195 predictable bits: the standard error of 20,000 sequences elsewhere."""
    metrics, source = build("ngrams").metrics, generator("training", 0)
    costs = []
    for _ in range(20):
        _, targets, mask = build("ngrams").sample(200, 500, source)
        indifferent = torch.zeros_like(targets)
        measured = {name: metric(indifferent, targets, mask) for name, metric in metrics.items()}
        costs.append(measured["predictable_optimal_bits"])
        assert torch.allclose(measured["bits"], torch.tensor(200.0))
        assert torch.allclose(measured["predictable_bits"], torch.tensor(195.0))
        assert torch.allclose(measured["optimal_bits"] - costs[-1], torch.tensor(5.0), atol=1e-3)
    cost = torch.cat(costs)
    standard_error = cost.std().item() / len(cost) ** 0.5
    assert standard_error < 0.4
    assert cost.mean().item() == pytest.approx(127.96, abs=3 * (0.26**2 + standard_error**2) ** 0.5)


def test_a_machine_that_gives_the_best_prediction_has_its_cost():
    batch = draw("ngrams", 200)
    best = optimal_probabilities(batch.targets.squeeze(-1), 5).logit().unsqueeze(-1)
    metrics = build("ngrams").metrics
    for ours, reference in [("bits", "optimal_bits"), ("predictable_bits", "predictable_optimal_bits")]:
        assert torch.equal(metrics[ours](best, *batch[1:]), metrics[reference](best, *batch[1:]))


@pytest.mark.parametrize("name", ["optimal_bits", "predictable_bits", "predictable_optimal_bits"])
def test_padding_changes_no_figure_of_ngrams(name):
    batch = draw("ngrams", 30)
    metric = build("ngrams").metrics[name]
    logits = torch.randn_like(batch.targets)
    padded = [torch.cat([field, torch.zeros_like(field)], dim=1) for field in (logits, *batch[1:])]
    assert torch.allclose(metric(*padded), metric(logits, *batch[1:]))


# --- sort


@pytest.mark.parametrize(("length", "wanted"), [(20, 16), (30, 16), (16, 16), (5, 5), (1, 1)])
def test_sort_wants_the_vectors_of_highest_priority_whole_and_in_order(length, wanted):
    inputs, targets, mask = draw("sort", length)
    assert inputs.shape == (4, length + 1 + wanted, 10)
    assert targets.shape == (4, length + 1 + wanted, 8)
    assert timeline(inputs[..., 9]) == [length]
    assert timeline(mask) == list(range(length + 1, length + 1 + wanted))
    assert not inputs[:, length:, :9].any()
    assert not targets[~mask].any()
    for sequence, target in zip(inputs, targets, strict=True):
        pairs = sorted(((row[8].item(), row[:8].tolist()) for row in sequence[:length]), reverse=True)
        assert target[length + 1 :].tolist() == [vector for _, vector in pairs[:wanted]]


def test_the_priorities_of_sort_are_uniform_from_minus_1_to_1():
    priorities = draw("sort", 20, batch_size=500).inputs[:, :20, 8]
    assert -1 <= priorities.min() < -0.99
    assert 0.99 < priorities.max() <= 1
    assert priorities.mean().item() == pytest.approx(0, abs=0.02)
    assert priorities.var().item() == pytest.approx(1 / 3, abs=0.02)


# --- settings


def test_the_other_settings_of_a_task_change_its_sizes():
    copy = build("copy", "task.num_bits=2")
    assert (copy.input_size, copy.output_size) == (3, 2)
    recall = build("recall", "task.num_bits=2", "task.item_length=1")
    inputs, _, mask = recall.sample(2, 1, generator("training", 0))
    assert inputs.shape == (1, 4 + 1 + 1 + 1 + 1 + 1, 4)
    assert mask.sum() == 1
    repeat_copy = build("repeat_copy", "task.num_bits=2")
    assert (repeat_copy.input_size, repeat_copy.output_size) == (4, 3)
    assert draw("sort", 6, "task.num_bits=3", "task.num_wanted=2").targets.shape == (4, 9, 3)
    bigrams = build("ngrams", "task.num_context=1")
    best = bigrams.metrics["predictable_optimal_bits"](*bigrams.training_batch(0))
    assert best.mean() < build("ngrams").metrics["predictable_optimal_bits"](*bigrams.training_batch(0)).mean()


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("copy", ["min_length=9", "max_length=8"], ["task.min_length=9", "task.max_length=8"]),
        ("recall", ["min_length=1"], ["task.min_length=1", "at least 2"]),
        ("recall", ["test_lengths=[6,1]"], ["task.test_lengths=[6, 1]", "at least 2"]),
        ("recall", ["probe_length=1"], ["task.probe_length=1", "at least 2"]),
        ("copy", ["probe_length=[2,3]"], ["task.probe_length=[2, 3]", "one number"]),
        ("repeat_copy", ["far_length=[2,3,4]"], ["task.far_length=[2, 3, 4]", "[vectors, repeats]"]),
        ("repeat_copy", ["min_length=[1,8]", "max_length=[9,7]"], ["task.min_length=[1, 8]", "task.max_length=[9, 7]"]),
        ("copy", ["test_lengths=[]"], ["task.test_lengths", "at least 1 item"]),
    ],
)
def test_lengths_that_make_no_sense_are_refused_with_the_rule(name, settings, words):
    with pytest.raises(ValueError) as refusal:  # noqa: PT011
        build(name, *[f"task.{setting}" for setting in settings])
    assert all(word in str(refusal.value) for word in words)


def test_far_sequences_are_longer_than_any_of_training_and_none_of_the_test_set(name):
    task = build(name)
    _, far = task.val_dataloader()
    longest = max(task.training_batch(i).mask.shape[1] for i in range(50))
    assert all(batch.mask.shape[1] > longest for batch in far)
    seen = {sequence.numpy().tobytes() for batch in far for sequence in batch.inputs}
    tested = {row.numpy().tobytes() for loader in task.test_dataloader() for batch in loader for row in batch.inputs}
    assert not seen & tested


@pytest.mark.parametrize(
    ("name", "overrides"),
    [*((name, ()) for name in TASKS), *((name, ("task.layout=keras",)) for name in ("copy", "recall"))],
)
def test_the_phases_of_an_episode_lead_from_its_first_step_to_its_answer(name, overrides):
    task = build(name, *overrides)
    for length in (task.probe_length, task.far_length, *task.test_lengths):
        starts = [phase.start for phase in task.phases(length)]
        inputs, _, mask = task.probe(length)
        assert starts == sorted(set(starts))
        assert starts[0] == 0
        assert task.phases(length)[-1] == ("answer", int(mask.int().argmax()))
        named = dict(task.phases(length))
        if "delimiter" in named:
            assert inputs[0, named["delimiter"], -1] == 1
        if "query" in named:
            assert inputs[0, named["query"], -1] == inputs[0, named["answer"] - 1, -1] == 1


def test_a_title_names_the_task_and_counts_what_its_length_counts():
    assert build("copy").title(20) == "copy, 20 vectors"
    assert build("repeat_copy").title() == "repeat copy"
    assert build("recall").title(6) == "recall, 6 items"
    assert build("repeat_copy").title((10, 1)) == "repeat copy, 10 vectors, 1 repeat"
    assert build("ngrams").title(200) == "ngrams, 200 bits"
