"""Side-by-side benchmarks: ours and a peer's code in one process, in turns, on the same inputs."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Comparison", "interleave"]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Median seconds of ours and of the peer's, and the median over turns of peer / ours (above 1: ours is faster).

    `n` rows of `d` numbers went in, where the comparison is of something that takes rows.
    """

    name: str
    peer: str
    n: int | None = None
    d: int | None = None
    ours_s: float
    peer_s: float
    ratio: float


def interleave(
    name: str,
    peer: str,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    *,
    turns: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Comparison:
    """Return the comparison over so many turns, after one turn that is not counted.

    Each turn times one after the other, so that a machine that slows down slows both. `clock` tells seconds; the
    processor time of this process is fairer to work in one thread on a machine that others use too.
    """
    times = [(_seconds(ours, clock), _seconds(theirs, clock)) for _ in range(turns + 1)][1:]
    return Comparison(
        name=name,
        peer=peer,
        ours_s=statistics.median(ours_s for ours_s, _ in times),
        peer_s=statistics.median(peer_s for _, peer_s in times),
        ratio=statistics.median(peer_s / ours_s for ours_s, peer_s in times),
    )


def _seconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    started = clock()
    work()
    return clock() - started
