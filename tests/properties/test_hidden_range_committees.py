"""Checked inputs before two committees: who passes is compared as the result is, so a lie of one names nobody."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import combinations
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from protocols.check import CloisterError
from protocols.faults import Equivocate, Tamper
from protocols.hidden_sums import _resharing
from protocols.hidden_sums._resharing import Seats
from protocols.network import CheatingDetectedError, NetworkError
from protocols.registry import Spec
from protocols.secure_robust._access import Access
from protocols.secure_robust._engine import Shared
from protocols.secure_sum import Party
from tests.examples import examples
from tests.hidden import hidden, made, run, words_of
from tests.properties._hidden_views import equal_where, own_words, views_of

NOBODY = frozenset[int]()
PARTIES = 8
STEPS = 70
"""About as many exchanges as a delegate of three takes part in for a checked mean."""


def checked(**parameters: Any) -> Spec:
    return hidden(**{"group_size": 2, "input_check": "range", "committees": 2, **parameters})


def seats_of(spec: Spec) -> Seats:
    return made(spec).seats(parties=PARTIES, present=frozenset(range(PARTIES)), use=1)


class TestWithoutLies:
    @examples(0.1)
    @given(data=st.data())
    def test_they_open_the_reference_and_who_passes_at_the_formulas_cost(self, data: st.DataObject) -> None:
        spec = checked(outer=data.draw(st.sampled_from(["mean", "median", "trimmed_mean", "krum"])))
        parties = data.draw(st.integers(10, 12))
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

    def test_it_costs_twice_as_much_at_the_same_time(self) -> None:
        size = {"parties": 9, "clusters": 2, "coordinates": 100}
        one, two = made(checked(committees=1)).cost(**size), made(checked()).cost(**size)
        for once, again in ((one.offline, two.offline), (one.mpc, two.mpc)):
            assert again.payload_bytes == 2 * once.payload_bytes
            assert again.messages == 2 * once.messages
            assert again.comparisons == 2 * once.comparisons
            assert again.rounds == once.rounds


@contextmanager
def framing(liars: Collection[int], victim: int) -> Iterator[None]:
    """These delegates add 2^62 to what they hand on of the victim's words, where they serve it."""
    original = _resharing._as_delegate

    def lying(party: Party, seats: Seats, seeds: dict[int, Tensor], rests: Tensor) -> Shared:
        group = seats.group_of(victim)
        if party.rank in liars and group in seats.served(party.rank):
            rests = rests.clone()
            rests[:, seats.served(party.rank).index(group)] += 2**62
        return original(party, seats, seeds, rests)

    with mock.patch.object(_resharing, "_as_delegate", lying):
        yield


class TestLies:
    def test_a_delegate_that_has_an_honest_member_fail_is_seen_and_nobody_is_named(self) -> None:
        """The twin of what one committee opens: the same lie, before one that checks alone."""
        words, two = words_of(PARTIES), seats_of(checked())
        serving = {rank for each in two.committees for rank in each.delegates}
        victim = next(rank for rank in range(PARTIES) if rank not in serving)
        for committee in two.one_by_one.committees:
            liar = committee.servers[committee.group_of(victim)]
            with framing([liar], victim), pytest.raises(CheatingDetectedError, match="committees opened") as caught:
                run(checked(), words)
            assert caught.value.suspects == frozenset()
        alone = seats_of(checked(committees=1)).one_by_one
        with framing([alone.servers[alone.group_of(victim)]], victim):
            assert run(checked(committees=1), words).suspects == {victim}

    def test_one_liar_in_each_committee_may_have_it_named_as_documented(self) -> None:
        words, seats = words_of(PARTIES), seats_of(checked()).one_by_one
        serving = {rank for each in seats.committees for rank in each.delegates}
        victim = next(rank for rank in range(PARTIES) if rank not in serving)
        liars = [each.servers[each.group_of(victim)] for each in seats.committees]
        with framing(liars, victim):
            assert run(checked(), words).suspects == {victim}
        said = made(checked()).outcome(PARTIES, NOBODY, NOBODY, NOBODY, deviating=frozenset(liars))
        assert not said.correct

    def test_a_member_that_passes_before_one_committee_alone_stops_the_batch(self) -> None:
        words, seats = words_of(PARTIES), seats_of(checked()).one_by_one
        serving = {rank for each in seats.committees for rank in each.delegates}
        liar = next(rank for rank in range(PARTIES) if rank not in serving)
        for committee in seats.committees:
            server = committee.servers[committee.group_of(liar)]
            with pytest.raises(CheatingDetectedError, match="committees opened different results"):
                run(checked(), words, {liar: Tamper(step=3, delta=2**62, to=server)})
        words[0, liar] += 2**62  # which it tells both
        assert run(checked(), words).suspects == {liar}

    @examples(0.4)
    @given(data=st.data())
    def test_whatever_a_delegate_of_one_committee_sends_the_result_is_right_or_the_batch_stops(
        self, data: st.DataObject
    ) -> None:
        spec, words = checked(outer="mean"), words_of(PARTIES)
        liar = data.draw(st.sampled_from(data.draw(st.sampled_from(seats_of(spec).committees)).delegates))
        step, delta = data.draw(st.integers(2, STEPS)), data.draw(st.sampled_from([1, 2**20, 2**62, 2**63 - 1]))
        peers = frozenset(data.draw(st.sets(st.integers(0, PARTIES - 1), min_size=1)))
        fault = data.draw(
            st.sampled_from([Tamper(step=step, delta=delta), Equivocate(step=step, delta=delta, to=peers)])
        )
        said = made(spec).outcome(PARTIES, NOBODY, NOBODY, NOBODY, deviating=frozenset({liar}))
        assert (said.correct, said.live) == (True, False)
        try:
            opened = run(spec, words, {liar: fault})
        except NetworkError:
            return
        assert opened.suspects == NOBODY
        assert torch.equal(opened.sums, made(spec).reference(words).sums)


