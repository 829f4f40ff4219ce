"""Public facts about the processes, which a clustering policy or a placement of faults may use."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols import check
from protocols.check import CloisterError

__all__ = ["Population", "Report"]

# Each fact with how to give it, for the error that says that it is missing.
_WAYS: Mapping[str, str] = MappingProxyType(
    {
        "domains": "Population(domains=...), int64 (n,): the failure domain of each process",
        "trust": "Population(trust=...), float64 (n,): a public score in [0, 1] of each process",
        "positions": "Population(positions=...), float64 (n, k): latency coordinates in seconds",
        "features": "Population(features=...), float64 (n, k): label histograms or directions of updates",
        "reports": "Population(reports=...): the public outcomes of past rounds, () before the first",
    }
)


@dataclass(frozen=True, kw_only=True)
class Report:
    """What everybody saw of a past round: its clusters, and which were suspected, excluded or failed to open.

    `clusters` are the members by process number, of those who took part; the sets hold places in `clusters`.
    """

    round_index: int
    clusters: tuple[tuple[int, ...], ...]
    suspected: frozenset[int] = frozenset()
    excluded: frozenset[int] = frozenset()
    failed: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        check.integer_at_least(0, round_index=self.round_index)
        if any(member < 0 for cluster in self.clusters for member in cluster):
            raise CloisterError(f"the report of round {self.round_index} names a process below 0; allowed: 0 and above")
        strange = [j for j in self.flagged if not 0 <= j < len(self.clusters)]
        if strange:
            raise CloisterError(
                f"the report of round {self.round_index} flags cluster {strange[0]}; "
                f"allowed: places in its {len(self.clusters)} clusters"
            )

    @cached_property
    def beyond(self) -> int:
        """The number above all of its members; a population has at least so many processes."""
        return 1 + max((member for cluster in self.clusters for member in cluster), default=-1)

    @property
    def flagged(self) -> frozenset[int]:
        """The clusters that something was wrong with."""
        return self.suspected | self.excluded | self.failed

    def of(self, place: Mapping[int, int]) -> "Report":
        """Return the report about those processes who have a place, by their places."""
        kept = tuple(tuple(place[member] for member in cluster if member in place) for cluster in self.clusters)
        return replace(self, clusters=kept)


@dataclass(frozen=True, kw_only=True, eq=False)
class Population:
    """Public facts about the processes 0..n-1; None where a fact is not known.

    `domains` int64 (n,): failure domains (a rack, a site, an operator). `trust` float64 (n,): scores in [0, 1].
    `positions` float64 (n, k): latency coordinates in seconds. `features` float64 (n, k): label histograms or
    directions of updates. `reports`: public outcomes of past rounds, in the order of the rounds.

    Nothing secret belongs here: clusters are made from it, and clusters are public.

    Raises: CloisterError for a fact of another shape, dtype or range.
    """

    n: int
    domains: NDArray[np.int64] | None = None
    trust: NDArray[np.float64] | None = None
    positions: NDArray[np.float64] | None = None
    features: NDArray[np.float64] | None = None
    reports: tuple[Report, ...] | None = None

    def __post_init__(self) -> None:
        check.integer_at_least(1, n=self.n)
        self._check_array("domains", "i", 1)
        self._check_array("trust", "f", 1)
        self._check_array("positions", "f", 2)
        self._check_array("features", "f", 2)
        if self.trust is not None and not ((self.trust >= 0) & (self.trust <= 1)).all():
            raise CloisterError(f"trust from {self.trust.min()} to {self.trust.max()} is not allowed; allowed: 0 to 1")
        if any(report.beyond > self.n for report in self.reports or ()):
            raise CloisterError(f"a report names a process beyond n = {self.n}; allowed: 0 to {self.n - 1}")

    def _check_array(self, name: str, kind: str, dimensions: int) -> None:
        value: Any = getattr(self, name)
        if value is None:
            return
        fits = value.dtype.kind == kind and value.ndim == dimensions and value.shape[0] == self.n
        if not fits or not np.isfinite(value).all():
            raise CloisterError(
                f"{name} of shape {value.shape} and dtype {value.dtype} do not fit n = {self.n} processes, or are "
                f"not finite; allowed: {_WAYS[name]}"
            )

    def fact(self, name: str, *, reader: str) -> NDArray[Any]:
        """Return the array of that name; CloisterError says which is missing, to whom, and how to give it."""
        value: NDArray[Any] | None = getattr(self, name)
        if value is None:
            raise self._missing(name, reader)
        return value

    def past(self, *, reader: str) -> tuple[Report, ...]:
        """Return the reports; CloisterError where they are missing."""
        if self.reports is None:
            raise self._missing("reports", reader)
        return self.reports

    @staticmethod
    def _missing(name: str, reader: str) -> CloisterError:
        return CloisterError(f"{reader} needs the {name} of the processes, which are not known; give {_WAYS[name]}")

    def of(self, chosen: NDArray[np.int64]) -> "Population":
        """Return the facts about some processes, numbered 0, 1, .. in the order given."""
        place = {int(process): k for k, process in enumerate(chosen)}
        return Population(
            n=len(chosen),
            domains=None if self.domains is None else self.domains[chosen],
            trust=None if self.trust is None else self.trust[chosen],
            positions=None if self.positions is None else self.positions[chosen],
            features=None if self.features is None else self.features[chosen],
            reports=None if self.reports is None else tuple(report.of(place) for report in self.reports),
        )

    def after(self, report: Report) -> "Population":
        """Return the population with one more report."""
        return replace(self, reports=(*(self.reports or ()), report))
