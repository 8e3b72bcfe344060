"""The report is one safe file that shows the numbers of the run, and its player shows those of the trace."""

import base64
import json
import zlib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chromium import CHROMIUM, Page, chromium
from fakes import TINY, compose
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import Colormap

import train
from callbacks import report
from callbacks.base import look
from callbacks.drawing import BITS, READS, SIGNED, WRITES, signed
from callbacks.report import Report, packed, page
from ntm.heads import Addressing
from ntm.trace import MemoryTrace, Trace

HOSTILE = "</script><script>hacked = 1</script><!-- <img src=x onerror='hacked = 1'> & \u2028 {{ content }}"


def unpacked(values: dict[str, Any]) -> np.ndarray:
    """The reference for the page's own unpacking."""
    changes = np.frombuffer(zlib.decompress(base64.b64decode(values["data"])), np.uint8).reshape(values["shape"])
    levels = changes.cumsum(axis=0, dtype=np.uint8)
    return values["low"] + levels / values["levels"] * (values["high"] - values["low"])


class Evaluated:
    """A machine that was tested under a `Report`, and what came of it."""

    def __init__(self, folder: Path, *overrides: str):
        cfg = compose(*TINY, "callbacks=[none,report]", *overrides, output_dir=folder)
        torch.manual_seed(0)
        self.task, self.learner, self.trainer = train.build(cfg)
        self.trainer.test(self.learner, datamodule=self.task, verbose=False)
        self.report: Report = next(c for c in self.trainer.callbacks if isinstance(c, Report))
        self.path = folder / "report.html"
        self.content = content(self.path)

    def trace(self) -> Trace:
        """Of the episode that the page shows first."""
        return look(self.trainer, self.learner, self.task.probe())


def content(path: Path) -> dict[str, Any]:
    """What a page holds."""
    return json.loads(Parsed(path).scripts["application/json"])


class Parsed(HTMLParser):
    """The tags of a page, and its scripts by their type."""

    def __init__(self, path: Path):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str, str] = {}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        tag, attributes = self.tags[-1] if self.tags else ("", {})
        if tag == "script":
            kind = attributes.get("type") or "text/javascript"
            self.scripts[kind] = self.scripts.get(kind, "") + data


@pytest.fixture(scope="module")
def tested(tmp_path_factory) -> Evaluated:
    """Three write heads and two read heads over a memory that starts at random and whose slots are all used."""
    return Evaluated(
        tmp_path_factory.mktemp("report"),
        "memory.num_slots=6",
        "memory.slot_width=5",
        "memory.num_write_heads=3",
        "memory.num_read_heads=2",
        "memory.initial_memory=random",
        "memory.training_slots=null",
        "memory.initial_std=0.7",
        "task.probe_length=3",
    )


def test_a_long_curve_is_thinned_to_its_last_point():
    rows = [{"sequences": str(i), "val/bits": str(i / 2), "far/bits": ""} for i in range(1201)]

    points = report.curve(rows, "val/bits")

    assert points == [(i, i / 2) for i in range(0, 1201, 3)]
    assert report.curve(rows[:7], "val/bits") == [(i, i / 2) for i in range(7)]
    assert report.curve(rows, "far/bits") == []


@given(st.integers(0, 2**32 - 1), st.sampled_from([(0.0, 1.0), (-1.0, 1.0), (-2.5, 2.5)]))
def test_packed_values_come_back_to_within_half_a_level(seed, limits):
    low, high = limits
    values = low + (high - low) * torch.rand(4, 3, 2, generator=torch.Generator().manual_seed(seed))
    values[1] = 0.0

    back = unpacked(packed(values, {"vmin": low, "vmax": high}))

    assert np.abs(back - values.numpy()).max() <= 0.5001 * (high - low) / report.LEVELS
    assert not back[1].any()


def test_the_content_is_that_of_the_trace(tested):
    (first,) = (one for one in tested.content["episodes"] if one["name"] == "as in the pictures")
    trace = tested.trace()

    scale = signed(trace.memory.M, trace.memory.a, trace.memory.r)
    for name, shown in first["memory"].items():
        if isinstance(shown, dict) and "data" in shown:
            level = (shown["high"] - shown["low"]) / report.LEVELS
            np.testing.assert_allclose(unpacked(shown), getattr(trace.memory, name), atol=0.5001 * level, err_msg=name)
    assert first["memory"]["M"]["high"] == scale["vmax"]
    for head in ("write", "read"):
        told = getattr(trace.memory, head)
        for name, shown in first["memory"][head].items():
            np.testing.assert_allclose(shown, getattr(told, name), atol=0.00051)
    assert unpacked(first["wrong"]).sum() == first["wrong_bits"]
    assert first["wrong_bits"] == ((trace.outputs.round() != trace.targets) & trace.mask[:, None]).sum()


