"""Checked inputs of members who share by Shamir's sharing: any t1 + 1 of a group hand on every member's words."""

from collections.abc import Sequence
from itertools import combinations, product
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from protocols.faults import Crash, Fault
from protocols.hidden_sums import _resharing, _shamir_groups
from protocols.hidden_sums._groups import Entered
from protocols.hidden_sums._one_by_one import OneByOne
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

SHARES, HAVE = 0, 1
"""What a member sends in which exchange: shares in its group, then whose it has."""
NOBODY = frozenset[int]()


def checked(**parameters: Any) -> Spec:
    return hidden(**{"group_size": 3, "input_check": "range", "sharing": "shamir", **parameters})


class TestWithoutFaults:
    @examples(0.15)
    @given(data=st.data())
    def test_they_open_the_reference_and_who_passes_at_the_formulas_cost(self, data: st.DataObject) -> None:
        size, committees = data.draw(st.sampled_from([2, 3, 4])), data.draw(st.integers(1, 2))
        threshold, outer = data.draw(st.integers(1, size - 1)), data.draw(st.sampled_from(["mean", "median"]))
        parties = size * data.draw(st.integers(3, 5)) + data.draw(st.integers(0, size - 1))
        spec = checked(group_size=size, threshold=str(threshold), outer=outer, committees=committees)
        words = words_of(parties, 2, data.draw(st.sampled_from([1, 3, 65])), seed=data.draw(st.integers(0, 9)))
        edge = 1 << made(spec).limit(parties=parties)
        for _ in range(data.draw(st.integers(0, 2))):
            place = data.draw(st.integers(0, 1)), data.draw(st.integers(0, parties - 1)), 0
            words[place] = data.draw(st.sampled_from([2**63 - 1, 2**62, edge, edge - 1, -edge, -edge - 1]))
        opened, expected = run(spec, words), made(spec).reference(words)
        assert torch.equal(opened.sums, expected.sums)
        assert opened.kept is not None
        assert expected.kept is not None
        assert torch.equal(opened.kept, expected.kept)
        if bool(opened.kept.all()):
            assert opened.traffic == made(spec).cost(parties=parties, clusters=2, coordinates=words.shape[2])

    @pytest.mark.parametrize("parties", [9, 10, 11])
    def test_rows_that_are_taken_in_another_order_are_seen(self, parties: int) -> None:
        """The twin: members of groups of different sizes, who would be put into each other's groups."""
        spec, words = checked(outer="median"), words_of(parties)
        assert torch.equal(run(spec, words).sums, made(spec).reference(words).sums)
        original = OneByOne.by_member

        def turned(self: OneByOne, values: Any) -> Any:
            members = original(self, values)
            return members.take(1, [*range(1, members.shape[1]), 0])

        with mock.patch.object(OneByOne, "by_member", turned):
            assert not torch.equal(run(spec, words).sums, made(spec).reference(words).sums)


class TestCrashes:
    @pytest.mark.parametrize("committees", [1, 2])
    def test_one_member_of_every_group_may_crash_once_its_words_are_dealt_and_they_are_checked(
        self, committees: int
    ) -> None:
        spec, words = checked(committees=committees), words_of(12)
        words[0, 5, 0] = 2**62
        gone = {rank: Crash(step=HAVE) for rank in (0, 5, 6, 11)}
        opened, expected = run(spec, words, gone), made(spec).reference(words)
        assert opened.contributors == tuple(range(12))
        assert opened.suspects == {5}  # which is not there any more
        assert torch.equal(opened.sums, expected.sums)
        with pytest.raises(NetworkError):  # the twin: who shares its own words is needed to the end
            run(checked(sharing="additive"), words, {0: Crash(step=3)})

    @examples(0.1)
    @given(data=st.data())
    def test_outcome_says_which_crashes_stop_the_batch(self, data: st.DataObject) -> None:
        spec, parties = checked(), 9 + data.draw(st.integers(0, 2))
        step = st.sampled_from([(SHARES, None), (SHARES, 1), (HAVE, None)])
        steps = {rank: data.draw(step) for rank in sorted(data.draw(st.sets(st.integers(0, 8), max_size=3)))}
        late = frozenset(rank for rank, (at, _) in steps.items() if at == HAVE)
        faults: dict[int, Fault] = {rank: Crash(step=at, after=after) for rank, (at, after) in steps.items()}
        words, protocol = words_of(parties, seed=1), made(spec)
        said = protocol.outcome(parties, NOBODY, frozenset(steps) - late, NOBODY, late=late)
        try:
            opened = run(spec, words, faults)
        except TooFewPartiesError:
            assert not said.live
            return
        assert said.live
        assert torch.equal(opened.sums, protocol.reference(words[:, list(opened.contributors)]).sums)


