"""Train over many seeds as a user would, and record in docs/results.md what came of it.

    python benchmarks/solve.py --seeds 1-10 --name "Copy, cross-entropy" -- task=copy
    python benchmarks/solve.py --seeds 1-10 --name "Recall, Huber" -- task=recall loss=huber

Each seed is one `python train.py` with the words behind `--`. Runs that are there already are not run again, so a
killed record goes on where it stopped; `--folder` says where the runs are kept.
"""

import argparse
import csv
import json
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

from measure import ROOT, processor, put

RECORDS = ROOT / "docs" / "results.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", required=True, help="first-last")
    parser.add_argument("--name", required=True, help="heading of the record")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once; 1 for wall times that mean something")
    parser.add_argument("--folder", type=Path, default=ROOT / "outputs" / "solve")
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()

    first, last = map(int, options.seeds.split("-"))
    folder = options.folder / re.sub(r"\W+", "_", options.name.lower())
    with ThreadPoolExecutor(options.jobs) as pool:
        runs = list(pool.map(lambda seed: run(folder, seed, options.overrides), range(first, last + 1)))
    command = ["python", "benchmarks/solve.py", "--seeds", options.seeds, "--name", f'"{options.name}"']
    command += ["--jobs", str(options.jobs)] if options.jobs > 1 else []
    record(options.name, " ".join([*command, "--", *options.overrides]), runs, options.jobs)


def run(folder: Path, seed: int, overrides: list[str]) -> dict[str, Any]:
    """Train with one seed, unless that was done before; what the run left behind."""
    place, attempt = folder / str(seed), 0
    while place.exists() and not (place / "results.json").exists():  # a run that was killed
        attempt += 1
        place = folder / f"{seed}_again_{attempt}"
    if not place.exists():
        print(f"seed {seed} ...", flush=True)
        command = [sys.executable, str(ROOT / "train.py"), f"seed={seed}", f"hydra.run.dir={place}", *overrides]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            return {"seed": seed, "failure": [f"exit code {done.returncode}", *done.stderr.strip().splitlines()][-1]}
    results = json.loads((place / "results.json").read_text())
    before = shlex.split(results["command"])[3:]  # behind the program, the seed and the folder
    if before != overrides:
        raise SystemExit(f"{place} holds a run with {' '.join(before) or 'no overrides'}. Choose another --name.")
    with (place / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row.get("val/error_bits")]
    results["curve"] = [(float(r["sequences"]), float(r["val/error_bits"]), float(r["val/bits"])) for r in rows]
    print(f"seed {seed}: {results['seconds']:.0f} s, wrong bits {wrong_bits(results)}", flush=True)
    return results


def wrong_bits(results: dict[str, Any]) -> str:
    return " ".join(f"{row['error_bits']:.3g}" for row in results["test"].values())


def converged(curve: list[tuple[float, float, float]]) -> tuple[float | None, bool]:
    """Sequences at the first validation with less than 0.1 wrong bits, and whether no later one was above."""
    below = [error < 0.1 for _, error, _ in curve]
    if True not in below:
        return None, False
    first = below.index(True)
    return curve[first][0], all(below[first:])


def ever_sure(curve: list[tuple[float, float, float]]) -> bool:
    return any(bits < 0.05 for _, _, bits in curve)


def record(name: str, command: str, runs: list[dict[str, Any]], jobs: int) -> None:
    """Put a table of the runs under its heading in docs/results.md, in the place of an older one."""
    finished = [r for r in runs if "failure" not in r]
    if not finished:
        raise SystemExit(f"every run failed: {runs[0]['failure']}")
    lengths = list(finished[0]["test"])
    solved = [r for r in finished if all(row["error_bits"] == 0 for row in r["test"].values())]
    in_range = [r for r in finished if r["curve"] and r["curve"][-1][1] == 0]
    first_zero = [sequences for r in finished if (sequences := converged(r["curve"])[0])]
    first_sure = [next(n for n, _, bits in r["curve"] if bits < 0.05) for r in finished if ever_sure(r["curve"])]
    versions = ", ".join(f"{key} {value}" for key, value in finished[0]["versions"].items())
    commits = sorted({str(r["commit"])[:10] + ("-dirty" if "dirty" in str(r["commit"]) else "") for r in finished})
    lines = [
        f"## {name}",
        "",
        f"    {command}",
        "",
        f"{date.today()}, commit {', '.join(commits)}, {processor()}, {jobs} run(s) at a time; {versions}.",
        "",
        f"- No wrong bit at the end on held-out sequences of the training range: {len(in_range)} of {len(runs)} seeds.",
        f"- No wrong bit at any test length: {len(solved)} of {len(runs)} seeds.",
        f"- Sequences to the first held-out evaluation below 0.1 wrong bits: {spread(first_zero)}.",
        f"- Sequences to the first below 0.05 bits: {spread(first_sure)}.",
        f"- Sequences in all: {spread([r['sequences'] for r in finished])}.",
        f"- Seconds from the command to the end of training: {spread([r['seconds'] for r in finished])}.",
        "",
        "| seed | first below 0.1 | held | sequences | seconds | " + " | ".join(f"at {n}" for n in lengths) + " |",
        "| --- " * (5 + len(lengths)) + "|",
    ]
    for r in runs:
        if "failure" in r:
            lines.append(f"| {r['seed']} | failed: {r['failure']} |" + " |" * (3 + len(lengths)))
            continue
        first, held = converged(r["curve"])
        cells = [r["seed"], f"{first:,.0f}" if first else "never", "yes" if held else "no"]
        cells += [f"{r['sequences']:,}", f"{r['seconds']:.0f}", *wrong_bits(r).split()]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    lines += ["", "`at n`: mean wrong bits of a sequence at test length n.", ""]

    put(RECORDS, name, lines, "# Results\n")
    print("\n".join(lines))


def spread(values: list[float]) -> str:
    if not values:
        return "none"
    return f"median {median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"


if __name__ == "__main__":
    main()
