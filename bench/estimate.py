"""How long a plan takes: one round of each kind is tried here, in the clear, and the encrypted sum is priced."""

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from bench.cell import Cell
from bench.data import Dataset
from bench.decentralised import score_models
from bench.federation import build
from bench.inside import in_the_clear
from bench.metrics import score
from bench.round import DivergedError, run_round
from protocols.parties import OpenedSums
from protocols.playable import playable
from protocols.registry import Spec

__all__ = ["estimate_s"]

# Orders of magnitude of an encrypted sum between processes on loopback; an estimate needs no more.
_BATCH_S = 0.006
_BYTES_PER_S = 1.5e8


class _PricedParties:
    """Adds in the clear and adds up what the encrypted sums would take, by the protocol's cost formula."""

    def __init__(self) -> None:
        self.priced_s = 0.0

    def open_sums(self, protocol: Spec, words: Tensor) -> OpenedSums:
        """See Parties.open_sums."""
        clusters, members, coordinates = words.shape
        traffic = playable(protocol).cost(parties=members, clusters=clusters, coordinates=coordinates)
        self.priced_s += _BATCH_S + traffic.wire_bytes / _BYTES_PER_S
        opened = in_the_clear(protocol, words)
        return OpenedSums(sums=opened.sums, contributors=opened.contributors, kept=opened.kept, traffic=traffic)


def estimate_s(cells: Sequence[Cell], datasets: Sequence[Dataset]) -> float:
    """Return the seconds that the cells take on one worker, from one timed round of each kind."""
    seconds: dict[Cell, float] = {}
    total_s = 0.0
    for cell, dataset in zip(cells, datasets, strict=True):
        kind = _kind(cell)
        if kind not in seconds:
            seconds[kind] = _round_s(kind, dataset)
        total_s += cell.rounds * seconds[kind]
    return total_s


def _kind(cell: Cell) -> Cell:
    """Attack, placement, privacy, rule and seed hardly change the time of a round."""
    cheap, anywhere = Spec(name="none"), Spec(name="uniform")
    mean = Spec(name="mean")
    return replace(cell, attack=cheap, placement=anywhere, privacy=cheap, aggregator=mean, seed=0, rounds=1)


def _round_s(cell: Cell, dataset: Dataset) -> float:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the workers do
    try:
        parties = _PricedParties()
        federation = build(cell, dataset, parties)
        model = torch.zeros(federation.network.dimension)
        run_round(federation, model, 0, parties)
        parties.priced_s = 0.0
        started = time.perf_counter()
        outcome = run_round(federation, model, 1, parties)
        score_models(partial(score, federation.network, dataset=dataset, attack=None), outcome.model, outcome.exchange)
        return time.perf_counter() - started + parties.priced_s
    except DivergedError:
        return 0.0  # such a training ends in its first rounds
    finally:
        torch.set_num_threads(threads)
