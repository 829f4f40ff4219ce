"""Sums by a few servers: exact over their contributors, whoever fails; private up to t servers; nobody framed."""

import itertools
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protocols.check import CloisterError
from protocols.faults import Combined, Crash, Delay, Fault, Garbage, Mute, Tamper, Truncate
from protocols.field import MERSENNE_61
from protocols.in_process import InProcessParties
from protocols.network import BOARD, CheatingDetectedError, NetworkError, TooFewPartiesError
from protocols.party_pool import PartyPool
from protocols.polynomials import lagrange_weights
from protocols.registry import Spec
from protocols.secure_sum import _committee, _offline_bulletin, _offline_dealing, secure_sums
from protocols.secure_sum._sharing import PolynomialSharing
from protocols.secure_sum.committee import Committee
from tests.examples import examples
from tests.field_sums import HALF, WORDS, assert_exact, run, sum_of, words_of
from tests.properties._views import coalitions, inputs_of, learns

MODES = ("passive", "detect", "correct")
# What a server sends in which exchange: shares, whose it has, (hear,) sums; and in mode correct
SHARES, HAVE, SUMS = 0, 1, 3
ROWS, KEYS, BOXES, HAVE_ROWS, COMBINED, VERIFIED_SUMS = 0, 1, 2, 3, 5, 7
LAST_STEP = {"passive": SUMS, "detect": SUMS, "correct": VERIFIED_SUMS}
NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
# Two reach each bound of four servers; with three the placements take minutes.
MOST_FAULTS = 3 if NIGHTLY else 2


def committee(**parameters: object) -> Spec:
    return secure_sums.resolve({"name": "committee", **parameters})


def made(spec: Spec) -> Committee:
    protocol = secure_sums.make(spec)
    assert isinstance(protocol, Committee)
    return protocol


def servers_of(spec: Spec, parties: int) -> tuple[int, ...]:
    """Of the first batch of a pool."""
    return made(spec).servers_of(parties=parties, use=1)


def others_of(spec: Spec, parties: int) -> list[int]:
    return [rank for rank in range(parties) if rank not in servers_of(spec, parties)]


@st.composite
def committees(draw: st.DrawFn, most: int = 7) -> tuple[Spec, int]:
    mode = draw(st.sampled_from(MODES))
    servers = draw(st.integers(1, 5))
    t = draw(st.integers(0, servers - 1))
    least_honest = draw(st.integers(2, 3))
    smallest = max(servers, t + least_honest)
    parties = draw(st.integers(smallest, max(smallest, most)))
    checks = draw(st.integers(1, 2))
    return committee(mode=mode, servers=servers, threshold=str(t), least_honest=least_honest, checks=checks), parties


class TestWithoutFaults:
    @examples(2)
    @given(chosen=committees(), data=st.data())
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
        formula = made(spec).cost(parties=parties, clusters=clusters, coordinates=coordinates)
        assert opened.traffic == formula

    @pytest.mark.parametrize("mode", MODES)
    def test_processes_open_the_same_words_at_the_same_cost(self, mode: str, pool: PartyPool) -> None:
        spec, words = committee(mode=mode, servers=4), words_of(6)
        ours, theirs = run(spec, words), pool.open_sums(spec, words)
        assert torch.equal(ours.sums, theirs.sums)
        assert (ours.contributors, ours.suspects) == (theirs.contributors, theirs.suspects)
        # The pool's batch has another number, so others serve: what is sent is the same.
        assert ours.traffic == theirs.traffic

    @pytest.mark.parametrize("mode", MODES)
    def test_small_fields_and_more_fraction_bits_add_as_well(self, mode: str) -> None:
        for modulus, servers in ((5, 3), (7, 4), (2**31 - 1, 5)):
            spec = committee(mode=mode, servers=servers, modulus=modulus, fraction_bits=0)
            words = words_of(6)
            assert run(spec, words).sums.tolist() == sum_of(words, tuple(range(6)), modulus)

    def test_a_sum_of_eight_members_costs_the_published_bytes(self) -> None:
        """Three servers: 3 * 7 messages of shares, 3 sums, bitmaps, digests; sharing with all would be 8 * 7."""
        cost = run(committee(), torch.zeros(1, 8, 1000, dtype=torch.int64)).traffic
        assert cost.mpc.payload_bytes == 3 * 7 * 8000
        assert cost.upload.payload_bytes == 3 * 8000 + 3 * 2 * 8 + 8 * 32
        assert (cost.mpc.rounds, cost.upload.rounds) == (1, 3)

    def test_the_servers_are_drawn_anew_uniformly_and_publicly(self) -> None:
        """All 10 pairs of 5 members in 4000 batches: chi-squared with 9 degrees is above 60 with P < 1.5e-9."""
        protocol = made(committee(servers=2))
        draws = [protocol.servers_of(parties=5, use=use) for use in range(4000)]
        assert draws == [protocol.servers_of(parties=5, use=use) for use in range(4000)]
        counts = Counter(draws)
        assert set(counts) == set(itertools.combinations(range(5), 2))
        chi_squared = sum((count - 400) ** 2 / 400 for count in counts.values())
        assert chi_squared < 60
        # The check has power: a member that always serves is seen at once.
        always = Counter((0, 1 + use % 4) for use in range(4000))
        assert sum((always[pair] - 400) ** 2 / 400 for pair in counts) > 1000

    def test_each_batch_of_one_pool_has_servers_of_its_own(self) -> None:
        spec, words = committee(), words_of(6)
        threads, protocol = InProcessParties(6), made(spec)
        seen = set()
        for use in range(1, 6):
            assert_exact(threads.open_sums(spec, words), words)
            posted = {each.sender for each in threads.transcripts[BOARD] if each.payload.shape == (2, 3)}
            assert posted == set(protocol.servers_of(parties=6, use=use))
            seen.add(tuple(sorted(posted)))
        assert len(seen) > 1


