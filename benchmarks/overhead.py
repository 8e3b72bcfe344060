"""What Lightning, callbacks and loggers cost: train.py's own wiring against a bare loop over the same batches.

    python benchmarks/overhead.py --record

Copy at the default batch. The bare loop draws the batch, runs, differentiates, clips, updates and steps the schedule;
Lightning does the same with the default callbacks and loggers. Neither measures held-out sequences. In turn, in one
process, one thread; a round's rate leaves out its first 50 steps. The aim is 90 % of the bare loop's rate. Where the
machine is busy, the least time that each step took over the rounds says more than the rounds do.
"""

import itertools
import os
import time
from collections.abc import Callable
from statistics import mean
from tempfile import TemporaryDirectory

from measure import ROOT, fix_threads, options, progress, report, spread, table

import train

WARM_UP = 50

os.environ.setdefault("WANDB_SILENT", "true")


def wired(folder: str, steps: int, *words: str) -> tuple:
    """The task, the learner and the trainer of `python train.py`, which measures as little as it can."""
    import hydra
    import torch

    small = ("task.validation_size=1", "task.far_size=1", f"trainer.val_check_interval={steps}")
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(ROOT / "conf")):
        cfg = hydra.compose("config", [*words, *small, f"trainer.max_steps={steps}", f"output_dir={folder}"])
    torch.manual_seed(cfg.seed)
    return train.build(cfg)


def lightning(steps: int, *words: str) -> list[float]:
    """When every step ended."""
    import lightning as L

    from callbacks.loggers import finish

    ends = []

    class Clock(L.Callback):
        def on_train_batch_end(self, *_: object) -> None:
            ends.append(time.perf_counter())

    with TemporaryDirectory() as folder:
        task, learner, trainer = wired(folder, steps, *words, "+trainer.enable_progress_bar=true")
        trainer.callbacks.append(Clock())
        trainer.fit(learner, datamodule=task)
        finish(trainer)
    return ends


def bare(steps: int) -> list[float]:
    """When every step ended."""
    from callbacks.spikes import ClipSpikes

    with TemporaryDirectory() as folder:
        task, learner, trainer = wired(folder, steps, "logger=csv", "callbacks=[none,spikes]")
    (clip,) = (callback for callback in trainer.callbacks if isinstance(callback, ClipSpikes))
    optimizer = learner.optimizer(learner.parameters())
    scheduler = learner.scheduler(optimizer)
    ends = []
    for step in range(steps):
        inputs, targets, mask = task.training_batch(step)
        loss = learner.loss(learner.machine(inputs), targets, mask)
        optimizer.zero_grad()
        loss.backward()
        clip.on_before_optimizer_step(trainer, learner, optimizer)
        optimizer.step()
        scheduler.step()
        ends.append(time.perf_counter())
    return ends


def main() -> None:
    args = options(__doc__).parse_args()
    steps, warm_up, rounds = (4, 1, 1) if args.quick else (1000, WARM_UP, args.rounds)
    fix_threads(1)
    variants: dict[str, Callable[[], list[float]]] = {
        "bare loop": lambda: bare(steps),
        "train.py": lambda: lightning(steps),
        "train.py callbacks=none logger=csv": lambda: lightning(steps, "callbacks=none", "logger=csv"),
    }
    taken: dict[str, list[list[float]]] = {name: [] for name in variants}
    for number in range(rounds):
        for name, variant in variants.items():
            progress(f"round {number + 1} of {rounds}: {name}")
            ends = variant()
            each = [after - before for before, after in itertools.pairwise(ends)]
            taken[name].append(each[warm_up:])

    base = [mean(each) for each in taken["bare loop"]]
    least = {name: mean(map(min, zip(*runs, strict=True))) for name, runs in taken.items()}
    rows = []
    for name, runs in taken.items():
        means = [mean(each) for each in runs]
        rates = [b / m for b, m in zip(base, means, strict=True)]
        row = [name, spread([1e3 * m for m in means]), spread(rates)]
        rows.append([*row, f"{1e3 * least[name]:.2f}", f"{least['bare loop'] / least[name]:.2f}"])
    lines = [f"{rounds} rounds of {steps} steps, the first {warm_up} not counted.", ""]
    headings = ["", "ms a step (range)", "rate against the bare loop (range)", "least ms", "rate by the least"]
    report("Overhead", [*lines, *table(headings, rows)], args.record)


if __name__ == "__main__":
    main()
