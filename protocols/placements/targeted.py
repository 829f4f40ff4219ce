"""An adversary that moves after it has seen the clusters."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from protocols import check
from protocols.placements import PlacementView, placements
from protocols.placements._sides import Broken, Side, rules_of
from protocols.placements.uniform import Uniform
from protocols.randomness import public_stream
from protocols.types import Clustering

Counts = NDArray[np.int64]
Mask = NDArray[np.bool_]
_NEVER = 2**40
_ORDER: tuple[Side, ...] = ("private", "live", "correct")


@placements.register(
    source="mobile adversaries: Ostrovsky and Yung 1991, PODC, with a number of moves a round",
    examples=({}, {"moves": 3}, {"aim": "private"}, {"aim": "correct", "moves": 2}, {"aim": "live"}),
    facts={"knows": "each"},
)
@dataclass(frozen=True, kw_only=True)
class Targeted:
    """Uniform at first; before every later round up to `moves` faults move to where they break the side aimed at.

    It knows the clusters of each round once they are formed. Sides: as for `worst`; `any` is the side that takes the
    fewest moves, and where one is broken already the next, as long as the first stays broken. What it has too few
    moves to break it comes nearer to, for the next round; where there is nothing to break, it gathers in the cluster
    with the most faulty members. A process that is left is honest again, and what it held is forgotten.

    Guarantees:
        In round 0 it is `uniform`, with the same draws.
        f processes are faulty in every round, and at most `moves` of them were not the round before.
        The side aimed at fails exactly where protocols.tolerance.aimed says that so many moves break it, once they
        have been made in the same clusters.
    """

    moves: int = 1
    aim: Literal["any", "private", "correct", "live"] = "any"

    def __post_init__(self) -> None:
        check.integer_at_least(1, moves=self.moves)

    @property
    def needs(self) -> tuple[str, ...]:
        """See FaultPlacement."""
        return ()

    def __call__(self, view: PlacementView) -> Mask:
        """See FaultPlacement."""
        if view.previous is None:
            return Uniform()(view)
        clustering = view.clusters(reader="placement targeted")
        rng = public_stream(view.seed, "placement", "targeted", view.round_index)
        rules = rules_of(view.conditions)
        wanted = {side: 1 if side == "private" else view.tolerate + 1 for side in _ORDER}
        sides: tuple[Side, ...] = _ORDER if self.aim == "any" else (self.aim,)
        found: list[tuple[Side, _Plan | None]] = [
            (side, _plan(clustering, view.previous, rules[side], wanted[side], rng)) for side in sides
        ]
        known: list[tuple[Side, _Plan]] = [(side, plan) for side, plan in found if plan is not None]
        plans = sorted(known, key=lambda each: each[1].moves)
        broken: list[Side] = [side for side, plan in plans if not plan.moves]
        # Where all is broken, or cannot be, they gather.
        for plan in (*(plan for _, plan in plans if plan.moves), _gathering(clustering, view.previous, rng)):
            moved = plan.followed(view.previous, clustering, self.moves, rng)
            if all(_broken(clustering, moved, rules[side]) >= wanted[side] for side in broken[:1]):
                return moved
        return view.previous


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """The clusters that gain a faulty member and those that lose one, one entry a move."""

    gains: Counts
    losses: Counts

    @property
    def moves(self) -> int:
        return len(self.gains)

    def followed(self, previous: Mask, clustering: Clustering, moves: int, rng: np.random.Generator) -> Mask:
        """Return who is faulty after so many moves at most."""
        mask = previous.copy()
        for places, faulty in ((self.losses, False), (self.gains, True)):
            clusters, counts = np.unique(places[:moves], return_counts=True)
            many: list[int] = counts.tolist()
            for j, count in enumerate(many):
                members = np.array(clustering.clusters[int(clusters[j])], dtype=np.int64)
                mask[rng.permutation(members[previous[members] != faulty])[:count]] = faulty
        return mask


def _plan(clustering: Clustering, previous: Mask, bad: Broken, wanted: int, rng: np.random.Generator) -> _Plan | None:
    """The fewest moves that make `wanted` clusters bad, the cheapest cluster first; None where there are none."""
    held, sizes = clustering.faulty_counts(previous), np.array(clustering.sizes, dtype=np.int64)
    goals = _goals(held, sizes, bad)
    price = np.where(goals < 0, _NEVER, np.abs(goals - held))
    chosen = np.lexsort((rng.permutation(len(sizes)), price))[: max(wanted, 0)]
    if len(chosen) < wanted or (price[chosen] == _NEVER).any():
        return None
    gains = np.repeat(chosen, np.maximum(goals - held, 0)[chosen])
    losses = np.repeat(chosen, np.maximum(held - goals, 0)[chosen])
    others: Counts = np.setdiff1d(np.arange(len(sizes), dtype=np.int64), chosen)
    if len(gains) >= len(losses):
        moves = len(gains)
        spare = np.repeat(chosen, _spare(held, sizes, bad)[chosen])
        losses = np.concatenate([losses, rng.permutation(np.repeat(others, held[others])), rng.permutation(spare)])
    else:
        moves = len(losses)
        gains = np.concatenate([gains, rng.permutation(np.repeat(others, (sizes - held)[others]))])
    enough = min(len(gains), len(losses)) >= moves
    return _Plan(gains=gains[:moves], losses=losses[:moves]) if enough else None


def _gathering(clustering: Clustering, previous: Mask, rng: np.random.Generator) -> _Plan:
    """All moves into the cluster with the most faulty members, until one honest member is left there."""
    held, sizes = clustering.faulty_counts(previous), np.array(clustering.sizes, dtype=np.int64)
    # Wholly faulty clusters have nobody left to attack.
    target = int(np.argmax(np.where(held < sizes, held, -1)))
    others = np.delete(np.arange(len(sizes), dtype=np.int64), target)
    losses = rng.permutation(np.repeat(others, held[others]))[: max(0, sizes[target] - held[target] - 1)]
    return _Plan(gains=np.full(len(losses), target, dtype=np.int64), losses=losses)


def _goals(held: Counts, sizes: Counts, bad: Broken) -> Counts:
    """The nearest number of faulty members that makes each cluster bad, -1 where none does."""
    f, n = int(held.sum()), int(sizes.sum())
    goals = np.full(len(held), -1, dtype=np.int64)
    for size in set(sizes.tolist()):
        x = _numbers(size)
        allowed = bad(size) & (x <= f) & (f - x <= n - size)
        below = np.maximum.accumulate(np.where(allowed, x, -_NEVER))
        above = np.minimum.accumulate(np.where(allowed, x, _NEVER)[::-1])[::-1]
        nearest = np.where(x - below <= above - x, below, above)
        here = sizes == size
        goals[here] = np.where(allowed.any(), nearest, -1)[held[here]]
    return goals


def _numbers(size: int) -> Counts:
    return np.arange(size + 1, dtype=np.int64)


def _spare(held: Counts, sizes: Counts, bad: Broken) -> Counts:
    """How many faulty members each cluster can lose, one after the other, and stay bad all the while."""
    spare = np.zeros(len(held), dtype=np.int64)
    for size in set(sizes.tolist()):
        x, mask = _numbers(size), bad(size)
        last_good = np.maximum.accumulate(np.where(mask, -1, x))
        here = sizes == size
        spare[here] = np.where(mask, np.minimum(x, x - last_good - 1), 0)[held[here]]
    return spare


def _broken(clustering: Clustering, mask: Mask, bad: Broken) -> int:
    """How many clusters are bad."""
    masks = {size: bad(size) for size in set(clustering.sizes)}
    counts: list[int] = clustering.faulty_counts(mask).tolist()
    return sum(bool(masks[size][count]) for size, count in zip(clustering.sizes, counts, strict=True))
