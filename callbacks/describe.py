"""What the loggers should know about a run before its first number."""

from typing import Any

import lightning as L
from omegaconf import OmegaConf

from callbacks.loggers import Wandb
from callbacks.results import commit


class Describe(L.Callback):
    """Gives every logger the whole configuration, every reference filled in, with the commit of the code.

    W&B's summary is to keep the best value of every held-out figure, as `val/bits.min`.
    """

    only_looks = True

    def on_fit_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        resolved = OmegaConf.to_container(OmegaConf.create(pl_module.config), resolve=True)
        for logger in trainer.loggers:
            logger.log_hyperparams({**resolved, "commit": commit()})  # type: ignore[dict-item]
            if isinstance(logger, Wandb):
                best = {name: "max" if name == "exact" else "min" for name in pl_module.metrics}
                held_out = {f"{stage}/{name}": kind for stage in ("val", "far") for name, kind in best.items()}
                logger.keep_best({**held_out, "both/bits": "min"})
