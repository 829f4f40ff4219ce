"""Groups that share by Shamir's sharing: any t + 1 members go on, t learn nothing, and the weaker threshold counts."""

from collections.abc import Mapping, Sequence
from itertools import combinations, product
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from protocols.check import CloisterError
from protocols.faults import Crash, Fault
from protocols.galois import GaloisRing
from protocols.hidden_sums import _resharing, _shamir_groups
from protocols.hidden_sums._groups import Attendance
from protocols.hidden_sums._resharing import Seats
from protocols.hidden_sums._shamir_groups import ShamirGroups
from protocols.network import NetworkError, TooFewPartiesError
from protocols.registry import Spec
from protocols.secure_robust._access import Access
from protocols.secure_sum import Party
from protocols.tolerance.thresholds import thresholds_of
from tests.examples import examples
from tests.hidden import hidden, made, run, words_of
from tests.properties._hidden_views import Key, equal_where, views_of

SHARES, HAVE, SEEDS = 0, 1, 3
"""What a member sends in which exchange: shares in its group, whose it has, (hear,) and as a holder seeds."""
NOBODY = frozenset[int]()


def shamir(**parameters: object) -> Spec:
    return hidden(sharing="shamir", **parameters)


@st.composite
def federations(draw: st.DrawFn) -> tuple[Spec, int]:
    """Three or four groups, or groups of groups, of two to five members with any threshold."""
    group_size, levels = draw(st.sampled_from([(2, []), (3, []), (4, []), (2, [2])]))
    threshold = draw(st.integers(1, group_size - 1))
    smallest = group_size * (2 if levels else 1)
    parties = smallest * draw(st.integers(3, 4)) + draw(st.integers(0, smallest - 1))
    outer = draw(st.sampled_from(["median", "mean"]))
    return shamir(group_size=group_size, levels=levels, threshold=str(threshold), outer=outer), parties


class TestWithoutFaults:
    @examples(0.25)
    @given(chosen=federations(), data=st.data())
    def test_the_opened_words_are_the_references_and_the_cost_is_the_meters(
        self, chosen: tuple[Spec, int], data: st.DataObject
    ) -> None:
        """All words modulo 2^64, those that wrap around in a sum too: no prime field has room for them."""
        spec, parties = chosen
        clusters, coordinates = data.draw(st.integers(1, 2)), data.draw(st.sampled_from([1, 3, 65]))
        words = words_of(parties, clusters, coordinates, seed=data.draw(st.integers(0, 99)), bits=62)
        words[:, data.draw(st.integers(0, parties - 1))] = data.draw(st.sampled_from([2**63 - 1, -(2**63), 2**47]))
        opened, protocol = run(spec, words), made(spec)
        assert torch.equal(opened.sums, protocol.reference(words).sums)
        assert opened.contributors == tuple(range(parties))
        assert opened.traffic == protocol.cost(parties=parties, clusters=clusters, coordinates=coordinates)

    def test_equal_lagrange_weights_are_seen(self) -> None:
        """The twin: shares of t + 1 holders that are added as they are make another sum."""
        spec, words = shamir(outer="mean"), words_of(9)
        with mock.patch.object(GaloisRing, "lagrange_weights", lambda self, points: [self.one] * len(points)):
            assert not torch.equal(run(spec, words).sums, made(spec).reference(words).sums)
        assert torch.equal(run(spec, words).sums, made(spec).reference(words).sums)

    def test_a_share_of_three_costs_two_words_and_of_four_three(self) -> None:
        for group_size, degree in ((3, 2), (4, 3)):
            with_threshold, parties = made(shamir(group_size=group_size, outer="mean")), 3 * group_size
            sent = 3 * group_size * (group_size - 1) * degree
            handed = 3 * (with_threshold.in_groups.threshold(group_size) + 1 - 1) + 3 * 2
            cost = with_threshold.cost(parties=parties, clusters=1, coordinates=1000)
            assert cost.mpc.payload_bytes == 8000 * (sent + handed + 2 * 2)