class TestExposure:
    def test_more_than_t2_delegates_of_either_committee_learn_every_input_and_no_others_any(self) -> None:
        protocol, everybody = made(checked()), frozenset(range(PARTIES))
        committees = [set(each.delegates) for each in seats_of(checked()).committees]
        for size in range(PARTIES):
            for chosen in combinations(range(PARTIES), size):
                colluding = frozenset(chosen)
                found = protocol.exposed(parties=PARTIES, contributors=everybody, colluding=colluding, use=1)
                told = any(len(colluding & each) > 1 for each in committees)
                assert found == (everybody - colluding if told else frozenset()), chosen
                said = protocol.outcome(PARTIES, NOBODY, NOBODY, colluding)
                assert said.private == (not told or colluding == everybody), chosen
                assert not told or protocol.exposes(protocol.groups_of(parties=PARTIES), colluding), chosen

    SEATS = Seats(
        groups=((0, 1), (2, 3), (4, 5), (6, 7)),
        sums=((0, 1), (2, 3), (4, 5), (6, 7)),
        delegates=(0, 2, 4),
        second=(1, 3, 5),
        access=Access(parties=3, threshold=1),
        leaves=((0, 1), (2, 3), (4, 5), (6, 7)),
    ).one_by_one
    INPUTS = tuple((0, 0, 0, 0, 0, 0, x, y) for x in (0, 1) for y in (0, 1))

    @pytest.mark.parametrize(("coalition", "told"), [((0, 1), False), ((2, 5), False), ((0, 2, 1), True)])
    def test_what_members_hand_one_delegate_of_each_committee_tells_these_nothing(
        self, coalition: tuple[int, ...], told: bool
    ) -> None:
        """All randomness modulo 2, the words of 6 and 7: the same parts would be two shares of one number."""
        views = {inputs: views_of(self.SEATS, inputs, coalition, own_words) for inputs in self.INPUTS}
        assert equal_where(views, lambda _: ()) is not told

    def test_seeds_that_both_committees_get_alike_are_seen(self) -> None:
        """The twin: one delegate of each, who lack different parts, have all of them together."""
        original = _resharing._deal_seeds

        def alike(party: Party, committees: list[Seats], mine: Seats | None) -> object:
            token = party.keys.secrets.token
            half = 16 * len(committees[0].access.sets)

            def same(*, size: int, **given: Any) -> bytes:
                return (token(size=half, **given) * 2)[:size]

            with mock.patch.object(party.keys.secrets, "token", same):
                return original(party, committees, mine)

        with mock.patch.object(_resharing, "_deal_seeds", alike):
            views = {inputs: views_of(self.SEATS, inputs, (0, 3), own_words) for inputs in self.INPUTS}
            assert not equal_where(views, lambda _: ())


@pytest.mark.parametrize(
    ("parameters", "message"),
    [({"noise_std": 0.1}, "noise_std = 0.1 does not fit committees = 2"), ({"group_size": 1}, "as many groups")],
)
def test_what_two_committees_that_check_cannot_do_is_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(CloisterError, match=message):
        made(checked(**parameters)).check_size(parties=5)
