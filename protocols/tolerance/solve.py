"""Which engine answers: the fastest one that vouches for its accuracy, and its name beside the answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from protocols.tolerance.cauchy import cauchy_any_bad
from protocols.tolerance.kdist import distribution
from protocols.tolerance.pair import pair_any_bad
from protocols.tolerance.parts import NotExactError, Part, check_counts, without_absent
from protocols.tolerance.saddle import saddle_tail

__all__ = ["Probability", "bounds_on", "tail"]

# The pair recursion takes about a millisecond below this, and needs no check of its own.
_FEW_FAULTY = 500
_MEET = 1e-9


@dataclass(frozen=True, kw_only=True)
class Probability:
    """A probability and the engine that vouches for nine digits of it ("bounds": it lies in lower..upper).

    `because`: why there are bounds only, in words.
    """

    value: float
    engine: str
    lower: float
    upper: float
    because: str = ""

    @classmethod
    def exact(cls, value: float, engine: str) -> "Probability":
        """Return a probability that is its own bounds."""
        return cls(value=value, engine=engine, lower=value, upper=value)

    def plus(self, other: "Probability") -> "Probability":
        """Return the probability of either of two exact, disjoint events; it is certain only where both are."""
        engine = self.engine if other.engine == "certain" else other.engine
        return Probability.exact(min(1.0, self.value + other.value), engine)


def bounds_on(lower: float, upper: float, *, because: str) -> Probability:
    """Return a probability that is known to lie between these; exact where they meet in nine digits.

    `because` says in words why nothing better is known.
    """
    upper = min(1.0, upper)
    if upper - lower <= _MEET * upper:
        return Probability.exact(upper, "bounds that meet")
    return Probability(value=upper, engine="bounds", lower=min(lower, upper), upper=upper, because=because)


def tail(parts: Sequence[Part], n: int, counts: Sequence[int], most: int) -> Probability:
    """Return P(K > most and nothing forbidden): K bad clusters, counts[i] of n processes with fault i, uniform.

    Raises: NotExactError where no engine can vouch for nine digits; CloisterError for counts that do not fit.

    Guarantees:
        The engines that can answer agree to 1e-9.
    """
    check_counts(parts, n, counts)
    parts, counts = without_absent(parts, counts)
    certain = _deterministic(parts, n, counts)
    if certain is not None:
        bad, allowed = certain
        return Probability.exact(float(allowed and bad > most), "certain")
    reasons: list[str] = []
    for engine, answer in _engines(parts, n, counts, most):
        try:
            return Probability.exact(answer(), engine)
        except NotExactError as error:
            reasons.append(str(error))
    # The last is about additions, which only small designs are for; the one before says what any size would need.
    raise NotExactError(f"{reasons[-2]} (n = {n}, {len(counts)} kinds of fault)")


def _engines(parts: Sequence[Part], n: int, counts: Sequence[int], most: int) -> list[tuple[str, Callable[[], float]]]:
    engines: list[tuple[str, Callable[[], float]]] = []
    if most == 0 and len(counts) == 1 and all(part.complete for part in parts):
        if counts[0] <= _FEW_FAULTY:
            engines.append(("pair recursion", lambda: pair_any_bad(parts, n, counts[0])))
        engines.append(("contour integral", lambda: cauchy_any_bad(parts, n, counts[0])))
    engines.append(("saddle point", lambda: saddle_tail(parts, n, counts, most)))
    engines.append(("additions", lambda: min(1.0, float(distribution(parts, n, counts)[most + 1 :].sum()))))
    return engines


def _deterministic(parts: Sequence[Part], n: int, counts: Sequence[int]) -> tuple[int, bool] | None:
    """Return (K, nothing forbidden) where all placements agree: no faults, one kind for all, one cluster, or of one."""
    if not counts:
        held = [(part, (), part.count) for part in parts]
    elif counts == (n,):
        held = [(part, (part.size,), part.count) for part in parts]
    elif len(parts) == 1 and parts[0].count == 1:
        held = [(parts[0], tuple(counts), 1)]
    elif len(parts) == 1 and parts[0].size == 1:
        kinds = len(counts)
        cells = [tuple(int(i == kind) for i in range(kinds)) for kind in range(kinds + 1)]
        held = [(parts[0], cell, count) for cell, count in zip(cells, [*counts, n - sum(counts)], strict=True)]
    else:
        return None
    bad = sum(count for part, cell, count in held if part.bad[cell])
    return bad, all(bool(part.safe[cell] | part.bad[cell]) for part, cell, count in held if count)
