"""`resume=FOLDER`: a run's own command once more, in its folder and from its newest good checkpoint."""

import fnmatch
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any, cast

import yaml
from omegaconf import DictConfig, OmegaConf

from conf.check import ConfigError, check_target, entries

log = logging.getLogger(__name__)

# What a resumed run may have otherwise: how far it goes, what it runs on, what it measures at its end, what it shows.
MAY_CHANGE = (
    "engine",
    "threads",
    "compile",
    "logger*",
    "task.test_*",
    "task.probe_length",
    "trainer.accelerator",
    "trainer.enable_*",
    "trainer.log_every_n_steps",
    "trainer.max_steps",
    "trainer.max_time",
    "trainer.profiler*",
    "trainer.val_check_interval",
    "vector",
)
ABOUT = ("resume", "allow", "checkpoint", "output_dir")  # of this start, and not of the run
ONE_RUN = "hydra.mode=RUN"  # whatever a job's experiment says: it may be a whole sweep
# The state of this is in a checkpoint, and no change of it would take effect.
CANNOT_CHANGE = ("optimizer",)
EXCEPT = ("optimizer.lr",)  # the learner sees to this one, and to the scheduler
# What weights mean, and their names and sizes do not tell; and what it was before there was a choice.
MEANING = {"memory.order": "write_then_read", "memory.squash": True}

held: set[Path] = set()  # folders that this process keeps to itself


def expand(words: list[str]) -> list[str]:
    """The words of a command, where `resume=FOLDER` stands for those that made the run in the folder.

    A job that Slurm has requeued in a folder of its own (`hydra.run.dir=...`) resumes by itself.

    Raises:
        ConfigError: there is no run, or it is not one that this program can resume.
    """
    if any(word.startswith("--e") for word in words):  # argparse takes abbreviations
        raise ConfigError("--experimental-rerun would run what a pickle says. Use resume=FOLDER.")
    given = [unquoted(word.partition("=")[2]) for word in words if word.startswith("resume=")]
    if not given and os.environ.get("SLURM_RESTART_COUNT", "0") != "0":
        places = [unquoted(word.partition("=")[2]) for word in words if word.startswith("hydra.run.dir=")]
        given = [place for place in places if Path(place, ".hydra").exists()]
    if not given or given[-1] in ("", "null"):
        return words
    folder = Path(given[-1]).resolve()
    written = folder / ".hydra" / "overrides.yaml"
    if not written.is_file():
        raise ConfigError(f"resume={given[-1]} holds no run. Give the folder that has results, outputs/TASK/DATE.")
    if {"-m", "--multirun"} & set(words):
        raise ConfigError(f"resume={given[-1]} is one run. Leave out -m; a sweep goes on when its command is repeated.")
    own = chosen(folder)
    for word in own:
        # A stranger's folder may say what to learn, and not what to run.
        if word.startswith("-") or word.lstrip("+~").startswith("hydra"):
            raise ConfigError(f"{written} has {word}, which is not a setting of a run. Take it out.")
    # Options stand before all settings, which argparse takes in one piece; a word without = is what an option is told.
    options = [word for word in words if word.startswith("-") or not ("=" in word or word.startswith("~"))]
    words = [word for word in words if word not in options]
    if words[: len(own)] == own and f"hydra.run.dir={quoted(folder)}" in words:
        return [*options, *words]  # one of several processes, which Lightning has started by these words
    for word in words:
        if word.startswith("hydra.run.dir=") and Path(unquoted(word.partition("=")[2])).resolve() != folder:
            raise ConfigError(
                f"{word} is not where resume={given[-1]} goes on, which is its own folder. Leave it out; "
                "checkpoint=FILE goes on in a new one."
            )
    for word in words:
        if word.startswith("checkpoint="):
            raise ConfigError(
                f"{word} goes on in a new folder, resume={given[-1]} from the newest checkpoint there. Leave one out."
            )
    rest = [word for word in words if not word.startswith(("resume=", "hydra.run.dir="))]
    newest = newest_checkpoint(folder)
    if newest is None and (folder / "results.json").exists():
        raise ConfigError(f"resume={given[-1]} has ended, and left no checkpoint to go on from. Start a new run.")
    resumed = [f"resume={quoted(folder)}", f"hydra.run.dir={quoted(folder)}", ONE_RUN]
    resumed += [f"checkpoint={quoted(newest)}"] if newest else []
    return [*options, *own, *rest, *resumed]  # in this order: `chosen` cuts it there again


def quoted(path: Path | str) -> str:
    """A path as Hydra reads it, whatever is in it."""
    return "'" + str(path).replace("'", r"\'") + "'"


def unquoted(value: str) -> str:
    """What was meant by a path on the command line, with quotes around it or none."""
    return value.strip("'\"").replace(r"\'", "'")


def chosen(folder: Path) -> list[str]:
    """The overrides of the run in a folder: the same whether it was left alone or has been resumed.

    Raises:
        ConfigError: they cannot be read.
    """
    return list(takewhile(lambda word: not word.startswith("resume="), all_words(folder)))


