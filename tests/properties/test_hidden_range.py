"""Hidden sums of inputs that are shown to be in range: no sum wraps around, so that noise hides what it should."""

import math
from itertools import combinations, pairwise
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from protocols.check import CloisterError
from protocols.faults import Crash
from protocols.hidden_sums import _noise, _resharing
from protocols.hidden_sums._exposure import exposes_whoever_serves
from protocols.hidden_sums._resharing import Seats
from protocols.hidden_sums.hidden import Hidden
from protocols.playable import cluster_protocols
from protocols.registry import Spec
from protocols.secure_robust._engine import Shared
from protocols.secure_sum import Party
from tests.hidden import hidden, made, run, words_of

HOSTILE = (-(2**63), 2**63 - 1, 2**47, -(2**47), 46_341, 65_536, 46_341 << 16, 65_536 << 16, 2**62, -(2**62))


def checked(**parameters: Any) -> Spec:
    return hidden(**{"group_size": 2, "input_check": "range", **parameters})


class TestReference:
    @settings(max_examples=max(3, settings.default.max_examples // 8))
    @given(data=st.data())
    def test_the_opened_words_who_is_in_them_and_the_cost_are_what_is_said(self, data: st.DataObject) -> None:
        outer = data.draw(st.sampled_from(["mean", "median", "trimmed_mean", "krum"]))
        spec, parties = checked(outer=outer), data.draw(st.integers(10, 11))
        words = words_of(parties, 2, data.draw(st.sampled_from([1, 3, 65])), seed=data.draw(st.integers(0, 9)))
        edge = 1 << made(spec).limit(parties=parties)
        for _ in range(data.draw(st.integers(0, 3))):
            place = data.draw(st.integers(0, 1)), data.draw(st.integers(0, parties - 1)), 0
            words[place] = data.draw(st.sampled_from([*HOSTILE, edge, edge - 1, -edge, -edge - 1]))
        opened, expected = run(spec, words), made(spec).reference(words)
        assert torch.equal(opened.sums, expected.sums)
        assert opened.kept is not None
        assert expected.kept is not None
        assert torch.equal(opened.kept, expected.kept)
        if bool(opened.kept.all()):
            assert opened.traffic == made(spec).cost(parties=parties, clusters=2, coordinates=words.shape[2])

    @pytest.mark.parametrize("outer", ["mean", "median", "trimmed_mean", "krum"])
    def test_where_all_pass_the_cost_is_the_formula_and_the_words_are_those_without_a_check(self, outer: str) -> None:
        words = words_of(11, 2, 70)
        opened, plain = run(checked(outer=outer), words), run(checked(outer=outer, input_check="none"), words)
        assert torch.equal(opened.sums, plain.sums)
        assert opened.traffic == made(checked(outer=outer)).cost(parties=11, clusters=2, coordinates=70)
        # 2 x 11 members' 70 coordinates in two words of 64 lanes, beside what the rule compares
        assert opened.traffic.comparisons - plain.traffic.comparisons == 2 * 11 * 2 * 64

    def test_a_member_that_is_gone_and_one_that_does_not_pass_each_cost_their_group(self) -> None:
        spec, words = checked(), words_of(10)
        words[0, 5, 2] = 2**62
        opened = run(spec, words, {0: Crash(step=0)})
        left = [rank for rank in range(2, 10) if rank not in (4, 5)]
        assert opened.contributors == tuple(range(2, 10))
        assert opened.suspects == {5}
        assert opened.kept is not None
        assert opened.kept.tolist() == [[rank in left for rank in range(2, 10)]]
        unchecked = made(checked(input_check="none")).reference(words[:, left])
        assert torch.equal(opened.sums, unchecked.sums)

    def test_whoever_does_not_pass_is_named_and_nobody_else(self) -> None:
        words = words_of(8)
        edge = 1 << made(checked()).limit(parties=8)
        for word in (*HOSTILE, edge, edge - 1, -edge, -edge - 1):
            words[0, 3, 1] = word
            opened = run(checked(), words)
            assert opened.suspects == (frozenset() if -edge <= word < edge else {3})

    def test_a_delegate_that_lies_has_an_honest_member_named_as_documented(self) -> None:
        """It adds 2^62 to the rest of another member's words, before it hands that to the other delegates."""
        spec, words = checked(), words_of(8)
        seats = made(spec).seats(parties=8, present=frozenset(range(8)), use=1).one_by_one
        liar = seats.delegates[0]
        victim = next(seats.sums[number][0] for number in seats.served(liar) if seats.sums[number] != (liar,))
        original = _resharing._as_delegate

        def lying(party: Party, seats: Seats, seeds: dict[int, Tensor], rests: Tensor) -> Shared:
            if party.rank == liar:
                rests = rests.clone()
                rests[:, seats.served(liar).index(seats.group_of(victim))] += 2**62
            return original(party, seats, seeds, rests)

        with mock.patch.object(_resharing, "_as_delegate", lying):
            opened = run(spec, words)
        assert opened.suspects == {victim}
        assert opened.kept is not None
        group = next(group for group in made(spec).groups_of(parties=8) if victim in group)
        assert opened.kept.tolist() == [[rank not in group for rank in range(8)]]
        assert run(spec, words).suspects == frozenset()

    def test_nothing_opens_of_fewer_groups_than_there_are_delegates(self) -> None:
        words = words_of(8, 2)
        words[1, [0, 3], 0] = 2**62
        opened = run(checked(), words)
        assert opened.kept is not None
        assert opened.kept.tolist() == [[True] * 8, [False] * 8]
        assert not opened.sums[1].any()
        plain = made(checked()).reference(words)
        assert not made(checked()).decode(plain, parties=8)[1].any()

    def test_a_group_that_does_not_pass_counts_as_one_that_the_rule_withstands(self) -> None:
        """Of five groups one is left out: of the four others none is, at each end, where one was to be tolerated."""
        spec, words = checked(outer="trimmed_mean", tolerate=1), words_of(10)
        words[0, 0, 0] = 2**62
        sums = words[:, 2:].view(1, 4, 2, 3).sum(dim=2)
        assert torch.equal(run(spec, words).sums, sums.sum(dim=1))
        decoded = made(spec).decode(made(spec).reference(words), parties=10)
        assert torch.equal(decoded, sums.sum(dim=1).double() / 2**16 / 8)


SHIFT, RING = 57, 128
"""Multiples of 2^57 are a ring of 128 numbers, in which three groups of two have the range -4 .. 3: 2^59 over 2^57."""


def results_of(spec: Spec) -> tuple[list[list[int]], list[list[list[bool]]]]:
    """The opened numbers and who is in them, by what member 1 enters (all of the ring) and member 0 (neighbours)."""
    entered = torch.arange(RING) - RING // 2
    honest = torch.tensor([-4, -3, -2, 3])
    words = torch.zeros(RING, 4, 6, dtype=torch.int64)
    words[:, :, 1], words[:, :, 0] = entered[:, None], honest[None, :]
    words[:, :, 2:] = torch.tensor([-4, -4, 3, 3])
    opened = run(spec, (words << SHIFT).view(-1, 6, 1))
    kept = torch.ones(len(opened.sums), 6, dtype=torch.bool) if opened.kept is None else opened.kept
    return (opened.sums >> SHIFT).view(RING, 4).tolist(), kept.view(RING, 4, 6).tolist()


def worst_ratio(results: list[list[int]]) -> int:
    """The largest ratio of probabilities of an outcome under neighbouring inputs of member 0, exactly, rounded up.

    Noise is the two-sided geometric distribution with ratio 1 / 2, which has epsilon = log 2 for a change by one:
    P(k) is proportional to the sum of 2^-|k + 128 j| over all j, so to 2^(128 - k) + 2^k for k = 0 .. 127.
    """
    weights = [2 ** (RING - k) + 2**k for k in range(RING)]
    worst = 1
    for row in results:
        for here, there in pairwise(row[:3]):
            for outcome in range(RING):
                p, q = weights[(outcome - here) % RING], weights[(outcome - there) % RING]
                worst = max(worst, -(-p // q), -(-q // p))
    return worst


class TestExactPrivacy:
    """One Byzantine member tries every word of a tiny ring beside an honest one; everything is enumerated."""

    def test_with_the_check_noise_has_exactly_its_epsilon_whatever_a_member_enters(self) -> None:
        results, kept = results_of(checked())
        assert worst_ratio(results) == 2
        # Who passes does not depend on what honest members have: so neither does anything else that opens.
        assert all(flags == row[0] for row in kept for flags in row)
        passing = [row[0][1] for row in kept]
        assert passing == [-4 <= word < 4 for word in range(-RING // 2, RING // 2)]

    def test_without_the_check_it_has_not(self) -> None:
        """From the largest sum to the smallest, so that the median goes from one other group to the other."""
        results, _ = results_of(checked(input_check="none"))
        assert worst_ratio(results) > 2**6

    def test_a_sum_that_opens_changes_by_what_its_member_does_where_inputs_are_checked(self) -> None:
        """Of three members the range is -2^60 .. 2^60 - 1; noise comes after the sum, as a number."""
        words = torch.zeros(2**7, 2, 3, dtype=torch.int64)
        words[:, 1, 0] = 1
        words[:, :, 1] = (torch.arange(2**7) - 2**6)[:, None]
        words[:, :, 2] = 1
        found = {}
        for name in ("range_check", "additive"):
            opened = run(cluster_protocols.resolve(name), (words << SHIFT).view(-1, 3, 1)).sums.view(-1, 2)
            found[name] = max(abs(int(there) - int(here)) >> SHIFT for here, there in opened.tolist())
        assert found == {"range_check": 1, "additive": 2**7 - 1}


class TestNoise:
    def test_noise_opens_with_every_part_of_a_batch(self) -> None:
        """Two clusters lose other groups than the third: three parts, each with a share of each delegate's."""
        spec, words = checked(noise_std=0.01), words_of(10, 3)
        words[1, 0, 0] = words[2, 5, 1] = 2**62
        shares: list[Tensor] = []
        original = _noise.share_of_noise

        def kept(*given: Any) -> Tensor:
            shares.append(original(*given))
            return shares[-1]

        with mock.patch("protocols.hidden_sums._combining.share_of_noise", kept):
            opened = run(spec, words)
        apart = opened.sums - made(spec).reference(words).sums
        assert len(shares) == 9
        bound = made(spec).noise_bound(parties=10)
        assert bool((apart != 0).all())
        assert bool((apart.abs() <= bound).all())
        assert torch.equal(apart.sum(dim=0), sum(share.sum(dim=0) for share in shares))
        assert len({tuple(share.flatten().tolist()) for share in shares}) == 9


def kept_by_failing(protocol: Hidden, *, parties: int) -> dict[frozenset[int], frozenset[int]]:
    """Return whose words are in what opens, by who does not pass: for all sets of members, of the reference."""
    sets = [frozenset(chosen) for size in range(parties) for chosen in combinations(range(parties), size)]
    words = torch.zeros(len(sets), parties, 1, dtype=torch.int64)
    for number, failing in enumerate(sets):
        words[number, list(failing)] = 2**63 - 1
    flags = protocol.reference(words).kept
    assert flags is not None
    rows: list[list[bool]] = flags.tolist()
    inside = [frozenset(rank for rank, there in enumerate(row) if there) for row in rows]
    return {failing: opened for failing, opened in zip(sets, inside, strict=True) if opened}


class TestExposure:
    def test_more_than_t2_delegates_learn_every_input_and_no_others_any(self) -> None:
        protocol, everybody = made(checked()), frozenset(range(8))
        delegates = protocol.seats(parties=8, present=everybody, use=4).delegates
        for size in range(8):
            for chosen in combinations(range(8), size):
                colluding = frozenset(chosen)
                found = protocol.exposed(parties=8, contributors=everybody, colluding=colluding, use=4)
                assert found == (everybody - colluding if len(colluding & set(delegates)) > 1 else frozenset())

    def test_a_coalition_learns_what_a_mean_of_the_groups_that_it_leaves_in_tells(self) -> None:
        """All coalitions of eight members, and all ways to have groups left out, of what the reference opens.

        Whoever is told is the one honest member of an opened total: its word follows, and no other honest one's does.
        """
        protocol, everybody, use = made(checked(outer="mean")), frozenset(range(8)), 6
        groups = protocol.groups_of(parties=8)
        delegates = set(protocol.seats(parties=8, present=everybody, use=use).delegates)
        kept = kept_by_failing(protocol, parties=8)
        seen = {"safe": 0, "told": 0}
        for size in range(8):
            for chosen in combinations(range(8), size):
                colluding = frozenset(chosen)
                if len(colluding & delegates) > 1:
                    continue
                alone = [inside - colluding for failing, inside in kept.items() if failing <= colluding]
                told = {rank for rest in alone if len(rest) == 1 for rank in rest}
                found = protocol.exposed(parties=8, contributors=everybody, colluding=colluding, use=use)
                assert found == told, chosen
                assert not told or protocol.exposes(groups, colluding), chosen
                said = protocol.outcome(8, colluding, frozenset(), frozenset(), use=use)
                assert said.private is not bool(told), chosen
                # The curious enter what passes: nothing but the total of all opens, and two others are in it at least.
                assert protocol.outcome(8, frozenset(), frozenset(), colluding, use=use).private, chosen
                seen["told" if told else "safe"] += 1
        assert min(seen.values()) > 0

    def test_a_member_that_does_not_pass_has_the_mean_tell_one_honest_input(self) -> None:
        """Six collude, of whom one is a delegate: 0 and 6 are honest, and the word of 0 is what these compute."""
        protocol, colluding, words = made(checked(outer="mean")), frozenset({1, 2, 3, 4, 5, 7}), words_of(8)
        assert len(colluding & set(protocol.seats(parties=8, present=frozenset(range(8)), use=6).delegates)) == 1
        expected = words[0, 0].clone()
        words[0, 7, 0] = 2**63 - 1
        opened = run(checked(outer="mean"), words)
        assert torch.equal(opened.sums[0] - words[0, 1:6].sum(dim=0), expected)
        assert protocol.exposed(parties=8, contributors=range(8), colluding=colluding, use=6) == {0, 6}

    @pytest.mark.parametrize("parties", [6, 7, 8])
    def test_whom_a_coalition_may_leave_alone_whoever_serves_is_what_some_choice_of_inputs_leaves(
        self, parties: int
    ) -> None:
        """Where no delegates' knowledge counts: `enough` is more than ever serve."""
        protocol = made(checked(outer="mean"))
        formation, kept = protocol.formation(parties=parties), kept_by_failing(protocol, parties=parties)
        for size in range(parties):
            for chosen in combinations(range(parties), size):
                colluding = frozenset(chosen)
                alone = any(len(inside - colluding) == 1 for failing, inside in kept.items() if failing <= colluding)
                assert exposes_whoever_serves(formation, colluding, enough=parties, shows_total=True) is alone, chosen
                assert not exposes_whoever_serves(formation, colluding, enough=parties, shows_total=False)

    def test_whoever_serves_two_members_of_two_groups_may(self) -> None:
        protocol, groups = made(checked()), [(0, 1), (2, 3), (4, 5)]
        assert protocol.exposes(groups, {0, 2})
        assert not protocol.exposes(groups, {0, 1})
        assert not made(checked(input_check="none", group_size=3)).exposes([(0, 1, 2), (3, 4, 5), (6, 7, 8)], {0, 3})
        formation = protocol.formation(parties=8)
        assert formation.smallest_exposing == 2
        assert [(rung.holders, rung.threshold) for rung in formation.rungs] == [("delegates", 1)]

    def test_outcome_says_what_inputs_do(self) -> None:
        protocol = made(checked())
        seats = protocol.seats(parties=8, present=frozenset(range(8)), use=1)
        curious = frozenset(seats.delegates[:2])
        assert not protocol.outcome(8, frozenset(), frozenset(), curious).private
        assert protocol.outcome(8, frozenset({0}), frozenset(), frozenset()).live
        said = protocol.outcome(8, frozenset({0, 2}), frozenset(), frozenset())
        assert not said.live  # two of four groups may be left out, and three delegates need three


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"input_check": "squares"}, "input_check"),
        ({"levels": [2]}, r"levels = \[2\] add up sums within a group.* allowed: no levels"),
    ],
)
def test_what_does_not_go_together_is_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(CloisterError, match=message):
        made(checked(**parameters))


@pytest.mark.parametrize("parties", [6, 7, 11])
def test_no_sum_of_words_in_range_is_beyond_half_of_the_ring(parties: int) -> None:
    """Whatever the rule adds up: all groups' sums, each weighted up to the common multiple of their sizes."""
    protocol = made(checked())
    sizes = [len(group) for group in protocol.groups_of(parties=parties)]
    weighted = sum(size * math.lcm(*sizes) // size for size in sizes)
    assert weighted << protocol.limit(parties=parties) <= 2**62
    assert weighted << (protocol.limit(parties=parties) + 1) > 2**62 or weighted & (weighted - 1)
