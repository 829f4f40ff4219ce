"""What our engine holds where CrypTen fails: one check a defect, each on the engine itself."""

import inspect
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast
from unittest import mock

import torch
from torch import Tensor

from protocols.check import CloisterError
from protocols.faults import Batches, Crash, Fault, Kind, Messages, Mute, Tamper, Truncate
from protocols.in_process import InProcessParties
from protocols.in_process_link import InProcessLink
from protocols.network import NetworkError, OutOfStepError, PartyCrashedError, PartyTimeoutError
from protocols.norms import row_norms
from protocols.privacy import clip_to_norm
from protocols.randomness import SecretStreams, public_stream
from protocols.ring import FixedPoint, NotEncodableError
from protocols.secure_sum import secure_sums
from protocols.testing.stock_crypten.masks import hardened_leaks
from protocols.testing.stock_crypten.stock import side_by_side
from protocols.zero_sharing import ZeroShares, agree_on_keys

__all__ = [
    "a_failure_reaches_the_caller",
    "a_forked_sum_is_noticed",
    "a_silent_party_ends_at_the_deadline",
    "bytes_and_rounds_are_what_crosses",
    "clipping_and_bounds_hold_for_any_size",
    "decoding_inverts_encoding",
    "draws_have_addresses",
    "every_key_bit_counts",
    "neighbours_learn_nothing",
    "not_a_number_is_refused",
    "nothing_is_dealt_in_the_clear",
    "rounding_and_means_are_exact",
    "threads_open_the_exact_sum",
    "wire_shows_no_key",
]

_ADDITIVE = "additive"
_DEADLINE_S = 0.5
_GATHER = 1  # the second exchange of `additive`, in which opened words are passed on


def _opened(words: Tensor, faults: Mapping[int, Fault] | None = None) -> Tensor:
    """Return the sums of words (clusters, members, coordinates), opened by `additive` among threads."""
    parties = InProcessParties(words.shape[1], deadline_s=_DEADLINE_S, faults=faults)
    return parties.open_sums(secure_sums.resolve(_ADDITIVE), words).sums


def _failure(faults: Mapping[int, Fault], words: Tensor) -> BaseException | None:
    """Return what open_sums raises when some parties are faulty."""
    try:
        _opened(words, faults)
    except Exception as error:
        return error
    return None


def _words(clusters: int, members: int, coordinates: int) -> Tensor:
    drawn = public_stream(0, "stock crypten", members).integers(-(2**63), 2**63, (clusters, members, coordinates))
    return torch.from_numpy(drawn)


def decoding_inverts_encoding() -> str:
    """Decode words of all sizes against exact binary fractions, and encode them back."""
    ring = FixedPoint()
    near = torch.arange(-(2**20), 2**20 + 1)
    powers = 2 ** torch.arange(20, 47)
    words = torch.cat([near, *(sign * powers + step for sign in (1, -1) for step in (-1, 0, 1))])
    values = ring.decode(words)
    wrong = values * 2.0**16 != words  # both sides are exact in float64
    assert not bool(wrong.any()), f"decode({int(words[wrong][0])}) = {float(values[wrong][0])!r}"
    assert torch.equal(ring.encode(values, terms=1), words), "encode(decode(word)) is another word"
    return f"exact: {len(words):,} words and back"


def neighbours_learn_nothing() -> str:
    """Enumerate all keys, inputs and coalitions in the ring of two elements."""
    for parties in range(2, 6):
        leaking = hardened_leaks(parties)
        assert not leaking, f"of {parties} parties, {leaking[0]} learn more than the sum"
    return "exhaustive over Z_2, 2 to 5 parties, all coalitions"


def every_key_bit_counts() -> str:
    """Flip each bit of a key; eight words agree in one place by chance with probability 2^-54 over all bits."""
    key = bytes(range(16))
    words = SecretStreams(key).words(use=0, lanes=1, count=8)
    for bit in range(128):
        flipped = (int.from_bytes(key, "big") ^ (1 << bit)).to_bytes(16, "big")
        same = SecretStreams(flipped).words(use=0, lanes=1, count=8) == words
        assert not bool(same.any()), f"bit {bit} of the key does not change every word"
    return "each of 128 key bits flipped"


def nothing_is_dealt_in_the_clear() -> str:
    """Open a sum while CrypTen's providers refuse to work; enumerate what party 0 sees."""
    # CrypTen's import takes seconds.
    from protocols import crypten_engine

    words = _words(2, 3, 5)
    provider = mock.Mock(side_effect=AssertionError("a provider was asked for masks"))
    with mock.patch.object(cast(Any, crypten_engine.crypten).mpc, "get_default_provider", provider):
        assert torch.equal(_opened(words), words.sum(dim=1)), "the sum is wrong"
    for parties in range(2, 6):
        assert (0,) not in hardened_leaks(parties), f"party 0 of {parties} learns more than the sum"
    return "no provider is asked; party 0's view exhaustive over Z_2, 2 to 5 parties"