class TestConversion:
    @examples(0.5)
    @given(data=st.data())
    def test_the_additive_shares_of_any_holders_add_up_to_the_word(self, data: st.DataObject) -> None:
        size = data.draw(st.integers(2, 9))
        sharing = ShamirGroups(expression=str(data.draw(st.integers(1, size - 1))))
        t, degree = sharing.threshold(size), GaloisRing.with_points(size).degree
        rng = torch.Generator().manual_seed(data.draw(st.integers(0, 999)))
        words = torch.randint(-(2**63), 2**63 - 1, (2, 3), generator=rng)
        randomness = torch.randint(-(2**63), 2**63 - 1, (2, t * degree, 3), generator=rng)
        shares = sharing.deal(words, randomness, size)
        places = data.draw(st.permutations(range(size)))[: t + 1]
        added = sum(sharing.convert(size, places, place, shares[place]) for place in places)
        assert torch.equal(torch.as_tensor(added), words)

    @pytest.mark.parametrize(("size", "t"), [(3, 1), (3, 2), (5, 1), (7, 1)])
    def test_any_t_shares_modulo_2_are_uniform_whatever_the_word(self, size: int, t: int) -> None:
        """Exact: over GF(4) and GF(8), all values of all coefficients."""
        sharing, degree = ShamirGroups(expression=str(t)), GaloisRing.with_points(size).degree
        tapes = torch.tensor(list(product((0, 1), repeat=t * degree)))[:, :, None]
        for word in (0, 1):
            shares = sharing.deal(torch.full((len(tapes), 1), word), tapes, size)
            for places in combinations(range(size), t):
                rows = torch.cat([shares[place][:, :, 0] & 1 for place in places], dim=1)
                assert len(rows.unique(dim=0)) == len(tapes) == 2 ** (t * degree)
            more = torch.cat([shares[place][:, :, 0] & 1 for place in range(t + 1)], dim=1)
            assert len(more.unique(dim=0)) == len(tapes) < 2 ** ((t + 1) * degree)


class TestCrashes:
    SPEC = shamir(group_size=3)
    """Groups of three with t1 = 1: each goes on without one of its members."""

    @pytest.mark.parametrize("rank", range(9))
    def test_a_crash_once_its_group_has_its_words_costs_nothing(self, rank: int) -> None:
        words = words_of(9)
        opened = run(self.SPEC, words, {rank: Crash(step=HAVE)})
        assert opened.contributors == tuple(range(9))
        assert torch.equal(opened.sums, made(self.SPEC).reference(words).sums)
        with pytest.raises(NetworkError):  # the twin: additive shares need everybody
            run(hidden(group_size=3), words, {rank: Crash(step=2)})

    def test_one_member_of_every_group_may_crash_then(self) -> None:
        words = words_of(12)
        for gone in ((0, 3, 6, 9), (2, 5, 8, 11), (1, 3, 8, 10)):
            opened = run(self.SPEC, words, {rank: Crash(step=HAVE) for rank in gone})
            assert opened.contributors == tuple(range(12))
            assert torch.equal(opened.sums, made(self.SPEC).reference(words).sums)

    @pytest.mark.parametrize("after", [None, 1])
    def test_a_crash_before_all_have_its_shares_costs_its_group_and_no_other(self, after: int | None) -> None:
        """In a group of three with t1 = 1 the other two would be enough, and their sum would lack a word."""
        words = words_of(12)
        opened = run(self.SPEC, words, {4: Crash(step=SHARES, after=after)})
        left = [0, 1, 2, *range(6, 12)]
        assert opened.contributors == tuple(left)
        assert torch.equal(opened.sums, made(self.SPEC).reference(words[:, left]).sums)

    @examples(0.2)
    @given(data=st.data())
    def test_outcome_says_which_crashes_stop_the_batch_and_which_groups_are_left_out(self, data: st.DataObject) -> None:
        """Oracle and protocol: crashes at the start, halfway through dealing, and once dealt, wherever they are."""
        spec = shamir(group_size=data.draw(st.sampled_from([3, 4])), threshold=data.draw(st.sampled_from(["1", "2"])))
        parties = made(spec).group_size * data.draw(st.integers(3, 5)) + data.draw(st.integers(0, 2))
        step = st.sampled_from([(SHARES, None), (SHARES, 1), (HAVE, None), (HAVE, None)])
        ranks = data.draw(st.sets(st.integers(0, parties - 1), max_size=5))
        steps = {rank: data.draw(step) for rank in sorted(ranks)}
        late = frozenset(rank for rank, (at, _) in steps.items() if at == HAVE)
        faults: dict[int, Fault] = {rank: Crash(step=at, after=after) for rank, (at, after) in steps.items()}
        words, protocol = words_of(parties, seed=1), made(spec)
        said = protocol.outcome(parties, NOBODY, frozenset(ranks) - late, NOBODY, late=late)
        try:
            opened = run(spec, words, faults)
        except TooFewPartiesError:
            assert not said.live
            return
        assert said.live
        expected = _left(protocol.formation(parties=parties).lowest, frozenset(ranks) - late, late, protocol.in_groups)
        assert opened.contributors == tuple(expected)
        assert torch.equal(opened.sums, protocol.reference(words[:, expected]).sums)

    @pytest.mark.parametrize("threshold", [1, 2, 3])
    def test_a_group_goes_on_with_one_member_more_than_its_threshold_and_with_no_fewer(self, threshold: int) -> None:
        """All have dealt; of the first group some are gone since, the others are whole."""
        spec = shamir(group_size=4, threshold=str(threshold))
        formation = made(spec).formation(parties=12)
        everybody = frozenset(range(12))
        for left in range(5):
            attendance = Attendance(present=everybody - frozenset(range(4 - left)), dealt=everybody)
            complete = {1, 2} | ({0} if left > threshold else set())
            assert formation.complete(attendance) == complete

    def test_a_later_crash_of_a_holder_stops_the_batch_with_a_typed_error_and_of_others_costs_nothing(self) -> None:
        words, protocol = words_of(9), made(self.SPEC)
        seats = protocol.seats(parties=9, present=frozenset(range(9)), use=1)
        for rank in range(9):
            faults = {rank: Crash(step=SEEDS)}
            if rank not in seats.holders:
                assert torch.equal(run(self.SPEC, words, faults).sums, protocol.reference(words).sums)
                continue
            with pytest.raises(NetworkError) as caught:
                run(self.SPEC, words, faults)
            assert type(caught.value) is not NetworkError


