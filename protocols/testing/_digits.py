"""The tape: what a protocol draws, in which order and known to whom, and the sources that hand out its digits."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from protocols.check import CloisterError
from protocols.faulty_link import Fault
from protocols.field import PrimeField
from protocols.model_digest import Models
from protocols.network import BOARD
from protocols.randomness import public_stream
from protocols.registry import Spec

__all__ = ["Draw", "Key", "Label", "Script", "Tape", "TapedPair", "TapedSecrets"]

Label = tuple[str, str, int, int]
"""(source, purpose, use, how many draws of these before)."""
Key = tuple[str, object]
"""(what kind of generator, its key)."""


@dataclass(frozen=True, kw_only=True)
class Draw:
    """One draw: `count` uniform digits below `modulus` in each cluster, known to `holders`, from column `first` on."""

    label: Label
    holders: frozenset[int]
    count: int
    modulus: int
    first: int


@dataclass(frozen=True, kw_only=True)
class Script:
    """What a protocol draws, in the order of its labels: the columns of a tape.

    `places` says for each generator that a party seeds at run time (by the order of their first use) which one
    of the recorded generators it is. With `faults`, the sum is that of the `contributors`; with `models` that differ,
    of nobody where nothing opens.
    """

    spec: Spec
    parties: int
    coordinates: int
    faults: Mapping[int, Fault]
    contributors: tuple[int, ...]
    draws: tuple[Draw, ...]
    places: Mapping[tuple[int, int], str]
    models: Models | None = None

    @cached_property
    def moduli(self) -> NDArray[np.object_]:
        """The modulus of each digit."""
        return np.array([draw.modulus for draw in self.draws for _ in range(draw.count)], dtype=object)

    @cached_property
    def holders(self) -> list[frozenset[int]]:
        """Who knows each digit."""
        return [draw.holders for draw in self.draws for _ in range(draw.count)]

    def known(self, coalition: Sequence[int]) -> NDArray[np.bool_]:
        """Return which digits a coalition and the board know."""
        knowing = {*coalition, BOARD}
        return np.array([not holders.isdisjoint(knowing) for holders in self.holders], dtype=bool)

    def random_tapes(self, count: int, seed: int) -> NDArray[np.int64]:
        """Return so many rows of uniform digits, as int64 words."""
        rng = public_stream(seed, "tapes", self.spec.canonical(), self.parties)
        columns = [rng.integers(0, modulus - 1, size=count, dtype=np.uint64, endpoint=True) for modulus in self.moduli]
        return np.stack(columns, axis=1).view(np.int64) if columns else np.zeros((count, 0), dtype=np.int64)


@dataclass(kw_only=True)
class Tape:
    """Hands out digits by label; without a script it records what is drawn and hands out digits made from labels."""

    script: Script | None = None
    digits: Tensor | None = None
    clusters: int
    recorded: dict[Label, tuple[int, int, set[int]]] = field(default_factory=dict[Label, tuple[int, int, set[int]]])
    keys: dict[tuple[int, int], Key] = field(default_factory=dict[tuple[int, int], Key])
    _drawn: dict[tuple[int, str, str, int], int] = field(default_factory=dict[tuple[int, str, str, int], int])
    _seeded: dict[int, dict[Key, str]] = field(default_factory=dict[int, dict[Key, str]])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, rank: int, source: str, label: tuple[str, int], *, count: int, modulus: int) -> Tensor:
        """Return the digits (clusters, count) of the next draw with this label."""
        with self._lock:
            purpose, use = label
            place = (rank, source, purpose, use)
            number = self._drawn.get(place, 0)
            self._drawn[place] = number + 1
            full = (source, purpose, use, number)
            if self.script is None:
                known = self.recorded.setdefault(full, (count, modulus, set()))
                if known[:2] != (count, modulus):
                    raise CloisterError(f"{source} draws {purpose!r} in different sizes at its two ends")
                known[2].add(rank)
                stream = public_stream(0, *full)
                made = stream.integers(0, modulus - 1, (self.clusters, count), dtype=np.uint64, endpoint=True)
                return torch.from_numpy(made.view(np.int64))
            draw = self._draws.get(full)
            if draw is None or (draw.count, draw.modulus) != (count, modulus):
                raise CloisterError(f"{source} draws {purpose!r} otherwise than in the run before, on other inputs")
            assert self.digits is not None
            return self.digits[:, draw.first : draw.first + count].clone()

    def recorded_count(self, source: str, use: int) -> int:
        """Return how many digits a source has given in its one draw of this use."""
        return next(draw.count for draw in self._draws.values() if draw.label[0] == source and draw.label[2] == use)

    @cached_property
    def _draws(self) -> dict[Label, Draw]:
        return {draw.label: draw for draw in self.script.draws} if self.script else {}

    def source_of(self, rank: int, key: Key) -> str:
        """Return the name of a generator that was seeded at run time."""
        with self._lock:
            names = self._seeded.setdefault(rank, {})
            if key not in names:
                place = (rank, len(names))
                self.keys[place] = key
                names[key] = f"{key[0]} {key[1]!r}" if self.script is None else self.script.places.get(place, "unknown")
            return names[key]


class TapedSecrets:
    """The Secrets of one party, from a tape; a token is no number and stays the same in every cluster."""

    def __init__(self, tape: Tape, rank: int, words_modulus: int) -> None:
        self._tape = tape
        self._rank = rank
        self._words_modulus = words_modulus

    def words(self, *, purpose: str, use: int, clusters: int, count: int) -> Tensor:
        """See Secrets.words; digits modulo the protocol's ring, which sees no more of a word."""
        return self._take(purpose, use, clusters, count, self._words_modulus)

    def elements(self, field: PrimeField, *, purpose: str, use: int, clusters: int, count: int) -> Tensor:
        """See Secrets.elements."""
        return self._take(purpose, use, clusters, count, field.modulus)

    def token(self, *, purpose: str, use: int, size: int) -> bytes:
        """See Secrets.token; of one word, repeated."""
        word = public_stream(0, "token", self._rank, purpose, use).bytes(8)
        return (word * -(-size // 8))[:size]

    def _take(self, purpose: str, use: int, clusters: int, count: int, modulus: int) -> Tensor:
        if clusters == self._tape.clusters:
            return self._tape.take(self._rank, f"party {self._rank}", (purpose, use), count=count, modulus=modulus)
        # Drawn once a batch: shares of keys and the like, whose secrecy is taken as ideal.
        rng = public_stream(0, "once a batch", self._rank, purpose, use)
        made = rng.integers(0, modulus - 1, (clusters, count), dtype=np.uint64, endpoint=True)
        return torch.from_numpy(made.view(np.int64))


class TapedPair:
    """Stands for the stream of one pair of parties."""

    def __init__(self, tape: Tape, rank: int, peer: int, modulus: int, label: bytes = b"") -> None:
        self._tape = tape
        self._rank = rank
        self._peer = peer
        self._source = f"pair {min(rank, peer)}-{max(rank, peer)}{label.hex()}"
        self._modulus = modulus

    def under(self, label: bytes) -> "TapedPair":
        """See SecretStreams.under."""
        return TapedPair(self._tape, self._rank, self._peer, self._modulus, label)

    def words(self, *, use: int, lanes: int, count: int) -> Tensor:
        """See SecretStreams.words."""
        if lanes != self._tape.clusters:
            raise CloisterError(f"a share of zero is drawn for {lanes} of {self._tape.clusters} clusters")
        return self._tape.take(self._rank, self._source, ("share of zero", use), count=count, modulus=self._modulus)

    def claim(self, use: int) -> "Callable[[int], _TapedLane]":
        """See SecretStreams.claim; how many words a lane has is known from the recording, which is a small one."""
        count = self._tape.recorded_count(self._source, use)
        words = self.words(use=use, lanes=self._tape.clusters, count=count)
        return lambda lane: _TapedLane(words[lane].contiguous().numpy().tobytes())


class _TapedLane:
    """Stands for the key stream of one lane."""

    def __init__(self, left: bytes) -> None:
        self._left = left

    def fill(self, target: memoryview, count: int) -> None:
        """See KeyStream.fill."""
        target[:count] = self._left[:count]
        self._left = self._left[count:]
