"""Invariant I38: nobody can foresee or bias what a beacon draws, whatever up to t processes do, and flaws are seen."""

import hashlib
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from protocols import playable as playables
from protocols.beacons import Drawn, Occasion, beacons, shared, value_of
from protocols.beacons.given import Given
from protocols.beacons.shared import Shared
from protocols.check import CloisterError
from protocols.faults import Combined, Crash, Garbage, Mute, Replay, Tamper, Truncate
from protocols.faulty_link import Batches, Fault, Kind, Messages
from protocols.in_process import InProcessParties
from protocols.network import BOARD, NetworkError, TooFewPartiesError
from protocols.parties import OpenedSums
from protocols.party_pool import PartyPool
from protocols.randomness import SecretStreams
from protocols.registry import Spec
from protocols.ring import FixedPoint
from protocols.secret_source import OwnSecrets
from protocols.secure_sum import Board, Opened, Party, _verified
from protocols.secure_sum._bulletin import Bulletin, OpenedRows
from protocols.secure_sum._sharing import PolynomialSharing
from protocols.secure_sum._verified import Dealing, hear, say
from protocols.secure_sum._verified_plan import Plan, as_bytes
from protocols.testing import verification
from protocols.testing.invariants import INVARIANTS
from protocols.testing.invariants import beacons as kit
from protocols.testing.invariants.contract import Evidence, Violation
from protocols.testing.keyrings import replayable_keyring
from protocols.testing.verification import Row
from protocols.types import Traffic
from tests.examples import examples
from tests.properties.test_verified_dealing import CHEATS

SPEC = beacons.resolve("shared")
TINY = beacons.resolve({"name": "shared", "elements": 1, "modulus": 5, "checks": 1})
NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
HOUSE = "tests/properties/test_beacons.py"
OCCASION = Occasion(purpose="clustering", number=3)
# Exchanges of a process when nobody is accused: it deals in 0, opens in 10, and is shown what was opened in 11.
LAST = 11


def contributions(parties: int, seed: int = 0) -> Tensor:
    sources = [OwnSecrets(SecretStreams.replayable(seed, "test", rank)) for rank in range(parties)]
    return torch.stack([Shared().contribution(source, OCCASION) for source in sources], dim=1)


@dataclass(frozen=True, kw_only=True)
class Run:
    """What the board opened and told process 0, and which dealers and sum each process took, or why it took none."""

    opened: OpenedSums
    taken: Mapping[int, tuple[tuple[int, ...], list[int]]]
    refused: Mapping[int, NetworkError]
    shown: Sequence[Tensor]


def run(
    words: Tensor,
    *,
    cheats: Mapping[int, type[Dealing]] | None = None,
    faults: Mapping[int, Fault] | None = None,
    schedule: int | None = None,
) -> Run:
    taken: dict[int, tuple[tuple[int, ...], list[int]]] = {}
    refused: dict[int, NetworkError] = {}
    original = Shared.take_part

    def take_part(self: Shared, party: Party, words: Tensor) -> tuple[tuple[int, ...], Tensor]:
        try:
            dealers, total = original(self, party, words)
        except NetworkError as error:
            refused[party.rank] = error
            raise
        taken[party.rank] = dealers, total.flatten().tolist()
        return dealers, total

    def make(plan: Plan, party: Party, words: Tensor) -> Dealing:
        return (cheats or {}).get(party.rank, Dealing)(plan, party, words)

    threads = InProcessParties(words.shape[1], faults=faults, schedule=schedule, keyring=replayable_keyring(0))
    with mock.patch.object(Shared, "take_part", take_part), mock.patch.object(_verified, "Dealing", make):
        opened = threads.open_sums(SPEC, words)
    shown = [each.payload for each in threads.transcripts[0] if each.sender == BOARD]
    return Run(opened=opened, taken=taken, refused=refused, shown=shown)


def threshold(parties: int) -> int:
    return (parties - 1) // 2


def total_of(words: Tensor, who: Sequence[int]) -> list[int]:
    """In Python's integers."""
    return [sum(each) % (2**61 - 1) for each in zip(*(words[0, rank].tolist() for rank in who), strict=True)]