FOUR = committee(mode="passive", servers=4, threshold="1")


def crashes(mode: str) -> list[Crash]:
    return [Crash(step=step, after=after) for step in range(LAST_STEP[mode] + 1) for after in (None, 1, 2)]


@pytest.mark.parametrize("mode", MODES)
class TestCrashes:
    def spec(self, mode: str) -> Spec:
        return committee(mode=mode, servers=4, threshold="1")

    # Two servers, first and last, and the member that is none; the other two servers at night.
    @pytest.mark.parametrize("rank", range(5) if NIGHTLY else sorted({*others_of(FOUR, 5), *servers_of(FOUR, 5)[::3]}))
    def test_a_crash_at_any_place_and_step_leaves_out_at_most_the_crashed_member(self, mode: str, rank: int) -> None:
        words, seen = words_of(5), set()
        for fault in crashes(mode):
            opened = run(self.spec(mode), words, {rank: fault})
            assert_exact(opened, words, frozenset({rank}))
            assert not opened.suspects, "a crash is no cheating"
            seen.add(opened.contributors)
        assert seen == {tuple(each for each in range(5) if each != rank), tuple(range(5))}

    @examples(1)
    @given(data=st.data())
    def test_any_tolerated_crashes_and_delays_leave_the_sum_exact(self, mode: str, data: st.DataObject) -> None:
        spec = committee(mode=mode, servers=5, threshold="1")
        words, ranks = words_of(7), data.draw(st.sets(st.integers(0, 6), max_size=5))
        kinds = st.one_of(
            st.sampled_from(crashes(mode)),
            st.builds(Delay, step=st.integers(0, LAST_STEP[mode]), seconds=st.sampled_from([1.0, 1e6])),
        )
        faults = {rank: data.draw(kinds) for rank in sorted(ranks)}
        verdict = made(spec).outcome(7, frozenset(), frozenset(ranks), frozenset())
        try:
            opened = run(spec, words, faults, schedule=data.draw(st.integers(0, 99)))
        except TooFewPartiesError:
            assert not verdict.live
        else:
            assert_exact(opened, words, frozenset(ranks))

    def test_members_that_do_not_serve_may_be_gone_after_input(self, mode: str) -> None:
        words, spec = words_of(7), self.spec(mode)
        gone = others_of(spec, 7)
        last = {"passive": HAVE, "detect": HAVE, "correct": BOXES}[mode]
        opened = run(spec, words, {rank: Crash(step=last + 1) for rank in gone})
        assert_exact(opened, words)
        assert opened.contributors == tuple(range(7))

    def test_a_member_that_was_cut_off_while_it_sent_is_left_out_and_stops_nothing(self, mode: str) -> None:
        words, spec = words_of(7), self.spec(mode)
        for rank in others_of(spec, 7):
            opened = run(spec, words, {rank: Crash(step=SHARES, after=2)})
            assert_exact(opened, words, frozenset({rank}))
            assert rank not in opened.contributors

    def test_one_server_too_few_is_an_error(self, mode: str) -> None:
        words, spec = words_of(7), self.spec(mode)
        servers = servers_of(spec, 7)
        faults: dict[int, Fault] = {server: Crash(step=LAST_STEP[mode]) for server in servers[:3]}
        with pytest.raises(TooFewPartiesError, match="1 sums are left; allowed: at least 2"):
            run(spec, words, faults)
        faults.pop(servers[0])
        assert_exact(run(spec, words, faults), words)

    def test_a_sum_of_fewer_than_t_plus_least_honest_inputs_is_withheld(self, mode: str) -> None:
        """Invariant I17, also after dropouts: with t = 1 and two, three inputs are needed."""
        words, spec = words_of(5), self.spec(mode)
        server, *_ = servers_of(spec, 5)
        gone = [*others_of(spec, 5), server]
        faults: dict[int, Fault] = {rank: Crash(step=SHARES) for rank in gone}
        assert_exact(run(spec, words, faults), words, frozenset(gone))
        faults[next(each for each in range(5) if each not in gone)] = Crash(step=SHARES)
        threads = InProcessParties(5, faults=faults)
        with pytest.raises(TooFewPartiesError, match="at least 3 inputs in a sum that opens"):
            threads.open_sums(spec, words)
        assert not any(each.payload.shape == (2, 3) for each in threads.transcripts[BOARD]), "a sum has been posted"

    def test_servers_refuse_a_small_sum_whatever_the_board_announces(self, mode: str) -> None:
        words, spec = words_of(5), self.spec(mode)
        step = {"passive": HAVE, "detect": HAVE, "correct": HAVE_ROWS}[mode] + 1
        # The bits of a bitmap are flipped: of five members none is announced.
        lies = Combined(faults=tuple(Tamper(step=each, delta=1) for each in range(step + 4)))
        threads = InProcessParties(5, faults={BOARD: lies})
        with pytest.raises(NetworkError):
            threads.open_sums(spec, words)
        assert not any(each.payload.shape == (2, 3) for each in threads.transcripts[BOARD])


