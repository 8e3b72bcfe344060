"""The benchmarks work: what they say is up to the machine."""

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import fields
from itertools import combinations
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from fakes import ROOT, TINY
from test_summarize import curve, start

import summarize
from conf.check import OUTCOME
from evaluate import load

sys.path.append(str(ROOT / "benchmarks"))

import counting
import farther
import measure
import overview
import paper
import slipping
import soak
import solve
import sorting
import startup
import study
from measure import Setting

SHAPES = [
    Setting(),
    Setting(controller="gru", hidden=7, layers=3, heads=2, width=3, slots=16, inputs=4, outputs=2),
    Setting(controller="feedforward", hidden=5, layers=2, heads=4, width=2, slots=32, inputs=8, outputs=6),
]


@pytest.mark.parametrize("setting", SHAPES, ids=lambda setting: setting.controller)
def test_the_count_of_operations_is_that_of_the_machine_it_builds(setting):
    machine = measure.build(setting)
    weights = [p for part in (machine.controller, machine.interface, machine.output) for p in part.parameters()]
    products = sum(p.numel() for p in weights if p.dim() == 2)
    passes = 1  # over all numbers in memory: their slots' lengths
    for reads, writes in ((setting.heads, 0), (0, setting.heads)):
        passes += reads + writes  # a dot product for every head
        passes += writes * 2 + reads  # erase and add, or read
    expected = 2 * products + 2 * passes * machine.memory.num_slots * machine.memory.slot_width
    assert measure.flops(setting._replace(training=False)) == expected
    assert measure.flops(setting) == 3 * expected


def test_training_changes_weights_and_inference_does_not(monkeypatch):
    made = []
    build = measure.build
    monkeypatch.setattr(measure, "build", lambda setting: made.append(build(setting)) or made[-1])
    for training in (True, False):
        update = measure.work(Setting(engine="eager", hidden=3, slots=4, steps=2, batch=1, training=training))
        before = made[-1].output.weight.clone()
        update()
        assert torch.equal(before, made[-1].output.weight) != training


def test_a_record_names_no_folder_outside_of_the_checkout(tmp_path):
    file = tmp_path / "records.md"
    measure.put(file, "One", [f"failed: see {ROOT / 'outputs' / 'last.ckpt'}"], "# Records\n")
    assert f"failed: see {Path('outputs/last.ckpt')}" in file.read_text().splitlines()


def test_a_record_takes_the_place_of_the_older_one_and_leaves_the_others(tmp_path):
    file = tmp_path / "records.md"
    for name, line in (("One", "1"), ("Two, more", "2"), ("One", r"3 \1")):
        measure.put(file, name, [line], "# Records\n")
    assert file.read_text().splitlines() == [
        "# Records",
        "",
        "<!-- begin one -->",
        r"3 \1",
        "<!-- end one -->",
        "",
        "<!-- begin two-more -->",
        "2",
        "<!-- end two-more -->",
    ]


@pytest.mark.parametrize(
    ("last", "flat"), [((101, 10, 5), True), ((103, 10, 5), False), ((100, 11, 4), False), ((100, 9, 6), False)]
)
def test_a_soak_is_flat_where_neither_memory_nor_descriptors_nor_threads_grow(last, flat):
    samples = [soak.Sample(100, 10, 5)] * 3 + [soak.Sample(*last)]
    assert soak.row(samples)[1] == flat


def test_imports_are_summed_by_package():
    lines = ["import time:      1000000 |    3000000 | torch", "import time:   500000 |    500000 |   torch.nn", "x"]
    lines += ["import time:       250000 |     250000 | os"]
    assert startup.imports("\n".join(lines)) == [["all", "1.75"], ["torch", "1.50"], ["os", "0.25"]]


