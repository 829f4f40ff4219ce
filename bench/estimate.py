"""How long a plan takes: rounds of each kind, and of each attack, are tried here in the clear; sums are priced."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil

import torch
from torch import Tensor

from attacks import attacks
from attacks.plan import specs_of
from bench.cell import Cell
from bench.data import Dataset
from bench.decentralised import score_models
from bench.federation import build
from bench.inside import in_the_clear
from bench.metrics import score
from bench.round import DivergedError, form_clusters, run_round
from protocols.faulty_link import Fault
from protocols.model_digest import Models
from protocols.parties import NO_FAULTS, OpenedSums
from protocols.playable import playable
from protocols.registry import Spec
from protocols.types import Traffic

__all__ = ["estimate_s"]

# Orders of magnitude of an encrypted sum between processes on loopback; an estimate needs no more.
_BATCH_S = 0.006
_BYTES_PER_S = 1.5e8
# Each pair of parties connects and agrees on keys.
_JOIN_S = 0.0003
# The round that is timed, counted from 1: one in which attacks that wait for their round are likely to be at work.
_LATE = 10


class _PricedParties:
    """Adds in the clear and adds up what the encrypted sums would take, by the protocol's cost formula."""

    def __init__(self) -> None:
        self.priced_s = 0.0

    @property
    def spent(self) -> Traffic:
        """See Parties.spent: nothing is sent."""
        return Traffic.none()

    def open_sums(
        self,
        protocol: Spec,
        words: Tensor,
        *,
        number: int | None = None,  # noqa: ARG002
        faults: Mapping[int, Fault] = NO_FAULTS,
        models: Models | None = None,  # noqa: ARG002
    ) -> OpenedSums:
        """See Parties.open_sums; where somebody crashes all join anew, and the rest is priced as if nobody had."""
        clusters, members, coordinates = words.shape
        self.priced_s += _JOIN_S * members**2 if faults else 0.0
        traffic = playable(protocol).cost(parties=members, clusters=clusters, coordinates=coordinates)
        self.priced_s += _BATCH_S + traffic.wire_bytes / _BYTES_PER_S
        opened = in_the_clear(protocol, words)
        return OpenedSums(sums=opened.sums, contributors=opened.contributors, kept=opened.kept, traffic=traffic)


@dataclass(frozen=True, kw_only=True)
class _Price:
    """The seconds of what comes before the first round, of a round, and of scoring its model."""

    setup_s: float
    round_s: float
    score_s: float

    def of(self, cell: Cell) -> float:
        """Return the seconds of so many rounds and scorings as the cell has; the last model is scored again."""
        scored = ceil(cell.rounds / cell.evaluate_every) + 1
        return self.setup_s + cell.rounds * self.round_s + scored * self.score_s

    def beyond(self, other: "_Price") -> "_Price":
        """Return what this costs more than another one; timings that differ the other way differ by chance."""
        return _Price(
            setup_s=max(0.0, self.setup_s - other.setup_s),
            round_s=max(0.0, self.round_s - other.round_s),
            score_s=max(0.0, self.score_s - other.score_s),
        )


_NOTHING = _Price(setup_s=0.0, round_s=0.0, score_s=0.0)  # of a training that diverges in its first rounds


def estimate_s(cells: Sequence[Cell], datasets: Sequence[Dataset]) -> float:
    """Return the seconds that the cells take on one worker, from timed rounds.

    Each kind of cell is timed without an attack, and each attack once beside the mean; one that searches against the
    defence beside each rule, as it runs the rule again and again.
    """
    prices: dict[Cell, _Price] = {}

    def price(kind: Cell, dataset: Dataset) -> _Price:
        if kind not in prices:
            prices[kind] = _timed(kind, dataset)
        return prices[kind]

    total_s = 0.0
    for cell, dataset in zip(cells, datasets, strict=True):
        plain = _kind(cell)
        total_s += price(plain, dataset).of(cell)
        beside = plain if _searches(cell) else replace(plain, aggregator=Spec(name="mean"), pre=Spec(name="none"))
        if cell.attack != beside.attack:
            under = price(replace(beside, attack=cell.attack), dataset)
            total_s += under.beyond(price(beside, dataset)).of(cell)
    return total_s


def _searches(cell: Cell) -> bool:
    return any(attacks.entry(spec.name).facts.get("knowledge") == "defence" for spec in specs_of(cell.attack))


def _kind(cell: Cell) -> Cell:
    """Placement, privacy and seed hardly change the time of a round; the attack has a price of its own."""
    cheap, anywhere = Spec(name="none"), Spec(name="uniform")
    return replace(cell, attack=cheap, placement=anywhere, privacy=cheap, seed=0, rounds=_LATE)


def _timed(cell: Cell, dataset: Dataset) -> _Price:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the workers do
    try:
        parties = _PricedParties()
        started = time.perf_counter()
        federation = build(cell, dataset, parties)
        built = time.perf_counter()
        model = torch.zeros(federation.network.dimension)
        if cell.attack == Spec(name="none"):
            run_round(federation, model, 0, parties)  # the first one of a kind warms up
        form_clusters(federation, _LATE - 2)  # the churn up to the round that is timed is not of that round
        parties.priced_s = 0.0
        begun = time.perf_counter()
        outcome = run_round(federation, model, _LATE - 1, parties)
        ended = time.perf_counter()
        attack, clean = cell.attack if cell.f else None, federation.poisoning.clean_rows
        score_one = partial(score, federation.network, dataset=dataset, attack=attack, clean=clean)
        score_models(score_one, outcome.model, outcome.exchange)
        return _Price(
            setup_s=built - started,
            round_s=ended - begun + parties.priced_s,
            score_s=time.perf_counter() - ended,
        )
    except DivergedError:
        return _NOTHING
    finally:
        torch.set_num_threads(threads)
