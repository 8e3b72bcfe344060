"""Where to resume from, and how to leave."""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

log = logging.getLogger(__name__)


class Last(ModelCheckpoint):
    """Lightning's checkpoint after every validation, at the end of training, and where SIGTERM asks a run to end.

    Each is of a moment between two steps, when all that was measured before has been written, so a run that goes on
    from it leaves no row out and repeats none. A run that is killed or fails within a step goes on from the one before.
    """

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        self.save(
            trainer
        )  # of the last step; after it, weight averaging leaves its average in the place of the weights

    def on_exception(self, trainer: L.Trainer, pl_module: Any, exception: BaseException) -> None:
        if isinstance(exception, SIGTERMException):  # which Lightning raises between two batches of training alone
            self.save(trainer)

    def save(self, trainer: L.Trainer) -> None:
        if self._last_global_step_saved != trainer.global_step:
            self._save_checkpoint(trainer, self.format_checkpoint_name({}))


class Together(L.Callback):
    """Has all processes of a run leave after the same step, whichever of them was told to end.

    Lightning's handler of SIGTERM speaks to the other processes from within the signal, at another point of each one's
    work: where one of them is adding up gradients, all wait for ever. Here a signal is only noted, and the processes
    tell each other at the end of a step.
    """

    def __init__(self) -> None:
        self.told = False

    def setup(self, trainer: L.Trainer, pl_module: Any, stage: str) -> None:
        def note(*_: Any) -> None:
            self.told = True

        trainer._signal_connector._sigterm_notifier_fn = note  # type: ignore[assignment, method-assign]

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        trainer._signal_connector.received_sigterm = trainer.strategy.reduce_boolean_decision(self.told, all=False)

    def on_test_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        self.on_train_batch_end(trainer)


@contextmanager
def leaving_between_steps() -> Iterator[None]:
    """Have Ctrl-C wait for the end of the step, as SIGTERM does; a second one does not wait.

    Raises:
        KeyboardInterrupt: it was Ctrl-C that ended the run, which Lightning would make an exit.
    """
    pressed, before = False, signal.getsignal(signal.SIGINT)

    def end(*_: Any) -> None:
        nonlocal pressed
        pressed = True
        signal.signal(signal.SIGINT, before)
        if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:  # between training and measuring nobody waits for it
            raise KeyboardInterrupt
        log.info("ending after this step; Ctrl-C again ends at once")
        os.kill(os.getpid(), signal.SIGTERM)

    try:
        if os.name == "posix" and before is signal.default_int_handler:  # so we are in the main thread, and nobody's
            signal.signal(signal.SIGINT, end)
        yield
    except SIGTERMException as error:
        if pressed:
            raise KeyboardInterrupt from error
        raise
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise
    finally:
        if signal.getsignal(signal.SIGINT) is end:
            signal.signal(signal.SIGINT, before)
