"""Counterexamples on CrypTen's own code in this process: its encoder, its seeds, its shares of zero, its messages."""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from protocols.in_process_link import InProcessLink, in_process_links
from protocols.testing.stock_crypten.masks import stock_leaks

__all__ = [
    "decoding_is_off_by_one",
    "encoding_is_biased",
    "neighbours_learn_an_update",
    "not_a_number_enters_the_sum",
    "seeds_have_32_bits",
    "side_by_side",
    "wire_shows_an_update",
]

_UNIT = 2.0**-16  # of CrypTen's default encoding
_PARTIES = 3
_DEADLINE_S = 20.0

Result = TypeVar("Result")


def side_by_side(parties: int, work: Callable[[InProcessLink], Result]) -> list[Result]:
    """Return work(link) of every party, in threads whose links keep what they receive in `transcript`."""
    *links, _ = in_process_links(parties, deadline_s=_DEADLINE_S)
    for link in links:
        link.transcript = []

    def in_turn(link: InProcessLink) -> Result:
        with link.turn():
            return work(link)

    with ThreadPoolExecutor(parties) as threads:
        return list(threads.map(in_turn, links))


def _crypten() -> Any:
    # CrypTen's import takes seconds.
    from protocols import crypten_engine

    return crypten_engine.crypten


def _encoder() -> Any:
    return _crypten().encoder.FixedPointEncoder()


def decoding_is_off_by_one() -> str | None:
    """Decode every word from -1/65536 down to -64; show the first that is wrong by more than a half."""
    words = -torch.arange(1, 2**22)
    exact = words.to(torch.float64) * _UNIT
    decoded = _encoder().decode(words).to(torch.float64)
    wrong = (decoded - exact).abs() > 0.5
    if not bool(wrong.any()):
        return None
    first = int(wrong.nonzero()[0])
    value = float(exact[first])
    return f"decode(encode({value!r})) = {float(decoded[first]):.6f}"


def neighbours_learn_an_update() -> str | None:
    """Enumerate all keys, inputs and coalitions of 3 to 5 parties in the ring of two elements."""
    leaking = {parties: [each for each in stock_leaks(parties) if len(each) == 2] for parties in (3, 4, 5)}
    named = {parties: ", ".join(str(set(pair)) for pair in pairs) for parties, pairs in leaking.items()}
    return "; ".join(f"{parties} parties: {pairs}" for parties, pairs in named.items() if pairs) or None


def seeds_have_32_bits() -> str | None:
    """Seed the shares of zero of three parties with s and with s + 2^32."""
    crypten = _crypten()
    # Imported already, with CrypTen.
    from protocols import crypten_engine

    def shares(shift: int) -> list[Tensor]:
        def work(link: InProcessLink) -> Tensor:
            with crypten_engine.world(link, _PARTIES):
                crypten._setup_prng()
                crypten.manual_seed(7 + link.rank + shift, 0, 0)
                return cast(Any, crypten_engine.ArithmeticSharedTensor).PRZS((8,)).share

        return side_by_side(_PARTIES, work)

    with crypten.cfg.temp_override({"debug.debug_mode": True}):
        low, high, other = shares(0), shares(2**32), shares(1)
    if not all(map(torch.equal, low, high)):
        return None
    assert not any(map(torch.equal, low, other)), "other seeds give the same shares: the experiment itself is broken"
    return f"seeds s and s + 2^32 give the same masks: {int(low[0][0])} is party 0's first one for s = 7"


def not_a_number_enters_the_sum() -> str | None:
    """Add 1, 2 and what is no number."""
    encoder = _encoder()
    for bad in (math.nan, math.inf, -math.inf):  # what NaN becomes depends on the processor
        total = sum(int(encoder.encode(torch.tensor([value]))) for value in (1.0, 2.0, bad))
        if abs(total * _UNIT) > 10.0:
            return f"1 + 2 + {bad} opens as {total * _UNIT:.0f}"
    return None


def encoding_is_biased() -> str | None:
    """Encode all k / 64 of a unit, k = 0 to 127, above an even and an odd word, and their negatives."""
    values = (1000 + torch.arange(128, dtype=torch.float64) / 64) * _UNIT
    encoder = _encoder()
    errors = [float((encoder.encode(sign * values) * _UNIT - sign * values).mean()) / _UNIT for sign in (1, -1)]
    if max(map(abs, errors)) < 0.1:
        return None
    return (
        f"encoding errs by {errors[0]:+.3f} units on average for positive numbers, {errors[1]:+.3f} for negative ones"
    )


def wire_shows_an_update() -> str | None:
    """Read the seeds of party 1's mask off the wire, draw the mask, and take it off what party 1 sends to party 0."""
    crypten = _crypten()
    # Imported already, with CrypTen.
    from protocols import crypten_engine

    secret = 12345
    words = torch.tensor([[0] * _PARTIES, [secret, 0, 0], [0] * _PARTIES])

    def work(link: InProcessLink) -> list[tuple[int, Tensor]]:
        crypten_engine.stock_sum(link, _PARTIES, words[link.rank])
        return [(message.sender, message.payload) for message in link.transcript or []]

    wire = side_by_side(_PARTIES, work)
    prev_seed, next_seed = (wire[receiver][0][1] for receiver in (1, 2))  # the first message that each receives
    keys = [torch.Generator().manual_seed(int(seed)) for seed in (prev_seed, next_seed)]
    draw = crypten.common.rng.generate_random_ring_element
    mask = sum(draw((_PARTIES,), generator=keys[0]) - draw((_PARTIES,), generator=keys[1]) for _ in range(_PARTIES))
    sent = next(payload for sender, payload in wire[0] if sender == 1)
    read = int(sent[0] - cast(Tensor, mask)[0])
    if read != secret:
        return None
    return f"party 1's two seeds are read off the wire; with them its masked update opens as {read}"
