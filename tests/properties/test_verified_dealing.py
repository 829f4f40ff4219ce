"""Verified dealing: whatever Byzantine members make of its steps, the sum is right, and only they are named."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protocols.faults import Crash, Fault, Garbage, Mute, Tamper
from protocols.in_process import InProcessParties
from protocols.network import CheatingDetectedError, NetworkError, TooFewPartiesError
from protocols.parties import OpenedSums
from protocols.party_pool import PartyPool
from protocols.registry import Spec
from protocols.secure_sum import _bulletin, _verified, secure_sums
from protocols.secure_sum._verified import Dealing
from protocols.secure_sum._verified_plan import Plan, challenge
from tests.examples import examples
from tests.field_sums import words_of

CORRECT, VSS = (secure_sums.resolve({"name": "shamir", "mode": mode}) for mode in ("correct", "vss"))
AUTHENTICATED = secure_sums.resolve("authenticated")
# Exchanges of one member: rows, present, complaints and coin, tags, arrived, tags of all, accusations, ...
STEPS = range(13)


class InconsistentRow(Dealing):
    """Deals its next member a row off the polynomial, under a hash that fits."""

    def _row_for(self, peer: int) -> torch.Tensor:
        row = super()._row_for(peer)
        if peer == (self._party.rank + 1) % self._plan.parties:
            row[:, 0] = (row[:, 0] + 1) % self._plan.sharing.field.modulus
        return row


class OutOfField(Dealing):
    """Deals rows whose first word is no element of the field."""

    def _row_for(self, peer: int) -> torch.Tensor:
        row = super()._row_for(peer)
        row[:, 0] = -1
        return row


class WrongTags(Dealing):
    """Posts tags of other rows than it has dealt."""

    def prove(self, attempt: int, coin: torch.Tensor) -> bool:
        self._basis = self._plan.sharing.field.add(self._basis, torch.ones_like(self._basis))
        return super().prove(attempt, coin)


class FalseComplaints(Dealing):
    """Complains about everybody's row."""

    def _fits(self, dealer: int, posted: torch.Tensor) -> bool:
        return False


class FalseAccusations(Dealing):
    """Says that nobody's row fits its tags."""

    def _misfits(self, dealers: list[int], *_: object) -> list[int]:
        return [dealer for dealer in dealers if dealer != self._party.rank]


class ForgedEvidence(FalseAccusations):
    """Says that nobody's row fits its tags, and posts another row than it was dealt as the proof."""

    def _misfits(self, dealers: list[int], *tags: object) -> list[int]:
        self._rows[..., 0] = (self._rows[..., 0] + 1) % self._plan.sharing.field.modulus
        return super()._misfits(dealers, *tags)


class WrongSum(Dealing):
    """Commits to, and opens, another sum than that of its rows."""

    def _commit_sum(self, attempt: int) -> torch.Tensor:
        super()._commit_sum(attempt)
        self._sum[:, 0] = (self._sum[:, 0] + 1) % self._plan.sharing.field.modulus
        return _verified.hash_rows(self._sum)


class OtherSumThanCommitted(Dealing):
    """Opens another sum than it has committed to."""

    def open(self) -> None:
        self._sum[:, -3] = (self._sum[:, -3] + 1) % self._plan.sharing.field.modulus
        super().open()


class ForgedSum(Dealing):
    """Opens another sum, which fits the tags: once the challenge is known, what it maps to nothing can be added."""

    def prove(self, attempt: int, coin: torch.Tensor) -> bool:
        self._coin = bytes(coin.numpy())
        return super().prove(attempt, coin)

    def open(self) -> None:
        plan, field = self._plan, self._plan.sharing.field
        one, other = challenge(field, self._coin, plan.checks, plan.coordinates).tolist()
        # Orthogonal to both rows of the challenge: their cross product in the first three coordinates.
        forged = [one[i - 2] * other[i - 1] - one[i - 1] * other[i - 2] for i in range(3)]
        step = torch.tensor([each % field.modulus for each in forged])
        self._sum[:, :3] = field.add(self._sum[:, :3].contiguous(), step.expand(plan.clusters, 3).contiguous())
        super().open()


CHEATS = (
    InconsistentRow,
    OutOfField,
    WrongTags,
    FalseComplaints,
    FalseAccusations,
    ForgedEvidence,
    WrongSum,
    OtherSumThanCommitted,
    ForgedSum,
)


@contextmanager
def cheating(cheats: Mapping[int, type[Dealing]]) -> Iterator[None]:
    """Let these members play such cheats."""

    def make(plan: Plan, party: object, words: torch.Tensor) -> Dealing:
        return cheats.get(party.rank, Dealing)(plan, party, words)

    with mock.patch.object(_verified, "Dealing", make):
        yield