def test_a_record_of_many_seeds_tells_the_solved_from_the_finished_and_from_the_failed(tmp_path):
    for seed, errors in ((1, (0.05, 0.0)), (2, (0.0, 0.2)), (3, (2.0, 1.0)), (4, None)):
        folder = tmp_path / str(seed)
        start(folder, seed=seed)
        if errors is None:
            (folder / OUTCOME).write_text("failed: ValueError: no number\n")
            continue
        curve(folder, (100, 3.0), *zip((200, 300), errors, strict=True))
        test = {"5": {"error_bits": errors[1], "bits": 10 * errors[1]}}
        results = {"sequences": 100 * seed, "seconds": seed, "seconds_to_solution": None if errors[1] else seed}
        results |= {"test": test, "versions": {"torch": "2"}, "commit": "abc"}
        (folder / "results.json").write_text(json.dumps(results))
    runs = [summarize.read_run(tmp_path / s) for s in "1234"]
    lines = solve.record("Some", "python some", runs, 1)
    assert "- No wrong bit at any test length: 1 of 4 seeds." in lines
    assert "- No wrong bit at the end on held-out sequences of the training range: 1 of 4 seeds." in lines
    assert (
        "- Sequences to the first held-out evaluation below 0.1 wrong bits: median 200 (200 to 200) on 2 of 3." in lines
    )
    assert "- Sequences to the first below 0.05 bits: none." in lines
    assert "- Seconds from the command to the end of training: median 2 (1 to 3)." in lines
    assert [line for line in lines if line.startswith("| ")] == [
        "| median (range) over the seeds | at 5 |",
        "| --- | --- |",
        "| wrong bits | 0.2 (0-1) |",
        "| bits | 2 (0-10) |",
        "| seed | first below 0.1 | held | sequences | seconds | at 5 |",
        "| --- | --- | --- | --- | --- | --- |",
        "| 1 | 200 | yes | 100 | 1 | 0 |",
        "| 2 | 200 | no | 200 | 2 | 0.2 |",
        "| 3 | never | no | 300 | 3 | 1 |",
        "| 4 | failed: ValueError: no number |  |  |  |  |",
    ]


def test_a_record_of_what_can_only_be_guessed_has_the_best_guess_beside_it(tmp_path):
    for seed, bits in ((1, 135.0), (2, 137.0), (3, None)):
        folder = tmp_path / str(seed)
        start(folder, seed=seed)
        if bits is None:
            (folder / OUTCOME).write_text("failed: ValueError: no number\n")
            continue
        test = {"200": {"bits": bits, "optimal_bits": 134.5, "error_bits": 48.0}}
        results = {
            "sequences": 100,
            "seconds": 1,
            "seconds_to_solution": None,
            "test": test,
            "versions": {},
            "commit": "",
        }
        (folder / "results.json").write_text(json.dumps(results))
    lines = solve.record("Some", "python some", [summarize.read_run(tmp_path / s) for s in "123"], 1)
    assert "- Finished: 2 of 3 seeds." in lines
    assert "- Bits above the best guess at 200: median 1.50 (0.50 to 2.50)." in lines
    assert [line for line in lines if line.startswith("| ")] == [
        "| seed | sequences | seconds | bits at 200 | best guess at 200 |",
        "| --- | --- | --- | --- | --- |",
        "| 1 | 100 | 1 | 135.00 | 134.50 |",
        "| 2 | 100 | 1 | 137.00 | 134.50 |",
        "| 3 | failed: ValueError: no number |  |  |  |",
    ]
    assert not any("wrong" in line for line in lines)


def test_the_overview_says_of_a_record_what_the_record_says(tmp_path, monkeypatch):
    monkeypatch.setattr(solve, "RECORDS", tmp_path / "results.md")
    tests = {
        "Recall, Huber": {"6": {"error_bits": 0.0, "bits": 0.1}, "20": {"error_bits": 2.0, "bits": 8.5}},
        "N-grams": {"200": {"error_bits": 48.0, "bits": 135.0, "optimal_bits": 134.5}},
    }
    for name, test in tests.items():
        folder = tmp_path / name
        start(folder, seed=1)
        curve(folder, (100, 3.0), (200, 0.0))
        results = {"sequences": 1200, "seconds": 7, "seconds_to_solution": None}
        (folder / "results.json").write_text(json.dumps(results | {"test": test, "versions": {}, "commit": "abc"}))
        lines = solve.record(name, "python some", [summarize.read_run(folder)], 1)
        measure.put(solve.RECORDS, name, lines, "# Results\n")
    recall, ngrams = overview.overview({name: measure.get(solve.RECORDS, name) for name in tests})[6:8]
    assert recall == "| [Recall, Huber](#recall-huber) | 0 of 1 | none | 1,200 | 7 | 2 | 8.5 | 7 | 0.94 bits at 20 |"
    assert (
        ngrams
        == "| [N-grams](#n-grams) | (1 of 1 seeds) |  | 1,200 | 7 |  | 0.50 (0.50-0.50) | 0.5 after 1,000,000 |  |"
    )
    assert measure.get(solve.RECORDS, "Sort") == []


