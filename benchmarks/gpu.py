"""What a GPU brings: updates of the eager machine on it, plain and compiled, beside the fused engine on the CPU.

    python benchmarks/gpu.py --record

The paper's machine (LSTM 100, 128 x 20 slots, a read and a write head) on copy at length 20, 41 steps, by batch. The
fused engine on one core and on all; the eager machine on the GPU that torch finds. Sequences a second, and in brackets
against the fused engine on one core.
"""

import os
import statistics

import torch
from measure import Setting, Turns, number, options, progress, report, table


def main() -> None:
    args = options(__doc__).parse_args()
    found = torch.accelerator.current_accelerator(check_available=True)
    if found is None and not args.quick:
        raise SystemExit("torch finds no GPU here, or no driver for it. --quick runs everything on the CPU.")
    device, name = ("cpu", "no GPU") if found is None else (found.type, name_of(found))
    batches = [1, 2] if args.quick else [1, 16, 64, 256, 1024, 4096]
    rounds, small = (1, {"steps": 3, "slots": 16}) if args.quick else (args.rounds, {})
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    ways = {
        "fused, one core": (1, Setting(**small)),
        f"fused, {cores} cores": (cores, Setting(**small)),
        "eager, GPU": (1, Setting(engine="eager", device=device, **small)),
        "compiled, GPU": (1, Setting(engine="compiled", device=device, **small)),
    }
    rates: dict[tuple[str, int], float] = {}
    for way, (threads, setting) in ways.items():
        with Turns(threads, rounds) as turns:
            for batch in batches:
                progress(f"{way}, batch {batch}")
                one = setting._replace(batch=batch)
                taken, _ = turns.compare([one])
                rates[way, batch] = batch / statistics.median(taken[one])
    rows = []
    for batch in batches:
        base = rates["fused, one core", batch]
        rows.append([f"{batch:,}", *(f"{number(rates[way, batch])} ({rates[way, batch] / base:.2g})" for way in ways)])
    lines = [f"{name}; {rounds} rounds.", "", *table(["batch", *ways], rows)]
    report("A GPU", lines, args.record)


def name_of(device: torch.device) -> str:
    return torch.cuda.get_device_name() if device.type == "cuda" else device.type


if __name__ == "__main__":
    main()
