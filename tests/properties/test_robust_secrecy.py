"""Exact secrecy of computing on masked values: all randomness enumerated in tiny rings, every single party's view."""

from itertools import product

import pytest
import torch
from torch import Tensor

from protocols.secure_robust._access import Access
from protocols.secure_robust._circuits import greater
from protocols.secure_robust._conversions import Draw, as_words, deal_bits
from protocols.secure_robust._engine import BITS, WORDS, Engine, Shared
from tests.robust import Program, TapedPads, leaking

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
    """Open x0 as a word, through a bit that dealers deal in both forms."""
    dealt = deal_bits(engine, own_draw(engine), (len(bits), 1, 1))
    value = engine.share_inputs(bits).take(1, [0]).view(len(bits), 1, 1, 1)
    return engine.over(WORDS).reveal(as_words(engine, value, dealt, 1)) & 1


def own_draw(engine: Engine) -> Draw:
    """A dealer's own secrets, from the tape."""
    pads = engine._pads
    assert isinstance(pads, TapedPads)
    return lambda shape: pads.tape.take(("own", (pads.rank,)), 1, shape)


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


def test_a_bit_becomes_a_word_without_showing_anybody_what_it_is() -> None:
    """What parties 1 and 2 learn is x0, which is opened in the end, and nothing besides it."""
    hidden = [[[[x]] for x in case] for case in product(range(2), repeat=3)]
    assert leaking(THREE, BITS, lambda engine, bits: bit_as_word(engine, bits) * 0, hidden) == [1, 2]
    assert leaking(THREE, BITS, bit_as_word, hidden) == []


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
