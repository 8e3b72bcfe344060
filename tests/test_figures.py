"""Every picture shows the numbers of its trace, the right way round, on its own scale."""

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from callbacks import figures
from callbacks.animation import Animation, frames
from callbacks.drawing import runs, used_slots
from ntm.heads import Addressing
from ntm.trace import MemoryTrace, Trace

FIGURES = [figures.episode, figures.weightings, figures.memory, figures.evolution, figures.written_and_read]
TIME, SLOTS, WIDTH, WRITE_HEADS, READ_HEADS = 5, 2, 4, 2, 3  # all different, so that a swapped axis shows


def addressing(heads: int) -> Addressing:
    one = torch.ones(TIME, heads)
    return Addressing(k=torch.zeros(TIME, heads, WIDTH), beta=one, g=one, s=torch.ones(TIME, heads, 1), gamma=one)


@pytest.fixture
def trace() -> Trace:
    draw = torch.Generator().manual_seed(0)

    def rand(*shape: int) -> Tensor:
        return torch.rand(shape, generator=draw)

    return Trace(
        inputs=rand(TIME, 6).round(),
        targets=rand(TIME, 3).round(),
        mask=torch.arange(TIME) >= 3,
        outputs=rand(TIME, 3),
        memory=MemoryTrace(
            M=2 * rand(TIME, SLOTS, WIDTH) - 1,
            w_write=rand(TIME, WRITE_HEADS, SLOTS),
            w_read=rand(TIME, READ_HEADS, SLOTS),
            r=2 * rand(TIME, READ_HEADS, WIDTH) - 1,
            e=rand(TIME, WRITE_HEADS, WIDTH),
            a=2 * rand(TIME, WRITE_HEADS, WIDTH) - 1,
            write=addressing(WRITE_HEADS),
            read=addressing(READ_HEADS),
        ),
    )


def panels(figure: Figure) -> dict[str, Axes]:
    """The panels that hold a map, by the first line of their label."""
    return {ax.get_ylabel().split("\n")[0]: ax for ax in figure.axes if ax.images}


def assert_shows(ax: Axes, over_time: Tensor) -> None:
    """Time to the right, and the first row at the top."""
    image = ax.images[0]
    np.testing.assert_array_equal(image.get_array(), over_time.T)
    left, right, bottom, top = image.get_extent()
    assert (left, right) == (-0.5, TIME - 0.5)
    assert top < bottom
    assert image.origin == "upper"


def test_an_episode_shows_input_target_output_and_error_in_this_order(trace):
    shown = panels(figures.episode(trace))

    assert list(shown) == ["input", "target", "output", "error"]
    assert_shows(shown["input"], trace.inputs)
    assert_shows(shown["target"], trace.targets)
    assert_shows(shown["output"], trace.outputs)


def test_the_error_is_shown_on_the_scored_steps_alone(trace):
    image = panels(figures.episode(trace))["error"].images[0]

    error = image.get_array()
    np.testing.assert_array_equal(error.mask.any(axis=0), ~trace.mask)
    np.testing.assert_array_equal(error[:, 3:], (trace.outputs - trace.targets)[3:].T)
    assert image.get_clim() == (-1, 1)


def test_scored_steps_are_runs_of_the_mask():
    assert runs(torch.tensor([True, False, False, True, True])) == [(-0.5, 1), (2.5, 2)]
    assert runs(torch.tensor([False, True, False])) == [(0.5, 1)]
    assert runs(torch.zeros(3, dtype=torch.bool)) == []


def test_inputs_that_are_no_bits_get_a_scale_of_their_own(trace):
    trace.inputs[0, 0] = -1.2

    image = panels(figures.episode(trace))["input"].images[0]

    assert image.get_clim() == (-1.5, 1.5)


def test_weightings_show_every_write_head_and_then_every_read_head(trace):
    shown = panels(figures.weightings(trace))

    writes = [f"write head {i + 1}" for i in range(WRITE_HEADS)]
    reads = [f"read head {i + 1}" for i in range(READ_HEADS)]
    assert list(shown) == ["input", *writes, *reads, "output"]
    for i, name in enumerate(writes):
        assert_shows(shown[name], trace.memory.w_write[:, i])
    for i, name in enumerate(reads):
        assert_shows(shown[name], trace.memory.w_read[:, i])
    assert {shown[name].images[0].get_clim() for name in writes + reads} == {(0, 1)}


def test_memory_is_the_last_one_with_slots_down_and_width_to_the_right(trace):
    (ax,) = panels(figures.memory(trace)).values()

    np.testing.assert_array_equal(ax.images[0].get_array(), trace.memory.M[-1])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("width", "slot")
    assert ax.images[0].get_clim() == (-1, 1)


def test_a_memory_beyond_one_widens_its_scale_evenly(trace):
    trace.memory.M[-1, 0, 0] = -1.3

    (ax,) = panels(figures.memory(trace)).values()

    assert ax.images[0].get_clim() == (-1.5, 1.5)


def test_evolution_puts_the_heads_of_the_moment_on_either_side_of_its_memory(trace):
    moments = [ax for ax in figures.evolution(trace).axes if ax.get_title()]

    assert [ax.get_title() for ax in moments] == [f"t = {t}" for t in range(TIME)]
    for t, ax in enumerate(moments):
        write, memory, read = ax.images
        np.testing.assert_array_equal(write.get_array(), trace.memory.w_write[t].T)
        np.testing.assert_array_equal(memory.get_array(), trace.memory.M[t])
        np.testing.assert_array_equal(read.get_array(), trace.memory.w_read[t].T)
        assert write.get_extent()[1] < memory.get_extent()[0] < memory.get_extent()[1] < read.get_extent()[0]
        assert (write.get_clim(), memory.get_clim(), read.get_clim()) == ((0, 1), (-1, 1), (0, 1))


