"""Callbacks act at the right moments, after a resumption too, and leave the training as it was."""

import csv
import logging
import math
from collections.abc import Iterator
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console
from torch.utils.data import DataLoader

from callbacks.addressing import Addressing as AddressingPicture
from callbacks.animation import Animation
from callbacks.base import Overview, Probe, evaluating
from callbacks.episode import Episode
from callbacks.evolution import Evolution
from callbacks.film import Film
from callbacks.heads import HeadFigures, head_figures
from callbacks.loggers import Wandb
from callbacks.memory import Memory
from callbacks.redraw import RedrawInitialStates
from callbacks.results import table
from callbacks.rewind import Rewind
from callbacks.solved import Solved
from callbacks.unprofiled import skip_empty_hooks
from callbacks.weightings import Weightings
from callbacks.written_and_read import WrittenAndRead
from ntm.batch import Batch
from ntm.controllers.feedforward import FeedforwardController
from ntm.heads import Addressing
from ntm.machine import Machine
from ntm.memories.matrix import MatrixMemory
from ntm.memories.none import NoMemory
from ntm.metrics import METRICS
from ntm.trace import MemoryTrace, Phase, Trace

BATCH_SIZE = 2
PROBES = [Episode, Weightings, Memory, Evolution, WrittenAndRead, AddressingPicture, Animation]

pytestmark = [
    # Lightning advises workers for its loaders; these hold a list.
    pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers"),
    # Lightning 2.6.6 still asks torch 2.13 for a class by its old name.
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.:FutureWarning"),
    # A resumed run keeps its checkpoint where it was, or has a folder of its own.
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:The dirpath has changed from"),
    # It doubts that a loader is resumed where it was; these give the same batch for ever.
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended"),
]


class Learner(L.LightningModule):
    """Two slots and three bits; it says that it has `measured` so many wrong bits, validation after validation."""

    def __init__(self, memory: bool = True, measured: tuple[float, ...] = ()):
        super().__init__()
        slots = MatrixMemory(
            num_slots=2,
            training_slots=None,
            slot_width=3,
            num_read_heads=1,
            num_write_heads=1,
            addressing="content",
            shift_range=1,
            order="write_then_read",
            initial_memory="random",
            initial_weighting="random",
            initial_reads="constant",
            initial_constant=0.0,
            initial_std=1.0,
        )
        self.machine = Machine(
            input_size=3,
            output_size=3,
            controller=partial(FeedforwardController, hidden_size=4, num_layers=1),
            memory=slots if memory else NoMemory(),
        )
        self.measured = iter(measured)
        self.sequences_before = 0

    @property
    def sequences(self) -> int:
        return self.global_step * BATCH_SIZE

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        self.sequences_before = self.sequences
        return self.machine(batch.inputs).square().mean()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.log("val/error_bits", next(self.measured), batch_size=BATCH_SIZE)

    def test_step(self, batch: Batch, batch_idx: int) -> None: ...

    def configure_optimizers(self) -> dict[str, object]:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)}


class Task(L.LightningDataModule):
    """The same batch over and over."""

    def batch(self, size: int) -> Batch:
        inputs = torch.linspace(0, 1, size * 6).reshape(size, 2, 3)
        return Batch(inputs, inputs.round(), torch.ones(size, 2, dtype=torch.bool))

    def batches(self, count: int) -> DataLoader:
        return DataLoader([self.batch(BATCH_SIZE)] * count, batch_size=None)

    def train_dataloader(self) -> DataLoader:
        return self.batches(100)

    def val_dataloader(self) -> DataLoader:
        return self.batches(1)

    def test_dataloader(self) -> DataLoader:
        return self.batches(1)

    probe_length = 2

    def probe(self) -> Batch:
        return self.batch(1)

    def phases(self, length: int) -> tuple[Phase, ...]:
        return (Phase("answer", 0),)

    def best_guess(self, episode: Batch) -> None:
        return None

    def title(self, length: int | None = None) -> str:
        return "nothing" if length is None else f"nothing, {length} steps"


