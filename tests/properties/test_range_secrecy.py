"""The range check's exact view: all randomness of it enumerated in the ring of four, every single party's view.

In this ring words of limit 0, -1 and 0, pass, and 1 and -2 do not: a word has two bits, of which one says whether it
does. Everything else is the code that runs modulo 2^64. Two views are compared wherever what opens is the same.
"""

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from protocols.hidden_sums._resharing import Seats
from protocols.secure_robust import _checked, _conversions, _lanes
from protocols.secure_robust._access import Access
from protocols.secure_robust._conversions import Dealt
from protocols.secure_robust._engine import BITS, WORDS, Engine, Shared
from protocols.secure_robust._lanes import all_lanes
from protocols.secure_robust._passing import counted, open_in_range
from protocols.secure_robust._weighted import open_sum
from tests.properties._hidden_views import equal_where, own_words, views_of
from tests.robust import Program, TapedPads, leaking, own_draw

THREE = Access(parties=3, threshold=1)
WORD = tuple(range(4))
PASSING = {0: True, 1: False, 2: False, 3: True}  # modulo 4: 2 is -2, 3 is -1


@pytest.fixture(autouse=True)
def ring_of_four(monkeypatch: pytest.MonkeyPatch) -> None:
    """Words of two bits, in one lane."""
    monkeypatch.setattr(_checked, "WORD_BITS", 2)
    monkeypatch.setattr(_conversions, "WORD_BITS", 2)
    monkeypatch.setattr(_lanes, "_HALVES", ())


def check_of(owner: int) -> Program:
    """Open whether this member's word is in range; those before it share a word that nobody looks at."""

    def program(bits: Engine, words: Tensor) -> Tensor:
        values = bits.over(WORDS).share_inputs(words, owner + 1).take(1, [owner])
        return open_in_range(bits, own_draw(bits), values, 0)

    return program


def uses_of_bits(owner: int) -> set[int]:
    """All but those of the inputs, of the dealt words of two dealers, and of opening what they mask."""
    words = owner + 1 + 2
    masking = words + 2 + 2 + 1  # planes of two dealers, their sum's one product, and then the opening
    return set(range(words + 1, 100)) - {masking}


def leaks(rank: int, owner: int) -> bool:
    """Whether the party learns more of the owner's word than whether it is in range.

    What others blind openings by is enumerated for party 0 alone, who adds up what is opened. Who deals no number
    draws one that nobody looks at.
    """
    cases = [[[word if place == owner else 0] for place in range(3)] for word in WORD]
    unfelt = [("own", (2,)), *([("pair", pair) for pair in ((0, 1), (0, 2))] if rank else [])]
    return bool(
        leaking(THREE, BITS, check_of(owner), cases, modulus=4, bits=uses_of_bits(owner), ranks=[rank], apart=unfelt)
    )


VIEWS = [(0, 1), (1, 0), (2, 0)]
"""Each party, dealer or not, before whom another one's word is checked."""


@pytest.mark.parametrize(("rank", "owner"), VIEWS)
def test_a_range_check_shows_nobody_more_of_a_word_than_whether_it_passes(rank: int, owner: int) -> None:
    assert not leaks(rank, owner)


def test_the_check_says_of_every_word_of_the_ring_what_it_is_to_say() -> None:
    """What the views above are compared under is no constant."""
    opened: dict[int, set[int]] = {}

    def told(bits: Engine, words: Tensor) -> Tensor:
        flags = check_of(0)(bits, words)
        if bits.rank == 0:
            for word, flag in zip(words[:, 0].tolist(), flags[:, 0].tolist(), strict=True):
                opened.setdefault(word, set()).add(flag)
        return flags

    leaking(THREE, BITS, told, [[[word], [0], [0]] for word in WORD], modulus=4, bits=uses_of_bits(0), ranks=[1],
            apart=[("own", (2,)), ("pair", (0, 2))])  # fmt: skip
    assert opened == {word: {int(passes)} for word, passes in PASSING.items()}


def unmasked(bits: Engine, value: Shared, dealt: Dealt) -> Tensor:
    """The word itself opens, without the number that hides it."""
    del dealt
    return bits.over(WORDS).reveal(value)


def borrow_shown(bits: Engine, left: Shared, right: Tensor) -> Shared:
    """The borrow opens on the way."""
    found = _GREATER(bits, left, right)
    bits.reveal(found)
    return found


def number_shown(bits: Engine, value: Shared, dealt: Dealt) -> Tensor:
    """The number that hides the word opens after it."""
    opened = _MASKED(bits, value, dealt)
    bits.over(WORDS).reveal(dealt.words)
    return opened


_GREATER, _MASKED = _checked.greater_than_public, _checked.masked


@pytest.mark.parametrize(
    ("name", "planted"),
    [("masked", unmasked), ("greater_than_public", borrow_shown), ("masked", number_shown)],
)
def test_a_check_that_opens_more_on_its_way_is_seen(
    monkeypatch: pytest.MonkeyPatch, name: str, planted: Callable[..., Any]
) -> None:
    monkeypatch.setattr(_checked, name, planted)
    assert leaks(1, 0)


def test_a_number_that_one_dealer_alone_deals_tells_it_the_word() -> None:
    """Of the two dealers one is honest: with a single one, that one is the adversary."""
    assert leaking(THREE, BITS, one_dealer(check_of(1)), [[[0], [word], [0]] for word in WORD], modulus=4,
                   bits={4, *range(6, 100)}, ranks=[0], apart=[("own", (1,)), ("own", (2,))]) == [0]  # fmt: skip


