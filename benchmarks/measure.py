"""What the benchmarks share: settings, processes that take turns, the roof, and records.

A `Turns` keeps one process for every engine, with its threads fixed, and lets them run one after the other, round by
round (A B A B), so that what else the machine does falls on all of them alike. Every process builds what it measures
once and runs it twice before it counts.
"""

import argparse
import multiprocessing
import os
import platform
import re
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # a script's own folder is on the path, its parent is not

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as train.py does: spinning, torch's threads keep cores from ours

RECORDS = ROOT / "docs" / "benchmarks.md"
WARM_UPS = 2


class Setting(NamedTuple):
    """A machine, and what it is to do. By default the paper's, on its copy task at length 20."""

    engine: str = "fused"
    controller: str = "lstm"
    hidden: int = 100
    layers: int = 1
    heads: int = 1  # read heads, and as many write heads
    slots: int = 128
    width: int = 20
    inputs: int = 9
    outputs: int = 8
    steps: int = 41
    batch: int = 16
    device: str = "cpu"
    training: bool = True  # forward, backward and an update; or forward alone


def flops(setting: Setting) -> float:
    """Of one step of one sequence: two for every weight; two for every number in memory that a head compares with its
    key, erases, adds to or reads, and two for the length of its slot. The gradient costs as much again, twice."""
    s = setting
    gates = {"lstm": 4, "gru": 3, "feedforward": 1}[s.controller]
    own = 0 if s.controller == "feedforward" else s.hidden
    reads = s.heads * s.width
    first = gates * s.hidden * (s.inputs + reads + own)
    others = (s.layers - 1) * gates * s.hidden * (s.hidden + own)
    interface = s.hidden * s.heads * (2 * (s.width + 6) + 2 * s.width)  # k, beta, g, three of s, gamma; e and a
    output = s.outputs * (s.hidden + reads)
    touched = s.heads * (2 + 2 + 1) + 1
    forward = 2 * (first + others + interface + output) + 2 * touched * s.slots * s.width
    return forward * (3 if s.training else 1)


def build(setting: Setting) -> Any:
    """A module from [batch time input] to [batch time output]; `compiled` is the eager machine under torch.compile."""
    from functools import partial

    from ntm import Machine
    from ntm.controllers.feedforward import FeedforwardController
    from ntm.controllers.gru import GRUController
    from ntm.controllers.lstm import LSTMController
    from ntm.memories.matrix import MatrixMemory

    s = setting
    if s.engine not in ("fused", "eager", "compiled"):
        import rivals

        return rivals.build(s)
    shape = {"hidden_size": s.hidden, "num_layers": s.layers}
    state = {"initial_state": "constant", "initial_std": 0.0}
    controllers = {
        "lstm": partial(LSTMController, **shape, **state),
        "gru": partial(GRUController, **shape, **state),
        "feedforward": partial(FeedforwardController, **shape),
    }
    memory = MatrixMemory(
        num_slots=s.slots,
        training_slots=None,
        slot_width=s.width,
        num_read_heads=s.heads,
        num_write_heads=s.heads,
        addressing="content_and_location",
        shift_range=3,
        order="write_then_read",
        initial_memory="random",
        initial_weighting="one_hot",
        initial_reads="constant",
        initial_constant=1e-6,
        initial_std=0.05,
    )
    controller = controllers[s.controller]
    return Machine(
        input_size=s.inputs,
        output_size=s.outputs,
        controller=controller,
        memory=memory,
        engine="fused" if s.engine == "fused" else "eager",
        compile=s.engine == "compiled",
    )


def work(setting: Setting) -> Callable[[], None]:
    """What is timed: an update by centred RMSProp, or an answer."""
    import torch
    import torch.nn.functional as F

    s = setting
    model = build(s).to(s.device)
    inputs, targets = torch.randn(s.batch, s.steps, s.inputs), torch.rand(s.batch, s.steps, s.outputs).round()
    inputs, targets = inputs.to(s.device), targets.to(s.device)
    optimizer = optimizer_of(model)

    def update() -> None:
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(model(inputs), targets)
        loss.backward()
        optimizer.step()
        loss.item()  # a GPU is waited for

    @torch.inference_mode()
    def answer() -> None:
        model(inputs)

    return update if s.training else answer


def optimizer_of(model: Any) -> Any:
    """Centred RMSProp, the same for every model: ours, as `train.py` has it."""
    from ntm.optimizers.rmsprop import RMSProp

    return RMSProp(model.parameters(), lr=1e-4, alpha=0.95, eps=1e-4, momentum=0.9, eps_in_root=False)


ready: dict[Setting, Callable[[], None]] = {}  # in a process of its own: the setting at hand


def run(setting: Setting) -> float:
    """Seconds of one update or answer, as the mean of as many as fill a tenth of a second."""
    if setting not in ready:
        ready.clear()
        made = work(setting)
        for _ in range(WARM_UPS):
            made()
        ready[setting] = made
    number, started = 0, time.perf_counter()
    while (spent := time.perf_counter() - started) < 0.1 or number == 0:
        ready[setting]()
        number += 1
    return spent / number