def a_forked_sum_is_noticed() -> str:
    """Let each party of four in turn pass on other opened words to one other party, which then opens another sum."""
    words = _words(1, 4, 8)
    pairs = [(liar, victim) for liar in range(4) for victim in range(4) if liar != victim]
    for liar, victim in pairs:
        error = _failure({liar: Tamper(step=_GATHER, delta=1000, to=victim)}, words)
        assert isinstance(error, OutOfStepError), f"party {liar} lies to party {victim} alone: {error!r}"
    documented = inspect.getdoc(secure_sums.entry(_ADDITIVE).factory) or ""
    assert "unseen" in documented, "the threat model no longer says that a shifted share goes unseen"
    return f"{len(pairs)} pairs of liar and victim; the shift of a share is documented, not prevented"


def clipping_and_bounds_hold_for_any_size() -> str:
    """Clip updates of norm 15 up to 1e300; add the largest words of each sign; encode values just beyond the bound."""
    norms = torch.tensor([1.0, 15.0, 20.0, 30.0, 47_000.0, 65_536.0, 1e9, 1e300], dtype=torch.float64)
    direction = torch.tensor([[0.6, 0.0, -0.8]], dtype=torch.float64)
    lengths = row_norms(clip_to_norm(norms[:, None] * direction, 1.0))
    assert bool(((lengths - 1.0).abs() <= 1e-12).all()), f"clipped to {lengths.flatten().tolist()}"
    ring = FixedPoint()
    for terms in range(2, 9):
        bound = ring.bound(terms)
        for sign in (1.0, -1.0):
            word = ring.encode(torch.tensor([sign * bound], dtype=torch.float64), terms=terms)
            total = int(_opened(word.view(1, 1, 1).repeat(1, terms, 1)))
            assert total == terms * int(word), f"{terms} times {sign * bound} wraps around to {total}"
            beyond = torch.tensor([sign * bound * (1 + 1e-9)], dtype=torch.float64)
            assert _is_refused(beyond, terms), f"{float(beyond)} is not refused for {terms} terms"
    return f"{len(norms)} norms up to 1e300; both ends of the range, 2 to 8 terms"


def not_a_number_is_refused() -> str:
    """Put NaN and both infinities at each place of an update."""
    cases = 0
    for dtype in (torch.float32, torch.float64):
        for bad in (math.nan, math.inf, -math.inf):
            for place in range(5):
                values = torch.ones(5, dtype=dtype)
                values[place] = bad
                assert _is_refused(values, terms=3), f"{bad} at place {place} is encoded ({dtype})"
                cases += 1
    return f"exact: {cases} cases"


def bytes_and_rounds_are_what_crosses() -> str:
    """Compare the metered bytes and messages with what the parties received, and both with the closed form."""
    protocol = secure_sums.resolve(_ADDITIVE)
    sizes = (2, 3, 5, 8)
    for members in sizes:
        words = _words(2, members, 101)
        parties = InProcessParties(members)
        metered = parties.open_sums(protocol, words).traffic
        received = [message.payload.nbytes for rank in range(members) for message in parties.transcripts[rank]]
        formula = secure_sums.make(protocol).cost(parties=members, clusters=2, coordinates=101)
        counted = (metered.mpc.payload_bytes, metered.mpc.messages)
        assert counted == (sum(received), len(received)), f"{members} parties: {counted} counted, {sum(received)} bytes"
        assert metered == formula, f"{members} parties: {metered} counted, {formula} by the closed form"
        assert metered.mpc.rounds == 2, f"{metered.mpc.rounds} rounds for reduce-scatter and all-gather"
    return f"exact: {', '.join(map(str, sizes))} parties"


def threads_open_the_exact_sum() -> str:
    """Open random words among 3 to 8 threads."""
    batches = 5
    for members in range(3, 9):
        parties = InProcessParties(members)
        for batch in range(batches):
            words = _words(2, members, 50) + batch
            sums = parties.open_sums(secure_sums.resolve(_ADDITIVE), words).sums
            assert torch.equal(sums, words.sum(dim=1)), f"{members} threads open another sum"
    return f"exact: {6 * batches} batches, 3 to 8 threads"


def a_silent_party_ends_at_the_deadline() -> str:
    """Let each party of four fall silent before it passes on its part."""
    for silent in range(4):
        error = _failure({silent: Mute(step=_GATHER)}, _words(1, 4, 8))
        assert isinstance(error, PartyTimeoutError), f"party {silent} is silent: {error!r}"
    return "each of 4 parties silent, in virtual time"


