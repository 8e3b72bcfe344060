"""A user's mistake is one clear line and exit code 2, before anything is allocated or written."""

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException, HydraException, InstantiationException, MissingConfigException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

# What a configuration may build. Anything else could run whatever a stranger's file says.
ALLOWED = ("ntm", "tasks", "callbacks", "torch.optim", "torch.nn", "torchmetrics", "lightning.pytorch")


class ConfigError(ValueError):
    """A mistake in what the user chose, told in one line: the key, the value, the rule and the remedy."""


def instantiate(cfg: DictConfig, key: str, **passed: Any) -> Any:
    """Build what `cfg.<key>` names, passing on what other choices decide.

    Raises:
        ConfigError: it names something outside this project, torch and lightning, or a setting breaks its rule.
    """
    node = OmegaConf.select(cfg, key)
    for where, target in targets(node, key):
        if not allowed(target):
            raise ConfigError(f"{where}={target} may not be built. Name a class of {', '.join(ALLOWED)}.")
    with explained(key, node):
        return hydra.utils.instantiate(node, _convert_="all", **passed)


@contextmanager
def explained(key: str, node: DictConfig) -> Iterator[None]:
    """Turn what goes wrong in building `key` into a line about the user's choice."""
    try:
        yield
    except (InstantiationException, ValueError, TypeError, RuntimeError) as error:
        if isinstance(error, ConfigError):
            raise
        cause = error.__cause__ if isinstance(error, InstantiationException) and error.__cause__ else error
        raise ConfigError(mistake(key, node, cause)) from error


def mistake(key: str, node: DictConfig, error: BaseException) -> str:
    """The line for an error in building `key`."""
    target = str(node.get("_target_", ""))
    if not hasattr(error, "errors"):  # ours, torch's or lightning's own words
        text = " ".join(str(error).split())
        return text if text.startswith(f"{key}.") else f"{key}: {text} (building {target})"
    first, *others = error.errors(include_url=False)  # pydantic's
    setting = ".".join([key, *map(str, first["loc"])])
    if first["type"] == "unexpected_keyword_argument":
        return f"{setting} is not a setting of {target}. Leave it out; `python train.py --help` lists those there are."
    if first["type"] == "value_error":  # raised by a constructor of ours inside another
        return str(first["ctx"]["error"])
    more = f" ({len(others)} more like it.)" if others else ""
    rule = first["msg"].replace("Input should", "should")
    yaml = f"conf/{key.split('.')[0]}/{target.split('.')[-2]}.yaml"
    return f"{setting}={first['input']} {rule}. Give another value; {yaml} says what it means.{more}"


def targets(node: Any, key: str) -> Iterator[tuple[str, str]]:
    """Every `_target_` of a configuration, with its place."""
    if not OmegaConf.is_config(node):
        return
    for name in node if isinstance(node, DictConfig) else range(len(node)):
        if name == "_target_":
            yield f"{key}._target_", str(node[name])
        else:
            yield from targets(node[name], f"{key}.{name}")


def allowed(target: str) -> bool:
    """Whether a `_target_` is of this project, torch or lightning, and leads nowhere else on its way."""
    if not any(target.startswith(f"{package}.") for package in ALLOWED):
        return False
    try:
        home = hydra.utils.get_object(target).__module__
    except Exception:
        return True  # a name that does not exist: Hydra's message for it is better than ours
    return any(home == package or home.startswith(f"{package}.") for package in ALLOWED)


def check_numbers(cfg: DictConfig) -> None:
    """No setting anywhere may be infinite or not a number."""
    for where, value in leaves(cfg, ""):
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{where}={value} must be a finite number. Give another value.")


def leaves(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    if OmegaConf.is_config(node):
        for name in node if isinstance(node, DictConfig) else range(len(node)):
            if not OmegaConf.is_missing(node, name):
                yield from leaves(node[name], f"{key}.{name}" if key else str(name))
    else:
        yield key, node


class Check(Callback):
    """Builds everything on a device that holds no numbers, before Hydra makes the run's folder."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        HydraConfig.instance().set_config(config)  # so that hydra.run.dir can name the chosen task
        cfg = OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])
        with exit_on_mistake():
            folder = Path(config.hydra.run.dir)
            if (folder / ".hydra").exists():
                raise ConfigError(
                    f"hydra.run.dir={folder} already holds a run. Choose another folder, or leave hydra.run.dir out."
                )
            cfg.output_dir = str(folder)
            from train import check

            check(cfg)


@contextmanager
def exit_on_mistake() -> Iterator[None]:
    """Print a user's mistake as one line, and exit with code 2."""
    try:
        yield
    except (ConfigError, HydraException, OmegaConfBaseException) as error:
        print(f"error: {line(error)}", file=sys.stderr)
        raise SystemExit(2) from None


def line(error: Exception) -> str:
    """One line for what Hydra and OmegaConf say in several."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = error.missing_cfg_file.rpartition("/")
        choices = sorted(error.options or [])
        near = get_close_matches(option, choices, n=1)
        hint = f"Did you mean {group}={near[0]}? " if near else ""
        return f"{group}={option} is not an option. {hint}Choose one of: {', '.join(choices)}."
    cause = error.__cause__
    if isinstance(error, ConfigCompositionException) and isinstance(cause, ConfigAttributeError | ConfigKeyError):
        key = str(cause.full_key or cause.key)
        siblings = list(cause.parent_node or [])
        near = get_close_matches(str(cause.key), map(str, siblings), n=1)
        hint = f"Did you mean {key.removesuffix(str(cause.key))}{near[0]}? " if near else ""
        return f"{key} is not a setting. {hint}There are: {', '.join(map(str, siblings))}."
    return " ".join(str(error).split())


def cli(main: Callable[[], Any]) -> None:
    """Run a Hydra program; a mistake of the user's is one line."""
    with exit_on_mistake():
        main()
