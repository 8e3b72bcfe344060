"""Every combination of what `python train.py -m` was given."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict

from conf.check import MISTAKES, OUTCOME, ConfigError, check_settings, outcome
from conf.resume import all_words, chosen, has_finished


class Grid(BasicSweeper):
    """Hydra's sweep, which can be started again on the same folder, and which ends with a summary.

    A job that failed leaves the others alone; the exit code tells. What each job does when it is started again is the
    job's own affair (see `run_job`), so that it is the same under every launcher; what a folder holds already must
    agree with the job that is about to go there.
    """

    config: DictConfig  # Hydra sets it before anything else is asked
    hydra_context: HydraContext
    launched = False

    def __init__(self, *, params: dict[str, str] | None):
        super().__init__(max_batch_size=None, params=params)  # all at once, or a failure would keep back the others
        self.kept: dict[Path, bytes] = {}  # what finished jobs say of themselves, which Hydra writes anew

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Compose and check every job before the first is launched.

        Raises:
            ConfigError: one is a mistake, or the folder of one holds another, or is another's.
        """
        from callbacks.results import leave_out

        places: dict[Path, int] = {}
        for number, overrides in enumerate(batch):
            began = time.time()
            job = check_job(self.hydra_context.config_loader, self.config, list(overrides), number)
            place = Path(job.hydra.sweep.dir, job.hydra.sweep.subdir)
            if place in places:
                raise ConfigError(
                    f"hydra.sweep.subdir={job.hydra.sweep.subdir} is the folder of jobs {places[place]} and {number}. "
                    "Put ${hydra.job.num} in it."
                )
            places[place] = number
            check_same(place, list(job.hydra.overrides.task))
            if has_finished(place):
                self.kept |= {file: file.read_bytes() for file in (place / ".hydra").glob("*.yaml")}
            if number:  # the first job may run in this process, and is not to wait for the others
                leave_out(time.time() - began)
        self.launched = True  # now

    def sweep(self, arguments: list[str]) -> Any:
        from summarize import summarize

        folder = Path(self.config.hydra.sweep.dir)
        was_there, written = folder.exists(), folder / "multirun.yaml"
        before = written.read_bytes() if written.exists() else None
        try:
            return super().sweep(arguments)
        except MISTAKES:
            if not self.launched:  # but Hydra has written there what was refused
                if before is None:
                    written.unlink(missing_ok=True)
                else:
                    written.write_bytes(before)
                if not was_there and not any(folder.iterdir()):
                    folder.rmdir()
            raise
        except Exception as error:
            if outcome(error) not in [path.read_text(encoding="utf-8").strip() for path in folder.rglob(OUTCOME)]:
                raise
            raise SystemExit(1) from None  # the job itself has said why
        finally:
            for file, said in self.kept.items():
                file.write_bytes(said)
            if any(folder.rglob(".hydra/overrides.yaml")):
                summarize(folder)


def check_job(loader: ConfigLoader, config: DictConfig, overrides: list[str], number: int) -> DictConfig:
    """A job of a sweep, composed and checked as far as this machine can.

    Raises:
        ConfigError: it is a mistake.
    """
    from train import check

    job = loader.load_sweep_config(config, overrides)
    with open_dict(job):
        job.hydra.job.id = job.hydra.job.num = number
    cfg = OmegaConf.masked_copy(job, [str(key) for key in job if key != "hydra"])
    cfg.output_dir = str(Path(job.hydra.sweep.dir, job.hydra.sweep.subdir))
    if config.hydra.runtime.choices["hydra/launcher"] in ("basic", "joblib"):
        check(cfg)
    else:  # another machine may have what this one lacks
        check_settings(cfg)
    return job


def check_same(folder: Path, overrides: list[str]) -> None:
    """Raise a ConfigError if a folder holds something that a job with other overrides has learned."""
    written = (folder / ".hydra" / "overrides.yaml").exists()
    if not written or not any((folder / name).exists() for name in ("results.json", "checkpoints")):
        return
    before = chosen(folder)
    if before != all_words(folder):  # it was resumed, and what it was resumed with follows upon its own words
        before = before[: len(overrides)]
    if sorted(before) != sorted(overrides):
        raise ConfigError(
            f"hydra.sweep.dir={folder.parent} holds another sweep: its job {folder.name} has {' '.join(before)}, this "
            f"one's has {' '.join(overrides)}. Repeat its overrides to go on with it, or choose another folder."
        )
