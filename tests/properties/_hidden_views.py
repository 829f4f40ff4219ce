"""Everything that a coalition hears while members re-share, for all values of the randomness modulo 2."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from protocols.hidden_sums._groups import AdditiveGroups, Attendance, Entered
from protocols.hidden_sums._resharing import Seats, reshare
from protocols.in_process_link import InProcessLink, in_process_links
from protocols.secure_sum import Party
from protocols.zero_sharing import ZeroShares

Key = tuple[int, ...]
Digits = dict[object, NDArray[np.int64]]


_SEED_BYTES = 16

Entering = Callable[[Party, Seats, Tensor], Tensor]
"""How a member's words become its additive share of its group's sum."""


def masked(party: Party, seats: Seats, words: Tensor) -> Tensor:
    """By a share of zero."""
    leaf = next(leaf for leaf in seats.leaves if party.rank in leaf)
    entered = Entered(attendance=Attendance.of(range(party.parties)), held=words)
    return AdditiveGroups().additive(party, leaf, leaf, entered)


def own_words(party: Party, seats: Seats, words: Tensor) -> Tensor:
    """As they are: each member's words are its own share, where every member is a group of its own."""
    del party, seats
    return words


def equal_where(views: Mapping[Key, NDArray[np.int64]], known: Callable[[Key], object]) -> bool:
    """Whether inputs of which the same is known give views of one distribution."""
    first: dict[object, NDArray[np.int64]] = {}
    return all(np.array_equal(first.setdefault(known(inputs), view), view) for inputs, view in views.items())


def views_of(seats: Seats, inputs: Key, coalition: Sequence[int], entering: Entering = masked) -> NDArray[np.int64]:
    """The words modulo 2 that the coalition hears, a row for each value of the digits that it does not know, sorted."""
    drawn, heard = play(seats, inputs, {}, 1, entering)
    theirs = {draw for draw, rank in drawn.items() if rank in coalition}
    for rank in coalition:
        theirs |= {
            bytes(seed.numpy()) for each in heard[rank] if each.dtype == torch.uint8 for seed in each.view(-1, 16)
        }
    free = [
        draw
        for draw in drawn
        if (draw[:_SEED_BYTES] if isinstance(draw, bytes) else draw) not in theirs
        and not (isinstance(draw, tuple) and {*draw} & {*coalition})
    ]
    tapes = np.array(list(product((0, 1), repeat=len(free))), dtype=np.int64)
    _, heard = play(seats, inputs, dict(zip(free, tapes.T, strict=True)), len(tapes), entering)
    words = [each.reshape(len(tapes), -1) for rank in coalition for each in heard[rank] if each.dtype == torch.int64]
    rows = torch.cat([torch.zeros(len(tapes), 1, dtype=torch.int64), *words], dim=1).numpy() & 1
    return rows[np.lexsort(rows.T)]


def play(
    seats: Seats, inputs: Key, digits: Digits, tapes: int, entering: Entering
) -> tuple[dict[object, int | None], dict[int, list[Tensor]]]:
    """Let all members re-share; return what was drawn, pairs of ranks and seeds, by whom, and what everybody heard."""
    links = in_process_links(len(seats.contributors))[:-1]
    drawn: dict[object, int | None] = {}

    def take(draw: object, count: int) -> Tensor:
        drawn.setdefault(draw)
        column = digits.get(draw, np.zeros(tapes, dtype=np.int64))
        return torch.from_numpy(column)[:, None].repeat(1, count)

    def member(link: InProcessLink) -> None:
        rank = link.rank
        pairs = {peer: (min(rank, peer), max(rank, peer)) for peer in range(len(links)) if peer != rank}
        streams = {
            peer: SimpleNamespace(words=lambda pair=pair, **size: take(pair, size["count"]))
            for peer, pair in pairs.items()
        }

        def token(*, purpose: str, size: int, **_: object) -> bytes:
            seeds = [hashlib.sha256(f"{rank} {purpose} {place}".encode()).digest()[:16] for place in range(size // 16)]
            drawn.update(dict.fromkeys(seeds, rank))
            return b"".join(seeds)

        def words(*, purpose: str, count: int, **_: object) -> Tensor:
            draws = [f"{rank} {purpose} {place}" for place in range(count)]
            drawn.update(dict.fromkeys(draws, rank))
            return torch.cat([torch.zeros(tapes, 0, dtype=torch.int64), *(take(draw, 1) for draw in draws)], dim=1)

        secrets = SimpleNamespace(token=token, words=words)
        keys = SimpleNamespace(zero_shares=ZeroShares(rank, cast(Any, streams)), secrets=secrets)
        word = inputs[rank] if rank < len(inputs) else 0
        party = Party(link=link, parties=len(links), use=1, keys=cast(Any, keys))
        with link.turn():
            share = entering(party, seats, torch.full((tapes, 1), word, dtype=torch.int64))
            if rank in seats.holders:
                reshare(party, seats, share)
            link.finish()

    for link in links:
        link.transcript = []
    links[0].run({link.rank for link in links})

    def seeded(seed: bytes, use: int, shape: tuple[int, int]) -> Tensor:
        """A digit for each row of a tape: there is one, or one a member whose words stay apart."""
        del use
        rows = [take(seed + bytes([place]) if place else seed, shape[1]) for place in range(shape[0] // tapes)]
        return torch.stack(rows, dim=1).view(shape)

    with mock.patch("protocols.hidden_sums._resharing._words_of", seeded), ThreadPoolExecutor(len(links)) as threads:
        list(threads.map(member, links))
    return drawn, {link.rank: [message.payload for message in link.transcript or []] for link in links}
