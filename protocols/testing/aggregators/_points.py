"""What the checks try a rule on: random means, what a rule may be given, and its result for them."""

from collections.abc import Iterator

import torch
from torch import Tensor

from protocols.aggregators import Aggregator, Given, aggregators
from protocols.randomness import public_stream
from protocols.registry import Spec
from protocols.types import balanced_sizes

__all__ = ["cases_of", "close", "make_given", "make_points", "result_of", "rule_of"]

# The points have a spread of about 1. Rounding alone is below 1e-12; a rule that iterates may stop a step earlier.
_TOLERANCE = 1e-6


def make_points(m: int, d: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return random cluster means (m, d) float64 and the balanced sizes (m,) int64 of 3 m + 2 processes."""
    rng = public_stream(seed, "conformance", m, d)
    return torch.from_numpy(rng.normal(size=(m, d))), torch.tensor(balanced_sizes(3 * m + 2, 3))


def make_given(trusted: Tensor, history: Tensor | None = None) -> Given:
    """Return everything that a rule may be given, as if the rows (h, d) were known to be honest.

    The reference is their coordinate-wise median, the loss grows with the distance to it, as losses do in no
    proportion, and nothing was before.
    """
    reference = trusted.median(dim=0).values
    return Given(
        rng=public_stream(0, "conformance", "rule"),
        reference=reference,
        history=trusted if history is None else history,
        loss=lambda candidates: (candidates - reference.to(candidates.device)).square().sum(dim=-1).log1p(),
    )


def rule_of(spec: Spec) -> Aggregator:
    """Return the rule that the spec describes."""
    return aggregators.make(spec)


def result_of(rule: Aggregator, means: Tensor, sizes: Tensor, tolerate: int) -> Tensor:
    """Return the rule's result for means that are all honest, or that it is given as if they were."""
    return rule(means, sizes, tolerate, make_given(means))


def cases_of(spec: Spec) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Yield means, sizes and every `tolerate` that the rule accepts."""
    rule = rule_of(spec)
    for m, d in ((1, 1), (2, 3), (3, 1), (4, 5), (7, 3), (8, 11)):
        means, sizes = make_points(m, d)
        for tolerate in range(rule.breakdown(m) + 1):
            yield means, sizes, tolerate


def close(a: Tensor, b: Tensor) -> bool:
    """Return whether two results are equal but for rounding."""
    return float((a - b).abs().max()) <= _TOLERANCE