def _left(groups: Sequence[Sequence[int]], crashed: frozenset[int], late: frozenset[int], sharing: object) -> list[int]:
    """The members of groups that all have dealt and of whom more than t are left: the definition, in plain words."""
    assert isinstance(sharing, ShamirGroups)
    kept = [
        group
        for group in groups
        if crashed.isdisjoint(group) and len(set(group) - late) >= sharing.threshold(len(group)) + 1
    ]
    return [rank for group in kept for rank in group]


class TestThresholds:
    def test_the_conditions_are_the_worst_of_all_outcomes_and_so_the_weaker_threshold(self) -> None:
        """Every coalition of nine, in groups of three with t1 = 1, over ten draws: two members of a group learn."""
        protocol = made(shamir(group_size=3))
        conditions, worst = protocol.conditions, dict.fromkeys(range(10), True)
        for size in range(10):
            for coalition in combinations(range(9), size):
                for use in range(1, 11):
                    if not worst[size]:
                        break
                    worst[size] = protocol.outcome(9, NOBODY, NOBODY, frozenset(coalition), use=use).private
        for a in range(10):
            assert worst[a] == (not conditions.exposed(9, np.array([a]), np.array([0]))[0]), a
        assert thresholds_of(conditions, 9).private == 1

    @pytest.mark.parametrize(
        ("parameters", "rungs", "smallest"),
        [
            ({"group_size": 5, "threshold": "1"}, [(1, 3), (1, 0)], 2),
            ({"group_size": 5, "threshold": "4"}, [(4, 0), (1, 0)], 5),
            ({"group_size": 5, "threshold": "3", "delegates": 5}, [(3, 1), (2, 0)], 4),
            ({"group_size": 3, "levels": [2]}, [(1, 1), (1, 0), (1, 0)], 2),
        ],
    )
    def test_every_step_says_its_threshold_and_the_smallest_coalition_is_that_of_the_weaker(
        self, parameters: Mapping[str, object], rungs: list[tuple[int, int]], smallest: int
    ) -> None:
        formation = made(shamir(**parameters)).formation(parties=30)
        assert [(rung.threshold, rung.spare) for rung in formation.rungs] == rungs
        assert formation.smallest_exposing == smallest

    def test_a_stronger_threshold_than_the_groups_have_is_seen(self) -> None:
        """The twin: declared as n-of-n, two members that hold an input between them would learn nothing."""
        protocol = made(shamir(group_size=3))
        assert protocol.exposed(parties=9, contributors=range(9), colluding={0, 1}, use=1) == {2}
        with mock.patch.object(ShamirGroups, "threshold", lambda self, size: size - 1):
            assert not protocol.exposed(parties=9, contributors=range(9), colluding={0, 1}, use=1)

    def test_whoever_has_dealt_is_exposed_by_its_group_even_where_nothing_opens(self) -> None:
        protocol = made(shamir(group_size=3))
        said = protocol.outcome(9, NOBODY, frozenset({4, 7}), frozenset({0, 1}))
        assert (said.live, said.private) == (False, False)
        assert protocol.outcome(9, NOBODY, frozenset({2, 4}), frozenset({0, 1})).private

    def test_the_conditions_of_a_group_are_its_threshold(self) -> None:
        conditions = made(shamir(group_size=5, threshold="2")).group_conditions
        exposed = conditions.exposed(5, np.arange(6), np.zeros(6, dtype=np.int64))
        assert exposed.tolist() == [False, False, False, True, True, False]
        additive = made(hidden(group_size=5)).group_conditions
        assert not additive.exposed(5, np.arange(6), np.zeros(6, dtype=np.int64)).any()


