"""Who masks with whom: all pairs, or the neighbours in a random regular graph that is large enough."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from protocols.randomness import public_stream
from protocols.tolerance.schemes import part_of

__all__ = ["Demands", "MaskGraph", "Neighbourhood", "complete_graph", "harary", "neighbourhood", "random_graph"]


@dataclass(frozen=True, kw_only=True)
class MaskGraph:
    """The pairs of members that share a mask and hold each other's key shares.

    `neighbours` are sorted, as many for each member. `threshold` shares rebuild a key; fewer than `least` members
    in any round stop the sum.
    """

    neighbours: tuple[tuple[int, ...], ...]
    threshold: int
    least: int

    @property
    def degree(self) -> int:
        """How many neighbours each member has."""
        return len(self.neighbours[0])

    @cached_property
    def holders(self) -> tuple[tuple[int, ...], ...]:
        """Who holds shares of each member's keys: its neighbours and itself, sorted."""
        return tuple(tuple(sorted((*peers, rank))) for rank, peers in enumerate(self.neighbours))

    @cached_property
    def to_neighbours(self) -> tuple[Tensor, Tensor]:
        """Where what the neighbours of each member sent to it lies: (sender, place), each (members, degree)."""
        return _crossed(self.neighbours)

    @cached_property
    def to_holders(self) -> tuple[Tensor, Tensor]:
        """Where what the holders say of each member lies: (holder, place), each (members, degree + 1)."""
        return _crossed(self.holders)


def _crossed(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Return, for each member and each of its peers, the peer and the member's place among the peer's peers."""
    peers = torch.tensor(rows, dtype=torch.int64).view(len(rows), -1)
    own = torch.arange(len(rows))[:, None]
    places = [torch.searchsorted(peers[column], own) for column in peers.T]
    return peers, torch.cat(places, dim=1) if places else torch.empty_like(peers)


@cache
def complete_graph(members: int, *, threshold: int, least: int) -> MaskGraph:
    """Return the graph of all pairs."""
    everyone = range(members)
    pairs = tuple(tuple(peer for peer in everyone if peer != rank) for rank in everyone)
    return MaskGraph(neighbours=pairs, threshold=threshold, least=least)


@dataclass(frozen=True, kw_only=True)
class Demands:
    """What a random graph must withstand: parts `gamma` corrupted and `delta` absent, except with small probability.

    It exposes a member with probability below 2^-sigma, and cannot rebuild some key with one below 2^-eta.
    """

    sigma: int
    eta: int
    gamma: float
    delta: float


class Neighbourhood(NamedTuple):
    """The number of neighbours of each member, and how many shares rebuild a key."""

    degree: int
    threshold: int


@cache
def neighbourhood(members: int, demands: Demands) -> Neighbourhood:
    """Return the smallest even degree that meets the demands, with the largest threshold that it allows.

    A random Harary graph of even degree k with threshold t is good for all C of gamma n corrupted and D of
    delta n absent members if, except with probability 2^-sigma, (1) no honest member has t corrupted neighbours
    and (2) what is left without C and D is connected, and, except with probability 2^-eta, (3) t neighbours of
    each member are present. The first two events share 2^-sigma equally. (1) and (3) are hypergeometric tails,
    summed over all members; (2) is the expected number of pairs of gaps that cut the ring. All are computed in
    integers, without rounding. Where no degree below n - 1 will do, all pairs are used and nothing is random.

    Source: Bell, Bonawitz, Gascón, Lepoint, Raykova 2020, CCS, Section 3: good graphs, Harary graphs.
    """
    corrupted, absent = part_of(demands.gamma, members), part_of(demands.delta, members)
    for degree in range(2, members - 1, 2):
        if not _stays_connected(members, degree, corrupted + absent, demands.sigma + 1):
            continue
        threshold = _largest_threshold(members, degree, absent, demands.eta)
        if _hides_keys(members, degree, threshold, corrupted, demands.sigma + 1):
            return Neighbourhood(degree, threshold)
    return Neighbourhood(members - 1, members - absent)


def _stays_connected(members: int, degree: int, removed: int, bits: int) -> bool:
    """Return whether `removed` members disconnect a random Harary graph with probability below 2^-bits.

    It takes two runs of degree / 2 removed neighbours on the ring with somebody left on both sides between them:
    there are n (n - degree - 1) / 2 places for such a pair, each removed with the same probability.
    """
    places = members * (members - degree - 1) // 2
    ways = math.comb(members - degree, removed - degree) if removed >= degree else 0
    return places * ways << bits < math.comb(members, removed)


def _largest_threshold(members: int, degree: int, absent: int, bits: int) -> int:
    """Return the largest t such that some member has fewer than t neighbours left with probability < 2^-bits."""
    present = members - absent - 1  # a member that is there itself has the fewest others: the worse case
    below, total = 0, math.comb(members - 1, degree)
    for threshold in range(degree):
        below += math.comb(present, threshold) * math.comb(absent, degree - threshold)
        if members * below << bits >= total:
            return threshold
    return degree


def _hides_keys(members: int, degree: int, threshold: int, corrupted: int, bits: int) -> bool:
    """Return whether `threshold` neighbours of some honest member are corrupted with probability < 2^-bits."""
    honest = members - 1 - corrupted
    ways = sum(math.comb(corrupted, x) * math.comb(honest, degree - x) for x in range(threshold, degree + 1))
    return threshold > 0 and members * ways << bits < math.comb(members - 1, degree)


def harary(ring: Sequence[int], degree: int) -> tuple[tuple[int, ...], ...]:
    """Return the sorted neighbours of each member: the degree / 2 next ones on each side of the ring.

    Source: Harary 1962, The maximum connectivity of a graph, PNAS.
    """
    members, reach = len(ring), range(1, degree // 2 + 1)
    found: list[tuple[int, ...]] = [()] * members
    for place, member in enumerate(ring):
        found[member] = tuple(sorted(ring[(place + step) % members] for far in reach for step in (far, -far)))
    return tuple(found)


@lru_cache(maxsize=8)
def random_graph(members: int, demands: Demands, *, least: int, beacon: int, use: int) -> MaskGraph:
    """Return the graph of this use: a Harary graph over a permutation that all draw from the public beacon."""
    degree, threshold = neighbourhood(members, demands)
    if degree == members - 1:
        return complete_graph(members, threshold=threshold, least=least)
    ring = public_stream(beacon, "masked graph", use, members).permutation(members)
    return MaskGraph(neighbours=harary(ring.tolist(), degree), threshold=threshold, least=least)
