"""What every memory promises, over every yaml of the family; then the paper's, number by number."""

from itertools import pairwise

import pytest
import torch
from fakes import compose, feedforward, machine, matrix_memory, options
from torch.testing import assert_close

from conf.check import instantiate
from ntm import equations
from ntm.memories.matrix import MatrixMemory, MatrixState

MEMORIES = options("memory")


def interfaces(memory, time=4, batch=3, scale=1.0):
    return scale * torch.randn(time, batch, memory.interface_size)


# --- the contract


@pytest.fixture(params=MEMORIES)
def memory(request):
    torch.manual_seed(0)
    return instantiate(compose(f"memory={request.param}"), "memory")


def run(memory, interfaces):
    """The reads of every step, [time batch reads]."""
    state, reads = memory.initial_state(interfaces.shape[1]), []
    for interface in interfaces:
        state = memory(interface, state)
        reads.append(memory.reads(state))
    return torch.stack(reads)


def test_a_memory_returns_as_many_numbers_as_it_says(memory):
    assert memory.reads(memory.initial_state(3)).shape == (3, memory.read_size)
    assert run(memory, interfaces(memory)).shape == (4, 3, memory.read_size)


def test_a_row_of_a_batch_is_remembered_as_if_alone(memory):
    said = interfaces(memory)
    together = run(memory, said)
    for row in range(3):
        assert_close(run(memory, said[:, row : row + 1])[:, 0], together[:, row])


def test_a_memory_keeps_nothing_of_an_episode(memory):
    said = interfaces(memory)
    before = {name: value.clone() for name, value in memory.state_dict().items()}
    assert torch.equal(run(memory, said), run(memory, said))
    assert all(torch.equal(before[name], value) for name, value in memory.state_dict().items())


def test_a_memory_works_in_float64(memory):
    memory.double()
    assert run(memory, interfaces(memory).double()).dtype == torch.float64


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_a_memory_stays_finite_whatever_it_is_told(memory, scale):
    said = interfaces(memory, time=50, scale=scale).requires_grad_()
    reads = run(memory, said)
    assert reads.isfinite().all()
    reads.square().sum().backward()
    assert said.grad.isfinite().all()


# --- the matrix


def emphatic(memory: MatrixMemory, **said: list[float]) -> torch.Tensor:
    """An interface of zeros but for the pieces that are said, each for the write head and then the read head."""
    names = ("k", "beta", "g", "s", "gamma", "e", "a") if memory.heads.by_location else ("k", "beta", "e", "a")
    pieces = [torch.tensor(said.get(name, [0.0] * size)) for name, size in zip(names, memory.heads.sizes, strict=True)]
    assert [len(piece) for piece in pieces] == memory.heads.sizes
    return torch.cat(pieces).unsqueeze(0)


STAY, AHEAD = [-1e3, 1e3, -1e3], [-1e3, -1e3, 1e3]


def test_heads_that_step_through_memory_write_a_sequence_and_read_it_back():
    memory = matrix_memory(initial_memory="constant", initial_constant=0.0)
    closed = {"g": [-1e3, -1e3]}  # no content, only shifts
    vectors = [[1.0, -1.0], [-1.0, -1.0], [1.0, 1.0]]
    state = memory.initial_state(1)
    for vector in vectors:  # the write head starts at slot 0 and goes to 1, 2 and around; the read head waits
        said = emphatic(memory, **closed, s=AHEAD + STAY, e=[1e3, 1e3], a=vector)
        state = memory(said, state)
    assert_close(state.M, torch.tensor([[[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]]))
    read = []
    for _ in vectors:
        state = memory(emphatic(memory, **closed, s=STAY + AHEAD, e=[-1e3, -1e3]), state)
        read.append(memory.reads(state))
    assert_close(torch.cat(read), torch.tensor([[1.0, -1.0], [-1.0, -1.0], [1.0, 1.0]]))


def test_a_key_finds_the_slot_that_looks_like_it():
    memory = matrix_memory()
    M = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]])
    w = torch.full((1, 1, 3), 1 / 3)
    said = emphatic(memory, k=[0, 0, 0, 1e3], beta=[0, 1e3], g=[0, 1e3], s=STAY * 2, e=[-1e3] * 2)
    state = memory(said, MatrixState(M=M, w_write=w, w_read=w, r=torch.zeros(1, 1, 2)))
    assert_close(state.w_read, torch.tensor([[[0.0, 1.0, 0.0]]]))
    assert_close(memory.reads(state), torch.tensor([[0.0, 1.0]]))


@pytest.mark.parametrize(("order", "seen"), [("write_then_read", [0.5, 0.5]), ("read_then_write", [0.0, 0.0])])
def test_a_read_sees_the_memory_after_or_before_the_write(order, seen):
    memory = matrix_memory(order=order, initial_memory="constant", initial_constant=0.0)
    said = emphatic(memory, g=[-1e3] * 2, s=STAY * 2, a=[0.5, 0.5])
    assert_close(memory.reads(memory(said, memory.initial_state(1))), torch.tensor([seen]))