def one_dealer(program: Program) -> Program:
    """The same where the first member alone deals."""

    def dealt(engine: Engine, words: Tensor) -> Tensor:
        engine.dealers = 1
        return program(engine, words)

    return dealt


def checked_sum(bits: Engine, words: Tensor) -> Tensor:
    """Open whether member 0 passes, and the sum of its word, if it does, and of the others'."""
    values = bits.over(WORDS).share_inputs(words)
    passing = open_in_range(bits, own_draw(bits), values.take(1, [0]), 0)
    kept = counted(torch.cat([passing, torch.ones(len(words), 2, dtype=torch.int64)], dim=1), 2)
    return torch.cat([kept, open_sum(bits, bits.public(kept), values) & 3], dim=1)


def sum_leaks(rank: int, program: Program = checked_sum) -> bool:
    """Of a sum with one member checked, whose number member 0 deals, whom the others do not know."""
    cases = [[[x], [y if rank == 2 else 1], [y if rank == 1 else 1]] for x, y in product(WORD, WORD)]
    unfelt = [("own", (1,)), ("own", (2,)), ("pair", (0, 1)), ("pair", (0, 2))]
    uses = {5, *range(7, 10)}  # the planes, then one product and the flag; the words are 1 to 4, 6 and the sum
    return bool(leaking(THREE, BITS, one_dealer(program), cases, modulus=4, bits=uses, ranks=[rank], apart=unfelt))


@pytest.mark.parametrize("rank", [1, 2])
def test_who_passes_and_the_sum_of_who_does_are_all_that_a_checked_sum_shows(rank: int) -> None:
    assert not sum_leaks(rank)


def test_a_sum_that_opens_whoever_passes_is_seen() -> None:
    """The word of a member that does not pass is not to be in anything: the sum with it opens first."""

    def both(bits: Engine, words: Tensor) -> Tensor:
        values = bits.over(WORDS).share_inputs(words)
        passing = open_in_range(bits, own_draw(bits), values.take(1, [0]), 0)
        everybody = torch.ones(len(words), 3, dtype=torch.int64)
        open_sum(bits, bits.public(everybody), values)
        kept = torch.cat([passing, everybody[:, :2]], dim=1)
        return torch.cat([kept, open_sum(bits, bits.public(kept), values) & 3], dim=1)

    assert sum_leaks(2, both)


def all_of_two(engine: Engine, lanes: Tensor) -> Tensor:
    """Open whether both lanes of member 0's flags are set: two coordinates of which each is in range or not."""
    value = engine.share_inputs(lanes, 1).view(len(lanes), 1, 1, 1)
    return engine.reveal(Shared(parts=all_lanes(engine, value).parts & 1))


def each_of_two(engine: Engine, lanes: Tensor) -> Tensor:
    """The same, where the flags themselves open first."""
    value = engine.share_inputs(lanes, 1).view(len(lanes), 1, 1, 1)
    engine.reveal(value)
    return engine.reveal(Shared(parts=all_lanes(engine, value).parts & 1))


FLAGS = [[[flags], [0], [0]] for flags in range(4)]


def test_of_several_coordinates_nobody_learns_which_one_is_out_of_range(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_lanes, "_HALVES", (1,))
    assert leaking(THREE, BITS, all_of_two, FLAGS, modulus=4) == []
    assert leaking(THREE, BITS, each_of_two, FLAGS, modulus=4) == [1, 2]


def test_a_mask_that_is_drawn_once_for_all_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    original = TapedPads.of_set

    def once(self: TapedPads, number: int, use: int, shape: tuple[int, ...]) -> Tensor:
        return original(self, number, min(use, 1), (shape[0], 1)).view(shape[0], *[1] * (len(shape) - 1)).expand(shape)

    monkeypatch.setattr(TapedPads, "of_set", once)
    assert leaks(2, 0)


class TestHiddenSums:
    """What members hand the delegates before these look at it: every member's words shared by itself, modulo 2."""

    SEATS = Seats(
        groups=((0, 1), (2,), (3,)),
        sums=((0, 1), (2,), (3,)),
        delegates=(0, 2, 3),
        access=THREE,
        leaves=((0, 1), (2,), (3,)),
    ).one_by_one
    INPUTS = tuple(product((0, 1), repeat=4))

    def shows(self, coalition: tuple[int, ...], known: tuple[int, ...]) -> bool:
        """Whether the coalition's view has one distribution wherever the words of those `known` are the same."""
        views = {inputs: views_of(self.SEATS, inputs, coalition, own_words) for inputs in self.INPUTS}
        return equal_where(views, lambda inputs: tuple(inputs[rank] for rank in known))

    @pytest.mark.parametrize("coalition", [(0,), (2,), (1, 3), (0, 1)])
    def test_up_to_t2_delegates_with_any_other_members_learn_no_word(self, coalition: tuple[int, ...]) -> None:
        assert self.shows(coalition, coalition)

    @pytest.mark.parametrize("coalition", [(0, 2), (2, 3)])
    def test_more_learn_every_word_as_documented(self, coalition: tuple[int, ...]) -> None:
        assert not self.shows(coalition, coalition)
        assert self.shows(coalition, (0, 1, 2, 3))