class TestLies:
    @pytest.mark.parametrize("committees", [1, 2])
    def test_a_holder_that_lies_may_have_a_mate_named_and_nobody_of_another_group_as_documented(
        self, committees: int
    ) -> None:
        """It adds 2^62 to what it has of its mate's words, and tells both committees the same."""
        spec, words = checked(committees=committees), words_of(12)
        seats = made(spec).seats(parties=12, present=frozenset(range(12)), use=1)
        liar, *_ = seats.leaves[1]
        victim = next(rank for rank in (3, 4, 5) if rank != liar)
        original = ShamirGroups.additive

        def lying(
            self: ShamirGroups, party: Party, group: Sequence[int], holders: Sequence[int], entered: Entered
        ) -> Tensor:
            share = original(self, party, group, holders, entered)
            if party.rank == liar:
                share.view(-1, len(group), share.shape[1])[:, group.index(victim)] += 2**62
            return share

        with mock.patch.object(ShamirGroups, "additive", lying):
            opened = run(spec, words)
        assert opened.suspects == {victim}
        assert opened.kept is not None
        assert opened.kept.tolist() == [[rank not in (3, 4, 5) for rank in range(12)]]


class TestThresholds:
    def test_the_conditions_are_the_worst_of_all_outcomes_and_so_the_weaker_threshold(self) -> None:
        """Every coalition of nine, in groups of three with t1 = 1 or 2, over ten draws: two delegates always learn."""
        for threshold, delegates in (("1", 3), ("2", 3)):
            protocol = made(checked(threshold=threshold, delegates=delegates))
            worst = dict.fromkeys(range(10), True)
            for size in range(10):
                for coalition in combinations(range(9), size):
                    for use in range(1, 11):
                        if not worst[size]:
                            break
                        worst[size] = protocol.outcome(9, NOBODY, NOBODY, frozenset(coalition), use=use).private
            for a in range(10):
                assert worst[a] == (not protocol.conditions.exposed(9, np.array([a]), np.array([0]))[0]), a
            assert thresholds_of(protocol.conditions, 9).private == 1

    def test_every_step_says_its_threshold(self) -> None:
        formation = made(checked(group_size=5, threshold="1", delegates=5)).formation(parties=30)
        assert [(rung.holders, rung.threshold, rung.spare) for rung in formation.rungs] == [
            ("members of a group", 1, 3),
            ("delegates", 2, 0),
        ]
        assert formation.smallest_exposing == 2
        assert made(checked(group_size=5, threshold="4", delegates=5)).formation(parties=30).smallest_exposing == 3

    def test_t1_and_one_more_of_a_group_learn_its_inputs_and_t2_and_one_more_delegates_all(self) -> None:
        protocol, everybody = made(checked()), frozenset(range(9))
        seats = protocol.seats(parties=9, present=everybody, use=1)
        for pair in combinations(range(9), 2):
            group = {rank for each in ((0, 1, 2), (3, 4, 5), (6, 7, 8)) if set(pair) <= set(each) for rank in each}
            told = everybody if set(pair) <= set(seats.delegates) else group
            found = protocol.exposed(parties=9, contributors=everybody, colluding=frozenset(pair), use=1)
            assert found == frozenset(told) - set(pair), pair


def _entering(party: Party, seats: Seats, words: Tensor) -> Tensor:
    """Enter with nobody missing, and hand on every member's words apart."""
    sharing, groups = ShamirGroups(expression="c/2"), ((0, 1, 2), (3,), (4,))
    entered = sharing.enter(party, groups, words, apart=True)
    group = next(group for group in groups if party.rank in group)
    holders = next(leaf for leaf in seats.leaves if leaf[0] in group)
    if party.rank not in holders:
        return words
    return sharing.one_by_one(seats).rows(sharing.additive(party, group, holders, entered), len(words))


class TestSecrecy:
    """All randomness modulo 2, so over GF(4): a group of three with t1 = 1, whose words two of them hand on."""

    SEATS = Seats(
        groups=((0, 1), (3,), (4,)),
        sums=((0, 1, 2), (3,), (4,)),
        delegates=(0, 3, 4),
        access=Access(parties=3, threshold=1),
        leaves=((0, 1), (3,), (4,)),
    )
    INPUTS = tuple(product((0, 1), repeat=3))

    def shows(self, coalition: Sequence[int], *, sums: bool = False, inputs: Sequence[Key] = INPUTS) -> bool:
        """Whether words of which it knows its own, and the sum perhaps, give the coalition one distribution."""
        with (
            mock.patch.object(_shamir_groups, "say"),
            mock.patch.object(_shamir_groups, "hear", lambda link, into: into.fill_(1)),
        ):
            views = {each: views_of(self.SEATS, each, coalition, _entering) for each in inputs}
        own = [rank for rank in coalition if rank < 3]
        return equal_where(views, lambda each: (tuple(each[rank] for rank in own), sums and sum(each) % 2))

    @pytest.mark.parametrize("coalition", [(3,), (0,), (1, 3)])
    def test_one_member_and_one_delegate_learn_nothing(self, coalition: Sequence[int]) -> None:
        assert self.shows(coalition)

    def test_two_members_or_two_delegates_learn_single_words_and_not_the_sum_alone(self) -> None:
        assert not self.shows((0, 1))
        assert not self.shows((3, 4), sums=True)

    def test_shares_that_are_handed_on_without_new_randomness_are_seen(self) -> None:
        original = _resharing._deal_seeds

        def without(party: Party, committees: Sequence[Seats], mine: Seats | None) -> object:
            _, seeds = original(party, committees, mine)
            return [[] for _ in committees], seeds

        with mock.patch.object(_resharing, "_deal_seeds", without):
            assert not self.shows((0,))