def test_content_addressing_forgets_where_the_heads_were():
    memory = matrix_memory(addressing="content")
    start = memory.initial_state(1)
    elsewhere = MatrixState(M=start.M, w_write=start.w_write.roll(1, -1), w_read=start.w_read.roll(1, -1), r=start.r)
    said = interfaces(memory, batch=1)[0]
    one, other = memory(said, start), memory(said, elsewhere)
    for name in vars(one):
        assert torch.equal(getattr(one, name), getattr(other, name))


def test_location_addressing_remembers_where_the_heads_were():
    memory = matrix_memory()
    start = memory.initial_state(1)
    elsewhere = MatrixState(M=start.M, w_write=start.w_write.roll(1, -1), w_read=start.w_read.roll(1, -1), r=start.r)
    said = interfaces(memory, batch=1)[0]
    one, other = memory(said, start), memory(said, elsewhere)
    assert not torch.allclose(one.w_write, other.w_write)
    assert not torch.allclose(one.w_read, other.w_read)


@pytest.mark.parametrize("order", ["write_then_read", "read_then_write"])
@pytest.mark.parametrize(("num_write_heads", "num_read_heads"), [(1, 1), (1, 3), (3, 1), (2, 2)])
def test_a_step_is_the_equations_one_after_another_for_any_number_of_heads(order, num_write_heads, num_read_heads):
    memory = matrix_memory(num_write_heads=num_write_heads, num_read_heads=num_read_heads, order=order, num_slots=5)
    start = memory.initial_state(2)
    said = interfaces(memory, batch=2)[0]
    emission = memory.heads.cut(said)

    def focus(heads, M, w_prev):
        w_c = equations.content_weighting(heads.k, heads.beta, M)
        w_g = equations.interpolate(heads.g, w_c, w_prev)
        return equations.sharpen(heads.gamma, equations.shift(heads.s, w_g))

    w_write = focus(emission.write, start.M, start.w_write)
    M = equations.add(equations.erase(start.M, w_write, emission.e), w_write, emission.a)
    seen = M if order == "write_then_read" else start.M
    w_read = focus(emission.read, seen, start.w_read)

    state = memory(said, start)
    for ours, expected in [
        (state.M, M),
        (state.w_write, w_write),
        (state.w_read, w_read),
        (state.r, equations.read(seen, w_read)),
    ]:
        assert_close(ours, expected)
    assert memory.reads(state).shape == (2, num_read_heads * 2)


def test_several_heads_focus_on_different_slots():
    memory = matrix_memory(num_write_heads=2, num_read_heads=2, num_slots=5)
    state = memory(interfaces(memory, batch=1)[0], memory.initial_state(1))
    for w in (state.w_write[0], state.w_read[0]):
        assert not torch.allclose(w[0], w[1])
    assert not torch.allclose(state.w_write, state.w_read)


@pytest.mark.parametrize("weighting", ["one_hot", "uniform"])
def test_only_the_first_slots_are_there_while_it_trains(weighting):
    memory = matrix_memory(num_slots=5, training_slots=3, initial_memory="constant", initial_weighting=weighting)
    small, large = memory.train().initial_state(2), memory.eval().initial_state(2)
    assert torch.equal(small.M, large.M[:, :3])
    assert large.w_read.shape == (2, 1, 5)
    for part, whole in ((small.w_write, large.w_write), (small.w_read, large.w_read)):
        assert_close(part, whole[:, :, :3] / whole[:, :, :3].sum(-1, keepdim=True))  # a weighting still: eq. (1)


def test_a_range_of_slots_is_gone_through_evenly_step_by_step():
    memory = matrix_memory(num_slots=9, training_slots=[4, 8], initial_memory="constant")
    seen = []
    for step in range(100):
        memory.at_step(step)
        assert memory.eval().initial_state(1).M.shape[1] == 9
        seen.append(memory.train().initial_state(1).M.shape[1])
    assert all(17 <= seen.count(slots) <= 23 for slots in range(4, 9)), seen
    assert all(before != after for before, after in pairwise(seen))
    for step in (50, 20):  # a pure function of the step, which is all that a resumed run knows
        memory.at_step(step)
        assert memory.initial_state(1).M.shape[1] == seen[step]


def test_one_number_of_slots_is_that_of_every_step():
    for slots, expected in ((3, 3), (None, 5)):
        memory = matrix_memory(num_slots=5, training_slots=slots, initial_memory="constant")
        memory.at_step(7)
        assert memory.train().initial_state(1).M.shape[1] == expected


@pytest.mark.parametrize("addressing", ["content", "content_and_location"])
def test_a_memory_of_one_slot_is_always_in_focus(addressing):
    memory = matrix_memory(num_slots=1, shift_range=1, addressing=addressing)
    state = memory(interfaces(memory, batch=2)[0], memory.initial_state(2))
    assert (state.w_write == 1).all()
    assert (state.w_read == 1).all()


