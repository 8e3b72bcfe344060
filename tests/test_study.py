"""A search keeps its trials, shares them, prunes them and can be killed."""

import json
import os
import re
import subprocess
import sys
from sqlite3 import dbapi2

import optuna
import pytest
from fakes import ROOT, TINY, compose
from hydra.core.global_hydra import GlobalHydra
from optuna.trial import TrialState
from test_sweeps import sweep  # noqa: F401  (a fixture)

import train
from callbacks import results
from conf.check import cli
from hydra_plugins.ntm_lab import study as plugin

STEADY = ("scheduler=constant", "trainer.max_steps=4")
SEARCH = (*(word for word in TINY if word != "callbacks=none"), "search=optuna", *STEADY)
LR = "optimizer.lr=tag(log,interval(1e-4,1e-2))"


def trials(folder, *states: TrialState) -> list[optuna.trial.FrozenTrial]:
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{folder / 'sweep/study.db'}")
    return study.get_trials(states=states or None)


def test_a_search_tries_every_kind_of_range_and_keeps_what_it_found(sweep, tmp_path, capsys):  # noqa: F811
    ranges = (
        LR,
        "controller.hidden_size=range(4,8,2)",
        "memory.num_slots=int(interval(4,6))",
        "loss=cross_entropy,huber",
    )
    assert sweep(*SEARCH, *ranges, "hydra.sweeper.n_trials=3") == 0
    assert "trials in sweep: 3 complete" in capsys.readouterr().out
    for trial in trials(tmp_path):
        used = (tmp_path / f"sweep/{trial.number}/.hydra/overrides.yaml").read_text()
        assert all(f"{key}={value}" in used for key, value in trial.params.items())
        assert 1e-4 <= trial.params["optimizer.lr"] <= 1e-2
        assert trial.params["memory.num_slots"] in (4, 5, 6)
        assert trial.params["controller.hidden_size"] in ("4", "6")
        assert len(trial.intermediate_values) == 2
    assert json.loads((tmp_path / "sweep/0/results.json").read_text()).keys() >= {*results.OBJECTIVES}
    for picture in ("history_cost.png", "importance_cost.png"):
        assert (tmp_path / "sweep" / picture).stat().st_size > 5000


def test_started_again_it_runs_the_lost_trial_again_and_counts_all(sweep, tmp_path, monkeypatch):  # noqa: F811
    run, killed = plugin.Search.tell, []

    def kill(self, study, trial, job):
        if trial.number == 1 and not killed:
            killed.append(study.trials[1].params)
            # What a process leaves that was killed before it could tell: here it is this one, so another is named.
            trial.set_user_attr(plugin.MADE_BY, plugin.this_process() | {"began": 0.0})
            raise SystemExit(137)
        return run(self, study, trial, job)

    monkeypatch.setattr(plugin.Search, "tell", kill)
    assert sweep(*SEARCH, LR, "hydra.sweeper.n_trials=3") == 137
    assert [trial.state for trial in trials(tmp_path)] == [TrialState.COMPLETE, TrialState.RUNNING]
    assert sweep(*SEARCH, LR, "hydra.sweeper.n_trials=3") == 0
    assert [trial.state for trial in trials(tmp_path)] == [TrialState.COMPLETE] * 3
    assert trials(tmp_path)[1].params == killed[0]


