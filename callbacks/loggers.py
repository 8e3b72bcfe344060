"""What loggers are given beside numbers, and a logger for Weights & Biases that never stops a training."""

import logging
import os
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import wandb
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.logger import DummyLogger, rank_zero_experiment
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from PIL import Image
from pydantic import ValidationError
from wandb.sdk.mailbox import HandleAbandonedError, MailboxClosedError

log = logging.getLogger(__name__)

# What W&B raises where its server, its service process or the disk is not there.
LOST = (OSError, wandb.Error, MailboxClosedError, HandleAbandonedError)


def show(logger: Logger, key: str, path: Path, caption: str, sequences: int, step: int) -> None:
    """Give a picture to a logger that takes images; it is drawn once, for the file, whoever shows it."""
    if isinstance(logger, Wandb):
        # W&B would take a GIF as an image too, but leaves its file open.
        moves = path.suffix == ".gif"
        media = wandb.Video(str(path), caption, format="gif") if moves else wandb.Image(str(path), caption=caption)
        logger.log_metrics({key: media, "sequences": sequences}, step)
    elif isinstance(logger, TensorBoardLogger):
        with Image.open(path) as image:
            image.seek(getattr(image, "n_frames", 1) - 1)  # it shows stills: of an animation, the end
            pixels = np.asarray(image.convert("RGB"))
        logger.experiment.add_image(key, pixels, sequences, dataformats="HWC")


def takes_tables(logger: Logger) -> bool:
    return isinstance(logger, Wandb)


def tabulate(logger: Logger, key: str, rows: Sequence[Mapping[str, Any]], sequences: int, step: int) -> None:
    """Give a table to a logger that takes tables: a cell is a number, a word or a picture."""
    if isinstance(logger, Wandb) and rows:
        cells = [[wandb.Image(x) if isinstance(x, Image.Image) else x for x in row.values()] for row in rows]
        logger.log_metrics({key: wandb.Table(columns=list(rows[0]), data=cells), "sequences": sequences}, step)


def finish(trainer: L.Trainer, exit_code: int = 0) -> None:
    """End the runs that loggers hold open; the next job of a sweep begins its own."""
    for logger in trainer.loggers:
        if isinstance(logger, Wandb):
            logger.finish(exit_code)


class Wandb(WandbLogger):
    """Lightning's logger for Weights & Biases, for runs that matter.

    - Every curve is over training `sequences`, the paper's axis.
    - A run that goes on in its own folder goes on under its own id.
    - The last and the best checkpoint become versions of one artifact, `last` and `best`, however the run ended
      (`log_model=False` leaves them out; with `"all"` every one that is saved becomes a version).
    - What an offline run needs lies in its folder, so that it can be sent from wherever that is moved to: in the run's
      `wandb/`, by `wandb sync offline-run-*`.
    - Where the server is out of reach as a run begins, it goes on offline. Where W&B's own process dies, the run goes
      on without it. Each is one warning, and `metrics.csv` has every row.

    `settings` are W&B's own; every other keyword is Lightning's or `wandb.init`'s.
    """

    def __init__(self, *, settings: Mapping[str, Any] | None = None, **wandb_init: Any):
        settings = dict(settings or {})
        if "api_key" in settings:
            raise ValueError(
                "logger.wandb.settings.api_key would be written into the run's folder. Leave it out: `wandb login` or "
                "the environment's WANDB_API_KEY are the places for it."
            )
        # A run of its own, also where another one was left open, for W&B would go on in that; and of its seven lines on
        # the terminal none: one of ours says where an online run is seen.
        super().__init__(settings={"reinit": "create_new", "silent": True, **settings}, **wandb_init)
        self.lost = False
        self._wandb_init.pop("anonymous", None)  # W&B warns of it, and Lightning always passes it
        check_init(**self._wandb_init)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The run, which begins with the first question for it; nothing that listens once it is lost."""
        if self._experiment is None:
            self.begin()
        return self._experiment

    def begin(self) -> None:
        folder = Path(self._wandb_init["dir"])
        if self._wandb_init["id"] is None and "WANDB_RUN_ID" not in os.environ:
            self._wandb_init["id"] = run_id(folder)
        try:
            run: Any = super().experiment
        except wandb.Error as error:
            if self._wandb_init["mode"] == "offline":
                raise
            log.warning(f"W&B is out of reach, so this run goes on offline: {line(error)}")
            self._wandb_init["mode"] = "offline"
            run = super().experiment
        if self._wandb_init["mode"] == "online":
            log.info(f"W&B shows this run at {run.url}")
        run.define_metric("*", step_metric="sequences")
        if run.offline:
            run.log_artifact = portable(run.log_artifact, Path(run.dir).parent)

    def tell(self, what: Callable[[Any], object]) -> None:
        """Tell the run something; where W&B cannot hear it, the training goes on without."""
        if self.lost:
            return
        try:
            what(self.experiment)
        except LOST as error:
            log.warning(f"W&B is lost, and this run goes on without it: {line(error)}. metrics.csv has every row.")
            run: Any = self._experiment  # None where it could not begin
            self.lost = True
            self._experiment = DummyLogger().experiment  # type: ignore[assignment]
            with suppress(Exception):
                run.finish(exit_code=1)
            with suppress(Exception):
                wandb.teardown(exit_code=1)  # or it would be tried again as Python ends

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        self.tell(lambda run: WandbLogger.log_metrics(self, metrics, step))

    def log_hyperparams(self, params: Any) -> None:
        self.tell(lambda run: WandbLogger.log_hyperparams(self, params))

    def keep_best(self, figures: Mapping[str, str]) -> None:
        """Have the summary show the `min` or the `max` of these figures beside the last one, as `val/bits.min`."""

        def define(run: Any) -> None:
            for name, best in figures.items():
                run.define_metric(name, step_metric="sequences", summary=f"{best},last")

        self.tell(define)

    def summarize(self, figures: Mapping[str, Any]) -> None:
        """Put what is known at the end into the summary."""
        self.tell(lambda run: run.summary.update(figures))

    def finalize(self, status: str) -> None:
        super().finalize("success")  # a run that was interrupted has checkpoints, too

    @rank_zero_only
    def _scan_and_log_checkpoints(self, checkpoint_callback: ModelCheckpoint) -> None:
        """Log the callback's file under its own name; Lightning would call the last checkpoint the best one, too."""
        path = Path(checkpoint_callback.best_model_path)
        changed = path.stat().st_mtime if path.is_file() else None
        if changed is not None and self._logged_model_time.get(str(path)) != changed:
            self._logged_model_time[str(path)] = changed
            score = checkpoint_callback.best_model_score
            metadata = {} if score is None else {str(checkpoint_callback.monitor): float(score)}
            self.tell(lambda run: log_checkpoint(run, path, metadata))

    def finish(self, exit_code: int = 0) -> None:
        """End the run; a later question would begin another one. How an offline one is sent is a line in the log."""
        if self._experiment is not None:
            self.tell(partial(end, exit_code=exit_code))
            self._experiment = None


