"""The Neural Turing Machine: a controller and a memory, one step at a time (figure 1 of the paper)."""

import logging
import warnings
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ntm.batch import Batch
from ntm.controllers.base import Controller
from ntm.fused import why_not
from ntm.memories.base import Memory
from ntm.trace import Trace

log = logging.getLogger(__name__)


class State(NamedTuple):
    """All that a machine carries from one step to the next."""

    controller: Any
    memory: Any


class Step(NamedTuple):
    """What one step gave: the answer's logits, what the heads were told, and the state it left."""

    output: Float[Tensor, "batch output"]
    interface: Float[Tensor, "batch interface"]
    state: State


class Machine(nn.Module):
    """A controller that sees the input and what was read before, and answers from its own output and what it reads now.

    `controller` is called with `input_size=` once the memory has said how much it returns, so that no size is written
    twice.

    `engine` chooses how an episode is run: `eager` step by step, `fused` as one compiled function (see `ntm.fused`),
    `auto` fused where that applies. It is no part of a checkpoint and may be changed at any time. `compile` has
    torch.compile make one function of the step of an eager episode, which is worth its minute on a GPU.
    """

    def __init__(
        self,
        *,
        input_size: int,
        output_size: int,
        controller: Callable[..., Controller],
        memory: Memory,
        engine: Literal["auto", "eager", "fused"] = "auto",
        compile: bool = False,
    ):
        super().__init__()
        if engine not in ("auto", "eager", "fused"):
            raise ValueError(f"engine={engine} is not an engine. Choose auto, eager or fused.")
        self.engine = engine
        self.compiles = compile
        self.ran: str | None = None  # the engine that ran last
        self.input_size = input_size
        self.memory = memory
        self.controller = controller(input_size=input_size + memory.read_size)
        self.interface = linear(self.controller.output_size, memory.interface_size)
        self.output = linear(self.controller.output_size + memory.read_size, output_size)

    def forward(self, inputs: Float[Tensor, "batch time input"]) -> Float[Tensor, "batch time output"]:
        """Logits of every step of every sequence.

        Raises:
            ValueError: the inputs are not of `input_size` channels, or `engine=fused` does not apply.
        """
        if inputs.dim() != 3 or inputs.shape[-1] != self.input_size:
            raise ValueError(
                f"inputs of shape {tuple(inputs.shape)} are not (batch, time, {self.input_size}), which this machine "
                "was built for. Build it with another input_size, or change the inputs."
            )
        if self.fuses(inputs):
            from ntm.fused.engine import run

            return run(self, inputs)
        if not self.memory.read_size:
            # Nothing comes back from the memory, so the controller need not wait for it. The interface is carried
            # along for its weights' gradients (there may be none, yet training over devices waits for all of them).
            h, _ = self.controller.unroll(inputs, self.controller.initial_state(len(inputs)))
            return self.output(torch.cat([h, self.interface(h)[..., :0]], dim=-1)).to(inputs.dtype)
        step = partial(compiled(type(self).step), self) if self.compiles else None
        outputs = torch.stack([done.output for done in self.steps(inputs, step)], dim=1)
        return outputs.to(inputs.dtype)  # autocast makes them short; the loss adds up many

    def fuses(self, inputs: Float[Tensor, "batch time input"]) -> bool:
        """Whether the fused engine runs these inputs; the log says so once, or again when it changes."""
        obstacle = self.obstacle(inputs)
        if obstacle and self.engine == "fused":
            raise ValueError(f"engine=fused does not apply: {obstacle}. Set engine=auto or engine=eager.")
        runs = "eager" if obstacle else "fused"
        if runs != self.ran:
            log.info(f"running eager, because {obstacle}" if obstacle else "running fused")
            self.ran = runs
        return not obstacle

    def obstacle(self, inputs: Float[Tensor, "batch time input"]) -> str:
        """Why the fused engine does not run these inputs; empty if it does."""
        if self.engine == "eager":
            return "engine=eager"
        if type(self).step is not Machine.step:
            return f"{type(self).__name__} has a step of its own"
        return why_not(self, inputs)

    def prepare(self) -> None:
        """Compile what the first episode would have to wait for. Weights, gradients and random numbers stay."""
        inputs = self.output.weight.new_zeros(1, 1, self.input_size)
        if self.fuses(inputs):
            from ntm.fused.engine import prepare

            prepare(self, inputs)

    def steps(
        self, inputs: Float[Tensor, "batch time input"], step: Callable[..., Step] | None = None
    ) -> Iterator[Step]:
        """Run the sequences, all from the initial state, one step at a time."""
        step = step or self.step
        state = self.initial_state(len(inputs))
        for x in inputs.unbind(1):
            done = step(x, state)
            yield done
            state = done.state

    def step(self, x: Float[Tensor, "batch input"], state: State) -> Step:
        """See the input and the previous reads, drive the heads, answer from the controller and the new reads."""
        h, controller = self.controller(torch.cat([x, self.memory.reads(state.memory)], dim=-1), state.controller)
        interface = self.interface(h)
        memory = self.memory(interface, state.memory)
        output = self.output(torch.cat([h, self.memory.reads(memory)], dim=-1))
        return Step(output, interface, State(controller, memory))

    def initial_state(self, batch_size: int) -> State:
        return State(self.controller.initial_state(batch_size), self.memory.initial_state(batch_size))

    @torch.no_grad()
    def trace(self, episode: Batch) -> Trace:
        """Run a batch of one sequence and keep everything that happened."""
        (inputs,), (targets,), (mask,) = episode
        steps = list(self.steps(episode.inputs))
        return Trace(
            inputs=inputs,
            targets=targets,
            mask=mask,
            outputs=torch.sigmoid(torch.cat([step.output for step in steps])),
            memory=self.memory.trace(
                torch.cat([step.interface for step in steps]), [step.state.memory for step in steps]
            ),
        )


@cache
def compiled(step: Callable[..., Step]) -> Callable[..., Step]:
    """The step of a class, not bound to a machine: one that was copied would go on with the weights of the first."""
    return torch.compile(step)


def linear(in_features: int, out_features: int) -> nn.Linear:
    """An affine layer that may have no outputs, as the interface of a machine without memory has none."""
    with warnings.catch_warnings(action="ignore"):  # torch warns that there is nothing to initialise
        return nn.Linear(in_features, out_features)
