"""One page that shows a trained machine: its run, its errors, and its episodes, to be played step by step."""

import base64
import json
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from jaxtyping import Shaped
from matplotlib import colormaps
from matplotlib.colors import to_hex
from omegaconf import OmegaConf
from pydantic import PositiveInt, validate_call
from torch import Tensor

from callbacks.base import look
from callbacks.drawing import BITS, READS, SIGNED, WRITES, Scale, bits_or_signed, signed, take, used_slots, which_slots
from callbacks.metrics import read_rows
from callbacks.results import measured
from ntm.batch import Batch
from ntm.heads import Addressing
from ntm.trace import MemoryTrace, Trace
from tasks.base import key

TEMPLATE = Path(__file__).with_suffix(".html")
MOST = 4_000_000  # characters of episodes, so that the page stays below 5 MB
LEVELS = 254  # steps of a scale in a byte; even, so that the middle of a signed scale is exactly 0; 255 is no number
POINTS = 500  # of a learning curve
SHADES = 24  # pieces of a colour scale; a multiple of what the scales are made of
CHOICES = ("task", "controller", "memory", "loss", "optimizer", "scheduler")


class Report(L.Callback):
    """Writes `<folder>/report.html` after a test: one file that opens from disk and loads nothing.

    In it: the configuration; learning curves, where the training's folder `run` has a metrics.csv; the figures over the
    test lengths; and episodes to play, the pictures' own and the first `examples` sequences of every test set. Where
    they would make the file too large, the last are left out, and the page says so.
    """

    only_looks = True

    @validate_call
    def __init__(self, *, folder: Path, run: Path, examples: PositiveInt):
        self.path = folder / "report.html"
        self.run = run
        self.examples = examples

    def on_test_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if not trainer.is_global_zero:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(page(self.content(trainer, pl_module)), encoding="utf-8")
        print(f"To play its episodes, open {self.path}")

    def content(self, trainer: L.Trainer, pl_module: Any) -> dict[str, Any]:
        """All that the page shows, as plain data."""
        task: Any = trainer.datamodule  # type: ignore[attr-defined]
        config = {name: value for name, value in pl_module.config.items() if name != "output_dir"}
        config["callbacks"] = {name: value for name, value in config["callbacks"].items() if name != "report"}
        played, room, left_out = [], MOST, 0
        for length, name, batch in self.episodes(trainer, pl_module):
            if room > 0:
                shown = {"length": length, "name": name, **episode(look(trainer, pl_module, batch))}
                room -= len(json.dumps(shown))
            if room > 0:
                played.append(shown)
            else:
                left_out += 1
        path = self.run / "results.json"
        results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return {
            "sequences": pl_module.sequences,
            "parameters": sum(p.numel() for p in pl_module.machine.parameters()),
            "trained_on": [key(task.min_length), key(task.max_length)],
            "numbers": task.numbers,
            "test_size": task.test_size,
            "choices": {name: choice(config[name]) for name in CHOICES},
            "config": OmegaConf.to_yaml(OmegaConf.create(config)),
            "seed": config["seed"],
            "training": {name: results.get(name) for name in ("seconds", "commit", "command")},
            "curves": curves(self.run / "metrics.csv", list(pl_module.metrics)),
            "test": {
                length: {metric: value if math.isfinite(value) else None for metric, value in row.items()}
                for length, row in measured(trainer, pl_module).items()
            },
            "start": key(task.probe_length),
            "episodes": sorted(played, key=lambda one: len(one["mask"])),
            "left_out": left_out,
            "scales": {
                "bits": shades(BITS["cmap"]),
                "write": shades(WRITES),
                "read": shades(READS),
                "signed": shades(SIGNED),
            },
        }

    def episodes(self, trainer: L.Trainer, pl_module: Any) -> Iterator[tuple[str, str, Batch]]:
        """Length, name and batch of one: the episode of the pictures, then every length's first, second, and so on."""
        task: Any = trainer.datamodule  # type: ignore[attr-defined]
        yield key(task.probe_length), "as in the pictures", task.probe()
        tests = [next(iter(loader)) for loader in trainer.test_dataloaders]  # type: ignore[union-attr]
        for i in range(min(self.examples, len(tests[0].mask))):
            for name, batch in zip(pl_module.test_names, tests, strict=True):
                yield name, f"test sequence {i + 1}", Batch(*(field[i : i + 1] for field in batch))


