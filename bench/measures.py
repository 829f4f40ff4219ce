"""What a row says of attack and defence beyond accuracy: deviation, detection, and how long the harm lasts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from attacks.plan import Part
from bench.decentralised import Exchange
from bench.opening import Opened
from bench.setting import Federation
from protocols.aggregators import NOTHING, Given, Selecting
from protocols.types import Clustering

__all__ = ["MEASURES", "Excluded", "deviation", "excluded_clusters", "measures", "recovery"]

MEASURES = (
    "honest_deviation",
    "excluded_clusters",
    "cluster_precision",
    "cluster_recall",
    "process_precision",
    "process_recall",
    "excluded_processes",
    "accuracy_lost",
    "rounds_to_recover",
)
"""The columns, in order.

`honest_deviation`: how far the combined update is from the mean of the honest processes' updates, in units of the root
mean square distance of these from their mean; root mean square over the rounds. `excluded_clusters`: how many clusters
the rule left out, a round: those that have no part in its result, be it that it found them bad or, as krum does, that
it took a better one; empty ones count. `cluster_precision`: the share of excluded clusters that are tainted, to be read
beside the share of all clusters that are, which leaving out at random has; `cluster_recall`: the share of tainted
clusters that are excluded. `process_precision`, `process_recall`: the same of processes, where those count as accused
whose update a check of inputs did not pass, and all members of a cluster that the rule left out; `excluded_processes`:
how many a check did not pass, a round. `accuracy_lost`: how far accuracy fell from where it stood before an attack that
has an end; `rounds_to_recover`: how many rounds after that end it was back. None where there is nothing to measure.
"""

# So near to the accuracy before the attack counts as recovered: a point, the noise of a test set of 10,000 rows.
_BACK = 0.01


@dataclass(frozen=True, kw_only=True)
class Excluded:
    """Who was excluded in a round and who ought to be: clusters that took part, and their members.

    `excluded` and `tainted` are masks (m,), `members` and `faulty` (m,) count the members of each cluster and the
    Byzantine ones among them, `failing` and `caught` (m,) those whom a check of inputs did not pass and the Byzantine
    ones among these. `excluded` is None where the rule excludes no cluster by nature, `failing` where nobody checks.
    """

    excluded: NDArray[np.bool_] | None
    tainted: NDArray[np.bool_]
    members: NDArray[np.int64]
    faulty: NDArray[np.int64]
    failing: NDArray[np.int64] | None = None
    caught: NDArray[np.int64] | None = None

    @property
    def accused(self) -> int:
        """The number of members of excluded clusters, and of others whom a check did not pass."""
        return self._count(self.members, self.failing)

    @property
    def convicted(self) -> int:
        """The number of Byzantine processes among the accused."""
        return self._count(self.faulty, self.caught)

    def _count(self, whole: NDArray[np.int64], checked: NDArray[np.int64] | None) -> int:
        alone = np.zeros_like(whole) if checked is None else checked
        return int((alone if self.excluded is None else np.where(self.excluded, whole, alone)).sum())


def deviation(combined: Tensor | None, honest: Tensor) -> float | None:
    """Return how far a combined update (d,) is from the mean of honest ones (h, d), in units of their spread.

    None without a combined update, or where honest updates do not differ.
    """
    if combined is None or len(honest) < 2:
        return None
    centre = honest.mean(dim=0)
    spread = float((honest - centre).square().sum(dim=1).mean().sqrt())
    far = float((combined - centre).square().sum().sqrt()) / spread if spread else math.inf
    return far if math.isfinite(far) else None


def excluded_clusters(
    federation: Federation,
    clustering: Clustering,
    opened: Opened,
    means: Tensor,
    *,
    ran: bool,
    exchange: Exchange | None,
    given: Given = NOTHING,
) -> Excluded | None:
    """Return who was excluded from means (opened, d) by the rule, where it ran, and by a check of inputs.

    None where no check is made and the rule excludes nobody by nature. Without a server a cluster is excluded where
    more than half of the clean clusters that asked it gave it less weight than others.
    """
    numbers = np.array(opened.numbers, dtype=np.int64)
    mask: NDArray[np.bool_] | None = None
    if exchange is not None:
        numbers = np.flatnonzero(exchange.asked)
        mask = 2 * exchange.ignored[numbers] > exchange.asked[numbers]
    elif ran and isinstance(federation.rule, Selecting):
        mask = federation.rule.excluded(means, opened.added, federation.told(len(numbers)), given).numpy()
    elif opened.excluded is None:
        return None
    empty = np.array(sorted(opened.empty - set(numbers.tolist())), dtype=np.int64)
    every = np.concatenate([numbers, empty])
    faulty = clustering.faulty_counts(federation.faulty)[every]
    failing, caught = _failing(federation, clustering, opened, every)
    return Excluded(
        excluded=None if mask is None else np.concatenate([mask, np.ones(len(empty), dtype=np.bool_)]),
        tainted=faulty > 0,
        members=np.array(clustering.sizes)[every],
        faulty=faulty,
        failing=failing,
        caught=caught,
    )


def _failing(
    federation: Federation, clustering: Clustering, opened: Opened, numbers: NDArray[np.int64]
) -> tuple[NDArray[np.int64] | None, NDArray[np.int64] | None]:
    """Return how many members of each of these clusters a check did not pass, and how many of them are Byzantine."""
    if opened.excluded is None:
        return None, None
    failing = np.zeros(len(federation.faulty), dtype=np.bool_)
    failing[list(opened.excluded)] = True
    counted = (clustering.faulty_counts(mask)[numbers] for mask in (failing, failing & federation.faulty))
    return next(counted), next(counted)


def measures(
    deviations: Sequence[float | None], excluded: Sequence[Excluded | None], recovered: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the columns MEASURES of a cell, from its rounds; `recovered` are those of recovery()."""
    known = [value for value in deviations if value is not None]
    seen = [each for each in excluded if each is not None]
    chosen = [(each.excluded, each.tainted) for each in seen if each.excluded is not None]
    checked = [each.failing for each in seen if each.failing is not None]
    out, hits = _sum(mask for mask, _ in chosen), _sum(mask & tainted for mask, tainted in chosen)
    caught = sum(each.convicted for each in seen)
    return {
        "honest_deviation": math.sqrt(sum(value * value for value in known) / len(known)) if known else None,
        "excluded_clusters": out / len(chosen) if chosen else None,
        "cluster_precision": _ratio(hits, out),
        "cluster_recall": _ratio(hits, _sum(tainted for _, tainted in chosen)),
        "process_precision": _ratio(caught, sum(each.accused for each in seen)),
        "process_recall": _ratio(caught, _sum(each.faulty for each in seen)),
        "excluded_processes": _sum(checked) / len(checked) if checked else None,
        **recovered,
    }


def _sum(parts: Any) -> int:
    return int(sum(int(part.sum()) for part in parts))


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def recovery(curve: Sequence[Mapping[str, Any]], parts: Sequence[Part], rounds: int) -> dict[str, Any]:
    """Return the columns accuracy_lost and rounds_to_recover, from a curve of evaluated rounds and the attacks.

    None for both where attacks have no beginning or no end within the training, or no accuracy is known of before.
    """
    nothing: dict[str, Any] = {"accuracy_lost": None, "rounds_to_recover": None}
    at_work = [number for number in range(rounds) if any(part.strength(number) for part in parts if part.senders.any())]
    before = [point["accuracy"] for point in curve if at_work and point["round"] <= at_work[0]]
    if not before or at_work[-1] + 1 == rounds:
        return nothing
    end = at_work[-1] + 1  # rounds count from 1 in the curve
    since = [point for point in curve if point["round"] > at_work[0]]
    back = [point["round"] for point in since if point["round"] >= end and point["accuracy"] >= before[-1] - _BACK]
    lowest = min((point["accuracy"] for point in since), default=before[-1])
    return {
        "accuracy_lost": max(0.0, before[-1] - lowest),
        "rounds_to_recover": back[0] - end if back else None,
    }
