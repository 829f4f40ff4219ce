"""What a simulation should show: exact probabilities beside what was counted, with an exact interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

from bench.simulation.request import Request
from bench.tolerance.answer import judge
from protocols import check
from protocols.check import CloisterError
from protocols.tolerance.analysis import Analysis, Faults, analyse
from protocols.tolerance.conditions import Conditions
from protocols.tolerance.parts import Groups, Mask, NotExactError, Part, clusters_of, parts_of, without_absent
from protocols.tolerance.rounds import over_rounds
from protocols.tolerance.solve import tail
from protocols.tolerance.union import bad_shares

__all__ = ["SIDES", "Composition", "Forecast", "Range", "forecast", "interval"]

SIDES = ("private", "correct", "live", "any")
Composition = tuple[Groups, int, int, int]
"""Sizes of clusters, and how many processes are Byzantine, crashed and curious."""
Range = tuple[float, float]
_MOST_CELLS = 2_000_000


def interval(count: int, trials: int, confidence: float = 0.95) -> Range:
    """Return the exact interval of a probability of which `count` of `trials` independent trials came true.

    Guarantees:
        It holds the probability with at least this confidence, whatever the probability is.

    Raises: CloisterError unless 0 <= count <= trials and trials >= 1.

    Source: Clopper and Pearson 1934, Biometrika 26.
    """
    check.integer_at_least(1, trials=trials)
    check.integer_at_least(0, count=count)
    check.fraction(confidence=confidence)
    if count > trials:
        raise CloisterError(f"count = {count} is more than trials = {trials}; allowed: 0 to {trials}")
    rest = (1 - confidence) / 2
    low = float(beta.ppf(rest, count, trials - count + 1)) if count else 0.0
    high = float(beta.isf(rest, count + 1, trials - count)) if count < trials else 1.0
    return low, high


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """The law of one round, as bounds that meet where it is exact, and of all drawings together.

    `mean_broken` is E[K]; `tail` has P(K > k) for the k asked about, None where no engine can say. `exact`: one
    composition throughout, and no bounds. `independent`: drawings are, so that frequencies estimate these
    probabilities and `epoch` is the probability that any drawing fails. `words` say what it rests on.
    """

    sides: dict[str, Range]
    epoch: dict[str, Range] | None
    mean_broken: float | None
    tail: dict[int, float | None]
    exact: bool
    independent: bool
    words: str


def forecast(asked: Request, compositions: Sequence[Composition], drawings: int, tails: Sequence[int]) -> Forecast:
    """Return the forecast for a run that went through these compositions, with the faults that it turned out to have.

    Guarantees:
        Under a policy that draws afresh it is `analyse` for the faults that there are, whatever placed them, unless
        that looks at the clusters of each round.
    """
    plain = asked.question.plain or (asked.fresh and asked.seen != "each")
    found = [_judged(asked, each, plain=plain) for each in compositions]
    sides = {side: _mean([each[side] for each in found]) for side in SIDES}
    means = [_mean_broken(asked.question.conditions, each) for each in compositions] if plain else []
    known = plain and all(mean is not None for mean in means)
    independent = asked.fresh and plain
    return Forecast(
        sides=sides,
        epoch={side: _over(bounds, drawings) for side, bounds in sides.items()} if independent else None,
        mean_broken=float(np.mean([mean for mean in means if mean is not None])) if known else None,
        tail={k: _tail(asked.question.conditions, compositions[0], k) if plain else None for k in tails},
        exact=len(compositions) == 1 and all(low == high for low, high in sides.values()),
        independent=independent,
        words=_words(asked, plain=plain, several=len(compositions) > 1),
    )


def _mean(bounds: Sequence[Range]) -> Range:
    low, high = np.mean(np.array(bounds), axis=0).tolist()
    return min(1.0, low), min(1.0, high)


def _over(bounds: Range, drawings: int) -> Range:
    return over_rounds(bounds[0], drawings), over_rounds(bounds[1], drawings)


def _words(asked: Request, *, plain: bool, several: bool) -> str:
    if asked.fresh and plain:
        words = "mean over compositions that it went through" if several else "each drawing is independent"
        return f"{words}; of the second drawing on, since faults sit by the first" if asked.seen == "first" else words
    if asked.fresh:
        return "the law of one drawing against an adversary that aims; rounds depend on each other"
    known = asked.question.known
    if asked.policy.needs == ("reports",):
        return f"the law of the first round; {known.words}"
    return f"the law of one round of any epoch; rounds depend on each other, with clusters {known.rounds_words}"


def _judged(asked: Request, at: Composition, *, plain: bool) -> dict[str, Range]:
    groups, byzantine, crashed, curious = at
    question = asked.question
    if plain:
        faults = Faults(n=_processes(groups), byzantine=byzantine, crashed=crashed, curious=curious)
        return _ranges(analyse(faults, groups, question.conditions, question.tolerate(groups)))
    return _ranges(judge(question, groups))


def _processes(groups: Groups) -> int:
    return sum(size * count for size, count in groups)


def _ranges(found: Analysis) -> dict[str, Range]:
    sides = zip(SIDES, (found.private, found.correct, found.live, found.fail), strict=True)
    return {side: (each.lower, each.upper) for side, each in sides}


def _parts(conditions: Conditions, at: Composition) -> tuple[tuple[Part, ...], int, tuple[int, ...]] | None:
    groups, byzantine, crashed, _ = at
    if crashed and any((size + 1) ** 2 > _MOST_CELLS for size, _ in groups):
        return None

    def failed(c: int) -> Mask:
        return conditions.failed(c, np.arange(c + 1)[:, None], np.arange(c + 1 if crashed else 1)[None, :])

    parts, counts = without_absent(parts_of(groups, failed), (byzantine, crashed))
    return tuple(parts), _processes(groups), tuple(counts)


def _mean_broken(conditions: Conditions, at: Composition) -> float | None:
    found = _parts(conditions, at)
    if found is None:
        return None
    parts, n, counts = found
    return float(sum(part.count * share for part, share in zip(parts, bad_shares(parts, n, counts), strict=True)))


def _tail(conditions: Conditions, at: Composition, most: int) -> float | None:
    found = _parts(conditions, at)
    if found is None:
        return None
    if most >= clusters_of(at[0]):
        return 0.0
    try:
        parts, n, counts = found
        return tail(parts, n, counts, most).value
    except NotExactError:
        return None