def test_a_study_counts_the_runs_of_every_value_and_task(tmp_path):
    cells = [(task, rate, clip) for task in ("copy", "recall") for rate in ("1", "2") for clip in ("3", "4")]
    for number, (task, rate, clip) in enumerate(cells):
        folder = tmp_path / str(number)
        start(folder, f"task={task}", f"lr={rate}", f"clip={clip}", seed=1)
        curve(folder, (100, 0.0 if rate == "2" else 9.0))
        solved = (task, rate, clip) == ("copy", "2", "4")
        results = {"sequences": 100, "seconds_to_solution": 1.0 if solved else None, "commit": "abc", "versions": {}}
        if number < 7:  # the last, of recall, has not ended
            (folder / "results.json").write_text(json.dumps(results | {"test": {"5": {"error_bits": 0.0}}}))
    runs = summarize.read_runs(tmp_path)
    rows = summarize.aggregate(runs)[1]
    lines = study.record("losses", "python some", runs, 1, "some.png")
    assert lines[2].startswith("Cross-entropy or Huber? The question that the seed experiment left open.")
    assert sum(line.startswith("| task=") for line in lines) == 8
    assert "- copy, `lr`, solved: `2` 1 of 2; it may be chance: `1` 0 of 2." in lines
    assert "- recall, `clip`, learned: `3` 1 of 2; it may be chance: `4` 1 of 2." in lines
    bars, _ = study.picture(rows).axes
    assert [bar.get_width() for bar in bars.containers[2]] == [row.solved for row in rows]
    assert next(label.get_text() for label in bars.get_yticklabels()) == "copy lr=1 clip=3"


def test_a_value_that_solves_surely_fewer_is_told_from_one_where_it_may_be_chance():
    nothing = dict.fromkeys(field.name for field in fields(summarize.Row))
    rows = [
        summarize.Row(**nothing | {"configuration": f"lr={lr}", "runs": 10, "finished": 10, "solved": k, "learned": 9})
        for lr, k in ((1, 3), (2, 10), (3, 9))
    ]
    assert study.answers(rows) == [
        "",
        "- `lr`, solved: `2` 10 of 10; fewer: `1` 3 of 10 (p = 0.0031); it may be chance: `3` 9 of 10.",
    ]


@pytest.mark.parametrize(("k", "n", "other_k", "other_n"), [(3, 4, 1, 4), (3, 8, 7, 8), (0, 5, 0, 7), (1, 9, 4, 6)])
def test_fishers_exact_test_counts_every_way_to_draw_as_many(k, n, other_k, other_n):
    ways = Counter(sum(i < n for i in drawn) for drawn in combinations(range(n + other_n), k + other_k))
    no_likelier = sum(many for many in ways.values() if many <= ways[k])
    assert study.fisher(k, n, other_k, other_n) == pytest.approx(no_likelier / ways.total())
    assert study.fisher(3, 4, 1, 4) == pytest.approx(0.486, abs=1e-3)  # the lady tasting tea


def test_a_seed_is_trained_once_however_its_numbers_are_spelled_and_never_beside_another(tmp_path):
    left = solve.run(tmp_path, 3, [*TINY, "optimizer.lr=3e-4"])
    assert (left.seed, left.outcome) == (3, "finished")
    with pytest.raises(SystemExit, match="holds another sweep: its job 3 has"):
        solve.run(tmp_path, 3, [*TINY, "optimizer.lr=4e-4"])