def test_two_processes_share_the_trials_of_one_study(tmp_path):
    words = ["-m", *SEARCH, LR, "hydra.sweeper.n_trials=5", "hydra.sweep.dir=sweep"]
    command = [sys.executable, str(ROOT / "train.py"), *words]
    both = [subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert [trial.state for trial in trials(tmp_path)] == [TrialState.COMPLETE] * 5
    started = re.findall(r"#(\d) : ", "".join(told))  # as Hydra's launcher says it
    assert sorted(started) == ["0", "1", "2", "3", "4"]


def test_several_objectives_and_several_trials_at_a_time(sweep, tmp_path):  # noqa: F811
    objectives = ("+hydra.sweeper.objectives.seconds=minimize", "hydra/sweeper/sampler=nsgaii")
    assert sweep(*SEARCH, LR, *objectives, "hydra.sweeper.n_trials=2", "hydra.sweeper.max_batch_size=2") == 0
    assert all(len(trial.values) == 2 and min(trial.values) > 0 for trial in trials(tmp_path))
    assert (tmp_path / "sweep/pareto.png").is_file()


def test_the_first_trial_is_not_charged_for_what_came_before_it(sweep, monkeypatch, tmp_path):  # noqa: F811
    monkeypatch.setattr(results, "began", 0.0)  # a process of long ago
    assert sweep(*SEARCH, LR, "hydra.sweeper.n_trials=1") == 0
    assert json.loads((tmp_path / "sweep/0/results.json").read_text())["seconds"] < 1e6


def test_a_trial_that_does_worse_than_others_did_is_pruned(tmp_path):
    study = optuna.create_study(storage=f"sqlite:///{tmp_path / 'study.db'}", study_name="search")
    for _ in range(2):
        good = study.ask()
        good.report(0.0, 4)
        study.tell(good, 0.0)
    number = study.ask().number
    chosen = ("callbacks=[none,pruning]", "callbacks.pruning.pruner.n_startup_trials=2")
    words = [word for word in TINY if word != "callbacks=none"]
    task, learner, trainer = train.build(compose(*words, *chosen, output_dir=tmp_path / str(number)))
    with pytest.raises(optuna.TrialPruned, match="after 4 sequences"):
        trainer.fit(learner, datamodule=task)
    assert list(study.trials[number].intermediate_values) == [4]


def test_a_trial_that_has_ended_goes_on_without_its_study(sweep, monkeypatch, tmp_path):  # noqa: F811
    assert sweep(*SEARCH, LR, "hydra.sweeper.n_trials=1") == 0
    monkeypatch.setattr(sys, "argv", [train.__file__, "resume=sweep/0", "trainer.max_steps=6"])
    GlobalHydra.instance().clear()
    cli(train.main)
    assert json.loads((tmp_path / "sweep/0/results.json").read_text())["sequences"] == 12
    assert list(trials(tmp_path)[0].intermediate_values) == [4, 8]
    assert sweep(*SEARCH, LR, "hydra.sweeper.n_trials=1") == 0


@pytest.mark.parametrize("words", [("search=optuna", LR), ("callbacks=[default,pruning]",)])
def test_without_optuna_a_search_says_what_to_install(words, sweep, monkeypatch, capsys):  # noqa: F811
    for module in [name for name in sys.modules if name.split(".")[0] == "optuna"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "optuna", None)  # as if it were not there
    assert sweep(*words) == 2
    assert "needs Optuna. Run: pip install -e '.[sweep]'." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ((LR, "hydra.sweeper.n_trials=0"), "hydra.sweeper.n_trials=0 should be greater than 0"),
        ((LR, "hydra.sweeper.objectives.cost=least"), "hydra.sweeper.objectives.cost=least should be 'minimize'"),
        ((LR, "~hydra.sweeper.objectives.cost"), "hydra.sweeper.objectives={} Dictionary should have at least 1"),
        ((LR, "hydra.sweeper.n_trials=abc"), "hydra.sweeper.n_trials=abc should be a valid integer"),
        ((LR, "hydra.sweeper.max_batch_size=abc"), "hydra.sweeper.max_batch_size=abc should be a valid integer"),
        ((LR, "hydra.sweeper.seed=-1"), "hydra.sweeper.seed=-1 should be greater than or equal to 0"),
        ((LR, "hydra.sweeper.seed=null"), "hydra.sweeper.seed=None should be a valid integer"),
        (("seed=1",), "There is nothing to search"),
        ((LR, "seed=1,2"), "seed=1,2 would be searched, as if one seed were better than another"),
        ((LR, "task.batch_size=0"), "task.batch_size=0 should be greater than 0"),
        (("optimizer.lr=interval(-1,1)",), "optimizer.lr=-1"),
        (("memory.num_slots=range(10,5)",), "memory.num_slots=range(10,5) has no value in it"),
        (("optimizer.lr=interval(1e-2,1e-4)",), "optimizer.lr=interval(1e-2,1e-4) should go from a lower value"),
        (("optimizer.lr=tag(log,interval(0,1))",), "optimizer.lr=tag(log,interval(0,1)) should go from a lower value"),
        (
            (LR, "memory.num_slots=interval(10,20)"),
            "memory.num_slots=16.18034 should be a valid integer, got a number with a fractional part. Give another "
            "value; conf/memory/matrix.yaml says what it means. For whole numbers alone write int(interval(...)).",
        ),
        (("memory.shift_range=3,5,4",), "memory.shift_range=4"),
        ((LR, "callbacks.results=null"), "callbacks has no results for a search to go by. Add them"),
        (
            (LR, "+hydra.sweeper.objectives.secondz=minimize"),
            "hydra.sweeper.objectives.secondz is not a setting. Did you mean hydra.sweeper.objectives.seconds? "
            "There are: cost, seconds, seconds_to_solution, seconds_to_first_step, sequences_per_second, sequences.",
        ),
        ((LR, "hydra.run.dir=best"), "hydra.run.dir=best is of one run. Say where a sweep goes by hydra.sweep.dir"),
    ],
)
def test_a_mistake_in_a_search_is_one_line(overrides, words, sweep, tmp_path, capsys):  # noqa: F811
    assert sweep(*SEARCH, *overrides) == 2
    assert f"error: {words}" in capsys.readouterr().err
    assert not (tmp_path / "sweep").exists()