def assert_right(found: Run, words: Tensor, faulty: frozenset[int]) -> None:
    """All honest processes took the sum of the same contributions, theirs among them, and nobody honest is named."""
    honest = set(range(words.shape[1])) - faulty
    qualified = found.opened.contributors
    assert honest <= set(qualified)
    assert found.opened.suspects <= faulty
    expected = (qualified, total_of(words, qualified))
    assert found.opened.sums.flatten().tolist() == expected[1]
    assert {rank: found.taken.get(rank) for rank in honest} == dict.fromkeys(honest, expected)


def is_opening(outgoing: Messages) -> bool:
    """Whether a process opens its sum of rows in this exchange: one row of 5 elements, 2 masks and 2 words of salt."""
    return outgoing.keys() == {BOARD} and outgoing[BOARD].shape == (1, 9)


@dataclass(frozen=True, kw_only=True)
class AtOpening:
    """Follows the protocol until its sum of rows is due, and does something else then; `step` counts from there."""

    kind: ClassVar[Kind] = "byzantine"
    fault: Fault
    step: int = 0

    def __call__(self, step: int, outgoing: Messages, batches: Batches) -> object:
        """See Fault."""
        return self.fault(self.fault.step, outgoing, batches) if is_opening(outgoing) else [outgoing]


def kinds_of_faults(step: st.SearchStrategy[int]) -> st.SearchStrategy[Fault]:
    return st.one_of(
        st.builds(Crash, step=step, after=st.one_of(st.none(), st.integers(1, 3))),
        st.builds(Mute, step=step, to=st.one_of(st.none(), st.integers(0, 6), st.just(BOARD))),
        st.builds(Tamper, step=step, delta=st.integers(1, 2**63), to=st.one_of(st.none(), st.integers(0, 6))),
        st.builds(Garbage, step=step, seed=st.integers(0, 99), excess_bytes=st.sampled_from([0, 1])),
        st.builds(Truncate, step=step),
        st.builds(Replay, step=step),
    )


@st.composite
def adversaries(draw: st.DrawFn) -> tuple[int, dict[int, type[Dealing]], dict[int, Fault]]:
    """A number of processes, and up to t of them that cheat in their dealing, fail in any exchange, or both."""
    parties = draw(st.integers(3, 7))
    places = draw(st.permutations(range(parties)))[: draw(st.integers(1, threshold(parties)))]
    cheats = {rank: draw(st.sampled_from(CHEATS)) for rank in places if draw(st.booleans())}
    faults = {
        rank: draw(kinds_of_faults(st.integers(0, LAST)))
        for rank in places
        if rank not in cheats or draw(st.booleans())
    }
    return parties, cheats, faults


@examples(1)
@given(adversary=adversaries(), schedule=st.one_of(st.none(), st.integers(0, 99)))
def test_all_honest_processes_get_the_same_value_whatever_t_processes_do(
    adversary: tuple[int, dict[int, type[Dealing]], dict[int, Fault]], schedule: int | None
) -> None:
    parties, cheats, faults = adversary
    words = contributions(parties)
    found = run(words, cheats=cheats, faults=faults, schedule=schedule)
    assert_right(found, words, frozenset(cheats) | frozenset(faults))
    assert len(found.opened.contributors) > threshold(parties)


@examples(1)
@given(adversary=adversaries(), data=st.data())
def test_the_value_is_fixed_before_the_first_opening_whatever_is_opened_then(
    adversary: tuple[int, dict[int, type[Dealing]], dict[int, Fault]], data: st.DataObject
) -> None:
    """Against the same dealings and faults before: so what others open, which a rushing process sees, cannot matter."""
    parties, cheats, faults = adversary
    words = contributions(parties)
    before = run(words, cheats=cheats, faults=faults)
    late = {rank: AtOpening(fault=data.draw(kinds_of_faults(st.just(0)))) for rank in cheats.keys() | faults.keys()}
    both = {rank: Combined(faults=(faults[rank], fault)) if rank in faults else fault for rank, fault in late.items()}
    after = run(words, cheats=cheats, faults=both)
    assert (after.opened.contributors, after.opened.sums.tolist()) == (
        before.opened.contributors,
        before.opened.sums.tolist(),
    )
    assert_right(after, words, frozenset(late))


