"""Masked sums: exact over the members whose words came, whoever drops out, and never masked twice alike."""

import itertools
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from unittest import mock

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from protocols.check import CloisterError
from protocols.faults import Crash, Delay, Mute
from protocols.faulty_link import Fault, FaultyLink
from protocols.in_process import InProcessParties
from protocols.network import BOARD, NetworkError, TooFewPartiesError
from protocols.parties import run_board, run_member
from protocols.party_pool import PartyPool
from protocols.randomness import SecretStreams
from protocols.registry import Spec
from protocols.secure_sum import Board, Opened, Party, _masked_member, _masked_server, _masking, secure_sums
from protocols.secure_sum._masking import Plan
from protocols.tcp_link import TcpLink
from protocols.testing.keyrings import replayable_keyring
from tests.examples import examples
from tests.masked import MODES, SENDS_WORDS, SIGNED, SPARSE, assert_exact, masked, plan_of, releases, words_of
from tests.tcp import in_parallel, tcp_links

CONFIGS = (
    masked(),
    masked("malicious_server"),
    masked(bits=32, threshold="c/2+1"),
    masked(name="masked_graph"),
    masked(name="masked_graph", sigma=4, eta=2, gamma=0.1, delta=0.3),
)


class TestSums:
    @pytest.mark.parametrize("spec", CONFIGS, ids=str)
    @examples(0.8)
    @given(
        members=st.integers(1, 8), clusters=st.integers(1, 4), coordinates=st.integers(1, 9), seed=st.integers(0, 99)
    )
    def test_the_board_reads_the_exact_sum_at_the_cost_of_the_closed_form(
        self, spec: Spec, members: int, clusters: int, coordinates: int, seed: int
    ) -> None:
        words = words_of(members, clusters, coordinates, seed)
        opened = InProcessParties(members).open_sums(spec, words)
        assert_exact(spec, opened, words, range(members))
        protocol = secure_sums.make(spec)
        assert opened.traffic == protocol.cost(parties=members, clusters=clusters, coordinates=coordinates)

    @pytest.mark.parametrize("spec", CONFIGS, ids=str)
    def test_processes_over_tcp_return_the_same_words_at_the_same_cost(self, spec: Spec, pool: PartyPool) -> None:
        for members, clusters, coordinates in ((1, 1, 1), (3, 2, 1001), (8, 3, 5)):
            words = words_of(members, clusters, coordinates)
            ours, theirs = InProcessParties(members).open_sums(spec, words), pool.open_sums(spec, words)
            assert_exact(spec, theirs, words, range(members))
            assert torch.equal(ours.sums, theirs.sums)
            assert ours.traffic == theirs.traffic

    def test_a_batch_of_eight_members_costs_the_published_words(self) -> None:
        """Per member: its words; 37 c - 21 words of keys, shares and lists; 16 c + 1 more if they are signed."""
        for mode, extra, rounds in (("semi_honest", 0, 3), ("malicious_server", 16 * 8 + 1, 5)):
            cost = secure_sums.make(masked(mode)).cost(parties=8, clusters=2, coordinates=100)
            words = cost.offline.payload_bytes + cost.upload.payload_bytes
            assert words == 8 * 8 * (2 * 100 + 37 * 8 - 21 + extra)
            assert (cost.offline.rounds, cost.mpc.rounds, cost.upload.rounds) == (4, 0, rounds)

    def test_what_is_sent_before_the_inputs_does_not_depend_on_them(self) -> None:
        """All messages of rounds 0 and 1 are the same for other words, and the masked ones differ in each word."""
        seen: list[list[torch.Tensor]] = []
        for seed in (1, 2):
            parties = InProcessParties(3, keyring=replayable_keyring(7))
            parties.open_sums(masked(), words_of(3, seed=seed))
            seen.append([message.payload for message in parties.transcripts[BOARD]])
        first, second = seen
        assert [message.shape for message in first] == [message.shape for message in second]
        assert all(torch.equal(a, b) for a, b in zip(first[:6], second[:6], strict=True))
        assert all(bool((a != b).all()) for a, b in zip(first[6:9], second[6:9], strict=True))

    def test_masked_words_stay_in_the_ring(self) -> None:
        parties = InProcessParties(3)
        parties.open_sums(masked(bits=20), words_of(3) % 100)
        sent = [m.payload for m in parties.transcripts[BOARD]][6:9]
        assert all(bool(((words >= -(2**19)) & (words < 2**19)).all()) for words in sent)


