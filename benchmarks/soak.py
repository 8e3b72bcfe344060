"""Whether a long life costs memory or descriptors: one training of an hour, and a sweep of 200 jobs in one process.

    python benchmarks/soak.py --record
    python benchmarks/soak.py --record --minutes 0          # the sweep alone; --jobs 0 leaves that out

Both are what a user starts, with every default callback and logger, looked at from outside. Nothing may grow: the
medians of the last quarter are held against those of the quarter before, when every cache is full. The exit code is 1
where memory grew by more than 2 %, or a descriptor or a thread was kept.
"""

import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

import psutil
from measure import ROOT, options, progress, report, table

GROWTH = 0.02
SAMPLES = 100
ENDLESS = ("callbacks.solved.patience=1000000", "callbacks.solved.limit=1000000", "trainer.max_steps=100000000")
TINY = (
    "experiment=tiny_copy",
    "trainer.max_steps=20",
    "trainer.val_check_interval=10",
    "task.validation_size=32",
    "task.far_size=8",
    "task.test_size=8",
)


class Sample(NamedTuple):
    """Of a process: resident memory in MiB, open descriptors, threads."""

    memory: float
    descriptors: float
    threads: float


def watch(command: list[str], every: float) -> list[Sample]:
    """What a command holds, every so many seconds, from its start to its end."""
    samples = []
    with TemporaryDirectory() as folder, Path(folder, "said").open("w+", encoding="utf-8") as said:
        started = subprocess.Popen(command, cwd=folder, stdout=said, stderr=subprocess.STDOUT)
        process = psutil.Process(started.pid)
        while started.poll() is None:
            try:
                memory = process.memory_info().rss / 2**20
                samples.append(Sample(memory, process.num_fds(), process.num_threads()))
            except psutil.Error:
                break  # it has just ended
            time.sleep(every)
        if started.wait():
            said.seek(0)
            raise SystemExit(said.read())
    return samples


def row(samples: list[Sample]) -> tuple[list[str], bool]:
    """Of the third quarter and of the last one; whether nothing has grown."""
    quarter = len(samples) // 4
    third, last = samples[2 * quarter : 3 * quarter], samples[3 * quarter :]
    before, after = (Sample(*map(median, zip(*part, strict=True))) for part in (third, last))
    kept = any(a > b for a, b in zip(after[1:], before[1:], strict=True))
    flat = after.memory <= before.memory * (1 + GROWTH) and not kept
    peak = max(sample.memory for sample in samples)
    cells = [f"{b:,.0f} to {a:,.0f}" for b, a in zip(before, after, strict=True)]
    return [str(len(samples)), f"{peak:,.0f}", *cells, "yes" if flat else "no"], flat


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--minutes", type=float, default=60, help="of the training")
    parser.add_argument("--jobs", type=int, default=200, help="of the sweep")
    args = parser.parse_args()
    minutes, jobs, words = (0.1, 2, TINY) if args.quick else (args.minutes, args.jobs, ())
    train, seconds, grown = [sys.executable, str(ROOT / "train.py")], round(60 * minutes), False
    limit = f'+trainer.max_time="00:{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"'
    for amount, name, command, every in (
        (minutes, f"Soak of {minutes:g} minutes", [*train, *words, *ENDLESS, limit], max(1, seconds / SAMPLES)),
        (jobs, f"Soak of {jobs} jobs", [*train, "-m", *TINY, f"seed=range({jobs})"], 1 if args.quick else 5),
    ):
        if not amount:
            continue
        progress(name)
        cells, flat = row(watch(command, every))
        grown |= not flat
        report(name, table(["samples", "peak MiB", "MiB", "descriptors", "threads", "flat"], [cells]), args.record)
    if grown and not args.quick:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