def trainer(*callbacks: L.Callback, steps: int = 8, logger=False, **settings) -> L.Trainer:
    return L.Trainer(
        accelerator="cpu",
        max_steps=steps,
        callbacks=list(callbacks),
        logger=logger,
        enable_checkpointing=any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=settings.pop("limit_val_batches", 0),
        **settings,
    )


class Blank(Probe):
    """The quickest picture."""

    name = "blank"

    def draw(self, trace: Trace) -> Figure:
        return Figure(figsize=(0.1, 0.1))


def pictures(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_picture_is_made_whenever_a_multiple_of_every_is_passed(tmp_path):
    trainer(Blank(every=5, folder=tmp_path, vector=None)).fit(Learner(), Task())

    assert pictures(tmp_path) == ["blank_00000006.png", "blank_00000010.png", "blank_00000016.png"]


def test_a_picture_is_made_once_for_a_number_of_sequences(tmp_path):
    drawn = []

    class Counting(Blank):
        def draw(self, trace: Trace) -> Figure:
            drawn.append(trace)
            return super().draw(trace)

    learner, run = Learner(), trainer(Counting(every=4, folder=tmp_path, vector=None))
    run.fit(learner, Task())
    run.test(learner, Task(), verbose=False)

    assert len(drawn) == 4


def test_testing_alone_makes_a_picture(tmp_path):
    trainer(Blank(every=5, folder=tmp_path, vector=None)).test(Learner(), Task(), verbose=False)

    assert pictures(tmp_path) == ["blank_00000000.png"]


def test_a_resumed_run_makes_the_pictures_of_an_uninterrupted_one(tmp_path):
    first = trainer(Blank(every=5, folder=tmp_path / "first", vector=None), steps=4)
    first.fit(Learner(), Task())
    first.save_checkpoint(tmp_path / "last.ckpt")

    trainer(Blank(every=5, folder=tmp_path / "second", vector=None)).fit(
        Learner(), Task(), ckpt_path=tmp_path / "last.ckpt"
    )

    assert pictures(tmp_path / "first") == ["blank_00000006.png"]
    assert pictures(tmp_path / "second") == ["blank_00000010.png", "blank_00000016.png"]


def test_every_member_draws_a_real_machine(tmp_path):
    trainer(*(member(every=2, folder=tmp_path, vector=None) for member in PROBES), steps=1).fit(Learner(), Task())

    assert pictures(tmp_path) == sorted(f"{member.name}_00000002{member.suffix}" for member in PROBES)


def film(folder: Path) -> Film:
    return Film(first=2, growth=2, folder=folder, vector=None)


def test_a_film_has_a_frame_before_the_first_step_one_for_each_growth_and_the_last(tmp_path):
    taking = film(tmp_path)
    trainer(taking, steps=5).fit(Learner(), Task())

    assert sorted(taking.taken) == [0, 2, 4, 8]
    with Image.open(tmp_path / "film_00000010.gif") as gif:
        assert gif.n_frames == 5


@pytest.mark.parametrize("memory", [True, False])
def test_the_film_of_a_resumed_run_is_that_of_an_uninterrupted_one(memory, tmp_path):
    def run(name: str, steps: int, **resumed) -> bytes:
        L.seed_everything(1, verbose=False)
        made = trainer(film(tmp_path / name), steps=steps)
        made.fit(Learner(memory=memory), Task(), **resumed)
        made.save_checkpoint(tmp_path / f"{name}.ckpt")
        return (tmp_path / name / f"film_{2 * steps:08d}.gif").read_bytes()

    whole, half = run("whole", 6), run("half", 3)

    assert half != whole
    assert run("resumed", 6, ckpt_path=tmp_path / "half.ckpt", weights_only=True) == whole


def test_a_film_goes_on_with_the_frames_of_its_own_episode_where_that_was_changed(tmp_path):
    class Longer(Task):
        def probe(self) -> Batch:
            return Batch(*(torch.cat([field, field], dim=1) for field in super().probe()))

    first = trainer(film(tmp_path), steps=2)
    first.fit(Learner(), Task())
    first.save_checkpoint(tmp_path / "last.ckpt")

    trainer(film(tmp_path), steps=5).fit(Learner(), Longer(), ckpt_path=tmp_path / "last.ckpt")

    with Image.open(tmp_path / "film_00000010.gif") as gif:
        assert gif.n_frames == 2  # of 8 and of 10 sequences


def test_every_picture_comes_in_a_vector_format_on_request(tmp_path):
    made = trainer(
        Episode(every=99, folder=tmp_path, vector="svg"), Weightings(every=99, folder=tmp_path, vector="pdf")
    )
    made.test(Learner(), Task(), verbose=False)

    assert pictures(tmp_path) == [
        "episode_00000000.png",
        "episode_00000000.svg",
        "weightings_00000000.pdf",
        "weightings_00000000.png",
    ]
    drawn = (tmp_path / "episode_00000000.svg").read_text()
    assert "nothing, 2 steps - 0 sequences seen" in drawn  # letters, not outlines
    assert (tmp_path / "weightings_00000000.pdf").read_bytes().startswith(b"%PDF")


def test_a_picture_of_a_whole_run_is_not_called_after_the_length_of_an_episode(tmp_path):
    class Whole(Overview):
        name = "whole"

        def figure(self, trainer: L.Trainer, pl_module: Learner) -> Figure:
            return Figure(figsize=(1, 1))

    trainer(Whole(folder=tmp_path, vector="svg")).test(Learner(), Task(), verbose=False)

    assert "nothing - 0 sequences seen" in (tmp_path / "whole_00000000.svg").read_text()


def test_a_machine_without_memory_has_pictures_of_its_episode_alone(tmp_path):
    trainer(*(member(every=2, folder=tmp_path, vector=None) for member in PROBES), steps=1).fit(
        Learner(memory=False), Task()
    )

    assert pictures(tmp_path) == ["episode_00000002.png"]


def test_looking_does_not_disturb_the_training(tmp_path):
    def weights_after(*callbacks: L.Callback) -> dict[str, torch.Tensor]:
        L.seed_everything(1, verbose=False)
        learner = Learner(measured=(9.0,) * 9)
        trainer(*callbacks, val_check_interval=2, limit_val_batches=1).fit(learner, Task())
        return {"random numbers": torch.get_rng_state(), **learner.state_dict()}

    unseen, seen = weights_after(), weights_after(Blank(every=2, folder=tmp_path, vector=None), HeadFigures())

    assert all(torch.equal(unseen[name], seen[name]) for name in unseen)


def test_looking_gives_every_part_its_own_mode_back():
    learner = Learner()
    learner.machine.controller.eval()
    before = [part.training for part in learner.modules()]

    with evaluating(learner):
        assert not any(part.training for part in learner.modules())

    assert [part.training for part in learner.modules()] == before


def test_a_wrong_setting_is_refused(tmp_path):
    with pytest.raises(ValueError, match="every"):
        Blank(every=0, folder=tmp_path, vector=None)


@pytest.fixture
def offline(tmp_path) -> Iterator[Wandb]:
    logger = Wandb(save_dir=tmp_path, mode="offline")
    yield logger
    logger.finish()


def test_weights_and_biases_gets_every_picture_and_animations_that_move(offline, tmp_path):
    members = [
        Blank(every=2, folder=tmp_path / "figures", vector=None),
        Animation(every=2, folder=tmp_path / "figures", vector=None),
    ]

    trainer(*members, steps=2, logger=offline).fit(Learner(), Task())

    kept = [path.name for path in tmp_path.glob("wandb/offline-run-*/files/media/*/figures/*")]
    assert sorted(name.split("_")[0] + Path(name).suffix for name in kept) == ["animation.gif"] * 2 + ["blank.png"] * 2
    assert offline.experiment.summary["sequences"] == 4


def test_tensorboard_gets_every_picture(tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    logger = TensorBoardLogger(tmp_path)
    members = [
        Blank(every=2, folder=tmp_path / "figures", vector=None),
        Animation(every=2, folder=tmp_path / "figures", vector=None),
    ]

    trainer(*members, steps=2, logger=logger).fit(Learner(), Task())

    read = events.EventAccumulator(logger.log_dir).Reload()
    assert {key: [image.step for image in read.Images(key)] for key in read.Tags()["images"]} == {
        "figures/blank": [2, 4],
        "figures/animation": [2, 4],
    }


def test_training_stops_when_solved_for_patience_validations_in_a_row(caplog):
    solved = Solved(monitors=["val/error_bits"], threshold=0.5, patience=3, limit=99, cooldown=0)
    run = trainer(solved, steps=50, val_check_interval=1, limit_val_batches=1)

    with caplog.at_level(logging.INFO, logger="callbacks.solved"):
        run.fit(Learner(measured=(9.0, 0.0, 0.0, 0.6, 0.5, 0.0, 0.0, 0.0)), Task())  # after a sanity check

    assert run.global_step == 6
    assert [record.getMessage() for record in caplog.records if record.name == "callbacks.solved"] == [
        "solved after 12 sequences: val/error_bits <= 0.5"
    ]


class Rates(L.Callback):
    """Notes the rate that every step is taken at, and that its scheduler finds after it."""

    def __init__(self) -> None:
        self.seen: list[float] = []
        self.scheduled: list[float] = []

    def on_train_start(self, trainer, pl_module):
        (optimizer,) = trainer.optimizers
        optimizer.register_step_pre_hook(lambda *_: self.seen.append(round(optimizer.param_groups[0]["lr"], 6)))
        optimizer.register_step_post_hook(lambda *_: self.scheduled.append(optimizer.param_groups[0]["lr"]))


def test_a_solved_machine_settles_while_the_rate_falls_to_zero():
    rates, solved = Rates(), Solved(monitors=["val/error_bits"], threshold=0.0, patience=1, limit=99, cooldown=4)
    run = trainer(solved, rates, steps=50, val_check_interval=1, limit_val_batches=1, num_sanity_val_steps=0)

    run.fit(Learner(measured=(9.0, 0.0, 9.0, 9.0, 0.0, 0.0)), Task())

    cosine = [0.1, 0.085355, 0.05, 0.014645]  # half of one, from 0.1
    assert rates.seen == [0.1, 0.1, *cosine]


def test_a_machine_that_did_not_stay_solved_goes_back_to_the_full_rate():
    rates, solved = Rates(), Solved(monitors=["val/error_bits"], threshold=0.0, patience=1, limit=99, cooldown=2)
    run = trainer(solved, rates, steps=50, val_check_interval=1, limit_val_batches=1, num_sanity_val_steps=0)

    run.fit(Learner(measured=(0.0, 0.0, 9.0, 9.0, 0.0, 0.0, 0.0)), Task())

    assert rates.seen == [0.1, 0.1, 0.05, 0.1, 0.1, 0.1, 0.05]


def test_a_machine_that_loses_it_while_it_settles_goes_back_to_the_best_one(tmp_path, caplog):
    weights, rates = Weights(), Rates()
    solved = Solved(monitors=["val/error_bits"], threshold=0.5, patience=1, limit=99, cooldown=4)
    run = rewinding(tmp_path, solved, rates, weights)

    with caplog.at_level(logging.INFO):
        run.fit(Learner(measured=(3.0, 0.2, 1.0, 0.4, 2.0, 0.3)), Task())

    assert run.global_step == 6
    assert rates.seen == [0.1, 0.1, 0.1, 0.085355, 0.05, 0.014645]
    assert same(weights.seen[2], weights.seen[1])
    assert same(weights.seen[4], weights.seen[1])
    assert not same(weights.seen[3], weights.seen[1])
    assert [record.getMessage() for record in caplog.records if record.name == "callbacks.rewind"] == [
        f"not solved any more after {sequences} sequences, while it settles: back to {tmp_path}/best.ckpt"
        for sequences in (6, 10)
    ]


def test_a_machine_that_settles_for_the_training_range_alone_goes_back_for_nothing_else(tmp_path, caplog):
    class Near(Learner):
        """Wrong beyond the training range."""

        def validation_step(self, batch: Batch, batch_idx: int) -> None:
            super().validation_step(batch, batch_idx)
            self.log("far/error_bits", 9.0, batch_size=BATCH_SIZE)

    monitors = ["val/error_bits", "far/error_bits"]
    run = rewinding(tmp_path, Solved(monitors=monitors, threshold=0.5, patience=1, limit=2, cooldown=3))

    with caplog.at_level(logging.INFO, logger="callbacks.rewind"):
        run.fit(Near(measured=(0.3, 0.2, 0.4, 1.0, 0.1)), Task())

    assert run.global_step == 5
    assert [
        record.getMessage().partition(",")[0] for record in caplog.records if record.name == "callbacks.rewind"
    ] == ["not solved any more after 8 sequences"]


@pytest.mark.parametrize(("after", "steps"), [((0.0,), 8), ((9.0, 0.0, 0.0), 13)], ids=["solved", "not any more"])
def test_settling_ends_where_it_is_due_and_not_at_the_next_validation(after, steps):
    solved = Solved(monitors=["val/error_bits"], threshold=0.0, patience=1, limit=99, cooldown=3)
    run = trainer(solved, steps=50, val_check_interval=5, limit_val_batches=1, num_sanity_val_steps=0)

    run.fit(Learner(measured=(0.0, *after)), Task())  # after 5 steps, and 8; and of the other after 10 and 13

    assert run.global_step == steps


def test_a_schedule_goes_on_as_if_nothing_settled():
    class Falling(Learner):
        def configure_optimizers(self) -> dict[str, object]:
            optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    expected = [0.05 * (1 + math.cos(math.pi * step / 10)) for step in range(7)]
    rates, solved = Rates(), Solved(monitors=["val/error_bits"], threshold=0.0, patience=1, limit=99, cooldown=2)
    run = trainer(solved, rates, steps=7, val_check_interval=1, limit_val_batches=1, num_sanity_val_steps=0)

    run.fit(Falling(measured=(9.0, 0.0, 9.0, 9.0, 9.0, 9.0, 9.0)), Task())

    assert rates.scheduled == pytest.approx(expected)
    assert rates.seen == pytest.approx(
        [rate * (0.5 if step == 3 else 1) for step, rate in enumerate(expected)], abs=1e-6
    )


def test_other_monitors_are_not_waited_for_beyond_the_limit():
    class Near(Learner):
        """Right in the training range, and never beyond it."""

        def validation_step(self, batch: Batch, batch_idx: int) -> None:
            self.log("val/error_bits", 0.0, batch_size=BATCH_SIZE)
            self.log("far/error_bits", 9.0, batch_size=BATCH_SIZE)

    monitors = ["val/error_bits", "far/error_bits"]
    solved, rates = Solved(monitors=monitors, threshold=0.0, patience=2, limit=3, cooldown=2), Rates()
    run = trainer(solved, rates, steps=50, val_check_interval=1, limit_val_batches=1, num_sanity_val_steps=0)

    run.fit(Near(), Task())

    assert rates.seen == [0.1, 0.1, 0.1, 0.1, 0.05]


def test_a_resumed_run_goes_on_counting_what_was_solved(tmp_path):
    def run(steps: int) -> L.Trainer:
        solved = Solved(monitors=["val/error_bits"], threshold=0.0, patience=3, limit=99, cooldown=0)
        return trainer(solved, steps=steps, val_check_interval=1, limit_val_batches=1, num_sanity_val_steps=0)

    first = run(steps=2)
    first.fit(Learner(measured=(0.0,) * 9), Task())
    first.save_checkpoint(tmp_path / "last.ckpt")
    second = run(steps=50)
    second.fit(Learner(measured=(0.0,) * 9), Task(), ckpt_path=tmp_path / "last.ckpt")

    assert second.global_step == 3


@pytest.mark.parametrize(("folder", "steps"), [("run", 1), ("other", 4)])
def test_a_run_that_was_solved_stays_so_and_another_that_trains_on_looks_anew(folder, steps, tmp_path):
    def run(folder: str) -> L.Trainer:
        solved = Solved(monitors=["val/error_bits"], threshold=0.0, patience=1, limit=99, cooldown=0)
        often = {"val_check_interval": 1, "limit_val_batches": 1, "num_sanity_val_steps": 0}
        return trainer(solved, steps=9, default_root_dir=tmp_path / folder, **often)

    first, checkpoint = run("run"), tmp_path / "run/checkpoints/last.ckpt"
    first.fit(Learner(measured=(0.0,)), Task())
    first.save_checkpoint(checkpoint)

    resumed = run(folder)
    resumed.fit(Learner(measured=(9.0, 9.0, 0.0)), Task(), ckpt_path=checkpoint, weights_only=True)

    assert first.global_step == 1
    assert resumed.global_step == steps


def test_a_monitor_that_nobody_measures_is_refused_with_what_there_is():
    run = trainer(
        Solved(monitors=["val/eror_bits"], threshold=0.0, patience=1, limit=99, cooldown=0),
        val_check_interval=1,
        limit_val_batches=1,
        num_sanity_val_steps=0,
    )

    with pytest.raises(ValueError, match=r"monitors=val/eror_bits is not measured .* has val/error_bits"):
        run.fit(Learner(measured=(0.0,)), Task())


class Weights(L.Callback):
    """Notes the weights after every validation."""

    def __init__(self) -> None:
        self.seen: list[dict[str, torch.Tensor]] = []

    def on_validation_end(self, trainer, pl_module):
        self.seen.append({name: value.clone() for name, value in pl_module.state_dict().items()})


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def rewinding(folder: Path, *callbacks: L.Callback, steps: int = 50, monitor: str = "val/error_bits") -> L.Trainer:
    """A run that is measured after every step, keeps the best machine in its folder, and goes back to it."""
    one = {"enable_version_counter": False, "save_on_train_epoch_end": False}
    best = ModelCheckpoint(dirpath=folder, filename="best", monitor=monitor, **one)
    often = {"val_check_interval": 1, "limit_val_batches": 1, "num_sanity_val_steps": 0}
    return trainer(Rewind(monitor="val/error_bits", chance=8.0), *callbacks, best, steps=steps, **often)


class Momentum(Learner):
    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def test_a_machine_that_unlearns_its_task_goes_back_to_the_best_one(tmp_path, caplog):
    weights = Weights()

    with caplog.at_level(logging.INFO, logger="callbacks.rewind"):
        rewinding(tmp_path, weights, steps=7).fit(Learner(measured=(8.0, 5.0, 9.0, 2.0, 4.0, 6.0, 1.0)), Task())

    assert same(weights.seen[5], weights.seen[3])
    assert not any(same(weights.seen[i], weights.seen[j]) for i, j in ((2, 1), (4, 3), (6, 3)))
    assert [record.getMessage() for record in caplog.records if record.name == "callbacks.rewind"] == [
        f"unlearned after 12 sequences: val/error_bits is 6, and was 2: back to {tmp_path}/best.ckpt"
    ]


def test_a_resumed_run_goes_back_to_what_the_run_before_it_had_learned(tmp_path):
    def run(name: str, measured: tuple[float, ...], steps: int, resume: Path | None = None) -> list[dict[str, Any]]:
        weights = Weights()
        made = rewinding(tmp_path / name, weights, steps=steps)
        torch.manual_seed(0)
        made.fit(Momentum(measured=measured), Task(), ckpt_path=resume, weights_only=True)
        made.save_checkpoint(tmp_path / name / f"{steps}.ckpt")
        return weights.seen

    straight = run("straight", (8.0, 1.0, 2.0, 7.0, 1.5), 5)
    run("cut", (8.0, 1.0, 2.0), 3)
    resumed = run("cut", (7.0, 1.5), 5, resume=tmp_path / "cut/3.ckpt")
    assert same(straight[3], straight[1])
    assert same(resumed[0], straight[1])
    assert same(resumed[1], straight[4])  # its moments, too


def test_an_average_of_the_weights_goes_back_with_them(tmp_path):
    class Measured(L.Callback):
        """Notes the weights that validation measures."""

        seen: ClassVar[list[dict[str, torch.Tensor]]] = []

        def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
            self.seen.append({name: value.clone() for name, value in pl_module.state_dict().items()})

    averages, weights = Measured(), Weights()
    average = EMAWeightAveraging(decay=0.5)
    rewinding(tmp_path, average, averages, weights, steps=4).fit(Learner(measured=(8.0, 1.0, 7.0, 7.0)), Task())

    kept = torch.load(tmp_path / "best.ckpt", weights_only=True)
    assert same(kept["state_dict"], averages.seen[1])
    assert same(kept["current_model_state"], weights.seen[1])
    assert same(weights.seen[2], weights.seen[1])
    assert same(weights.seen[3], weights.seen[1])  # the average was back, too, or the second would have been another


def test_a_new_run_is_not_judged_by_what_another_had_measured(tmp_path, caplog):
    rewinding(tmp_path / "easy", steps=2).fit(Learner(measured=(8.0, 0.0)), Task())

    with caplog.at_level(logging.INFO, logger="callbacks.rewind"):
        run = rewinding(tmp_path / "hard", steps=5)
        run.fit(Learner(measured=(7.0, 6.0, 5.0)), Task(), ckpt_path=tmp_path / "easy/best.ckpt", weights_only=True)

    assert run.global_step == 5
    assert "unlearned" not in caplog.text


def test_a_machine_that_is_the_best_by_the_measure_of_its_checkpoint_is_kept(tmp_path):
    class Far(Learner):
        """Better and better beyond the training range."""

        def validation_step(self, batch: Batch, batch_idx: int) -> None:
            super().validation_step(batch, batch_idx)
            self.log("far/error_bits", 9.0 - self.global_step, batch_size=BATCH_SIZE)

    weights = Weights()
    rewinding(tmp_path, weights, steps=3, monitor="far/error_bits").fit(Far(measured=(8.0, 0.0, 8.0)), Task())

    assert not same(weights.seen[2], weights.seen[1])
    assert same(torch.load(tmp_path / "best.ckpt", weights_only=True)["state_dict"], weights.seen[2])


class Watch(L.Callback):
    """Notes the initial memory after every step."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.seen.append(pl_module.machine.memory.M_0.value.clone())

    def changes(self) -> list[int]:
        """The steps before which it changed."""
        return [i for i in range(1, len(self.seen)) if not torch.equal(self.seen[i - 1], self.seen[i])]


def test_random_states_are_redrawn_once_when_the_sequences_have_been_seen():
    watch, learner = Watch(), Learner()
    logits = learner.machine.memory.w_write_0.value.clone()

    trainer(RedrawInitialStates(at=5, seed=0), watch).fit(learner, Task())

    assert watch.changes() == [2]  # in the third step, which sees sequences 5 and 6
    assert not torch.equal(learner.machine.memory.w_write_0.value, logits)
    assert torch.equal(learner.machine.memory.r_0.value, torch.zeros(1, 3))  # constant


def test_redrawing_leaves_the_weights_alone():
    def weights_after(*callbacks: L.Callback) -> list[torch.Tensor]:
        L.seed_everything(1, verbose=False)
        learner = Learner()
        trainer(*callbacks, steps=3).fit(learner, Task())
        return list(learner.parameters())

    pairs = zip(weights_after(), weights_after(RedrawInitialStates(at=5, seed=0)), strict=True)

    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


def test_a_resumed_run_does_not_redraw_again(tmp_path):
    first = trainer(RedrawInitialStates(at=5, seed=0), steps=3)
    learner = Learner()
    first.fit(learner, Task())
    first.save_checkpoint(tmp_path / "last.ckpt")
    redrawn = learner.machine.memory.M_0.value.clone()

    watch, resumed = Watch(), Learner()
    trainer(RedrawInitialStates(at=5, seed=0), watch).fit(resumed, Task(), ckpt_path=tmp_path / "last.ckpt")

    assert len(watch.seen) == 5
    assert watch.changes() == []
    assert torch.equal(resumed.machine.memory.M_0.value, redrawn)


def test_the_figures_of_a_head_are_means_over_the_steps():
    two, reach = torch.tensor([[[1.0, 0.0]], [[0.5, 0.5]]]), torch.tensor([[[0.0, 0.0, 1.0]], [[0.5, 0.5, 0.0]]])
    one = torch.tensor([[1.0], [2.0]])
    told = Addressing(k=torch.zeros(2, 1, 3), beta=4 * one, g=one / 4, s=reach, gamma=2 * one)
    both = Addressing(**{name: torch.cat([value, 0 * value], dim=1) for name, value in vars(told).items()})
    memory = MemoryTrace(
        M=torch.zeros(2, 2, 3),
        w_write=two,
        w_read=two.flip(-1).repeat(1, 2, 1),
        r=torch.zeros(2, 2, 3),
        e=torch.tensor([[[0.0, 0.0, 0.3]], [[0.0, 0.5, 1.0]]]),
        a=torch.tensor([[[-0.6, 0.0, 0.6]], [[0.0, 0.0, 0.0]]]),
        write=told,
        read=both,
    )

    measured = {name: value.item() for name, value in head_figures(memory).items()}

    address = {"peak": 0.75, "entropy": 0.5, "gate": 0.375, "strength": 6.0, "shift": 0.25, "sharpening": 3.0}
    nothing = {"gate": 0.0, "strength": 0.0, "shift": 0.0, "sharpening": 0.0}
    expected = {
        **{f"read0/{name}": value for name, value in address.items()},
        **{f"read1/{name}": value for name, value in (address | nothing).items()},
        **{f"write0/{name}": value for name, value in (address | {"erase": 0.3, "add": 0.2}).items()},
    }
    assert measured == pytest.approx(expected)


@pytest.mark.parametrize("memory", [True, False])
def test_the_figures_of_heads_are_logged_at_every_validation(memory, tmp_path):
    logger = CSVLogger(tmp_path, name="", version="")
    run = trainer(HeadFigures(), steps=2, logger=logger, val_check_interval=1, limit_val_batches=1)

    run.fit(Learner(memory=memory, measured=(9.0,) * 3), Task())

    rows = list(csv.DictReader((tmp_path / "metrics.csv").read_text().splitlines()))
    assert [row["val/error_bits"] for row in rows] == ["9.0", "9.0"]
    heads = [{name: float(row[name]) for name in row if name.startswith("head/")} for row in rows]
    if memory:
        assert {"head/read0/peak", "head/write0/add"} <= heads[0].keys()
        assert heads[0] != heads[1]
    else:
        assert heads == [{}, {}]


def test_the_table_has_the_figures_that_a_task_alone_reports():
    usual = dict.fromkeys(METRICS, 0.5)
    printed = StringIO()
    Console(file=printed, width=80).print(
        table({"task": "ngrams", "test": {"200": usual | {"optimal_bits": 132.961}}}, 8)
    )
    assert "optimal bits at 200: 132.96" in printed.getvalue()


def test_lightning_passes_over_the_hooks_of_a_step_that_a_callback_leaves_empty():
    class Counts(L.Callback):
        steps = 0

        def on_train_batch_end(self, *_: object) -> None:
            self.steps += 1

    counts, empty = Counts(), L.Callback()
    skip_empty_hooks([counts, empty])
    assert counts.on_before_backward is None
    assert empty.on_train_batch_end is None
    trainer(counts, empty, steps=5).fit(Learner(), Task())
    assert counts.steps == 5
