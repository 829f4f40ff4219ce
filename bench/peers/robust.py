"""Robust statistics on shared values: what each costs, measured beside its formula, and the median beside CrypTen's."""

import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.peers import Comparison
from bench.peers.stock_median import StockRun, run_stock_median
from protocols.check import CloisterError
from protocols.memory import keep_freed_memory
from protocols.party_pool import PartyPool
from protocols.randomness import public_stream
from protocols.registry import Spec
from protocols.secure_robust import robust_statistics
from protocols.testing.stock_crypten.network_median import PARTIES

__all__ = ["MedianComparison", "Price", "compare_robust_median", "price_list"]


@dataclass(frozen=True, kw_only=True)
class Price:
    """One statistic in one cluster through party processes: median seconds, metered bytes and rounds.

    `offline_bytes` are what is sent before any input is needed. The formula's are equal, or the run fails.
    """

    statistic: str
    parties: int
    coordinates: int
    seconds: float
    offline_bytes: int
    wire_bytes: int
    offline_rounds: int
    rounds: int


@dataclass(frozen=True, kw_only=True)
class MedianComparison:
    """The same median on ours and on stock CrypTen; `bytes_ratio` is the peer's wire bytes / ours, offline included."""

    time: Comparison
    ours_bytes: int
    peer_bytes: int
    bytes_ratio: float


def price_list(
    *,
    names: Sequence[str] | None = None,
    parties: Sequence[int] = (3, 5, 8),
    coordinates: Sequence[int] = (1_000, 10_000),
    turns: int = 3,
) -> list[Price]:
    """Return the prices, one pool of party processes a size.

    Raises: AssertionError where a statistic opens other words than its reference, or costs other than its formula.
    """
    keep_freed_memory()
    prices: list[Price] = []
    for members in parties:
        with PartyPool(members, deadline_s=600.0) as pool:
            for spec in _specs(names, members):
                prices += [_price(pool, spec, _words(members, d), turns) for d in coordinates]
    return prices


def compare_robust_median(*, coordinates: int = 10_000, turns: int = 3) -> MedianComparison:
    """Return the comparison of one encrypted median of five members, our processes against CrypTen's, in turns."""
    spec = robust_statistics.resolve("median")
    words = _words(PARTIES, coordinates)
    ours: list[float] = []
    theirs: list[StockRun] = []
    with PartyPool(PARTIES, deadline_s=600.0) as pool:
        price = _price(pool, spec, words, 1)
        for _ in range(turns):
            theirs.append(run_stock_median(coordinates))
            ours.append(_seconds(pool, spec, words))
    peer_bytes = theirs[0].wire_bytes
    return MedianComparison(
        time=Comparison(
            name=f"median ({PARTIES} parties, d = {coordinates:,})",
            peer="sorting network on stock CrypTen",
            ours_s=statistics.median(ours),
            peer_s=statistics.median(run.seconds for run in theirs),
            ratio=statistics.median(run.seconds / seconds for run, seconds in zip(theirs, ours, strict=True)),
        ),
        ours_bytes=price.wire_bytes,
        peer_bytes=peer_bytes,
        bytes_ratio=peer_bytes / price.wire_bytes,
    )


def _specs(names: Sequence[str] | None, members: int) -> Iterable[Spec]:
    """Each statistic with its defaults; one that is told how many to tolerate, as many as fit such a cluster."""
    for name in names or robust_statistics.entries():
        told = "tolerate" in robust_statistics.entry(name).defaults
        yield _told(name, members) if told else robust_statistics.resolve(name)


def _told(name: str, members: int) -> Spec:
    for tolerate in range(members // 2, -1, -1):
        try:
            spec = robust_statistics.resolve({"name": name, "tolerate": tolerate})
            robust_statistics.make(spec).check_size(parties=members)
        except CloisterError:
            continue
        return spec
    raise CloisterError(f"{name} cannot run in a cluster of {members} members, whatever it tolerates")


def _price(pool: PartyPool, spec: Spec, words: Tensor, turns: int) -> Price:
    _, members, coordinates = words.shape
    statistic = robust_statistics.make(spec)
    opened = pool.open_sums(spec, words)
    expected = statistic.reference(words)
    assert torch.equal(opened.sums, expected.sums), f"{spec} opened other words than its reference"
    formula = statistic.cost(parties=members, clusters=1, coordinates=coordinates)
    assert opened.traffic == formula, f"{spec} sent {opened.traffic}, not {formula}"
    return Price(
        statistic=spec.name,
        parties=members,
        coordinates=coordinates,
        seconds=statistics.median(_seconds(pool, spec, words) for _ in range(turns)),
        offline_bytes=formula.offline.wire_bytes,
        wire_bytes=formula.wire_bytes,
        offline_rounds=formula.offline.rounds,
        rounds=formula.rounds,
    )


def _seconds(pool: PartyPool, spec: Spec, words: Tensor) -> float:
    started = time.perf_counter()
    pool.open_sums(spec, words)
    return time.perf_counter() - started


def _words(members: int, coordinates: int) -> Tensor:
    """Updates of norm about 1 in 16 bits of fraction, (1, members, coordinates)."""
    drawn = public_stream(0, "peers", "robust").standard_normal((1, members, coordinates))
    return torch.from_numpy(drawn * (2**16 / coordinates**0.5)).round().long()
