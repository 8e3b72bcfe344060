"""Whether a run that is killed again and again ends as one that was left alone: to the last bit, row by row.

    python benchmarks/kill.py --record

A training is killed by SIGKILL at random moments, every fourth time while it starts and every fourth while it writes a
checkpoint, and resumed by `resume=FOLDER` after each; its folder is on another filesystem than that of temporary files.
Weights, rows and results must be those of an uninterrupted run, but for times. Eager and fused; copy and recall; with a
schedule, with a moving average of the weights, and where callbacks turn the training. The exit code is 1 where one
differs.
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from measure import options, progress, report, table

TINY = (
    "experiment=tiny_copy",
    "logger=csv",
    "callbacks=[none,heads]",
    "trainer.val_check_interval=5",
    "trainer.log_every_n_steps=2",
    "task.validation_size=8",
    "task.far_size=4",
    "task.test_lengths=[2,3]",
    "task.test_size=8",
)
RECALL = ("task=recall", "task.max_length=3", "task.far_length=4", "task.probe_length=3", "memory.training_slots=null")
REWINDS = (  # once or more in every run
    *("callbacks=[none,rewind,solved]", "optimizer.lr=3e-3"),
    *("trainer.gradient_clip_val=null", "memory.gradient_clip_val=null", "task.sparse_rate=0.3"),
    *("callbacks.rewind.monitor=val/error_bits", "callbacks.rewind.chance=1.8"),
    *("callbacks.solved.threshold=1", "callbacks.solved.limit=3", "callbacks.solved.cooldown=50"),
)
VARIANTS = {
    "copy, eager": ("engine=eager",),
    "copy, fused": ("engine=fused",),
    "recall, eager": ("engine=eager", *RECALL),
    "recall, fused": ("engine=fused", *RECALL),
    "copy, fused, averaged": ("engine=fused", "callbacks=[none,average,heads]"),
    "copy, fused, averaged, without schedule": ("engine=fused", "scheduler=constant", "callbacks=[none,average]"),
    "copy, fused, going back to the best and settling": ("engine=fused", *REWINDS),
}
TIMES = ("seconds", "seconds_to_first_step", "sequences_per_second", "seconds_to_solution", "command", "commit")


def start(words: Sequence[str], said: Path) -> int:
    """`python train.py` in a process of its own, with all imports done already; its id."""
    child = os.fork()
    if child:
        return child
    code = 1
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
    try:
        sys.stdout = sys.stderr = said.open("a", encoding="utf-8")
        os.dup2(sys.stdout.fileno(), 1)
        os.dup2(sys.stdout.fileno(), 2)
        from hydra.core.global_hydra import GlobalHydra

        import train

        GlobalHydra.instance().clear()
        os.environ["HYDRA_FULL_ERROR"] = "1"
        sys.argv = [train.__file__, *words]
        train.cli(train.main)
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait(child: int) -> int:
    """Until a process ends; its exit code, negative where a signal ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill(child: int, folder: Path, seconds: float, when: str) -> bool:
    """Kill a process so long after it or its training began, or at the checkpoint after that; whether it still ran."""
    began, due = time.time(), time.monotonic() + seconds
    ready = when == "starting"
    while not ready or time.monotonic() < due or (when == "saving" and not list(folder.glob("checkpoints/*.half"))):
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
        if not ready and modified(folder / ".hydra" / "resolved.yaml") > began:
            ready, due = True, time.monotonic() + seconds
        if not ready or time.monotonic() < due:
            time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    wait(child)
    return True


def modified(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0


def outcome(folder: Path) -> dict[str, object]:
    """All that a run comes to, but for times."""
    import torch

    found: dict[str, object] = {}
    for path in sorted(folder.glob("checkpoints/*")):
        checkpoint = torch.load(path, weights_only=True)
        for part in ("state_dict", "current_model_state", "optimizer_states", "lr_schedulers"):
            found[f"{path.name} {part}"] = str(plain(checkpoint.get(part)))
    found["rows"] = (folder / "metrics.csv").read_text(encoding="utf-8")
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return found | {name: value for name, value in results.items() if name not in TIMES}


def plain(tree: object) -> object:
    """Tensors as lists, every digit of theirs."""
    import torch

    if isinstance(tree, torch.Tensor):
        return tree.tolist()
    if isinstance(tree, dict):
        return {key: plain(value) for key, value in tree.items()}
    return [plain(value) for value in tree] if isinstance(tree, list | tuple) else tree


def compare(words: Sequence[str], kills: int, folder: Path, seed: int) -> tuple[int, float, list[str]]:
    """The kills that struck, the seconds of a training that was left alone, and what came out otherwise."""
    straight, killed = folder / "straight", folder / "killed"
    assert wait(start([*words, f"hydra.run.dir={straight}"], folder / "straight.txt")) == 0
    seconds = time.time() - modified(straight / ".hydra" / "resolved.yaml")
    draw, struck = random.Random(seed), 0
    child = start([*words, f"hydra.run.dir={killed}"], folder / "killed.txt")
    while struck < kills:
        when = ("training", "saving", "training", "starting")[struck % 4]
        if not kill(child, killed, draw.uniform(0, 1.5 if when == "starting" else seconds / kills), when):
            break
        struck += 1
        left = (killed / ".hydra" / "overrides.yaml").exists()
        child = start([f"resume={killed}"] if left else [*words, f"hydra.run.dir={killed}"], folder / "killed.txt")
    else:
        assert wait(child) == 0, (folder / "killed.txt").read_text(encoding="utf-8")[-2000:]
    one, other = outcome(straight), outcome(killed)
    return struck, seconds, [name for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--folder", default="/dev/shm", help="on another filesystem than TMPDIR")
    args = parser.parse_args()
    import train  # noqa: F401 - once, for all

    kills, steps = (1, 10) if args.quick else (args.kills, 120)
    variants = dict(list(VARIANTS.items())[:1]) if args.quick else VARIANTS
    rows, differing = [], 0
    with TemporaryDirectory() as folder:  # the engine is compiled before anything is timed
        assert wait(start([*TINY, "trainer.max_steps=5", f"hydra.run.dir={folder}/run"], Path(folder, "said"))) == 0
    for number, (name, words) in enumerate(variants.items()):
        with TemporaryDirectory(dir=None if args.quick else args.folder) as folder:
            struck, seconds, found = compare([*TINY, *words, f"trainer.max_steps={steps}"], kills, Path(folder), number)
        differing += len(found)
        progress(f"{name}: {struck} kills, {', '.join(found) or 'nothing'} differs")
        rows.append([name, f"{seconds:.0f}", str(struck), ", ".join(found) or "nothing"])
    report("Kills", table(["", "seconds left alone", "kills", "differs"], rows), args.record)
    if differing:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