def test_what_is_written_stands_beside_what_is_read_on_one_scale(trace):
    trace.memory.r[0, 0, 0] = 1.7

    shown = panels(figures.written_and_read(trace))

    for i in range(WRITE_HEADS):
        assert_shows(shown[f"add vector {i + 1}"], trace.memory.a[:, i])
        assert_shows(shown[f"write head {i + 1}"], trace.memory.w_write[:, i])
    for i in range(READ_HEADS):
        assert_shows(shown[f"read vector {i + 1}"], trace.memory.r[:, i])
        assert_shows(shown[f"read head {i + 1}"], trace.memory.w_read[:, i])
    assert len(shown) == 2 + 2 * WRITE_HEADS + 2 * READ_HEADS
    vectors = [ax.images[0].get_clim() for name, ax in shown.items() if "vector" in name]
    assert set(vectors) == {(-2, 2)}


@pytest.mark.parametrize("draw", FIGURES)
def test_every_panel_is_labelled(draw, trace):
    figure = draw(trace)

    drawn = [ax for ax in figure.axes if len(ax.images) == 1]
    assert all(ax.get_ylabel() for ax in drawn)
    assert any(ax.get_xlabel() in ("time", "width") for ax in drawn) or draw is figures.evolution


@pytest.mark.parametrize("draw", FIGURES)
def test_an_episode_of_one_step_can_be_drawn(draw, trace, tmp_path):
    memory = trace.memory
    stacked = {name: getattr(memory, name)[:1] for name in ("M", "w_write", "w_read", "r", "e", "a")}
    first = MemoryTrace(**stacked, write=memory.write, read=memory.read)
    episode = Trace(trace.inputs[:1], trace.targets[:1], trace.mask[:1], trace.outputs[:1], first)

    draw(episode).savefig(tmp_path / "figure.png")


def test_drawing_opens_no_pyplot_figure_and_leaves_the_style_alone(trace):
    import matplotlib.pyplot as plt

    before = dict(matplotlib.rcParams)

    for draw in FIGURES:
        draw(trace)

    assert plt.get_fignums() == []
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("draw", [*FIGURES[1:], frames])
def test_a_picture_of_no_memory_is_refused(draw, trace):
    without = Trace(trace.inputs, trace.targets, trace.mask, trace.outputs, memory=None)

    with pytest.raises(ValueError, match="the machine has none"):
        draw(without)


def weighting(*used: int, slots: int = 64) -> Tensor:
    """One head that visits these slots in turn."""
    return torch.eye(slots)[list(used)].unsqueeze(1)


def test_unused_slots_are_left_out_of_a_large_memory():
    assert used_slots(weighting(10, 14), weighting(12, 12)) == range(10, 15)


def test_used_slots_are_a_stretch_of_a_ring():
    assert used_slots(weighting(62, 3)) == range(62, 68)


def test_all_slots_are_shown_where_most_are_used_or_there_are_few():
    assert used_slots(weighting(0, 16, 32, 48)) == range(64)
    assert used_slots(weighting(3, slots=32)) == range(32)
    assert used_slots(torch.full((5, 1, 64), 1 / 64)) == range(64)


def test_a_picture_of_some_slots_gives_them_their_own_numbers_and_says_so(trace):
    memory = trace.memory
    w_write, w_read = weighting(62, 63, 0, 1, 2), weighting(*[62] * TIME)
    M = torch.rand(TIME, 64, WIDTH)
    wide = Trace(
        trace.inputs,
        trace.targets,
        trace.mask,
        trace.outputs,
        MemoryTrace(M, w_write, w_read, memory.r[:, :1], memory.e[:, :1], memory.a[:, :1], memory.write, memory.read),
    )

    figure = figures.weightings(wide)
    ax = panels(figure)["write head"]

    assert_shows(ax, w_write[:, 0, [62, 63, 0, 1, 2]])
    assert ax.yaxis.get_major_formatter()(62, None) == "62"
    assert ax.yaxis.get_major_formatter()(65, None) == "1"
    assert figure.get_supxlabel() == "slots 62 to 2 of 64: no other is ever weighted above 0.05"


def test_an_animation_has_a_frame_for_every_step(trace, tmp_path):
    path = tmp_path / "memory.gif"

    Animation(every=1, folder=tmp_path).save(trace, path)

    with Image.open(path) as gif:
        assert gif.n_frames == TIME
        assert gif.info["duration"] == 100


def test_an_animation_shows_where_the_heads_are(trace):
    trace.memory.w_write[:] = torch.tensor([1.0, 0.0])  # always on slot 0
    trace.memory.w_read[:] = torch.tensor([0.0, 1.0])

    shown = np.asarray(frames(trace)[3])

    bottom = shown.shape[0] - 10
    left, right = shown[:bottom, 34:66], shown[:bottom, -74:-10]
    write = np.argwhere((left == (0x7A, 0x2E, 0x00)).all(-1))
    read = np.argwhere((right == (0, 0x3A, 0x5E)).all(-1))
    assert len(write) > 0
    assert len(read) > 0
    assert write[:, 0].max() < read[:, 0].min()