def a_failure_reaches_the_caller() -> str:
    """Let each party of three crash, then raise an error of its own; open a sum of 2 MiB."""
    words = _words(1, 3, 4)
    for culprit in range(3):
        crash = _failure({culprit: Crash(step=0)}, words)
        assert isinstance(crash, PartyCrashedError), f"party {culprit} crashes: {crash!r}"
        error = _failure({culprit: _Raise()}, words)
        assert error is not None, f"party {culprit} raises and the caller hears nothing"
        assert not isinstance(error, NetworkError), f"party {culprit} raises and the caller hears {error!r}"
    large = _words(1, 2, 2**18)
    assert torch.equal(_opened(large), large.sum(dim=1)), "a sum of 2 MiB does not come back whole"
    return "each of 3 parties crashes or raises; a sum of 2 MiB comes back"


def rounding_and_means_are_exact() -> str:
    """Encode all k / 64 of a unit above an even and an odd word; average large sums in the clear."""
    ring = FixedPoint()
    values = (1000 + torch.arange(128, dtype=torch.float64) / 64) * ring.unit
    for sign in (1, -1):
        bias = float((ring.encode(sign * values, terms=1) * ring.unit - sign * values).mean()) / ring.unit
        assert bias == 0.0, f"encoding errs by {bias:+.3f} units on average"
    large = torch.full((1, 2, 256), 5e8, dtype=torch.float64)
    means = ring.decode(_opened(ring.encode(large, terms=2))) / 2
    assert bool((means == 5e8).all()), f"a mean of 5e8 opens as {float(means[means != 5e8][0])}"
    return "exact: 256 roundings, 256 means"


def draws_have_addresses() -> str:
    """Let each party of three draw one mask more than the others before a sum; send messages of a wrong size."""
    # CrypTen's import takes seconds.
    from protocols import crypten_engine

    words = _words(1, 3, 6)
    expected = words.sum(dim=1)
    for culprit in range(3):

        def work(link: InProcessLink, culprit: int = culprit) -> Tensor:
            zero_shares = agree_on_keys(link, 3)
            if link.rank == culprit:
                _draw(zero_shares, use=1)
            share = _draw(zero_shares, use=2) + words[:, link.rank]
            return crypten_engine.reveal(link, 3, share, fraction_bits=16)

        for opened in side_by_side(3, work):
            assert torch.equal(opened, expected), f"party {culprit} draws one mask more and shifts the sum"
        error = _failure({culprit: Truncate(step=0)}, words)
        assert isinstance(error, OutOfStepError), f"party {culprit} sends too few words: {error!r}"
    _assert_drawn_once()
    return "exact: each of 3 parties draws more, sends fewer words, or draws twice"


def wire_shows_no_key() -> str:
    """Try all 16 bytes in a row of all that was sent during a key agreement as the key of a pair."""
    agreed = side_by_side(3, lambda link: (agree_on_keys(link, 3), link.transcript or []))
    # Between the first two of three parties alone, the share of party 0 is the mask of their pair.
    mask = agreed[0][0].draw(use=1, parties=2, clusters=1, coordinates=4)
    messages = {message.payload.numpy().tobytes() for _, transcript in agreed for message in transcript}
    windows = {message[start : start + 16] for message in messages for start in range(len(message) - 15)}
    assert len(messages) == 3, f"{len(messages)} different messages instead of 3 public keys"
    for key in windows:
        guess = SecretStreams(key).words(use=1, lanes=1, count=4)
        assert not torch.equal(guess, mask), "the key of parties 0 and 1 was sent in clear"
    assert not hardened_leaks(3), "the masked words themselves show more than the sum"
    return f"{len(windows)} pieces of the transcript tried as keys; masked words exhaustive over Z_2"


@dataclass(frozen=True, kw_only=True)
class _Raise:
    """A mistake in a party's own code."""

    kind: ClassVar[Kind] = "crash"
    step: int = 0

    def __call__(self, step: int, outgoing: Messages, batches: Batches) -> Iterator[Messages]:  # noqa: ARG002
        """See Fault."""
        raise ZeroDivisionError("a mistake in the code of this party")
        yield outgoing


def _is_refused(values: Tensor, terms: int) -> bool:
    try:
        FixedPoint().encode(values, terms=terms)
    except NotEncodableError:
        return True
    return False


def _draw(zero_shares: ZeroShares, *, use: int) -> Tensor:
    return zero_shares.draw(use=use, parties=3, clusters=1, coordinates=6)


def _assert_drawn_once() -> None:
    streams = SecretStreams(bytes(16))
    streams.words(use=1, lanes=1, count=1)
    try:
        streams.words(use=1, lanes=1, count=1)
    except CloisterError:
        return
    raise AssertionError("the same words are drawn twice")
