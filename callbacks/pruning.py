"""Ends a trial of a search early."""

import errno
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L
from lightning.pytorch.trainer.states import TrainerFn
from pydantic import validate_call

if TYPE_CHECKING:
    import optuna
    from sqlalchemy.engine import ExceptionContext

STUDY, DATABASE = "search", "study.db"  # its name, and its file in the folder of the sweep
DISK = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_CANTOPEN: errno.EROFS,
}


class Pruning(L.Callback):
    """Reports `monitor` to the study of this trial after each validation, and ends the trial where the study says so.

    A trial's folder is called by its number and lies beside the study's file; without such a file, with a study of
    several objectives, or once the study knows how the trial ended, this does nothing. The processes of one trial end
    together. Logs no key.
    """

    @validate_call
    def __init__(self, *, folder: Path, monitor: str, pruner: Any):
        self.folder = folder
        self.monitor = monitor
        self.pruner = pruner
        self.trial: optuna.Trial | None = None

    def on_fit_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        if trainer.is_global_zero:
            self.trial = trial_of(self.folder, self.pruner)

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return
        prune = False
        if self.trial is not None:
            step = pl_module.sequences
            if step not in self.trial.study.trials[self.trial.number].intermediate_values:  # by a run that was killed
                self.trial.report(float(trainer.callback_metrics[self.monitor]), step)
            prune = self.trial.should_prune()
        if trainer.strategy.broadcast(prune):
            from optuna import TrialPruned

            raise TrialPruned(f"after {pl_module.sequences:,} sequences")


def trial_of(folder: Path, pruner: Any) -> "optuna.Trial | None":
    """The trial that runs in a folder, or None where that is not of a study with one objective, or has ended."""
    database = folder.resolve().parent / DATABASE
    if not database.exists() or not folder.name.isdecimal():
        return None
    import optuna

    study = optuna.load_study(study_name=STUDY, storage=storage(database), pruner=pruner)
    trial = study.trials[int(folder.name)]
    if len(study.directions) > 1 or trial.state.is_finished():
        return None
    return optuna.Trial(study, trial._trial_id)


def storage(database: Path) -> "optuna.storages.RDBStorage":
    """Where a study is kept. Who writes waits for the others, longer than the five seconds that are usual.

    Raises:
        OSError: the disk is full or cannot be written; also later, wherever the study is used.
    """
    from optuna.storages import RDBStorage
    from sqlalchemy import Engine, event

    event.listen(Engine, "handle_error", blame_the_disk)
    return RDBStorage(f"sqlite:///{database}", engine_kwargs={"connect_args": {"timeout": 60}})


def blame_the_disk(context: "ExceptionContext") -> None:
    """Raise an OSError of a database that is full or cannot be written; all else is left to SQLAlchemy."""
    code = getattr(context.original_exception, "sqlite_errorcode", 0) & 0xFF  # what is above says more than we need
    if code in DISK and context.engine is not None:
        raise OSError(DISK[code], str(context.original_exception), context.engine.url.database)
