"""A search: Optuna proposes, Hydra's launcher runs."""

import json
import logging
import os
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, Transformer
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from hydra.utils import instantiate
from omegaconf import DictConfig

from conf.check import OUTCOME, ConfigError, is_pruned, not_a_setting
from hydra_plugins.ntm_lab.grid import check_job

if TYPE_CHECKING:
    import optuna

log = logging.getLogger(__name__)

# optuna, psutil and the callbacks are imported inside functions: Hydra reads every plugin at every start.

MADE_BY, SEARCH = "made by", "search"  # what a trial and a study remember beside Optuna's own


class Search(Sweeper):
    """Runs `n_trials` trials of one study, which lives in the sweep's folder and outlives this process.

    A trial's folder is called by its number. Started again on the same folder, it first runs the trials whose process
    has died, in their folders, where they go on from their checkpoints; then new ones until `n_trials` have ended.
    Several processes may work on one folder at the same time; they share the trials. A trial that failed is not
    counted by the next start.
    """

    def __init__(
        self,
        *,
        n_trials: int,
        max_batch_size: int,
        seed: int,
        objectives: DictConfig,
        sampler: DictConfig,
        params: DictConfig,
    ):
        self.n_trials = n_trials
        self.max_batch_size = max_batch_size
        self.seed = seed
        self.objectives = {str(name): str(direction) for name, direction in objectives.items()}
        self.sampler = sampler
        self.params = {str(key): str(value) for key, value in params.items()}

    config: DictConfig

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config = config
        self.folder = Path(config.hydra.sweep.dir)
        self.config_loader = hydra_context.config_loader
        self.jobs: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        words = [f"{key}={value}" for key, value in self.params.items()] + arguments
        parsed = OverridesParser.create(config_loader=self.config_loader).parse_overrides(words)
        overrides = list({override.get_key_element(): override for override in parsed}.values())  # the last one counts
        self.check(overrides)
        self.new_sampler = instantiate(self.sampler)
        study, failed = self.study(overrides), 0
        while batch := self.next_trials(study, self.n_trials - failed):
            failed += self.run(study, batch, overrides)
        report(study, self.folder)
        if failed:
            raise SystemExit(1)

    def check(self, overrides: list[Override]) -> None:
        """Find before any trial what would be wrong with all of them, at the ends of the ranges or within them.

        Raises:
            ConfigError: optuna is not there, or a setting is wrong.
        """
        if find_spec("optuna") is None:
            raise ConfigError("search=optuna needs Optuna. Run: pip install -e '.[sweep]'.")
        if not any(override.is_sweep_override() for override in overrides):
            raise ConfigError("There is nothing to search. Give a key a range: optimizer.lr=interval(1e-5,1e-3).")
        if seeds := [o.input_line for o in overrides if o.get_key_element() == "seed" and o.is_sweep_override()]:
            raise ConfigError(
                f"{seeds[0]} would be searched, as if one seed were better than another. Choose one; run the "
                "best that was found over many, with -m."
            )
        for override in overrides:
            if override.is_range_sweep() and not [*override.sweep_iterator()]:
                raise ConfigError(f"{override.input_line} has no value in it. Give other ends.")
            if isinstance(sweep := override.value(), IntervalSweep):
                low, high = ends(sweep)
                if low > high or ("log" in sweep.tags and low <= 0):
                    raise ConfigError(
                        f"{override.input_line} should go from a lower value to a higher one, on a logarithmic scale "
                        "both above 0. Give other values."
                    )
        for end in (0, -1):
            job = check_job(self.config_loader, self.config, [at_end(override, end) for override in overrides], 0)
        try:
            check_job(self.config_loader, self.config, [inside(override) for override in overrides], 0)
        except ConfigError as error:
            raise ConfigError(f"{error} For whole numbers alone write int(interval(...)).") from error
        if not job.callbacks.get("results"):
            raise ConfigError("callbacks has no results for a search to go by. Add them: callbacks=[...,results].")
        from callbacks.results import OBJECTIVES

        for name in sorted(self.objectives.keys() - OBJECTIVES):
            raise ConfigError(not_a_setting(f"hydra.sweeper.objectives.{name}", [*OBJECTIVES]))

    def study(self, overrides: list[Override]) -> "optuna.Study":
        """The study of this folder, new or old.

        Raises:
            ConfigError: the folder holds another search.
        """
        import optuna

        from callbacks.pruning import DATABASE, STUDY, storage

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.alone():
            study = optuna.create_study(
                storage=storage((self.folder / DATABASE).resolve()),
                study_name=STUDY,
                directions=[*self.objectives.values()],  # type: ignore[list-item]
                load_if_exists=True,
            )
        this = {"overrides": sorted(str(o.input_line) for o in overrides), "objectives": self.objectives}
        before = study.user_attrs.get(SEARCH, this)
        if before != this:
            raise ConfigError(
                f"hydra.sweep.dir={self.folder} holds another search: {' '.join(before['overrides'])} for "
                f"{before['objectives']}, this one is {' '.join(this['overrides'])} for {this['objectives']}. "
                "Repeat its settings to go on with it, or choose another folder."
            )
        study.set_user_attr(SEARCH, this)
        return study

    def next_trials(self, study: "optuna.Study", n_trials: int) -> "list[optuna.Trial]":
        """Up to `max_batch_size` trials to run now: those that another process left behind, or new ones."""
        from optuna import Trial
        from optuna.trial import TrialState

        with self.alone():
            trials = study.get_trials(deepcopy=False)
            lost = [trial for trial in trials if trial.state == TrialState.RUNNING and is_lost(trial)]
            if lost:
                batch = [Trial(study, trial._trial_id) for trial in lost[: self.max_batch_size]]
            else:
                counted = sum(trial.state != TrialState.FAIL for trial in trials)
                batch = [study.ask() for _ in range(min(self.max_batch_size, n_trials - counted))]
            for trial in batch:
                trial.set_user_attr(MADE_BY, this_process())
        return batch

    def alone(self) -> AbstractContextManager[Any]:
        """Keep the other processes of this study out, which would make its tables, or take the same trials."""
        from filelock import FileLock

        return FileLock(self.folder / "study.lock")

    def run(self, study: "optuna.Study", batch: "list[optuna.Trial]", overrides: list[Override]) -> int:
        """Run trials and tell the study what came of them; how many failed."""
        from callbacks.results import start_clock

        jobs = []
        for trial in batch:
            proposed = self.proposed(study, trial)
            words = [word(proposed, override) for override in overrides]
            jobs.append([*words, f"hydra.sweep.subdir={trial.number}"])
        start_clock()  # or the first trial alone would pay for the imports and checks
        returns = self.jobs.launch(jobs, initial_job_idx=batch[0].number)
        return sum(not self.tell(study, trial, job) for trial, job in zip(batch, returns, strict=True))

    def proposed(self, study: "optuna.Study", trial: "optuna.Trial") -> "optuna.Trial":
        """The trial under a sampler of its own, so that its numbers follow from the seed, whoever made those before."""
        import numpy as np
        from optuna import Trial

        (seed,) = np.random.SeedSequence((self.seed, trial.number)).generate_state(1)
        study.sampler = self.new_sampler(seed=int(seed))
        return Trial(study, trial._trial_id)

    def tell(self, study: "optuna.Study", trial: "optuna.Trial", job: JobReturn) -> bool:
        """Tell the study what came of a trial; whether it ended as it should."""
        from optuna.trial import TrialState

        if job.status == JobStatus.FAILED:
            pruned = is_pruned(job._return_value)
            study.tell(trial.number, state=TrialState.PRUNED if pruned else TrialState.FAIL)
            return pruned
        folder = self.folder / str(trial.number)
        results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        values = [results.get(name) for name in self.objectives]
        if missing := [name for name, value in zip(self.objectives, values, strict=True) if value is None]:
            (folder / OUTCOME).write_text(f"failed: its results.json has no {missing[0]}\n", encoding="utf-8")
            study.tell(trial.number, state=TrialState.FAIL)
            return False
        study.tell(trial.number, values)
        return True