class TestPassive:
    SPEC = committee(mode="passive", servers=4, threshold="1")

    def test_a_server_that_posts_other_sums_changes_the_opened_ones_unseen_as_documented(self) -> None:
        """The expected violation: two servers' shares open, and the first one's error counts by its weight."""
        words = words_of(6)
        first, *_ = servers_of(self.SPEC, 6)
        opened = run(self.SPEC, words, {first: Tamper(step=SUMS, delta=1000)})
        field = made(self.SPEC)._plan(1, 6, 2, 3).sharing.field
        shift = 1000 * lagrange_weights(field, [1, 2], 0)[0]
        expected = torch.tensor(sum_of(words + 0, opened.contributors)) + shift
        assert opened.sums.tolist() == torch.remainder(expected + HALF, MERSENNE_61).sub(HALF).tolist()
        assert not opened.suspects

    def test_a_server_behind_the_first_t_plus_one_changes_nothing(self) -> None:
        words = words_of(6)
        *_, last = servers_of(self.SPEC, 6)
        faults = {last: Tamper(step=SUMS, delta=1000)}
        assert made(self.SPEC).outcome(6, frozenset({last}), frozenset(), frozenset()).correct
        assert_exact(run(self.SPEC, words, faults), words, frozenset({last}))

    @pytest.mark.parametrize("kind", [Mute, Tamper, Truncate])
    def test_a_member_that_shares_with_some_servers_only_can_neither_change_nor_stop_it(self, kind: type) -> None:
        """With a message missing or unreadable it is left out; with another share its input is another one."""
        words = words_of(6)
        server, *_ = servers_of(self.SPEC, 6)
        for rank in others_of(self.SPEC, 6):
            changes = {Mute: {"to": server}, Tamper: {"to": server, "delta": 7}, Truncate: {}}[kind]
            opened = run(self.SPEC, words, {rank: kind(step=SHARES, **changes)})
            if kind is Tamper:
                honest = tuple(each for each in opened.contributors if each != rank)
                shift = (opened.sums - torch.tensor(sum_of(words, honest)) - words[:, rank]) % MERSENNE_61
                assert len(set(shift.flatten().tolist())) == 1, "one other input in every place"
            else:
                assert_exact(opened, words, frozenset({rank}))
                assert rank not in opened.contributors

    def test_a_server_that_lacks_everything_by_its_own_account_stops_it_as_documented(self) -> None:
        words = words_of(6)
        server, *_ = servers_of(self.SPEC, 6)
        assert not made(self.SPEC).outcome(6, frozenset({server}), frozenset(), frozenset()).live
        with pytest.raises(TooFewPartiesError, match="inputs of parties \\[\\] are left"):
            run(self.SPEC, words, {server: Tamper(step=HAVE, delta=1)})


class TestDetect:
    SPEC = committee(mode="detect", servers=5, threshold="2")

    @examples(1.5)
    @given(data=st.data())
    def test_up_to_k_minus_t_minus_one_lying_servers_are_detected_and_nothing_opens(self, data: st.DataObject) -> None:
        words, servers = words_of(7), servers_of(self.SPEC, 7)
        liars = data.draw(st.sets(st.sampled_from(servers), min_size=1, max_size=2))
        word = st.one_of(st.none(), st.integers(-6, 5))
        faults = {
            server: Tamper(step=SUMS, delta=data.draw(st.integers(1, MERSENNE_61 - 1)), word=data.draw(word))
            for server in liars
        }
        with pytest.raises(CheatingDetectedError, match="nothing was opened"):
            run(self.SPEC, words, faults)

    def test_one_server_more_can_agree_on_another_sum(self) -> None:
        """Tightness: three of five servers add a polynomial of degree 2 that is zero at the two others."""
        words, servers = words_of(7), servers_of(self.SPEC, 7)
        faults = {servers[q]: Tamper(step=SUMS, delta=(q + 1 - 1) * (q + 1 - 2)) for q in (2, 3, 4)}
        assert not made(self.SPEC).outcome(7, frozenset(faults), frozenset(), frozenset()).correct
        opened = run(self.SPEC, words, faults)
        assert (opened.sums - torch.tensor(sum_of(words, tuple(range(7))))).flatten().tolist() == [2] * 6

    def test_an_inconsistent_dealing_aborts(self) -> None:
        words = words_of(7)
        server, *_ = servers_of(self.SPEC, 7)
        for rank in others_of(self.SPEC, 7):
            with pytest.raises(CheatingDetectedError, match="do not lie on one polynomial"):
                run(self.SPEC, words, {rank: Tamper(step=SHARES, delta=5, to=server)})

    def test_a_share_that_is_said_to_be_sent_but_lacks_aborts_and_one_of_two_named_cheats(self) -> None:
        words = words_of(7)
        server, other, *_ = servers_of(self.SPEC, 7)
        dealer, *_ = others_of(self.SPEC, 7)
        for cheat, fault in ((dealer, Mute(step=SHARES, to=server)), (server, Tamper(step=HAVE, delta=1, word=dealer))):
            threads = InProcessParties(7, faults={cheat: fault})
            with pytest.raises(CheatingDetectedError, match="lacks a share which was sent") as caught:
                threads.open_sums(self.SPEC, words)
            assert caught.value.suspects == {dealer, server}
            assert not any(each.payload.shape == (2, 3) for each in threads.transcripts[BOARD])
        with pytest.raises(CheatingDetectedError) as caught:
            run(self.SPEC, words, {other: Tamper(step=HAVE, delta=1, word=other)})
        assert caught.value.suspects == {other}, "who lacks its own share"


