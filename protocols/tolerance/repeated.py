"""Many rounds of a policy, given one: bounds on how likely any of them fails, and the exact answer where known."""

from dataclasses import dataclass

from protocols.tolerance.analysis import Faults
from protocols.tolerance.batches import any_round_fails
from protocols.tolerance.conditions import Conditions
from protocols.tolerance.covers import either_fails
from protocols.tolerance.parts import Groups
from protocols.tolerance.rounds import over_rounds

__all__ = [
    "Range",
    "Rounds",
    "batches_counted",
    "batches_kept",
    "cover_counted",
    "cover_kept",
    "drawn_anew",
    "kept",
    "learnt",
]

Range = tuple[float, float]


def drawn_anew(p: float, rounds: int) -> Range:
    """Return the probability over independent rounds."""
    value = over_rounds(p, rounds)
    return value, value


def kept(p: float, rounds: int) -> Range:  # noqa: ARG001
    """Return that of one round: all are alike."""
    return p, p


def batches_kept(p: float, rounds: int) -> Range:
    """Return bounds where batches stay and clusters are drawn anew."""
    # Given who is faulty in which batch, rounds are independent, and 1 - (1 - q)^T is concave in q (Jensen).
    return p, over_rounds(p, rounds)


def cover_kept(p: float, rounds: int) -> Range:
    """Return bounds where the partitions of one cover take turns."""
    # The partitions of a cover are each uniform, but not independent: the union bound. Two of them, then again.
    return p, min(1.0, min(rounds, 2) * p)


def learnt(p: float, rounds: int) -> Range:
    """Return bounds where later rounds follow from what was learnt."""
    # The first round is drawn before anything is known; later ones may be as bad as the worst placement.
    return p, p if rounds == 1 else 1.0


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """Several rounds of a design whose clusters are drawn again `draws` times: uniform faults, disjoint clusters.

    `asked_size` is the cluster size asked for, `batch` how many processes always act together: the smallest cluster
    that the policy forms.
    """

    faults: Faults
    groups: Groups
    conditions: Conditions
    tolerate: int
    draws: int
    asked_size: int
    batch: int


def cover_counted(asked: Rounds) -> float | None:
    """Return the exact probability for a cover of few processes, or None."""
    return either_fails(asked.faults, asked.groups[0][0], asked.conditions, asked.tolerate)


def batches_counted(asked: Rounds) -> float | None:
    """Return the exact probability for batches that stay, of one kind of fault, or None."""
    if asked.groups[0][0] != asked.asked_size:  # the size asked for says how many batches a cluster has
        return None
    return any_round_fails(
        asked.faults, asked.groups, asked.conditions, asked.tolerate, batch=asked.batch, rounds=asked.draws
    )
