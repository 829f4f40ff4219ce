"""Faults of several kinds under any law: which occupancies are bad, given how many members of a cluster are faulty.

A law says where the faulty processes sit; who of them is Byzantine, crashed or curious is drawn. Where exactly so many
are faulty, exactly so many of them have each kind; where their number is random, each has a kind by itself, with the
shares asked for.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from protocols.tolerance.binomial import Floats, log_binomial, log_hypergeometric, log_multinomial
from protocols.tolerance.parts import BadSet, Groups, Mask, Part, log_weights
from protocols.tolerance.recursion import Weights, grouped, leaf, shares_bad
from protocols.tolerance.solve import Probability, bounds_on
from protocols.tolerance.union import bracket

__all__ = ["MarkedEvent", "apart", "drawn", "over_totals", "typical_of"]

_MOST_WORK = 1e9


@dataclass(frozen=True, kw_only=True)
class MarkedEvent:
    """More than `most` clusters are bad, and none is forbidden, by the kinds of their faulty members.

    `kinds` has how many processes have each kind of fault; bad(c) and forbidden(c) are masks with an axis of length
    c + 1 for each kind (1 for one that nobody has). `unseen` more are faulty in a way that does not matter here.
    """

    kinds: tuple[int, ...]
    bad: BadSet
    most: int
    forbidden: BadSet | None = None
    unseen: int = 0

    def masks(self, size: int) -> tuple[Mask, Mask]:
        """Return the safe and the bad occupancies of a cluster; what is neither is forbidden."""
        wrong = self.bad(size)
        barred = self.forbidden(size) if self.forbidden else np.zeros_like(wrong)
        return ~wrong & ~barred, wrong & ~barred

    def given(self, size: int) -> tuple[Floats, Floats]:
        """Return how likely a cluster with x = 0..size faulty members is safe, and bad, each with a kind by itself."""
        safe, bad = self.masks(size)
        axes = np.meshgrid(*(np.arange(float(length)) for length in bad.shape), indexing="ij", sparse=True)
        seen = sum(self.kinds)
        held = np.broadcast_to(np.asarray(sum(axes)), bad.shape)
        shares = [count / max(seen, 1) for count in self.kinds]
        with np.errstate(invalid="ignore"):
            weights = np.where(held <= size, np.exp(log_multinomial(axes[:-1], held, shares[:-1])), 0.0)
        places = np.minimum(held, size).astype(np.int64).reshape(-1)
        sums = [np.bincount(places, weights=(weights * mask).reshape(-1), minlength=size + 1) for mask in (safe, bad)]
        if self.unseen:
            x = np.arange(size + 1.0)
            share = seen / (seen + self.unseen)
            of_them = np.exp(log_binomial(x[None, :], x[:, None], share))
            sums = [of_them @ each for each in sums]
        return np.minimum(sums[0], 1.0), np.minimum(sums[1], 1.0)

    @property
    def looked_at(self) -> tuple[int, ...]:
        """The kinds that `seated` has an axis for: those that somebody has, but for one that the others leave over."""
        present = tuple(kind for kind, count in enumerate(self.kinds) if count)
        return present if self.unseen else present[:-1]

    def seated(self, size: int, held: int, count: int) -> Part:
        """Return the part of `count` clusters of a size with exactly `held` faulty members: as if these were all.

        Its axes are the kinds `looked_at`.
        """
        present = [kind for kind, number in enumerate(self.kinds) if number]
        axes = list(np.meshgrid(*[np.arange(held + 1)] * len(self.looked_at), indexing="ij"))
        left = np.asarray(held - sum(axes, start=np.asarray(0)))
        inside = left >= 0
        index: list[np.ndarray] = [np.zeros_like(left)] * len(self.kinds)
        for kind, axis in zip(present, axes if self.unseen else [*axes, left], strict=True):
            index[kind] = np.where(inside, axis, 0)
        safe, bad = self.masks(size)
        return Part(
            size=held,
            count=count,
            safe=np.asarray(safe[tuple(index)] | ~inside),
            bad=np.asarray(bad[tuple(index)] & inside),
        )


def apart(shares: Iterable[tuple[Floats, Floats]], most: int) -> Floats:
    """Return P(more than `most` bad, none forbidden) of independent clusters, each safe and bad with these shares.

    The shares are arrays of one shape, for many cases at once; by additions only.
    """
    rows: list[Floats] | None = None
    last = max(most, -1) + 1
    for safe, bad in shares:
        if rows is None:
            rows = [np.ones_like(safe), *[np.zeros_like(safe) for _ in range(last)]]
        moved = [np.zeros_like(safe), *[row * bad for row in rows[:-1]]]
        stuck = rows[-1] * bad  # more than enough stays more than enough
        rows = [row * safe + more for row, more in zip(rows, moved, strict=True)]
        rows[-1] = rows[-1] + stuck
    return np.ones(1) if rows is None else np.minimum(rows[-1], 1.0)


def drawn(event: MarkedEvent, n: int, groups: Groups, totals: Sequence[float]) -> Probability:
    """Return the probability under clusters drawn uniformly, with f faulty processes with probability totals[f].

    Exact for some thousands of processes; beyond, the union bound.
    """
    law = np.array(totals)
    top = int(np.flatnonzero(law)[-1])
    soft = [(size, count, *event.given(size)) for size, count in groups]
    work = sum(count * (event.most + 2) * (2000 + min(size, top) * top) for size, count, _, _ in soft)
    if work > _MOST_WORK:
        return _bounded(event, n, soft, law)
    typical = typical_of(law, n)
    parts = [(leaf(log_weights(size, n, (typical,)), safe, bad, (top,)), count) for size, count, safe, bad in soft]
    return over_totals(grouped(parts, event.most, (top,)), n, typical, law[: top + 1])


def typical_of(law: Floats, n: int) -> int:
    """Return a number of faulty processes near the mean of its law, and neither 0 nor n."""
    return min(max(1, round(float(np.arange(len(law)) @ law))), n - 1)


def over_totals(whole: Weights, n: int, typical: int, law: Floats) -> Probability:
    """Return how likely the whole is bad, with f faulty processes with probability law[f].

    Its weights are those of members that are faulty independently, typical / n each.
    """
    logs = log_binomial(np.arange(float(len(law))), np.asarray(float(n)), typical / n)
    return Probability.exact(min(1.0, float(shares_bad(whole, logs) @ law)), "recursion")


def _bounded(event: MarkedEvent, n: int, soft: Sequence[tuple[int, int, Floats, Floats]], law: Floats) -> Probability:
    """From each cluster's own law, which stays exact."""
    found = [0.0] * len(soft)
    for f in np.flatnonzero(law).tolist():
        for place, (size, _, _, bad) in enumerate(soft):
            x = np.arange(min(size, f) + 1.0)
            share = float(np.exp(log_hypergeometric([x], n, (f,), size)) @ bad[: len(x)]) if f else float(bad[0])
            found[place] += law[f] * share
    bounds = bracket(found, [count for _, count, _, _ in soft], event.most, associated=False)
    why = f"n = {n} is too large for a random number of faults of several kinds"
    return bounds_on(0.0 if event.forbidden else bounds.lower, bounds.upper, because=why)