@pytest.mark.parametrize("parties", [3, 4, 5])
def test_every_set_of_t_processes_that_withholds_its_openings_is_recovered_from(parties: int) -> None:
    words = contributions(parties)
    for gone in itertools.combinations(range(parties), threshold(parties)):
        found = run(words, faults={rank: AtOpening(fault=Crash(step=0)) for rank in gone})
        assert found.opened.contributors == tuple(range(parties))
        assert_right(found, words, frozenset(gone))


def test_dealers_that_are_told_by_who_opens_are_seen() -> None:
    """Planted into the real code: whoever withholds its row chooses between two sets of dealers, and so two values."""
    original = Bulletin.run

    def forgetful(self: Bulletin) -> OpenedRows:
        rows = original(self)
        return replace(rows, dealers=tuple(rows.positions))

    words = contributions(4)
    with mock.patch.object(Bulletin, "run", forgetful), pytest.raises(AssertionError):
        assert_right(run(words, faults={1: AtOpening(fault=Crash(step=0))}), words, frozenset({1}))


def test_an_opening_that_is_not_checked_against_its_commitment_is_seen() -> None:
    """Planted into the real code: the first row counts, whatever it is."""
    original = Shared._plan

    def trusting(self: Shared, *sizes: int) -> Plan:
        return replace(original(self, *sizes), committed_sums=False)

    words, forged = contributions(4), {0: AtOpening(fault=Tamper(step=0, delta=1, word=0))}
    assert_right(run(words, faults=forged), words, frozenset({0}))
    with mock.patch.object(Shared, "_plan", trusting), pytest.raises(AssertionError):
        assert_right(run(words, faults=forged), words, frozenset({0}))


@pytest.mark.parametrize("parties", [3, 4, 5])
def test_contributions_are_dealt_with_as_many_random_coefficients_as_processes_may_be_faulty(parties: int) -> None:
    """So that t rows tell nothing of a contribution; the exact law of tiny fields shows what fewer would."""
    original, drawn = PolynomialSharing.basis, list[int]()

    def basis(sharing: PolynomialSharing, secrets: Tensor, randomness: Tensor) -> Tensor:
        drawn.append(len(randomness))
        return original(sharing, secrets, randomness)

    with mock.patch.object(PolynomialSharing, "basis", basis):
        run(contributions(parties))
    assert drawn == [threshold(parties)] * parties


def test_too_few_dealers_end_it_before_any_honest_row_is_opened() -> None:
    threads = InProcessParties(5, faults={rank: Crash(step=0) for rank in (0, 2, 3)})
    with pytest.raises(TooFewPartiesError, match=r"the inputs of parties \[1, 4\] are left; allowed: at least 3"):
        threads.open_sums(SPEC, contributions(5))
    assert not any(each.payload.shape == (1, 9) for each in threads.transcripts[BOARD])


class TestTheBoardsLastWord:
    """It is relayed, not believed: each process computes the value from rows that its own must lie among."""

    @pytest.mark.parametrize("word", [2, 7])
    def test_a_row_that_does_not_lie_on_the_polynomial_is_not_taken(self, word: int) -> None:
        found = run(contributions(4), faults={BOARD: Garbled(Tamper(step=0, delta=1, word=word))})
        assert found.taken == {}
        assert set(found.refused) == {0, 1, 2, 3}
        assert all("do not fit this process's own" in str(error) for error in found.refused.values())

    def test_the_openings_of_an_older_draw_are_not_taken(self) -> None:
        """The twin believes the board, and takes the older value for this one."""

        def believing(plan: Plan, shown: Tensor, *_: object) -> Tensor:
            return plan.sharing.open(range(plan.parties), shown)

        older = run(contributions(4, seed=1))
        words, faults = contributions(4, seed=2), {BOARD: Garbled(Showing(older.shown[-1]))}
        assert run(words, faults=faults).taken == {}
        with mock.patch.object(shared, "_combined", believing):
            taken = run(words, faults=faults).taken
        assert taken == older.taken != run(words).taken


@dataclass(frozen=True)
class Showing:
    """Shows this instead."""

    shown: Tensor
    step: int = 0

    def __call__(self, step: int, outgoing: Messages, batches: Batches) -> list[Messages]:
        """See Fault."""
        return [dict.fromkeys(outgoing, self.shown)]


