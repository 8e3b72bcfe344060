"""Which number was the first that ceased to be finite."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from ntm.batch import Batch
from ntm.machine import Machine


def culprit(machine: Machine, batch: Batch, loss: Tensor) -> str:
    """The first tensor with a number that is not finite, in the order in which a training step makes them."""
    for name, tensor in made(machine, batch, loss):
        if not tensor.isfinite().all():
            return name
    return "the norm of the gradient"  # each number is finite, their squares are not


@torch.no_grad()
def made(machine: Machine, batch: Batch, loss: Tensor) -> Iterator[tuple[str, Tensor]]:
    """What is there before a step, what an episode makes of it step by step, and what came of that."""
    yield from ((f"weight {name}", value) for name, value in machine.state_dict().items())
    yield from (("the inputs", batch.inputs), ("the targets", batch.targets))
    for time, step in enumerate(machine.steps(batch.inputs)):
        yield from ((f"{name} at time {time}", value) for name, value in named(step.state.controller, "controller"))
        yield f"interface at time {time}", step.interface
        yield from ((f"{name} at time {time}", value) for name, value in named(step.state.memory, "memory"))
        yield f"output at time {time}", step.output
    yield "the loss", loss
    for name, parameter in machine.named_parameters():
        if parameter.grad is not None:
            yield f"gradient of {name}", parameter.grad


def named(state: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a part's state, which is its own affair: a tensor, a tuple or a dataclass."""
    if isinstance(state, Tensor):
        yield name, state
    elif is_dataclass(state):
        yield from ((f"{name} {field.name}", getattr(state, field.name)) for field in fields(state))
    elif isinstance(state, tuple):
        for i, part in enumerate(state):
            yield from named(part, f"{name} {i}")
