"""How likely any of many rounds of a design fails: bounds, which meet where the answer is exact."""

from bench.tolerance.hidden import over_rounds_upper
from bench.tolerance.question import Question
from protocols.clustering import clusterings
from protocols.tolerance.analysis import Analysis
from protocols.tolerance.parts import Groups
from protocols.tolerance.repeated import Rounds
from protocols.tolerance.solve import bounds_on

__all__ = ["bounded_because", "over_rounds"]


def over_rounds(asked: Question, groups: Groups, once: Analysis, best_size: int | None) -> tuple[float, float]:
    """Return bounds on the probability that any of the rounds asked about fails, given that of one.

    `best_size` is the size of these clusters where none was asked for.
    """
    draws = -(-(asked.rounds or 1) // asked.every)
    upper = once.fail.upper if asked.delegates is None else over_rounds_upper(asked, groups, once)
    low, _ = asked.known.over_rounds(once.fail.lower, draws)
    _, high = asked.known.over_rounds(upper, draws)
    apart = bounds_on(low, high, because="rounds depend on each other").engine == "bounds"
    found = _counted(asked, groups, draws, best_size) if apart else None
    return (low, high) if found is None else (found, found)


def _counted(asked: Question, groups: Groups, draws: int, best_size: int | None) -> float | None:
    """Return the exact answer where it is known: of uniform faults, in clusters of a size that was asked for once."""
    sizes = set(asked.sizes) or {best_size or 0}
    mine = [size for size in sizes if size and asked.groups(size) == groups]
    tolerate = asked.tolerate(groups)
    counted = asked.known.counted
    if counted is None or asked.delegates is not None or not asked.plain or tolerate < 0 or len(mine) != 1:
        return None
    return counted(
        Rounds(
            faults=asked.faults,
            groups=groups,
            conditions=asked.conditions,
            tolerate=tolerate,
            draws=draws,
            asked_size=mine[0],
            batch=clusterings.make(clusterings.resolve(asked.policy)).smallest_cluster(1),
        )
    )


def bounded_because(asked: Question, once: Analysis) -> str:
    """Return why the bounds do not meet."""
    if asked.delegates is not None and not (asked.known.redrawn and asked.every == 1):
        return "delegates are drawn anew in every round while clusters are kept"
    return asked.known.rounds_because or once.fail.because
