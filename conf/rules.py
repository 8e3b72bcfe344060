"""What a setting must be where its class is not ours, and says so too late, in its own words, or not at all."""

from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

Fraction = Annotated[float, Field(ge=0, lt=1)]
Measured = Literal[  # the less, the better
    "val/bits",
    "val/error_bits",
    "val/bit_error_rate",
    "far/bits",
    "far/error_bits",
    "far/bit_error_rate",
    "both/bits",
]

Text = Annotated[str, Field(coerce_numbers_to_str=True)]  # 2026 is a name, too

RULES: dict[str, Any] = {
    "seed": Annotated[int, Field(ge=0, lt=2**32)],
    "engine": Literal["auto", "eager", "fused"],
    "compile": bool,
    "threads": PositiveInt | None,
    "checkpoint": str | None,
    "resume": str | None,
    "weights": str | None,
    "allow": list[str],
    "output_dir": Annotated[Text, Field(min_length=1)],
    "vector": Literal["svg", "pdf"] | None,
    "trainer.precision": Literal["32-true", "64-true", "bf16-mixed", 32, 64],
    "trainer.max_steps": PositiveInt,
    "trainer.max_epochs": Literal[-1],  # the stream never ends
    "trainer.limit_train_batches": None,  # nor is it cut into any
    "trainer.overfit_batches": Literal[0],  # nor do batches come again
    "trainer.check_val_every_n_epoch": None,
    "trainer.limit_*_batches": PositiveInt | None,  # how many sequences are held out is the task's to say
    "trainer.val_check_interval": PositiveInt,
    "trainer.log_every_n_steps": PositiveInt,
    "trainer.num_sanity_val_steps": NonNegativeInt,
    "trainer.accumulate_grad_batches": PositiveInt,
    "trainer.gradient_clip_val": NonNegativeFloat | None,
    "trainer.gradient_clip_algorithm": Literal["norm", "value"],
    "optimizer.lr": PositiveFloat,
    "optimizer.alpha": Fraction,
    "optimizer.betas": tuple[Fraction, Fraction],
    "optimizer.eps": NonNegativeFloat,
    "optimizer.momentum": Fraction,
    "optimizer.weight_decay": NonNegativeFloat,
    "scheduler.T_max": PositiveInt,
    "scheduler.factor": Annotated[float, Field(ge=0, le=1)],
    "callbacks.best.monitor": Measured,
    "callbacks.best.mode": Literal["min"],
    "callbacks.best.save_top_k": Literal[1],  # which is measured, and gone back to
    "callbacks.best.save_weights_only": Literal[False],
    "callbacks.last.save_weights_only": Literal[False],  # or nothing could go on from there
    "callbacks.pruning.monitor": Measured,
    "callbacks.rewind.monitor": Measured,
    "callbacks.solved.monitors.*": Measured,
    "callbacks.*.every_n_train_steps": PositiveInt,
    "callbacks.*.refresh_rate": NonNegativeInt,
    "logger.wandb.project": Text | None,
    "logger.wandb.entity": Text | None,
    "logger.wandb.group": Text | None,
    "logger.wandb.job_type": Text | None,
    "logger.wandb.name": Text | None,
    "logger.wandb.notes": Text | None,
    "logger.wandb.tags": list | None,
    "logger.wandb.tags.*": Text,
    "logger.wandb.mode": Literal["online", "offline", "disabled", "shared"],
    "logger.wandb.log_model": Literal[True, False, "all"],
    "logger.wandb.settings.init_timeout": PositiveFloat,
    "hydra.sweeper.n_trials": PositiveInt,
    "hydra.sweeper.max_batch_size": PositiveInt,
    "hydra.sweeper.seed": NonNegativeInt,
    "hydra.sweeper.objectives": Annotated[dict, Field(min_length=1)],
    "hydra.sweeper.objectives.*": Literal["minimize", "maximize"],
}
