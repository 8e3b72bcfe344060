"""Peak resident memory of training, above what the imports take.

    python benchmarks/memory.py --record

The paper's machine, batch 64, copy at length 120 (241 steps), three updates, one thread. The aim for the fused engine
is less than 1 GiB. Bytes of a sequence-step are the growth of the peak from half that length to all of it. The kernel
is compiled beforehand, in another process.
"""

import multiprocessing
import resource
import sys
from concurrent.futures import ProcessPoolExecutor

from measure import Setting, fix_threads, options, progress, report, table, work

AIM = 2**30


def peak(setting: Setting) -> int:
    """Bytes above what this process took before it built anything."""
    import ntm.fused.engine  # noqa: F401 - part of the imports

    before = resident()
    update = work(setting)
    for _ in range(3):
        update()
    return resident() - before


def resident() -> int:
    """The most that this process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def alone(setting: Setting) -> int:
    """The peak in a process that has done nothing else."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=fix_threads, initargs=(1,)) as process:
        return process.submit(peak, setting).result()


def main() -> None:
    args = options(__doc__).parse_args()
    batch, length = (2, 4) if args.quick else (64, 120)
    rows = []
    alone(Setting(batch=1, steps=1))  # compiles
    for engine in ("fused", "eager"):
        progress(engine)
        whole = Setting(engine=engine, batch=batch, steps=2 * length + 1)
        half = whole._replace(steps=length + 1)
        bytes_, less = alone(whole), alone(half)
        each = (bytes_ - less) / batch / (whole.steps - half.steps)
        rows.append([engine, f"{bytes_ / 2**20:,.0f}", "yes" if bytes_ < AIM else "no", f"{each / 1024:,.1f}"])
    lines = [f"Batch {batch}, length {length}.", ""]
    lines += table(["engine", "peak, MiB", "below 1 GiB", "KiB a sequence-step"], rows)
    report("Memory", lines, args.record)


if __name__ == "__main__":
    main()
