"""Sums of group sums that nobody sees: exact over their contributors, and no group's sum shown below the thresholds."""

import itertools
import os
from collections import Counter
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protocols.check import CloisterError
from protocols.faults import Combined, Crash, Delay, Fault, Mute, Tamper
from protocols.field import MERSENNE_61
from protocols.in_process import InProcessParties
from protocols.network import BOARD, CheatingDetectedError, NetworkError, TooFewPartiesError
from protocols.parties import OpenedSums
from protocols.party_pool import PartyPool
from protocols.registry import Spec
from protocols.secure_sum import _delegates, secure_sums
from protocols.secure_sum._sharing import PolynomialSharing
from protocols.secure_sum.hierarchical import Hierarchical
from tests import field_sums
from tests.examples import examples
from tests.field_sums import HALF, WORDS, run, sum_of, words_of
from tests.properties._views import coalitions, inputs_of, learns

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
# What a member sends in which exchange: shares, whose it has, (hear,) shares of its share; delegates go on with
# whose they have, (hear,) and the sums.
SHARES, HAVE, SHARES_OF_SHARES, HAVE_ALL, SUMS = 0, 1, 3, 4, 6
STEPS = st.integers(0, SUMS)


def hierarchical(**parameters: object) -> Spec:
    return secure_sums.resolve({"name": "hierarchical", **parameters})


def made(spec: Spec) -> Hierarchical:
    protocol = secure_sums.make(spec)
    assert isinstance(protocol, Hierarchical)
    return protocol


def assert_exact(opened: OpenedSums, words: torch.Tensor, faulty: frozenset[int] = frozenset()) -> None:
    """The sum is that of its contributors, nobody honest is missing, and nobody at all is named."""
    field_sums.assert_exact(opened, words, faulty)
    assert not opened.suspects


def delegates_of(spec: Spec, parties: int) -> tuple[int, ...]:
    """Of the first batch of a pool."""
    return made(spec).delegates_of(parties=parties, use=1)


def ends_of_groups(spec: Spec, parties: int) -> list[int]:
    """The first and the last member that is a delegate, and that is none."""
    delegates = delegates_of(spec, parties)
    others = [rank for rank in range(parties) if rank not in delegates]
    return [delegates[0], delegates[-1], others[0], others[-1]]


@st.composite
def hierarchies(draw: st.DrawFn) -> tuple[Spec, int]:
    group_size = draw(st.integers(1, 4))
    parties = draw(st.integers(2 * group_size, max(8, 2 * group_size)))
    groups = parties // group_size
    parameters: dict[str, object] = {"sharing": "additive"}
    if draw(st.booleans()):
        parameters = {"threshold": str(draw(st.integers(0, group_size - 1)))}
    t2 = draw(st.integers(0, groups - 1))
    return hierarchical(group_size=group_size, delegate_threshold=str(t2), **parameters), parties


