"""Engines of all parties, in threads of the test process, on pads that follow from a seed or from a tape."""

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from math import prod
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from protocols.in_process_link import InProcessLink, in_process_links
from protocols.randomness import SecretStreams
from protocols.secure_robust._access import Access
from protocols.secure_robust._conversions import Draw
from protocols.secure_robust._engine import Algebra, Engine
from protocols.secure_robust._pads import KeyedPads, Pads

Result = TypeVar("Result")
Source = tuple[str, tuple[int, ...]]
"""("set", "pair" or "own", the members who draw from it)."""


def seeded_pads(access: Access, rank: int, seed: int) -> KeyedPads:
    """Pads whose keys anyone can replay."""

    def key(kind: str, members: tuple[int, ...]) -> bytes:
        return SecretStreams.replayable(seed, kind, members).words(use=0, lanes=1, count=2).numpy().tobytes()

    peers = [peer for peer in range(access.parties) if peer != rank]
    sets = {number: key("set", access.sets[number]) for number in access.held(rank)}
    return KeyedPads(sets, {peer: key("pair", (min(rank, peer), max(rank, peer))) for peer in peers})


def run_engines(
    access: Access, algebra: Algebra, work: Callable[[Engine], Result], pads: Callable[[int], Pads] | None = None
) -> tuple[list[Result], list[InProcessLink]]:
    """Return work(engine) of every party, and the links with all that they received."""
    links = in_process_links(access.parties)[:-1]
    for link in links:
        link.transcript = []
    links[0].run({link.rank for link in links})
    of = pads or (lambda rank: seeded_pads(access, rank, 1))

    def play(link: InProcessLink) -> Result:
        with link.turn():
            result = work(Engine(link, access, of(link.rank), algebra))
            link.finish()
        return result

    with ThreadPoolExecutor(access.parties) as threads:
        return list(threads.map(play, links)), links


@dataclass(frozen=True, kw_only=True)
class Alone:
    """The access of one party that masks nothing: what it shares is public, and an opening sends nothing.

    So circuits run on the real engine in a hundredth of the time that parties take who exchange every layer.
    """

    parties: int = 1
    threshold: int = 0
    sets: tuple[tuple[int, ...], ...] = ()

    def groups(self, rank: int) -> list[tuple[int, ...]]:
        return []

    def held(self, rank: int) -> list[int]:
        return []

    def owns(self, rank: int) -> list[int]:
        return [0]

    def products(self, rank: int) -> list[tuple[int, list[int]]]:
        return [(0, [0])]


def run_alone(algebra: Algebra, work: Callable[[Engine], Result]) -> Result:
    """Return work(engine) of a party that holds all values itself; `Engine.public` shares words with it."""
    access: Any = Alone()
    (result,), _ = run_engines(access, algebra, work)
    return result


@dataclass(kw_only=True)
class Tape:
    """Digits for every draw, a row a cluster; without `digits` it records what is drawn."""

    modulus: int
    digits: dict[tuple[Source, int], NDArray[np.int64]] = field(default_factory=dict[Any, Any])
    drawn: dict[tuple[Source, int], int] = field(default_factory=dict[Any, Any])

    def take(self, source: Source, use: int, shape: tuple[int, ...]) -> Tensor:
        self.drawn[source, use] = prod(shape[1:])
        if (source, use) not in self.digits:
            return torch.zeros(shape, dtype=torch.int64)
        return torch.from_numpy(self.digits[source, use]).reshape(shape)


@dataclass(frozen=True, kw_only=True)
class TapedPads:
    """One party's end of a tape."""

    access: Access
    rank: int
    tape: Tape

    def of_set(self, number: int, use: int, shape: tuple[int, ...]) -> Tensor:
        return self.tape.take(("set", self.access.sets[number]), use, shape)

    def of_pair(self, peer: int, use: int, shape: tuple[int, ...]) -> Tensor:
        return self.tape.take(("pair", (min(self.rank, peer), max(self.rank, peer))), use, shape)


def own_draw(engine: Engine) -> Draw:
    """A dealer's own secrets, from the tape."""
    pads = engine._pads
    assert isinstance(pads, TapedPads)
    return lambda shape: pads.tape.take(("own", (pads.rank,)), 0, shape)


