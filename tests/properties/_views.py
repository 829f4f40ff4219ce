"""What a coalition sees of a sum in a tiny field, over all values of the randomness that it does not know.

One run is a batch of clusters, so every value of the tape of digits goes into a cluster of its own: a protocol
whose randomness comes from Secrets.elements is enumerated in one run, and distributions are compared exactly.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from protocols.field import PrimeField
from protocols.in_process import InProcessParties
from protocols.keyring import Keyring, make_keyring
from protocols.network import BOARD, Link
from protocols.registry import Spec
from protocols.secure_sum import secure_sums

Place = tuple[int, str]
"""(who draws, for what)."""
Inputs = tuple[int, ...]


class Taped:
    """Secrets that hand out the digits of a tape; what is not on it is drawn, and its size noted."""

    def __init__(self, rank: int, tape: dict[Place, torch.Tensor], noted: dict[Place, int], clusters: int) -> None:
        self._rank, self._tape, self._noted, self._clusters = rank, tape, noted, clusters
        self._stream = np.random.default_rng(rank)

    def elements(self, field: PrimeField, *, purpose: str, use: int, clusters: int, count: int) -> torch.Tensor:
        place = (self._rank, purpose)
        if clusters != self._clusters:
            # Drawn once a batch: keys, whose boxes are taken as ideal and are not in the views.
            return torch.from_numpy(self._stream.integers(0, field.modulus, (clusters, count)))
        self._noted[place] = count
        if place in self._tape:
            return self._tape[place]
        # The coalition's own: the same in all clusters, since it knows them.
        return torch.from_numpy(self._stream.integers(0, field.modulus, (1, count))).repeat(clusters, 1)

    def words(self, *, purpose: str, use: int, clusters: int, count: int) -> torch.Tensor:
        raise AssertionError(f"{purpose} is not drawn in the field")

    def token(self, *, purpose: str, use: int, size: int) -> bytes:
        return bytes(size)


def run(
    spec: Spec, words: torch.Tensor, tape: dict[Place, torch.Tensor]
) -> tuple[InProcessParties, dict[Place, int], torch.Tensor]:
    noted: dict[Place, int] = {}

    def keyring(link: Link, parties: int) -> Keyring:
        secrets = Taped(link.rank, tape, noted, len(words))
        return dataclasses.replace(make_keyring(link, parties), secrets=secrets)

    threads = InProcessParties(words.shape[1], keyring=keyring)
    return threads, noted, threads.open_sums(spec, words).sums


def views(spec: Spec, parties: int, coalition: Sequence[int], inputs: Sequence[Inputs]) -> list[NDArray[np.int64]]:
    """Return for each inputs what coalition and board receive, a row for each tape of the others' digits, sorted."""
    modulus = secure_sums.make(spec).ring.modulus
    _, noted, _ = run(spec, torch.zeros(2, parties, 1, dtype=torch.int64), {})
    free = [(place, count) for place, count in sorted(noted.items()) if place[0] not in coalition and count]
    digits = sum(count for _, count in free)
    tapes = np.array(list(itertools.product(range(modulus), repeat=digits)), dtype=np.int64)
    tapes = tapes.reshape(modulus**digits, digits)
    rows = torch.from_numpy(np.tile(tapes, (len(inputs), 1)))
    ends = np.cumsum([count for _, count in free])
    tape = {place: rows[:, end - count : end].contiguous() for (place, count), end in zip(free, ends, strict=True)}
    words = torch.tensor(inputs, dtype=torch.int64).repeat_interleave(len(tapes), dim=0)[:, :, None]
    threads, _, sums = run(spec, secure_sums.make(spec).ring.wrap(words), tape)
    assert torch.equal(torch.remainder(sums, modulus), torch.remainder(words.sum(dim=1), modulus))
    seen = [
        message.payload.reshape(len(words), -1).numpy()
        for rank in (*coalition, BOARD)
        for message in threads.transcripts[rank]
        # Bytes are bitmaps, the same for all, and sealed boxes.
        if message.payload.dtype == torch.int64 and len(message.payload) == len(words)
    ]
    all_rows = np.concatenate(seen, axis=1).reshape(len(inputs), len(tapes), -1)
    return [_sorted(each) for each in all_rows]


def learns(spec: Spec, parties: int, coalition: Sequence[int], inputs: Sequence[Inputs]) -> bool:
    """Return whether inputs with equal sums, and equal for the coalition, give it views of different distribution."""
    modulus = secure_sums.make(spec).ring.modulus
    groups: dict[tuple[int, ...], NDArray[np.int64]] = {}
    for each, view in zip(inputs, views(spec, parties, coalition, inputs), strict=True):
        known = (*(each[rank] for rank in coalition), sum(each) % modulus)
        if not np.array_equal(groups.setdefault(known, view), view):
            return True
    return False


def inputs_of(parties: int, coalition: Sequence[int], modulus: int, *, most: int = 25) -> list[Inputs]:
    """Return inputs of the others, all or the first and last `most` of one sum; the coalition's are fixed."""
    others = [rank for rank in range(parties) if rank not in coalition]
    chosen: list[Inputs] = []
    for values in itertools.product(range(modulus), repeat=len(others)):
        if modulus ** len(others) > 2 * most and sum(values) % modulus != 1:
            continue
        held = dict(zip(others, values, strict=True))
        chosen.append(tuple(held.get(rank, (rank + 1) % modulus) for rank in range(parties)))
    return chosen if len(chosen) <= 2 * most else chosen[:most] + chosen[-most:]


def coalitions(parties: int, sizes: Iterable[int]) -> list[tuple[int, ...]]:
    """Return all coalitions of these sizes."""
    return [each for size in sizes for each in itertools.combinations(range(parties), size)]


def _sorted(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return rows[np.lexsort(rows.T[::-1])]
