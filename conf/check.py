"""A user's mistake is one clear line and exit code 2, before anything is allocated or written."""

import errno
import fnmatch
import logging
import math
import os
import re
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from pkgutil import resolve_name
from tempfile import TemporaryFile
from traceback import walk_tb
from typing import Any, NoReturn
from unittest.mock import patch

import hydra
from hydra._internal.hydra import Hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException
from pydantic import TypeAdapter, ValidationError

from conf.rules import RULES

log = logging.getLogger(__name__)

# What each group may build. Anything else could run whatever a stranger's file says.
ALLOWED = {
    "task": ["tasks"],
    "controller": ["ntm.controllers"],
    "memory": ["ntm.memories"],
    "loss": ["ntm.losses"],
    "optimizer": ["torch.optim", "ntm.optimizers"],
    "scheduler": ["torch.optim.lr_scheduler"],
    "trainer": [
        *("lightning.pytorch.Trainer", "lightning.pytorch.trainer", "lightning.pytorch.strategies"),
        *("lightning.pytorch.profilers", "callbacks.unprofiled"),
    ],
    "callbacks": ["callbacks", "lightning.pytorch.callbacks", "optuna.pruners"],
    "logger": ["lightning.pytorch.loggers", "callbacks.loggers"],
}


CONF = Path(__file__).parent
OUTCOME = "outcome.txt"  # why a job of a sweep has no results, in one line: `failed: ...` or `pruned: ...`


class ConfigError(ValueError):
    """A mistake in what the user chose, told in one line: the key, the value, the rule and the remedy."""


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # of a disk: nobody's mistake, and no bug
BUGS = (ArithmeticError, AssertionError, AttributeError, LookupError, NameError, TypeError)
MISTAKES = (ConfigError, HydraException, OmegaConfBaseException)  # a user's; anything else is ours


def instantiate(cfg: DictConfig, key: str, **passed: Any) -> Any:
    """Build what `cfg.<key>` names, passing on what other choices decide.

    Raises:
        ConfigError: it names something that its group may not build, or a setting breaks its rule.
    """
    node = OmegaConf.select(cfg, key)
    for name in passed.keys() & node.keys():
        raise ConfigError(f"{key}.{name} follows from other choices. Leave it out.")
    for where, target in entries(node, key):
        if where.endswith("._target_"):
            check_target(where, str(target))
    with explained(key, node):
        return hydra.utils.instantiate(node, _convert_="all", **passed)