Program = Callable[[Engine, Tensor], Tensor]
"""From this party's words (clusters, ...) to what is opened (clusters, ...)."""


def leaking(
    access: Access,
    algebra: Algebra,
    program: Program,
    inputs: Sequence[Sequence[Any]],
    *,
    modulus: int = 2,
    seed: int = 0,
    bits: Collection[int] = (),
    ranks: Collection[int] | None = None,
    apart: Collection[Source] = (),
) -> list[int]:
    """Return which single parties learn more than their own input and what is opened; the program runs on all digits.

    `inputs` are the cases, each one nested list of numbers a party. What a party knows is held at random digits; all
    digits of the others are enumerated, so distributions are compared exactly. Digits are below `modulus`; those of the
    uses `bits`, which mask single bits, are 0 or 1. `ranks` are the parties asked about, all by default.

    Digits of the sources `apart` are drawn anew for every row instead: where a view depended on one of them, two
    distributions that are equal would seem to differ, and never the other way round.
    """
    words = torch.tensor(inputs, dtype=torch.int64)  # (cases, parties, ...)
    recorded = Tape(modulus=modulus)
    _play(access, algebra, program, words[:1], recorded)
    game = _Game(
        access=access,
        algebra=algebra,
        program=program,
        words=words,
        modulus=modulus,
        bits=frozenset(bits),
        drawn=recorded.drawn,
        apart=frozenset(apart),
    )
    asked = range(access.parties) if ranks is None else ranks
    return [rank for rank in asked if _learns(game, rank, np.random.default_rng([seed, rank]))]


@dataclass(frozen=True, kw_only=True)
class _Game:
    access: Access
    algebra: Algebra
    program: Program
    words: Tensor
    modulus: int
    bits: frozenset[int]
    drawn: dict[tuple[Source, int], int]
    apart: frozenset[Source]

    def base(self, draw: tuple[Source, int]) -> int:
        return 2 if draw[1] in self.bits else self.modulus


def _play(
    access: Access, algebra: Algebra, program: Program, words: Tensor, tape: Tape
) -> tuple[Tensor, list[InProcessLink]]:
    opened, links = run_engines(
        access,
        algebra,
        lambda engine: program(engine, words[:, engine.rank].contiguous()),
        lambda rank: TapedPads(access=access, rank=rank, tape=tape),
    )
    return opened[0], links


def _learns(game: _Game, rank: int, rng: np.random.Generator) -> bool:
    modulus, words = game.modulus, game.words
    free = [draw for draw in sorted(game.drawn) if rank not in draw[0][1] and draw[0] not in game.apart]
    tapes = prod(game.base(draw) ** game.drawn[draw] for draw in free)
    numbers, digits = np.arange(tapes), {}
    for draw, count in sorted(game.drawn.items()):
        if draw[0] in game.apart and rank not in draw[0][1]:
            digits[draw] = rng.integers(0, game.base(draw), (tapes * len(words), count))
            continue
        if draw not in free:
            digits[draw] = np.tile(rng.integers(0, game.base(draw), count), (tapes * len(words), 1))
            continue
        columns = np.empty((tapes, count), dtype=np.int64)
        for column in range(count):
            numbers, columns[:, column] = np.divmod(numbers, game.base(draw))
        digits[draw] = np.tile(columns, (len(words), 1))
    rows = words.repeat_interleave(tapes, dim=0)
    tape = Tape(modulus=modulus, digits=digits)
    opened, links = _play(game.access, game.algebra, game.program, rows, tape)
    heard = [message.payload.reshape(len(rows), -1) for message in links[rank].transcript or []]
    views = (torch.cat(heard, dim=1) & (modulus - 1)).numpy()
    known = torch.cat([words[:, rank].reshape(len(words), -1), opened.reshape(len(words), tapes, -1)[:, 0]], dim=1)
    distributions: dict[tuple[int, ...], NDArray[np.int64]] = {}
    for case, allowed in enumerate(known.tolist()):
        seen = np.sort(views[case * tapes : (case + 1) * tapes].copy().view([("", np.int64)] * views.shape[1]).ravel())
        if not np.array_equal(distributions.setdefault(tuple(allowed), seen), seen):
            return True
    return False