class TestCorrect:
    SPEC = committee(mode="correct", servers=7, threshold="2")

    @examples(1.5)
    @given(data=st.data())
    def test_lying_servers_within_the_bound_are_corrected_and_exactly_they_are_named(self, data: st.DataObject) -> None:
        """2 b + k <= servers - t - 1 = 4."""
        words, servers = words_of(8), servers_of(self.SPEC, 8)
        liars, gone = data.draw(st.sampled_from([(0, 4), (1, 0), (1, 1), (1, 2), (2, 0)]))
        places = data.draw(st.permutations(servers))
        word, delta = st.one_of(st.none(), st.integers(-6, 5)), st.integers(1, MERSENNE_61 - 1)
        lies = {
            rank: Tamper(step=VERIFIED_SUMS, delta=data.draw(delta), word=data.draw(word)) for rank in places[:liars]
        }
        stops = {rank: data.draw(st.sampled_from(crashes("correct"))) for rank in places[liars : liars + gone]}
        opened = run(self.SPEC, words, {**lies, **stops})
        assert_exact(opened, words, frozenset(stops) | frozenset(lies))
        assert opened.suspects == lies.keys()
        assert lies.keys() <= set(opened.contributors)

    @examples(2)
    @given(data=st.data())
    def test_whatever_is_tampered_with_within_the_bound_nobody_honest_is_left_out_or_named(
        self, data: st.DataObject
    ) -> None:
        """One server of four, t = 1, and any of the five others, as long as three inputs are left."""
        spec, words = committee(mode="correct", servers=4), words_of(9)
        bad = data.draw(st.sets(st.sampled_from(servers_of(spec, 9)), max_size=1))
        bad |= data.draw(st.sets(st.sampled_from(others_of(spec, 9))))
        peers = st.one_of(st.none(), st.sampled_from([*range(9), BOARD]))
        step = st.integers(0, VERIFIED_SUMS + 2)
        kinds = st.one_of(
            st.builds(
                Tamper,
                step=step,
                delta=st.one_of(st.just(1), st.integers(1, 2**62)),
                to=peers,
                word=st.one_of(st.none(), st.integers(-40, 40)),
            ),
            st.builds(Mute, step=step, to=peers),
            st.builds(Garbage, step=step, excess_bytes=st.sampled_from([0, 1])),
            st.builds(Truncate, step=step),
        )
        faults = {rank: Combined(faults=tuple(data.draw(st.lists(kinds, min_size=1, max_size=3)))) for rank in bad}
        opened = run(spec, words, faults)
        assert set(range(9)) - bad <= set(opened.contributors)
        assert opened.suspects <= bad
        honest = tuple(rank for rank in opened.contributors if rank not in bad)
        if len(honest) == len(opened.contributors):
            assert opened.sums.tolist() == sum_of(words, honest)

    @pytest.mark.parametrize("count", [1, 2, 3])
    def test_any_number_of_wrong_dealers_stop_nothing_and_get_nobody_blamed(self, count: int) -> None:
        """Four servers, t = 1: one fault of a server is corrected; of nine members, five do not serve."""
        spec, words = committee(mode="correct", servers=4), words_of(9)
        servers, others = servers_of(spec, 9), others_of(spec, 9)
        for step, to in itertools.product((ROWS, KEYS), servers):
            faults = {rank: Tamper(step=step, delta=9, to=to) for rank in others[:count]}
            opened = run(spec, words, faults)
            # The row in the box was right, and was opened in the server's place.
            assert opened.sums.tolist() == sum_of(words, tuple(range(9)))
            assert (opened.contributors, opened.suspects) == (tuple(range(9)), frozenset())

    def test_a_row_that_never_came_is_opened_instead(self) -> None:
        spec, words = committee(mode="correct", servers=4), words_of(9)
        dealer, *_ = others_of(spec, 9)
        for server in servers_of(spec, 9):
            opened = run(spec, words, {dealer: Mute(step=ROWS, to=server)})
            assert_exact(opened, words)

    def test_a_dealer_whose_box_is_wrong_too_is_left_out_and_so_is_one_that_fits_no_polynomial(self) -> None:
        spec, words = committee(mode="correct", servers=4), words_of(9)
        first, second, *_ = servers_of(spec, 9)
        dealer, *_ = others_of(spec, 9)
        wrong_row = Tamper(step=ROWS, delta=9, to=first)
        for more in (Tamper(step=BOXES, delta=1), Tamper(step=ROWS, delta=9, to=second), Mute(step=ROWS, to=second)):
            opened = run(spec, words, {dealer: Combined(faults=(wrong_row, more))})
            assert_exact(opened, words, frozenset({dealer}))
            assert opened.contributors == tuple(rank for rank in range(9) if rank != dealer)
            assert not opened.suspects

    def test_a_server_that_says_it_has_nothing_or_posts_wrong_combinations_is_named_and_leaves_nobody_out(self) -> None:
        spec, words = committee(mode="correct", servers=4), words_of(9)
        for server in servers_of(spec, 9):
            for fault in (Tamper(step=HAVE_ROWS, delta=1), Tamper(step=COMBINED, delta=1)):
                opened = run(spec, words, {server: fault})
                assert_exact(opened, words, frozenset({server}))
                assert opened.contributors == tuple(range(9))
                assert opened.suspects == {server}, "nobody honest finds its own dealing wrong"

    def test_a_server_that_opens_wrong_shares_of_a_key_is_corrected(self) -> None:
        words = words_of(8)
        liar, victim, *_ = servers_of(self.SPEC, 8)
        dealer, *_ = others_of(self.SPEC, 8)
        # With a dispute there is one more answer before the sums.
        faults = {liar: Tamper(step=VERIFIED_SUMS, delta=3), dealer: Tamper(step=ROWS, delta=3, to=victim)}
        opened = run(self.SPEC, words, faults)
        assert_exact(opened, words, frozenset({liar, dealer}))
        assert opened.contributors == tuple(range(8))

    def test_more_liars_than_are_corrected_are_an_error_or_documented_as_wrong(self) -> None:
        spec, words = committee(mode="correct", servers=4), words_of(6)
        first, second, *_ = servers_of(spec, 6)
        faults = {first: Garbage(step=VERIFIED_SUMS, excess_bytes=0), second: Tamper(step=VERIFIED_SUMS, delta=1)}
        with pytest.raises(CheatingDetectedError, match="no polynomial of degree 1"):
            run(spec, words, faults)


