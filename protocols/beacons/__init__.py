"""Where public random values come from that nobody may foresee or choose, one source a file.

A value that decides who computes with whom must not be known before it is too late to profit from it, and nobody may
have had a choice of two. The plain way, to commit to numbers, to reveal them and to add them up, fails the second: who
reveals last may keep silent instead, so that k processes choose among 2^k values. A source that is run by processes
must therefore end with the same value whatever some of them do after the first of them has learnt it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from protocols import check
from protocols.registry import Registry, Spec
from protocols.secret_source import Secrets
from protocols.types import Traffic

__all__ = ["VALUE_BITS", "Beacon", "Company", "Drawn", "Occasion", "OpenedWords", "beacons", "value_of"]

VALUE_BITS = 256


@dataclass(frozen=True, kw_only=True)
class Occasion:
    """What a value is drawn for: a purpose, and which of its draws this is. Each has a value of its own."""

    purpose: str
    number: int

    def __post_init__(self) -> None:
        check.integer_at_least(0, number=self.number)

    @property
    def label(self) -> tuple[str, int]:
        """What sets its value apart from those of all other occasions."""
        return self.purpose, self.number


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A value of VALUE_BITS bits, the processes whose contributions are in it, those proved to cheat, and its cost."""

    value: int
    qualified: tuple[int, ...]
    suspects: frozenset[int]
    traffic: Traffic


class OpenedWords(Protocol):
    """What running a protocol of processes opens; see protocols.parties.OpenedSums."""

    @property
    def sums(self) -> Tensor:
        """The opened words (clusters, coordinates)."""
        ...

    @property
    def contributors(self) -> tuple[int, ...]:
        """Whose words are in them."""
        ...

    @property
    def traffic(self) -> Traffic:
        """What it cost."""
        ...

    @property
    def suspects(self) -> frozenset[int]:
        """Who was proved to cheat."""
        ...


class Company(Protocol):
    """The processes that run a beacon; see protocols.parties.Parties."""

    def open_sums(self, protocol: Spec, words: Tensor) -> OpenedWords:
        """Return what they open of the words (clusters, members, coordinates). Raises: NetworkError."""
        ...


class Beacon(Protocol):
    """Draws public values, for one occasion each.

    One that processes run is registered with facts={"run": True}, and is a protocols.playable.Playable as well, whose
    words are the processes' secret contributions.
    """

    def check_size(self, *, parties: int) -> None:
        """Raise CloisterError where `parties` processes cannot draw; nothing has been sent yet."""
        ...

    def draw(self, occasion: Occasion, company: Company, sources: Sequence[Secrets], *, given: int) -> Drawn:
        """Return the value for an occasion.

        `sources` are where each process draws its secrets; `given` is a public number that is taken on trust where
        nobody is asked. Raises: NetworkError when the processes cannot draw.
        """
        ...


def value_of(occasion: Occasion, *, parties: int, qualified: Sequence[int], words: Sequence[int]) -> int:
    """Return the value, VALUE_BITS bits, that the opened words of the qualified of `parties` processes stand for.

    Guarantees:
        Another purpose, number, set of processes or word gives another value, up to collisions of SHA-256.
    """
    digest = hashlib.sha256(b"cloister beacon v1")
    for part in (*occasion.label, parties, *qualified, "words", *words):
        text = str(part).encode()
        digest.update(len(text).to_bytes(8, "big") + text)  # ("ab", "c") and ("a", "bc") differ
    return int.from_bytes(digest.digest(), "big")


beacons: Registry[Beacon] = Registry("beacon", ("protocols.beacons",), "cloister.beacons")