def run(
    protocol: Spec,
    words: torch.Tensor,
    cheats: Mapping[int, type[Dealing]] | None = None,
    faults: Mapping[int, Fault] | None = None,
) -> OpenedSums:
    with cheating(cheats or {}):
        return InProcessParties(words.shape[1], faults=faults).open_sums(protocol, words)


def assert_right(opened: OpenedSums, words: torch.Tensor, faulty: frozenset[int]) -> None:
    """The sum is that of its contributors, no honest member is missing and none is named."""
    honest = set(range(words.shape[1])) - faulty
    assert honest <= set(opened.contributors)
    assert opened.suspects <= faulty
    # Cheats change shares, tags and sums, never the words that they share.
    assert torch.equal(opened.sums, words[:, list(opened.contributors)].sum(dim=1))


def tolerated(protocol: Spec, parties: int, byzantine: int, crashed: int) -> bool:
    conditions = secure_sums.make(protocol).conditions
    return not bool(conditions.lost(parties, byzantine, crashed))


@st.composite
def occupancies(draw: st.DrawFn, protocol: Spec) -> tuple[int, dict[int, type[Dealing]], dict[int, Fault]]:
    """A cluster size, and as many cheaters and crashes as it tolerates, at any places."""
    parties = draw(st.integers(4, 7))
    pairs = [(b, k) for b in range(4) for k in range(4) if tolerated(protocol, parties, b, k)]
    byzantine, crashed = draw(st.sampled_from(pairs))
    places = draw(st.permutations(range(parties)))
    cheats = {rank: draw(st.sampled_from(CHEATS)) for rank in places[:byzantine]}
    kinds = st.one_of(st.builds(Crash, step=st.sampled_from(STEPS)), st.builds(Mute, step=st.sampled_from(STEPS)))
    faults = {rank: draw(kinds) for rank in places[byzantine : byzantine + crashed]}
    return parties, cheats, faults


@pytest.mark.parametrize("protocol", [CORRECT, VSS], ids=["correct", "vss"])
class TestCorrected:
    @examples(1.5)
    @given(data=st.data())
    def test_within_the_bounds_any_cheats_and_crashes_leave_the_sum_right_and_no_honest_member_out_or_named(
        self, protocol: Spec, data: st.DataObject
    ) -> None:
        parties, cheats, faults = data.draw(occupancies(protocol))
        words = words_of(parties)
        assert_right(run(protocol, words, cheats, faults), words, frozenset(cheats) | frozenset(faults))

    @pytest.mark.parametrize(
        "cheat", [cheat for cheat in CHEATS if cheat is not FalseComplaints], ids=lambda cheat: cheat.__name__
    )
    @pytest.mark.parametrize("rank", [0, 3])
    def test_one_cheater_is_named_and_the_sum_is_right(self, protocol: Spec, cheat: type[Dealing], rank: int) -> None:
        words = words_of(4)
        if protocol is CORRECT:
            protocol = secure_sums.resolve({"name": "shamir", "mode": "correct", "threshold": "1", "least_honest": 2})
        opened = run(protocol, words, {rank: cheat})
        assert_right(opened, words, frozenset({rank}))
        # Without committed sums only what the decoder finds wrong in the words is wrong; its masks are not looked at.
        if not (cheat is OtherSumThanCommitted and protocol.parameters == CORRECT.parameters):
            assert opened.suspects in ({rank}, frozenset()) if cheat is OtherSumThanCommitted else {rank}

    def test_false_complaints_are_answered_openly_and_change_nothing(self, protocol: Spec) -> None:
        words = words_of(4)
        opened = run(protocol, words, {2: FalseComplaints})
        assert opened.contributors == (0, 1, 2, 3)
        assert opened.suspects == frozenset()
        assert_right(opened, words, frozenset({2}))

    def test_a_crash_at_any_step_keeps_what_was_dealt_in_full(self, protocol: Spec) -> None:
        words = words_of(5)
        seen = set()
        for step in STEPS:
            opened = run(protocol, words, faults={1: Crash(step=step)})
            assert_right(opened, words, frozenset({1}))
            assert not opened.suspects, "a crash is no cheating"
            seen.add(opened.contributors)
        assert seen == {(0, 2, 3, 4), (0, 1, 2, 3, 4)}

    def test_a_sum_of_too_few_inputs_is_withheld(self, protocol: Spec) -> None:
        """Invariant I17: with threshold t, fewer than t + 2 inputs could be those of one honest member."""
        parties = 5
        t = secure_sums.make(protocol).conditions.threshold_at(parties)
        crashed = parties - (t + 2) + 1
        with pytest.raises(TooFewPartiesError, match=f"at least {t + 2} inputs"):
            run(protocol, words_of(parties), faults={rank: Crash(step=0) for rank in range(crashed)})


