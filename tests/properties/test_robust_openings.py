"""What whole statistics open to their members: every opening by the function that asks for it, and nothing else.

The tests of secrecy enumerate the building blocks; these say that a statistic uses no block to open more than it must.
"""

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

import pytest
import torch
from torch import Tensor

from protocols.in_process import InProcessParties
from protocols.in_process_link import InProcessLink
from protocols.secure_robust import robust_statistics
from protocols.secure_robust._engine import Engine, Shared

MEMBERS, COORDINATES = 5, 3

HIDDEN_BY_A_NUMBER = ("masked < in_range", "masked < planes_of", "as_words")
"""These open a value under a random number, which must be used once."""
OPENINGS: Mapping[str, Mapping[str, int]] = {
    "median": {"middle_of": 1},
    "trimmed_mean": {"middle_of": 1},
    "sign_majority": {"_majority": 1},
    "norm_check": {"masked < in_range": 1, "masked < planes_of": 1, "contribute": 1, "open_sum": 1},
    "range_check": {"masked < in_range": 1, "open_in_range": 1, "open_sum": 1},
    "clip": {"masked < in_range": 1, "masked < planes_of": 2, "as_words": 1, "open_whole_units": 1},
    "centered_clipping": {"masked < in_range": 1, "masked < planes_of": 2, "as_words": 1, "open_whole_units": 1},
    "geometric_median": {"masked < in_range": 1, "masked < planes_of": 2, "as_words": 1, "open_whole_units": 1},
    "krum": {"masked < in_range": 1, "masked < planes_of": 1, "as_words": 1, "open_sum": 1},
    "nnm": {"masked < in_range": 1, "masked < planes_of": 2, "as_words": 1, "middle_of": 1},
}
RESULTS: Mapping[str, tuple[int, ...]] = {
    "median": (64,),  # planes of the words of all coordinates
    "trimmed_mean": (64,),
    "sign_majority": (2,),
    "norm_check": (1, COORDINATES),  # a bit a member; words
    "range_check": (1, COORDINATES),
    "clip": (44,),  # planes of whole units
    "centered_clipping": (44,),
    "geometric_median": (52,),
    "krum": (COORDINATES,),
    "nnm": (64,),
}
"""How many words the openings hold that no number hides."""
SENDERS = {
    "exchange_identities",
    "agree_on_keys",
    "_pair_secrets",
    "_set_keys",
    "share_inputs",
    "open_shares",
    "publish",
}
"""Who sends messages at all: keys, words under masks, shares under pads, and the result."""


class Ledger:
    """What member 0 opened: where it was asked for, and of how many words; which numbers hid it; who sent messages."""

    def __init__(self) -> None:
        self.openings: list[tuple[str, int]] = []
        self.numbers: list[object] = []
        self.senders: set[str] = set()

    def add(self, caller: FrameType, opened: Tensor) -> None:
        asked = caller.f_code.co_name
        if asked in ("masked", "as_words"):
            self.numbers.append(caller.f_locals["dealt"])
        if asked == "masked":
            assert caller.f_back is not None
            asked = f"masked < {caller.f_back.f_code.co_name}"
        self.openings.append((asked, opened.numel()))

    @property
    def places(self) -> Counter[str]:
        return Counter(place for place, _ in self.openings)

    @property
    def results(self) -> tuple[int, ...]:
        return tuple(size for place, size in self.openings if place not in HIDDEN_BY_A_NUMBER)


def ledger_of(name: str, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """What member 0 of five opened in a full run of the statistic, with one update that no check lets pass."""
    ledger = Ledger()

    def spied(method: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def opening(self: Engine, *values: Any, **options: Any) -> Tensor:
            opened = method(self, *values, **options)
            if self.rank == 0:
                ledger.add(sys._getframe(1), opened)
            return opened

        return opening

    exchange = InProcessLink.exchange

    def exchanging(self: InProcessLink, *batches: Any) -> None:
        if self.rank == 0:
            ledger.senders.add(sys._getframe(1).f_code.co_name)
        exchange(self, *batches)

    monkeypatch.setattr(Engine, "reveal", spied(Engine.reveal))
    monkeypatch.setattr(Engine, "reveal_products", spied(Engine.reveal_products))
    monkeypatch.setattr(InProcessLink, "exchange", exchanging)
    words = torch.arange(MEMBERS * COORDINATES).view(1, MEMBERS, COORDINATES) << 14
    words[0, 1] <<= 44
    InProcessParties(MEMBERS).open_sums(robust_statistics.resolve(name), words)
    return ledger


def assert_opens_what_it_says(name: str, ledger: Ledger) -> None:
    assert ledger.places == OPENINGS[name]
    assert ledger.results == RESULTS[name]
    assert len({id(number) for number in ledger.numbers}) == len(ledger.numbers)
    assert ledger.senders <= SENDERS


def test_it_is_said_of_every_statistic_what_it_opens() -> None:
    assert OPENINGS.keys() == RESULTS.keys() == set(robust_statistics.entries())


@pytest.mark.parametrize("name", OPENINGS)
def test_members_open_the_result_and_what_random_numbers_hide_and_nothing_else(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_opens_what_it_says(name, ledger_of(name, monkeypatch))


@pytest.mark.parametrize(
    ("name", "leak"),
    [
        ("krum", "squared"),
        ("krum", "neighbours"),
        ("nnm", "squared"),
        ("norm_check", "_squares"),
        ("clip", "_squares"),
        ("norm_check", "all_set"),
        ("range_check", "in_range"),
        ("median", "_first_difference"),
        ("sign_majority", "count"),
        ("clip", "open_whole_units"),
        ("geometric_median", "step"),
        ("nnm", "_mixed"),
    ],
)
def test_a_product_that_is_opened_on_the_way_is_seen(name: str, leak: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The result, the costs and what the board reads stay as they are: only members see more."""
    original, planted = Engine.products, set[str]()

    def products(self: Engine, *pairs: tuple[Shared, Shared], fold: int | None = None) -> Shared:
        if sys._getframe(1).f_code.co_name != leak:
            return original(self, *pairs, fold=fold)
        planted.add(leak)
        return self.public(self.reveal_products(*pairs, fold=fold))

    monkeypatch.setattr(Engine, "products", products)
    ledger = ledger_of(name, monkeypatch)
    assert planted
    with pytest.raises(AssertionError):
        assert_opens_what_it_says(name, ledger)


def test_a_number_that_hides_two_values_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = ledger_of("clip", monkeypatch)
    assert_opens_what_it_says("clip", ledger)
    ledger.numbers[-1] = ledger.numbers[0]
    with pytest.raises(AssertionError):
        assert_opens_what_it_says("clip", ledger)
