"""The encrypted median of five members beside the sorting network on stock CrypTen: seconds and bytes, in turns."""

import statistics
from dataclasses import dataclass

from bench.peers import Comparison
from bench.peers.robust_prices import open_exactly, seconds_of, words_of
from bench.peers.stock_median import StockRun, run_stock_median
from protocols.party_pool import PartyPool
from protocols.secure_robust import robust_statistics
from protocols.testing.stock_crypten.network_median import PARTIES

__all__ = ["MedianComparison", "compare_robust_median"]


@dataclass(frozen=True, kw_only=True)
class MedianComparison:
    """The same median on ours and on stock CrypTen; `bytes_ratio` is the peer's wire bytes / ours, offline included."""

    time: Comparison
    ours_bytes: int
    peer_bytes: int
    bytes_ratio: float


def compare_robust_median(*, coordinates: int = 10_000, turns: int = 3) -> MedianComparison:
    """Return the comparison of one encrypted median of five members, our processes against CrypTen's, in turns."""
    spec = robust_statistics.resolve("median")
    words = words_of(PARTIES, coordinates)
    ours: list[float] = []
    theirs: list[StockRun] = []
    with PartyPool(PARTIES, deadline_s=600.0) as pool:
        ours_bytes = open_exactly(pool, spec, words).traffic.wire_bytes
        for _ in range(turns):
            theirs.append(run_stock_median(coordinates))
            ours.append(seconds_of(pool, spec, words))
    peer_bytes = theirs[0].wire_bytes
    return MedianComparison(
        time=Comparison(
            name=f"median ({PARTIES} parties, d = {coordinates:,})",
            peer="sorting network on stock CrypTen",
            ours_s=statistics.median(ours),
            peer_s=statistics.median(run.seconds for run in theirs),
            ratio=statistics.median(run.seconds / seconds for run, seconds in zip(theirs, ours, strict=True)),
        ),
        ours_bytes=ours_bytes,
        peer_bytes=peer_bytes,
        bytes_ratio=peer_bytes / ours_bytes,
    )
