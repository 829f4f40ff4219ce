"""Rules that combine the cluster means, one a file; what comes before them is in `protocols.aggregators.pre`."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from protocols.aggregators._screening import (
    LIMIT,
    NotFiniteError,
    Points,
    combine,
    everything,
    exclude,
    hostile_rows,
    screen,
)
from protocols.check import CloisterError
from protocols.registry import Entry, Registry

__all__ = [
    "LIMIT",
    "NOTHING",
    "Aggregator",
    "Bounded",
    "Given",
    "Limited",
    "NotFiniteError",
    "Points",
    "Selecting",
    "aggregators",
    "bound_of",
    "combine",
    "equivariance_of",
    "everything",
    "exclude",
    "hostile_rows",
    "lapses",
    "majority_breakdown",
    "needs_of",
    "provided",
    "screen",
    "takes_all_out",
    "unanimous",
    "within",
    "within_coefficient",
]

_Fact = TypeVar("_Fact")


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a rule may use beside the round's means; a field is None where nobody provides it.

    `rng` is the rule's own named stream of this round; `previous` (d,) the result of the round before, None in the
    first; `reference` (d,) the update on the server's root data; `history` (m, d) the sum of each cluster's past
    means, where clusters stay the same; `loss` maps candidate updates (k, d) to validation losses (k,) after the step;
    `layers` are the sizes of the model's parameter blocks in the order of the d coordinates, None where these are no
    parameters, as in rows of a code: then they count as one layer.
    """

    rng: np.random.Generator | None = None
    previous: Tensor | None = None
    reference: Tensor | None = None
    history: Tensor | None = None
    loss: Callable[[Tensor], Tensor] | None = None
    layers: tuple[int, ...] | None = None


NOTHING = Given()


