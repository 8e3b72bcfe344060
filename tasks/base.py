"""The contract of a task: a Lightning data module whose sampler is a pure function."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count
from typing import Annotated, ClassVar, Literal

import lightning as L
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, NonNegativeFloat, PositiveInt, validate_call
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from ntm.batch import Batch
from ntm.metrics import METRICS, Metric
from ntm.trace import Phase

Length = PositiveInt | tuple[PositiveInt, ...]
Sampler = Callable[[Length, int, torch.Generator], Batch]
Purpose = Literal["training", "validation", "far", "test", "probe", "redraw"]


class Task(L.LightningDataModule, ABC):
    """An endless stream of training batches, and held-out sets that never change.

    A new task states its sizes and `sample`s sequences of a length from a generator. It gets for nothing: training
    batches that are a pure function of (seed, rank, step), so that a resumed run goes on with exactly the batches that
    an uninterrupted one would see; batches of one length or of mixed lengths; validation sets over the training range
    and far beyond it, a test set for every test length, and an episode to draw. The held-out sets do not depend on the
    seed: every run is measured on the same sequences.

    Inputs to learn from have noise of standard deviation `noise`, so that a machine keeps away from the edge of a
    decision, where the sequence that it has not met lies on the wrong side; what is held out has none.

    A length is one number, or a number for each of the `numbers` that a task names: `[20, 10]` is 20 vectors, 10 times.
    Where several are asked for, a lone number stands for all. `metrics` are what is reported of the task, and `phases`
    names the stretches of an episode in its pictures.
    """

    input_size: int
    output_size: int
    shortest = 1  # the least number that makes sense in a length
    numbers: ClassVar[tuple[str, ...]] = ("vectors",)  # what the numbers of a length count
    metrics: Mapping[str, Metric] = METRICS

    @validate_call
    def __init__(
        self,
        *,
        seed: int,
        batch_size: PositiveInt,
        min_length: Length,
        max_length: Length,
        mixed_lengths: bool,
        noise: NonNegativeFloat,
        validation_size: PositiveInt,
        far_length: Length,
        far_size: PositiveInt,
        test_lengths: Annotated[list[Length], Field(min_length=1)],
        test_size: PositiveInt,
        probe_length: Length,
    ):
        super().__init__()
        lowest = self.to_length("min_length", min_length)
        highest = self.to_length("max_length", max_length)
        if any(low > high for low, high in zip(lengths(lowest), lengths(highest), strict=True)):
            raise ValueError(
                f"task.min_length={written(min_length)} exceeds task.max_length={written(max_length)}. Lower the "
                "one or raise the other."
            )
        self.seed = seed
        self.batch_size = batch_size
        self.min_length, self.max_length = lowest, highest
        self.mixed_lengths = mixed_lengths
        self.noise = noise
        self.validation_size = validation_size
        self.far_length, self.far_size = self.to_length("far_length", far_length), far_size
        self.test_lengths = [self.to_length("test_lengths", length, test_lengths) for length in test_lengths]
        if len(set(self.test_lengths)) < len(test_lengths):
            raise ValueError(f"task.test_lengths={written(test_lengths)} has one of them twice. Leave it out once.")
        self.test_size = test_size
        self.probe_length = self.to_length("probe_length", probe_length)

    def to_length(self, setting: str, length: Length, among: list[Length] | None = None) -> Length:
        """A length as `sample` takes it: one number as it is, several as a tuple.

        Raises:
            ValueError: it has too many or too few numbers, or one that is too small.
        """
        asked, count, value = lengths(length), len(self.numbers), written(among or length)
        fitted = asked * count if len(asked) == 1 else asked
        if len(fitted) != count:
            form = f"[{', '.join(self.numbers)}]" if count > 1 else "one number"
            raise ValueError(f"task.{setting}={value}: a length of this task must be {form}. Give that.")
        if min(fitted) < self.shortest:
            raise ValueError(f"task.{setting}={value} must be at least {self.shortest}. Ask for more.")
        return fitted if count > 1 else fitted[0]

    @abstractmethod
    def sample(self, length: Length, batch_size: int, generator: torch.Generator) -> Batch:
        """Draw sequences of one length; the same generator state gives the same sequences."""

    def training_sample(self, length: Length, batch_size: int, generator: torch.Generator) -> Batch:
        """The same to learn from; a task may show more of what is rare, and is measured on what it `sample`s."""
        return self.sample(length, batch_size, generator)

    def stored(self, length: Length) -> int:
        """How many vectors an episode of a length has to be kept; 0 of a task that is not about vectors to keep."""
        return 0

    def draw_length(self, generator: torch.Generator) -> Length:
        """A length of the training range, both ends included; each of several numbers on its own."""
        ranges = zip(lengths(self.min_length), lengths(self.max_length), strict=True)
        drawn = tuple(int(torch.randint(low, high + 1, (), generator=generator)) for low, high in ranges)
        return drawn if len(drawn) > 1 else drawn[0]

    def training_batch(self, step: int, rank: int = 0) -> Batch:
        """The batch of a step: a pure function of the seed, the rank and the step."""
        source = generator("training", self.seed, rank, step)
        batch = self.draw(self.training_sample, self.batch_size, source, mixed=self.mixed_lengths)
        if self.noise:
            batch = batch._replace(inputs=batch.inputs + self.noise * self.unit_noise(batch.inputs.shape, source))
        return batch

    def unit_noise(self, shape: torch.Size, generator: torch.Generator) -> Tensor:
        """Noise of mean 0 and standard deviation 1: normal, unless a task has a reason for another."""
        return torch.randn(shape, generator=generator)

    def draw(self, sample: Sampler, batch_size: int, generator: torch.Generator, mixed: bool) -> Batch:
        """A batch over the training range: of one length, or of one length for each sequence, padded."""
        if not mixed or self.min_length == self.max_length:
            return sample(self.draw_length(generator), batch_size, generator)
        return pad([sample(self.draw_length(generator), 1, generator) for _ in range(batch_size)])

    def train_dataloader(self) -> "Stream":
        return Stream(self)

    def val_dataloader(self) -> list["HeldOut"]:
        """Held-out sequences over the training range, and others far beyond it."""
        near, far = split(self.validation_size), split(self.far_size)
        return [
            held_out(
                self.draw(self.sample, size, generator("validation", i), mixed=True) for i, size in enumerate(near)
            ),
            held_out(self.sample(self.far_length, size, generator("far", i)) for i, size in enumerate(far)),
        ]

    def test_dataloader(self) -> list["HeldOut"]:
        """Held-out sequences of every test length, a loader for each."""
        sizes = split(self.test_size)
        return [
            held_out(self.sample(length, size, generator("test", *lengths(length), i)) for i, size in enumerate(sizes))
            for length in self.test_lengths
        ]

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """What Lightning finds out anew for every batch: it is three tensors."""
        return Batch(*(field.to(device) for field in batch))

    def probe(self, length: Length | None = None) -> Batch:
        """One episode to look inside of, always the same; of `probe_length`, or of another length."""
        length = length or self.probe_length
        return self.sample(length, 1, generator("probe", *lengths(length)))

    def best_guess(self, episode: Batch) -> Tensor | None:
        """The best prediction of the targets, as probabilities, of a task where nobody can know them; else None."""
        return None

    def phases(self, length: Length) -> tuple[Phase, ...]:
        """The stretches of an episode by their names, the first from step 0. A task may know more of them."""
        answer = int(self.probe(length).mask.int().argmax())
        return (Phase("input", 0), Phase("answer", answer)) if answer else (Phase("answer", 0),)

    def counts(self, length: Length) -> str:
        """What a length counts: `10 vectors, 1 repeat`."""
        return ", ".join(
            f"{count} {what.removesuffix('s') if count == 1 else what}"
            for count, what in zip(lengths(length), self.numbers, strict=True)
        )

    def title(self, length: Length | None = None) -> str:
        """What a picture is of: the task, and the length of its episode: `repeat copy, 10 vectors, 1 repeat`."""
        name = type(self).__module__.rpartition(".")[2].replace("_", " ")
        return name if length is None else f"{name}, {self.counts(length)}"


class Stream:
    """Training batches from the trainer's step onwards, so there is no position to save and none to lose."""

    def __init__(self, task: Task):
        self.task = task

    def __iter__(self) -> Iterator[Batch]:
        trainer = self.task.trainer
        assert trainer is not None
        for step in count(trainer.global_step * trainer.accumulate_grad_batches):
            yield self.task.training_batch(step, trainer.global_rank)


