"""Dynamic n-grams: predict bits whose distribution is another one in every sequence (section 4.4)."""

from functools import partial
from math import pi
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from pydantic import PositiveInt, validate_call
from torch import Tensor

from ntm.batch import Batch
from ntm.metrics import METRICS, bits
from tasks.base import Length, Task, random_bits


class NGrams(Task):
    """Bits that depend on the `num_context` bits before them, in a way that is drawn anew for every sequence.

    The probability of a 1 after each of the 2^num_context contexts is Beta(1/2, 1/2). The first bits, which have no
    full context, are fair coins. With a context of two:

        time        0 1 2 3 4 5
        bit           1 0 1 1 0       input: the bit before; nothing at first
        answer      1 0 1 1 0 1       target: this bit, which has not been seen yet; the mask counts all of them

    The paper has 200 bits and contexts of 5 (6-grams), and compares with the best prediction that there is without
    knowing the probabilities (`optimal_probabilities`). So beside the usual figures there are `optimal_bits`, what that
    prediction costs on the same sequences, and both once more without the first, unpredictable bits:
    `predictable_bits` and `predictable_optimal_bits`.
    """

    input_size = 1
    output_size = 1
    numbers = ("bits",)

    @validate_call
    def __init__(self, *, num_context: PositiveInt, **stream: Any):
        super().__init__(**stream)
        self.num_context = num_context
        self.metrics = METRICS | {
            "optimal_bits": partial(optimal_bits, num_context=num_context, first=0),
            "predictable_bits": partial(predictable_bits, first=num_context),
            "predictable_optimal_bits": partial(optimal_bits, num_context=num_context, first=num_context),
        }

    def sample(self, length: Length, batch_size: int, generator: torch.Generator) -> Batch:
        assert isinstance(length, int)
        # Beta(1/2, 1/2) by its inverse distribution function; torch's own takes no generator.
        chances = torch.rand(batch_size, 2**self.num_context, generator=generator).mul(pi / 2).sin().square()
        thresholds = torch.rand(batch_size, length, generator=generator)
        bits = random_bits(batch_size, length, generator=generator).long().tolist()
        # Plain numbers: a batch that trains has few sequences, and a step of them takes torch thirty times as long.
        for own, limits, row in zip(chances.tolist(), thresholds.tolist(), bits, strict=True):
            context = 0
            for t in range(length):
                if t >= self.num_context:
                    row[t] = int(limits[t] < own[context])
                context = (2 * context + row[t]) % 2**self.num_context
        sequence = torch.tensor(bits, dtype=thresholds.dtype)
        return Batch(
            inputs=F.pad(sequence[:, :-1], (1, 0)).unsqueeze(-1),
            targets=sequence.unsqueeze(-1),
            mask=torch.ones(batch_size, length, dtype=torch.bool),
        )

    def best_guess(self, episode: Batch) -> Tensor:
        return optimal_probabilities(episode.targets.squeeze(-1), self.num_context).unsqueeze(-1)


def contexts(sequence: Float[Tensor, "batch time"], num_context: int) -> Int[Tensor, "batch predictable"]:
    """The bits before every bit that has so many, as one binary number, the oldest bit first."""
    windows = sequence[:, :-1].unfold(1, num_context, 1)
    places = 2 ** torch.arange(num_context - 1, -1, -1, device=sequence.device)
    return (windows.long() * places).sum(-1)


def optimal_probabilities(sequence: Float[Tensor, "batch time"], num_context: int) -> Float[Tensor, "batch time"]:
    """The best guess for every bit from the bits before it, knowing how sequences are made: eq. (10).

        P(B = 1 | N1, N0, context) = (N1 + 1/2) / (N1 + N0 + 1)

    N1 and N0 count the ones and zeros that have followed the same context so far. A bit without a full context is a
    fair coin.
    """
    fair = torch.full_like(sequence, 0.5)
    if sequence.shape[1] <= num_context:
        return fair
    here = F.one_hot(contexts(sequence, num_context), 2**num_context).to(sequence.dtype)
    followed = here * sequence[:, num_context:, None]
    # How often before: the sums so far, without this time itself.
    seen, ones = ((sums.cumsum(1) - sums).mul(here).sum(-1) for sums in (here, followed))
    return torch.cat([fair[:, :num_context], (ones + 0.5) / (seen + 1)], dim=1)


def optimal_bits(
    logits: Float[Tensor, "batch time 1"],
    targets: Float[Tensor, "batch time 1"],
    mask: Bool[Tensor, "batch time"],
    *,
    num_context: int,
    first: int,
) -> Float[Tensor, " batch"]:
    """What the best guess costs from bit `first` on; the machine's logits do not matter."""
    best = optimal_probabilities(targets.squeeze(-1), num_context).logit()
    return predictable_bits(best.unsqueeze(-1), targets, mask, first=first)


def predictable_bits(
    logits: Float[Tensor, "batch time 1"],
    targets: Float[Tensor, "batch time 1"],
    mask: Bool[Tensor, "batch time"],
    *,
    first: int,
) -> Float[Tensor, " batch"]:
    """What the machine's guesses cost from bit `first` on."""
    return bits(logits[:, first:], targets[:, first:], mask[:, first:])
