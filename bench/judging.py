"""The columns of a row that hold its verdict and what was observed, over all its rounds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.outcome import RoundOutcome
from protocols.tolerance.disclosure import Disclosure

__all__ = ["DISCLOSED", "JUDGED", "SIDES", "Epoch", "judged"]

SIDES = ("private", "correct", "live")
JUDGED = (
    *(f"predicted_{side}" for side in SIDES),
    "predicted_why",
    *(f"observed_{side}" for side in SIDES),
    "observed_why",
    "exposed_processes",
    "contradicted",
)
"""The columns, in order; `contradicted` names the sides that a verdict called safe and that broke in that round."""
DISCLOSED = ("revealed_rank", "honest_support", "differenced_processes", "disclosed_processes", "disclosed_round")
"""The columns on privacy over rounds; see Epoch."""
_SUBSETS = 2000  # of processes, among which the least honest support is searched: some hundredths of a second a cell
_MOST = 500  # processes: beyond, the linear algebra of many rounds would take longer than the rounds


@dataclass(frozen=True, kw_only=True)
class _Sums:
    clusters: tuple[tuple[int, ...], ...]


class Epoch:
    """What all opened sums of a cell tell together of updates that stay the same from round to round.

    Real updates change, the more so the earlier the training; so this is what re-clustering costs at worst, near its
    end. `colluding` processes know their own; None: nothing is computed, as they change from round to round, or what is
    opened are no sums.

    Guarantees:
        `disclosed_round` is the first round after which some honest update follows from the sums.
        `differenced_processes` are those whose update two sums differ by, or who stood alone in one.
        No combination of the sums holds fewer honest updates than `honest_support`.
    """

    def __init__(self, *, n: int, colluding: Iterable[int] | None) -> None:
        self._disclosure = None if colluding is None or n > _MOST else Disclosure(n=n, colluding=colluding)
        self._first: int | None = None

    def add(self, outcome: RoundOutcome) -> None:
        """Add the sums of the next round."""
        if self._disclosure is None:
            return
        self._disclosure.add(_Sums(clusters=outcome.revealed))
        if self._first is None and self._disclosure.determined():
            self._first = self._disclosure.rounds

    def columns(self) -> dict[str, Any]:
        """Return the columns DISCLOSED; None for each where nothing was computed."""
        if self._disclosure is None or not self._disclosure.rounds:
            return dict.fromkeys(DISCLOSED)
        seen = self._disclosure
        support, apart = seen.honest_support(_SUBSETS).lower, len(seen.differences)
        return dict(zip(DISCLOSED, (seen.rank, support, apart, len(seen.determined()), self._first), strict=True))


def judged(outcomes: Sequence[RoundOutcome]) -> dict[str, Any]:
    """Return the columns; None for each where no round was run. A side holds where it holds in every round."""
    if not outcomes:
        return dict.fromkeys(JUDGED)
    broken = {side for outcome in outcomes for side in outcome.observed.contradicts(outcome.said)}
    return {
        **{f"predicted_{side}": all(getattr(outcome.said, side) for outcome in outcomes) for side in SIDES},
        "predicted_why": _first([outcome.said.why for outcome in outcomes]),
        **{f"observed_{side}": all(getattr(outcome.observed, side) for outcome in outcomes) for side in SIDES},
        "observed_why": _first([outcome.observed.why for outcome in outcomes]),
        "exposed_processes": len(frozenset[int]().union(*(outcome.observed.exposed for outcome in outcomes))),
        "contradicted": " ".join(side for side in SIDES if side in broken),
    }


def _first(reasons: Sequence[Sequence[str]]) -> str:
    """Return the reasons of the first round that has any, and its number."""
    for number, why in enumerate(reasons, start=1):
        if why:
            return f"round {number}: {'; '.join(why)}"
    return ""
