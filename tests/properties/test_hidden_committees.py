"""Two committees that compute the same and compare what they open: a lie of one of them is never taken over."""

from collections import Counter
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protocols.check import CloisterError
from protocols.faults import Equivocate, Tamper
from protocols.hidden_sums.hidden import Hidden
from protocols.network import CheatingDetectedError, NetworkError
from protocols.playable import conditions_under
from protocols.registry import Spec
from protocols.tolerance.thresholds import thresholds_of
from tests.examples import examples
from tests.hidden import hidden, made, run, words_of

NOBODY = frozenset[int]()
STEPS = 70
"""About as many exchanges as a delegate of three takes part in for a median."""


def twice(**parameters: Any) -> Spec:
    return hidden(committees=2, **parameters)


def both(spec: Spec, parties: int, use: int = 1) -> tuple[tuple[int, ...], tuple[int, ...]]:
    seats = made(spec).seats(parties=parties, present=frozenset(range(parties)), use=use)
    return seats.delegates, seats.second


@st.composite
def federations(draw: st.DrawFn) -> tuple[Spec, int]:
    group_size, levels = draw(st.sampled_from([(1, ()), (2, ()), (3, ()), (2, (2,))]))
    sharing = draw(st.sampled_from(["additive", "shamir"])) if group_size == 3 else "additive"
    smallest = group_size * (2 if levels else 1)
    groups = draw(st.integers(6 if smallest == 1 else 3, 7))
    outer = draw(st.sampled_from(["mean", "median", "trimmed_mean"]))
    parties = smallest * groups + draw(st.integers(0, smallest - 1))
    return twice(group_size=group_size, levels=list(levels), sharing=sharing, outer=outer), parties


