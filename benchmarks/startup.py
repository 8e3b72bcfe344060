"""Seconds from the command to the first training step, with a cached and with a cold kernel; what the imports take.

    python benchmarks/startup.py --record

`python train.py` with its defaults, stopped after one step. Cached: the second run and those after it. Cold: with an
empty folder for the kernels. The imports are those of the same command, by Python's own account, which slows them down.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from measure import ROOT, options, progress, report, spread, table

ONE_STEP = (
    "trainer.max_steps=1",
    "callbacks=none",
    "task.validation_size=1",
    "task.far_size=1",
    "task.test_lengths=[1]",
    "task.test_size=1",
)
SHOWN = 8


def start(*words: str, kernels: Path | None = None, python: tuple[str, ...] = ()) -> tuple[float, str]:
    """Seconds to the first step, and what was printed as errors."""
    with TemporaryDirectory() as folder:
        run = Path(folder, "run")
        environment = os.environ | ({"NUMBA_CACHE_DIR": str(kernels)} if kernels else {})
        command = [sys.executable, *python, str(ROOT / "train.py"), *ONE_STEP, *words, f"hydra.run.dir={run}"]
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        return json.loads((run / "results.json").read_text(encoding="utf-8"))["seconds_to_first_step"], done.stderr


def imports(errors: str) -> list[list[str]]:
    """The packages whose own modules take longest, in seconds, from the lines of -X importtime."""
    spent: dict[str, float] = {}
    for own, name in re.findall(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)", errors):
        package = name.split(".")[0]
        spent[package] = spent.get(package, 0) + int(own) / 1e6
    longest = sorted(spent.items(), key=lambda item: -item[1])[:SHOWN]
    return [["all", f"{sum(spent.values()):.2f}"], *([name, f"{seconds:.2f}"] for name, seconds in longest)]


def main() -> None:
    args = options(__doc__).parse_args()
    if args.quick:
        args.rounds = 1
        words, kinds = ("engine=eager", "logger=csv"), ("cached",)
    else:
        words, kinds = (), ("cached", "cold")
        start()  # compiles, and brings the files into the system's cache
    rows = []
    for kind in kinds:
        progress(kind)
        with TemporaryDirectory() as empty:
            number = args.rounds if kind == "cached" else 1
            taken = [start(*words, kernels=Path(empty) if kind == "cold" else None)[0] for _ in range(number)]
        rows.append([kind, str(number), spread(taken)])
    progress("imports")
    packages = imports(start(*words, python=("-X", "importtime"))[1])
    lines = [*table(["kernel", "runs", "seconds to the first step (range)"], rows), ""]
    report("Start", [*lines, *table(["package", "seconds of its own modules"], packages)], args.record)


if __name__ == "__main__":
    main()