def test_the_sequences_to_play_are_the_pictures_own_and_the_first_that_were_measured(tested):
    episodes = tested.content["episodes"]

    named = [(one["length"], one["name"]) for one in episodes]
    assert named == [
        ("2", "test sequence 1"),
        ("2", "test sequence 2"),
        ("3", "as in the pictures"),
        ("3", "test sequence 1"),
        ("3", "test sequence 2"),
    ]
    for one in (episodes[1], episodes[4]):
        measured = next(iter(tested.task.test_dataloader()[int(one["length"]) - 2]))
        np.testing.assert_array_equal(unpacked(one["inputs"]), measured.inputs[1])


def test_the_figures_are_those_of_the_test(tested):
    (tmp,) = tested.path.parent.glob("results.json")
    assert tested.content["test"] == json.loads(tmp.read_text())["test"]


def test_the_page_is_one_file_that_loads_nothing(tested):
    parsed = Parsed(tested.path)

    assert not {"link", "img", "iframe", "object", "embed", "video", "audio", "base"} & {tag for tag, _ in parsed.tags}
    assert not any({"src", "href", "srcset"} & attributes.keys() for _, attributes in parsed.tags)
    text = tested.path.read_text().replace("http://www.w3.org/2000/svg", "")  # a name, not an address
    assert not any(load in text for load in ("http:", "https:", "url(", "@import", "fetch(", "import("))
    (policy,) = (attributes["content"] for _, attributes in parsed.tags if "http-equiv" in attributes)
    assert policy is not None
    assert policy.startswith("default-src 'none';")


def test_nothing_that_it_shows_is_read_as_html(tested, tmp_path):
    told = tested.content | {"config": HOSTILE, "training": {"command": HOSTILE, "commit": HOSTILE}}
    path = tmp_path / "hostile.html"
    path.write_text(page(told), encoding="utf-8")

    assert Parsed(path).tags == Parsed(tested.path).tags
    assert content(path) == told


def test_a_checkpoint_alone_is_enough_and_beside_its_run_the_learning_is_shown(tested, tmp_path, monkeypatch):
    assert not any(points for stages in tested.content["curves"].values() for points in stages.values())
    rows = ["sequences,train/bits,val/bits,val/exact,far/bits", "8,9.5,,,", "16,,7.25,0.5,nan", "24,,,,"]
    (tmp_path / "metrics.csv").write_text("\n".join(rows))
    (tmp_path / "results.json").write_text('{"seconds": 12.5, "cost": NaN}')
    monkeypatch.setattr(tested.report, "run", tmp_path)

    told = tested.report.content(tested.trainer, tested.learner)

    assert told["curves"]["bits"] == {"train": [(8.0, 9.5)], "val": [(16.0, 7.25)], "far": []}
    assert told["curves"]["exact"] == {"train": [], "val": [(16.0, 0.5)], "far": []}
    assert told["training"] == {"seconds": 12.5, "commit": None, "command": None}


def dense(steps: int, slots: int, width: int) -> Trace:
    """An episode of which nothing can be left out or made smaller: every slot is used and every number new."""

    def rand(*shape: int) -> torch.Tensor:
        return torch.rand(steps, *shape)

    told = Addressing(k=rand(1, width), beta=rand(1), g=rand(1), s=rand(1, 3), gamma=rand(1))
    held = MemoryTrace(
        M=rand(slots, width),
        w_write=rand(1, slots),
        w_read=rand(1, slots),
        r=rand(1, width),
        e=rand(1, width),
        a=rand(1, width),
        write=told,
        read=told,
    )
    return Trace(
        inputs=rand(9), targets=rand(8), mask=torch.ones(steps, dtype=torch.bool), outputs=rand(8), memory=held
    )


def test_what_would_make_the_file_larger_than_5_megabytes_is_left_out_and_counted(tested, monkeypatch):
    monkeypatch.setattr(report, "look", lambda *_: dense(steps=241, slots=128, width=20))

    told = tested.report.content(tested.trainer, tested.learner)

    assert [len(told["episodes"]), told["left_out"]] == [4, 1]
    assert 3_000_000 < len(page(told)) < 5_000_000


# --- in a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Page]:
    if CHROMIUM is None:
        pytest.skip("no chromium on the path: `apt-get install chromium` or its like")
    with chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def shown(browser, tested) -> Page:
    browser.open(tested.path)
    return browser


def pixels(page: Page, panel: str) -> np.ndarray:
    """The colours of a map: [rows columns 3]."""
    width, height, values = page.run(f"""(() => {{
        const canvas = document.querySelector("#panel-{panel} canvas");
        const {{ data }} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return [canvas.width, canvas.height, Array.from(data)];
    }})()""")
    return np.array(values).reshape(height, width, 4)[..., :3]