FAULTS = (
    lambda step: Crash(step=step),
    lambda step: Crash(step=step, after=1),
    lambda step: Mute(step=step),
    lambda step: Delay(step=step, seconds=1e6),
)


def contributes(fault: Fault) -> bool:
    """Whether the masked words of a member with this fault arrive in time."""
    return fault.step > SENDS_WORDS or (isinstance(fault, Crash) and fault.after == 1 and fault.step == SENDS_WORDS)


def assert_sum_of_those_who_contributed(spec: Spec, members: int, faults: Mapping[int, Fault], schedule: int) -> None:
    words = words_of(members, seed=schedule)
    opened = InProcessParties(members, faults=faults, schedule=schedule).open_sums(spec, words)
    gone = {rank for rank, fault in faults.items() if not contributes(fault)}
    assert_exact(spec, opened, words, set(range(members)) - gone)


@dataclass(frozen=True)
class Dropouts:
    """A cluster, its threshold, and who drops out when."""

    members: int
    threshold: int
    mode: str
    faults: dict[int, Fault]
    schedule: int

    @property
    def spec(self) -> Spec:
        return masked(self.mode, threshold=str(self.threshold))


@st.composite
def dropouts(draw: st.DrawFn, *, beyond: int = 0) -> Dropouts:
    """At most c - t members drop out, or exactly c - t + beyond."""
    members, mode = draw(st.integers(1 + beyond, 6)), draw(st.sampled_from(MODES))
    threshold = draw(st.integers(1 if mode == "semi_honest" else members // 2 + 1, members))
    most = members - threshold + beyond
    ranks = draw(st.lists(st.integers(0, members - 1), min_size=most if beyond else 0, max_size=most, unique=True))
    # A crash after its last message goes unnoticed: those that must be missed leave before it.
    steps, kinds = st.integers(0, releases(mode)), FAULTS if not beyond else (FAULTS[0], FAULTS[2], FAULTS[3])
    faults = {rank: draw(st.sampled_from(kinds))(draw(steps)) for rank in ranks}
    return Dropouts(members, threshold, mode, faults, draw(st.integers(0, 99)))


class TestDropouts:
    @examples(2)
    @given(case=dropouts())
    def test_with_up_to_c_minus_t_dropouts_anywhere_the_sum_is_that_of_the_contributors(self, case: Dropouts) -> None:
        assert_sum_of_those_who_contributed(case.spec, case.members, case.faults, case.schedule)

    @examples(1.5)
    @given(case=dropouts(beyond=1))
    def test_with_one_more_nothing_is_opened_and_the_error_says_how_many_are_left(self, case: Dropouts) -> None:
        parties = InProcessParties(case.members, faults=case.faults, schedule=case.schedule)
        text = rf"^{case.threshold - 1} of {case.members} members .*; needed: at least {case.threshold}$"
        with pytest.raises(TooFewPartiesError, match=text):
            parties.open_sums(case.spec, words_of(case.members))

    @pytest.mark.parametrize("mode", MODES)
    def test_every_member_may_drop_out_at_every_message(self, mode: str) -> None:
        for rank, step, kind in itertools.product(range(3), range(releases(mode) + 1), FAULTS):
            assert_sum_of_those_who_contributed(masked(mode, threshold="2"), 3, {rank: kind(step)}, schedule=step)

    @pytest.mark.parametrize("mode", MODES)
    def test_late_messages_within_the_deadline_are_waited_for(self, mode: str) -> None:
        """Each step of each member takes almost the whole deadline, which the parties' budgets must add up to."""
        slow = {rank: Delay(step=step, seconds=59.0) for rank, step in enumerate(range(releases(mode) + 1))}
        words = words_of(5)
        opened = InProcessParties(5, faults=slow, schedule=1).open_sums(masked(mode), words)
        assert_exact(masked(mode), opened, words, range(5))

    @pytest.mark.parametrize("mode", MODES)
    def test_a_member_that_is_gone_does_not_hold_up_the_others_over_tcp(self, mode: str) -> None:
        """Its connections break, so that nobody waits for the deadline of an hour."""
        for rank, step in ((0, 0), (1, 1), (2, SENDS_WORDS), (3, 3), (1, releases(mode))):
            spec, words = masked(mode, threshold="3"), words_of(4, seed=step)
            opened = over_tcp(spec, words, {rank: Crash(step=step)})
            assert_exact(spec, opened, words, set(range(4)) - ({rank} if step <= SENDS_WORDS else set()))

    def test_a_pool_goes_on_after_a_batch(self) -> None:
        faults: dict[int, Fault] = {}
        parties, words = InProcessParties(4, faults=faults), words_of(4)
        for gone in ({2}, set(), {0}, set()):
            faults.clear()
            faults.update({rank: Crash(step=SENDS_WORDS) for rank in gone})
            assert_exact(masked(), parties.open_sums(masked(), words), words, set(range(4)) - gone)

    def test_a_sum_with_a_lone_honest_member_is_withheld_unless_it_is_asked_for(self) -> None:
        assert_nobody_is_left_alone()
        words = words_of(5)
        opened = InProcessParties(5, faults=ALONE).open_sums(masked(threshold="3", least_honest=1), words)
        assert_exact(masked(), opened, words, range(3))
        late: dict[int, Fault] = {3: Crash(step=3), 4: Crash(step=3)}  # their words are in the sum
        opened = InProcessParties(5, faults=late).open_sums(masked(threshold="3", least_honest=2), words)
        assert_exact(masked(), opened, words, range(5))

    def test_by_default_every_sum_has_two_honest_contributors_however_many_drop_out(self) -> None:
        for mode, members in itertools.product(MODES, range(1, 40)):
            protocol = secure_sums.make(secure_sums.resolve({"name": "masked", "mode": mode}))
            protocol.check_size(parties=members)
            t = protocol.conditions.threshold_at(members)
            colluding = min(t - 1 if mode == "semi_honest" else 2 * t - members - 1, members - 2)
            assert protocol._plan(members, 1, 1, 1).graph.least - colluding >= min(2, members)


ALONE: Mapping[int, Fault] = {3: Crash(step=SENDS_WORDS), 4: Crash(step=1)}
"""With t = 3 of 5, two of the three contributors that are left may collude."""


def assert_nobody_is_left_alone() -> None:
    try:
        opened = InProcessParties(5, faults=ALONE).open_sums(masked(threshold="3", least_honest=2), words_of(5))
    except TooFewPartiesError:
        return
    raise AssertionError(f"one of the contributors {opened.contributors} is exposed")


def over_tcp(spec: Spec, words: torch.Tensor, faults: Mapping[int, Fault]) -> Opened:
    """Run a batch over TCP between threads; parties with faults close their sockets when they fail."""
    clusters, members, coordinates = words.shape
    links = tcp_links(members, deadline_s=3600.0)
    keyrings = in_parallel(members, lambda rank: replayable_keyring(3)(links[rank], members))

    def member(rank: int) -> None:
        party = Party(link=FaultyLink(links[rank], faults.get(rank)), parties=members, use=1, keys=keyrings[rank])
        leaving(links[rank], lambda: run_member(spec, party, words[:, rank]))

    board = Board(link=links[-1], parties=members, use=1, clusters=clusters, coordinates=coordinates)
    try:
        with ThreadPoolExecutor(members + 1) as threads:
            runs = [threads.submit(member, rank) for rank in range(members)]
            opened = threads.submit(leaving, links[-1], lambda: run_board(spec, board))
        for run in runs:
            error = run.exception()
            assert error is None or isinstance(error, NetworkError)
        return opened.result()
    finally:
        for link in links:
            link.close()


def leaving(link: TcpLink, work: Callable[[], object]) -> object:
    try:
        return work()
    except BaseException:
        link.close()
        raise


class TestGraphs:
    @examples(0.8)
    @given(members=st.integers(1, 12), chosen=st.data(), schedule=st.integers(0, 99))
    def test_with_up_to_a_part_delta_of_dropouts_the_sum_is_that_of_the_contributors(
        self, members: int, chosen: st.DataObject, schedule: int
    ) -> None:
        ranks = chosen.draw(st.lists(st.integers(0, members - 1), max_size=members // 4, unique=True))
        faults = {rank: chosen.draw(st.sampled_from(FAULTS))(chosen.draw(st.integers(0, 3))) for rank in ranks}
        assert_sum_of_those_who_contributed(SPARSE, members, faults, schedule)

    def test_with_one_more_dropout_nothing_is_opened(self) -> None:
        faults = {rank: Crash(step=SENDS_WORDS) for rank in range(4)}
        with pytest.raises(TooFewPartiesError, match=r"^8 of 12 members sent masked words; needed: at least 9$"):
            InProcessParties(12, faults=faults).open_sums(SPARSE, words_of(12))

    def test_a_key_of_which_too_few_shares_are_left_stops_the_sum(self) -> None:
        plan = plan_of(SPARSE, 12, use=1)
        assert plan.graph.degree < 11
        chosen = plan.graph.holders[5][: len(plan.graph.holders[5]) - plan.graph.threshold + 1]
        faults = {rank: Crash(step=3) for rank in chosen}
        text = rf"{plan.graph.threshold - 1} of those who hold shares of the key of member \d+ released them"
        with pytest.raises(TooFewPartiesError, match=text):
            InProcessParties(12, faults=faults).open_sums(SPARSE, words_of(12))

    @pytest.mark.parametrize("spec", [SPARSE, masked()], ids=str)
    def test_exactly_the_neighbours_in_the_graph_share_a_mask(self, spec: Spec) -> None:
        seen: Counter[tuple[int, int]] = Counter()
        original = _masking.pair_mask

        def spy(plan: Plan, private: X25519PrivateKey, public: bytes, rank: int, peer: int) -> torch.Tensor:
            seen[rank, peer] += 1
            return original(plan, private, public, rank, peer)

        parties = InProcessParties(12)
        for use in (1, 2):
            seen.clear()
            with mock.patch.object(_masked_member, "pair_mask", spy):
                parties.open_sums(spec, words_of(12))
            neighbours = plan_of(spec, 12, use).graph.neighbours
            assert seen == Counter((rank, peer) for rank, peers in enumerate(neighbours) for peer in peers)


def assert_fresh_masks(spec: Spec, members: int = 4) -> None:
    """Equal inputs in three clusters and three uses: 4 x 3 x 3 x 8 masked words, all different.

    Two of 288 uniform words of 64 bits are equal with probability below 2^-47.
    """
    parties, words = InProcessParties(members), torch.zeros(3, members, 8, dtype=torch.int64)
    seen: list[int] = []
    for _ in range(3):
        parties.open_sums(spec, words)
        sent = [message.payload for message in parties.transcripts[BOARD]][2 * members : 3 * members]
        seen += torch.stack(sent).flatten().tolist()
    assert len(set(seen)) == len(seen) == 3 * members * 3 * 8, "equal inputs have equal masked words"


class TestFreshness:
    @pytest.mark.parametrize("spec", [masked(), SIGNED, SPARSE], ids=str)
    def test_equal_inputs_never_show_equal_masked_words(self, spec: Spec) -> None:
        assert_fresh_masks(spec)

    @pytest.mark.parametrize(
        "bug",
        [
            lambda mask: mask[:, :1].expand_as(mask).clone(),
            lambda mask: mask[:1].expand_as(mask).clone(),
            torch.zeros_like,
        ],
        ids=["one mask for all coordinates", "one mask for all clusters", "no mask"],
    )
    def test_masks_that_repeat_are_seen(self, bug: Callable[[torch.Tensor], torch.Tensor]) -> None:
        original = _masking._expand
        with (
            mock.patch.object(_masking, "_expand", lambda plan, key: bug(original(plan, key))),
            pytest.raises(AssertionError, match="equal masked words"),
        ):
            assert_fresh_masks(masked())

    @pytest.mark.parametrize("mode", MODES)
    def test_each_stream_key_is_drawn_once_by_each_of_its_two_owners(self, mode: str) -> None:
        """I15, exactly: a pair's key by both ends, a self-mask's by its member and the server; none in two uses."""
        keys: Counter[bytes] = Counter()

        class Spy(SecretStreams):
            def __init__(self, key: bytes) -> None:
                keys[key] += 1
                super().__init__(key)

        parties = InProcessParties(5)
        with mock.patch.object(_masking, "SecretStreams", Spy):
            for _ in range(2):
                parties.open_sums(masked(mode), words_of(5))
        assert set(keys.values()) == {2}
        assert len(keys) == 2 * (5 * 4 // 2 + 5)


class TestPlantedBugs:
    """Each bug, planted into the real code, is seen by the checks above."""

    def test_a_wrong_mask_sign_for_one_pair(self) -> None:
        original = _masking.pair_sign

        def planted(rank: int, peer: int) -> int:
            return 1 if {rank, peer} == {0, 1} else original(rank, peer)

        with mock.patch.object(_masked_member, "pair_sign", planted), pytest.raises(AssertionError, match="not those"):
            assert_sum_of_those_who_contributed(masked(), 3, {}, schedule=1)

    @pytest.mark.parametrize("spec", [masked(threshold="3"), SPARSE], ids=str)
    def test_masks_of_dropped_members_that_are_not_removed(self, spec: Spec) -> None:
        with (
            mock.patch.object(_masked_server, "_survivors", return_value=[]),
            pytest.raises(AssertionError, match="not those"),
        ):
            assert_sum_of_those_who_contributed(spec, 5, {2: Crash(step=SENDS_WORDS)}, schedule=1)

    def test_masks_of_dropped_members_that_are_added_once_more(self) -> None:
        with (
            mock.patch.object(_masked_server, "pair_sign", lambda rank, peer: -_masking.pair_sign(rank, peer)),
            pytest.raises(AssertionError, match="not those"),
        ):
            assert_sum_of_those_who_contributed(masked(threshold="3"), 5, {2: Crash(step=SENDS_WORDS)}, schedule=1)

    def test_self_masks_that_are_not_removed(self) -> None:
        def planted(plan: Plan, rank: int, seed: bytes) -> torch.Tensor:
            return torch.zeros(plan.clusters, plan.coordinates, dtype=torch.int64)

        with mock.patch.object(_masked_server, "self_mask", planted), pytest.raises(AssertionError, match="not those"):
            assert_sum_of_those_who_contributed(masked(), 3, {}, schedule=1)

    def test_a_late_member_that_is_counted_as_a_contributor(self) -> None:
        original = _masked_server.collect

        def planted(plan: Plan, board: Board) -> Opened:
            opened = original(plan, board)
            return Opened(sums=opened.sums, contributors=tuple(range(plan.parties)))

        with (
            mock.patch("protocols.secure_sum.masked.collect", planted),
            pytest.raises(AssertionError),
        ):
            assert_sum_of_those_who_contributed(masked(threshold="2"), 3, {2: Crash(step=SENDS_WORDS)}, schedule=1)

    def test_a_sum_that_is_opened_for_a_lone_honest_member(self) -> None:
        with (
            mock.patch("protocols.secure_sum.masked.masked_contributors", lambda mode, c, t, least_honest: t),
            pytest.raises(AssertionError, match="is exposed"),
        ):
            assert_nobody_is_left_alone()


class TestConditions:
    """I25: what is opened is what the conditions say."""

    @pytest.mark.parametrize("mode", MODES)
    def test_a_cluster_delivers_exactly_while_the_conditions_say_so(self, mode: str) -> None:
        for members, least_honest in itertools.product(range(1, 5), (1, 2)):
            for threshold in range(1 if mode == "semi_honest" else members // 2 + 1, members + 1):
                spec = masked(mode, threshold=str(threshold), least_honest=least_honest)
                conditions = secure_sums.make(spec).conditions
                for crashed in range(members + 1):
                    lost = bool(conditions.lost(members, np.array(0), np.array(crashed)))
                    faults = {rank: Crash(step=SENDS_WORDS) for rank in range(crashed)}
                    assert opens(spec, members, faults) != lost, (members, threshold, least_honest, crashed)

    def test_a_cluster_with_a_graph_delivers_exactly_while_the_conditions_say_so(self) -> None:
        for members in (1, 2, 4, 5, 9, 12):
            conditions = secure_sums.make(SPARSE).conditions
            for crashed in range(members + 1):
                lost = bool(conditions.lost(members, np.array(0), np.array(crashed)))
                faults = {rank: Crash(step=SENDS_WORDS) for rank in range(crashed)}
                assert opens(SPARSE, members, faults) != lost, (members, crashed)

    def test_a_byzantine_member_taints_and_may_stop(self) -> None:
        conditions = secure_sums.make(masked()).conditions
        assert conditions.lost(5, np.array(1), np.array(0))
        assert conditions.tainted(5, np.array(1), np.array(0))

    def test_colluders_beyond_the_declared_ones_are_exposed(self) -> None:
        members = np.arange(9)
        signed, trusting = (secure_sums.make(masked(mode, threshold="6")).conditions for mode in MODES[::-1])
        assert trusting.exposed(8, members, np.array(0)).tolist() == [False] * 6 + [True] * 3
        assert signed.exposed(8, members, np.array(0)).tolist() == [False] * 4 + [True] * 5
        graph = secure_sums.make(masked(name="masked_graph", gamma=0.25)).conditions
        assert graph.exposed(8, members, np.array(0)).tolist() == [False] * 3 + [True] * 6


def opens(spec: Spec, members: int, faults: Mapping[int, Fault]) -> bool:
    try:
        opened = InProcessParties(members, faults=faults).open_sums(spec, words_of(members))
    except TooFewPartiesError:
        return False
    assert_exact(spec, opened, words_of(members), set(range(members)) - faults.keys())
    return True


class TestParameters:
    @pytest.mark.parametrize(
        ("parameters", "members", "message"),
        [
            ({"threshold": "9"}, 5, "threshold = '9' gives 9 for clusters of 5; allowed: 1 to 5"),
            ({"threshold": "c/2"}, 1, "threshold = 'c/2' gives 0 for clusters of 1; allowed: 1 to 1"),
            (
                {"threshold": "c/2", "mode": "malicious_server"},
                4,
                "threshold = 'c/2' gives 1 for clusters of 4; allowed in mode malicious_server: 3 to 4",
            ),
            (
                {"threshold": "4", "mode": "malicious_server"},
                8,
                "threshold = '4' gives 4 for clusters of 8; allowed in mode malicious_server: 5 to 8",
            ),
            (
                {"threshold": "3", "least_honest": 4},
                5,
                "least_honest = 4 needs 6 contributors in clusters of 5 with threshold 3; allowed: 1 to 3",
            ),
            ({"name": "masked_graph", "gamma": 0.4, "least_honest": 5}, 5, "needs 7 contributors .* allowed: 1 to 3"),
        ],
    )
    def test_a_size_that_does_not_fit_is_one_clear_line(
        self, parameters: dict[str, object], members: int, message: str
    ) -> None:
        spec = secure_sums.resolve({"name": "masked", **parameters})
        with pytest.raises(CloisterError, match=message) as raised:
            InProcessParties(members).open_sums(spec, words_of(members))
        assert "\n" not in str(raised.value)

    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            ({"mode": "honest"}, "mode = 'honest' is not allowed"),
            ({"threshold": "c^2"}, "is not understood"),
            ({"least_honest": 0}, "least_honest = 0 is not allowed"),
            ({"bits": 65}, "bits = 65"),
            ({"name": "masked_graph", "gamma": 0.5, "delta": 0.5}, "gamma = 0.5, delta = 0.5 .*gamma \\+ delta < 1"),
            ({"name": "masked_graph", "gamma": -0.1}, "gamma = -0.1"),
            ({"name": "masked_graph", "sigma": 0}, "sigma = 0"),
            ({"name": "masked_graph", "beacon": -1}, "beacon = -1"),
        ],
    )
    def test_a_parameter_that_makes_no_sense_is_one_clear_line(
        self, parameters: dict[str, object], message: str
    ) -> None:
        with pytest.raises(CloisterError, match=message):
            secure_sums.resolve({"name": "masked", **parameters})

    def test_the_largest_least_honest_that_an_error_names_fits(self) -> None:
        for mode, members, asked in itertools.product(MODES, range(1, 9), range(1, 10)):
            protocol = secure_sums.make(secure_sums.resolve({"name": "masked", "mode": mode, "least_honest": asked}))
            try:
                protocol.check_size(parties=members)
            except CloisterError as error:
                fitting = int(str(error).rpartition(" ")[2])
                replace(protocol, least_honest=fitting).check_size(parties=members)
                assert fitting < asked