def word(trial: "optuna.Trial", override: Override) -> str:
    """An override of one trial, with a value proposed where it is to be searched."""
    key, sweep = override.get_key_element(), override.value()
    if not override.is_sweep_override():
        return str(override.input_line)
    if isinstance(sweep, IntervalSweep):
        low, high = ends(sweep)
        whole = isinstance(low, int) and isinstance(high, int)
        suggest: Callable[..., float] = trial.suggest_int if whole else trial.suggest_float
        return f"{key}={suggest(key, low, high, log='log' in sweep.tags)}"
    values = list(override.sweep_iterator(transformer=Transformer.encode))
    return f"{key}={trial.suggest_categorical(key, [str(value) for value in values])}"


def at_end(override: Override, end: int) -> str:
    """An override with the first (0) or the last (-1) of its values, where it is to be searched."""
    sweep = override.value()
    if not override.is_sweep_override():
        return str(override.input_line)
    if isinstance(sweep, IntervalSweep):
        values: list[Any] = [*ends(sweep)]
    else:
        values = list(override.sweep_iterator(transformer=Transformer.encode))
    return f"{override.get_key_element()}={values[end]}"


def inside(override: Override) -> str:
    """An override with a fraction from within its interval, else with the first of its values."""
    if not isinstance(sweep := override.value(), IntervalSweep) or isinstance(sweep.start, int):
        return at_end(override, 0)
    low, high = ends(sweep)
    return f"{override.get_key_element()}={low + 0.618034 * (high - low)}"  # whole in no interval that one writes