def coloured(values: torch.Tensor, cmap: Colormap | str, low: float, high: float) -> np.ndarray:
    """The colours that the pictures give these values."""
    from matplotlib import colormaps

    return colormaps.get_cmap(cmap)((values.numpy() - low) / (high - low), bytes=True)[..., :3].astype(float)


def assert_alike(ours: np.ndarray, theirs: np.ndarray) -> None:
    """The same colours, but for a byte's rounding of the values and of the scales."""
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= 6


def move_to(page: Page, t: int) -> None:
    page.run(f"$('time').value = {t}; $('time').dispatchEvent(new Event('input'))")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_opens_without_complaint_or_request_and_fits_the_width(browser, tested, width, dark):
    browser.open(tested.path, width=width, dark=dark)

    assert browser.complaints == []
    assert browser.requests == [tested.path.resolve().as_uri()]
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run("document.querySelectorAll('#stage canvas').length") == 9


def test_the_slider_moves_the_pictures_to_its_step(shown, tested):
    trace = tested.trace()
    memory = trace.memory
    limit = signed(memory.M, memory.a, memory.r)["vmax"]
    for t in (0, 4, len(trace.mask) - 1):
        move_to(shown, t)
        assert_alike(pixels(shown, "M"), coloured(memory.M[t], SIGNED, -limit, limit))
        assert_alike(pixels(shown, "w"), coloured(memory.w_write[t].T, WRITES, 0, 1))
        assert_alike(pixels(shown, "r"), coloured(memory.w_read[t].T, READS, 0, 1))
        assert_alike(pixels(shown, "add"), coloured(memory.a[t], SIGNED, -limit, limit))
        assert_alike(pixels(shown, "reads"), coloured(memory.r[t], SIGNED, -limit, limit))
        assert shown.run("$('clock').textContent") == f"t = {t} / {len(trace.mask) - 1}"
        assert shown.run("document.querySelector('.present').offsetLeft") == pytest.approx(
            t / len(trace.mask) * shown.run("document.querySelector('#panel-map .box').clientWidth"), abs=1
        )


def test_the_strips_show_input_output_and_target_over_time(shown, tested):
    trace = tested.trace()
    wrong = ((trace.outputs.round() != trace.targets) & trace.mask[:, None]).T.numpy()

    assert_alike(pixels(shown, "input"), coloured(trace.inputs.T, BITS["cmap"], 0, 1))
    assert_alike(pixels(shown, "target"), coloured(trace.targets.T, BITS["cmap"], 0, 1))
    output = pixels(shown, "output")
    assert_alike(output[~wrong], coloured(trace.outputs.T, BITS["cmap"], 0, 1)[~wrong])
    assert {tuple(colour) for colour in output[wrong]} == {(204, 47, 134)}


def test_heads_lie_over_one_another_and_can_be_switched_off(shown, tested):
    memory = tested.trace().memory
    layers = [coloured(w.T, WRITES, 0, 1) / 255 for w in memory.w_write.unbind(1)]
    layers += [coloured(w.T, READS, 0, 1) / 255 for w in memory.w_read.unbind(1)]
    assert_alike(pixels(shown, "map"), 255 * np.prod(layers, axis=0))

    shown.run("$('write0').click(); $('write2').click(); $('read1').click()")

    assert_alike(pixels(shown, "map"), 255 * np.prod([layers[1], layers[3]], axis=0))
    assert pixels(shown, "w").shape[1] == pixels(shown, "r").shape[1] == 1
    shown.run("$('write1').click(); $('read0').click()")
    assert (pixels(shown, "map") == 255).all()
    assert shown.complaints == []


def middle(page: Page, panel: str, row: int, column: int) -> tuple[float, float]:
    """Where a cell of a map is."""
    page.run(f"document.querySelector('#panel-{panel}').scrollIntoView({{block: 'center'}})")
    left, top, width, height, columns, rows = page.run(f"""(() => {{
        const canvas = document.querySelector("#panel-{panel} canvas");
        const box = canvas.getBoundingClientRect();
        return [box.left, box.top, box.width, box.height, canvas.width, canvas.height];
    }})()""")
    return left + (column + 0.5) / columns * width, top + (row + 0.5) / rows * height


def test_the_value_under_the_pointer_is_told(shown, tested):
    memory = tested.trace().memory
    move_to(shown, 3)
    shown.point(*middle(shown, "M", row=4, column=2))
    told, _, value = shown.run("$('tip').textContent").rpartition(": ")
    assert told == "memory at t = 3, slot 4, width 2"
    assert float(value) == pytest.approx(memory.M[3, 4, 2].item(), abs=0.01)

    shown.point(*middle(shown, "map", row=1, column=5))
    first, *heads = shown.run("$('tip').textContent").split("\n")
    assert first == "slot 1 at t = 5"
    weights = torch.cat([memory.w_write, memory.w_read], dim=1)[5, :, 1]
    assert [float(head.rpartition(": ")[2]) for head in heads] == pytest.approx(weights.tolist(), abs=0.01)