class TestWithoutFaults:
    @examples(2)
    @given(chosen=hierarchies(), data=st.data())
    def test_it_opens_the_sum_of_python_integers_at_the_cost_of_its_formula(
        self, chosen: tuple[Spec, int], data: st.DataObject
    ) -> None:
        spec, parties = chosen
        clusters, coordinates = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 5))
        count = clusters * parties * coordinates
        words = torch.tensor(data.draw(st.lists(WORDS, min_size=count, max_size=count))).view(clusters, parties, -1)
        opened = run(spec, words, schedule=data.draw(st.integers(0, 99)))
        assert_exact(opened, words)
        assert opened.contributors == tuple(range(parties))
        assert opened.traffic == made(spec).cost(parties=parties, clusters=clusters, coordinates=coordinates)

    @pytest.mark.parametrize("sharing", ["shamir", "additive"])
    def test_processes_open_the_same_words_at_the_same_cost(self, sharing: str, pool: PartyPool) -> None:
        spec, words = hierarchical(sharing=sharing), words_of(8)
        ours, theirs = run(spec, words), pool.open_sums(spec, words)
        assert torch.equal(ours.sums, theirs.sums)
        assert (ours.contributors, ours.traffic) == (theirs.contributors, theirs.traffic)

    @pytest.mark.parametrize("sharing", ["shamir", "additive"])
    def test_small_fields_add_as_well(self, sharing: str) -> None:
        for modulus, group_size in ((5, 2), (7, 3), (2**31 - 1, 4)):
            spec = hierarchical(sharing=sharing, group_size=group_size, modulus=modulus, fraction_bits=0)
            words = words_of(8)
            assert run(spec, words).sums.tolist() == sum_of(words, tuple(range(8)), modulus)

    def test_a_sum_of_nine_members_costs_the_published_bytes(self) -> None:
        """Three groups: 9 * 2 messages in the groups, 3 * 8 to the delegates, 3 sums; all with all would be 9 * 8."""
        cost = run(hierarchical(), torch.zeros(1, 9, 1000, dtype=torch.int64)).traffic
        assert cost.mpc.payload_bytes == (9 * 2 + 3 * 8) * 8000
        assert cost.upload.payload_bytes == 3 * 8000 + 2 * 9 * 9 + 2 * 3 * 9 + 9 * 32
        assert (cost.mpc.rounds, cost.upload.rounds) == (2, 5)

    def test_groups_are_balanced_and_hold_everybody_once(self) -> None:
        for group_size, parties in itertools.product(range(1, 5), range(8, 30)):
            groups = made(hierarchical(group_size=group_size)).groups_of(parties=parties)
            assert [rank for group in groups for rank in group] == list(range(parties))
            sizes = {len(group) for group in groups}
            assert min(sizes) >= group_size
            assert max(sizes) - min(sizes) <= 1

    def test_each_group_has_one_delegate_drawn_anew_uniformly_and_publicly(self) -> None:
        """All 9 pairs of two groups of three in 3600 batches: chi-squared with 8 degrees above 60: P < 5e-10."""
        protocol = made(hierarchical())
        draws = [protocol.delegates_of(parties=6, use=use) for use in range(3600)]
        assert draws == [protocol.delegates_of(parties=6, use=use) for use in range(3600)]
        counts = Counter(draws)
        assert set(counts) == set(itertools.product(range(3), range(3, 6)))
        assert sum((count - 400) ** 2 / 400 for count in counts.values()) < 60