@contextmanager
def explained(key: str, node: DictConfig) -> Iterator[None]:
    """Turn what goes wrong in building `key` into a line about the user's choice."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:  # whatever a library throws at a setting
        cause = error.__cause__ if isinstance(error, InstantiationException) and error.__cause__ else error
        raise ConfigError(mistake(key, node, cause)) from error


def mistake(key: str, node: DictConfig, error: BaseException) -> str:
    """The line for an error in building `key`."""
    target = str(node.get("_target_", ""))
    if isinstance(error, ValidationError):
        # Of what may be one number or several, the deepest complaint is about what was given.
        first = max(error.errors(include_url=False), key=lambda found: len(found["loc"]))
        setting, value = f"{key}.{first['loc'][0]}", first["input"]
        if first["type"] == "unexpected_keyword_argument":
            return unknown(setting, target)
        if first["type"] == "value_error":  # raised by a constructor of ours inside another
            return str(first["ctx"]["error"])
        yaml = f"conf/{key.split('.')[0]}/{target.split('.')[-2]}.yaml"
        if first["type"] == "missing_keyword_only_argument":  # taken out, or of a checkpoint that is older than it
            return f"{setting} is missing. Give it a value; {yaml} says what it means."
        value = node.get(first["loc"][0], value)  # all of a list, not its wrong element alone
        return f"{setting}={value} {rule(first)}. Give another value; {yaml} says what it means."
    text = " ".join(str(error).split())  # ours, torch's or lightning's own words
    if text.startswith((f"{key}.", f"{key}=")):
        return text
    if isinstance(error, TypeError) and (argument := re.search("unexpected keyword argument '(.+?)'", text)):
        return unknown(f"{key}.{argument[1]}", target)
    if key == "trainer" and re.search("backend found|is not available|invalid accelerator", text):
        return f"trainer.accelerator={node.accelerator} is not to be had here: {text} Leave it out for the CPU."
    if isinstance(error, BUGS) and not isinstance(error, OmegaConfBaseException):  # of the class, not of a setting
        *_, (frame, number) = walk_tb(error.__traceback__)
        text = f"{type(error).__name__}: {text} ({frame.f_code.co_filename}, line {number})"
    return f"{key}: {text}" + (f" (building {target})" if target else "")


def unknown(setting: str, target: str) -> str:
    return f"{setting} is not a setting of {target}. Leave it out; `python train.py --help` lists those there are."


def rule(error: Any) -> str:
    """What pydantic asks for, to follow upon `key=value`."""
    return str(error["msg"]).replace("Input should", "should")


def check_target(where: str, target: str) -> type:
    """The class that a `_target_` names; it is of its group's packages, and leads nowhere else on its way.

    Raises:
        ConfigError: it is not, or there is none.
    """
    packages = ALLOWED[where.split(".")[0]]

    def inside(name: str) -> bool:
        return any(name == package or name.startswith(f"{package}.") for package in packages)

    refusal = f"{where}={target} may not be built. Name something in {' or '.join(packages)}."
    if not inside(target):
        raise ConfigError(refusal)
    try:
        found = resolve_name(target)
    except (ImportError, AttributeError) as error:
        if broken := import_error(target.rpartition(".")[0]):
            raise ConfigError(f"{where}={target} cannot be imported: {broken}. Mend it, or install that.") from error
        if target.startswith("optuna.") and find_spec("optuna") is None:
            raise ConfigError(f"{where}={target} needs Optuna. Run: pip install -e '.[sweep]'.") from error
        raise ConfigError(f"{where}={target} does not exist. Name a class in {' or '.join(packages)}.") from error
    # A class of another module may be at hand under this name; a function or a module is no part of a machine.
    if not isinstance(found, type) or not inside(found.__module__):
        raise ConfigError(refusal)
    return found


def import_error(module: str) -> ImportError | None:
    """Why a module that is there cannot be imported; None of one that is not there, or can be."""
    try:
        import_module(module)
    except ImportError as error:
        is_absent = isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}.")
        return None if is_absent else error
    return None


def check_settings(cfg: DictConfig) -> None:
    """What must hold of a configuration before anything is built from it."""
    own = OmegaConf.load(CONF / "config.yaml")
    groups = {next(iter(default)) for default in own.defaults if isinstance(default, DictConfig)}
    for key in sorted(map(str, cfg.keys() - own.keys() - groups)):
        raise ConfigError(f"{key} is not a setting. Leave it out; `python train.py --help` lists those there are.")
    for key in sorted(ALLOWED.keys() - cfg.keys()):
        raise ConfigError(f"{key} is not chosen. Set {key}=... to an option that `python train.py --help` lists.")
    found = dict(entries(cfg))
    for group in ("callbacks", "logger"):
        for name, chosen in cfg[group].items():  # null is none
            if chosen and f"{group}.{name}._target_" not in found:
                raise ConfigError(f"{group}.{name} is not chosen. Choose it in the list: {group}=[...,{name}].")
    for where, value in found.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{where}={value} must be a finite number. Give another value.")
    check_rules(cfg, found)
    each = cfg.trainer.get("accumulate_grad_batches", 1)
    if cfg.trainer.val_check_interval % each:
        raise ConfigError(
            f"trainer.val_check_interval={cfg.trainer.val_check_interval} must be a multiple of trainer."
            f"accumulate_grad_batches={each}, or checkpoints would fall within steps. Change one of them."
        )
    if cfg.compile and cfg.engine == "fused":
        raise ConfigError(
            "compile=true is for the eager machine, but engine=fused is compiled already. Set engine=auto or "
            "engine=eager, or compile=false."
        )


def check_rules(cfg: DictConfig, found: dict[str, Any]) -> None:
    """Whether these settings of a configuration keep their rules; writes there what is meant by them.

    Raises:
        ConfigError: one does not.
    """
    for pattern, kind in RULES.items():
        for where in fnmatch.filter(found, pattern):
            try:
                meant = TypeAdapter(kind).validate_python(found[where])
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                raise ConfigError(f"{where}={found[where]} {rule(first)}. Give another value.") from None
            if type(meant) is not type(found[where]) and not isinstance(meant, tuple):
                OmegaConf.update(cfg, where, meant)  # 1e3 steps are 1000, and `off` is false


def entries(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Everything in a configuration, however deep, with its place: groups, lists and what they hold."""
    if OmegaConf.is_config(node):
        node = OmegaConf.to_container(node, resolve=True)
    inside = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for name, value in inside:
        where = f"{key}.{name}" if key else str(name)
        yield where, value
        yield from entries(value, where)