def matrix_product() -> float:
    """The roof: flop a second of a large float32 matrix product."""
    import torch

    size = 2048
    square = torch.randn(size, size)
    square @ square
    started = time.perf_counter()
    square @ square
    return 2 * size**3 / (time.perf_counter() - started)


def fix_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


class Turns:
    """A process for every engine, and one for the roof, that never run at once."""

    def __init__(self, threads: int, rounds: int):
        self.threads, self.rounds = threads, rounds
        self.processes: dict[str, ProcessPoolExecutor] = {}

    def __enter__(self) -> "Turns":
        return self

    def __exit__(self, *_: Any) -> None:
        for process in self.processes.values():
            process.shutdown()

    def ask(self, engine: str, function: Callable[..., float], *arguments: Any) -> float:
        if engine not in self.processes:
            context = multiprocessing.get_context("spawn")
            self.processes[engine] = ProcessPoolExecutor(
                1, mp_context=context, initializer=fix_threads, initargs=(self.threads,)
            )
        return self.processes[engine].submit(function, *arguments).result()

    def compare(self, settings: Sequence[Setting]) -> tuple[dict[Setting, list[float]], float]:
        """Seconds of every setting in every round, and the median roof."""
        taken: dict[Setting, list[float]] = {setting: [] for setting in settings}
        roofs = []
        for setting in settings:
            self.ask(setting.engine, run, setting)  # builds and warms up
        for _ in range(self.rounds):
            for setting, values in taken.items():
                values.append(self.ask(setting.engine, run, setting))
            roofs.append(self.ask("roof", matrix_product))
        return taken, statistics.median(roofs)

    def rows(self, settings: Sequence[Setting], label: str) -> list[list[str]]:
        """A row for every setting: its rate, its fraction of the roof, and its time against the first one's."""
        progress(f"{label}: {', '.join(setting.engine for setting in settings)}")
        taken, roof = self.compare(settings)
        rows = []
        for setting, values in taken.items():
            middle = statistics.median(values)
            ratios = [value / base for value, base in zip(values, taken[settings[0]], strict=True)]
            ours = setting.engine in ("fused", "eager")
            of_roof = flops(setting) * setting.batch * setting.steps / middle / roof
            row = [label, setting.engine, number(setting.batch / middle), number(middle * 1e3)]
            rows.append([*row, f"{of_roof:.0%}" if ours else "", f"{roof / 1e9:.0f}", spread(ratios)])
        return rows


HEADINGS = ["", "engine", "sequences/s", "ms", "of the roof", "roof, GFLOP/s", "time against the first (range)"]


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def progress(text: str) -> None:
    print(f"... {text}", file=sys.stderr, flush=True)


def options(description: str | None) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="seconds, to see that it works; says nothing about speed")
    parser.add_argument("--record", action="store_true", help="write a dated record into docs/benchmarks.md")
    parser.add_argument("--rounds", type=int, default=5)
    return parser


def report(title: str, lines: list[str], record: bool) -> None:
    """Print the lines; put them under their title in docs/benchmarks.md, too, if they are to be recorded."""
    from callbacks.results import commit, versions

    about = ", ".join(f"{key} {value}" for key, value in versions().items())
    command = f"python {Path(sys.argv[0]).resolve().relative_to(ROOT)} {shlex.join(sys.argv[1:])}".strip()
    head = [f"## {title}", "", f"    {command}", "", f"{date.today()}, commit {commit()}, {processor()}; {about}."]
    lines = [*head, "", *lines, ""]
    print("\n".join(lines), flush=True)
    if record:
        put(RECORDS, title, lines, "# Benchmarks\n")


def put(file: Path, name: str, lines: list[str], opening: str) -> None:
    """Write a section into a document, in the place of an older one of that name. Paths are those of the checkout."""
    lines = [line.replace(f"{ROOT}{os.sep}", "") for line in lines]
    begin, end = marks(name)
    section = "\n".join([begin, *lines, end])
    text = file.read_text(encoding="utf-8") if file.exists() else opening
    pattern = re.compile(f"{begin}.*?{end}", re.DOTALL)
    text = pattern.sub(lambda _: section, text) if pattern.search(text) else f"{text.rstrip()}\n\n{section}\n"
    file.write_text(text, encoding="utf-8")


def get(file: Path, name: str) -> list[str]:
    """The lines of a section that was put into a document; none where there is no such section."""
    begin, end = marks(name)
    return file.read_text(encoding="utf-8").partition(f"{begin}\n")[2].partition(end)[0].splitlines()


def marks(name: str) -> tuple[str, str]:
    """What stands before and behind the section of this name."""
    mark = re.sub(r"\W+", "-", name.lower())
    return f"<!-- begin {mark} -->", f"<!-- end {mark} -->"


def processor() -> str:
    """The processor, by its name where the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", cpuinfo.read_text(encoding="utf-8")) if cpuinfo.exists() else []
    return f"{names[0]}, {len(names)} cores" if names else f"{platform.machine()}, {os.cpu_count()} cores"