class TestCrashes:
    SPEC = hierarchical()
    """Groups of three with t1 = 1; of nine members, three delegates with t2 = 1: each may lose one."""

    # A delegate and a member that is none, of the first and of the last group; all others at night.
    @pytest.mark.parametrize("rank", range(9) if NIGHTLY else ends_of_groups(hierarchical(), 9))
    def test_a_crash_at_any_place_and_step_leaves_out_at_most_the_crashed_member(self, rank: int) -> None:
        words, seen = words_of(9), set()
        for step, after in itertools.product(range(SUMS + 1), (None, 1, 2)):
            opened = run(self.SPEC, words, {rank: Crash(step=step, after=after)})
            assert_exact(opened, words, frozenset({rank}))
            seen.add(opened.contributors)
        assert seen == {tuple(each for each in range(9) if each != rank), tuple(range(9))}

    @examples(1.5)
    @given(data=st.data())
    def test_any_tolerated_crashes_and_delays_leave_the_sum_exact(self, data: st.DataObject) -> None:
        words, ranks = words_of(9), data.draw(st.sets(st.integers(0, 8), max_size=4))
        kinds = st.one_of(
            st.builds(Crash, step=STEPS, after=st.one_of(st.none(), st.integers(1, 3))),
            st.builds(Delay, step=STEPS, seconds=st.sampled_from([1.0, 1e6])),
        )
        faults = {rank: data.draw(kinds) for rank in sorted(ranks)}
        verdict = made(self.SPEC).outcome(9, frozenset(), frozenset(ranks), frozenset())
        try:
            opened = run(self.SPEC, words, faults, schedule=data.draw(st.integers(0, 99)))
        except TooFewPartiesError:
            assert not verdict.live
        else:
            assert_exact(opened, words, frozenset(ranks))

    def test_members_that_crash_before_they_share_are_left_out_consistently(self) -> None:
        words = words_of(9)
        delegates = delegates_of(self.SPEC, 9)
        gone = [next(rank for rank in group if rank not in delegates) for group in ((0, 1, 2), (3, 4, 5), (6, 7, 8))]
        opened = run(self.SPEC, words, {rank: Crash(step=SHARES) for rank in gone})
        assert_exact(opened, words, frozenset(gone))
        assert opened.contributors == tuple(rank for rank in range(9) if rank not in gone)

    def test_a_member_that_reached_part_of_its_group_is_left_out(self) -> None:
        words = words_of(9)
        opened = run(self.SPEC, words, {4: Crash(step=SHARES, after=1)})
        assert_exact(opened, words, frozenset({4}))
        assert 4 not in opened.contributors

    def test_a_share_that_reached_part_of_the_delegates_is_left_out_and_not_the_input(self) -> None:
        words = words_of(9)
        rank = next(rank for rank in range(9) if rank not in delegates_of(self.SPEC, 9))
        opened = run(self.SPEC, words, {rank: Crash(step=SHARES_OF_SHARES, after=1)})
        assert_exact(opened, words)
        assert rank in opened.contributors

    def test_a_group_that_wholly_crashed_before_it_shared_is_not_waited_for(self) -> None:
        words, spec = words_of(9), hierarchical(delegate_threshold="1")
        opened = run(spec, words, {rank: Crash(step=SHARES) for rank in (3, 4, 5)})
        assert_exact(opened, words, frozenset({3, 4, 5}))

    def test_one_holder_too_few_of_a_group_is_an_error(self) -> None:
        words, faults = words_of(9), {rank: Crash(step=SHARES_OF_SHARES) for rank in (3, 4)}
        with pytest.raises(TooFewPartiesError, match=r"parties \[5\] of the group \(3, 4, 5\) are left; .* at least 2"):
            run(self.SPEC, words, faults)

    def test_one_delegate_too_few_is_an_error(self) -> None:
        words, delegates = words_of(9), delegates_of(self.SPEC, 9)
        faults: dict[int, Fault] = {rank: Crash(step=SUMS) for rank in delegates[:2]}
        with pytest.raises(TooFewPartiesError, match="are left; allowed: at least 2"):
            run(self.SPEC, words, faults)
        faults.pop(delegates[0])
        assert_exact(run(self.SPEC, words, faults), words)

    def test_additive_groups_need_everybody(self) -> None:
        spec, words = hierarchical(sharing="additive"), words_of(9)
        with pytest.raises(TooFewPartiesError, match="of the group"):
            run(spec, words, {0: Crash(step=SHARES)})

    def test_a_sum_of_fewer_inputs_than_a_coalition_and_two_is_withheld(self) -> None:
        """Invariant I17, also after dropouts: T = min(t1, t2) = 1, so three inputs are needed."""
        spec, words = hierarchical(group_size=2, threshold="0", delegate_threshold="1", least_honest=3), words_of(6)
        assert_exact(run(spec, words), words)
        delegates = delegates_of(spec, 6)
        gone = [rank for rank in range(6) if rank not in delegates]
        assert_exact(run(spec, words, {rank: Crash(step=SHARES) for rank in gone}), words, frozenset(gone))
        tight = hierarchical(group_size=2, threshold="0", delegate_threshold="1", least_honest=4)
        threads = InProcessParties(6, faults={rank: Crash(step=SHARES) for rank in gone})
        with pytest.raises(TooFewPartiesError, match="at least 4 inputs in a sum that opens"):
            threads.open_sums(tight, words)
        assert not any(each.payload.shape == (2, 3) for each in threads.transcripts[BOARD])

    def test_members_refuse_a_small_sum_whatever_the_board_announces(self) -> None:
        lies = Combined(faults=tuple(Tamper(step=each, delta=1) for each in range(6)))
        threads = InProcessParties(9, faults={BOARD: lies})
        with pytest.raises(NetworkError):
            threads.open_sums(self.SPEC, words_of(9))
        assert not any(each.payload.shape == (2, 3) for each in threads.transcripts[BOARD])


