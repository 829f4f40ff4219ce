"""Running one batch of secure sums: what every party does, whether it is a thread or a process."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from typing import Any, Protocol

import torch
from torch import Tensor

from protocols import check
from protocols.check import CloisterError
from protocols.network import BOARD, Link, OutOfStepError
from protocols.registry import Spec
from protocols.secure_sum import Party, secure_sums
from protocols.types import Cost

__all__ = ["OpenedSums", "Parties", "PartyReport", "check_words", "collect", "publish", "run_party", "total"]

_DIGEST_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class OpenedSums:
    """What a batch of secure sums opened, and what it cost among the members and towards the board."""

    sums: Tensor
    mpc: Cost
    upload: Cost


class Parties(Protocol):
    """Runs the secure sums of a batch of clusters of one size."""

    def open_sums(self, protocol: Spec, words: Tensor) -> OpenedSums:
        """Return the opened sums of int64 words of shape (clusters, members, coordinates).

        Raises: CloisterError for a wrong shape or type, NetworkError when a party fails.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class PartyReport:
    """What one party says before it publishes: whether it learnt the sums, and what it sent to the others."""

    learnt: bool
    mpc: Cost

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "PartyReport":
        """Return the report that as_json() described."""
        return cls(learnt=plain["learnt"], mpc=Cost(**plain["mpc"]))


def check_words(words: Tensor, most_parties: int) -> tuple[int, int, int]:
    """Return (clusters, members, coordinates) of well-formed words; CloisterError otherwise."""
    if words.dim() != 3 or words.dtype != torch.int64:
        raise CloisterError(
            f"words have shape {tuple(words.shape)} and type {words.dtype}; allowed: int64 of shape "
            f"(clusters, members, coordinates)"
        )
    clusters, members, coordinates = words.shape
    check.integer_at_least(1, clusters=clusters, members=members, coordinates=coordinates)
    if members > most_parties:
        raise CloisterError(f"clusters of {members} members do not fit the pool; allowed: 1 to {most_parties} members")
    return clusters, members, coordinates


def run_party(protocol: Spec, party: Party, words: Tensor) -> tuple[PartyReport, Tensor | None]:
    """Run one party of a batch; return its report and the sums it learnt, ready to be published."""
    meter = party.link.meter
    meter.reset()
    opened = secure_sums.make(protocol).open_sum(party, words)
    return PartyReport(learnt=opened is not None, mpc=meter.cost(board=False)), opened


def publish(link: Link, opened: Tensor | None) -> Cost:
    """Send the opened sums (rank 0) or their digest (others who learnt them) to the board; return what it cost."""
    if opened is not None:
        link.exchange({BOARD: opened if link.rank == 0 else _digest(opened)}, {})
    return link.meter.cost(board=True)


def collect(board: Link, reports: Sequence[PartyReport], clusters: int, coordinates: int) -> Tensor:
    """Return the sums that rank 0 publishes, after all who learnt them agree.

    Raises: OutOfStepError naming the parties that opened other sums.
    """
    sums = torch.empty(clusters, coordinates, dtype=torch.int64)
    digests = {
        rank: torch.empty(_DIGEST_BYTES, dtype=torch.uint8)
        for rank, report in enumerate(reports)
        if rank and report.learnt
    }
    board.exchange({}, {0: sums, **digests})
    expected = _digest(sums)
    wrong = [rank for rank, digest in digests.items() if not torch.equal(digest, expected)]
    if wrong:
        raise OutOfStepError(f"parties {wrong} opened other sums than party 0 published")
    return sums


def total(costs: Sequence[Cost]) -> Cost:
    """Return the cost of parties that work at the same time."""
    return reduce(Cost.beside, costs)


def _digest(opened: Tensor) -> Tensor:
    digest = hashlib.sha256(opened.contiguous().numpy().data).digest()
    return torch.frombuffer(bytearray(digest), dtype=torch.uint8)
