"""Every picture shows the numbers of its trace, the right way round, on its own scale."""

from dataclasses import replace

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from callbacks import curves, figures
from callbacks.animation import frames, write_gif
from callbacks.drawing import runs, shrink, used_slots
from callbacks.film import frames as film_frames
from callbacks.film import frozen
from callbacks.heads import over_steps
from ntm.heads import Addressing
from ntm.trace import MemoryTrace, Phase, Trace

FIGURES = [
    figures.episode,
    figures.weightings,
    figures.memory,
    figures.evolution,
    figures.written_and_read,
    figures.addressing,
]
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


@pytest.mark.parametrize("draw", [figures.episode, lambda trace: figures.generalisation({"7 bits": trace})])
def test_where_nobody_can_know_the_answer_an_output_is_held_against_the_best_guess(draw, trace):
    guessed = replace(trace, best_guess=torch.full_like(trace.targets, 0.25))
    before, after = panels(draw(trace)), panels(draw(guessed))
    assert [name for name in after if name != "input"] == ["target", "best guess", "output", "error"]
    assert (after["best guess"].images[0].get_array() == 0.25).all()
    for shown, right in ((before, trace.targets), (after, guessed.best_guess)):
        error = np.ma.filled(shown["error"].images[0].get_array(), np.nan)
        expected = (trace.outputs - right)[trace.mask].T
        np.testing.assert_allclose(error[:, -expected.shape[1] :], expected, rtol=1e-6)


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


def test_memory_is_the_last_one_between_when_it_was_written_and_when_it_was_read(trace):
    left, middle, right = figures.memory(trace).axes

    np.testing.assert_array_equal(middle.images[0].get_array(), trace.memory.M[-1])
    assert (middle.get_xlabel(), left.get_ylabel()) == (f"width\nmemory at t = {TIME - 1}", "slot")
    assert middle.images[0].get_clim() == (-1, 1)
    assert_shows(left, trace.memory.w_write.amax(1))
    assert_shows(right, trace.memory.w_read.amax(1))


def test_a_memory_beyond_one_widens_its_scale_evenly(trace):
    trace.memory.M[-1, 0, 0] = -1.3

    _, ax, _ = figures.memory(trace).axes

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
    assert all(ax.get_ylabel() or ax.get_xlabel() for ax in drawn)
    assert any(ax.get_xlabel().startswith(("time", "width")) for ax in figure.axes) or draw is figures.evolution


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


@pytest.mark.parametrize("draw", [*FIGURES[1:], lambda trace: frames(trace, "copy")])
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


def test_a_shrunk_picture_looks_the_same(trace, tmp_path):
    path = tmp_path / "picture.png"
    figures.written_and_read(trace).savefig(path)
    before = path.stat().st_size
    with Image.open(path) as image:
        drawn = np.asarray(image.convert("RGB"), dtype=int)
    shrink(path)
    with Image.open(path) as image:
        assert np.abs(np.asarray(image.convert("RGB"), dtype=int) - drawn).max() <= 16  # of 255, in no pixel more
    assert path.stat().st_size < before


def test_an_animation_has_a_frame_for_every_step(trace, tmp_path):
    path = tmp_path / "memory.gif"

    write_gif(path, frames(trace, "copy"), 100)

    with Image.open(path) as gif:
        assert gif.n_frames == TIME
        assert gif.info["duration"] == 100


def test_an_animation_shows_where_the_heads_are(trace):
    trace.memory.w_write[:] = torch.tensor([1.0, 0.0])  # always on slot 0
    trace.memory.w_read[:] = torch.tensor([0.0, 1.0])

    shown = np.asarray(frames(trace, "copy")[3])

    bottom = shown.shape[0] - 10
    left, right = shown[:bottom, 34:66], shown[:bottom, -74:-10]
    write = np.argwhere((left == (0x7A, 0x2E, 0x00)).all(-1))
    read = np.argwhere((right == (0, 0x3A, 0x5E)).all(-1))
    assert len(write) > 0
    assert len(read) > 0
    assert write[:, 0].max() < read[:, 0].min()


PHASES = (Phase("input", 0), Phase("delimiter", 2), Phase("answer", 3))


@pytest.mark.parametrize("draw", [figures.episode, figures.weightings, figures.addressing])
def test_phases_are_named_over_their_steps_and_begin_with_a_line_through_every_panel(draw, trace):
    panels = draw(replace(trace, phases=PHASES)).axes

    names = {text.get_text(): text.get_position()[0] for text in panels[0].texts}
    assert names == {"input": 0.5, "delimiter": 2, "answer": 3.5}
    assert [[line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == "--"] for ax in panels] == [
        [1.5, 2.5]
    ] * len(panels)