class TestTampering:
    SPEC = hierarchical()

    @pytest.mark.parametrize("rank", [0, 3, 6])
    def test_a_member_that_shares_another_share_changes_the_sum_unseen_as_documented(self, rank: int) -> None:
        """The expected violation: the first t1 + 1 members of a group add its sum, each with its weight."""
        words, delegates = words_of(9), delegates_of(self.SPEC, 9)
        assert not made(self.SPEC).outcome(9, frozenset({rank}), frozenset(), frozenset()).correct
        # A share of the group's sum that is 1 larger: the same is added to what each delegate gets.
        original = _delegates._delegate

        def planted(plan, party, shares, dealers):
            original(plan, party, shares + 1 if party.rank == rank else shares, dealers)

        with mock.patch.object(_delegates, "_delegate", planted):
            opened = run(self.SPEC, words)
        shift = (opened.sums - torch.tensor(sum_of(words, tuple(range(9))))).unique().tolist()
        assert shift == [2], f"the weight of the point 1 among 1 and 2 is 2; delegates are {delegates}"
        assert not opened.suspects

    @examples(1)
    @given(data=st.data())
    def test_a_delegate_that_posts_another_share_is_noticed_where_one_more_is_there(self, data: st.DataObject) -> None:
        words = words_of(9)
        liar = data.draw(st.sampled_from(delegates_of(self.SPEC, 9)))
        word, delta = data.draw(st.integers(0, 5)), data.draw(st.integers(1, MERSENNE_61 - 1))
        with pytest.raises(CheatingDetectedError, match="nothing was opened"):
            run(self.SPEC, words, {liar: Tamper(step=SUMS, delta=delta, word=word)})
        without_spare = hierarchical(delegate_threshold="2")
        opened = run(without_spare, words, {liar: Tamper(step=SUMS, delta=delta, word=word)})
        wrong = [a != b for a, b in zip(opened.sums.flatten(), words.sum(dim=1).flatten(), strict=True)]
        assert wrong == [place == word for place in range(6)]

    @examples(1)
    @given(data=st.data())
    def test_whatever_one_member_sends_it_ends_with_sums_or_a_typed_error(self, data: st.DataObject) -> None:
        peers = st.one_of(st.none(), st.sampled_from([*range(9), BOARD]))
        word = st.one_of(st.none(), st.integers(-20, 20))
        kinds = st.one_of(
            st.builds(Tamper, step=STEPS, delta=st.integers(1, 2**62), to=peers, word=word),
            st.builds(Mute, step=STEPS, to=peers),
        )
        rank = data.draw(st.integers(0, 8))
        try:
            opened = run(self.SPEC, words_of(9), {rank: data.draw(kinds)})
        except (TooFewPartiesError, CheatingDetectedError):
            return
        assert len(opened.contributors) >= 3
        assert not opened.suspects


def learns_of(spec: Spec, parties: int, coalition: tuple[int, ...], most: int) -> bool:
    return learns(spec, parties, coalition, inputs_of(parties, coalition, made(spec).modulus, most=most))