class Check(Callback):
    """Builds everything on a device that holds no numbers, before Hydra makes the run's folder, and then keeps that."""

    def __init__(self) -> None:
        self.kept = ExitStack()

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        HydraConfig.instance().set_config(config)  # so that hydra.run.dir can name the chosen task
        from conf.resume import holding

        with exit_on_mistake():
            given = Path(config.hydra.run.dir)
            folder = given.resolve()
            check_writable("hydra.run.dir", given)
            resumed = config.resume is not None and Path(config.resume).resolve() == folder
            if config.resume is not None and not resumed:
                raise ConfigError(f"resume={config.resume} is for the command line: it stands for a whole command.")
            first = is_first_process()
            if first and not resumed:
                check_empty(given)
            from train import check

            cfg = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
            cfg.output_dir = str(folder)
            check(cfg)
            if first:
                folder.mkdir(parents=True, exist_ok=True)
                self.kept.enter_context(holding(folder))
                if not resumed:
                    check_empty(given)  # again: another run may have begun there

    def on_run_end(self, config: DictConfig, **kwargs: Any) -> None:
        self.kept.close()

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        with exit_on_mistake():
            for word in config.hydra.overrides.hydra:
                if word.startswith("hydra.run.dir="):
                    raise ConfigError(f"{word} is of one run. Say where a sweep goes by hydra.sweep.dir=PATH.")
            check_writable("hydra.sweep.dir", Path(config.hydra.sweep.dir))
            check_rules(config, dict(entries(config.hydra.sweeper, "hydra.sweeper")))

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        Path(config.hydra.runtime.output_dir, OUTCOME).unlink(missing_ok=True)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """A job of a sweep says in its own folder why it failed, whichever process it ran in."""
        if config.hydra.mode == RunMode.MULTIRUN and job_return.status == JobStatus.FAILED:
            error = job_return._return_value
            if is_said_in_a_line(error):
                log.error(f"error: {line(error)}")
            elif not is_pruned(error):
                log.error("this job failed", exc_info=error)
            file = Path(config.hydra.runtime.output_dir, OUTCOME)
            try:
                file.write_text(outcome(error) + "\n", encoding="utf-8")
            except OSError:  # the disk is full; half a line would be taken for the whole
                file.unlink(missing_ok=True)
        job_return.cfg = job_return.hydra_cfg = None  # half a megabyte of every job, to the end of the sweep


def is_first_process() -> bool:
    """Whether a run is this process's to begin: Lightning, or srun, starts the others by the same command."""
    ranks = (os.environ.get(name) for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))  # in Lightning's order
    return next(filter(None, ranks), "0") == "0"


def check_empty(folder: Path) -> None:
    """Raise a ConfigError if a folder holds a run."""
    if any((folder.resolve() / name).exists() for name in (".hydra", "checkpoints", "results.json")):
        raise ConfigError(f"hydra.run.dir={folder} already holds a run. Choose another folder, or leave it out.")


def check_writable(key: str, folder: Path) -> None:
    """Whether a run could write into the folder of this key, which may not be there yet; leaves nothing there.

    Raises:
        ConfigError: it could not.
    """
    above = folder.resolve()
    try:
        while not above.exists() and above != above.parent:
            above = above.parent
        if above.is_file():
            raise ConfigError(f"{key}={folder} cannot be made: {above} is a file. Choose another folder.")
        with TemporaryFile(dir=above) as file:
            file.write(b"0")
    except OSError as error:
        raise ConfigError(
            f"{key}={folder} cannot be written: {above}: {error.strerror}. Choose another folder."
        ) from None


def outcome(error: Exception) -> str:
    """Why a job of a sweep has no results, in one line."""
    if is_pruned(error):
        return f"pruned: {error}"
    return f"failed: {line(error)}" if isinstance(error, MISTAKES) else f"failed: {type(error).__name__}: {line(error)}"


def is_said_in_a_line(error: BaseException) -> bool:
    """Whether a person needs no traceback: a mistake, a number that is not finite, a disk that is full."""
    full = isinstance(error, OSError) and error.errno in FULL
    return full or isinstance(error, (*MISTAKES, FloatingPointError))


def is_pruned(error: BaseException) -> bool:
    """Whether a study ended this job, for others did better. By its name: optuna need not be there."""
    return type(error).__name__ == "TrialPruned"


@contextmanager
def exit_on_mistake() -> Iterator[None]:
    """Print a user's mistake as one line, and exit with code 2; with 1 where a run had to end."""
    try:
        yield
    except MISTAKES as error:
        say(error)
        raise SystemExit(2) from None
    except BrokenExecutor:
        print(
            "error: the process of a job died, and so joblib's sweep. The same command runs the rest.", file=sys.stderr
        )
        raise SystemExit(1) from None
    except (FloatingPointError, OSError) as error:
        if not is_said_in_a_line(error):
            raise
        say(error)
        raise SystemExit(1) from None


def say(error: Exception) -> None:
    print(f"error: {' '.join(line(error).split())}", file=sys.stderr)  # what was typed may have several lines


