"""The parts of computing on masked values: who holds what, keys, planes, circuits against Python's integers."""

from collections.abc import Callable, Iterable
from itertools import combinations
from math import comb
from typing import Any

import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from protocols.check import CloisterError
from protocols.in_process_link import in_process_links
from protocols.network import CheatingDetectedError
from protocols.randomness import SecretStreams
from protocols.secure_robust import _circuits
from protocols.secure_robust._access import Access, threshold_of
from protocols.secure_robust._circuits import (
    add,
    add_layers,
    all_set,
    all_set_layers,
    count,
    count_layers,
    greater,
    greater_layers,
    total,
    total_layers,
    weighted_total,
    weighted_total_layers,
)
from protocols.secure_robust._engine import BITS, WORDS, Engine, Shared
from protocols.secure_robust._pads import KeyedPads, _pair_secret, agree_on_pads, agreement_cost
from protocols.secure_robust._planes import from_planes, to_planes, words_for
from protocols.secure_robust._ranking import at_places, at_places_layers, places_of, places_of_layers
from protocols.secure_robust._tables import Table, read
from protocols.secure_robust._waves import waves
from protocols.secure_sum import Party
from protocols.testing.keyrings import replayable_keyring
from protocols.types import Cost
from tests.robust import run_engines
from tests.tcp import in_parallel

ACCESSES = [Access(parties=c, threshold=t) for c, t in [(3, 1), (4, 1), (5, 1), (5, 2), (7, 3), (8, 3)]]
THREE = ACCESSES[0]


class TestAccess:
    @pytest.mark.parametrize("access", ACCESSES)
    def test_no_threshold_parties_hold_all_parts_and_any_one_more_do(self, access: Access) -> None:
        everything = set(range(len(access.sets)))
        for size, complete in ((access.threshold, False), (access.threshold + 1, True)):
            for pooled in combinations(range(access.parties), size):
                held = {number for rank in pooled for number in access.held(rank)}
                assert (held == everything) is complete

    @pytest.mark.parametrize("access", ACCESSES)
    def test_each_part_and_each_ordered_pair_of_parts_has_exactly_one_owner_who_holds_it(self, access: Access) -> None:
        parts = ["public", *range(len(access.sets))]
        owned, multiplied = [], []
        for rank in range(access.parties):
            places = [("public",), *access.groups(rank)]
            assert {number for group in access.groups(rank) for number in group} <= set(access.held(rank))
            owned += [part for place in access.owns(rank) for part in places[place]]
            for place, others in access.products(rank):
                multiplied += [(left, right) for left in places[place] for other in others for right in places[other]]
        assert sorted(map(str, owned)) == sorted(map(str, parts))
        assert sorted(map(str, multiplied)) == sorted(str((left, right)) for left in parts for right in parts)

    @pytest.mark.parametrize(("parties", "threshold"), [(2, 1), (3, 0), (4, 2), (8, 4)])
    def test_a_threshold_without_an_honest_majority_is_refused(self, parties: int, threshold: int) -> None:
        with pytest.raises(CloisterError, match=f"threshold = {threshold} of {parties} parties is not allowed"):
            Access(parties=parties, threshold=threshold)

    def test_too_many_sets_are_refused_and_a_lower_threshold_helps(self) -> None:
        with pytest.raises(CloisterError, match=r"1287 sets; allowed: 500 sets; lower the threshold to 3"):
            Access(parties=13, threshold=5)
        assert len(Access(parties=13, threshold=2).sets) == 78