HeldOut = DataLoader[Batch]


def held_out(batches: Iterable[Batch]) -> HeldOut:
    """A loader over batches that are already made."""
    return DataLoader(list(batches), batch_size=None)  # type: ignore[arg-type]


def generator(purpose: Purpose, *position: int) -> torch.Generator:
    """Independent random numbers for every purpose and position, and none that a seed alone would give."""
    entropy = (*purpose.encode(), *position)
    seed = np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(seed))


def random_bits(*shape: int, generator: torch.Generator) -> Tensor:
    """Fair coins as 0.0 and 1.0."""
    return torch.randint(2, shape, generator=generator).to(torch.get_default_dtype())


def ask(question: Float[Tensor, "batch asked input"], answer: Float[Tensor, "batch answered output"]) -> Batch:
    """The question, and then, with nothing more to see, the answer, whose steps alone are scored."""
    asked, answered = question.shape[1], answer.shape[1]
    mask = torch.zeros(len(answer), asked + answered, dtype=torch.bool)
    mask[:, asked:] = True
    return Batch(F.pad(question, (0, 0, 0, answered)), F.pad(answer, (0, 0, asked, 0)), mask)


def pad(batches: list[Batch]) -> Batch:
    """One batch of sequences of several lengths: blank inputs and no scored steps after the end of each."""
    rows = [row for batch in batches for row in zip(*batch, strict=True)]
    return Batch(*(pad_sequence(list(field), batch_first=True) for field in zip(*rows, strict=True)))


def split(size: int, at_most: int = 128) -> list[int]:
    """Sizes of the batches in which a held-out set is run."""
    return [min(at_most, size - start) for start in range(0, size, at_most)]


def lengths(length: Length) -> tuple[int, ...]:
    return (length,) if isinstance(length, int) else tuple(length)


def written(value: Length | list[Length]) -> str:
    """As on the command line: lists, not tuples."""
    return json.dumps(value)


def key(length: Length) -> str:
    """How a test length is named in logs and results: `20`, or `10x20` for two numbers."""
    return "x".join(map(str, lengths(length)))
