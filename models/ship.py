"""Leave of a checkpoint what measures and draws the machine: weights, configuration, curves and film, no optimiser.

    python models/ship.py outputs/copy/.../checkpoints/best.ckpt models/copy.ckpt
    python evaluate.py checkpoint=models/copy.ckpt

The run's command, commit and versions go with it, so that anybody can train the machine again.
"""

import json
import shlex
import sys
from math import isnan, nan
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

sys.path.insert(0, str(Path(__file__).parent.parent))

from callbacks import curves
from conf.check import ConfigError, exit_on_mistake
from conf.resume import chosen
from evaluate import configuration, run_of
from ntm.checkpoints import read_checkpoint

KEPT = ("state_dict", "config", "sequences", "pytorch-lightning_version")
ORIGIN = ("commit", "versions", "seed")
MOST_HEADS = 4  # of a kind in films, which a repository has to carry


def main() -> None:
    if not sys.argv[1:] or {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__.strip())
        return
    if len(sys.argv) != 3:
        raise ConfigError(f"{Path(__file__).name} takes a checkpoint and a new file. Say both.")
    source, target = map(Path, sys.argv[1:])
    if target.is_dir() or not target.absolute().parent.is_dir() or target.resolve() == source.resolve():
        raise ConfigError(f"{target} is no new file in a folder. Name one, such as models/copy.ckpt.")
    try:
        checkpoint = read_checkpoint(str(source))
    except ValueError as error:
        raise ConfigError(str(error)) from error
    shipped = {key: checkpoint[key] for key in KEPT}
    shipped["config"] = OmegaConf.to_container(configuration(checkpoint))
    shipped["config"]["output_dir"] = "."  # the run's folder is nobody else's
    shipped["origin"] = origin(source)
    shipped["validations"] = pack(curves.validations(run_of(str(source)) / "metrics.csv"))
    memory = shipped["config"]["memory"]
    if max(memory.get("num_read_heads", 0), memory.get("num_write_heads", 0)) <= MOST_HEADS:
        shipped["film"] = checkpoint.get("callbacks", {}).get("Film", {}).get("taken")
    torch.save(shipped, target)
    print(f"{target}: {target.stat().st_size / 1000:.0f} KB")


def pack(rows: list[curves.Row]) -> dict[str, Any]:
    """A table in the fewest bytes: `names` of its columns, and `values` [rows, names] in float32, NaN where none is."""
    names = sorted({name for row in rows for name in row})
    return {"names": names, "values": torch.tensor([[row.get(name, nan) for name in names] for row in rows])}


def unpack(packed: dict[str, Any]) -> list[curves.Row]:
    """The rows that were packed."""
    rows = [zip(packed["names"], row, strict=True) for row in packed["values"].tolist()]
    return [{name: value for name, value in row if not isnan(value)} for row in rows]


def origin(checkpoint: Path) -> dict[str, Any]:
    """How anybody could make a run's checkpoint: `command`, `commit`, `versions` and `seed`.

    Raises:
        ConfigError: the run is not there, or has not finished.
    """
    run = run_of(str(checkpoint))
    results = run / "results.json"
    if not results.exists():
        raise ConfigError(f"{results} does not exist, so nobody could say what made {checkpoint}. Give a run's.")
    said = json.loads(results.read_text(encoding="utf-8"))
    return {"command": shlex.join(["train.py", *chosen(run)])} | {key: said[key] for key in ORIGIN}


if __name__ == "__main__":
    with exit_on_mistake():
        main()
