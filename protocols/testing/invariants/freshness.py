"""What is drawn is new every time, and what is sent never is the input itself."""

import hashlib
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from protocols.faults import Tamper
from protocols.in_process import InProcessParties
from protocols.in_process_link import Received
from protocols.network import BOARD, NetworkError
from protocols.parties import run_board, run_member
from protocols.randomness import KeyStream, SecretStreams, public_stream
from protocols.registry import Spec
from protocols.secure_sum import Board, Opened, Party, secure_sums
from protocols.testing.influence import reduced
from protocols.testing.invariants.contract import Effort, Evidence, NotApplicable, Violation
from protocols.testing.invariants.runs import observe, promises_secrecy, scenario_of, sizes, steps_of, suite_line
from protocols.testing.invariants.secrecy import secret_sizes
from protocols.testing.keyrings import replayable_keyring
from protocols.types import Traffic

__all__ = ["draws_nothing_twice", "shows_no_input"]

_NO_SECRECY = NotApplicable(reason="it promises no secrecy")
_KEY_BITS = 128


@dataclass(kw_only=True)
class _Drawn:
    """Every draw of every stream: (rank, key, use) -> how often; key -> who drew from it; how long keys are."""

    times: dict[tuple[int, bytes, int], int] = field(default_factory=lambda: defaultdict[Any, int](int))
    holders: dict[bytes, set[int]] = field(default_factory=lambda: defaultdict[Any, set[int]](set))
    bits: int = 1024


def draws_nothing_twice(spec: Spec, effort: Effort) -> Evidence | NotApplicable:
    """I15: no key is used twice for one label, no two strangers share one, and equal inputs look different again."""
    secret = secret_sizes(spec, effort)
    if not secret:
        return _NO_SECRECY
    draws = words = 0
    for parties in secret:
        drawn = _Drawn()
        batch = _constant(spec, parties, clusters=3)
        InProcessParties(parties).open_sums(spec, batch)  # may import CrypTen, whose draws are spied on as well
        rounds: list[Mapping[int, Sequence[Received]]] = []
        with _spying(drawn):
            for _ in range(2):  # two pools with keys of their own
                threads = InProcessParties(parties)
                for _ in range(2):
                    threads.open_sums(spec, batch)
                    rounds.append(threads.transcripts)
        _check_draws(spec, parties, drawn)
        draws += len(drawn.times)
        words += _check_fresh(spec, parties, rounds)
    if not draws and not words:
        return NotApplicable(reason="it draws no randomness")
    return Evidence(
        how="exact",
        cases=draws + words,
        text=f"{draws} draws by key and label, {words} random words of equal inputs in two rounds and three clusters",
    )


def _constant(spec: Spec, parties: int, *, clusters: int) -> Tensor:
    words = scenario_of(spec, parties, seed=3).words()[:1, :, :1]
    return words.expand(clusters, -1, 3).contiguous()


def _check_draws(spec: Spec, parties: int, drawn: _Drawn) -> None:
    for (rank, _, use), times in drawn.times.items():
        if times > 1:
            raise Violation(
                f"{spec}: party {rank} of {parties} draws {times} times from one key with label {use}",
                replay=suite_line(spec, "I15"),
            )
    for holders in drawn.holders.values():
        members = holders - {BOARD}
        # A stream that all draw is a public coin; one that two draw is theirs.
        if 2 < len(members) < parties:
            raise Violation(f"{spec}: parties {sorted(members)} draw from one key", replay=suite_line(spec, "I15"))
    if drawn.holders and drawn.bits < _KEY_BITS:
        raise Violation(
            f"{spec}: its keys have {drawn.bits} bits, so that two of 2^{drawn.bits // 2} draws share their mask; "
            f"allowed: {_KEY_BITS}",
            replay=suite_line(spec, "I15"),
        )


def _check_fresh(spec: Spec, parties: int, rounds: Sequence[Mapping[int, Sequence[Received]]]) -> int:
    """Compare the words that depend on keys: those that differ between the first rounds of two pools."""
    modulus = secure_sums.make(spec).ring.modulus
    first, again, other = (_words_of(rounds[place], modulus) for place in (0, 1, 2))
    random = first != other
    same = int((random & (first == again)).sum())
    # By chance a word of 60 bits or more repeats with probability below 2^-60, one of 32 bits below 2^-32.
    allowed = 0 if modulus > 2**40 else 1
    if same > allowed:
        raise Violation(
            f"{spec}: {same} of {int(random.sum())} masked words of {parties} members are the same for equal inputs in "
            f"two rounds",
            replay=suite_line(spec, "I15"),
        )
    repeated = _repeats(rounds[0], rounds[2], modulus)
    if repeated > allowed:
        raise Violation(
            f"{spec}: {repeated} masked words of equal inputs are the same in two clusters",
            replay=suite_line(spec, "I15"),
        )
    return int(random.sum())


def _words_of(transcripts: Mapping[int, Sequence[Received]], modulus: int) -> NDArray[np.int64]:
    parts = [
        reduced(message.payload.flatten().numpy(), modulus)
        for rank in sorted(transcripts)
        for message in transcripts[rank]
        if message.payload.dtype == torch.int64
    ]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


def _repeats(first: Mapping[int, Sequence[Received]], other: Mapping[int, Sequence[Received]], modulus: int) -> int:
    """Count random words of the first cluster that the second one repeats at the same place."""
    found = 0
    for rank, messages in first.items():
        for message, its in zip(messages, other[rank], strict=True):
            if message.payload.dtype == torch.int64 and message.payload.dim() > 1 and message.payload.shape[0] == 3:
                one, two = reduced(message.payload[:2].numpy(), modulus)
                found += int(((one != reduced(its.payload[0].numpy(), modulus)) & (one == two)).sum())
    return found


