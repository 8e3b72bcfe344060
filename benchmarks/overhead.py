"""What Lightning, callbacks and loggers cost: train.py's own wiring against a bare loop over the same batches.

    python benchmarks/overhead.py --record

Copy at the default batch. The bare loop draws the batch, runs, differentiates, clips, updates and steps the schedule;
Lightning does the same with the default callbacks and loggers. Neither measures held-out sequences. In turn, in one
process, one thread; a round's rate leaves out its first 50 steps. The aim is 90 % of the bare loop's rate. Where the
machine is busy, the least time that each step took over the rounds says more than the rounds do. Lightning alone steps
a module of one weight that has nothing to compute, without a callback or a logger: what nobody can save.

A second table says what looking costs: of one whole `python train.py`, the time in the callbacks that draw pictures or
measure heads, and in the test of every step for nan, as a share of its training, and what they take at its end. The aim
is less than 5 % of training.
"""

import itertools
import os
import time
from collections import Counter
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
    from torch.nn.utils import clip_grad_value_

    with TemporaryDirectory() as folder:
        task, learner, trainer = wired(folder, steps, "logger=csv", "callbacks=none")
    parameters = list(learner.parameters())
    optimizer = learner.optimizer(parameters)
    scheduler = learner.scheduler(optimizer)
    ends = []
    for step in range(steps):
        inputs, targets, mask = task.training_batch(step)
        loss = learner.loss(learner.machine(inputs), targets, mask)
        optimizer.zero_grad()
        loss.backward()
        clip_grad_value_(parameters, trainer.gradient_clip_val)
        optimizer.step()
        scheduler.step()
        ends.append(time.perf_counter())
    return ends


def alone(steps: int) -> list[float]:
    """When every step of a module of one weight ended."""
    import lightning as L
    import torch

    from callbacks.unprofiled import Unprofiled

    ends = []

    class Nothing(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))

        def train_dataloader(self) -> list[int]:
            return [0] * steps

        def training_step(self, batch: int, batch_idx: int) -> torch.Tensor:
            return 1 * self.weight

        def on_train_batch_end(self, *_: object) -> None:
            ends.append(time.perf_counter())

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.0)

    off = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False, "enable_model_summary": False}
    trainer = L.Trainer(accelerator="cpu", max_epochs=1, profiler=Unprofiled(), **off)  # type: ignore[arg-type]
    trainer.fit(Nothing())
    return ends


HOOKS = (
    "on_train_start",
    "on_train_batch_start",
    "on_train_batch_end",
    "on_validation_epoch_end",
    "on_train_end",
    "on_test_end",
)


def looking(*words: str) -> tuple[float, dict[str, tuple[float, float]]]:
    """Seconds of a whole training, and of each callback that looks: until its end, and in the test after it."""
    import hydra
    import torch

    from callbacks.base import Picture
    from callbacks.heads import HeadFigures
    from callbacks.loggers import finish

    spent: Counter[str] = Counter()

    def timed(name: str, hook: Callable) -> Callable:
        def run(*arguments: object) -> None:
            start = time.perf_counter()
            hook(*arguments)
            spent[name] += time.perf_counter() - start

        return run

    with TemporaryDirectory() as folder:
        with hydra.initialize_config_dir(version_base="1.3", config_dir=str(ROOT / "conf")):
            cfg = hydra.compose("config", [*words, f"output_dir={folder}"])
        torch.manual_seed(cfg.seed)
        task, learner, trainer = train.build(cfg)
        for callback in trainer.callbacks:
            if isinstance(callback, Picture | HeadFigures):
                for hook in HOOKS:
                    if work := getattr(callback, hook):  # None where it has none to do
                        setattr(callback, hook, timed(type(callback).__name__, work))
        learner.check_finite = timed("Learner.check_finite", learner.check_finite)
        learner.machine.prepare()
        start = time.perf_counter()
        trainer.fit(learner, datamodule=task)
        seconds, during = time.perf_counter() - start, spent.copy()
        trainer.test(learner, datamodule=task, verbose=False)
        finish(trainer)
    return seconds, {name: (during[name], spent[name] - during[name]) for name in spent}


def main() -> None:
    args = options(__doc__).parse_args()
    steps, warm_up, rounds = (4, 1, 1) if args.quick else (6000, WARM_UP, args.rounds)  # as many as copy takes
    fix_threads(1)
    variants: dict[str, Callable[[], list[float]]] = {
        "bare loop": lambda: bare(steps),
        "train.py": lambda: lightning(steps),
        "train.py callbacks=none logger=csv": lambda: lightning(steps, "callbacks=none", "logger=csv"),
        "Lightning alone": lambda: alone(steps),
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
        row = [name, spread([1e3 * m for m in means]), spread(rates), f"{1e3 * least[name]:.2f}"]
        rows.append([*row, f"{least['bare loop'] / least[name]:.2f}"])
        if name == "Lightning alone":
            rows[-1][2] = rows[-1][4] = ""  # it does not do the same
    lines = [f"{rounds} rounds of {steps} steps, the first {warm_up} not counted.", ""]
    headings = ["", "ms a step (range)", "rate against the bare loop (range)", "least ms", "rate by the least"]
    lines += table(headings, rows)

    progress("a whole training, to see what looking costs")
    seconds, spent = looking(*(["debug=short", "task.test_lengths=[2]"] if args.quick else []))
    during, after = (sum(column) for column in zip(*spent.values(), strict=True))
    each = {"all": (during, after)} | dict(sorted(spent.items(), key=lambda item: -sum(item[1])))
    rows = [[name, f"{d:.2f}", f"{d / seconds:.2%}", f"{a:.2f}"] for name, (d, a) in each.items()]
    headings = ["", "seconds while training", f"share of {seconds:.1f} s", "seconds at the end"]
    lines += ["", "What looking costs, of one whole training:", "", *table(headings, rows)]
    report("Overhead", lines, args.record)


if __name__ == "__main__":
    main()