def all_words(folder: Path) -> list[str]:
    """All words that Hydra has written of the run in a folder: after `resume=...` those of its last resumption.

    Raises:
        ConfigError: they cannot be read.
    """
    file = folder / ".hydra" / "overrides.yaml"
    try:
        return list(map(str, yaml.safe_load(file.read_text(encoding="utf-8"))))
    except Exception as error:
        raise ConfigError(f"{file} cannot be read. Put it right, or start a new run.") from error


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint of a run that can be read, or None where it has none yet."""
    from ntm.checkpoints import read_checkpoint

    # last.ckpt is written last, after everything else of its moment.
    found = sorted(
        folder.glob("checkpoints/*.ckpt"),
        key=lambda path: (path.name == "last.ckpt", path.stat().st_mtime),
        reverse=True,
    )
    for path in found:
        try:
            read_checkpoint(str(path))
        except ValueError as error:
            log.warning(f"{error} Trying the one before it.")
        else:
            return path
    if found:
        raise ConfigError(f"{folder} has no checkpoint that can be read. Remove its checkpoints/ to start it anew.")
    return None


def has_finished(folder: Path) -> bool:
    """Whether a run has left its results; a power cut may leave a file with nothing in it."""
    try:
        return bool(json.loads((folder / "results.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return False


def is_own(cfg: DictConfig) -> bool:
    """Whether a run goes on in the folder that its checkpoint is from."""
    return cfg.checkpoint is not None and Path(cfg.checkpoint).resolve().is_relative_to(Path(cfg.output_dir).resolve())


def changes(cfg: DictConfig, before: dict[str, Any]) -> list[str]:
    """What a resumed run has otherwise than the run before, in words.

    Raises:
        ConfigError: something that may not change has, unless `allow` names it.
    """
    old = OmegaConf.create(before)
    old.output_dir = cfg.output_dir
    one, other = (dict(leaves(config)) for config in (old, cfg))
    one = {key: unsaid for key, unsaid in MEANING.items() if key in other} | one
    differing = [key for key in sorted(one.keys() | other.keys()) if one.get(key) != other.get(key)]
    said = {key: f"{key}={other.get(key)} (it was {one.get(key)})" for key in differing}
    watching = [name for name in {*old.callbacks, *cfg.callbacks} if all(only_looks(name, c) for c in (old, cfg))]
    allowed = [*MAY_CHANGE, *cfg.allow, *(f"{name}.*" for name in [*cfg.allow, *(f"callbacks.{w}" for w in watching)])]
    asked = [key for key in differing if not follows(key, old, cfg)]
    refused = [key for key in asked if not matches(key, allowed)]
    lost = [key for key in asked if key.split(".")[0] in CANNOT_CHANGE and key not in EXCEPT]
    if lost:
        raise ConfigError(
            f"checkpoint={cfg.checkpoint} goes on with its own optimiser, but "
            f"{' and '.join(said[key] for key in lost)}. Give the old value, or start a new run."
        )
    if refused:
        raise ConfigError(
            f"checkpoint={cfg.checkpoint} is of a run with other settings: {', '.join(said[key] for key in refused)}. "
            f"Give the old values, or allow it: allow=[{','.join(refused)}]."
        )
    return [*said.values()]


def follows(key: str, *configs: DictConfig) -> bool:
    """Whether a key differs only because all of them refer to another, as a schedule does to the number of steps."""
    group, _, name = key.rpartition(".")
    nodes = [OmegaConf.select(config, group) for config in configs]
    if not all(isinstance(node, DictConfig) and name in node for node in nodes):
        return False
    one, other = (cast(dict, OmegaConf.to_container(node))[name] for node in nodes)
    return one == other


def check_meaning(cfg: DictConfig, before: dict[str, Any]) -> None:
    """Raise a ConfigError where the weights that a run begins with would mean something else in its machine."""
    for key, unsaid in MEANING.items():
        ours, theirs = OmegaConf.select(cfg, key), OmegaConf.select(OmegaConf.create(before), key, default=unsaid)
        if ours not in (None, theirs):
            theirs = str(theirs).lower()
            raise ConfigError(
                f"weights={cfg.weights} were learned with {key}={theirs}, and would mean something else with "
                f"{key}={str(ours).lower()}. Set {key}={theirs}."
            )


def only_looks(name: str, cfg: DictConfig) -> bool:
    """Whether a callback of this name, if there is one, changes nothing of the training."""
    target = OmegaConf.select(cfg, f"callbacks.{name}._target_")
    try:
        return target is None or getattr(check_target(f"callbacks.{name}._target_", target), "only_looks", False)
    except ConfigError:  # of an older run, and gone
        return False


def leaves(cfg: DictConfig) -> Iterator[tuple[str, Any]]:
    """Every value in a configuration, with its place."""
    for key, value in entries(cfg):
        if key.split(".")[0] not in ABOUT and (not isinstance(value, dict | list) or not value):
            yield key, value


def matches(key: str, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatchcase(key, pattern) for pattern in patterns)


@contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Keep a folder to this process for a while, which may ask again; however that ends, the system lets go of it.

    Raises:
        ConfigError: another process is at work there.
    """
    folder = folder.resolve()
    if os.name != "posix" or folder in held:
        yield
        return
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"{folder} belongs to a run that has not ended. Wait for it, or end it.") from None
        except OSError as error:  # some network folders have no locks
            log.debug(f"{folder} cannot be locked: {error.strerror}")
        held.add(folder)
        yield
    finally:
        held.discard(folder)
        os.close(descriptor)
