"""What keeps the project in its shape: who imports whom, whose code runs, what the files are called."""

import ast
import subprocess
import sys
import tomllib

import pytest
import torch
from fakes import ROOT, options
from jaxtyping import TypeCheckError

import callbacks
import conf
import ntm
import tasks
from ntm import equations

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
OURS = (ntm, tasks, callbacks, conf)
CLASSES = {
    (family, option)
    for family in ("task", "controller", "memory", "loss", "optimizer", "scheduler", "callbacks")
    for option in options(family)
}


@pytest.mark.parametrize("package", OURS, ids=lambda package: package.__name__)
def test_the_packages_are_those_of_this_checkout(package):
    assert package.__path__[0] == str(ROOT / package.__name__)


def test_imports_go_from_callbacks_to_tasks_to_ntm_and_never_back():
    lint = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert lint.returncode == 0, lint.stdout


@pytest.mark.parametrize("package", OURS, ids=lambda package: package.__name__)
def test_no_package_imports_a_program_at_its_top(package):
    for path in (ROOT / package.__name__).rglob("*.py"):
        assert not {"train", "evaluate", "tests"} & imported(ast.parse(path.read_text()).body), path


@pytest.mark.parametrize("program", ["train.py", "evaluate.py"])
def test_a_program_imports_nothing_slow_before_it_runs(program):
    """Each TAB on the command line runs it."""
    assert not {"torch", "lightning", "wandb", "ntm", "tasks", "callbacks"} & imported(
        ast.parse((ROOT / program).read_text()).body
    )


def imported(statements: list[ast.stmt]) -> set[str]:
    """The packages that these statements import, as they run from top to bottom."""
    names = [alias.name for s in statements if isinstance(s, ast.Import) for alias in s.names]
    names += [s.module for s in statements if isinstance(s, ast.ImportFrom) and s.module]
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize(("family", "option"), sorted(CLASSES))
def test_a_yaml_is_called_as_the_module_of_its_class(family, option):
    for line in (ROOT / "conf" / family / f"{option}.yaml").read_text().splitlines():
        key, _, target = line.strip().partition("_target_: ")
        if not key and target.startswith(("ntm.", "tasks.", "callbacks.")):
            *_, module, _ = target.split("#")[0].strip().split(".")
            assert module == option


@pytest.mark.parametrize("family", ["task", "controller", "memory", "loss", "optimizer"])
def test_every_module_of_a_family_has_a_yaml(family):
    folder = {
        "task": "tasks",
        "controller": "ntm/controllers",
        "memory": "ntm/memories",
        "loss": "ntm/losses",
        "optimizer": "ntm/optimizers",
    }[family]
    modules = {path.stem for path in (ROOT / folder).glob("*.py")} - {"__init__", "base"}
    assert modules <= set(options(family))


def test_the_shapes_in_every_signature_but_those_of_compiled_code_are_checked_in_this_suite():
    (checked,) = (o for o in PYPROJECT["tool"]["pytest"]["ini_options"]["addopts"] if o.startswith("--jaxtyping"))
    modules = {f"ntm.{path.stem}" for path in (ROOT / "ntm").iterdir() if not path.stem.startswith("__")}
    assert modules - set(checked.partition("=")[2].split(",")) == {"ntm.fused"}
    with pytest.raises(TypeCheckError):
        equations.read(torch.zeros(1, 3, 2), torch.zeros(1, 1, 4))