def test_the_picture_of_a_record_shows_our_median_and_the_papers_figures(tmp_path):
    for seed in (1, 2, 3):
        folder = tmp_path / str(seed)
        start(folder, seed=seed)
        (folder / "metrics.csv").write_text(f"sequences,val/bits,val/error_bits\n100,{8 * seed},1\n200,{seed},0\n")
        results = {"test": {"20": {"bits": 6.0 * seed}, "10": {"bits": 3.0 * seed}}, "seconds_to_solution": None}
        (folder / "results.json").write_text(json.dumps(results))
    learning, lengths = solve.picture([summarize.read_run(tmp_path / s) for s in "123"]).axes
    *seeds, ours = learning.lines[:4]
    paper = learning.lines[4:]
    assert [line.get_ydata().tolist() for line in seeds] == [[8, 1], [16, 2], [24, 3]]
    assert [tuple(point) for point in ours.get_xydata()] == [(100, 16), (200, 2)]
    assert [line.get_ydata().tolist() for line in lengths.lines[:4]] == [[3, 6], [6, 12], [9, 18], [6, 12]]
    assert [line.get_label() for line in paper] == ["paper: NTM, LSTM", "paper: NTM, feedforward", "paper: LSTM"]
    assert tuple(paper[2].get_xydata()[0]) == (100000, 4.8)  # section 4.1, figure 3


def test_machines_are_measured_with_slots_for_their_length_and_counted_where_they_are_right():
    assert farther.measure(ROOT / "models/copy.ckpt", 200, 4) == 0
    found = {1: {20: 0.0, 200: 0.0}, 2: {20: 0.0, 200: 3.0}}
    assert farther.rows(found) == [["20", "2 of 2", "0"], ["200", "1 of 2", "1.5 (0-3)"]]
    assert len(farther.picture(found, "copy").axes[0].lines) == 2


def test_places_of_vectors_are_told_from_places_that_they_share():
    """Three vectors and a delimiter, then three answers; one head of each kind, over six slots."""
    priority, focus = torch.tensor([0.1, 0.9, -0.5, 0, 0, 0, 0]), torch.eye(6).unsqueeze(1)
    blurred = torch.full((1, 1, 6), 1 / 6)
    in_order = torch.cat([blurred.expand(4, 1, 6), focus[[1, 0, 2]]])
    phases = (("input", 0), ("delimiter", 3), ("answer", 4))

    apart = Mock(memory=Mock(w_write=focus[[0, 1, 2, 3, 4, 1, 5]], w_read=in_order), phases=phases)
    assert sorting.places(apart, priority) == (1, [True, False, False])  # the first is written to after it is read

    shared = Mock(memory=Mock(w_write=focus[[0, 1, 1, 3, 4, 4, 4]], w_read=in_order), phases=phases)
    assert sorting.places(shared, priority) == (1 / 3, [None, False, None])


@pytest.mark.parametrize(
    ("slot", "share"),
    [
        (lambda priority: (40 + 60 * priority).round() % 64, 0.99),  # round the ring
        (lambda priority: torch.arange(20.0), 0.0),  # one after the other
        (lambda priority: priority.sign() % 64, 0.0),  # too few places
    ],
)
def test_places_that_follow_from_priorities_are_told_from_others(slot, share):
    traces = []
    for seed in range(64):
        inputs = torch.zeros(37, 10)
        inputs[:20, 8] = 2 * torch.rand(20, generator=torch.Generator().manual_seed(seed)) - 1
        w = torch.nn.functional.one_hot(slot(inputs[:20, 8]).long(), 64).float().unsqueeze(1)
        phases = (("input", 0), ("delimiter", 20), ("answer", 21))
        traces.append(Mock(inputs=inputs, memory=Mock(w_write=w), phases=phases))
    placed = sorting.by_priority(Mock(num_bits=8, num_wanted=16), traces)
    assert placed.share == pytest.approx(share, abs=0.05)
    assert len(placed.priority) == len(placed.slot) == 64 * 16
    assert len(sorting.picture({1: placed, 2: placed}).axes) == 2