class TestRefusals:
    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            ({"group_size": 2}, "threshold = 'n/2' gives 0 for groups of 2, which hides nothing"),
            ({"group_size": 3, "threshold": "3"}, "threshold = '3' gives 3 for 3 members of a group"),
            ({"group_size": 3, "threshold": "0"}, "threshold = '0' gives 0 for groups of 3, which hides nothing"),
        ],
    )
    def test_what_hides_nothing_or_does_not_fit_is_refused(self, parameters: dict[str, object], message: str) -> None:
        with pytest.raises(CloisterError, match=message):
            made(shamir(**parameters)).check_size(parties=12)

    def test_a_threshold_of_additive_groups_means_nothing(self) -> None:
        with pytest.raises(CloisterError, match="threshold = '1' means nothing to additive sharing"):
            made(hidden(threshold="1"))
        with pytest.raises(CloisterError, match="sharing = 'xor'"):
            made(hidden(sharing="xor"))


def _entering(party: Party, seats: Seats, words: Tensor) -> Tensor:
    """Enter with nobody missing, and hold what the seats say."""
    sharing, groups = ShamirGroups(expression="c/2"), ((0, 1, 2), (3,), (4,))
    entered = sharing.enter(party, groups, words)
    group = next(group for group in groups if party.rank in group)
    holders = next(leaf for leaf in seats.leaves if leaf[0] in group)
    return sharing.additive(party, group, holders, entered) if party.rank in holders else words


class TestSecrecy:
    """All randomness modulo 2, so over GF(4): a group of three with t1 = 1, held by two, one of three delegates."""

    SEATS = Seats(
        groups=((0, 1), (3,), (4,)),
        sums=((0, 1, 2), (3,), (4,)),
        delegates=(0, 3, 4),
        access=Access(parties=3, threshold=1),
        leaves=((0, 1), (3,), (4,)),
    )
    INPUTS = tuple(product((0, 1), repeat=3))

    def views(self, coalition: Sequence[int]) -> dict[Key, np.ndarray]:
        with (
            mock.patch.object(_shamir_groups, "say"),
            mock.patch.object(_shamir_groups, "hear", lambda link, into: into.fill_(1)),
        ):
            return {inputs: views_of(self.SEATS, inputs, coalition, _entering) for inputs in self.INPUTS}

    @pytest.mark.parametrize("coalition", [(3,), (0,), (1,), (2, 3), (1, 3)])
    def test_one_member_and_one_delegate_learn_nothing(self, coalition: Sequence[int]) -> None:
        assert equal_where(self.views(coalition), lambda inputs: tuple(inputs[rank] for rank in coalition if rank < 3))

    @pytest.mark.parametrize("coalition", [(3, 4), (0, 3), (2, 3, 4)])
    def test_more_delegates_learn_the_sum_and_with_one_member_nothing_else(self, coalition: Sequence[int]) -> None:
        views, own = self.views(coalition), [rank for rank in coalition if rank < 3]

        def known(inputs: Key) -> object:
            return tuple(inputs[rank] for rank in own), sum(inputs) % 2

        assert equal_where(views, known)
        assert not equal_where(views, lambda inputs: tuple(inputs[rank] for rank in own))

    @pytest.mark.parametrize("coalition", [(0, 1), (1, 2)])
    def test_two_members_of_the_group_learn_the_third_ones_word(self, coalition: Sequence[int]) -> None:
        assert not equal_where(self.views(coalition), lambda inputs: tuple(inputs[rank] for rank in coalition))

    def test_shares_that_are_handed_on_without_new_randomness_are_seen(self) -> None:
        """The twin: then the one delegate that serves the group learns its sum."""
        assert equal_where(self.views((0,)), lambda inputs: inputs[0])
        original = _resharing._deal_seeds

        def without(party: Party, committees: Sequence[Seats], mine: Seats | None) -> object:
            _, seeds = original(party, committees, mine)
            return [[] for _ in committees], seeds

        with mock.patch.object(_resharing, "_deal_seeds", without):
            assert not equal_where(self.views((0,)), lambda inputs: inputs[0])