class TestSecrecy:
    """Exact: all values of the randomness, the view of a coalition with the board, distributions compared."""

    @pytest.mark.parametrize("mode", ["passive", "detect"])
    @pytest.mark.parametrize(("parties", "servers", "t"), [(3, 3, 1), (4, 3, 1), (4, 2, 1), (4, 3, 2), (4, 4, 2)])
    def test_a_coalition_learns_more_than_the_sum_exactly_if_more_than_t_of_it_serve(
        self, mode: str, parties: int, servers: int, t: int
    ) -> None:
        spec = committee(mode=mode, servers=servers, threshold=str(t), modulus=5, fraction_bits=0)
        sizes = range(parties - 1) if t == 1 else (1, 2)
        for coalition in coalitions(parties, sizes):
            learnt = learns(spec, parties, coalition, inputs_of(parties, coalition, 5, most=8 if t == 1 else 2))
            verdict = made(spec).outcome(parties, frozenset(), frozenset(), frozenset(coalition))
            assert learnt != verdict.private, coalition
            assert learnt == (len({*coalition} & {*servers_of(spec, parties)}) > t)

    def test_verified_dealing_shows_no_more(self) -> None:
        spec = committee(mode="correct", servers=3, threshold="1", checks=1, modulus=5, fraction_bits=0)
        for coalition in coalitions(4, [2]):
            learnt = learns(spec, 4, coalition, inputs_of(4, coalition, 5, most=2))
            assert learnt == (len({*coalition} & {*servers_of(spec, 4)}) > 1), coalition

    def test_what_one_server_receives_is_uniform_in_every_word(self) -> None:
        """Invariant I14, exactly: over all coefficients a share takes every value equally often."""
        field = made(committee(modulus=7, fraction_bits=0))._plan(1, 4, 1, 1).sharing.field
        sharing = PolynomialSharing(field=field, degree=1)
        for secret, place in itertools.product(range(7), range(3)):
            shares = sharing.at(sharing.basis(torch.full((7,), secret), torch.arange(7)[None]), [place])[0]
            assert sorted(shares.tolist()) == list(range(7))

    def test_no_randomness_is_used_twice(self) -> None:
        """Invariant I15: the same inputs in two batches, 120 words each: P(an equal word) < 2^-50."""
        spec, words = committee(mode="correct", threshold="1"), torch.zeros(2, 5, 4, dtype=torch.int64)
        threads = InProcessParties(5)
        seen = []
        for _ in range(2):
            threads.open_sums(spec, words)
            rows = [
                each.payload[:, :4]
                for rank in range(5)
                for each in threads.transcripts[rank]
                if each.payload.shape == (2, 6)
            ]
            assert len(rows) == 3 * 4
            seen.append(torch.cat(rows).flatten().tolist())
        assert len(set(seen[0]) | set(seen[1])) == len(seen[0]) + len(seen[1])

    @pytest.mark.parametrize("mode", MODES)
    def test_messages_have_the_same_shape_for_all_inputs(self, mode: str) -> None:
        """Invariant I22."""
        spec, shapes = committee(mode=mode, servers=3), []
        for value in (0, 2**60):
            threads = InProcessParties(5)
            threads.open_sums(spec, torch.full((2, 5, 3), value))
            shapes.append(
                {rank: [(m.sender, m.payload.shape) for m in seen] for rank, seen in threads.transcripts.items()}
            )
        assert shapes[0] == shapes[1]


def placements(parties: int, most: int, kinds: str = "bk") -> Iterator[dict[str, frozenset[int]]]:
    """Who is Byzantine (b), crashed (k), curious (p): all placements with up to `most` faults."""
    for each in itertools.product(" " + kinds, repeat=parties):
        if sum(kind != " " for kind in each) <= most:
            yield {kind: frozenset(rank for rank in range(parties) if each[rank] == kind) for kind in "bkp"}