def test_a_head_that_goes_on_is_told_from_one_that_does_not_know_where_to():
    task, learner = load(str(ROOT / "models/copy.ckpt"))
    decided = slipping.measure(task, learner.machine, 200)
    assert 0.5 < decided.least < decided.usual < 1
    assert decided.wrong == 0
    torch.nn.init.zeros_(learner.machine.interface.weight)
    torch.nn.init.zeros_(learner.machine.interface.bias)
    lost = slipping.measure(task, learner.machine, 200)
    assert (lost.usual, lost.least) == pytest.approx((1 / 3, 1 / 3))
    assert lost.wrong == 200
    (points,) = slipping.picture({1: decided, 2: lost}, 200).axes[0].lines[1:]
    assert points.get_xydata().tolist() == [[decided.least, 0], [lost.least, 200]]


def test_a_machine_counts_down_as_far_as_it_learned_and_no_further():
    task, learner = load(str(ROOT / "models/repeat_copy.ckpt"))
    said = counting.ends(task, learner.machine, [1, 7, 10, 20], size=4)
    assert {count: said[count] for count in (1, 7, 10)} == {1: 1, 7: 7, 10: 10}
    assert said[20] < 20
    left = counting.counter(task, learner.machine, [3, 7, 20], size=4)
    for count in (3, 7):
        assert left[count] == pytest.approx(range(count, -1, -1), abs=0.5)
    assert len(left[20]) == 21
    assert left[20][0] < 18
    found, lefts = {1: said, 2: {**said, 10: 11.0}}, {seed: {10: [9.0]} for seed in (1, 2)}
    assert counting.rows({1: {10: 10.0}, 2: {10: 11.0}}, lefts) == [["10", "10.5 (10-11)", "1 of 2", "9"]]
    assert len(counting.picture(found, {1: {10: [10.0], 20: [12.0]}}, 10).axes) == 2


@pytest.mark.parametrize(("told", "chosen"), [("3-5", [3, 4, 5]), ("7", [7]), ("7-7", [7])])
def test_seeds_are_told_as_first_and_last_or_as_one(told, chosen):
    assert list(solve.seeds(told)) == chosen


@pytest.mark.parametrize("told", ["", "x", "3-", "5-3", "1,2"])
def test_what_names_no_seeds_says_how_to_write_them(told):
    with pytest.raises(argparse.ArgumentTypeError, match="must be first-last or one seed"):
        solve.seeds(told)


def test_a_record_of_the_papers_settings_has_its_figures_beside_ours_and_says_what_is_missing(tmp_path):
    for cell, seed, costs in (
        ("recall_ntm_lstm_one_hot", 1, (9.0, 0.25)),
        ("recall_ntm_lstm_one_hot", 2, (10.0, 0.75)),
        ("recall_ntm_lstm_learned", 1, (8.0, 0.5)),
        ("ngrams_lstm", 1, (141.0, 137.0)),
        ("sort_lstm", 1, None),
    ):
        folder = tmp_path / cell / str(seed)
        start(folder, *paper.words(cell), f"task={paper.CELLS[cell].task}", seed=seed)
        best = "133" if cell == "ngrams_lstm" else ""
        rows = [f"{at},{cost},{best},1" for at, cost in zip((60_000, 100_000), costs or (), strict=False)]
        (folder / "metrics.csv").write_text(
            "\n".join(["sequences,val/bits,val/optimal_bits,val/error_bits", *rows, ""])
        )
        if costs:
            test = {"bits": costs[1], "error_bits": 0.5} | ({"optimal_bits": 133.0} if best else {})
            results = {"sequences": 100_000, "seconds": 1234.0, "seconds_to_solution": None, "test": {"20": test}}
            (folder / "results.json").write_text(json.dumps(results | {"versions": {}, "commit": "abc"}))
    runs = {cell: found for cell in paper.CELLS if (found := summarize.read_runs(tmp_path / cell))}
    lines = paper.record(runs)
    assert lines[2].strip() == "python benchmarks/paper.py --seeds 1-2"
    assert [line for line in lines if line.startswith("| `")] == [
        "| `recall_ntm_lstm` | one_hot | 2 | 100,000 | 1,234 | 50,000: 9.5 (9-10) / 11; "
        "100,000: 0.5 (0.25-0.75) / 0.5 | 20: 0.5 |",
        "| `recall_ntm_lstm` | learned | 1 | 100,000 | 1,234 | 50,000: 8 / 11; 100,000: 0.5 / 0.5 | 20: 0.5 |",
        "| `ngrams_lstm` |  | 1 | 100,000 | 1,234 | 100,000: 4 / 4 | 20: 4 |",
        "| `sort_lstm` |  | 0 of 1; unfinished: not measured so far |  |  |  |  |",
    ]
    missing = next(line for line in lines if line.startswith("Not run"))
    assert "`copy_lstm`" in missing
    assert not any(f"`{cell}`" in missing for cell in runs)
    assert "`sort_ntm_lstm_one_hot`, `sort_ntm_lstm_learned`" in missing
    panels = {ax.get_title(): ax for ax in paper.picture(runs).axes}
    one, other, learned, theirs, *_ = panels["recall"].lines
    assert [tuple(point) for point in one.get_xydata()] == [(60_000, 9), (100_000, 0.25)]
    assert tuple(theirs.get_xydata()[0]) == (50_000, 11)
    assert one.get_color() == other.get_color() == learned.get_color() == theirs.get_color()
    assert one.get_linestyle() == other.get_linestyle() != learned.get_linestyle()
    assert tuple(panels["ngrams"].lines[2].get_xydata()[0]) == (60_000, 8)  # above the best guess