class TestThresholds:
    def test_most_is_the_largest_that_can_be_shared_and_no_other_is_lowered(self) -> None:
        for c in range(3, 501):
            runnable = [t for t in range(1, (c - 1) // 2 + 1) if comb(c, t) <= 500]
            assert threshold_of("most")(c) == max(runnable)
            assert threshold_of("c/2")(c) == (c - 1) // 2

    def test_a_word_that_is_no_threshold_is_refused(self) -> None:
        with pytest.raises(CloisterError, match="'mist' is not understood"):
            threshold_of("mist")


def agreed(access: Access) -> tuple[list[KeyedPads], Cost]:
    links = in_process_links(access.parties)[:-1]
    keyring = replayable_keyring(3)

    def agree(rank: int) -> KeyedPads:
        link = links[rank]
        keys = keyring(link, access.parties)
        return agree_on_pads(Party(link=link, parties=access.parties, use=1, keys=keys), access)

    pads = in_parallel(access.parties, agree)
    cost = Cost.none()
    for link in links:
        cost = cost.beside(link.meter.traffic().offline)
        assert link.meter.traffic().mpc == Cost.none()
    return pads, cost


class TestPads:
    @pytest.mark.parametrize("access", ACCESSES)
    def test_the_members_of_a_set_or_pair_draw_the_same_words_and_others_other_words(self, access: Access) -> None:
        pads, _ = agreed(access)
        seen = set[tuple[int, ...]]()
        for number, members in enumerate(access.sets):
            drawn = {tuple(pads[rank].of_set(number, 1, (2, 3)).flatten().tolist()) for rank in members}
            assert len(drawn) == 1
            assert not drawn & seen
            seen |= drawn
        for low, high in combinations(range(access.parties), 2):
            drawn = {tuple(pads[i].of_pair(j, 1, (2, 3)).flatten().tolist()) for i, j in ((low, high), (high, low))}
            assert len(drawn) == 1
            assert not drawn & seen
            seen |= drawn

    @pytest.mark.parametrize("access", ACCESSES)
    def test_the_cost_of_agreeing_is_what_the_meter_counts(self, access: Access) -> None:
        assert agreed(access)[1] == agreement_cost(access)

    def test_nothing_is_drawn_twice(self) -> None:
        (pads, *_), _ = agreed(THREE)
        pads.of_set(0, 2, (1, 1))
        with pytest.raises(CloisterError, match="use = 2 of a secret stream"):
            pads.of_set(0, 2, (1, 1))

    def test_no_key_crosses_the_wire_in_clear_nor_is_shown(self, monkeypatch: pytest.MonkeyPatch) -> None:
        keys = list[bytes]()
        original = SecretStreams.__init__

        def spied(self: SecretStreams, key: bytes) -> None:
            keys.append(key)
            original(self, key)

        monkeypatch.setattr(SecretStreams, "__init__", spied)
        links = in_process_links(5)[:-1]
        keyrings = [replayable_keyring(3)(link, 5) for link in links]
        for link in links:
            link.transcript = []
        keys.clear()

        def agree(rank: int) -> KeyedPads:
            party = Party(link=links[rank], parties=5, use=1, keys=keyrings[rank])
            return agree_on_pads(party, Access(parties=5, threshold=2))

        pads = in_parallel(5, agree)
        wire = b"".join(bytes(message.payload.numpy()) for link in links for message in link.transcript or [])
        assert len(set(keys)) >= 10 + 10  # the streams from which the parties draw their own secrets come on top
        assert not [key for key in keys if key in wire]
        assert not [key for key in keys if key.hex() in repr(pads)]


class TestPairSecrets:
    def test_a_key_of_low_order_names_who_sent_it(self) -> None:
        party = Party(link=in_process_links(3)[0], parties=3, use=1, keys=Any)
        for key in (bytes(32), b"\x01" + bytes(31)):
            with pytest.raises(CheatingDetectedError, match="party 2 sent a public key of low order") as raised:
                _pair_secret(party, X25519PrivateKey.generate(), 2, key)
            assert raised.value.suspects == {2}

    def test_a_secret_depends_on_who_has_it_and_on_the_batch(self) -> None:
        links, (mine, theirs) = in_process_links(3), (X25519PrivateKey.generate(), X25519PrivateKey.generate())

        def secret(rank: int, own: X25519PrivateKey, peer: int, other: X25519PrivateKey, use: int = 1) -> bytes:
            party = Party(link=links[rank], parties=3, use=use, keys=Any)
            return _pair_secret(party, own, peer, other.public_key().public_bytes_raw())

        first = secret(0, mine, 1, theirs)
        assert first == secret(1, theirs, 0, mine)
        others = [secret(0, mine, 2, theirs), secret(0, mine, 1, theirs, use=2), secret(1, mine, 0, theirs)]
        assert len({first, *others}) == 4


class TestPlanes:
    @given(st.integers(1, 64), st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=130))
    def test_planes_are_the_words_lowest_bits_and_back_with_their_sign(self, bits: int, numbers: list[int]) -> None:
        words = torch.tensor([numbers])
        planes = to_planes(words, bits)
        assert planes.shape == (1, bits, words_for(len(numbers)))
        signed = [((number + 2 ** (bits - 1)) % 2**bits) - 2 ** (bits - 1) for number in numbers]
        assert from_planes(planes, len(numbers)).tolist() == [signed]
        assert [int(planes[0, 0, place // 64]) >> place % 64 & 1 for place in range(len(numbers))] == [
            number & 1 for number in numbers
        ]


def evaluated(
    circuit: Callable[[Engine, Shared], Shared], numbers: list[list[int]], bits: int, access: Access = THREE
) -> tuple[Tensor, list[int]]:
    """The opened planes (outputs, words) of a circuit of the first party's numbers (n, lanes), and what was opened."""
    words = torch.tensor(numbers)
    planes = to_planes(words, bits)[None]

    def work(engine: Engine) -> tuple[Tensor, list[int]]:
        values = engine.share_inputs(planes if engine.rank == 0 else torch.zeros_like(planes)).take(1, [0])
        opened: list[int] = []
        original = engine._opened

        def counting(share: Tensor) -> Tensor:
            opened.append(share[0].numel() // planes.shape[-1])
            return original(share)

        engine._opened = counting
        result = circuit(engine, values.view(1, *planes.shape[1:]))
        layers = list(opened)
        return engine.reveal(result), layers

    results, _ = run_engines(access, BITS, work)
    assert all(torch.equal(opened, results[0][0]) for opened, _ in results)
    return results[0][0][0], results[0][1]


def lanes_of(planes: Tensor, lanes: int) -> list[int]:
    """The unsigned numbers of planes (planes, words)."""
    words = from_planes(planes[None], lanes)[0]
    return [int(word) % 2 ** planes.shape[0] for word in words]


def numbers_of(n: int, bits: int, lanes: int, seed: int) -> list[list[int]]:
    rng = torch.Generator().manual_seed(seed)
    drawn = torch.randint(0, 2**bits, (n, lanes), generator=rng)
    drawn[:, :2] = drawn[:1, :2]  # equal numbers
    drawn[-1, 2] = 2**bits - 1
    drawn[0, 2] = 0
    return drawn.tolist()


def assert_layers(opened: Iterable[int], layers: Iterable[int]) -> None:
    assert list(opened) == list(layers)


class TestCircuits:
    @pytest.mark.parametrize("bits", [1, 2, 3, 5, 8, 13, 62])
    def test_greater_and_add_are_those_of_integers(self, bits: int) -> None:
        numbers = numbers_of(2, bits, 70, bits)

        def two(circuit: Callable[[Engine, Shared, Shared], Shared]) -> Callable[[Engine, Shared], Shared]:
            return lambda engine, values: circuit(
                engine,
                values.take(1, [0]).view(1, bits, values.shape[3]),
                values.take(1, [1]).view(1, bits, values.shape[3]),
            )

        planes, opened = evaluated(two(greater), numbers, bits)
        assert lanes_of(planes, 70) == [int(x > y) for x, y in zip(*numbers, strict=True)]
        assert_layers(opened, greater_layers(bits))
        planes, opened = evaluated(two(add), numbers, bits)
        assert lanes_of(planes, 70) == [(x + y) % 2**bits for x, y in zip(*numbers, strict=True)]
        assert_layers(opened, add_layers(bits))

    @pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7, 8])
    def test_total_count_and_places_are_those_of_integers(self, n: int) -> None:
        numbers = numbers_of(n, 5, 66, n)
        columns = list(zip(*numbers, strict=True))
        planes, opened = evaluated(total, numbers, 5)
        assert lanes_of(planes, 66) == [sum(column) % 32 for column in columns]
        assert_layers(opened, total_layers(n, 5))
        planes, opened = evaluated(
            lambda engine, values: count(engine, values.take(2, [0]).view(1, n, values.shape[3])), numbers, 5
        )
        assert lanes_of(planes, 66) == [sum(x & 1 for x in column) for column in columns]
        assert_layers(opened, count_layers(n))
        planes, opened = evaluated(
            lambda engine, values: all_set(engine, values.take(2, [0]).view(1, n, values.shape[3])), numbers, 5
        )
        assert lanes_of(planes, 66) == [int(all(x & 1 for x in column)) for column in columns]
        assert_layers(opened, all_set_layers(n))

    @pytest.mark.parametrize(("n", "width", "each", "planes"), [(1, 1, 1, 2), (2, 3, 5, 9), (3, 5, 5, 7)])
    def test_weighted_totals_are_those_of_integers(self, n: int, width: int, each: int, planes: int) -> None:
        numbers = numbers_of(2 * n, max(width, each), 66, n)
        weights, values = numbers[:n], numbers[n:]

        def weighted(engine: Engine, given: Shared) -> Shared:
            return weighted_total(
                engine,
                given.take(1, range(n)).take(2, range(width)),
                given.take(1, range(n, 2 * n)).take(2, range(each)),
                planes,
            )

        found, opened = evaluated(weighted, numbers, max(width, each))
        low = [[x % 2**width for x in row] for row in weights], [[x % 2**each for x in row] for row in values]
        expected = [
            sum(w * x for w, x in zip(ws, xs, strict=True)) % 2**planes
            for ws, xs in zip(zip(*low[0], strict=True), zip(*low[1], strict=True), strict=True)
        ]
        assert lanes_of(found, 66) == expected
        assert_layers(opened, weighted_total_layers(n, width, each, planes))

    def test_tables_are_read_at_the_number_of_bounds_that_a_number_exceeds(self) -> None:
        table = Table(bounds=(0, 3, 2**70, 2**70 + 1), entries=(5, 1, 6, 0, 7), planes=72, width=3)
        for number, entry in ((0, 5), (1, 1), (3, 1), (4, 6), (2**70, 6), (2**70 + 1, 0), (2**70 + 2, 7)):
            planes = [[-(number >> plane & 1)] * table.words for plane in range(72)]

            def look_up(engine: Engine, _: Shared, planes: list[list[int]] = planes) -> Shared:
                return read(engine, engine.public(torch.tensor([planes])), table)

            found, _ = evaluated(look_up, [[0]], 1)
            assert sum((int(bit) & 1) << place for place, bit in enumerate(found[:, 0])) == entry

    @pytest.mark.parametrize("n", [2, 3, 4, 5, 8])
    def test_places_are_those_of_a_stable_sort(self, n: int) -> None:
        numbers = numbers_of(n, 4, 66, n)
        planes, opened = evaluated(places_of, numbers, 4)
        order = torch.tensor(numbers).sort(dim=0, stable=True).indices.argsort(dim=0)
        assert [lanes_of(each, 66) for each in planes] == order.tolist()
        assert_layers(opened, places_of_layers(n, 4))
        planes, opened = evaluated(
            lambda engine, values: at_places(engine, places_of(engine, values), [0, n - 1]), numbers, 4
        )
        for row, place in zip(planes, (0, n - 1), strict=True):
            assert [lanes_of(each, 66) for each in row] == (order == place).long().tolist()
        assert_layers(opened, [*places_of_layers(n, 4), *at_places_layers(n, 2)])

    def test_a_comparison_that_forgets_a_bit_is_seen(self, monkeypatch: pytest.MonkeyPatch) -> None:
        original = greater

        def without_lowest(engine: Engine, left: Shared, right: Shared) -> Shared:
            kept = range(1, left.shape[-2])
            axis = len(left.shape) - 2
            return original(engine, left.take(axis, kept), right.take(axis, kept))

        monkeypatch.setattr("protocols.secure_robust._ranking.greater", without_lowest)
        with pytest.raises(AssertionError):
            self.test_places_are_those_of_a_stable_sort(3)
        assert _circuits.greater is original


@pytest.mark.parametrize("access", ACCESSES)
def test_products_of_words_are_those_of_the_ring_at_every_size(access: Access) -> None:
    words = (torch.arange(access.parties * 3) * 0x1E3779B97F4A7C15 + 7).view(1, access.parties, 3)

    def work(engine: Engine) -> Tensor:
        values = engine.share_inputs(words[:, engine.rank])
        doubled = engine.scale(engine.add_public(values, torch.tensor(5)), torch.tensor(2))
        squares = engine.products((doubled, doubled), (values, values))
        return engine.reveal(engine.subtract(squares, values))

    results, _ = run_engines(access, WORDS, work)
    doubled = 2 * (words + 5)
    for opened in results:
        assert torch.equal(opened, doubled * doubled + words * words - words)


@pytest.mark.parametrize("access", ACCESSES)
@pytest.mark.parametrize(("clusters", "live"), [(1, 1), (3, 7), (50, 64), (4096, 200)])
def test_a_layer_of_a_wave_is_within_its_bound_or_the_least_that_there_is(
    access: Access, clusters: int, live: int
) -> None:
    """2^22 words of a party's parts, of which a plane of 64 coordinates is one in each part and cluster."""
    parts = 1 + max(len(access.groups(rank)) for rank in range(access.parties))
    for coordinates in (1, 64, 65, 10**7):
        found = list(waves(access, clusters=clusters, coordinates=coordinates, live=live))
        assert [start for start, _ in found] == [0, *(end for _, end in found[:-1])]
        assert found[-1][1] == coordinates
        for start, end in found:
            words = -(-(end - start) // 64) * parts * clusters * live
            assert words <= 2**22 or end - start <= 64
