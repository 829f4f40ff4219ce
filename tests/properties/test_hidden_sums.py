"""Rules over sums that nobody sees: exact words and costs, hulls, crashes, and views that tell no group's sum."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, product
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from protocols.check import CloisterError
from protocols.faults import Crash, Tamper
from protocols.hidden_sums._resharing import Rise, Seats
from protocols.hidden_sums.rules import outer_rules
from protocols.in_process import InProcessParties
from protocols.network import CheatingDetectedError, NetworkError, TooFewPartiesError
from protocols.party_pool import PartyPool
from protocols.playable import conditions_under
from protocols.registry import Spec
from protocols.secure_robust._access import Access
from tests.examples import examples
from tests.hidden import hidden, made, run, words_of
from tests.properties._hidden_views import Key, equal_where, views_of

RULES = list(outer_rules.entries())
HOSTILE = (2**63 - 1, -(2**63), 2**47, -(2**47), 2**62, 46_341 << 16, 65_536 << 16)
"""Words at which sums, comparisons and squares wrap around."""
# What a member sends in which exchange: that it is there, (hear,); then, where it is no delegate, seeds and words.
THERE, SEEDS, WORDS = 0, 2, 3


def python_means(spec: Spec, words: Tensor) -> list[list[list[int]]]:
    """Each cluster's group sums S_j L / c_j as Python integers, by group and coordinate."""
    groups = made(spec).groups_of(parties=words.shape[1])
    common = math.lcm(*map(len, groups))
    return [
        [[sum(row[i][k] for i in group) * common // len(group) for k in range(len(row[0]))] for group in groups]
        for row in words.tolist()
    ]


def python_median(spec: Spec, words: Tensor) -> list[list[int]]:
    """The sums of the middle one or two, by sorting Python integers."""
    results: list[list[int]] = []
    for means in python_means(spec, words):
        ordered = [sorted(column) for column in zip(*means, strict=True)]
        m = len(means)
        results.append([sum(column[(m - 1) // 2 : m // 2 + 1]) for column in ordered])
    return results


@st.composite
def federations(draw: st.DrawFn) -> tuple[Spec, int]:
    """Rules over three to six groups, or groups of groups, with three to five delegates."""
    group_size, outer = draw(st.integers(1, 3)), draw(st.sampled_from(RULES))
    levels = draw(st.sampled_from([(), (), (2,), (2, 2)])) if group_size == 1 else ()
    groups = draw(st.integers(5 if outer == "krum" else 3, 6))
    smallest = math.prod((group_size, *levels))
    parties = smallest * groups + draw(st.integers(0, smallest - 1))
    delegates = draw(st.sampled_from([each for each in (3, 4, 5) if each <= groups]))
    return hidden(group_size=group_size, outer=outer, delegates=delegates, levels=list(levels)), parties


class TestWithoutFaults:
    @examples(0.5)
    @given(chosen=federations(), data=st.data())
    def test_the_opened_words_are_the_references_and_the_cost_is_the_meters(
        self, chosen: tuple[Spec, int], data: st.DataObject
    ) -> None:
        spec, parties = chosen
        clusters, coordinates = data.draw(st.integers(1, 2)), data.draw(st.sampled_from([1, 3, 65]))
        words = words_of(parties, clusters, coordinates, seed=data.draw(st.integers(0, 99)))
        if data.draw(st.booleans()):
            words[:, data.draw(st.integers(0, parties - 1))] = data.draw(st.sampled_from(HOSTILE))
        opened, protocol = run(spec, words), made(spec)
        assert torch.equal(opened.sums, protocol.reference(words).sums)
        assert opened.contributors == tuple(range(parties))
        assert opened.traffic == protocol.cost(parties=parties, clusters=clusters, coordinates=coordinates)

    @pytest.mark.parametrize("parties", [6, 7, 8, 9])
    def test_the_median_is_that_of_python_integers_for_even_and_odd_numbers_of_equal_and_unequal_groups(
        self, parties: int
    ) -> None:
        for group_size in (1, 2):
            spec, words = hidden(group_size=group_size), words_of(parties, 2)
            assert run(spec, words).sums.tolist() == python_median(spec, words)

    def test_the_median_of_groups_decodes_to_the_median_of_their_means(self) -> None:
        spec, words = hidden(group_size=2), words_of(7)  # groups of 3, 2 and 2
        opened = run(spec, words)
        means = torch.stack(
            [words[0, :3].double().mean(0), words[0, 3:5].double().mean(0), words[0, 5:].double().mean(0)]
        )
        plain = made(spec).reference(words)
        assert torch.equal(opened.sums, plain.sums)
        assert torch.allclose(made(spec).decode(plain, parties=7)[0] * 2**16, means.median(dim=0).values, rtol=1e-12)

    def test_the_mean_weighs_members_and_not_groups(self) -> None:
        spec, words = hidden(group_size=2, outer="mean"), words_of(7)
        assert run(spec, words).sums.tolist() == [[sum(column) for column in zip(*words[0].tolist(), strict=True)]]
        decoded = made(spec).decode(made(spec).reference(words), parties=7)
        assert torch.equal(decoded, words.sum(dim=1).double() / 2**16 / 7)

    @pytest.mark.parametrize("outer", RULES)
    def test_party_processes_open_the_same_words_at_the_same_cost(self, pool: PartyPool, outer: str) -> None:
        spec, words = hidden(group_size=1, outer=outer), words_of(7, 2, 70)
        opened, protocol = pool.open_sums(spec, words), made(spec)
        assert torch.equal(opened.sums, protocol.reference(words).sums)
        assert opened.traffic == protocol.cost(parties=7, clusters=2, coordinates=70)

    @pytest.mark.parametrize(
        ("parameters", "crashing"),
        [
            ({"sharing": "shamir", "threshold": "1"}, {}),
            ({"sharing": "shamir", "threshold": "1"}, {1: Crash(step=1)}),  # once its group of three has its words
            ({"committees": 2}, {}),
        ],
    )
    def test_groups_that_share_and_two_committees_are_the_same_among_processes_and_threads(
        self, pool: PartyPool, parameters: dict[str, Any], crashing: dict[int, Crash]
    ) -> None:
        spec, words = hidden(group_size=2, **parameters), words_of(7, 2, 70)
        ours, threads = pool.open_sums(spec, words, faults=crashing), run(spec, words, crashing)
        assert torch.equal(ours.sums, made(spec).reference(words).sums)
        assert torch.equal(ours.sums, threads.sums)
        assert ours.contributors == threads.contributors == tuple(range(7))
        assert ours.traffic == threads.traffic

    def test_what_groups_send_costs_one_word_a_member_and_two_a_group(self) -> None:
        """Nine members in three groups, three delegates: six members send their words, three sums go to two others."""
        cost = made(hidden(outer="mean")).cost(parties=9, clusters=1, coordinates=1000)
        opening = 2 * 2 * 1000  # words: reduce-scatter and all-gather
        assert cost.mpc.payload_bytes == 8 * (6 * 1000 + 3 * 2 * 1000 + opening)
        assert cost.mpc.rounds == 4


class TestHostileInputs:
    @examples(0.2)
    @given(data=st.data())
    def test_each_coordinate_lies_between_untainted_groups_means_whatever_members_of_two_of_five_send(
        self, data: st.DataObject
    ) -> None:
        outer, tolerate = data.draw(st.sampled_from([("median", 1), ("trimmed_mean", 2)]))
        spec = hidden(group_size=2, outer=outer, tolerate=tolerate)
        words = words_of(11, seed=data.draw(st.integers(0, 99)), bits=40)  # the first group has three
        groups = made(spec).groups_of(parties=11)
        tainted = data.draw(st.sets(st.integers(0, 4), min_size=1, max_size=2))
        for number in tainted:
            words[:, groups[number][0]] = data.draw(st.sampled_from(HOSTILE))
        means = torch.tensor([each for j, each in enumerate(python_means(spec, words)[0]) if j not in tainted])
        opened = run(spec, words).sums[0]
        assert bool((opened >= means.min(dim=0).values).all())
        assert bool((opened <= means.max(dim=0).values).all())

    @pytest.mark.parametrize("hostile", HOSTILE[:4])
    def test_a_group_out_of_range_is_never_selected(self, hostile: int) -> None:
        """Two of seven groups, alike, beside others that are as near to each other as the ring allows."""
        spec, words = hidden(group_size=1, outer="krum", tolerate=2), words_of(7, 3, seed=4, bits=8)
        for cluster, tainted in enumerate(((0, 1), (3, 6), (2, 5))):
            words[cluster, list(tainted), -1] = hostile
            honest = [words[cluster, rank].tolist() for rank in range(7) if rank not in tainted]
            assert made(spec).reference(words[cluster : cluster + 1]).sums[0].tolist() in honest
        opened = run(spec, words).sums
        assert torch.equal(opened, made(spec).reference(words).sums)

    def test_one_member_moves_a_mean_anywhere(self) -> None:
        spec, words = hidden(group_size=2, outer="mean"), torch.zeros(1, 6, 1, dtype=torch.int64)
        words[0, 0] = 2**47
        assert run(spec, words).sums.tolist() == [[2**47]]
        assert made(spec).breakdown(6) == 0


class TestCrashes:
    SPEC = hidden(group_size=2)

    def test_a_member_that_is_gone_at_the_start_leaves_out_its_group_and_no_other(self) -> None:
        words, protocol = words_of(9, 2), made(self.SPEC)  # groups of 3, 2, 2, 2
        for gone in range(9):
            opened = run(self.SPEC, words, {gone: Crash(step=THERE)})
            left = [rank for group in protocol.groups_of(parties=9) if gone not in group for rank in group]
            assert opened.contributors == tuple(left)
            assert torch.equal(opened.sums, protocol.reference(words[:, left]).sums)

    def test_groups_that_are_left_are_those_of_a_cluster_of_their_members(self) -> None:
        """So that reference and decode need no more than who contributed."""
        for group_size, parties, levels in product(range(1, 5), range(4, 24), ([], [2], [3], [2, 2])):
            protocol = made(hidden(group_size=group_size, levels=levels))
            if parties < math.prod((group_size, *levels)):
                continue
            groups = protocol.groups_of(parties=parties)
            for keep in product((False, True), repeat=min(len(groups), 7)):
                sizes = [len(group) for group, kept in zip(groups, keep, strict=False) if kept]
                if sizes:
                    assert [len(group) for group in protocol.groups_of(parties=sum(sizes))] == sizes

    def test_a_member_that_is_gone_leaves_out_its_group_of_the_top_level(self) -> None:
        spec = hidden(group_size=1, levels=[2])
        words, protocol = words_of(9), made(spec)  # groups of 3, 2, 2 and 2 groups of one
        for gone in (0, 8):
            opened = run(spec, words, {gone: Crash(step=THERE)})
            left = [rank for group in protocol.groups_of(parties=9) if gone not in group for rank in group]
            assert opened.contributors == tuple(left)
            assert torch.equal(opened.sums, protocol.reference(words[:, left]).sums)

    def test_too_few_complete_groups_open_nothing(self) -> None:
        with pytest.raises(TooFewPartiesError, match="2 of 3 groups are complete"):
            run(self.SPEC, words_of(6), {0: Crash(step=THERE)})

    def test_a_later_crash_stops_the_batch_with_a_typed_error(self) -> None:
        protocol, words = made(self.SPEC), words_of(8)
        seats = protocol.seats(parties=8, present=frozenset(range(8)), use=1)
        other = next(rank for rank in range(8) if rank not in seats.delegates)
        for rank, steps in ((other, (SEEDS, WORDS)), (seats.delegates[1], (2, 9, 20))):
            for step in steps:
                with pytest.raises(NetworkError) as caught:
                    run(self.SPEC, words, {rank: Crash(step=step)})
                assert type(caught.value) is not NetworkError

    def test_outcome_says_what_crashes_and_inputs_do(self) -> None:
        protocol, words = made(self.SPEC), words_of(10, bits=8)
        rng = np.random.default_rng(1)
        for _ in range(8):
            ranks = rng.permutation(10).tolist()
            crashed, byzantine = frozenset(ranks[: rng.integers(0, 3)]), frozenset(ranks[3 : 3 + rng.integers(0, 4)])
            said = protocol.outcome(10, byzantine, crashed, frozenset())
            hostile = words.clone()
            hostile[:, sorted(byzantine)] = 2**40
            try:
                opened = run(self.SPEC, hostile, {rank: Crash(step=THERE) for rank in crashed})
            except TooFewPartiesError:
                assert not said.live
                continue
            assert said.live
            assert said.correct == bool((opened.sums.abs() < 2**20).all())


class TestDeviation:
    SPEC = hidden(group_size=2)

    def test_seeds_that_differ_between_delegates_are_detected_before_any_hands_on_what_it_got(self) -> None:
        words, protocol = words_of(8), made(self.SPEC)
        seats = protocol.seats(parties=8, present=frozenset(range(8)), use=1)
        other = next(rank for rank in range(8) if rank not in seats.delegates)
        for receiver in seats.delegates:
            threads = InProcessParties(8, faults={other: Tamper(step=SEEDS, delta=1, to=receiver)})
            with pytest.raises(CheatingDetectedError, match="different seeds"):
                threads.open_sums(self.SPEC, words)
            sent = [rank for rank in range(8) if rank not in seats.delegates]
            # Of the members' words, which are out already, no delegate hands anything on.
            assert threads.spent.mpc.payload_bytes == len(sent) * 3 * 8

    def test_a_member_that_is_no_delegate_changes_no_other_groups_sum(self) -> None:
        """Whatever it sends for its words, the median stays between the three other groups' means."""
        words, protocol = words_of(8), made(self.SPEC)
        seats = protocol.seats(parties=8, present=frozenset(range(8)), use=1)
        other = next(rank for rank in range(8) if rank not in seats.delegates)
        opened = run(self.SPEC, words, {other: Tamper(step=WORDS, delta=2**50)})
        number = seats.group_of(other)
        means = torch.tensor([each for j, each in enumerate(python_means(self.SPEC, words)[0]) if j != number])
        assert bool((opened.sums[0] >= 2 * means.min(dim=0).values).all())
        assert bool((opened.sums[0] <= 2 * means.max(dim=0).values).all())
        assert not torch.equal(opened.sums, protocol.reference(words).sums)

    def test_where_members_deviate_nothing_is_promised(self) -> None:
        conditions = conditions_under(self.SPEC, deviating=True)
        assert bool(conditions.tainted(8, np.array([1]), np.array([0]))[0])


class TestConditions:
    def test_they_are_the_worst_of_all_outcomes(self) -> None:
        """Every coalition and every set of Byzantine members of seven, in groups of 3, 2 and 2, over ten draws."""
        protocol = made(hidden(group_size=2))
        conditions, nobody = protocol.conditions, frozenset[int]()
        worst = dict.fromkeys(range(8), True)
        right = dict.fromkeys(range(8), True)
        for numbers in range(2**7):
            members = frozenset(rank for rank in range(7) if numbers >> rank & 1)
            for use in range(1, 11):
                worst[len(members)] &= protocol.outcome(7, nobody, nobody, members, use=use).private
                right[len(members)] &= protocol.outcome(7, members, nobody, nobody, use=use).correct
        for a in range(8):
            assert worst[a] == (not conditions.exposed(7, np.array([a]), np.array([0]))[0]), a
            assert right[a] == (not conditions.tainted(7, np.array([a]), np.array([0]))[0]), a

    @pytest.mark.parametrize(("group_size", "levels", "parties"), [(1, [2], 7), (2, [2], 12), (1, [2, 2], 12)])
    def test_with_levels_no_fewer_than_the_smallest_exposing_coalition_learn_an_input(
        self, group_size: int, levels: list[int], parties: int
    ) -> None:
        """All coalitions of that size and of one less, over thirty draws; the weakest step counts."""
        protocol, nobody = made(hidden(group_size=group_size, levels=levels)), frozenset[int]()
        smallest = protocol.formation(parties=parties).smallest_exposing
        for size, expected in ((smallest - 1, False), (smallest, True)):
            exposed = any(
                not protocol.outcome(parties, nobody, nobody, frozenset(coalition), use=use).private
                for coalition in combinations(range(parties), size)
                for use in range(1, 31)
            )
            assert exposed is expected
        assert smallest > min(rung.threshold for rung in protocol.formation(parties=parties).rungs)

    def test_every_step_says_its_threshold(self) -> None:
        rungs = made(hidden(group_size=4, levels=[3], delegates=5)).formation(parties=60).rungs
        assert [(rung.holders, rung.threshold) for rung in rungs] == [
            ("members of a group", 3),
            ("holders of a sum of level 1", 2),
            ("delegates", 2),
        ]

    def test_equal_protocols_have_equal_conditions(self) -> None:
        assert made(hidden()).conditions == made(hidden()).conditions
        assert made(hidden()).conditions != made(hidden(delegates=5)).conditions

    def test_delegates_are_of_different_groups_and_drawn_uniformly(self) -> None:
        """Of 4 groups of 2, 3 delegates in 2000 draws: chi-squared of 8 counts, 7 degrees, above 60: P < 2e-10.

        Members of one draw exclude each other, which only lowers the statistic.
        """
        protocol, counts = made(hidden(group_size=2)), Counter[int]()
        for use in range(2000):
            delegates = protocol.seats(parties=8, present=frozenset(range(8)), use=use).delegates
            assert len({rank // 2 for rank in delegates}) == 3
            counts.update(delegates)
        assert sum((count - 750) ** 2 / 750 for count in (counts[rank] for rank in range(8))) < 60


class TestRefusals:
    @pytest.mark.parametrize(
        ("parameters", "parties", "message"),
        [
            ({}, 8, "leave 2 of 8 members; allowed: at least delegates = 3 groups, so 9 members"),
            ({"levels": [2]}, 17, "groups of at least 6 members leave 2 of 17 members"),
            ({"outer": "trimmed_mean", "tolerate": 2, "group_size": 1}, 4, "tolerate = 2 at each end leaves nothing"),
            ({"delegate_threshold": "g-1"}, 9, "threshold = 2 of 3 parties is not allowed"),
        ],
    )
    def test_what_does_not_fit_is_refused_before_anything_is_sent(
        self, parameters: dict[str, Any], parties: int, message: str
    ) -> None:
        threads = InProcessParties(parties)
        with pytest.raises(CloisterError, match=message):
            threads.open_sums(hidden(**parameters), words_of(parties))
        assert not threads.transcripts

    @pytest.mark.parametrize(
        "parameters",
        [{"outer": "medoid"}, {"delegates": 2}, {"delegate_threshold": "n/2"}, {"group_size": 0}, {"levels": [1]}],
    )
    def test_parameters_that_mean_nothing_are_refused(self, parameters: dict[str, Any]) -> None:
        with pytest.raises(CloisterError, match=next(iter(parameters)) if "outer" not in parameters else "medoid"):
            made(hidden(**parameters))


class TestSecrecy:
    """All randomness modulo 2 of a group of three among three delegates, one of them its own: exact distributions."""

    SEATS = Seats(
        groups=((0, 1, 2), (3,), (4,)),
        sums=((0, 1, 2), (3,), (4,)),
        delegates=(0, 3, 4),
        access=Access(parties=3, threshold=1),
        leaves=((0, 1, 2), (3,), (4,)),
    )
    INPUTS = tuple(product((0, 1), repeat=3))

    def views(self, coalition: Sequence[int]) -> dict[tuple[int, ...], NDArray[np.int64]]:
        """What the coalition hears, for all digits of the group's others, sorted, by the group's inputs."""
        return {inputs: views_of(self.SEATS, inputs, coalition) for inputs in self.INPUTS}

    @pytest.mark.parametrize("coalition", [(3,), (0, 1), (0,), (1, 2)])
    def test_up_to_the_threshold_of_delegates_learn_nothing_even_with_all_but_one_of_the_group(
        self, coalition: tuple[int, ...]
    ) -> None:
        assert equal_where(self.views(coalition), lambda inputs: tuple(inputs[rank] for rank in coalition if rank < 3))

    @pytest.mark.parametrize("coalition", [(3, 4), (0, 3)])
    def test_more_delegates_learn_the_sum_and_nothing_else(self, coalition: tuple[int, ...]) -> None:
        views = self.views(coalition)
        own = [rank for rank in coalition if rank < 3]
        known = [(tuple(inputs[rank] for rank in own), sum(inputs) % 2) for inputs in self.INPUTS]
        places = dict(zip(self.INPUTS, known, strict=True))
        assert equal_where(views, lambda inputs: places[inputs])
        assert not equal_where(views, lambda inputs: places[inputs][0])

    NODE = Seats(
        groups=((0, 3), (6,), (7,)),
        sums=((0, 1, 2, 3, 4, 5), (6,), (7,)),
        delegates=(0, 6, 7),
        access=Access(parties=3, threshold=1),
        leaves=((0, 1, 2), (3, 4, 5), (6,), (7,)),
        rises=(
            (
                Rise(children=((0, 1, 2), (3, 4, 5)), sums=((0, 1, 2), (3, 4, 5)), holders=(0, 3)),
                Rise(children=((6,),), sums=((6,),), holders=(6,)),
                Rise(children=((7,),), sums=((7,),), holders=(7,)),
            ),
        ),
    )
    """Two groups of three, added to one sum by members 0 and 3, which goes to the delegates 0, 6 and 7."""

    @pytest.mark.parametrize(
        ("coalition", "learned"), [((0, 1), ()), ((3, 6), ()), ((6, 7), ((0, 1, 3, 4),)), ((0, 3), ((0, 1), (3, 4)))]
    )
    def test_levels_tell_all_holders_of_a_node_its_parts_and_delegates_the_whole(
        self, coalition: tuple[int, ...], learned: tuple[tuple[int, ...], ...]
    ) -> None:
        """Members 2 and 5 send zero."""
        views = {
            inputs: views_of(self.NODE, inputs, coalition)
            for inputs in ((a, b, 0, c, d, 0) for a, b, c, d in product((0, 1), repeat=4))
        }

        def known(inputs: Key) -> object:
            own = tuple(inputs[rank] for rank in coalition if rank < 6)
            return own, tuple(sum(inputs[rank] for rank in sums) % 2 for sums in learned)

        assert equal_where(views, known)
        assert not learned or not equal_where(views, lambda inputs: known(inputs)[0])  # type: ignore[index]

    def test_a_node_of_one_part_shows_its_holder_that_part(self) -> None:
        """So a level has two parts a node or more."""
        alone = Rise(children=((0, 1, 2),), sums=((0, 1, 2),), holders=(0,))
        others = tuple(Rise(children=((rank,),), sums=((rank,),), holders=(rank,)) for rank in (3, 4))
        seats = replace(self.SEATS, groups=((0,), (3,), (4,)), rises=((alone, *others),))
        assert not equal_where(
            {inputs: views_of(seats, inputs, (0,)) for inputs in self.INPUTS}, lambda inputs: inputs[0]
        )

    def test_words_without_a_share_of_zero_are_seen(self) -> None:
        """The delegate that serves the group then reads each member's word with one more."""

        def bare(self: object, group: object, *, onto: Tensor, **_: object) -> Tensor:
            return onto

        with mock.patch("protocols.zero_sharing.ZeroShares.draw_among", bare):
            assert not equal_where(self.views((0, 3)), lambda inputs: (inputs[0], sum(inputs) % 2))

    def test_a_seed_that_one_delegate_gets_of_every_set_is_seen(self) -> None:
        with mock.patch.object(Access, "held", lambda self, rank: tuple(range(len(self.sets)))):
            assert not equal_where(self.views((3,)), lambda inputs: ())