class Aggregator(Protocol):
    """Combines m cluster means into one update while some clusters are tainted.

    A rule registers with `facts`: `needs`, the fields of Given that it cannot do without (default: none);
    `equivariant`, which of "translation" and "scale" its definition promises (default: both; what is given moves and
    grows with the means; a permutation of the clusters never matters); `unanimous`, whether it returns what all
    clusters agree on, whatever that is (default: true); `bound`, the theorem behind its coefficient.
    """

    def __call__(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:
        """Return the combined update (d,), or (cells, d), of the type and on the device of `means`.

        `means` is float32 or float64 of shape (m, d), or (cells, m, d) for independent cells; `sizes` is int64 of
        shape (m,), the members of each cluster; `tolerate` is the number of tainted clusters (not processes) to
        withstand in each cell, at most breakdown(m). Rows that no honest cluster sends are taken out first, see
        `combine`.
        Raises: CloisterError for a `tolerate` beyond the breakdown point, more hostile rows than that, or a need
        that is not given.
        """
        ...

    def breakdown(self, m: int) -> int:
        """Return the largest number of tainted clusters among m that the rule withstands (-1: m is too small).

        Of a rule that counts members it is that for clusters of one size; see `lapses`.
        """
        ...

    def sensitivity(self, sizes: Tensor, tolerate: int) -> float | None:
        """Return a bound on the L2 change of the result when one process changes its cluster's *sum* by 1.

        It holds as well where up to `tolerate` hostile rows are taken out before. None where no bound is proved; then
        noise on the result gives no epsilon.
        """
        ...

    def coefficient(self, sizes: Tensor, tolerate: int) -> float:
        """Return kappa with ||result - a||^2 <= kappa v while at most `tolerate` clusters are tainted.

        a is the average of the other cluster means, each counted once, and v the average of their squared distances
        to it. Infinity where nothing is promised. (Allouah et al. 2023, AISTATS, Definition 2: (f, kappa)-robustness)
        """
        ...


@runtime_checkable
class Selecting(Protocol):
    """A rule that leaves whole clusters out, and can say which."""

    def excluded(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:
        """Return a bool mask (m,) of the clusters that have no part in the result for means (m, d), hostile ones too.

        Raises: CloisterError as the rule itself does.
        """
        ...


@runtime_checkable
class Bounded(Protocol):
    """A rule whose work grows so fast that it refuses some numbers of clusters that it withstands."""

    def unfit(self, m: int, tolerate: int) -> str | None:
        """Return why it does not combine m clusters with so many tainted ones, in words, or None."""
        ...


@runtime_checkable
class Limited(Protocol):
    """A rule that holds tainted clusters back by a number of its own, however near to one another the honest ones are.

    It registers with facts={"within": words}: what `reach` is, in its parameters, F and m.
    """

    def reach(self, sizes: Tensor, tolerate: int, d: int) -> float:
        """Return a bound on the L2 distance that `tolerate` tainted clusters move the result, whatever they say.

        It is that from the result for the same means with theirs at the result of the round before, zero in the first.
        """
        ...


aggregators: Registry[Aggregator] = Registry("aggregator", ("protocols.aggregators",), "cloister.aggregators")


def needs_of(entry: Entry) -> tuple[str, ...]:
    """Return the fields of Given that the rule cannot do without."""
    return tuple(entry.facts.get("needs", ()))


def equivariance_of(entry: Entry) -> tuple[str, ...]:
    """Return which of "translation" and "scale" the rule's definition promises."""
    return tuple(entry.facts.get("equivariant", ("translation", "scale")))


def unanimous(entry: Entry) -> bool:
    """Return whether the rule returns what all clusters agree on; clipping and sign rules may not."""
    return bool(entry.facts.get("unanimous", True))


def bound_of(entry: Entry) -> str:
    """Return the theorem behind the rule's coefficient, or an empty string."""
    return str(entry.facts.get("bound", ""))


def within(entry: Entry) -> str:
    """Return in words how far tainted clusters move the result of a rule that is Limited, else an empty string."""
    return str(entry.facts.get("within", ""))


def takes_all_out(entry: Entry) -> bool:
    """Return whether the rule leaves surely hostile rows out whatever it is told to tolerate, see `combine`."""
    return bool(entry.facts.get("takes_all_out", False))


def provided(fact: _Fact | None, name: str) -> _Fact:
    """Return what a rule needs of Given; CloisterError where it was not given."""
    if fact is None:
        raise CloisterError(f"given.{name} = None is not allowed; this rule needs it: pass Given({name}=...)")
    return fact


def majority_breakdown(m: int) -> int:
    """Return the largest F with F < m / 2, the breakdown point of every majority rule."""
    return (m + 1) // 2 - 1


def lapses(rule: Aggregator, sizes: Tensor, tolerate: int) -> bool:
    """Return whether a rule promises nothing for clusters of these sizes (m,), and does for m clusters of one size.

    So it is with rules that count members, where the `tolerate` largest clusters have half of them. A rule that never
    promises anything does not lapse.
    """
    return math.isinf(rule.coefficient(sizes, tolerate)) and math.isfinite(
        rule.coefficient(torch.ones_like(sizes), tolerate)
    )


def within_coefficient(rule: Aggregator, result: Tensor, honest: Tensor, sizes: Tensor, tolerate: int) -> bool:
    """Return whether a result (d,) is as near the average of the honest means (h, d) as the rule's coefficient says.

    Where the promise lapses for these sizes no result is; of a rule that never promises anything every result is.
    """
    bound = rule.coefficient(sizes, tolerate)
    if math.isinf(bound):  # which times a variance of 0 would be no number
        return not lapses(rule, sizes, tolerate)
    centre = honest.mean(dim=0)
    variance = float((honest - centre).square().sum(dim=1).mean())
    distance = float((result - centre).square().sum())
    # Rounding: 1e-9 of the bound, and of the numbers themselves where the honest means agree.
    slack = (1e-9) ** 2 * float(honest.square().sum(dim=1).max())
    return distance <= bound * variance * (1 + 1e-6) + slack
