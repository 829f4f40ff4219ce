"""The secret randomness of a secure sum, in the tester's hands: every draw recorded, then played from a tape.

One run is a batch of clusters, so that each row of a tape of random digits goes into a cluster of its own: one
run plays a secure sum on many tapes and inputs. What cannot be a digit is taken as ideal: hashes, boxes,
signatures and salts (messages of bytes) are left out of the views, and a stream of pseudo-random words is as
many uniform digits, known to those who drew from it.
"""

import contextlib
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, cast
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from protocols.check import CloisterError
from protocols.faulty_link import Batches, Fault, Kind, Messages
from protocols.in_process import InProcessParties
from protocols.keyring import Keyring
from protocols.model_digest import Models
from protocols.network import BOARD, Link, NetworkError
from protocols.parties import OpenedSums, run_board, run_member
from protocols.playable import playable
from protocols.randomness import SecretStreams
from protocols.registry import Spec
from protocols.secure_sum import Board, Opened, Party
from protocols.testing._digits import Draw, Key, Script, Tape, TapedPair, TapedSecrets
from protocols.testing.keyrings import replayable_keyring
from protocols.types import Traffic
from protocols.zero_sharing import ZeroShares

__all__ = ["Draw", "Heard", "Late", "Script", "TapedSecrets", "Views", "opened_by", "play", "record", "views_of"]

_RECORDED_CLUSTERS = 11
_LEAST_CLUSTERS = 101
"""A batch of fewer clusters is filled up: its size then tells the axis of the clusters from the others."""
_CRYPTEN = "protocols.crypten_engine"
_CRYPTEN_DRAW = "crypten.mpc.primitives.arithmetic.generate_random_ring_element"
_WORDS = 2**64

Heard = Mapping[int, Sequence[tuple[int, Tensor]]]
"""The (sender, payload) of each message that a party has received."""

_rank: ContextVar[int] = ContextVar("rank")


@dataclass(frozen=True, kw_only=True)
class Views:
    """What everybody has received in each cluster: int64 words (clusters, columns), from whom, in which message.

    `left_out` counts the messages that are taken as ideal; `whole_batch` those numbers that were not sent for each
    cluster apart, and so are the same for all.
    """

    words: NDArray[np.int64]
    receivers: tuple[int, ...]
    senders: tuple[int, ...]
    messages: tuple[int, ...]
    left_out: int
    whole_batch: int

    def seen_by(self, coalition: Sequence[int]) -> NDArray[np.bool_]:
        """Return which columns a coalition and the board see."""
        return np.isin(self.receivers, [*coalition, BOARD])


@dataclass(frozen=True, kw_only=True)
class Late:
    """What the party sends in this exchange and after comes too late for the others, but not for their eyes."""

    kind: ClassVar[Kind] = "crash"
    step: int
    kept: list[tuple[int, Tensor]] = field(default_factory=list[tuple[int, Tensor]], compare=False, repr=False)

    def __call__(self, step: int, outgoing: Messages, batches: Batches) -> list[Messages]:  # noqa: ARG002
        """See Fault."""
        if step < self.step:
            return [outgoing]
        self.kept.extend((peer, tensor.clone()) for peer, tensor in outgoing.items())
        return []


def record(
    spec: Spec,
    parties: int,
    *,
    coordinates: int = 1,
    faults: Mapping[int, Fault] = MappingProxyType({}),
    models: Models | None = None,
) -> Script:
    """Return what the protocol draws in one run, which `play` then plays on any digits.

    With `models` nothing need open. Raises: CloisterError where the draws cannot be put on a tape; NetworkError where
    faults keep it from opening.
    """
    words = torch.ones(_RECORDED_CLUSTERS, parties, coordinates, dtype=torch.int64)
    without_crypten = _CRYPTEN not in sys.modules
    _, opened = _run(spec, tape := Tape(clusters=_RECORDED_CLUSTERS), words, faults, models)
    if without_crypten and _CRYPTEN in sys.modules:  # the run has imported it: only now can its draws be recorded
        _, opened = _run(spec, tape := Tape(clusters=_RECORDED_CLUSTERS), words, faults, models)
    sources = _recorded_sources(tape.keys)
    renamed = {f"{kind} {key!r}": sources[place] for place, (kind, key) in tape.keys.items()}
    relabelled = {(renamed.get(label[0], label[0]), *label[1:]): drawn for label, drawn in tape.recorded.items()}
    draws: list[Draw] = []
    first = 0
    for label, (count, modulus, holders) in sorted(relabelled.items()):
        draws.append(Draw(label=label, holders=frozenset(holders), count=count, modulus=modulus, first=first))
        first += count
    return Script(
        spec=spec,
        parties=parties,
        coordinates=coordinates,
        faults=faults,
        contributors=opened.contributors if opened else (),
        draws=tuple(draws),
        places=sources,
        models=models,
    )


def _recorded_sources(keys: Mapping[tuple[int, int], Key]) -> dict[tuple[int, int], str]:
    """Return one name for all places at which the same key was used."""
    return {
        place: f"generator {min(other for other, its in keys.items() if its == key)}" for place, key in keys.items()
    }


def play(script: Script, inputs: NDArray[np.int64], digits: NDArray[np.int64]) -> Views:
    """Return what is seen in each cluster, given its inputs (clusters, parties, coordinates) and its row of digits."""
    count = len(inputs)
    fill = max(_LEAST_CLUSTERS - count, 0)
    rows = np.concatenate([np.arange(count), np.zeros(fill, dtype=np.int64)])
    tape = Tape(script=script, digits=torch.from_numpy(digits[rows]), clusters=len(rows))
    heard, _ = _run(script.spec, tape, torch.from_numpy(inputs[rows]), script.faults, script.models)
    return views_of(heard, len(rows), count)