@dataclass(frozen=True)
class Garbled:
    """The board, which otherwise tells what is true, has a fault where it shows the opened rows."""

    fault: Fault
    kind: ClassVar[Kind] = "byzantine"
    step: int = 0

    def __call__(self, step: int, outgoing: Messages, batches: Batches) -> object:
        """See Fault."""
        shows = any(tensor.shape == (4, 1, 5) for tensor in outgoing.values())
        return self.fault(self.fault.step, outgoing, batches) if shows else [outgoing]


class TestValues:
    def test_another_purpose_number_set_or_word_gives_another_value(self) -> None:
        same = {"parties": 4, "qualified": (0, 1, 2), "words": (5, 6)}
        values = [
            value_of(OCCASION, **same),
            value_of(replace(OCCASION, number=4), **same),
            value_of(replace(OCCASION, purpose="participants"), **same),
            value_of(OCCASION, **{**same, "parties": 5}),
            value_of(OCCASION, **{**same, "qualified": (0, 1)}),
            value_of(OCCASION, **{**same, "words": (56,)}),
            value_of(OCCASION, **{**same, "words": (6, 5)}),
        ]
        assert len(set(values)) == len(values)
        assert all(0 <= value < 2**256 for value in values)

    def test_without_its_occasion_an_older_opening_is_accepted_for_a_later_draw(self) -> None:
        """Whoever checks a value by what was opened for it: a replay of round 3 in round 4 is found by the label."""
        older = {
            "parties": 4,
            "qualified": (0, 1, 2, 3),
            "words": tuple(run(contributions(4)).shown[-1].flatten().tolist()),
        }

        def accepted(value: int, occasion: Occasion) -> bool:
            return value_of(occasion, **older) == value

        replayed, later = value_of(OCCASION, **older), replace(OCCASION, number=4)
        assert accepted(replayed, OCCASION)
        assert not accepted(replayed, later)
        with mock.patch.object(Occasion, "label", ()):
            assert accepted(value_of(OCCASION, **older), later)

    def test_a_draw_is_the_hash_of_what_its_processes_opened_and_another_number_has_fresh_contributions(self) -> None:
        sources = [OwnSecrets(SecretStreams.replayable(0, "draw", rank)) for rank in range(4)]
        company = InProcessParties(4)
        first, second = (
            Shared().draw(Occasion(purpose="clustering", number=number), company, sources, given=0)
            for number in range(2)
        )
        again = [OwnSecrets(SecretStreams.replayable(0, "draw", rank)) for rank in range(4)]
        words = torch.stack([Shared().contribution(source, replace(OCCASION, number=0)) for source in again], dim=1)
        expected = value_of(replace(OCCASION, number=0), parties=4, qualified=range(4), words=total_of(words, range(4)))
        assert first.value == expected != second.value
        assert first.qualified == (0, 1, 2, 3)
        assert first.traffic == Shared().cost(parties=4, clusters=1, coordinates=5)

    def test_a_contribution_is_drawn_once(self) -> None:
        source = OwnSecrets.fresh()
        Shared().contribution(source, OCCASION)
        with pytest.raises(CloisterError, match="use = 3"):
            Shared().contribution(source, OCCASION)

    def test_a_given_value_is_taken_as_it_is_and_costs_nothing(self) -> None:
        drawn = Given().draw(OCCASION, InProcessParties(1), (), given=17)
        assert drawn == Drawn(value=17, qualified=(), suspects=frozenset(), traffic=Traffic.none())