def check_init(*, settings: Mapping[str, Any], **given: Any) -> None:
    """What `wandb.init` would refuse of its arguments, refused before a run begins.

    Raises:
        TypeError: it has no argument of that name.
        ValueError: an argument, or one of the settings, breaks W&B's rule.
    """
    signature(wandb.init).bind(**given)
    fields = wandb.Settings.model_fields
    given = {f"run_{name}" if f"run_{name}" in fields else name: value for name, value in given.items()}
    given = {name: value for name, value in given.items() if name in fields and value is not None}
    try:
        wandb.Settings(**{**settings, **given})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(map(str, first["loc"]))
        where = f"settings.{name}" if name.split(".")[0] in settings else name.removeprefix("run_")
        raise ValueError(
            f"logger.wandb.{where}={first['input']} is refused by W&B: {first['msg']}. Give another value, or leave it "
            "out."
        ) from None


def end(run: Any, exit_code: int) -> None:
    run.finish(exit_code=exit_code)
    if run.offline:
        folder = Path(run.dir).parent
        kind = folder.name.split("-")[0]  # a resumed run has a folder for every start
        log.info(f"to send this run to W&B: cd {shlex.quote(str(folder.parent))} && wandb sync {kind}-run-*")


def log_checkpoint(run: Any, path: Path, metadata: Mapping[str, float]) -> None:
    artifact = wandb.Artifact(f"checkpoint-{run.id}", type="model", metadata=dict(metadata))
    artifact.add_file(str(path))
    run.log_artifact(artifact, aliases=[path.stem])


def run_id(folder: Path) -> str | None:
    """The id of the latest run that W&B has in a folder."""
    runs = [path.name.removeprefix("offline-") for path in folder.glob("wandb/*run-*-*")]
    return max(runs).split("-", 2)[2] if runs else None  # run-20261122_120000-ID


def portable(log_artifact: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    """Keep the files of artifacts in an offline run's own folder, under names that survive a move.

    W&B stages them in the user's home, by absolute paths. Relative ones are relative to where `wandb sync` runs.
    """

    def logged(artifact: wandb.Artifact, *arguments: Any, **options: Any) -> Any:
        for entry in artifact.manifest.entries.values():
            if entry.local_path is not None:
                kept = folder / "artifacts" / f"{Path(entry.local_path).name}-{Path(entry.path).name}"
                kept.parent.mkdir(exist_ok=True)
                Path(entry.local_path).chmod(0o644)  # read-only, it could not be moved between drives of Windows
                shutil.move(entry.local_path, kept)
                entry.local_path = str(kept.relative_to(folder.parent))
        return log_artifact(artifact, *arguments, **options)

    return logged


def line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