def attacks(spec: Spec, parties: int, placed: Mapping[str, frozenset[int]]) -> Iterator[dict[int, Fault]]:
    """What the faulty members of a placement can try, each with early and with late crashes."""
    protocol, servers = made(spec), servers_of(spec, parties)
    sums, have = LAST_STEP[protocol.mode], {"correct": HAVE_ROWS}.get(protocol.mode, HAVE)
    honest = [q + 1 for q, server in enumerate(servers) if server not in placed["b"] | placed["k"]]
    points = {server: q + 1 for q, server in enumerate(servers)}
    crashing = sorted(placed["k"], key=lambda rank: (rank not in servers, rank))
    for early in range(len(crashing) + 1):
        gone: dict[int, Fault] = {rank: Crash(step=0) for rank in crashing[:early]}
        yield gone
        if not placed["b"]:
            continue
        yield {**gone, **{rank: Crash(step=0) for rank in placed["b"]}}
        yield {**gone, **{rank: Mute(step=SHARES, to=servers[0]) for rank in placed["b"]}}
        yield {**gone, **{rank: Tamper(step=SHARES, delta=5, to=servers[-1]) for rank in placed["b"]}}
        yield {**gone, **{rank: Tamper(step=have, delta=1) for rank in placed["b"]}}
        yield {**gone, **{rank: Garbage(step=sums, seed=rank, excess_bytes=0) for rank in placed["b"]}}
        # A polynomial that is zero at t honest servers, who then seem to agree with the liars.
        for zeros in itertools.combinations(honest, min(protocol.t, len(honest))):
            lies = {
                rank: int(np.prod([points[rank] - zero for zero in zeros], dtype=np.int64)) * 1000
                for rank in placed["b"] & {*servers}
            }
            yield {**gone, **{rank: Tamper(step=sums, delta=lie) for rank, lie in lies.items()}}


def different(
    spec: Spec, parties: int, all_placed: Iterator[dict[str, frozenset[int]]]
) -> Iterator[dict[str, frozenset[int]]]:
    """One placement of those that differ in the order of servers, or of the others, alone; order counts in passive."""
    protocol, servers, seen = made(spec), servers_of(spec, parties), set()
    for placed in all_placed:
        kinds = ["".join(kind for kind in "bkp" if rank in placed[kind]) for rank in range(parties)]
        serving = [kinds[server] for server in servers]
        others = sorted(kinds[rank] for rank in range(parties) if rank not in servers)
        key = (*(serving if protocol.mode == "passive" else sorted(serving)), *others)
        if key not in seen:
            seen.add(key)
            yield placed


class TestVerdicts:
    """Invariant I25: what `outcome` says of a placement is what happens, exactly."""

    @pytest.mark.parametrize(
        ("mode", "servers", "t", "faults"),
        [
            ("passive", 3, 1, 2),
            ("detect", 3, 1, MOST_FAULTS),
            ("correct", 4, 1, MOST_FAULTS),
        ],
    )
    def test_it_delivers_and_is_right_exactly_where_the_verdict_says(
        self, mode: str, servers: int, t: int, faults: int
    ) -> None:
        spec, parties = committee(mode=mode, servers=servers, threshold=str(t)), servers + 1
        words = words_of(parties, 1, 1)
        for placed in different(spec, parties, placements(parties, faults)):
            verdict = made(spec).outcome(parties, placed["b"], placed["k"], frozenset())
            live = correct = True
            for attack in attacks(spec, parties, placed):
                ended = self.ending(spec, words, attack, placed, live=verdict.live)
                live, correct = live and ended != "stopped", correct and ended != "wrong"
            assert (live, correct) == (verdict.live, verdict.correct), placed

    def ending(
        self,
        spec: Spec,
        words: torch.Tensor,
        faults: Mapping[int, Fault],
        placed: Mapping[str, frozenset[int]],
        *,
        live: bool,
    ) -> str:
        try:
            opened = run(spec, words, faults)
        except NetworkError:
            return "stopped"
        if live:
            assert opened.suspects <= placed["b"]
            assert set(range(words.shape[1])) - placed["b"] - placed["k"] <= set(opened.contributors)
        # Who shares other words has another input, which is no wrong sum.
        shared_others = any(isinstance(each, Tamper) and each.step == SHARES for each in faults.values())
        right = shared_others or opened.sums.tolist() == sum_of(words, opened.contributors)
        return "right" if right else "wrong"

    @pytest.mark.parametrize("mode", MODES)
    def test_the_conditions_are_the_worst_case_of_the_verdicts_over_places(self, mode: str) -> None:
        servers, parties = 4, 5
        for t in (1, 2):
            spec = committee(mode=mode, servers=servers, threshold=str(t))
            conditions, protocol = made(spec).conditions, made(spec)
            bad: dict[tuple[int, int, int], list[bool]] = {}
            for placed in placements(parties, parties, "bkp"):
                verdict = protocol.outcome(parties, placed["b"], placed["k"], placed["p"])
                counts = len(placed["b"]), len(placed["k"]), len(placed["p"])
                worst = bad.setdefault(counts, [False, False, False])
                bad[counts] = [w or not good for w, good in zip(worst, verdict, strict=True)]
            for (b, k, p), (exposed, wrong, lost) in bad.items():
                at = (np.array(b), np.array(k))
                if b + p + k < parties:  # somebody is there to be exposed
                    assert not exposed or conditions.exposed(parties, np.array(b + p), np.array(0))
                    if k == 0 and b + p <= parties - 2:
                        assert exposed == conditions.exposed(parties, np.array(b + p), np.array(0)), (b, p)
                assert lost == conditions.lost(parties, *at), (b, k)
                assert not wrong or conditions.scheme.wrong(*at, parties, 0), (b, k)

    def test_the_table_of_servers_holds_line_by_line(self) -> None:
        for mode, t, (b, k) in itertools.product(MODES, (1, 2), itertools.product(range(6), repeat=2)):
            conditions = made(committee(mode=mode, servers=5, threshold=str(t))).conditions
            spare, inputs = 5 - t - 1, 9 - b - k >= t + 2
            wrong = {"passive": b > 0, "detect": b > 0 and b + k > spare, "correct": b > 0 and 2 * b + k > spare}[mode]
            live = {"passive": b == 0 and k <= spare, "detect": b == 0 and k <= spare, "correct": 2 * b + k <= spare}
            at = (np.array(b), np.array(k))
            assert conditions.scheme.wrong(*at, 9, 0) == wrong
            assert conditions.lost(9, *at) != (live[mode] and inputs)
            assert conditions.exposed(9, np.array(b), np.array(0)) == (b > t)

    def test_a_cluster_that_has_too_few_members_for_the_servers_delivers_nothing(self) -> None:
        conditions = made(committee(servers=4)).conditions
        assert conditions.lost(3, np.array(0), np.array(0))
        assert not conditions.lost(4, np.array(0), np.array(0))

    def test_a_lying_server_that_leaves_others_out_in_passive_mode_is_in_the_verdict(self) -> None:
        """With t = 1, three colluders and the input of a fourth are enough for a sum; a server can arrange that."""
        spec = committee(mode="passive", servers=3, threshold="1")
        server, *_ = servers_of(spec, 7)
        curious = frozenset(others_of(spec, 7)[:2])
        protocol = made(spec)
        assert not protocol.outcome(7, frozenset({server}), frozenset(), curious).private
        assert protocol.outcome(7, frozenset({server}), frozenset(), frozenset()).private
        assert made(committee(mode="detect", servers=3)).outcome(7, frozenset({server}), frozenset(), curious).private
        victim = others_of(spec, 7)[-1]
        # It says that it lacks the inputs of all but its friends and the victim.
        lacks = [rank for rank in range(7) if rank not in {server, victim, *curious}]
        lies = Combined(faults=tuple(Tamper(step=HAVE, delta=1, word=rank) for rank in lacks))
        assert set(run(spec, words_of(7), {server: lies}).contributors) == {server, victim, *curious}