def test_a_press_on_a_picture_goes_to_its_step(shown):
    x, y = middle(shown, "map", row=1, column=2)
    shown.point(x, y)
    shown.point(x, y, "mousePressed")
    shown.point(x, y, "mouseReleased")
    assert shown.run("player.t") == 2


def test_the_keyboard_steps_and_plays(shown):
    def at(*keys: str) -> int:
        for key in keys:
            shown.press(key)
        return shown.run("player.t")

    last = shown.run("player.t")
    assert at("Home") == 0
    assert at("ArrowLeft") == 0
    assert at("ArrowRight", "ArrowRight") == 2
    assert at("End", "ArrowRight") == last
    shown.run("$('time').focus()")
    assert at("Home") == 0
    shown.press(" ")
    assert shown.run("$('play').textContent") == "Pause"
    while shown.run("player.timer"):
        shown.wait(20)
    assert shown.run("player.t") == last


def test_what_the_heads_were_told_is_in_the_table(shown, tested):
    memory = tested.trace().memory
    move_to(shown, 2)
    rows = shown.run("[...document.querySelectorAll('#told tbody tr')].map((row) => row.innerText.split('\\t'))")
    assert [row[0] for row in rows] == ["write head 1", "write head 2", "write head 3", "read head 1", "read head 2"]
    beta = torch.cat([memory.write.beta, memory.read.beta], dim=1)[2]
    gamma = torch.cat([memory.write.gamma, memory.read.gamma], dim=1)[2]
    focus = torch.cat([memory.w_write, memory.w_read], dim=1)[2].max(-1).values
    assert [float(row[1].partition("(")[2][:-1]) for row in rows] == pytest.approx(focus.tolist(), abs=0.01)
    assert [float(row[2]) for row in rows] == pytest.approx(beta.tolist(), abs=0.006)
    assert [float(row[5]) for row in rows] == pytest.approx(gamma.tolist(), abs=0.006)


def test_another_length_is_another_episode(shown):
    shown.run("$('length').value = '2'; $('length').dispatchEvent(new Event('change'))")
    shown.wait(100)
    assert shown.run("[player.episode.mask.length, player.episode.name]") == [5, "test sequence 1"]
    assert shown.complaints == []


def test_a_machine_without_memory_says_so_and_plays(browser, tmp_path):
    bare = Evaluated(tmp_path, "memory=none", "task=repeat_copy", "task.max_length=[3,3]", "task.probe_length=[2,3]")
    browser.open(bare.path)
    move_to(browser, 3)

    assert browser.complaints == []
    assert "has no memory" in browser.run("$('guide').textContent")
    assert pixels(browser, "input").shape[:2] == (10, 2 + 2 + 2 * 3 + 1)
    assert browser.run("document.querySelector('#panel-map')") is None


def test_a_machine_that_has_diverged_is_shown_without_a_made_up_number(browser, tmp_path):
    lost = Evaluated(tmp_path, "memory.num_slots=4", "memory.training_slots=null")
    with torch.no_grad():
        lost.learner.machine.interface.bias.fill_(torch.nan)
    lost.trainer.test(lost.learner, datamodule=lost.task, verbose=False)
    browser.open(lost.path)

    assert browser.complaints == []
    assert (pixels(browser, "M") == 140).all()
    assert "NaN" in browser.run("$('told').innerText")
    assert "NaN" in browser.run("$('table').innerText")


def test_a_page_without_any_episode_shows_the_rest(browser, tested, tmp_path):
    path = tmp_path / "empty.html"
    path.write_text(page(tested.content | {"episodes": [], "left_out": 5}), encoding="utf-8")
    browser.open(path)

    assert browser.complaints == []
    assert "too large" in browser.run("$('guide').textContent")
    assert browser.run("$('time') === null && $('table').innerText.includes('wrong bits')")


def test_hostile_words_stay_words(browser, tested, tmp_path):
    told = content(tested.path)
    told |= {"config": HOSTILE, "training": {"command": HOSTILE, "commit": HOSTILE}}
    told["choices"]["task"] |= {"name": HOSTILE, "settings": {HOSTILE: HOSTILE}}
    for one in told["episodes"]:
        one["name"] = HOSTILE
    path = tmp_path / "hostile.html"
    path.write_text(page(told), encoding="utf-8")
    browser.open(path)

    assert browser.complaints == []
    assert browser.run("typeof hacked") == "undefined"
    assert HOSTILE in browser.run("$('config').textContent")