@pytest.mark.parametrize("step", range(8, 12))
def test_whoever_leaves_around_the_opening_of_sums_that_it_has_committed_to_is_no_cheat(step: int) -> None:
    words = words_of(4)
    opened = run(VSS, words, faults={1: Crash(step=step)})
    assert opened.contributors == (0, 1, 2, 3)
    assert not opened.suspects
    assert_right(opened, words, frozenset({1}))


class TestAuthenticated:
    @pytest.mark.parametrize(
        "cheat", [cheat for cheat in CHEATS if cheat is not FalseComplaints], ids=lambda cheat: cheat.__name__
    )
    @pytest.mark.parametrize("rank", [0, 2])
    def test_a_cheater_is_named_and_nothing_is_opened(self, cheat: type[Dealing], rank: int) -> None:
        with pytest.raises(CheatingDetectedError, match="nothing was opened") as caught:
            run(AUTHENTICATED, words_of(3), {rank: cheat})
        assert caught.value.suspects == {rank}

    @examples(1.5)
    @given(
        parties=st.integers(2, 6),
        cheats=st.dictionaries(st.integers(0, 5), st.sampled_from(CHEATS), min_size=1, max_size=5),
    )
    def test_any_number_of_cheaters_get_the_right_sum_or_an_abort_that_names_none_but_them(
        self, parties: int, cheats: dict[int, type[Dealing]]
    ) -> None:
        words = words_of(parties)
        present = {rank: cheat for rank, cheat in cheats.items() if rank < parties}
        if set(present.values()) <= {FalseComplaints}:
            assert_right(run(AUTHENTICATED, words, present), words, frozenset(present))
            return
        with pytest.raises(CheatingDetectedError) as caught:
            run(AUTHENTICATED, words, present)
        assert caught.value.suspects
        assert caught.value.suspects <= present.keys()

    def test_a_crash_at_any_step_stops_it(self) -> None:
        for step in STEPS[:8]:
            with pytest.raises(NetworkError):
                run(AUTHENTICATED, words_of(3), faults={1: Crash(step=step)})

    def test_nothing_is_opened_before_the_last_check(self) -> None:
        """A cheater is found while the sums of shares are still hidden: the board has received none of them."""
        words, parties = words_of(3), InProcessParties(3)
        with cheating({1: WrongTags}), pytest.raises(CheatingDetectedError):
            parties.open_sums(AUTHENTICATED, words)
        sums = (len(words), secure_sums.make(AUTHENTICATED)._plan(3, *words.shape[::2]).sum_width)
        assert not any(each.payload.shape == sums for each in parties.transcripts[-1])
        assert torch.equal(parties.open_sums(AUTHENTICATED, words).sums, words.sum(dim=1))
        assert sum(each.payload.shape == sums for each in parties.transcripts[-1]) == 3


