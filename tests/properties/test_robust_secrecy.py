"""Exact secrecy of computing on masked values: all randomness enumerated in tiny rings, every single party's view."""

from itertools import product

import pytest
import torch
from torch import Tensor

from protocols.secure_robust._access import Access
from protocols.secure_robust._circuits import greater
from protocols.secure_robust._conversions import as_words, deal_bits
from protocols.secure_robust._engine import BITS, WORDS, Engine, Shared
from tests.robust import Program, TapedPads, leaking, own_draw

THREE = Access(parties=3, threshold=1)
FOUR = Access(parties=4, threshold=1)


def compare(engine: Engine, planes: Tensor) -> Tensor:
    """Open whether party 0's number is above party 1's."""
    values = engine.share_inputs(planes)
    return engine.reveal(greater(engine, values.take(1, [0]), values.take(1, [1])))


def product_of_two(engine: Engine, words: Tensor) -> Tensor:
    """Open x0 x1, through a value that stays shared."""
    values = engine.share_inputs(words)
    return engine.reveal(engine.products((values.take(1, [0]), values.take(1, [1]))))


def sum_of_products(engine: Engine, words: Tensor) -> Tensor:
    """Open x0 x1 + x1 x2 + x2 x0 at once."""
    values = engine.share_inputs(words)
    return engine.reveal_products((values.take(1, [0, 1, 2]), values.take(1, [1, 2, 0])), fold=1)


def bit_as_word(engine: Engine, bits: Tensor) -> Tensor:
    """Turn x0 into a word, through a bit that dealers deal in both forms, and open nothing."""
    dealt = deal_bits(engine, own_draw(engine), (len(bits), 1, 1))
    value = engine.share_inputs(bits, 1).view(len(bits), 1, 1, 1)
    as_words(engine, value, dealt, 1)
    return torch.zeros(len(bits), 1, dtype=torch.int64)


def opened_bit_as_word(engine: Engine, bits: Tensor) -> Tensor:
    """Open the word, which must not be more than the bit."""
    dealt = deal_bits(engine, own_draw(engine), (len(bits), 1, 1))
    value = engine.share_inputs(bits, 1).view(len(bits), 1, 1, 1)
    return engine.over(WORDS).reveal(as_words(engine, value, dealt, 1))


def bit_beside_its_coin(engine: Engine, bits: Tensor) -> Tensor:
    """Turn x0 into a word, and show twice the dealt bit first."""
    dealt = deal_bits(engine, own_draw(engine), (len(bits), 1, 1))
    words = engine.over(WORDS)
    words.reveal(words.add(dealt.words, dealt.words))
    as_words(engine, engine.share_inputs(bits, 1).view(len(bits), 1, 1, 1), dealt, 1)
    return torch.zeros(len(bits), 1, dtype=torch.int64)


def bit_in_the_clear(engine: Engine, bits: Tensor) -> Tensor:
    """Open x0 itself on the way to a word."""
    deal_bits(engine, own_draw(engine), (len(bits), 1, 1))
    engine.reveal(engine.share_inputs(bits, 1).view(len(bits), 1, 1, 1))
    return torch.zeros(len(bits), 1, dtype=torch.int64)


def inputs_of(parties: int, numbers: int, planes: int) -> list[list[list[list[int]]]]:
    """Every input of the first two parties; the others' are zero."""
    cases = product(range(numbers), repeat=2)
    return [[[[x >> k & 1] for k in range(planes)] for x in (*case, *[0] * (parties - 2))] for case in cases]


def test_a_comparison_shows_nobody_more_than_its_result() -> None:
    assert leaking(THREE, BITS, compare, inputs_of(3, 4, 2)) == []


@pytest.mark.parametrize("program", [product_of_two, sum_of_products])
@pytest.mark.parametrize("modulus", [2, 4])
def test_products_modulo_a_small_ring_show_nobody_more_than_what_is_opened(program: Program, modulus: int) -> None:
    cases = [[[x] for x in case] for case in product(range(modulus), repeat=3)]
    assert leaking(THREE, WORDS, reduced(program, modulus), cases, modulus=modulus) == []


def test_four_parties_of_whom_one_is_curious() -> None:
    cases = [[[[x]] for x in case] for case in product(range(2), repeat=4)]
    assert leaking(FOUR, BITS, sum_of_products, cases) == []


# Dealers draw 0 or 1 (use 0); uses 3, 4 share their bits as planes, then come one product of words, the input x0, and
# the opening of a bit. In a ring of 4, twice a dealt bit is more than nothing.
PLANES = (0, 3, 4, 7, 8)
X0 = [[[[x]], [[0]], [[0]]] for x in range(2)]


def test_a_bit_becomes_a_word_without_showing_anybody_what_it_is() -> None:
    assert leaking(THREE, BITS, bit_as_word, X0, modulus=4, bits=PLANES) == []
    assert leaking(THREE, BITS, opened_bit_as_word, X0, modulus=4, bits=PLANES) == []


def test_a_bit_that_is_shown_on_its_way_to_a_word_is_seen() -> None:
    assert leaking(THREE, BITS, bit_in_the_clear, X0, modulus=4, bits=PLANES) == [1, 2]
    assert leaking(THREE, BITS, bit_beside_its_coin, X0, modulus=4, bits=(0, 3, 4, 8, 9)) == [1, 2]


def reduced(program: Program, modulus: int) -> Program:
    """The program in the ring of `modulus` words: what is opened counts modulo it."""
    return lambda engine, words: program(engine, words) & (modulus - 1)


def test_a_mask_used_twice_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    original = TapedPads.of_set

    def once(self: TapedPads, number: int, use: int, shape: tuple[int, ...]) -> Tensor:
        return original(self, number, 1, (shape[0], 1)).view(shape[0], *[1] * (len(shape) - 1)).expand(shape)

    monkeypatch.setattr(TapedPads, "of_set", once)
    assert leaking(THREE, BITS, compare, inputs_of(3, 4, 2))


def test_an_opening_without_a_mask_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Engine._product_share

    def products(self: Engine, *pairs: tuple[Shared, Shared], fold: int | None = None) -> Shared:
        parts = torch.zeros(1 + len(self._groups), *pairs[0][0].shape, dtype=torch.int64)
        parts[0] = self._opened(original(self, pairs, fold))
        return Shared(parts=parts)

    monkeypatch.setattr(Engine, "products", products)
    assert leaking(THREE, BITS, compare, inputs_of(3, 4, 2))


def test_shares_that_no_pad_blinds_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def unblinded(self: TapedPads, peer: int, use: int, shape: tuple[int, ...]) -> Tensor:
        return torch.zeros(shape, dtype=torch.int64)

    monkeypatch.setattr(TapedPads, "of_pair", unblinded)
    assert leaking(THREE, BITS, compare, inputs_of(3, 4, 2))


def test_parts_that_one_party_holds_all_of_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Masks without the part that party 2 lacks."""
    original = TapedPads.of_set

    def one_set_less(self: TapedPads, number: int, use: int, shape: tuple[int, ...]) -> Tensor:
        drawn = original(self, number, use, shape)
        return drawn if 2 in THREE.sets[number] else torch.zeros_like(drawn)

    monkeypatch.setattr(TapedPads, "of_set", one_set_less)
    assert leaking(THREE, BITS, compare, inputs_of(3, 4, 2)) == [2]