@pytest.mark.parametrize(
    ("parameters", "parties", "text"),
    [
        ({"servers": 4}, 3, "servers = 4 do not fit clusters of 3; allowed: 1 to 3"),
        ({"threshold": "3"}, 5, "threshold = '3' gives 3 for 3 servers; allowed: 0 to 2"),
        ({"threshold": "k"}, 5, "threshold = 'k' gives 3 for 3 servers; allowed: 0 to 2"),
        ({"threshold": "c/2"}, 5, "threshold = 'c/2' is not understood; allowed: a number, or k/2"),
        ({"threshold": "__import__('os')"}, 5, "is not understood; allowed: a number, or k/2"),
        ({"threshold": "2"}, 3, r"gives 2 and least_honest = 2 for clusters of 3; allowed: threshold \+ least_honest"),
        ({"modulus": 3, "fraction_bits": 0}, 5, "modulus = 3 is too small for 3 servers; allowed: a prime above 3"),
        ({"modulus": 6, "fraction_bits": 0}, 5, "modulus = 6 is not prime"),
        ({"servers": 0}, 5, "servers = 0"),
        ({"least_honest": 1}, 5, "least_honest = 1 is not allowed; allowed: an integer >= 2"),
        ({"checks": 0}, 5, "checks = 0"),
        ({"mode": "corect"}, 5, "mode = 'corect'"),
    ],
)
def test_a_size_or_parameter_that_does_not_fit_is_refused_before_anything_is_sent(
    parameters: dict[str, object], parties: int, text: str
) -> None:
    threads = InProcessParties(parties)
    with pytest.raises(CloisterError, match=text):
        threads.open_sums(committee(**parameters), words_of(parties))
    assert not any(threads.transcripts.values())