def ends(interval: IntervalSweep) -> tuple[float, float]:
    assert interval.start is not None
    assert interval.end is not None
    return interval.start, interval.end


def this_process() -> dict[str, Any]:
    """Who runs a trial, so that others can tell whether it still lives."""
    import psutil

    return {"host": socket.gethostname(), "pid": os.getpid(), "began": psutil.Process().create_time()}


def is_lost(trial: "optuna.trial.FrozenTrial") -> bool:
    """Whether the process that ran a trial has died; of another machine's nobody can tell, so it is left alone."""
    import psutil

    who = trial.user_attrs.get(MADE_BY, {})
    if who.get("host") != socket.gethostname():
        return False
    return not psutil.pid_exists(who["pid"]) or psutil.Process(who["pid"]).create_time() != who["began"]


def report(study: "optuna.Study", folder: Path) -> None:
    """Say how the trials ended and which are best; draw how the search went and what mattered."""
    import warnings

    import matplotlib
    from optuna.importance import PedAnovaImportanceEvaluator
    from optuna.trial import TrialState

    matplotlib.use("agg")
    for trial in study.get_trials(states=[TrialState.FAIL]):
        log.info(f"trial {trial.number} failed; {folder / str(trial.number)} says why")
    counts = [(len(study.get_trials(states=[state])), state.name.lower()) for state in TrialState]
    log.info(f"trials in {folder}: {', '.join(f'{count} {name}' for count, name in counts if count)}")
    completed = study.get_trials(states=[TrialState.COMPLETE])
    names = list(study.user_attrs[SEARCH]["objectives"])
    for trial in study.best_trials if completed else []:
        values = ", ".join(f"{name} {value:.4g}" for name, value in zip(names, trial.values, strict=True))
        chosen = " ".join(f"{key}={shown(value)}" for key, value in trial.params.items())
        log.info(f"best: trial {trial.number}, {values}: {chosen}")
    if len(completed) < 2:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # these pictures are marked as experimental, and as looking for low values
        from optuna.visualization.matplotlib import plot_optimization_history, plot_param_importances, plot_pareto_front

        for i, (name, direction) in enumerate(study.user_attrs[SEARCH]["objectives"].items()):
            sign = 1 if direction == "minimize" else -1

            def value(trial: Any, i: int = i) -> float:
                return trial.values[i]

            def cost(trial: Any, i: int = i, sign: int = sign) -> float:
                return sign * trial.values[i]

            history = plot_optimization_history(study, target=value, target_name=name)
            drawn = [value(trial) for trial in completed]
            if max(drawn) > 10 * min(drawn):  # or the first, worst trial would hide all others
                history.set_yscale("symlog", linthresh=1e-3, subs=[2, 5])
                history.yaxis.set_major_formatter("{x:g}")
                history.yaxis.set_minor_formatter("{x:g}")
            save(history, folder / f"history_{name}.png")
            low = plot_param_importances(
                study,
                evaluator=PedAnovaImportanceEvaluator(),
                target=cost,
                target_name=name,
            )
            save(low, folder / f"importance_{name}.png")
        if len(names) in (2, 3):
            save(plot_pareto_front(study, target_names=names), folder / "pareto.png")


def shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def save(axes: Any, path: Path) -> None:
    from matplotlib import pyplot

    axes.figure.savefig(path, dpi=120, bbox_inches="tight")
    pyplot.close(axes.figure)