class TestPlantedBugs:
    """Each bug, planted into the real code, makes a check above fail."""

    @pytest.mark.parametrize(
        ("where", "name", "bug", "cheat", "protocol"),
        [
            (_verified.Dealing, "_misfits", lambda *_: [], InconsistentRow, CORRECT),
            (_bulletin.Bulletin, "_right", lambda *_: True, WrongSum, VSS),
            (_bulletin.Bulletin, "_right", lambda *_: True, WrongSum, AUTHENTICATED),
        ],
        ids=["rows are not checked", "sums are not checked", "the MAC is not checked"],
    )
    def test_a_check_that_is_left_out_lets_a_cheat_through(
        self, where: object, name: str, bug: Callable, cheat: type[Dealing], protocol: Spec
    ) -> None:
        words = words_of(4)
        with mock.patch.object(where, name, bug), pytest.raises((AssertionError, NetworkError)):
            assert_right(run(protocol, words, {0: cheat}), words, frozenset({0}))

    def test_a_forged_sum_fits_the_tags_and_is_stopped_by_the_commitment_alone(self) -> None:
        original = _bulletin.Bulletin._right

        def planted(self: object, rank: int, row: torch.Tensor, *given: object) -> bool:
            *proof, sums = given
            return original(self, rank, row, *proof, {**sums, rank: _verified.hash_rows(row)})

        words = words_of(4)
        with mock.patch.object(_bulletin.Bulletin, "_right", planted):
            opened = run(AUTHENTICATED, words, {0: ForgedSum})
        assert not torch.equal(opened.sums, words.sum(dim=1))

    def test_a_mac_that_skips_the_last_coordinate_lets_a_change_there_through(self) -> None:
        original = _bulletin.challenge

        def planted(*sizes: object) -> torch.Tensor:
            coefficients = original(*sizes)
            coefficients[:, -1] = 0
            return coefficients

        class LastCoordinate(Dealing):
            def _commit_sum(self, attempt: int) -> torch.Tensor:
                super()._commit_sum(attempt)
                self._sum[:, self._plan.coordinates - 1] += 1
                return _verified.hash_rows(self._sum)

        words = words_of(3)
        with pytest.raises(CheatingDetectedError):
            run(AUTHENTICATED, words, {1: LastCoordinate})
        with mock.patch.object(_bulletin, "challenge", planted), mock.patch.object(_verified, "challenge", planted):
            opened = run(AUTHENTICATED, words, {1: LastCoordinate})
        assert not torch.equal(opened.sums, words.sum(dim=1))

    def test_masks_that_are_used_twice_are_seen_as_equal_tags(self) -> None:
        """Each attempt has masks of its own: the tags of two attempts differ by more than the challenge."""
        plan = secure_sums.make(VSS)._plan(4, 1, 3)
        assert plan.attempts == 3
        rows = torch.arange(plan.width).view(1, -1)
        zero = torch.zeros(plan.checks, 3, dtype=torch.int64)
        masks = [plan.tag(zero, rows, attempt).flatten().tolist() for attempt in range(plan.attempts)]
        assert len({mask for each in masks for mask in each}) == plan.checks * plan.attempts


def test_processes_open_the_same_words_at_the_same_cost(pool: PartyPool) -> None:
    for protocol in (CORRECT, VSS, AUTHENTICATED):
        words = words_of(5)
        ours, theirs = InProcessParties(5).open_sums(protocol, words), pool.open_sums(protocol, words)
        assert torch.equal(ours.sums, theirs.sums)
        assert ours.traffic == theirs.traffic
        clusters, members, coordinates = words.shape
        formula = secure_sums.make(protocol).cost(parties=members, clusters=clusters, coordinates=coordinates)
        assert ours.traffic == formula


@pytest.mark.parametrize("step", range(6))
def test_without_verification_no_two_members_that_say_anything_of_their_shares_stop_the_sum(step: int) -> None:
    """Invariant I34 of the mode `passive`: it is live despite b + k <= c - t - 1, whatever these send."""
    protocol = secure_sums.resolve({"name": "shamir", "mode": "passive", "threshold": "2", "least_honest": 2})
    words = words_of(6)
    for fault in (Tamper(step=step, delta=1), Garbage(step=step), Crash(step=step)):
        opened = run(protocol, words, faults={0: fault, 4: fault})
        assert {1, 2, 3, 5} <= set(opened.contributors)


@pytest.mark.parametrize("mode", ["passive", "detect"])
@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_dealer_that_crashes_while_it_deals_is_in_no_sum(mode: str, after: int) -> None:
    """Members 0 .. after - 1 have its shares, the others have not."""
    protocol, words = secure_sums.resolve({"name": "shamir", "mode": mode, "threshold": "1"}), words_of(5)
    opened = run(protocol, words, faults={4: Crash(step=0, after=after)})
    assert opened.contributors == (0, 1, 2, 3)
    assert torch.equal(opened.sums, words[:, :4].sum(dim=1))


@pytest.mark.parametrize(
    ("parameters", "parties", "text"),
    [
        ({"threshold": "c"}, 5, r"threshold = 'c' gives 5 for clusters of 5; allowed: 0 to 4"),
        ({}, 3, "threshold = 'c/3' gives 0 for clusters of 3, which hides nothing"),
        ({"threshold": "4"}, 5, r"least_honest = 2 for clusters of 5; allowed: threshold \+ least_honest <= 5"),
        ({"modulus": 5, "fraction_bits": 0, "threshold": "1"}, 5, "modulus = 5 is too small for clusters of 5"),
        ({"modulus": 6, "fraction_bits": 0}, 3, "modulus = 6 is not prime"),
        ({"checks": 0}, 3, "checks = 0"),
        ({"mode": "corect"}, 3, "mode = 'corect'"),
    ],
)
def test_a_size_or_parameter_that_does_not_fit_is_refused_before_anything_is_sent(
    parameters: dict[str, object], parties: int, text: str
) -> None:
    threads = InProcessParties(parties)
    with pytest.raises(ValueError, match=text):
        threads.open_sums(secure_sums.resolve({"name": "shamir", **parameters}), words_of(parties))
    assert not any(threads.transcripts.values())