class TestPlantedBugs:
    """Each bug, planted into the real code, makes a check above fail."""

    TINY = committee(mode="passive", servers=3, threshold="2", modulus=5, fraction_bits=0)

    def leaks(self) -> bool:
        coalition = servers_of(self.TINY, 4)[:2]
        return learns(self.TINY, 4, coalition, inputs_of(4, coalition, 5, most=2))

    def test_a_polynomial_of_too_low_a_degree_leaks(self) -> None:
        assert not self.leaks()
        with mock.patch.object(PolynomialSharing, "random_terms", 1):
            assert self.leaks()

    def test_the_same_coefficients_for_all_members_leak(self) -> None:
        original = _committee.deal

        def planted(plan, party, secret, *, purpose):
            shares = original(plan, party, secret * 0, purpose=purpose)
            return plan.sharing.field.add(shares * 0, secret[None].expand_as(shares))

        with mock.patch.object(_committee, "deal", planted):
            assert self.leaks()

    @pytest.mark.parametrize("mode", MODES)
    def test_a_server_that_skips_one_member_is_seen(self, mode: str) -> None:
        spec, words = committee(mode=mode, servers=4), words_of(6)
        server, *_ = servers_of(spec, 6)
        where = _offline_dealing if mode == "correct" else _committee
        original = where.sum_over

        def planted(plan, received, dealers):
            # The first server alone: its place is where its own row of zeros would be if it were another's.
            skips = bool((received[server] == own[server]).all())
            return original(plan, received, dealers[1:] if skips else dealers)

        own: dict[int, torch.Tensor] = {}
        original_to = where.to_servers

        def noting(plan, party, shares):
            received, senders = original_to(plan, party, shares)
            if party.rank == server and shares.shape[1:] == received.shape[1:] and server not in own:
                own[server] = received[server].clone()
            return received, senders

        with mock.patch.object(where, "sum_over", planted), mock.patch.object(where, "to_servers", noting):
            if mode == "passive":
                assert run(spec, words).sums.tolist() != sum_of(words, tuple(range(6)))
            elif mode == "detect":
                with pytest.raises(CheatingDetectedError):
                    run(spec, words)
            else:
                opened = run(spec, words)
                assert_exact(opened, words, frozenset({server}))
                assert opened.suspects == {server}

    def test_servers_that_ignore_who_was_announced_are_seen(self) -> None:
        """A member whose share reached one server only is in that server's sum, and in no other."""
        spec, words = committee(mode="passive", servers=3), words_of(5)
        dealer, *_ = others_of(spec, 5)
        with mock.patch.object(_committee, "heard_set", lambda plan, announced: list(range(plan.parties))):
            opened = run(spec, words, {dealer: Crash(step=SHARES, after=1)})
            assert opened.sums.tolist() != sum_of(words, opened.contributors)
        assert_exact(run(spec, words, {dealer: Crash(step=SHARES, after=1)}), words, frozenset({dealer}))

    def test_a_board_that_counts_a_member_which_only_some_servers_have_is_seen(self) -> None:
        spec, words = committee(mode="passive", servers=3), words_of(5)
        dealer, *_ = others_of(spec, 5)
        server, *_ = servers_of(spec, 5)
        fault = {dealer: Mute(step=SHARES, to=server)}
        assert_exact(run(spec, words, fault), words, frozenset({dealer}))
        original = _committee.announce
        with mock.patch.object(
            _committee,
            "announce",
            lambda plan, board, to, dealers: original(plan, board, to, list(range(plan.parties))),
        ):
            assert run(spec, words, fault).sums.tolist() != sum_of(words, (*range(5),))

    def test_without_the_least_number_of_inputs_a_lone_input_opens(self) -> None:
        words, spec = words_of(4), committee(servers=2, threshold="0")
        server, *_ = servers_of(spec, 4)
        gone = [rank for rank in range(4) if rank != server]
        faults: dict[int, Fault] = {rank: Crash(step=SHARES) for rank in gone}
        with pytest.raises(TooFewPartiesError):
            run(spec, words, faults)
        original = Committee._plan

        def planted(self, *sizes):
            plan = original(self, *sizes)
            object.__setattr__(plan, "least", 0)
            return plan

        with mock.patch.object(Committee, "_plan", planted):
            assert run(spec, words, faults).sums.tolist() == words[:, server].tolist()

    def test_combinations_that_say_nothing_let_a_wrong_dealing_blame_a_server(self) -> None:
        spec, words = committee(mode="correct", servers=4), words_of(6)
        dealer, *_ = others_of(spec, 6)
        server, *_ = servers_of(spec, 6)
        fault = {dealer: Tamper(step=ROWS, delta=9, to=server)}
        assert not run(spec, words, fault).suspects
        nothing = lambda checked, rows, coin: rows[..., : checked.checks] * 0  # noqa: E731
        with mock.patch.object(_offline_dealing.CheckedPlan, "combined", nothing):
            assert run(spec, words, fault).suspects == {server}

    def test_boxes_that_are_not_looked_at_let_a_wrong_dealing_through(self) -> None:
        spec, words = committee(mode="correct", servers=4), words_of(6)
        dealer, *_ = others_of(spec, 6)
        server, *_ = servers_of(spec, 6)
        original = _offline_bulletin._Judge._open
        with mock.patch.object(
            _offline_bulletin._Judge, "_open", lambda *asked: dict(list(original(*asked).items())[:0])
        ):
            opened = run(spec, words, {dealer: Tamper(step=ROWS, delta=9, to=server)})
        assert opened.suspects == {server}, "framed"

    def test_a_mean_over_all_members_instead_of_the_contributors_is_seen(self) -> None:
        """What callers divide by is the number of contributors, never that of members."""
        words, spec = words_of(5), committee()
        dealer, *_ = others_of(spec, 5)
        opened = run(spec, words, {dealer: Crash(step=SHARES)})
        honest = [rank for rank in range(5) if rank != dealer]
        mean = words[:, honest].to(torch.float64).mean(dim=1)
        sums = opened.sums.to(torch.float64)
        assert torch.equal(sums / len(opened.contributors), mean)
        assert not torch.equal(sums / 5, mean)

    def test_a_formula_that_forgets_a_message_disagrees_with_the_meter(self) -> None:
        for mode in MODES:
            spec = committee(mode=mode)
            formula = made(spec).cost(parties=5, clusters=2, coordinates=3)
            metered = run(spec, words_of(5)).traffic
            assert metered == formula
            assert metered != made(spec).cost(parties=5, clusters=2, coordinates=4)
            assert metered != made(committee(mode=mode, servers=4)).cost(parties=5, clusters=2, coordinates=3)
