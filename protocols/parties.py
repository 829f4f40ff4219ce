"""Running one batch of secure sums: what every party and the board do, whether they are threads or processes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from types import MappingProxyType
from typing import Protocol

import torch
from torch import Tensor

from protocols import check
from protocols.check import CloisterError
from protocols.faulty_link import Fault
from protocols.model_digest import Models
from protocols.network import (
    CheatingDetectedError,
    NetworkError,
    OutOfStepError,
    PartyFailedError,
    PartyTimeoutError,
    TooFewPartiesError,
)
from protocols.playable import playable
from protocols.registry import Spec
from protocols.secure_sum import Board, Opened, Party
from protocols.types import Traffic

__all__ = [
    "NO_FAULTS",
    "OpenedSums",
    "Parties",
    "check_batch",
    "next_number",
    "run_board",
    "run_member",
    "the_cause",
    "total",
]

NO_FAULTS: Mapping[int, Fault] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class OpenedSums:
    """What a batch of secure sums opened, and what it cost.

    `sums` (clusters, coordinates) are int64 words; `contributors` the members whose words are in them, the same
    places in every cluster; `suspects` those whose cheating was corrected. `kept` is that of Opened.
    """

    sums: Tensor
    contributors: tuple[int, ...]
    traffic: Traffic
    suspects: frozenset[int] = frozenset()
    kept: Tensor | None = None


class Parties(Protocol):
    """Runs the secure sums of a batch of clusters of one size."""

    @property
    def spent(self) -> Traffic:
        """What the parties and the board have sent in the last batch, whatever came of it."""
        ...

    def open_sums(
        self,
        protocol: Spec,
        words: Tensor,
        *,
        number: int | None = None,
        faults: Mapping[int, Fault] = NO_FAULTS,
        models: Models | None = None,
    ) -> OpenedSums:
        """Return the opened sums of int64 words of shape (clusters, members, coordinates).

        `number` is the batch's public number, which draws what all draw alike and labels what is secret; None: the
        one after the last. Under one number and one set of keys nothing is run twice: a number that does not grow has
        all parties agree on new keys. `faults` are what some members do to the messages that they send.
        `models` are those that the words were made from, the same for all clusters; None: the words are of no model.

        Raises: CloisterError for a wrong shape, type, size or number, NetworkError when parties fail or cheat.
        """
        ...


_NUMBERS = 2**48


def next_number(number: int | None, last: int) -> int:
    """Return the number of the next batch: the one that is given, or the one after the last.

    Raises: CloisterError for a number that labels of streams have no room for.
    """
    if number is None:
        return last + 1
    check.integer_at_least(1, number=number)
    if number >= _NUMBERS:
        raise CloisterError(f"number = {number} of a batch is not allowed; allowed: 1 to 2^48 - 1")
    return number


def check_batch(protocol: Spec, words: Tensor, most_parties: int) -> tuple[int, int, int]:
    """Return (clusters, members, coordinates) of words that this protocol can add; CloisterError otherwise."""
    if words.dim() != 3 or words.dtype != torch.int64:
        raise CloisterError(
            f"words have shape {tuple(words.shape)} and type {words.dtype}; allowed: int64 of shape "
            f"(clusters, members, coordinates)"
        )
    clusters, members, coordinates = words.shape
    check.integer_at_least(1, clusters=clusters, members=members, coordinates=coordinates)
    if members > most_parties:
        raise CloisterError(f"clusters of {members} members do not fit the pool; allowed: 1 to {most_parties} members")
    playable(protocol).check_size(parties=members)
    return clusters, members, coordinates


def run_member(protocol: Spec, party: Party, words: Tensor) -> Traffic:
    """Play one member of a batch; return what it sent."""
    party.link.begin()
    playable(protocol).contribute(party, words)
    return party.link.meter.traffic()


def run_board(protocol: Spec, board: Board) -> Opened:
    """Play the board of a batch."""
    board.link.begin()
    return playable(protocol).collect(board)


def total(traffic: Sequence[Traffic]) -> Traffic:
    """Return the traffic of parties that work at the same time."""
    return reduce(Traffic.beside, traffic, Traffic.none())


# From a cause to its echoes: a party that finds a mistake stops, which the others see as a crash.
_CAUSES: tuple[type[NetworkError], ...] = (
    PartyFailedError,
    CheatingDetectedError,
    OutOfStepError,
    TooFewPartiesError,
    PartyTimeoutError,
    NetworkError,
)


def the_cause(board: NetworkError, members: Sequence[BaseException]) -> BaseException:
    """Return which of a batch's errors tells why it failed: a mistake in the code, the board's finding, the rest."""
    best = min([board, *members], key=_place)
    # A mistake in the code is not a fault to be tolerated; else the board, which hears all, knows best.
    is_mistake = _place(best) <= _CAUSES.index(PartyFailedError)
    return board if isinstance(board, CheatingDetectedError | TooFewPartiesError) and not is_mistake else best


def _place(error: BaseException) -> int:
    if not isinstance(error, NetworkError):
        return -1
    return next(place for place, kind in enumerate(_CAUSES) if isinstance(error, kind))
