"""The shares of zero of stock CrypTen and of our engine, drawn from one bit a key: what `secrecy` enumerates."""

from collections.abc import Sequence
from functools import partial
from itertools import combinations
from typing import Any, cast
from unittest import mock

import torch
from torch import Tensor

from protocols.in_process_link import in_process_links
from protocols.testing.secrecy import leaking_coalitions
from protocols.zero_sharing import ZeroShares

__all__ = ["hardened_leaks", "hardened_masks", "pair_holders", "ring_holders", "stock_leaks", "stock_masks"]

_DRAW = "crypten.mpc.primitives.arithmetic.generate_random_ring_element"


class _Bit:
    """Stands for a key of which one bit is drawn."""

    def __init__(self, bit: int) -> None:
        self.bit = bit

    def words(self, *, use: int, lanes: int, count: int) -> Tensor:  # noqa: ARG002
        return torch.full((lanes, count), self.bit)


def pair_holders(parties: int) -> list[frozenset[int]]:
    """Return who holds each key of our engine: every pair has one."""
    return [frozenset(pair) for pair in combinations(range(parties), 2)]


def ring_holders(parties: int) -> list[frozenset[int]]:
    """Return who holds each key of CrypTen: party i and its successor."""
    return [frozenset({i, (i + 1) % parties}) for i in range(parties)]


def hardened_masks(parties: int, bits: Sequence[int]) -> list[int]:
    """Return the shares of zero that ZeroShares draws when the key of each pair gives one bit."""
    holders = pair_holders(parties)
    shares: list[int] = []
    for rank in range(parties):
        streams = {sum(pair) - rank: _Bit(bit) for pair, bit in zip(holders, bits, strict=True) if rank in pair}
        zero_shares = ZeroShares(rank, cast(Any, streams))
        shares.append(int(zero_shares.draw(use=0, parties=parties, clusters=1, coordinates=1)))
    return shares


def stock_masks(parties: int, bits: Sequence[int]) -> list[int]:
    """Return the shares of zero that CrypTen draws when the key of party i and i + 1 gives the i-th bit."""
    # CrypTen's import takes seconds.
    from protocols import crypten_engine

    cpu = torch.device("cpu")
    links = in_process_links(parties)
    shares: list[int] = []
    with mock.patch(_DRAW, _drawn):
        for rank in range(parties):
            with crypten_engine.world(links[rank], parties):
                generators = cast(Any, crypten_engine.crypten.generators)
                generators["prev"][cpu], generators["next"][cpu] = _Bit(bits[rank - 1]), _Bit(bits[rank])
                shares.append(int(cast(Any, crypten_engine.ArithmeticSharedTensor).PRZS((1,)).share))
    return shares


def hardened_leaks(parties: int) -> list[tuple[int, ...]]:
    """Return the coalitions that learn more than the sum from our engine's masked words."""
    return leaking_coalitions(parties, pair_holders(parties), partial(hardened_masks, parties))


def stock_leaks(parties: int) -> list[tuple[int, ...]]:
    """Return the coalitions that learn more than the sum from CrypTen's masked words."""
    return leaking_coalitions(parties, ring_holders(parties), partial(stock_masks, parties))


def _drawn(size: tuple[int, ...], generator: _Bit, **_: object) -> Tensor:
    return torch.full(size, generator.bit)