def test_what_is_kept_of_runs_makes_their_record_and_names_no_folder(tmp_path):
    for seed in (1, 2, 3):
        folder = tmp_path / "copy_lstm" / str(seed)
        start(folder, *paper.words("copy_lstm"), "task=copy", seed=seed)
        rows = ["sequences,train/bits,val/bits,val/error_bits", "50,3,,", "100000,,12.5,4", ""]
        (folder / "metrics.csv").write_text("\n".join(rows))
    test = {"20": {"bits": 12.5, "error_bits": 4.0}}
    results = {"sequences": 100_000, "seconds": 9.0, "seconds_to_solution": None, "test": test, "versions": {}}
    told = {"commit": "abc", "command": f"train.py hydra.sweep.dir={tmp_path}"}
    (tmp_path / "copy_lstm/1/results.json").write_text(json.dumps(results | told))
    outcome = f"failed: not finite. The last good checkpoint: {tmp_path}/copy_lstm/2/checkpoints/last.ckpt"
    (tmp_path / "copy_lstm/2/outcome.txt").write_text(f"{outcome}\n")

    ran, kept = summarize.read_runs(tmp_path / "copy_lstm"), tmp_path / "kept"
    for run in ran:
        paper.keep(run, kept / str(run.seed), jobs=2)
    left = summarize.read_runs(kept)
    assert [run.seed for run in left] == [1, 2]  # the third goes on
    assert left[1].outcome == "failed: not finite. The last good checkpoint: checkpoints/last.ckpt"
    assert paper.figures("copy_lstm", left[:1]) == paper.figures("copy_lstm", ran[:1])
    assert "2 run(s) at a time" in paper.record({"copy_lstm": left})[4]
    assert not any(str(tmp_path) in path.read_text() for path in kept.rglob("*") if path.is_file())

    before = (kept / "1/metrics.csv").read_bytes()
    (ran[0].folder / "metrics.csv").write_text("sequences,val/bits\n1,1\n")
    paper.keep(ran[0], kept / "1", jobs=1)
    assert (kept / "1/metrics.csv").read_bytes() == before


@pytest.mark.parametrize("cell", paper.CELLS)
def test_there_is_an_experiment_for_every_cell_to_record(cell):
    assert (ROOT / "conf/experiment/paper" / f"{paper.CELLS[cell].experiment}.yaml").exists()


@pytest.mark.parametrize("script", ["throughput", "stages", "scaling", "memory", "startup", "overhead", "gpu"])
def test_every_script_runs_and_prints_a_table(script, tmp_path):
    plot = ["--plot", str(tmp_path / "plot.png")] if script == "scaling" else []
    started = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / f"{script}.py"), "--quick", *plot],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert started.returncode == 0, started.stderr
    assert "| --- |" in started.stdout
    assert [path.name for path in tmp_path.iterdir()] == [Path(p).name for p in plot[1:]]