@contextmanager
def _spying(drawn: _Drawn) -> Generator[None, None, None]:
    """Record every draw from a stream, and how many bits CrypTen's generators have, by the party that draws."""
    lock, here = threading.Lock(), threading.local()
    claim, seed = SecretStreams.claim, torch.Generator.initial_seed

    def member(spec: Spec, party: Party, given: Tensor) -> Traffic:
        here.rank = party.rank
        return run_member(spec, party, given)

    def board(spec: Spec, seat: Board) -> Opened:
        here.rank = BOARD
        return run_board(spec, seat)

    def note(key: bytes, use: int, bits: int) -> None:
        with lock:
            hidden = hashlib.sha256(key).digest()
            drawn.times[here.rank, hidden, use] += 1
            drawn.holders[hidden].add(here.rank)
            drawn.bits = min(drawn.bits, bits)

    def claimed(self: SecretStreams, use: int) -> Callable[[int], KeyStream]:
        key = bytes(self._algorithm.key)  # pyright: ignore[reportPrivateUsage]
        if hasattr(here, "rank"):
            note(key, use, 8 * len(key))
        return claim(self, use)

    calls: dict[int, int] = defaultdict(int)

    def crypten(size: tuple[int, ...], generator: torch.Generator, **_: object) -> Tensor:
        key = seed(generator).to_bytes(16, "big", signed=True)
        with lock:
            calls[id(generator)] += 1
        # torch's generator looks at the lower half of its seed only.
        note(key, calls[id(generator)], 32)
        return torch.randint(-(2**63), 2**63 - 1, size, generator=generator)

    with (
        mock.patch("protocols.in_process.run_member", member),
        mock.patch("protocols.in_process.run_board", board),
        mock.patch.object(SecretStreams, "claim", claimed),
        _crypten_draws(crypten),
    ):
        yield


@contextmanager
def _crypten_draws(draw: Callable[..., Tensor]) -> Generator[None, None, None]:
    if "protocols.crypten_engine" not in sys.modules:
        yield
        return
    with mock.patch("crypten.mpc.primitives.arithmetic.generate_random_ring_element", draw):
        yield


def shows_no_input(spec: Spec, effort: Effort) -> Evidence | NotApplicable:
    """I23: a pattern planted in one member's words turns up in nothing that goes to another one, says or shows."""
    cases = 0
    secret = [parties for parties in sizes(spec, 12, least=3) if promises_secrecy(spec, parties, 1)]
    for parties in [parties for parties in secret if parties <= effort.members][-1:] or secret[:1]:
        for victim in range(min(parties, effort.cases // 4 + 1)):
            rng = public_stream(victim, "canary", spec.canonical(), parties)
            scenario = scenario_of(spec, parties, seed=100 + victim)
            words = scenario.words()
            half = secure_sums.make(spec).ring.modulus // 2
            planted = rng.integers(-half, half, size=words[:, victim].shape, dtype=np.int64)
            words[:, victim] = torch.from_numpy(planted)
            cases += _search(spec, scenario.line(), victim, planted, observe(scenario, words=words).sent)
            cases += _search_texts(spec, parties, victim, planted, words)
    if not cases:
        return NotApplicable(reason="it promises no secrecy against one member and the board")
    return Evidence(how="property", cases=cases, text="bytes sent to others, and the text of errors and of seats")


def _search(
    spec: Spec, line: str, victim: int, planted: NDArray[np.int64], sent: Mapping[int, Sequence[tuple[int, Tensor]]]
) -> int:
    modulus = secure_sums.make(spec).ring.modulus
    seen = 0
    found = 0
    for messages in sent.values():
        for receiver, payload in messages:
            if receiver == victim:
                continue
            data = payload.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
            seen += len(data)
            found += sum(pattern in data for word in planted.flatten() for pattern in _patterns(int(word), modulus))
    # A word of 60 bits turns up by chance with probability below 1e-12; one of 32 bits may turn up once.
    if found > (0 if modulus > 2**40 else 1):
        raise Violation(f"{spec}: {found} words of party {victim} are sent to others as they are", replay=line)
    return seen


def _patterns(word: int, modulus: int) -> set[bytes]:
    size = 8
    values = {word % 2**64, word % modulus}
    return {value.to_bytes(size, order) for value in values for order in ("little", "big")}


def _search_texts(spec: Spec, parties: int, victim: int, planted: NDArray[np.int64], words: Tensor) -> int:
    """Look for the words as numbers in the text of seats and keys, and of all errors after crashes."""
    texts: list[str] = []
    lock = threading.Lock()

    def member(given: Spec, party: Party, its: Tensor) -> Traffic:
        try:
            return run_member(given, party, its)
        except NetworkError as error:
            with lock:
                texts.append(repr(error))
            raise
        finally:
            with lock:
                texts.append(f"{party!r} {party.keys!r} {party.keys.secrets!r} {party.keys.zero_shares!r}")

    with mock.patch("protocols.in_process.run_member", member):
        for step in range(0, steps_of(spec, parties), 2):
            fault = {(victim + 1) % parties: Tamper(step=step, delta=77)}
            try:
                InProcessParties(parties, faults=fault, keyring=replayable_keyring(step)).open_sums(spec, words)
            except NetworkError as error:
                texts.append(repr(error))
    for word in planted.flatten():
        for text in texts:
            if str(abs(int(word))) in text or f"{int(word) % 2**64:x}" in text:
                raise Violation(
                    f"{spec}: a word of party {victim} is in {text[:200]!r}", replay=suite_line(spec, "I23")
                )
    return len(texts)