@pytest.mark.parametrize("short", ["delimiter", "a delimiter with too many words"])
def test_a_phase_of_one_step_is_named_where_there_is_room(short, trace):
    long = Trace(
        *(value.repeat(8, *[1] * (value.ndim - 1)) for value in (trace.inputs, trace.targets, trace.mask)),
        outputs=trace.outputs.repeat(8, 1),
        memory=None,
        phases=(Phase("input", 0), Phase(short, 19), Phase("answer", 20)),
    )

    names = {text.get_text(): text.get_position()[0] for text in figures.episode(long).axes[0].texts}

    room = {"delimiter": 19} if short == "delimiter" else {}
    assert names == {"input": 9, "answer": 29.5} | room


def shades(figure: Figure, ax: Axes) -> np.ndarray:
    """How dark each quarter of a panel is on the page: top left, top right, bottom left, bottom right."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    page = 255.0 - np.asarray(canvas.buffer_rgba())[..., :3].mean(-1)
    box = ax.get_window_extent()
    top, bottom = page.shape[0] - round(box.y1), page.shape[0] - round(box.y0)
    panel = page[top + 2 : bottom - 2, round(box.x0) + 2 : round(box.x1) - 2]
    return np.array([half.mean() for rows in np.array_split(panel, 2) for half in np.array_split(rows, 2, axis=1)])


def test_on_the_page_an_early_focus_on_the_last_slot_is_dark_at_the_bottom_left(trace):
    memory = trace.memory
    memory.w_write.zero_()
    memory.w_read.zero_()
    memory.w_write[:2, 1, 1] = 1.0  # the second head, in the first two of five steps, on the last of two slots
    figure = figures.weightings(trace)
    shown = panels(figure)

    dark = shades(figure, shown["write head 2"])
    assert dark.argmax() == 2
    assert np.delete(dark, 2).max() < 0.02 * dark[2]
    assert max(shades(figure, shown[name]).max() for name in ("write head 1", "read head 2")) == 0


def echoing(written: list[int], read: list[int], scored: int, slots: int = 8) -> Trace:
    """One head that writes these slots in turn, one that reads those, and an answer from a step on."""
    steps = len(written)
    told = Addressing(
        *(torch.ones(steps, 1, 2), torch.ones(steps, 1), torch.ones(steps, 1)),
        s=torch.ones(steps, 1, 1),
        gamma=torch.ones(steps, 1),
    )
    vectors = torch.zeros(steps, 1, 2)
    memory = MemoryTrace(
        torch.zeros(steps, slots, 2),
        weighting(*written, slots=slots),
        weighting(*read, slots=slots),
        vectors,
        vectors,
        vectors,
        told,
        told,
    )
    return Trace(vectors[:, 0], vectors[:, 0], torch.arange(steps) >= scored, vectors[:, 0], memory)


def test_echoes_are_runs_of_answered_steps_and_of_the_latest_writes_to_their_slots():
    #                 0  1  2  3  4  5  6  7
    trace = echoing([1, 2, 3, 2, 7, 7, 7, 7], [1, 1, 1, 1, 1, 2, 3, 2], scored=4)

    assert figures.echoes(trace) == [(0, 0, 4, 1), (0, 3, 5, 1), (0, 2, 6, 2)]
    assert figures.echoes(echoing([4, 5, 6, 0, 0, 0], [0, 0, 0, 4, 5, 6], scored=3)) == [(0, 0, 3, 3)]
    assert figures.echoes(echoing([4, 5, 6, 0, 0, 0], [4, 5, 6, 1, 1, 1], scored=3)) == []


def test_boxes_with_one_letter_mark_what_was_written_and_where_it_is_read():
    shown = panels(figures.written_and_read(echoing([4, 5, 6, 0, 0, 0], [0, 0, 0, 4, 5, 6], scored=3)))

    marked = {name: [(p.get_x(), p.get_width()) for p in ax.patches] for name, ax in shown.items() if "vector" in name}
    assert marked == {"add vector": [(-0.5, 3)], "read vector": [(2.5, 3)]}
    assert {shown[name].texts[-1].get_text() for name in marked} == {"A"}


def test_addressing_draws_every_head_in_every_panel_that_is_about_it(trace):
    figure = figures.addressing(trace)

    shown = {ax.get_ylabel().split("\n")[0]: ax for ax in figure.axes}
    assert {name: len(ax.lines) for name, ax in shown.items()} == {
        **dict.fromkeys(("greatest", "key", "gate", "shift", "sharpening"), WRITE_HEADS + READ_HEADS),
        **dict.fromkeys(("erase", "add"), WRITE_HEADS),
    }
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        *(f"write head {i + 1}" for i in (0, WRITE_HEADS - 1)),
        *(f"read head {i + 1}" for i in (0, READ_HEADS - 1)),
    ]
    figure.draw_without_rendering()
    assert legend.get_window_extent().y1 < figure.axes[-1].xaxis.get_label().get_window_extent().y1
    measured = over_steps(trace.memory)
    np.testing.assert_array_equal(shown["greatest"].lines[1].get_ydata(), measured["write"]["peak"][:, 1])
    np.testing.assert_array_equal(shown["greatest"].lines[2].get_ydata(), measured["read"]["peak"][:, 0])
    np.testing.assert_array_equal(shown["add"].lines[0].get_ydata(), trace.memory.a[:, 0].abs().mean(-1))


def test_generalisation_shows_the_scored_steps_of_every_length(trace):
    longer = echoing([0] * 9, [0] * 9, scored=2)

    figure = figures.generalisation({"2 vectors": trace, "7 vectors": longer})

    target, output, error, *others = figure.axes
    assert [ax.get_title(loc="left") for ax in figure.axes if ax.get_title(loc="left")] == ["2 vectors", "7 vectors"]
    np.testing.assert_array_equal(target.images[0].get_array(), trace.targets[3:].T)
    np.testing.assert_array_equal(output.images[0].get_array(), trace.outputs[3:].T)
    np.testing.assert_array_equal(error.images[0].get_array(), (trace.outputs - trace.targets)[3:].T)
    assert error.get_xlabel() == figures.wrong_bits(trace)
    assert others[0].images[0].get_array().shape == (2, 7)


def test_wrong_bits_are_counted_on_the_scored_steps_after_rounding(trace):
    trace.outputs[:] = trace.targets
    trace.outputs[0] = 1 - trace.targets[0]  # not scored
    trace.outputs[3, 0] = 0.6 if trace.targets[3, 0] == 0 else 0.4
    assert figures.wrong_bits(trace) == "1 of 6 bits wrong"


def test_a_film_has_a_frame_for_every_moment_and_shows_what_the_machine_did_then(trace):
    early = replace(trace, memory=replace(trace.memory, w_write=torch.zeros(TIME, WRITE_HEADS, SLOTS)))
    taken = {number: frozen(then) for number, then in ((500, early), (40, trace))}

    first, last = film_frames(trace, taken, "copy")

    assert first.size == last.size
    orange = [(np.asarray(page).reshape(-1, 3) == (0x7A, 0x2E, 0x00)).all(-1).any() for page in (first, last)]
    trace.memory.w_write[:] = 1.0
    (bright,) = film_frames(trace, {9: frozen(trace)}, "copy")
    assert orange == [False, False]
    assert (np.asarray(bright).reshape(-1, 3) == (0x7A, 0x2E, 0x00)).all(-1).any()
    assert not np.array_equal(np.asarray(first), np.asarray(last))


ROWS = [
    {"sequences": 400.0, "val/error_bits": 4.0, "val/bits": 40.0, "far/error_bits": 9.0, "head/read0/peak": 0.2},
    {"sequences": 800.0, "val/error_bits": 0.0, "val/bits": 0.1, "head/read0/peak": 0.9, "head/write0/peak": 0.8},
]


def test_learning_draws_each_figure_over_the_sequences_seen():
    wrong, cost, peak = curves.learning(ROWS, 800).axes

    near, far, measured = (line.get_xydata().tolist() for line in wrong.lines)
    assert near == [[400, 4], [800, 0]]
    assert far == [[400, 9]]
    assert measured == [[800, 0], [800, 1]]
    assert [line.get_ydata().tolist() for line in cost.lines[:-1]] == [[40, 0.1]]
    assert [line.get_xydata().tolist() for line in peak.lines[:-1]] == [[[800, 0.8]], [[400, 0.2], [800, 0.9]]]
    assert peak.get_xlabel() == "training sequences seen"


def test_learning_draws_what_a_guess_costs_above_the_best_one():
    best = [row | {f"{stage}/optimal_bits": 30.0 for stage in ("val", "far")} for row in ROWS[:1]]
    _, cost, *_ = curves.learning([row | {"far/bits": 90.0} for row in best], 400).axes
    assert [line.get_ydata().tolist() for line in cost.lines[:-1]] == [[10], [60]]
    assert cost.get_ylabel() == "bits above\nthe best guess"


def test_validations_are_the_rows_that_measured_held_out_sequences(tmp_path):
    path = tmp_path / "metrics.csv"
    assert curves.validations(path) == []
    path.write_text("sequences,train/loss,val/error_bits\n8,0.5,\n16,,2.5\n")
    assert curves.validations(path) == [{"sequences": 16.0, "val/error_bits": 2.5}]


def test_lengths_draws_wrong_bits_and_cost_of_every_test_length(caplog):
    caplog.set_level("INFO")
    test = {"10": {"error_bits": 0.0, "bits": 0.5}, "120": {"error_bits": 3.0, "bits": 20.0}}
    (ax,) = curves.lengths(test, ("1", "20")).axes
    assert {line.get_label(): line.get_ydata().tolist() for line in ax.lines} == {
        "wrong bits": [0.0, 3.0],
        "cost in bits": [0.5, 20.0],
    }
    assert [label.get_text() for label in ax.get_xticklabels()] == ["10", "120"]
    (ax,) = curves.lengths({"200": {"error_bits": 50.0, "bits": 133.5, "optimal_bits": 131.0}}, ("200", "200")).axes
    assert {line.get_label(): line.get_ydata().tolist() for line in ax.lines} == {"bits above the best guess": [2.5]}
    # what matplotlib logs would come out between a run's lines
    assert not [record for record in caplog.records if record.name.startswith("matplotlib")]