def opened_by(script: Script, inputs: NDArray[np.int64], digits: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the words (clusters, coordinates) that each cluster opens, given its inputs and its row of digits."""
    _, opened = _run(
        script.spec,
        Tape(script=script, digits=torch.from_numpy(digits), clusters=len(inputs)),
        torch.from_numpy(inputs),
        script.faults,
        script.models,
    )
    assert opened is not None
    return opened.sums.numpy()


def views_of(heard: Heard, clusters: int, count: int | None = None) -> Views:
    """Return the views of the first `count` of so many clusters, a number that no other axis of a message has."""
    columns: list[NDArray[np.int64]] = []
    about: list[tuple[int, int, int]] = []
    left_out = whole_batch = 0
    messages = [(rank, sender, payload) for rank in sorted(heard) for sender, payload in heard[rank]]
    for number, (rank, sender, payload) in enumerate(messages):
        axis = next((i for i, size in enumerate(payload.shape) if size == clusters), None)
        if payload.dtype != torch.int64:
            left_out += 1
        elif axis is None:
            whole_batch += payload.numel() > 0
        else:
            block = payload.movedim(axis, 0).reshape(clusters, -1)[:count].numpy()
            columns.append(block)
            about += [(rank, sender, number)] * block.shape[1]
    receivers, senders, numbers = zip(*about, strict=True) if about else ((), (), ())
    nothing = np.zeros((clusters if count is None else count, 0), dtype=np.int64)
    return Views(
        words=np.concatenate(columns, axis=1) if columns else nothing,
        receivers=receivers,
        senders=senders,
        messages=numbers,
        left_out=left_out,
        whole_batch=whole_batch,
    )


def _run(
    spec: Spec, tape: Tape, words: Tensor, faults: Mapping[int, Fault], models: Models | None
) -> tuple[Heard, OpenedSums | None]:
    """Return what everybody has received, and what was opened, if anything was."""
    modulus = playable(spec).ring.modulus
    # Of a word only what it is modulo a power of two counts; a protocol over a field draws elements.
    words_modulus = modulus if _WORDS % modulus == 0 else _WORDS
    threads = InProcessParties(words.shape[1], keyring=_keyring(tape, words_modulus), faults=faults or None)
    late = {rank: fault for rank, fault in faults.items() if isinstance(fault, Late)}
    for fault in late.values():
        fault.kept.clear()
    opened: OpenedSums | None = None
    try:
        with _drawing(tape, words_modulus):
            opened = threads.open_sums(spec, words, models=models)
    except NetworkError:
        if models is None:
            raise
    transcripts = {
        rank: [(message.sender, message.payload) for message in received]
        for rank, received in threads.transcripts.items()
    }
    for rank, fault in late.items():
        for peer, payload in fault.kept:
            transcripts[peer].append((rank, payload))
    return transcripts, opened


def _keyring(tape: Tape, words_modulus: int) -> Callable[[Link, int], Keyring]:
    replayable = replayable_keyring(0)

    def make(link: Link, parties: int) -> Keyring:
        streams = {
            peer: TapedPair(tape, link.rank, peer, words_modulus) for peer in range(parties) if peer != link.rank
        }
        return Keyring(
            zero_shares=ZeroShares(link.rank, cast(Any, streams)),
            identity=replayable(link, parties).identity,
            secrets=TapedSecrets(tape, link.rank, words_modulus),
        )

    return make


@contextlib.contextmanager
def _drawing(tape: Tape, words_modulus: int) -> Generator[None, None, None]:
    """Let generators that the parties seed themselves draw from the tape, in this process."""
    original = SecretStreams.words

    def member(spec: Spec, party: Party, words: Tensor) -> Traffic:
        _rank.set(party.rank)
        return run_member(spec, party, words)

    def board(spec: Spec, seat: Board) -> Opened:
        _rank.set(BOARD)
        return run_board(spec, seat)

    def stream(self: SecretStreams, *, use: int, lanes: int, count: int) -> Tensor:
        if lanes != tape.clusters:  # not one lane a cluster: public coins
            return original(self, use=use, lanes=lanes, count=count)
        key = ("stream", self._algorithm.key)  # pyright: ignore[reportPrivateUsage]
        rank = _rank.get()
        return tape.take(rank, tape.source_of(rank, key), ("stream", use), count=count, modulus=words_modulus)

    def crypten(size: tuple[int, ...], generator: torch.Generator, **_: object) -> Tensor:
        rank = _rank.get()
        clusters, *rest = size
        if clusters != tape.clusters:
            raise CloisterError(f"CrypTen draws for {clusters} of {tape.clusters} clusters")
        source = tape.source_of(rank, ("crypten", generator.initial_seed()))
        return tape.take(rank, source, ("words", 0), count=int(np.prod(rest)), modulus=words_modulus).view(size)

    with contextlib.ExitStack() as patches:
        patches.enter_context(mock.patch("protocols.in_process.run_member", member))
        patches.enter_context(mock.patch("protocols.in_process.run_board", board))
        patches.enter_context(mock.patch.object(SecretStreams, "words", stream))
        if _CRYPTEN in sys.modules:
            patches.enter_context(mock.patch(_CRYPTEN_DRAW, crypten))
        yield
