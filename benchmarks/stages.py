"""Where the time of the fused engine goes: the parts of an update, and the stages of a step.

    python benchmarks/stages.py --record

The paper's machine on copy at length 20, one thread. "Layout" brings the parameters into the kernels' order and their
gradients back; "around" is what is neither kernel nor optimiser: Python, autograd, the loss. A stage is timed alone,
over the arrays of a real episode of eight sequences: they are nearer to the processor than in an episode, so the sum of
the stages is less than the kernel. What a read adds to the memory's gradient goes with content addressing, as in the
kernel, which also writes the memories between two of the tape again.
"""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
import torch.nn.functional as F
from measure import Setting, build, fix_threads, optimizer_of, options, progress, report, table
from numba import njit

from ntm.fused import access, addressing, engine, episode, interface
from ntm.fused.addressing import OUTSIDE
from ntm.fused.compiled import UNCOUNTED
from ntm.fused.episode import BLOCK, EVERY

KERNELS = {
    "episode_forward": "forward",
    "episode_backward": "backward",
    "weight_gradients": "weight gradients",
    "pack": "layout",
    "unpack": "layout",
}


class Watch:
    """Stands in for the engine's kernels, and keeps what every call took and was given."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.given: dict[str, tuple] = {}

    def over(self, name: str) -> Callable[..., None]:
        kernel = getattr(engine, name)

        def timed(*arguments: Any) -> None:
            self.given[name] = arguments
            started = time.perf_counter()
            kernel(*arguments)
            self.seconds[KERNELS[name]] += time.perf_counter() - started

        return timed


def parts(setting: Setting, updates: int) -> dict[str, float]:
    """Median milliseconds of the parts of an update."""
    watch, model = Watch(), build(setting)
    inputs = torch.randn(setting.batch, setting.steps, setting.inputs)
    targets = torch.rand(setting.batch, setting.steps, setting.outputs).round()
    optimizer = optimizer_of(model)
    found = defaultdict(list)
    for update in range(2 + updates):
        watch.seconds.clear()
        started = time.perf_counter()
        with watching(watch):
            F.binary_cross_entropy_with_logits(model(inputs), targets).backward()
        learned = time.perf_counter()
        optimizer.step()
        ended = time.perf_counter()
        optimizer.zero_grad()
        if update >= 2:
            for name, seconds in watch.seconds.items():
                found[name].append(1e3 * seconds)
            found["around"].append(1e3 * (learned - started - sum(watch.seconds.values())))
            found["optimiser"].append(1e3 * (ended - learned))
    return {name: statistics.median(values) for name, values in found.items()}


class Given(NamedTuple):
    """What the kernels were given for eight sequences, and so what every stage is timed over."""

    tape: Any
    gradients: Any
    weights: Any
    back: Any  # the weights of the backward pass
    scratch: Any  # with room for the memories between two on the tape
    sizes: Any


# Every stage over all steps of all sequences, for both heads where there are two, in loops that are compiled with it.

compiled = njit(**UNCOUNTED)
WRITE, READ = 0, 1  # the heads


@compiled
def controller_forward(a):
    time = a.tape.q.shape[1]
    for t in range(time):
        episode.controller_forward(0, BLOCK, t, t, (t + 1) % time, t, t + 1, a.tape, a.weights, a.sizes)


@compiled
def controller_backward(a):
    for t in range(a.tape.q.shape[1]):
        episode.controller_backward(0, BLOCK, t, 0, a.tape, a.gradients, a.back, a.sizes, False)


@compiled
def interface_forward(a):
    for t in range(a.tape.q.shape[1]):
        episode.interface_forward(0, BLOCK, t, t, a.tape, a.weights, a.sizes.hidden)
        for b in range(BLOCK):
            interface.squash_forward(a.tape.p, a.tape.q, b, t, a.sizes.layout)


@compiled
def interface_backward(a):
    for t in range(a.tape.q.shape[1]):
        for b in range(BLOCK):
            interface.squash_backward(a.tape.p, a.tape.q, a.gradients.p, b, t, a.sizes.clip, a.sizes.layout)


@compiled
def content_forward(a):
    q, K, w_c, outside = a.tape.q, a.tape.K, a.tape.w_c, a.scratch.outside
    M, scale, layout = a.scratch.M, a.scratch.scale, a.sizes.layout
    for t in range(q.shape[1]):
        for b in range(BLOCK):
            for head in (WRITE, READ):
                addressing.content_forward(q, M, scale, outside, K, w_c, b, b, t, 0, t, head, layout)


@compiled
def content_backward(a):
    q, dq, dM, dr, K, w_c, w = a.tape.q, a.gradients.p, a.gradients.M, a.gradients.r, a.tape.K, a.tape.w_c, a.tape.w
    M, scale, dw_c, spare, layout = a.scratch.M, a.scratch.scale, a.scratch.dw_c, a.scratch.spare, a.sizes.layout
    for t in range(q.shape[1]):
        at = t % EVERY
        for b in range(BLOCK):
            for head, read in ((WRITE, -1), (READ, 0)):
                addressing.content_backward(
                    q, dq, M, dM, scale, K, w_c, w, dw_c, spare, dr, b, b, t, at, t, t + 1, head, read, layout
                )


@compiled
def location_forward(a):
    q, w_c, w, outside, ring = a.tape.q, a.tape.w_c, a.tape.w, a.scratch.outside, a.scratch.ring
    layout, slots = a.sizes.layout, a.sizes.slots
    for t in range(q.shape[1]):
        for b in range(BLOCK):
            for head in (WRITE, READ):
                addressing.location_forward(q, w_c, w, outside, ring, b, t, t, t + 1, head, layout, slots)


@compiled
def location_backward(a):
    q, w_c, w, dw_c, ring = a.tape.q, a.tape.w_c, a.tape.w, a.scratch.dw_c, a.scratch.ring
    dq, dw, layout, slots = a.gradients.p, a.gradients.w, a.sizes.layout, a.sizes.slots
    for t in range(q.shape[1]):
        for b in range(BLOCK):
            for head in (WRITE, READ):
                addressing.location_backward(q, dq, w_c, w, dw, dw_c, ring, b, t, t, t + 1, head, layout, slots)


@compiled
def write_forward(a):
    for t in range(a.tape.q.shape[1]):
        for b in range(BLOCK):
            access.write_forward(a.tape.q, a.scratch.M, a.scratch.scale, a.tape.w, b, b, t, t + 1, 0, 1, a.sizes.layout)


@compiled
def write_backward(a):
    q, dq, dM, w, dw = a.tape.q, a.gradients.p, a.gradients.M, a.tape.w, a.gradients.w
    for t in range(q.shape[1]):
        for b in range(BLOCK):
            access.write_backward(q, dq, a.scratch.M, dM, w, dw, b, b, t, t + 1, t % EVERY, a.sizes.layout)


@compiled
def read_forward(a):
    for t in range(a.tape.q.shape[1]):
        for b in range(BLOCK):
            access.read_forward(a.scratch.M, a.tape.w, a.tape.hr, b, b, t, 0, t + 1, READ, a.sizes.hidden)


@compiled
def read_backward(a):
    dw, dr = a.gradients.w, a.gradients.r
    for t in range(a.tape.q.shape[1]):
        for b in range(BLOCK):
            access.read_backward(a.scratch.M, dw, dr, b, b, t % EVERY, READ, 0)


# In the order of a step.
STAGES = {
    "controller: product and cell": (controller_forward, controller_backward),
    "interface: product and squashing": (interface_forward, interface_backward),
    "content addressing, eqs. (5) and (6)": (content_forward, content_backward),
    "location addressing, eqs. (7) to (9)": (location_forward, location_backward),
    "writing, eqs. (3) and (4)": (write_forward, write_backward),
    "reading, eq. (2)": (read_forward, read_backward),
}


def timed(stage: Callable[[Given], None], given: Given, repeats: int) -> float:
    """Least microseconds of a stage for one sequence at one step."""
    stage(given)  # compiles
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        stage(given)
        seconds.append(time.perf_counter() - started)
    return 1e6 * min(seconds) / BLOCK / given.tape.q.shape[1]


def gather(setting: Setting) -> Given:
    """Run an episode of eight sequences and keep what its kernels were given."""
    watch = Watch()
    with watching(watch):
        build(setting)(torch.randn(BLOCK, setting.steps, setting.inputs)).sum().backward()
    *_, tape, weights, _, sizes = watch.given["episode_forward"]
    *_, gradients, back, scratch, _, _ = watch.given["episode_backward"]
    scratch.outside[: sizes.slots] = 0  # which only the forward pass needs
    scratch.outside[sizes.slots :] = OUTSIDE
    return Given(tape, gradients, weights, back, scratch, sizes)


@contextmanager
def watching(watch: Watch) -> Iterator[None]:
    with ExitStack() as patched:
        for name in KERNELS:
            patched.enter_context(patch.object(engine, name, watch.over(name)))
        yield


def main() -> None:
    args = options(__doc__).parse_args()
    fix_threads(1)
    batches, repeats = ([1], 1) if args.quick else ([1, 4, 16, 64], 20 * args.rounds)
    setting = Setting(steps=3, slots=16) if args.quick else Setting()
    rows = []
    for batch in batches:
        progress(f"parts of an update, batch {batch}")
        found = parts(setting._replace(batch=batch), repeats)
        whole = sum(found.values())
        rows.append([f"batch {batch}", *(f"{ms:.2f} ({ms / whole:.0%})" for ms in found.values()), f"{whole:.2f}"])
    lines = ["Median milliseconds of an update, and their share:", ""]
    lines += table(["", *found, "in all"], rows)

    given, rows, sums = gather(setting), [], [0.0, 0.0]
    for name, (forward, backward) in STAGES.items():
        progress(name)
        each = [timed(forward, given, repeats), timed(backward, given, repeats)]
        rows.append([name, *(f"{us:.2f}" for us in each)])
        sums = [total + us for total, us in zip(sums, each, strict=True)]
    rows.append(["sum", *(f"{total:.2f}" for total in sums)])
    lines += ["", "Least microseconds of a sequence-step:", "", *table(["stage", "forward", "backward"], rows)]
    report("Where the time goes", lines, args.record)


if __name__ == "__main__":
    main()