class TestWithoutFaults:
    @examples(0.15)
    @given(chosen=federations(), coordinates=st.sampled_from([1, 3, 65]))
    def test_they_open_the_reference_at_twice_the_delegates_cost(
        self, chosen: tuple[Spec, int], coordinates: int
    ) -> None:
        spec, parties = chosen
        words, protocol = words_of(parties, 1, coordinates), made(spec)
        opened = run(spec, words)
        assert torch.equal(opened.sums, protocol.reference(words).sums)
        assert opened.traffic == protocol.cost(parties=parties, clusters=1, coordinates=coordinates)

    def test_without_levels_and_shares_in_groups_it_costs_exactly_twice_in_as_many_rounds(self) -> None:
        size = {"parties": 9, "clusters": 2, "coordinates": 100}
        one, two = made(hidden()).cost(**size), made(twice()).cost(**size)
        for once, again in ((one.offline, two.offline), (one.mpc, two.mpc)):
            assert again.payload_bytes == 2 * once.payload_bytes
            assert again.messages == 2 * once.messages
            assert again.rounds == once.rounds

    def test_nobody_serves_twice_and_a_second_delegate_of_a_group_only_where_groups_are_few(self) -> None:
        """Of 12 in 6 groups both committees are uniform: chi-squared of 12 counts of 600 draws above 80: P < 1e-11."""
        spec, counts = twice(group_size=2), Counter[int]()
        for use in range(1, 601):
            first, second = both(spec, 12, use)
            assert len({rank // 2 for rank in first + second}) == 6
            counts.update(second)
        assert sum((counts[rank] - 150) ** 2 / 150 for rank in range(12)) < 80
        for use in range(1, 50):
            first, second = both(twice(group_size=2), 6, use)
            assert sorted(first + second) == list(range(6))


class TestLies:
    SPEC = twice(group_size=2, delegates=3)
    PARTIES = 8

    @examples(0.6)
    @given(data=st.data())
    def test_whatever_a_delegate_of_one_committee_sends_the_result_is_right_or_the_batch_stops(
        self, data: st.DataObject
    ) -> None:
        words, committees = words_of(self.PARTIES), both(self.SPEC, self.PARTIES)
        liar = data.draw(st.sampled_from(data.draw(st.sampled_from(committees))))
        step, delta = data.draw(st.integers(2, STEPS)), data.draw(st.sampled_from([1, 2**20, 2**63 - 1, -(2**40)]))
        peers = frozenset(data.draw(st.sets(st.integers(0, self.PARTIES - 1), min_size=1)))
        fault = data.draw(
            st.sampled_from([Tamper(step=step, delta=delta), Equivocate(step=step, delta=delta, to=peers)])
        )
        said = made(self.SPEC).outcome(self.PARTIES, NOBODY, NOBODY, NOBODY, deviating=frozenset({liar}))
        assert (said.correct, said.live) == (True, False)
        try:
            opened = run(self.SPEC, words, {liar: fault})
        except NetworkError:
            return
        number = next(j for j, group in enumerate(made(self.SPEC).groups_of(parties=self.PARTIES)) if liar in group)
        others = [j for j in range(4) if j != number]
        sums = torch.stack([words[0, 2 * j : 2 * j + 2].sum(dim=0) for j in others])
        # Its own group's sum is its own to choose: the sum of the middle two stays between twice the others' extremes.
        assert bool((opened.sums[0] >= 2 * sums.min(dim=0).values).all())
        assert bool((opened.sums[0] <= 2 * sums.max(dim=0).values).all())

    def test_a_lie_that_one_committee_alone_would_have_opened_is_named_as_what_it_is(self) -> None:
        """The twin: the same delegate tells the same lie to one committee, unseen."""
        words, seen = words_of(self.PARTIES), 0
        for step in range(8, STEPS, 12):
            liar = both(self.SPEC, self.PARTIES)[0][0]
            fault = {liar: Tamper(step=step, delta=1)}
            alone = hidden(group_size=2)
            right = made(alone).reference(words).sums
            if torch.equal(run(alone, words, fault).sums, right):
                continue
            seen += 1
            with pytest.raises(CheatingDetectedError, match="committees opened different results"):
                run(self.SPEC, words, fault)
        assert seen >= 4

    def test_one_member_that_tells_two_committees_two_words_stops_the_batch(self) -> None:
        spec, words = twice(group_size=2, outer="mean"), words_of(12)
        first, second = both(spec, 12)
        seats = made(spec).seats(parties=12, present=frozenset(range(12)), use=1)
        liar = next(rank for rank in range(12) if rank not in first + second)
        server = seats.committees[1].servers[seats.group_of(liar)]
        with pytest.raises(CheatingDetectedError, match="committees opened different results"):
            run(spec, words, {liar: Tamper(step=3, delta=5, to=server)})

    def test_one_liar_in_each_committee_may_agree_on_a_wrong_result_as_documented(self) -> None:
        """In the opening of a mean, which the first delegate of each adds up, the second ones add the same number."""
        spec, words = twice(group_size=2, outer="mean"), words_of(12, coordinates=1)
        liars = [each[1] for each in both(spec, 12)]
        assert not made(spec).outcome(12, NOBODY, NOBODY, NOBODY, deviating=frozenset(liars)).correct
        right, wrong = made(spec).reference(words).sums, 0
        for step in range(8, 20):
            try:
                opened = run(spec, words, {liar: Tamper(step=step, delta=7) for liar in liars})
            except NetworkError:
                continue
            wrong += not torch.equal(opened.sums, right)
        assert wrong > 0


class TestConditions:
    def test_where_members_deviate_the_worst_case_is_one_liar_in_each_committee(self) -> None:
        """Every set of up to three deviating members of nine, over twenty draws: conditions, verdict and outcomes."""
        for committees, most in ((1, 0), (2, 1)):
            protocol = made(hidden(committees=committees))
            thresholds = thresholds_of(conditions_under(hidden(committees=committees), deviating=True), 9)
            assert (thresholds.correct, thresholds.live_byzantine) == (most, 0)
            assert thresholds.on_cheating == ("undetected" if committees == 1 else "abort")
            groups = protocol.groups_of(parties=9)
            for size in range(1, 4):
                for liars in map(frozenset, combinations(range(9), size)):
                    deceived = any(
                        not protocol.outcome(9, NOBODY, NOBODY, NOBODY, use=use, deviating=liars).correct
                        for use in range(1, 21)
                    )
                    assert not deceived or protocol.deceives(groups, liars)
                    assert protocol.deceives(groups, liars) == (size > most)

    def test_liars_of_one_group_never_serve_in_two_committees_of_different_groups(self) -> None:
        protocol = Hidden(group_size=2, committees=2)
        groups = protocol.groups_of(parties=12)
        assert not protocol.deceives(groups, {0, 1})
        assert protocol.deceives(groups, {0, 2})
        assert protocol.deceives(groups[:3], {0, 1})
        served = {
            (bool({0, 1} & set(first)), bool({0, 1} & set(second)))
            for first, second in (both(twice(group_size=2), 12, use) for use in range(1, 60))
        }
        assert (True, True) not in served

    def test_more_than_t2_delegates_of_either_committee_know_the_sums(self) -> None:
        protocol, spec = made(twice(group_size=2)), twice(group_size=2)
        first, second = both(spec, 12)
        told = [
            protocol.exposed(parties=12, contributors=range(12), colluding=set(pair), use=1)
            for pair in (first[:2], second[:2], (first[0], second[0]))
        ]
        assert [len(each) for each in told] == [2, 2, 0]

    def test_one_deviating_delegate_is_enough_to_show_a_groups_sum(self) -> None:
        conditions = conditions_under(twice(group_size=3), deviating=True)
        exposed = conditions.exposed(9, np.arange(10), np.zeros(10, dtype=np.int64))
        assert exposed.tolist() == [a >= 2 and a < 9 for a in range(10)]
        groups = made(twice(group_size=3)).groups_of(parties=9)
        assert made(twice()).exposes(groups, {0, 1}, deviating={0})
        assert not made(twice()).exposes(groups, {0, 1})


class TestRefusals:
    @pytest.mark.parametrize(
        ("parameters", "parties", "message"),
        [
            ({"group_size": 1}, 5, "delegates = 3 in each of 2 committees need as many groups; allowed: 6 or more"),
            ({"noise_std": 0.1}, 9, "noise_std = 0.1 does not fit committees = 2"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, parameters: dict[str, Any], parties: int, message: str) -> None:
        with pytest.raises(CloisterError, match=message):
            made(twice(**parameters)).check_size(parties=parties)

    @pytest.mark.parametrize("committees", [0, 3])
    def test_one_committee_or_two(self, committees: int) -> None:
        with pytest.raises(CloisterError, match=f"committees = {committees} is not allowed; allowed: 1, or 2"):
            made(hidden(committees=committees))

    def test_groups_of_one_are_enough_where_there_are_twice_as_many_as_delegates(self) -> None:
        for parties, size in product((6, 7), (1,)):
            made(twice(group_size=size)).check_size(parties=parties)