def line(error: Exception) -> str:
    """One line for what Hydra and OmegaConf say in several."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, option = re.fullmatch("((?:hydra/)?[^/]*)/?(.*)", error.missing_cfg_file).groups()  # type: ignore[union-attr]
        return not_an_option(group, option, error.options or ())
    if isinstance(error, OverrideParseException):
        text = str(error).splitlines()[0]
        return f"{error.override} cannot be read: {text}. Write key=value, and quote what the shell would change."
    if twice := re.match(r"Multiple values for (\w+)\.", str(error)):
        return f"{twice[1]} is chosen already. Leave out the +; several are a list: callbacks=[default,redraw]."
    if several := re.match("Ambiguous value for argument '(.+?)'", str(error)):
        return f"{several[1]} is more than one run. Add -m to run each of them, or choose one."
    cause = error.__cause__ if isinstance(error, ConfigCompositionException) else error
    if isinstance(cause, ConfigAttributeError | ConfigKeyError):
        return not_a_setting(str(cause.full_key or cause.key), cause.parent_node)
    return " ".join(str(error).split())


def not_an_option(group: str, option: str, others: Sequence[str] = ()) -> str:
    """What is said of an option that a group has not; `others` are those that it has from elsewhere."""
    folder = CONF / group
    files = [file.relative_to(folder).with_suffix("") for file in folder.rglob("*.yaml")]
    within = [file.as_posix() for file in files if "shared" not in file.parts] + list(others)
    typed = [word.partition("=")[2] for word in sys.argv[1:] if word.startswith(f"{group}=")]
    if typed and not any(option in word for word in typed):  # what was typed asks for it
        option = typed[-1]
    near = get_close_matches(option, within, n=1)
    choices = sorted({name for name in within if Path(name).parent == Path(option).parent}) or sorted(within)
    hint = f"Did you mean {group}={near[0]}? " if near else ""
    if group == "hydra/launcher":
        hint = "joblib, local, slurm and ray need pip install -e '.[joblib]', '.[submitit]' or '.[ray]'. "
    return f"{group}={option} is not an option. {hint}Choose one of: {', '.join(choices)}."


def not_a_setting(key: str, parent: Any) -> str:
    """What is said of a key that its parent has not; it may be one of another option, or one that must be added."""
    group, _, name = key.rpartition(".")
    siblings = list(map(str, parent or []))
    if "_target_" in siblings and key.split(".")[0] in ALLOWED:
        taken = signature(check_target(f"{key}._target_", parent["_target_"])).parameters
        if name in taken:
            return f"{key} is not set yet. Put a + before it: +{key}=..."
    there = [sibling for sibling in siblings if not sibling.startswith("_")]
    near = get_close_matches(name, there, n=1)
    hint = f" Did you mean {key.removesuffix(name)}{near[0]}?" if near else ""
    files = sorted((CONF / group).glob("*.yaml")) if group else []
    others = [f"{group}={file.stem}" for file in files if OmegaConf.select(OmegaConf.load(file), name) is not None]
    hint += f" It is one of {' and '.join(others)}." if others else ""
    choices = f" There are: {', '.join(there)}." if there else ""
    return f"{key} is not a setting{' here' if others else ''}.{hint}{choices}"


def refuse(parser: ArgumentParser, message: str) -> NoReturn:
    """What argparse says of a word that Hydra does not know, which would be its usage and more."""
    raise ConfigError(f"{message}. Write key=value, without dashes; `python train.py --help` lists the keys.")


def mode(self: Hydra, config_name: str | None, overrides: list[str]) -> RunMode | None:
    """Whether a command is a sweep; Hydra takes one that cannot be composed for a run, and complains of its ranges."""
    return self.compose_config(config_name, overrides, RunMode.MULTIRUN, validate_sweep_overrides=False).hydra.mode


def cli(main: Callable[[], Any]) -> None:
    """Run a Hydra program; a mistake of the user's is one line."""
    from conf.resume import expand

    # Since Python 3.14 a help text is checked as it is given, where Hydra has none yet.
    unchecked = patch.object(ArgumentParser, "_check_help", lambda *_: None, create=True)
    refused = patch.object(ArgumentParser, "error", refuse)
    with exit_on_mistake(), unchecked, refused, patch.object(Hydra, "get_mode", mode):
        sys.argv[1:] = expand(sys.argv[1:])
        try:
            main()
        except (ValueError, TypeError, AttributeError, AssertionError) as error:
            *_, (frame, _) = walk_tb(error.__traceback__)
            if frame.f_globals["__name__"].split(".")[0] not in ("hydra", "omegaconf"):
                raise
            # In composing; what goes wrong in building is explained there.
            for group, equals, options in (word.partition("=") for word in sys.argv[1:]):
                for option in options.strip("[]").split(",") if equals and (CONF / group).is_dir() else ():
                    if not (CONF / group / f"{option}.yaml").is_file():
                        raise ConfigError(not_an_option(group, option)) from error
            words = " ".join(sys.argv[1:])
            raise ConfigError(f"{words} cannot be composed. `python train.py --help` lists what there is.") from error