def episode(trace: Trace) -> dict[str, Any]:
    """What happened in an episode, in the letters of `Trace`."""
    return {
        "mask": trace.mask.tolist(),
        "wrong": packed(trace.wrong, BITS),
        "wrong_bits": int(trace.wrong.sum()),
        "inputs": packed(trace.inputs, bits_or_signed(trace.inputs)),
        "targets": packed(trace.targets, BITS),
        "outputs": packed(trace.outputs, BITS),
        "memory": trace.memory and memory(trace.memory),
    }


def memory(trace: MemoryTrace) -> dict[str, Any]:
    """What the memory held and what the heads did, in the slots that are worth showing."""
    num_slots = trace.M.shape[1]
    slots = used_slots(trace.w_write, trace.w_read)
    scale = signed(trace.M, trace.a, trace.r)
    return {
        "slots": [i % num_slots for i in slots],
        "note": which_slots(slots, num_slots),
        "M": packed(take(trace.M.mT, slots).mT, scale),
        "a": packed(trace.a, scale),
        "r": packed(trace.r, scale),
        "w_write": packed(take(trace.w_write, slots), BITS),
        "w_read": packed(take(trace.w_read, slots), BITS),
        "write": addressing(trace.write),
        "read": addressing(trace.read),
    }


def addressing(heads: Addressing) -> dict[str, Any]:
    """What the heads were told at every step, but for their keys; null is no number."""
    told = {"beta": heads.beta, "g": heads.g, "s": heads.s, "gamma": heads.gamma}
    arrays = {name: values.cpu().double().numpy().round(3) for name, values in told.items()}
    return {name: np.where(np.isfinite(array), array, np.array(None)).tolist() for name, array in arrays.items()}


def packed(values: Shaped[Tensor, "time *_"], scale: Scale) -> dict[str, Any]:
    """A byte for every value, less the byte of the step before, deflated: a memory changes in few places at a time."""
    low, high = scale["vmin"], scale["vmax"]
    levels = np.rint((values.cpu().double().numpy() - low) / (high - low) * LEVELS).clip(0, LEVELS)
    levels[np.isnan(levels)] = LEVELS + 1
    changes = np.diff(levels.astype(np.uint8), axis=0, prepend=np.uint8(0))
    data = base64.b64encode(zlib.compress(changes.tobytes(), 9)).decode()
    return {"shape": list(values.shape), "low": low, "high": high, "levels": LEVELS, "data": data}


def curves(path: Path, metrics: list[str]) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Of every metric and stage, what was measured over the sequences seen; none where there is no such file."""
    rows = read_rows(path)
    return {
        metric: {stage: curve(rows, f"{stage}/{metric}") for stage in ("train", "val", "far")} for metric in metrics
    }


def curve(rows: list[dict[str, str]], column: str) -> list[tuple[float, float]]:
    """What was measured over the sequences seen; of a long training every second, third and so on, up to the last."""
    measured = [(float(row["sequences"]), float(row[column])) for row in rows if row.get(column)]
    points = [(sequences, value) for sequences, value in measured if math.isfinite(value)]
    return points[:: -math.ceil(len(points) / POINTS)][::-1] if points else []


def choice(node: dict[str, Any]) -> dict[str, Any]:
    """What a group builds, by the name of its option, and its settings."""
    settings = {name: value for name, value in node.items() if not name.startswith("_")}
    *_, module, name = node["_target_"].split(".")
    return {"name": module if node["_target_"].startswith(("ntm", "tasks")) else name, "settings": settings}


def shades(scale: str | Any) -> list[str]:
    """A colour scale from its low end to its high end."""
    return [to_hex(colormaps.get_cmap(scale)(i / SHADES)) for i in range(SHADES + 1)]


def page(content: dict[str, Any]) -> str:
    """The page that shows this content. Nothing in it can end the script that holds it, whatever it says."""
    data = json.dumps(content, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        data = data.replace(character, f"\\u{ord(character):04x}")
    return TEMPLATE.read_text(encoding="utf-8").replace("{{ content }}", data)