class TestTheExactLaw:
    def test_no_strategy_of_one_in_three_opens_any_value_more_often_than_another(self) -> None:
        law = kit.law_of(TINY, thorough=False)
        assert law.best == law.uniform == Fraction(1, 5)
        assert law.aborts == ()
        # All deviations of all kinds; each is run on all 5^6 draws of one honest process.
        assert law.cases == 16 * 5**6

    def test_without_a_commitment_the_last_to_speak_picks_the_value(self) -> None:
        with playing(AddsWhatIsPosted()):
            assert kit.law_of(TWIN).best == 1
            with pytest.raises(Violation, match="opens a value with chance 1\nreplay"):
                kit.is_unbiased(TWIN)

    def test_without_recovery_who_withholds_its_opening_has_two_values_to_choose_from(self) -> None:
        with playing(CommitsAndReveals()):
            law = kit.law_of(TWIN, thorough=False)
        assert law.best == Fraction(2, 5)
        assert law.uniform == Fraction(1, 5)

    @pytest.mark.parametrize(("colluding", "best"), [(1, Fraction(2, 5)), (2, Fraction(4, 5)), (3, 1)])
    def test_without_recovery_k_processes_choose_among_two_to_the_k_values(
        self, colluding: int, best: Fraction
    ) -> None:
        """Commit and reveal in integers: the sum of the honest values is uniform, each other value is left out or not.

        With contributions 1, 2, .. the colluding processes reach that many of the five values from each honest sum.
        """
        offsets = {sum(chosen) % 5 for k in range(colluding + 1) for chosen in subsets((1, 2, 4)[:colluding], k)}
        hits = sum((honest + offset) % 5 == 0 for honest in range(5) for offset in offsets)
        assert Fraction(hits, 5) == best

    def test_a_contribution_that_t_rows_tell_is_seen(self) -> None:
        original = Shared._plan

        def shallow(self: Shared, *sizes: int) -> Plan:
            plan = original(self, *sizes)
            field = plan.sharing.field
            return Plan(**{**vars(plan), "sharing": type(plan.sharing)(field=field, degree=0)})

        with mock.patch.object(Shared, "_plan", shallow):
            assert kit.law_of(TINY, thorough=False).best > Fraction(1, 5)


class TestTheReport:
    """The whole law, with all kinds of deviations, is found where the report is written, and at night."""

    def row(self, outcomes: dict[str, str], shown: Evidence | Violation) -> Row:
        invariant = next(each for each in INVARIANTS if each.number == 38)
        assert invariant.evidence is kit.is_unbiased
        evidence = mock.Mock(side_effect=shown) if isinstance(shown, Violation) else mock.Mock(return_value=shown)
        with mock.patch.object(verification, "INVARIANTS", (replace(invariant, evidence=evidence),)):
            return verification.house_rows(outcomes)[0]

    def test_says_how_it_was_shown_and_on_how_many_cases_once_its_tests_have_passed(self) -> None:
        shown = Evidence(how="exact", cases=123, text="no strategy does")
        row = self.row({f"{HOUSE}::TestTheExactLaw::test_a": "passed"}, shown)
        assert (row.status, row.text) == ("holds", "exact, 123 cases: no strategy does; 1 tests")
        assert self.row({}, shown).status == "not run"
        assert self.row({f"{HOUSE}::TestTheExactLaw::test_a": "failed"}, shown).status == "violated"

    def test_calls_it_violated_where_it_does_not_show_again(self) -> None:
        row = self.row({f"{HOUSE}::TestTheExactLaw::test_a": "passed"}, Violation("it is biased", replay="a line"))
        assert (row.status, row.text) == ("violated", "it is biased\nreplay: a line")

    @pytest.mark.skipif(not NIGHTLY, reason="runs 90 deviations on all draws: the nightly profile does")
    def test_no_deviation_of_any_kind_moves_the_law(self) -> None:
        assert kit.is_unbiased().cases > 10**6


def subsets(values: Sequence[int], count: int) -> list[tuple[int, ...]]:
    return list(itertools.combinations(values, count))


TWIN = Spec(name="twin")


class _Twin:
    """What a beacon that is played needs besides its steps."""

    ring = FixedPoint(modulus=5, fraction_bits=0)

    def check_size(self, *, parties: int) -> None:
        """See Playable."""


class AddsWhatIsPosted(_Twin):
    """The twin that reveals without a commitment."""

    def contribute(self, party: Party, words: Tensor) -> None:
        """See Playable."""
        say(party.link, words)
        hear(party.link, torch.empty_like(words))

    def collect(self, board: Board) -> Opened:
        """See Playable."""
        posted = {rank: torch.zeros(board.clusters, 1, dtype=torch.int64) for rank in range(board.parties)}
        lost = board.link.try_exchange({}, posted)
        there = [rank for rank in posted if rank not in lost]
        total = torch.stack([posted[rank] for rank in there]).sum(dim=0) % 5
        board.link.try_exchange(dict.fromkeys(there, total), {})
        return Opened(sums=total, contributors=tuple(there))


