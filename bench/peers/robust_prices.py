"""What robust statistics on shared values cost: each measured beside its formula, with a compressor in front or not."""

import statistics
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from protocols.check import CloisterError
from protocols.compression import compressors
from protocols.memory import keep_freed_memory
from protocols.parties import OpenedSums, Parties
from protocols.party_pool import PartyPool
from protocols.randomness import public_stream
from protocols.registry import Spec
from protocols.secure_robust import robust_statistics
from protocols.types import Traffic

__all__ = [
    "SIZES",
    "Price",
    "Size",
    "check_exact",
    "open_exactly",
    "price_list",
    "seconds_of",
    "specs_for",
    "words_of",
]


@dataclass(frozen=True, kw_only=True)
class Size:
    """An update's coordinates, and the share of them that a shared mask keeps; whether it is run, or computed only."""

    d: int
    k: float = 1.0
    run: bool = True

    @property
    def compressor(self) -> Spec:
        """What is in front of the statistic."""
        return compressors.resolve("none" if self.k == 1.0 else {"name": "rand_k", "k": self.k})

    @property
    def sent(self) -> int:
        """How many coordinates the statistic is computed of."""
        return compressors.make(self.compressor).coordinates(self.d)


SIZES = (
    Size(d=1_000),
    Size(d=10_000),
    Size(d=100_000, k=0.01),
    Size(d=100_000, k=0.1),
    Size(d=1_000_000, k=0.001),
    Size(d=1_000_000, k=0.01),
    Size(d=1_000_000, k=0.1, run=False),
    Size(d=1_000_000, run=False),
)


@dataclass(frozen=True, kw_only=True)
class Price:
    """One statistic, with its defaults but for what `label` says, in one cluster through party processes.

    `formula_` is computed, `measured_` is metered. `seconds` is the median of opening it, `compression_s` what a member
    needs to compress its update and to decompress the result; None where nothing was run. `offline_` is what is sent
    for random numbers that depend on no input. Where a run is metered otherwise than the formula says, there is no
    price.
    """

    statistic: str
    label: str
    parties: int
    d: int
    k: float
    coordinates: int
    seconds: float | None
    compression_s: float | None
    measured_bytes: int | None
    measured_rounds: int | None
    measured_comparisons: int | None
    formula_bytes: int
    formula_rounds: int
    formula_comparisons: int
    offline_bytes: int
    offline_rounds: int


@dataclass(frozen=True, kw_only=True)
class _Measured:
    seconds: float
    traffic: Traffic


def _ignore(prices: Sequence[Price]) -> None:
    """Keep nothing of what is measured so far."""


def price_list(
    *,
    names: Sequence[str] | None = None,
    parties: Sequence[int] = (3, 5, 8),
    sizes: Sequence[Size] = SIZES,
    turns: int = 3,
    kept: Collection[Price] = (),
    keep: Callable[[Sequence[Price]], None] = _ignore,
) -> list[Price]:
    """Return the prices, those `kept` from before among them, which are not measured again, in a fixed order.

    There is one pool of party processes a size of cluster. A statistic of so many coordinates is run `turns` times,
    whatever they are what is left of, once the parties have warmed up. `keep` is told all prices so far after each
    statistic in a cluster of a size.

    Raises: AssertionError where a statistic opens other words than its reference, or costs other than its formula.
    """
    keep_freed_memory()
    prices = _ordered(kept)
    there = {(price.parties, price.label) for price in prices}
    for members in parties:
        missing = [spec for spec in specs_for(members, names) if (members, _label(spec)) not in there]
        if not missing:
            continue
        with PartyPool(members, deadline_s=600.0) as pool:
            for spec in missing:
                prices = _ordered([*prices, *_measured_prices(pool, spec, members, sizes, turns)])
                keep(prices)
    return prices


def _measured_prices(pool: Parties, spec: Spec, members: int, sizes: Sequence[Size], turns: int) -> list[Price]:
    runs = sorted({size.sent for size in sizes if size.run})
    for smallest in runs[:1]:
        open_exactly(pool, spec, words_of(members, smallest))
    measured = {sent: _measured(pool, spec, words_of(members, sent), turns) for sent in runs}
    found = (_price(spec, members, size, measured.get(size.sent)) for size in sizes)
    return [price for price in found if price is not None]