class TestSecrecy:
    """Exact: all values of the randomness, the view of a coalition with the board, distributions compared.

    Inputs with one global sum and different group sums are among those compared.
    """

    @pytest.mark.parametrize("parameters", [{"threshold": "1"}, {"sharing": "additive"}, {"threshold": "0"}])
    @pytest.mark.parametrize("delegate_threshold", ["0", "1"])
    def test_two_groups_of_two_show_more_than_the_global_sum_exactly_above_a_threshold(
        self, parameters: dict[str, str], delegate_threshold: str
    ) -> None:
        spec = hierarchical(
            group_size=2, delegate_threshold=delegate_threshold, modulus=3, fraction_bits=0, **parameters
        )
        t1 = 0 if parameters == {"threshold": "0"} else 1
        delegates = {*delegates_of(spec, 4)}
        for coalition in coalitions(4, range(3)):
            learnt = learns_of(spec, 4, coalition, most=6)
            verdict = made(spec).outcome(4, frozenset(), frozenset(), frozenset(coalition))
            assert learnt != verdict.private, coalition
            groups = [{*coalition} & group for group in ({0, 1}, {2, 3})]
            above_t1 = any(t1 < len(group) < 2 for group in groups)
            # With one whole group in the coalition, the other one's sum is the global sum.
            above_t2 = len({*coalition} & delegates) > int(delegate_threshold) and all(len(g) < 2 for g in groups)
            assert learnt == (above_t1 or above_t2), coalition

    def test_groups_of_three_hide_their_sums_up_to_the_thresholds_and_not_beyond(self) -> None:
        """t1 = t2 = 1 in F_5: one member of each group, at most one of them a delegate; then two of one group."""
        spec = hierarchical(group_size=3, modulus=5, fraction_bits=0)
        first, second = delegates_of(spec, 6)
        plain = next(rank for rank in range(3, 6) if rank != second)
        mate = next(rank for rank in range(3) if rank != first)
        for coalition, expected in (((first, plain), False), ((mate, first, plain), True), ((mate, first), True)):
            ranks = tuple(sorted(coalition))
            one, other = inputs_of(6, ranks, 5, most=1)
            assert sum(one[:3]) % 5 != sum(other[:3]) % 5, "with other group sums"
            assert learns(spec, 6, ranks, [one, other]) == expected, ranks
            assert made(spec).outcome(6, frozenset(), frozenset(), frozenset(ranks)).private != expected

    def test_the_board_alone_sees_one_uniform_polynomial_of_the_global_sum(self) -> None:
        spec = hierarchical(group_size=2, threshold="1", delegate_threshold="1", modulus=3, fraction_bits=0)
        inputs = inputs_of(4, (), 3, most=20)
        group_sums = {(each[0] + each[1]) % 3 for each in inputs if sum(each) % 3 == 1}
        assert group_sums == {0, 1, 2}, "inputs with other group sums and one global sum are compared"
        assert not learns(spec, 4, (), inputs)

    def test_no_message_to_the_board_or_a_delegate_is_a_group_sum(self) -> None:
        """Of 200 words below 2^40 in a field of 2^61 - 1, P(a false alarm) < 10^4 * 2^-61 < 2^-47."""
        words, threads = words_of(9), InProcessParties(9)
        threads.open_sums(hierarchical(), words)
        sums = {word for first in (0, 3, 6) for word in words[:, first : first + 3].sum(dim=1).flatten().tolist()}
        seen = {
            word
            for messages in threads.transcripts.values()
            for message in messages
            if message.payload.dtype == torch.int64
            for word in message.payload.flatten().tolist()
        }
        assert not sums & {word if word <= HALF else word - MERSENNE_61 for word in seen}

    def test_messages_have_the_same_shape_for_all_inputs(self) -> None:
        """Invariant I22."""
        shapes = []
        for value in (0, 2**60):
            threads = InProcessParties(7)
            threads.open_sums(hierarchical(), torch.full((2, 7, 3), value))
            shapes.append(
                {rank: [(m.sender, m.payload.shape) for m in seen] for rank, seen in threads.transcripts.items()}
            )
        assert shapes[0] == shapes[1]


def subsets(ranks: range, most: int) -> list[frozenset[int]]:
    return [frozenset(each) for size in range(most + 1) for each in itertools.combinations(ranks, size)]