class CommitsAndReveals(_Twin):
    """The twin that leaves out contributions that their owners do not open: plain commit and reveal."""

    def contribute(self, party: Party, words: Tensor) -> None:
        """See Playable; one honest process draws its contribution's mask, so that there is something to enumerate."""
        mask = party.keys.secrets.words(purpose="mask", use=party.use, clusters=len(words), count=1)
        opening = torch.cat([words, mask % 5], dim=1)
        say(party.link, as_bytes(hashlib.sha256(opening.numpy().tobytes()).digest()))
        hear(party.link, torch.empty(party.parties * 32, dtype=torch.uint8))
        say(party.link, opening)
        hear(party.link, torch.empty_like(words))

    def collect(self, board: Board) -> Opened:
        """See Playable."""
        hashes = {rank: torch.zeros(32, dtype=torch.uint8) for rank in range(board.parties)}
        lost = board.link.try_exchange({}, hashes)
        shown = torch.cat([hashes[rank] for rank in range(board.parties)])
        board.link.try_exchange({rank: shown for rank in hashes if rank not in lost}, {})
        opened = {rank: torch.zeros(board.clusters, 2, dtype=torch.int64) for rank in hashes if rank not in lost}
        lost = board.link.try_exchange({}, opened)
        right = [
            rank
            for rank, opening in opened.items()
            if rank not in lost and hashlib.sha256(opening.numpy().tobytes()).digest() == hashes[rank].numpy().tobytes()
        ]
        total = torch.stack([opened[rank][:, :1] for rank in right]).sum(dim=0) % 5
        board.link.try_exchange({rank: total for rank in opened if rank not in lost}, {})
        return Opened(sums=total, contributors=tuple(right))


@contextmanager
def playing(twin: object) -> Iterator[None]:
    """Let every spec stand for the twin."""
    places = ("protocols.parties", "protocols.testing._taped", "protocols.testing.invariants.beacons")
    with ExitStack() as patches:
        for place in places:
            patches.enter_context(mock.patch(f"{place}.playable", return_value=twin))
        yield


@pytest.mark.parametrize("parties", [3, 5])
def test_processes_draw_the_same_words_at_the_same_cost(pool: PartyPool, parties: int) -> None:
    words = contributions(parties)
    ours, theirs = InProcessParties(parties).open_sums(SPEC, words), pool.open_sums(SPEC, words)
    assert torch.equal(ours.sums, theirs.sums)
    assert ours.sums.flatten().tolist() == total_of(words, range(parties))
    assert ours.traffic == theirs.traffic == Shared().cost(parties=parties, clusters=1, coordinates=5)


@pytest.mark.parametrize(
    ("parameters", "parties", "text"),
    [
        ({}, 2, r"parties = 2 cannot run this beacon; allowed: 3 to 128"),
        ({}, 129, r"parties = 129 cannot run this beacon; allowed: 3 to 128"),
        ({"modulus": 5}, 5, r"modulus = 5 is too small for 5 processes; allowed: a prime above 5"),
    ],
)
def test_a_number_of_processes_that_does_not_fit_is_refused_before_anything_is_sent(
    parameters: dict[str, object], parties: int, text: str
) -> None:
    company = InProcessParties(3)
    beacon = beacons.make(beacons.resolve({"name": "shared", **parameters}))
    with pytest.raises(CloisterError, match=text):
        beacon.check_size(parties=parties)
    assert company.transcripts == {}


def test_parameters_that_make_no_sense_are_refused() -> None:
    for wrong in ({"elements": 0}, {"checks": 0}, {"modulus": 6}):
        with pytest.raises(CloisterError, match=next(iter(wrong))):
            beacons.resolve({"name": "shared", **wrong})


def test_a_beacon_that_has_the_name_of_a_protocol_is_refused() -> None:
    same = mock.patch.object(playables.cluster_protocols, "entries", return_value={"shared": None})
    with same, pytest.raises(CloisterError, match="'shared' is a protocol and a beacon"):
        playables.playable(SPEC)