def _ordered(prices: Iterable[Price]) -> list[Price]:
    """Return them by size of cluster, then by statistic; the sizes of each stay in the order in which they are."""
    places = {name: place for place, name in enumerate(robust_statistics.entries())}
    return sorted(prices, key=lambda price: (price.parties, places[price.statistic], price.label))


def open_exactly(parties: Parties, spec: Spec, words: Tensor) -> OpenedSums:
    """Return what parties open of words (1, members, coordinates). Raises: AssertionError, see `check_exact`."""
    opened = parties.open_sums(spec, words)
    check_exact(opened, spec, words)
    return opened


def check_exact(opened: OpenedSums, spec: Spec, words: Tensor) -> None:
    """Check what is opened of words (1, members, coordinates).

    Raises: AssertionError where these are other words than the reference's, or cost other than the formula says.
    """
    _, members, coordinates = words.shape
    statistic = robust_statistics.make(spec)
    expected = statistic.reference(words)
    assert torch.equal(opened.sums, expected.sums), f"{spec} opened other words than its reference"
    formula = statistic.cost(parties=members, clusters=1, coordinates=coordinates)
    assert opened.traffic == formula, f"{spec} sent {opened.traffic}, not {formula}"


def _label(spec: Spec) -> str:
    told = dict(spec.parameters).get("tolerate")
    return spec.name if told is None else f"{spec.name}(tolerate={told})"


def seconds_of(parties: Parties, spec: Spec, words: Tensor) -> float:
    """Return how long one run takes."""
    started = time.perf_counter()
    parties.open_sums(spec, words)
    return time.perf_counter() - started


def words_of(members: int, coordinates: int) -> Tensor:
    """Return updates of norm about 1 in 16 bits of fraction, (1, members, coordinates)."""
    drawn = public_stream(0, "peers", "robust").standard_normal((1, members, coordinates))
    return torch.from_numpy(drawn * (2**16 / coordinates**0.5)).round().long()


def specs_for(members: int, names: Sequence[str] | None = None) -> Iterable[Spec]:
    """Yield each statistic with its defaults; one that is told how many to tolerate, as many as fit such a cluster."""
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


def _measured(pool: Parties, spec: Spec, words: Tensor, turns: int) -> _Measured:
    """Return the median time of so many runs; the last one is checked when its clock has stopped."""
    taken = [seconds_of(pool, spec, words) for _ in range(turns - 1)]
    started = time.perf_counter()
    opened = pool.open_sums(spec, words)
    taken.append(time.perf_counter() - started)
    check_exact(opened, spec, words)
    return _Measured(seconds=statistics.median(taken), traffic=opened.traffic)


def _price(spec: Spec, members: int, size: Size, found: _Measured | None) -> Price | None:
    """Return a price; None where the statistic has no range for so many coordinates."""
    statistic = robust_statistics.make(spec)
    try:
        statistic.check_coordinates(coordinates=size.sent)
    except CloisterError:
        return None
    formula = statistic.cost(parties=members, clusters=1, coordinates=size.sent)
    run = found if size.run else None
    return Price(
        statistic=spec.name,
        label=_label(spec),
        parties=members,
        d=size.d,
        k=size.k,
        coordinates=size.sent,
        seconds=None if run is None else run.seconds,
        compression_s=_compression_seconds(size) if size.run else None,
        measured_bytes=None if run is None else run.traffic.wire_bytes,
        measured_rounds=None if run is None else run.traffic.rounds,
        measured_comparisons=None if run is None else run.traffic.comparisons,
        formula_bytes=formula.wire_bytes,
        formula_rounds=formula.rounds,
        formula_comparisons=formula.comparisons,
        offline_bytes=formula.offline.wire_bytes,
        offline_rounds=formula.offline.rounds,
    )


@cache
def _compression_seconds(size: Size) -> float:
    """Return the median of what drawing a code, compressing an update and decompressing a result takes."""
    update = torch.zeros(1, size.d, dtype=torch.float64)
    taken: list[float] = []
    for turn in range(5):
        started = time.perf_counter()
        code = compressors.make(size.compressor).code(size.d, public_stream(turn, "peers", "robust code"))
        code.decompress(code.compress(update))
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)
