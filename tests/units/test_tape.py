"""All randomness of a protocol in the tester's hands: what the tape plays, and the exact secrecy that it shows."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import protocols.crypten_engine  # noqa: F401 - its draws go on the tape too, once it is imported
from protocols import zero_sharing
from protocols.check import CloisterError
from protocols.faulty_link import Fault
from protocols.network import BOARD
from protocols.registry import Spec
from protocols.secure_sum import secure_sums
from protocols.secure_sum._sharing import PolynomialSharing
from protocols.testing._taped import Late, Script, play, record
from protocols.testing.invariants.affine import affine_views, in_span
from protocols.testing.tape import coalitions_of, enumerate_views, exact_marginals, exact_secrecy


def tiny(name: str, **parameters: object) -> Spec:
    return secure_sums.resolve({"name": name, "fraction_bits": 0, **parameters})


def larger_than(size: int, parties: int) -> list[tuple[int, ...]]:
    """The coalitions of more than `size` members that leave two others."""
    return [each for each in coalitions_of(parties) if len(each) > size]


class TestTape:
    @pytest.mark.parametrize("name", ["additive", "additive_stock", "masked", "shamir", "authenticated", "plaintext"])
    def test_whatever_the_digits_the_board_reads_the_sum_of_the_inputs(self, name: str) -> None:
        spec = secure_sums.resolve(name)
        script = record(spec, 4, coordinates=2)
        ring = secure_sums.make(spec).ring
        inputs = ring.wrap(torch.randint(-1000, 1000, (7, 4, 2), generator=torch.Generator().manual_seed(3)))
        opened = []
        original = type(secure_sums.make(spec)).collect

        def collect(self: object, board: object) -> object:
            opened.append(original(self, board))
            return opened[-1]

        with mock.patch.object(type(secure_sums.make(spec)), "collect", collect):
            play(script, inputs.numpy(), script.random_tapes(7, 1))
        assert torch.equal(opened[0].sums[:7], ring.wrap(inputs.sum(dim=1)))

    def test_the_same_digits_give_the_same_views_and_others_do_not(self) -> None:
        script = record(tiny("additive", bits=3), 3)
        inputs = np.zeros((5, 3, 1), dtype=np.int64)
        first, again, other = (play(script, inputs, script.random_tapes(5, seed)).words for seed in (1, 1, 2))
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)

    def test_both_ends_of_a_pair_hold_its_digits_and_nobody_else(self) -> None:
        script = record(tiny("additive", bits=1), 4)
        assert {draw.holders for draw in script.draws} == {frozenset(p) for p in itertools.combinations(range(4), 2)}
        assert script.known([0]).sum() == 3

    def test_what_the_board_rebuilds_it_knows(self) -> None:
        """`masked`: the server takes off the self-masks of all survivors, and never a mask of two of them."""
        script = record(tiny("masked", bits=1), 4)
        known = [draw.holders for draw in script.draws if BOARD in draw.holders]
        assert len(known) == 4
        assert all(len(holders - {BOARD}) == 1 for holders in known)

    def test_draws_that_depend_on_inputs_are_refused(self) -> None:
        original = zero_sharing.ZeroShares.draw

        def planted(self: zero_sharing.ZeroShares, **sizes: int) -> torch.Tensor:
            self._streams = dict(itertools.islice(self._streams.items(), count))
            return original(self, **sizes)

        count = 2
        with mock.patch.object(zero_sharing.ZeroShares, "draw", planted):
            script = record(tiny("additive", bits=1), 3)
        inputs = np.zeros((1, 3, 1), dtype=np.int64)
        with pytest.raises(CloisterError, match="otherwise than in the run before"):
            play(_without_first_draw(script), inputs, np.zeros((1, 2), dtype=np.int64))


def _without_first_draw(script: Script) -> Script:
    first, *others = script.draws
    return replace(script, draws=tuple(replace(draw, first=draw.first - first.count) for draw in others))


class TestExactSecrecy:
    @pytest.mark.parametrize("parties", [2, 3, 4, 5])
    def test_additive_tells_no_coalition_more_than_the_sum(self, parties: int) -> None:
        assert exact_secrecy(tiny("additive", bits=1), parties, coordinates=parties) == []

    @pytest.mark.parametrize("bits", [1, 2, 3])
    def test_additive_of_three_in_rings_of_two_to_eight_words(self, bits: int) -> None:
        assert exact_secrecy(tiny("additive", bits=bits), 3, coordinates=1 if bits > 2 else 3, values=2) == []

    @pytest.mark.parametrize(("parties", "leaking"), [(3, []), (4, [(0, 2), (1, 3)])])
    def test_stock_the_two_ring_neighbours_of_a_party_learn_its_word(
        self, parties: int, leaking: list[tuple[int, ...]]
    ) -> None:
        assert list(enumerate_views(tiny("additive_stock", bits=1), parties, coordinates=parties).leaking) == leaking

    @pytest.mark.parametrize(("modulus", "parties", "t"), [(5, 3, 1), (5, 4, 1), (5, 4, 2), (7, 3, 1), (7, 4, 1)])
    def test_shamir_exactly_the_coalitions_larger_than_t_learn_more(self, modulus: int, parties: int, t: int) -> None:
        spec = tiny("shamir", mode="passive", modulus=modulus, threshold=str(t), least_honest=1)
        found = enumerate_views(spec, parties)
        assert list(found.leaking) == larger_than(t, parties)
        assert not found.skipped

    def test_plaintext_tells_the_member_who_adds(self) -> None:
        assert exact_secrecy(tiny("plaintext", bits=1), 3) == [(0,)]

    def test_a_pair_without_a_mask_is_seen(self) -> None:
        original = zero_sharing.ZeroShares.draw

        def planted(self: zero_sharing.ZeroShares, **sizes: int) -> torch.Tensor:
            self._streams = {peer: each for peer, each in self._streams.items() if {peer, self._rank} != {0, 1}}
            return original(self, **sizes)

        with mock.patch.object(zero_sharing.ZeroShares, "draw", planted):
            assert exact_secrecy(tiny("additive", bits=1), 4, coordinates=4) == [(2, 3)]

    def test_a_polynomial_of_too_low_a_degree_is_seen(self) -> None:
        spec = tiny("shamir", mode="passive", modulus=5, threshold="2", least_honest=1)
        with mock.patch.object(PolynomialSharing, "random_terms", 1):
            assert set(larger_than(1, 4)) <= set(enumerate_views(spec, 4).leaking)

    def test_too_many_views_are_refused_not_skipped_silently(self) -> None:
        with pytest.raises(AssertionError, match="too many to enumerate"):
            exact_secrecy(tiny("shamir", mode="passive", modulus=7, threshold="2", least_honest=1), 5, rows=1000)


class TestMarginals:
    def test_every_share_is_uniform(self) -> None:
        wrong, tried = exact_marginals(tiny("shamir", mode="passive", modulus=5, threshold="1", least_honest=1), 3)
        assert (wrong, tried > 0) == ([], True)

    def test_a_share_that_is_never_zero_is_seen(self) -> None:
        original = PolynomialSharing.at

        def planted(self: PolynomialSharing, basis: torch.Tensor, positions: object) -> torch.Tensor:
            return original(self, basis.clamp(min=1), positions)

        with mock.patch.object(PolynomialSharing, "at", planted):
            wrong, _ = exact_marginals(tiny("shamir", mode="passive", modulus=5, threshold="1", least_honest=1), 3)
        assert wrong


class TestLinear:
    """The same questions at full size, by linear algebra."""

    @pytest.mark.parametrize("parties", [3, 4, 5])
    def test_it_answers_what_the_enumeration_answers(self, parties: int) -> None:
        for spec in (tiny("additive", bits=1), tiny("plaintext", bits=1)):
            views = affine_views(spec, parties, coordinates=parties)
            assert views is not None
            assert views.leaking(coalitions_of(parties)) == exact_secrecy(spec, parties, coordinates=parties)

    def test_stock_of_five_the_published_ten_coalitions_leak(self) -> None:
        views = affine_views(secure_sums.resolve("additive_stock"), 5, coordinates=5)
        assert views is not None
        pairs = [(0, 2), (0, 3), (1, 3), (1, 4), (2, 4)]
        leaking = views.leaking(coalitions_of(5))
        assert [each for each in leaking if len(each) == 2] == pairs
        assert len(leaking) == 10

    @pytest.mark.parametrize("mode", ["passive", "detect", "correct", "vss"])
    def test_shamir_of_four_and_five_exactly_the_coalitions_larger_than_t(self, mode: str) -> None:
        for parties in (4, 5):
            spec = secure_sums.resolve({"name": "shamir", "mode": mode})
            t = secure_sums.make(spec).conditions.threshold_at(parties)
            views = affine_views(spec, parties, coordinates=1)
            assert views is not None
            assert views.leaking(coalitions_of(parties)) == larger_than(t, parties)

    def test_words_that_come_too_late_stay_hidden_behind_the_self_mask(self) -> None:
        """Whoever is late in `masked` has its pairwise masks rebuilt; without the self-mask its words are seen."""
        spec = secure_sums.resolve({"name": "masked", "threshold": "c/2+1", "least_honest": 1})
        faults: dict[int, Fault] = {1: Late(step=2)}
        views = affine_views(spec, 4, coordinates=1, faults=faults)
        assert views is not None
        assert views.script.contributors == (0, 2, 3)
        assert views.leaking([()]) == []
        zeros = lambda plan, rank, key: torch.zeros(plan.clusters, plan.coordinates, dtype=torch.int64)  # noqa: E731
        with (
            mock.patch("protocols.secure_sum._masked_member.self_mask", zeros),
            mock.patch("protocols.secure_sum._masked_server.self_mask", zeros),
        ):
            views = affine_views(spec, 4, coordinates=1, faults=faults)
        assert views is not None
        assert views.leaking([()]) == [()]

    def test_a_protocol_that_is_not_affine_is_said_to_be_none(self) -> None:
        original = zero_sharing.ZeroShares.draw

        def planted(self: zero_sharing.ZeroShares, **sizes: int) -> torch.Tensor:
            return original(self, **sizes) & 0xFFFF

        with mock.patch.object(zero_sharing.ZeroShares, "draw", planted):
            assert affine_views(secure_sums.resolve("additive"), 3, coordinates=3) is None

    @given(
        modulus=st.sampled_from([2, 4, 8, 5]),
        rows=st.integers(1, 3),
        columns=st.integers(0, 3),
        data=st.data(),
    )
    def test_membership_in_a_span_is_that_of_trying_all_combinations(
        self, modulus: int, rows: int, columns: int, data: st.DataObject
    ) -> None:
        entry = st.integers(0, modulus - 1)
        matrix = [[data.draw(entry) for _ in range(columns)] for _ in range(rows)]
        target = [data.draw(entry) for _ in range(rows)]
        expected = tuple(target) in set(combinations_of(matrix, modulus, columns))
        found = in_span(
            np.array(matrix, dtype=object).reshape(rows, columns), [np.array(target, dtype=object)], modulus
        )
        assert found == expected


def combinations_of(matrix: list[list[int]], modulus: int, columns: int) -> Iterator[tuple[int, ...]]:
    for weights in itertools.product(range(modulus), repeat=columns):
        yield tuple(sum(w * x for w, x in zip(weights, row, strict=True)) % modulus for row in matrix)