def test_a_blank_memory_of_blank_heads_learns_without_nan():
    memory = matrix_memory(initial_memory="constant", initial_constant=0.0, initial_weighting="uniform")
    ntm = machine(feedforward(), memory)
    ntm(torch.zeros(2, 5, 3)).sum().backward()
    assert all(p.grad.isfinite().all() for p in ntm.parameters())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"shift_range": 2}, ["memory.shift_range=2", "odd", "memory.shift_range=3"]),
        ({"shift_range": 5}, ["memory.shift_range=5", "memory.num_slots=3", "at least 5 slots"]),
        ({"training_slots": 2}, ["memory.shift_range=3", "memory.training_slots=2", "at least 3 slots"]),
        ({"training_slots": 0}, ["training_slots", "greater than 0"]),
        ({"training_slots": [3, 0]}, ["training_slots", "greater than 0"]),
        ({"training_slots": [2, 5]}, ["memory.shift_range=3", "memory.training_slots=2", "at least 3 slots"]),
        ({"training_slots": [5, 3]}, ["memory.training_slots=[5,3]", "goes down", "memory.training_slots=[3,5]"]),
        ({"training_slots": [3, 5]}, ["[3,5] goes beyond memory.num_slots=3", "memory.training_slots=[3,3]"]),
        *(
            ({"num_slots": 5, "training_slots": 3} | start, [*words, "start of its own", "memory.training_slots=null"])
            for start, words in (
                ({"initial_memory": "random"}, ["memory.initial_memory=random", "memory.num_slots=5"]),
                ({"initial_memory": "constant", "initial_weighting": "learned"}, ["memory.initial_weighting=learned"]),
                ({"initial_memory": "learned", "training_slots": [3, 5]}, ["memory.initial_memory=learned"]),
            )
        ),
        ({"num_slots": 0}, ["num_slots", "greater than 0"]),
        ({"num_read_heads": 0}, ["num_read_heads", "greater than 0"]),
        ({"num_write_heads": -1}, ["num_write_heads", "greater than 0"]),
        ({"order": "sideways"}, ["order", "write_then_read"]),
        ({"initial_std": -1.0}, ["initial_std", "greater than or equal to 0"]),
        ({"initial_weighting": "constant"}, ["initial_weighting", "one_hot"]),
    ],
)
def test_sizes_that_make_no_memory_are_refused_with_the_rule(settings, words):
    with pytest.raises(ValueError) as refusal:  # noqa: PT011
        matrix_memory(**settings)
    assert all(word in str(refusal.value) for word in words)


def test_what_the_backward_pass_brings_to_the_heads_and_their_weightings_is_cut_at_every_step():
    torch.manual_seed(0)
    told = torch.randn(5, 2, matrix_memory().interface_size, dtype=torch.float64)

    def brought(memory, bound=None):
        """The gradient of every step's interface; it and the weightings' cut by hand, where there is a bound."""
        leaves = [interface.clone().requires_grad_() for interface in told]
        state = memory.initial_state(2)
        for interface in leaves:
            state = memory(interface, state)
            if bound:
                interface.register_hook(lambda d: d.clamp(-bound, bound))
                for w in (state.w_write, state.w_read):
                    w.register_hook(lambda d: d.clamp(-100 * bound, 100 * bound))
        (1000 * state.r + state.w_read.sum()).sum().backward()
        return state.r.detach(), torch.stack([leaf.grad for leaf in leaves])

    torch.manual_seed(1)
    free = matrix_memory().double()
    torch.manual_seed(1)
    bound = matrix_memory(gradient_clip_val=0.5).double()
    r, whole = brought(free)
    r_bound, cut = brought(bound)
    assert torch.equal(r, r_bound)
    assert whole.abs().max() > 0.5
    assert cut.abs().max() == 0.5
    assert_close(brought(free, 0.5)[1], cut)
    assert not torch.allclose(cut, whole.clamp(-0.5, 0.5))  # the weightings' has its part in it


def test_the_gradient_of_an_even_focus_that_is_sharpened_again_and_again_stays_finite():
    """By location alone, with gamma 20: each step multiplies it by 21, and float32 ends after 30 of them."""
    torch.manual_seed(0)
    memory = matrix_memory(initial_weighting="uniform", num_slots=4)
    told = torch.zeros(60, 1, memory.interface_size)
    k, _, g, s, gamma, _, _ = told.split(memory.heads.sizes, dim=-1)
    k += 1
    g -= 20
    s[..., 1::3] += 20
    gamma += 20

    def finite(bound):
        memory.gradient_clip_val = bound
        leaf = told.clone().requires_grad_()
        state = memory.initial_state(1)
        for interface in leaf:
            state = memory(interface, state)
        state.r.sum().backward()
        return leaf.grad.isfinite().all()

    assert not finite(None)
    assert finite(10.0)
