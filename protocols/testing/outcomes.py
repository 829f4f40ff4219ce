"""How a scenario ended, and what its sums should have been."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from protocols.in_process_link import Received
from protocols.parties import OpenedSums
from protocols.ring import FixedPoint

__all__ = ["Outcome", "digests", "opened_outcome", "ring_sum"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a scenario ended.

    `kind` is "exact" where the sums are the ring sums of the words of exactly `contributors`, else "wrong", or
    the name of the error's class, whose text is `error`. `honest_offset` (clusters, coordinates) are the opened
    sums less the words of the contributors that are not Byzantine: what the Byzantine ones have added in effect.
    `trace` is a digest of all messages in the order of their reads, `shape` of their senders and lengths only.
    """

    kind: str
    contributors: tuple[int, ...] = ()
    suspects: frozenset[int] = frozenset()
    error: str = ""
    sums: tuple[tuple[int, ...], ...] = ()
    honest_offset: tuple[tuple[int, ...], ...] = ()
    trace: str = ""
    shape: str = ""

    @property
    def opened(self) -> bool:
        """Whether sums were opened, right or wrong."""
        return self.kind in ("exact", "wrong")


def _rows(sums: Tensor) -> list[list[int]]:
    return cast(list[list[int]], sums.tolist())


def ring_sum(words: Tensor, contributors: Iterable[int], ring: FixedPoint) -> list[list[int]]:
    """Return the sums (clusters, coordinates) over these members, in Python integers, wrapped around zero."""
    chosen = list(contributors)
    half, modulus = ring.modulus // 2, ring.modulus
    return [
        [(sum(row[rank][k] for rank in chosen) + half) % modulus - half for k in range(words.shape[2])]
        for row in cast(list[list[list[int]]], words.tolist())
    ]


def _less(sums: list[list[int]], other: list[list[int]], ring: FixedPoint) -> list[list[int]]:
    half, modulus = ring.modulus // 2, ring.modulus
    return [
        [(a - b + half) % modulus - half for a, b in zip(left, right, strict=True)]
        for left, right in zip(sums, other, strict=True)
    ]


def _frozen(rows: list[list[int]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(row) for row in rows)


def digests(transcripts: Mapping[int, Sequence[Received]]) -> tuple[str, str]:
    """Return the digests `trace` and `shape` of what each party has received."""
    trace, shape = hashlib.sha256(), hashlib.sha256()
    for rank in sorted(transcripts):
        for message in transcripts[rank]:
            payload = message.payload.contiguous().view(-1).view(torch.uint8)
            said = f"{rank} from {message.sender}: {len(payload)} bytes\n".encode()
            trace.update(said + payload.numpy().tobytes())
            shape.update(said)
    return trace.hexdigest()[:16], shape.hexdigest()[:16]


def opened_outcome(
    opened: OpenedSums,
    words: Tensor,
    byzantine: frozenset[int],
    ring: FixedPoint,
    transcripts: Mapping[int, Sequence[Received]],
) -> Outcome:
    """Return the outcome of a batch of these words (clusters, members, coordinates) that opened sums."""
    sums = _rows(opened.sums)
    exact = sums == ring_sum(words, opened.contributors, ring)
    honest = ring_sum(words, (rank for rank in opened.contributors if rank not in byzantine), ring)
    trace, shape = digests(transcripts)
    return Outcome(
        kind="exact" if exact else "wrong",
        contributors=opened.contributors,
        suspects=opened.suspects,
        sums=_frozen(sums),
        honest_offset=_frozen(_less(sums, honest, ring)),
        trace=trace,
        shape=shape,
    )