class TestVerdicts:
    @pytest.mark.parametrize("parameters", [{"group_size": 2, "threshold": "1"}, {"group_size": 2, "threshold": "0"}])
    def test_crashes_stop_it_exactly_where_the_verdict_says(self, parameters: dict[str, object]) -> None:
        """Invariant I25: every placement of up to two crashes, before all is sent and before sums are."""
        spec, parties = hierarchical(**parameters), 6
        words = words_of(parties, 1, 1)
        for crashed in subsets(range(parties), 2):
            stopped = False
            for step in (SHARES, SHARES_OF_SHARES, HAVE_ALL, SUMS):
                try:
                    opened = run(spec, words, {rank: Crash(step=step) for rank in crashed})
                except TooFewPartiesError:
                    stopped = True
                else:
                    assert_exact(opened, words, crashed)
            verdict = made(spec).outcome(parties, frozenset(), crashed, frozenset())
            assert stopped != verdict.live, sorted(crashed)

    @pytest.mark.parametrize(
        "parameters",
        [
            {},
            {"delegate_threshold": "1"},
            {"group_size": 2, "threshold": "1"},
            {"group_size": 2, "sharing": "additive"},
            {"group_size": 4, "threshold": "2"},
        ],
    )
    def test_the_conditions_are_the_worst_case_of_the_verdicts_over_places(self, parameters: dict[str, object]) -> None:
        parties = 8
        protocol = made(hierarchical(**parameters))
        conditions, nobody = protocol.conditions, frozenset[int]()
        for count in range(parties - 1):
            everywhere = [frozenset(each) for each in itertools.combinations(range(parties), count)]
            # The draw of delegates is part of where members sit.
            uses = range(1, 40)
            exposed = any(
                not protocol.outcome(parties, nobody, nobody, each, use=use).private
                for each in everywhere
                for use in uses
            )
            lost = any(
                not protocol.outcome(parties, nobody, each, nobody, use=use).live for each in everywhere for use in uses
            )
            assert exposed == conditions.exposed(parties, np.array(count), np.array(0)), count
            assert lost == conditions.lost(parties, np.array(0), np.array(count)), count
            assert conditions.scheme.wrong(np.array(count), np.array(0), parties, 0) == (count > 0)
            assert conditions.lost(parties, np.array(1), np.array(count))

    def test_a_cluster_of_one_group_delivers_nothing(self) -> None:
        conditions = made(hierarchical()).conditions
        assert conditions.lost(5, np.array(0), np.array(0))
        assert not conditions.lost(6, np.array(0), np.array(0))
        assert conditions.exposed(2, np.array(0), np.array(0))


@pytest.mark.parametrize(
    ("parameters", "parties", "text"),
    [
        ({}, 5, "group_size = 3 makes one group of 5; allowed: clusters of at least 6"),
        ({"group_size": 7}, 6, "group_size = 7 makes one group of 6; allowed: clusters of at least 14"),
        ({"threshold": "3"}, 6, "threshold = '3' gives 3 for 3 members of a group; allowed: 0 to 2"),
        ({"delegate_threshold": "g"}, 6, "delegate_threshold = 'g' gives 2 for 2 delegates; allowed: 0 to 1"),
        ({"threshold": "c/2"}, 6, "threshold = 'c/2' is not understood; allowed: a number, or n/2"),
        ({"delegate_threshold": "n/2"}, 6, "delegate_threshold = 'n/2' is not understood; allowed: a number, or g/2"),
        ({"sharing": "additive", "threshold": "1"}, 6, "threshold = '1' means nothing to additive sharing"),
        ({"modulus": 3, "fraction_bits": 0}, 6, "modulus = 3 is too small for 3 shares; allowed: a prime above 3"),
        ({"least_honest": 6}, 6, "least_honest = 6 beyond 1 colluding members does not fit clusters of 6; .* 1 to 5"),
        ({"least_honest": 1}, 6, "least_honest = 1 is not allowed; allowed: an integer >= 2"),
        ({"group_size": 0}, 6, "group_size = 0"),
        ({"sharing": "shamri"}, 6, "sharing = 'shamri'"),
    ],
)
def test_a_size_or_parameter_that_does_not_fit_is_refused_before_anything_is_sent(
    parameters: dict[str, object], parties: int, text: str
) -> None:
    threads = InProcessParties(parties)
    with pytest.raises(CloisterError, match=text):
        threads.open_sums(hierarchical(**parameters), words_of(parties))
    assert not any(threads.transcripts.values())


