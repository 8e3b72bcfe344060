"""Draw docs/gallery.md and its pictures from trained machines; it trains nothing.

    python docs/gallery.py                                              # all, from the machines of models/
    python docs/gallery.py copy=outputs/copy/.../checkpoints/best.ckpt  # one, from another machine

Tasks that no word names stay as they are.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from jaxtyping import Float
from lightning import Trainer
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from omegaconf import OmegaConf
from PIL import Image
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent))

from callbacks import animation, curves, figures, film
from callbacks.base import look, probe, write
from callbacks.drawing import READ_WEIGHTING, WRITE_WEIGHTING, color_bar, grid, over_time, shrink, styled
from callbacks.results import measured
from conf.check import ConfigError, exit_on_mistake, explained
from evaluate import configuration, rebuild, run_of
from models.ship import MOST_HEADS, origin, unpack
from ntm.checkpoints import read_checkpoint
from ntm.learner import Learner
from ntm.trace import Trace
from tasks.base import Length, Task, key
from tasks.sort import Sort

DOCS = Path(__file__).parent
TASKS = ("copy", "repeat_copy", "recall", "ngrams", "sort")  # in the paper's order

# The paper's own lengths, where its figures show them: 4, 5 and 8. Elsewhere the task's test lengths.
LENGTHS: dict[str, list[Length]] = {"copy": [10, 20, 30, 50, 120]}

MEMORY_USE = {"copy": 6, "repeat copy": 9, "recall": 12}  # the paper's figures

READABLE = 100  # steps of an episode, at most, in pictures that show it step by step


class Machine(NamedTuple):
    """A trained machine and where it came from."""

    name: str
    path: Path
    checkpoint: dict
    task: Task
    learner: Learner
    trainer: Trainer  # which has just measured it


def load(word: str) -> Machine:
    """The machine that NAME=CHECKPOINT names, measured over its test lengths."""
    name, _, path = word.partition("=")
    with explained("checkpoint", OmegaConf.create()):
        checkpoint = read_checkpoint(path)
    cfg = configuration(checkpoint)
    cfg.callbacks, cfg.output_dir = {}, "unused"
    cfg.trainer.update(accelerator="cpu")  # where the machine still is after a test
    task, learner, trainer = rebuild(cfg, checkpoint, path)
    trainer.loggers = []  # it is measured for its pictures alone
    trainer.test(learner, datamodule=task, verbose=False)
    return Machine(name, Path(path), checkpoint, task, learner, trainer)


def pictures(machine: Machine, images: Path) -> Iterator[tuple[Path, str, str]]:
    """Draws them one after the other: the file, what it shows for who cannot see it, and what to look for."""
    _, path, checkpoint, task, learner, trainer = machine
    length = task.probe_length
    trace = probe(trainer, learner)
    seen = f"{checkpoint['sequences']:,} sequences seen"
    title, of_all = f"{task.title(length)} - {seen}", f"{machine.name.replace('_', ' ')} - {seen}"
    shown = LENGTHS.get(task.title(), task.test_lengths)
    answers = {task.counts(each): look(trainer, learner, task.probe(each)) for each in shown}
    wrong = "; ".join(f"{name}: {figures.wrong_bits(answer)}" for name, answer in answers.items())

    def draw(name: str, figure: Figure, title: str = title) -> Path:
        path = images / f"gallery_{machine.name}_{name}.png"
        write(figure, path, title, vector=None)
        shrink(path)
        return path

    def animate(name: str, frames: list[Image.Image], milliseconds: int) -> Path:
        path = images / f"gallery_{machine.name}_{name}.gif"
        animation.write_gif(path, frames, milliseconds)
        return path

    aim = "the difference" if trace.best_guess is None else "its difference from the best guess"
    yield (
        draw("generalisation", figures.generalisation(answers), of_all),
        f"Target, output and error of the answer to one sequence of each length. {wrong}.",
        f"One sequence of each length, the steps that count: what it should say, what it says, and {aim}.",
    )
    test = measured(trainer, learner)
    if len(test) > 1:
        yield (
            draw("lengths", curves.lengths(test, (key(task.min_length), key(task.max_length))), of_all),
            "Wrong bits of a sequence over the test lengths: "
            + "; ".join(f"{name}: {row['error_bits']:.3g}" for name, row in test.items())
            + ".",
            f"Over {task.test_size} held-out sequences of every length.",
        )
    if trace.memory is None:
        return
    readable = len(trace.inputs) <= READABLE
    yield (
        draw("weightings", figures.weightings(trace)),
        "Input, the weighting of every write head and of every read head, and output, aligned in time.",
        "Where every head focuses. A sharp diagonal: it moves one slot a step. A jump: it found its place by content.",
    )
    if readable:
        yield (
            draw("written_and_read", figures.written_and_read(trace)),
            "On the left input, add vectors and write weightings; on the right output, read vectors and read "
            f"weightings; {len(figures.echoes(trace))} boxes join what is written and what is read.",
            "What is written and what is read: with the same letter, from the same slots."
            + (f" Figure {MEMORY_USE[task.title()]} of the paper." if task.title() in MEMORY_USE else ""),
        )
    if isinstance(task, Sort):
        yield (
            draw("sorting", sorting(trace, trace.inputs[:, task.num_bits])),
            "Two maps of the slots that are read: by priority of what was written into them, and by time of reading. "
            "The less they leave their diagonals, the better it sorts.",
            "What was written where, the highest priority first, and when it is read. Slots are in the order in which "
            "they are read. In figure 17 of the paper the place follows from the priority, nearly in a straight line.",
        )
    taken = checkpoint.get("film") or checkpoint.get("callbacks", {}).get("Film", {}).get("taken")
    small = readable and max(trace.memory.w_write.shape[1], trace.memory.w_read.shape[1]) <= MOST_HEADS
    if taken and small:
        frames = film.frames(trace, taken | {checkpoint["sequences"]: film.frozen(trace)}, task.title(length))
        yield (
            animate("film", frames, film.MILLISECONDS),
            f"Animation: one episode at {len(frames)} moments of training, from no sequence seen to the last.",
            "The same episode over the course of training.",
        )
    if small:
        yield (
            animate("animation", animation.frames(trace, title), animation.MILLISECONDS),
            "Animation: input and output so far over the memory, with the write weighting on its left and the read "
            "weighting on its right, step by step.",
            "One episode, step by step.",
        )
    yield (
        draw("memory", figures.memory(trace)),
        "The memory at the end of the episode, between the write weightings and the read weightings over time.",
        "What is left in the memory, between when each slot was written and when it was read.",
    )
    if readable:
        yield (
            draw("evolution", figures.evolution(trace)),
            f"The memory at {figures.MOMENTS} moments, between its write weighting and its read weighting.",
            "The memory as it fills.",
        )
    yield (
        draw("addressing", figures.addressing(trace)),
        "Greatest weight, key strength, gate, shift, sharpening, erase and add of every head over time.",
        "What the heads are told, step by step: section 3.3 of the paper.",
    )
    packed = checkpoint.get("validations")
    rows = unpack(packed) if packed else curves.validations(run_of(str(path)) / "metrics.csv")
    if rows:
        yield (
            draw("learning", curves.learning(rows, learner.sequences), of_all),
            "Held-out wrong bits and cost, and peak, gate, strength, shift and sharpening of every head over the "
            "sequences seen.",
            "How it learned, and what its heads did meanwhile.",
        )


@styled
def sorting(trace: Trace, priority: Float[Tensor, " time"]) -> Figure:
    """The slots that the answer is read from, in the order of reading: what went there, and when it is read.

    The vectors of the input are in the order of their `priority`. Of several heads, the greatest weight.
    """
    assert trace.memory is not None
    (_, first), (_, delimiter), (_, answer) = trace.phases
    written = trace.memory.w_write[first:delimiter].amax(1)[priority[first:delimiter].argsort(descending=True)]
    read = trace.memory.w_read[answer:].amax(1)
    slots = read.amax(0).topk(min(len(read), read.shape[1])).indices
    slots = slots[read[:, slots].argmax(0).argsort(stable=True)]
    figure, ((left, right),) = grid([3.0, 2.4], [2.4], between=1.6)
    color_bar(over_time(left, written[:, slots], WRITE_WEIGHTING, "slot, in the order of reading"))
    color_bar(over_time(right, read[:, slots], READ_WEIGHTING, ""))
    left.set_xlabel("vector of the input, by priority\nwritten")
    right.set_xlabel("step of the answer\nread")
    for ax in (left, right):
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    return figure


def made_by(machine: Machine) -> str:
    """Where a machine came from: its command, its seed and its commit, as far as its run says."""
    said = f"Seed {machine.checkpoint['config']['seed']}, {machine.checkpoint['sequences']:,} sequences."
    try:
        run = machine.checkpoint.get("origin") or origin(machine.path)
    except ConfigError:  # it has not finished
        return said
    return f"    python {run['command']}\n\n{said} Commit {run['commit'][:10]}."


def gallery(words: list[str], folder: Path) -> None:
    """Write the machines' sections of gallery.md, and their images, into a folder."""
    images, page = folder / "images", folder / "gallery.md"
    images.mkdir(parents=True, exist_ok=True)
    before = page.read_text().rstrip() + "\n" if page.exists() else ""
    sections = {each.partition("\n")[0]: each for each in before.split("\n## ")[1:]}
    for word in words:
        machine = load(word)
        name = machine.name.replace("_", " ").capitalize()
        lines = [name, "", made_by(machine), ""]
        for path, alt, caption in pictures(machine, images):
            print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB", flush=True)
            lines += [caption, "", f"![{alt}](images/{path.name})", ""]
        sections[name] = "\n".join(lines)
    opening = "# Gallery\n\nDrawn by `python docs/gallery.py` from the machines of models/.\n"
    opening += "A command is of its commit. [How to read the pictures](../README.md#how-to-read-the-pictures).\n"
    page.write_text("\n## ".join([opening, *sections.values()]))


if __name__ == "__main__":
    if not all("=" in word for word in sys.argv[1:]):
        sys.exit(__doc__)
    shipped = [f"{name}={DOCS.parent / 'models' / name}.ckpt" for name in TASKS]
    with exit_on_mistake():
        gallery(sys.argv[1:] or shipped, DOCS)
