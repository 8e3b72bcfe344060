"""Training throughput by engine and batch, in turn in one process: sequences a second, and the fraction of the roof.

    python benchmarks/throughput.py --threads 1 --engines fused lstm eager

The setting is the paper's copy task at length 20 (41 steps, 9 inputs, 8 outputs, 128 x 20 slots). One update is
forward, backward and a step of centred RMSProp. `lstm` is torch.nn.LSTM with 100 units and no memory. Two updates
of each are not counted. The roof is the rate of a large float32 matrix product, measured in every round.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ntm import Machine
from ntm.controllers.feedforward import FeedforwardController
from ntm.controllers.gru import GRUController
from ntm.controllers.lstm import LSTMController
from ntm.memories.matrix import MatrixMemory

STEPS, INPUTS, OUTPUTS = 41, 9, 8


class Baseline(nn.Module):
    """torch's LSTM, one fused operation, and an output layer."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(INPUTS, 100, batch_first=True)
        self.output = nn.Linear(100, OUTPUTS)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.output(self.lstm(inputs)[0])


def machine(engine: str, args: argparse.Namespace) -> nn.Module:
    if engine == "lstm":
        return Baseline()
    state = {"initial_state": "constant", "initial_std": 0.0}
    controllers = {
        "lstm": partial(LSTMController, hidden_size=args.hidden, num_layers=1, **state),
        "gru": partial(GRUController, hidden_size=args.hidden, num_layers=1, **state),
        "feedforward": partial(FeedforwardController, hidden_size=args.hidden, num_layers=1),
    }
    memory = MatrixMemory(
        num_slots=args.slots,
        slot_width=20,
        num_read_heads=args.heads,
        num_write_heads=args.heads,
        addressing="content_and_location",
        shift_range=3,
        order="write_then_read",
        initial_memory="random",
        initial_weighting="learned",
        initial_reads="constant",
        initial_constant=0.0,
        initial_std=0.05,
    )
    controller = controllers[args.controller]
    return Machine(input_size=INPUTS, output_size=OUTPUTS, controller=controller, memory=memory, engine=engine)


def flops(machine: Machine) -> float:
    """Of one step of one sequence with its gradient: two for every weight, and for a slot's number in every head's

    comparison, erasure, addition and read; the gradient costs as much again, twice.
    """
    weights = sum(p.numel() for name, p in machine.named_parameters() if "weight" in name and p.dim() == 2)
    weights -= sum(p.numel() for p in machine.memory.parameters())
    memory, heads = machine.memory, machine.memory.heads
    touched = 2 * heads.num_heads + 2 * heads.num_write_heads + memory.num_read_heads
    return 3 * (2 * weights + 2 * touched * memory.num_slots * memory.slot_width)


def update(model: nn.Module, batch: int) -> Callable[[], None]:
    inputs, targets = torch.randn(batch, STEPS, INPUTS), torch.rand(batch, STEPS, OUTPUTS).round()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-4, centered=True, momentum=0.9)

    def run() -> None:
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(model(inputs), targets).backward()
        optimizer.step()

    return run


def seconds(run: Callable[[], object], repeats: int) -> float:
    started = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - started) / repeats


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", nargs="+", default=["fused", "lstm", "eager"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 16, 64])
    parser.add_argument("--controller", default="lstm")
    parser.add_argument("--hidden", type=int, default=100)
    parser.add_argument("--heads", type=int, default=1, help="read heads, and as many write heads")
    parser.add_argument("--slots", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    square = torch.randn(2048, 2048)
    models = {engine: machine(engine, args) for engine in args.engines}
    work = flops(machine("eager", args))
    print(
        f"{args} torch {torch.__version__}, {torch.get_num_threads()} threads, {work / 1e3:.0f} kFLOP a sequence-step"
    )
    print(f"{'batch':>5} {'engine':>7} {'seq/s':>7} {'ms':>8} {'of the roof':>12}   times {args.engines[0]} (range)")
    for batch in args.batches:
        updates = {engine: update(model, batch) for engine, model in models.items()}
        for run in updates.values():
            seconds(run, 2)
        taken: dict[str, list[float]] = {engine: [] for engine in models}
        rates = []
        for _ in range(args.rounds):
            for engine, run in updates.items():
                taken[engine].append(seconds(run, 1 if engine == "eager" else max(2, 32 // batch)))
            rates.append(2 * 2048**3 / seconds(lambda: square @ square, 1))
        rate, first = statistics.median(rates), taken[args.engines[0]]
        for engine, values in taken.items():
            middle = statistics.median(values)
            roof = f"{work * batch * STEPS / middle / rate:.0%}" if engine != "lstm" else ""
            ratios = sorted(value / base for value, base in zip(values, first, strict=True))
            print(
                f"{batch:>5} {engine:>7} {batch / middle:>7.0f} {middle * 1e3:>8.2f} {roof:>12}   "
                f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
            )
        print(f"      matrix product {rate / 1e9:.0f} GFLOP/s")


if __name__ == "__main__":
    main()