class TestPlantedBugs:
    """Each bug, planted into the real code, makes a check above fail."""

    TINY = hierarchical(group_size=2, threshold="1", delegate_threshold="1", modulus=3, fraction_bits=0)

    @pytest.mark.parametrize("purpose", ["hierarchical shares", "hierarchical shares of shares"])
    def test_shares_of_degree_zero_leak_at_either_level(self, purpose: str) -> None:
        # At level 1 a member of a group sees; at level 2 a delegate does.
        coalition = (delegates_of(self.TINY, 4)[0],)
        assert not learns_of(self.TINY, 4, coalition, most=4)
        original = _delegates._shares

        def planted(party, sharing, secret, count, **labels):
            shares = original(party, sharing, secret, count, **labels)
            return secret[None].repeat(count, 1, 1) if labels["purpose"] == purpose else shares

        with mock.patch.object(_delegates, "_shares", planted):
            assert learns_of(self.TINY, 4, coalition, most=4)

    def test_group_sums_that_are_posted_leak(self) -> None:
        """Delegates that post the weighted shares of each group apart, instead of their sum."""
        original = _delegates._weighted

        def planted(plan, holders):
            return original(plan, [holders[0], *([] for _ in holders[1:])])

        with mock.patch.object(_delegates, "_weighted", planted):
            words = words_of(9)
            opened = run(hierarchical(), words)
        assert opened.sums.tolist() == sum_of(words, (0, 1, 2)), "a group's sum, as the check on sums sees"

    def test_too_few_coefficients_in_a_group_of_three_leak(self) -> None:
        spec = hierarchical(group_size=3, threshold="2", modulus=5, fraction_bits=0)
        sharing = PolynomialSharing(field=made(spec)._plan(1, 6, 1, 1).outer.field, degree=2)
        assert sharing.random_terms == 2
        secrets = torch.tensor([[0], [1]])
        with mock.patch.object(PolynomialSharing, "random_terms", 1):
            drawn = torch.arange(5).view(1, 5, 1)
            seen = [
                sorted(sharing.at(sharing.basis(secret.expand(5, 1), drawn), [0, 1])[:, :, 0].T.tolist())
                for secret in secrets
            ]
        assert seen[0] != seen[1]

    def test_a_board_that_counts_members_which_part_of_a_group_has_is_seen(self) -> None:
        words = words_of(9)
        fault = {4: Mute(step=SHARES, to=3)}
        assert_exact(run(hierarchical(), words, fault), words, frozenset({4}))
        original = _delegates._dealers

        def planted(plan, board):
            _, present = original(plan, board)
            return present, present

        with mock.patch.object(_delegates, "_dealers", planted):
            assert run(hierarchical(), words, fault).sums.tolist() != sum_of(words, tuple(range(9)))

    def test_delegates_that_add_shares_which_part_of_them_has_are_seen(self) -> None:
        spec, words = hierarchical(delegate_threshold="2"), words_of(9)
        delegates = delegates_of(spec, 9)
        rank = next(first for first in (0, 3, 6) if first not in delegates)  # one of those that a group is added from
        fault = {rank: Mute(step=SHARES_OF_SHARES, to=delegates[0])}
        assert_exact(run(spec, words, fault), words)
        original = _delegates._reached

        def planted(plan, board, delegates):
            return list(range(plan.parties)), original(plan, board, delegates)[1]

        with mock.patch.object(_delegates, "_reached", planted):
            assert run(spec, words, fault).sums.tolist() != sum_of(words, tuple(range(9)))

    def test_equal_weights_for_shamirs_shares_are_seen(self) -> None:
        words = words_of(9)
        with mock.patch.object(_delegates, "lagrange_weights", lambda field, points, at: [1] * len(points)):
            assert run(hierarchical(), words).sums.tolist() != sum_of(words, tuple(range(9)))

    def test_without_the_least_number_of_inputs_a_sum_of_one_group_opens(self) -> None:
        words, spec = words_of(6), hierarchical(delegate_threshold="0", least_honest=4)
        faults = {rank: Crash(step=SHARES) for rank in (3, 4, 5)}
        with pytest.raises(TooFewPartiesError):
            run(spec, words, faults)
        with mock.patch.object(Hierarchical, "_least", return_value=1):
            assert run(spec, words, faults).sums.tolist() == sum_of(words, (0, 1, 2))

    def test_a_formula_that_forgets_a_message_disagrees_with_the_meter(self) -> None:
        spec = hierarchical()
        metered = run(spec, words_of(7)).traffic
        assert metered == made(spec).cost(parties=7, clusters=2, coordinates=3)
        assert metered != made(spec).cost(parties=8, clusters=2, coordinates=3)
        assert metered != made(hierarchical(group_size=2)).cost(parties=7, clusters=2, coordinates=3)