def test_a_folder_of_another_search_is_refused(sweep, tmp_path, capsys):  # noqa: F811
    optuna.create_study(storage=f"sqlite:///{tmp_path / 'study.db'}", study_name="search")
    (tmp_path / "sweep").mkdir()
    (tmp_path / "study.db").rename(tmp_path / "sweep/study.db")
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{tmp_path / 'sweep/study.db'}")
    study.set_user_attr(plugin.SEARCH, {"overrides": ["seed=1,2"], "objectives": {"cost": "minimize"}})
    assert sweep(*SEARCH, LR) == 2
    assert "holds another search: seed=1,2" in capsys.readouterr().err


def test_a_full_disk_ends_a_search_in_one_line(sweep, monkeypatch, capsys):  # noqa: F811
    connect = dbapi2.connect

    def full(*args, **settings):
        connection = connect(*args, **settings)
        connection.execute("PRAGMA max_page_count=5")
        return connection

    monkeypatch.setattr(dbapi2, "connect", full)
    assert sweep(*SEARCH, LR) == 1
    assert re.fullmatch(r"error: \[Errno 28\] database or disk is full: '.*/study.db'\n", capsys.readouterr().err)


def test_a_study_that_cannot_be_opened_is_one_line(sweep, tmp_path, capsys):  # noqa: F811
    (tmp_path / "sweep/study.db").mkdir(parents=True)
    assert sweep(*SEARCH, LR) == 1
    assert "unable to open database file: " in capsys.readouterr().err


def test_a_trial_of_this_process_is_not_lost_and_that_of_a_dead_one_is():
    mine = plugin.this_process()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()

    def trial(**who):
        return optuna.trial.create_trial(value=0.0, user_attrs={plugin.MADE_BY: mine | who})

    assert not plugin.is_lost(trial())
    assert plugin.is_lost(trial(pid=ended.pid))
    assert plugin.is_lost(trial(began=0.0))  # another process has been given its number
    assert not plugin.is_lost(trial(host="another", pid=ended.pid))


@pytest.mark.parametrize("values", [(1.25, 1.5), (72.0, 72.0), (2.1, 25.0), (0.0, 80.0), (0.0, 0.0)])
def test_the_history_of_a_search_has_numbers_on_its_axis(values, monkeypatch, tmp_path):
    study, numbers = optuna.create_study(), []
    study.set_user_attr(plugin.SEARCH, {"objectives": {"cost": "minimize"}})
    for value in values:
        trial = study.ask()
        trial.suggest_float("optimizer.lr", 0, 1)
        study.tell(trial, value)

    def look(axes, path):
        axes.figure.canvas.draw()
        low, high = axes.get_ylim()
        ticks = [*axes.yaxis.get_major_ticks(), *axes.yaxis.get_minor_ticks()]
        numbers.append([t.label1.get_text() for t in ticks if low <= t.get_loc() <= high and t.label1.get_text()])

    monkeypatch.setattr(plugin, "save", look)
    plugin.report(study, tmp_path)
    assert len(numbers[0]) > 1


@pytest.mark.parametrize("name", ["copy", "recall"])
def test_a_ready_search_composes_as_a_sweep_without_m(name, tmp_path):
    shown = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), f"search={name}", "--cfg", "hydra"],
        capture_output=True, text=True, cwd=tmp_path, env=os.environ,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    assert "mode: MULTIRUN" in shown.stdout
    assert "hydra_plugins.ntm_lab.study.Search" in shown.stdout
