"""Masked sums: exact over the members whose words came, closed to a lying server, and never masked twice alike."""

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import ClassVar
from unittest import mock

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from protocols.check import CloisterError
from protocols.faults import Crash, Delay, Mute, Replay, Tamper
from protocols.faulty_link import Batches, Fault, FaultyLink, Kind, Messages
from protocols.field import MERSENNE_61, PrimeField
from protocols.identity import Identity
from protocols.in_process import InProcessParties
from protocols.network import BOARD, CheatingDetectedError, NetworkError, TooFewPartiesError
from protocols.parties import OpenedSums, run_board, run_member
from protocols.party_pool import PartyPool
from protocols.polynomials import lagrange_weights
from protocols.randomness import SecretStreams
from protocols.registry import Spec
from protocols.secure_sum import Board, Opened, Party, _masked_member, _masked_server, _masking, secure_sums
from protocols.secure_sum._key_shares import KEY_BYTES, LIMBS, HeldShares, deal, rebuild
from protocols.secure_sum._masking import Plan, from_words, to_bitmap, to_words
from protocols.tcp_link import TcpLink
from protocols.testing.keyrings import replayable_keyring
from tests.examples import examples
from tests.tcp import in_parallel, tcp_links

LOWEST, HIGHEST = -(2**63), 2**63 - 1
MODES = ("semi_honest", "malicious_server")
SENDS_WORDS = 2
"""The exchange of a member in which its masked words leave, after keys (0) and key shares (1)."""
ROSTER, RELAY, LIST, SIGNATURES = 1, 2, 4, 5
"""The exchanges of the server; 3 only hears the masked words."""


def releases(mode: str) -> int:
    """The exchange of a member in which its key shares leave."""
    return 4 if mode == "malicious_server" else 3


def masked(mode: str = "semi_honest", *, name: str = "masked", least_honest: int = 1, **parameters: object) -> Spec:
    own = {"mode": mode} if name == "masked" else {}
    return secure_sums.resolve({"name": name, "least_honest": least_honest, **own, **parameters})


def words_of(members: int, clusters: int = 2, coordinates: int = 3, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(LOWEST, HIGHEST, (clusters, members, coordinates), generator=generator)


def assert_exact(spec: Spec, opened: OpenedSums | Opened, words: torch.Tensor, contributors: Iterable[int]) -> None:
    chosen = sorted(contributors)
    assert opened.contributors == tuple(chosen)
    bits = dict(spec.parameters)["bits"]
    plain = words.tolist()
    expected = [
        [(sum(row[i][k] for i in chosen) + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1) for k in range(words.shape[2])]
        for row in plain
    ]
    assert opened.sums.tolist() == expected, "the sums are not those of the contributors"


def plan_of(spec: Spec, members: int, use: int, clusters: int = 2, coordinates: int = 3) -> Plan:
    return secure_sums.make(spec)._plan(members, use, clusters, coordinates)


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
    # In so small a cluster a failure that is rarer than 2^-40 never happens.
    SPEC = masked(name="masked_graph", sigma=40, eta=40, gamma=0.1, delta=0.25)

    @examples(0.8)
    @given(members=st.integers(1, 12), chosen=st.data(), schedule=st.integers(0, 99))
    def test_with_up_to_a_part_delta_of_dropouts_the_sum_is_that_of_the_contributors(
        self, members: int, chosen: st.DataObject, schedule: int
    ) -> None:
        ranks = chosen.draw(st.lists(st.integers(0, members - 1), max_size=members // 4, unique=True))
        faults = {rank: chosen.draw(st.sampled_from(FAULTS))(chosen.draw(st.integers(0, 3))) for rank in ranks}
        assert_sum_of_those_who_contributed(self.SPEC, members, faults, schedule)

    def test_with_one_more_dropout_nothing_is_opened(self) -> None:
        faults = {rank: Crash(step=SENDS_WORDS) for rank in range(4)}
        with pytest.raises(TooFewPartiesError, match=r"^8 of 12 members sent masked words; needed: at least 9$"):
            InProcessParties(12, faults=faults).open_sums(self.SPEC, words_of(12))

    def test_a_key_of_which_too_few_shares_are_left_stops_the_sum(self) -> None:
        plan = plan_of(self.SPEC, 12, use=1)
        assert plan.graph.degree < 11
        chosen = plan.graph.holders[5][: len(plan.graph.holders[5]) - plan.graph.threshold + 1]
        faults = {rank: Crash(step=3) for rank in chosen}
        text = rf"{plan.graph.threshold - 1} of those who hold shares of the key of member \d+ released them"
        with pytest.raises(TooFewPartiesError, match=text):
            InProcessParties(12, faults=faults).open_sums(self.SPEC, words_of(12))

    @pytest.mark.parametrize("spec", [SPEC, masked()], ids=str)
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


def twin_secrets(seed: int, members: int) -> list[object]:
    """Other copies of the secrets that replayable keyrings hold."""
    links = [mock.Mock(rank=rank) for rank in range(members)]
    return [replayable_keyring(seed)(link, members).secrets for link in links]


def dealt_shares(spec: Spec, members: int, *, seed: int, use: int = 1) -> dict[int, torch.Tensor]:
    """The shares (holders, 2, LIMBS) that each member deals: of its mask key, and of its self-mask."""
    plan, found = plan_of(spec, members, use), {}
    for rank, secrets in enumerate(twin_secrets(seed, members)):
        keys = [secrets.token(purpose=f"masked {what}", use=use, size=KEY_BYTES) for what in ("mask key", "self-mask")]
        found[rank] = deal(
            secrets,
            keys,
            use=use,
            threshold=plan.graph.threshold,
            holders=plan.graph.holders[rank],
        )
    return found


def told_to_the_board(parties: InProcessParties, last: int) -> dict[int, torch.Tensor]:
    """The key shares (holders, LIMBS) that each member released, by its rank: its message number `last`."""
    seen: dict[int, list[torch.Tensor]] = {}
    for message in parties.transcripts[BOARD]:
        seen.setdefault(message.sender, []).append(message.payload)
    return {rank: messages[last] for rank, messages in seen.items() if len(messages) > last}


def assert_one_kind_a_member(spec: Spec, parties: InProcessParties, dropped: set[int], *, seed: int) -> None:
    """Of each member the board was told shares of one kind only, all of them exactly those that were dealt."""
    members = parties._parties
    plan, dealt = plan_of(spec, members, 1), dealt_shares(spec, members, seed=seed)
    told = told_to_the_board(parties, releases("malicious_server" if plan.signed else "semi_honest"))
    assert told, "nobody released anything"
    for holder, rows in told.items():
        for row, rank in zip(rows, plan.graph.holders[holder], strict=True):
            place = plan.graph.holders[rank].index(holder)
            kinds = [kind for kind in (0, 1) if torch.equal(row, dealt[rank][place, kind])]
            expected = HeldShares.MASK_KEY if rank in dropped else HeldShares.SELF_MASK
            assert kinds == [expected], f"member {holder} released kinds {kinds} of member {rank}"


def run_with_seed(spec: Spec, members: int, faults: Mapping[int, Fault], seed: int) -> InProcessParties:
    parties = InProcessParties(members, faults=faults, keyring=replayable_keyring(seed))
    with contextlib.suppress(NetworkError):  # what was said before is looked at
        parties.open_sums(spec, words_of(members))
    return parties


class TestNoDoubleUnmasking:
    """I19: of no member are both keys released."""

    @pytest.mark.parametrize(
        "spec", [masked(threshold="3"), masked("malicious_server", threshold="3"), TestGraphs.SPEC]
    )
    @examples(0.8)
    @given(dropped=st.sets(st.integers(0, 4), max_size=1), seed=st.integers(0, 2**16))
    def test_survivors_self_masks_and_dropped_members_mask_keys_are_released(
        self, spec: Spec, dropped: set[int], seed: int
    ) -> None:
        faults = {rank: Crash(step=SENDS_WORDS) for rank in dropped}
        assert_one_kind_a_member(spec, run_with_seed(spec, 5, faults, seed), dropped, seed=seed)

    def test_members_that_release_the_mask_key_of_a_survivor_are_seen(self) -> None:
        original = HeldShares.release

        def planted(self: HeldShares, survivors: frozenset[int]) -> torch.Tensor:
            answer = original(self, survivors)
            self._answered = None
            answer[0] = original(self, frozenset())[0]
            return answer

        spec = masked(threshold="3")
        with mock.patch.object(HeldShares, "release", planted):
            runs = {seed: run_with_seed(spec, 5, {}, seed) for seed in range(3)}
        for seed, parties in runs.items():
            with pytest.raises(AssertionError, match="released kinds"):
                assert_one_kind_a_member(spec, parties, set(), seed=seed)

    @pytest.mark.parametrize("mode", MODES)
    def test_nothing_secret_travels_in_the_clear(self, mode: str) -> None:
        """I23: no word of an input, a share or a key is among what the board hears before shares are released.

        A false alarm has probability below 2^20 pairs of words times 2^-56.
        """
        spec, words, seed = masked(mode, threshold="3"), words_of(5), 11
        parties = InProcessParties(5, keyring=replayable_keyring(seed))
        parties.open_sums(spec, words)
        heard = {
            int(word)
            for message in parties.transcripts[BOARD][: 5 * releases(mode)]
            for word in message.payload.flatten()
        }
        dealt = dealt_shares(spec, 5, seed=seed)
        secret = torch.cat([words.flatten(), *(shares.flatten() for shares in dealt.values())]).tolist()
        assert not heard & set(secret)
        assert set(secret) & {int(word) for m in parties.transcripts[BOARD] for word in m.payload.flatten()}


@dataclass(frozen=True, kw_only=True)
class Lies:
    """A server that changes what it says in some of its exchanges; `heard` keeps what it wanted to say."""

    kind: ClassVar[Kind] = "byzantine"
    step: int
    changes: Mapping[int, Callable[[int, torch.Tensor], torch.Tensor]]
    heard: dict[int, Messages] = field(default_factory=dict)

    def __call__(self, step: int, outgoing: Messages, batches: Batches) -> list[Messages]:
        self.heard[step] = {peer: tensor.clone() for peer, tensor in outgoing.items()}
        change = self.changes.get(step)
        return [outgoing if change is None else {peer: change(peer, tensor) for peer, tensor in outgoing.items()}]


def two_lists(plan: Plan, group: frozenset[int], victim: int) -> Callable[[int, torch.Tensor], torch.Tensor]:
    """Show everybody as a survivor to the group, and everybody but the victim to the others."""
    everyone = frozenset(range(plan.parties))

    def change(peer: int, message: torch.Tensor) -> torch.Tensor:
        return to_bitmap(everyone if peer in group else everyone - {victim}, plan.parties)

    return change


def unmasked_input(parties: InProcessParties, plan: Plan, victim: int, group: frozenset[int]) -> torch.Tensor | None:
    """What a server learns of the victim's words from shares of both of its keys; None where it has too few."""
    told = told_to_the_board(parties, releases("malicious_server" if plan.signed else "semi_honest"))
    keys: list[bytes | None] = []
    for holders in (sorted(told.keys() & group), sorted(told.keys() - group)):
        if len(holders) < plan.graph.threshold:
            return None
        shares = torch.stack([told[holder][victim] for holder in holders])[:, None]
        keys += rebuild(shares, threshold=plan.graph.threshold, holders=holders)
    self_key, mask_key = keys
    assert self_key is not None
    assert mask_key is not None
    heard = [message.payload for message in parties.transcripts[BOARD]]
    advertised = [keys[:8] for keys in heard[: plan.parties]]
    words = heard[2 * plan.parties + victim] - _masking.self_mask(plan, victim, self_key)
    private = X25519PrivateKey.from_private_bytes(mask_key)
    for peer in set(range(plan.parties)) - {victim}:
        mask = _masking.pair_mask(plan, private, from_words(advertised[peer])[KEY_BYTES:], victim, peer)
        words.sub_(mask, alpha=_masking.pair_sign(victim, peer))
    return words


@dataclass(frozen=True, kw_only=True)
class Signers:
    """What a lying server shows in the round of signatures after two lists.

    To each group the signatures of its own members and of colluders, who sign whatever it likes; or, with
    `everyone_signs`, those of all members, most of which are on the other list.
    """

    plan: Plan
    group: frozenset[int]
    victim: int
    colluders: Mapping[int, Identity] = field(default_factory=dict)
    everyone_signs: bool = False

    def __call__(self, peer: int, message: torch.Tensor) -> torch.Tensor:
        plan, everyone = self.plan, frozenset(range(self.plan.parties))
        listed = everyone if peer in self.group else everyone - {self.victim}
        side = self.group if peer in self.group else everyone - self.group
        signers = listed if self.everyone_signs else (side | self.colluders.keys()) & listed
        neighbours = plan.graph.neighbours[peer]
        rows = message[plan.bitmap_words :].clone().view(len(neighbours), -1)
        said = plan.context("survivors") + from_words(to_bitmap(listed, plan.parties))
        for rank in self.colluders.keys() - {peer}:
            rows[neighbours.index(rank)] = to_words(self.colluders[rank].sign(said))
        return torch.cat([to_bitmap(signers, plan.parties), rows.flatten()])


def run_lies(
    spec: Spec, members: int, changes: Mapping[int, Callable[[int, torch.Tensor], torch.Tensor]], *, seed: int = 5
) -> InProcessParties:
    """Run a batch with a lying server."""
    parties = InProcessParties(
        members, faults={BOARD: Lies(step=min(changes), changes=changes)}, keyring=replayable_keyring(seed)
    )
    with contextlib.suppress(NetworkError):  # what it takes for the sum is its own affair
        parties.open_sums(spec, words_of(members))
    return parties


def lists_answered(
    members: int, threshold: int, group: frozenset[int], *, colluding: int = 0, everyone_signs: bool = False
) -> int:
    """Let the server and the last `colluding` members lie; return how many lists honest members then answer."""
    spec, victim, seed = masked("malicious_server", threshold=str(threshold)), min(group), 5
    plan, colluders = plan_of(spec, members, 1), range(members - colluding, members)
    identities = {rank: replayable_keyring(seed)(mock.Mock(rank=rank), members).identity for rank in colluders}
    signers = Signers(plan=plan, group=group, victim=victim, colluders=identities, everyone_signs=everyone_signs)
    parties = run_lies(spec, members, {LIST: two_lists(plan, group, victim), SIGNATURES: signers}, seed=seed)
    told = told_to_the_board(parties, releases("malicious_server")).keys() - set(colluders)
    return bool(told & group) + bool(told - group)


def assert_at_most_one_list_is_answered(members: int, threshold: int) -> None:
    everyone = range(members)
    for group in (frozenset(g) for size in range(1, members) for g in itertools.combinations(everyone, size)):
        for everyone_signs in (False, True):
            answered = lists_answered(members, threshold, group, everyone_signs=everyone_signs)
            assert answered <= 1, f"the group {set(group)} and the others answer different lists"


def messages_of(parties: InProcessParties) -> Counter[int]:
    return Counter(message.sender for message in parties.transcripts[BOARD])


def short_list(plan: Plan) -> Callable[[int, torch.Tensor], torch.Tensor]:
    """Show each member a list of itself and one other one, the rest as it is."""

    def change(peer: int, message: torch.Tensor) -> torch.Tensor:
        listed = to_bitmap({peer, (peer + 1) % plan.parties}, plan.parties)
        return torch.cat([listed, message[plan.bitmap_words :]])

    return change


def assert_silent_after_a_short_list(step: int, said_before: int) -> None:
    spec = masked("malicious_server", threshold="3")
    said = messages_of(run_lies(spec, 4, {step: short_list(plan_of(spec, 4, 1))}))
    assert said == Counter(dict.fromkeys(range(4), said_before)), "a member goes on with fewer than t others"


@dataclass(frozen=True, kw_only=True)
class Impostor:
    """A server that shows each member keys of its own in place of all others'."""

    plan: Plan
    kind: ClassVar[Kind] = "byzantine"
    step: int = ROSTER
    public: dict[int, bytes] = field(default_factory=dict)

    def key(self, shown_to: int, member: int, kind: int) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(bytes([shown_to, member, kind, *range(29)]))

    def pair(self, shown_to: int, member: int) -> _masked_member._Pair:
        sealing = _masking.agree(self.key(shown_to, member, 0), self.public[shown_to][:KEY_BYTES], shown_to)
        return _masked_member._Pair(mask_key=b"", sealing=sealing)

    def __call__(self, step: int, outgoing: Messages, batches: Batches) -> list[Messages]:
        if step == ROSTER:
            for receiver, message in outgoing.items():
                rows = message[self.plan.bitmap_words :].view(-1, self.plan.key_words)
                self.public.update(zip(self.plan.graph.neighbours[receiver], map(from_words, rows), strict=True))
        change = {ROSTER: self._roster, RELAY: self._relay}.get(step)
        return [outgoing if change is None else {peer: change(peer, tensor) for peer, tensor in outgoing.items()}]

    def _roster(self, receiver: int, message: torch.Tensor) -> torch.Tensor:
        shown = message.clone()
        rows = shown[self.plan.bitmap_words :].view(-1, self.plan.key_words)
        for row, member in zip(rows, self.plan.graph.neighbours[receiver], strict=True):
            keys = [self.key(receiver, member, kind).public_key().public_bytes_raw() for kind in (0, 1)]
            row[:8] = to_words(b"".join(keys))
        return shown

    def _relay(self, receiver: int, message: torch.Tensor) -> torch.Tensor:
        sealed = [
            _masked_member._seal(
                self.plan, self.pair(receiver, member), member, receiver, torch.zeros(2, LIMBS, dtype=torch.int64)
            )
            for member in self.plan.graph.neighbours[receiver]
        ]
        return torch.cat([message[: self.plan.bitmap_words], *sealed])

    def input_of(self, victim: int, sealed: torch.Tensor, masked_words: torch.Tensor) -> torch.Tensor:
        """The words of the victim, from the key shares that it has sealed for the server's keys."""
        plan, neighbours = self.plan, self.plan.graph.neighbours[victim]
        shares = [
            _masked_member._open(plan, self.pair(victim, member), victim, member, row)
            for member, row in zip(neighbours, sealed, strict=True)
        ]
        _, seed = rebuild(torch.stack(shares), threshold=plan.graph.threshold, holders=neighbours)
        words = masked_words - _masking.self_mask(plan, victim, seed)
        for member in neighbours:
            key = self.key(victim, member, 1)
            mask = _masking.pair_mask(plan, key, self.public[victim][KEY_BYTES:], member, victim)
            words.sub_(mask, alpha=_masking.pair_sign(victim, member))
        return words


SIGNED = masked("malicious_server", threshold="3")


class TestLyingServer:
    def test_two_lists_break_the_privacy_of_semi_honest_mode_as_its_threat_model_says(self) -> None:
        """With t = 3 of 6, three members answer each list: the server computes the victim's words."""
        spec, victim, group = masked(threshold="3"), 1, frozenset({0, 1, 2})
        plan = plan_of(spec, 6, 1)
        parties = run_lies(spec, 6, {LIST: two_lists(plan, group, victim)})
        assert torch.equal(unmasked_input(parties, plan, victim, group), words_of(6)[:, victim])

    def test_two_lists_do_not_unmask_a_member_where_more_than_half_must_answer(self) -> None:
        plan = plan_of(SIGNED, 4, 1)
        for group in (frozenset({1, *rest}) for k in range(4) for rest in itertools.combinations((0, 2, 3), k)):
            for signers in (None, Signers(plan=plan, group=group, victim=1)):
                lies = {LIST: two_lists(plan, group, 1), **({SIGNATURES: signers} if signers else {})}
                assert unmasked_input(run_lies(SIGNED, 4, lies), plan, 1, group) is None

    def test_at_most_one_of_two_lists_is_answered_in_malicious_mode(self) -> None:
        assert_at_most_one_list_is_answered(4, 3)

    def test_members_that_do_not_check_signatures_are_seen(self) -> None:
        with (
            mock.patch.object(_masked_member, "_require_signed"),
            pytest.raises(AssertionError, match="answer different lists"),
        ):
            assert_at_most_one_list_is_answered(4, 3)

    def test_members_that_do_not_count_signatures_are_seen(self) -> None:
        with without_least(), pytest.raises(AssertionError, match="answer different lists"):
            assert_at_most_one_list_is_answered(4, 3)

    @pytest.mark.parametrize(("members", "threshold"), [(3, 2), (4, 3), (5, 3), (5, 4)])
    def test_both_lists_are_answered_exactly_if_more_collude_than_the_conditions_allow(
        self, members: int, threshold: int
    ) -> None:
        """The split of the honest members that is best for the server; the colluders sign both lists."""
        spec = masked("malicious_server", threshold=str(threshold))
        conditions = secure_sums.make(spec).conditions
        for colluding in range(min(threshold, members - 1)):
            group = frozenset(range(threshold - colluding))
            both = lists_answered(members, threshold, group, colluding=colluding) == 2
            assert both == (colluding > 2 * threshold - members - 1)
            assert bool(conditions.exposed(members, np.array(colluding), np.array(0))) >= both

    def test_signatures_of_an_older_use_are_refused(self) -> None:
        faults: dict[int, Fault] = {}
        parties, words = InProcessParties(4, faults=faults), words_of(4)
        assert_exact(SIGNED, parties.open_sums(SIGNED, words), words, range(4))
        for step, said in ((ROSTER, 1), (SIGNATURES, 4)):
            faults[BOARD] = Replay(step=step, batches_back=1)
            with pytest.raises(NetworkError):
                parties.open_sums(SIGNED, words)
            assert messages_of(parties) == Counter(dict.fromkeys(range(4), said))
            faults.clear()
            parties.open_sums(SIGNED, words)

    def test_forged_signatures_are_refused(self) -> None:
        for step, said in ((ROSTER, 1), (SIGNATURES, 4)):
            parties = InProcessParties(4, faults={BOARD: Tamper(step=step, delta=1, word=-1)})
            with pytest.raises(NetworkError):
                parties.open_sums(SIGNED, words_of(4))
            assert messages_of(parties) == Counter(dict.fromkeys(range(4), said))

    def test_keys_of_the_servers_own_break_semi_honest_mode_as_its_threat_model_says(self) -> None:
        spec = masked(threshold="3")
        impostor = Impostor(plan=plan_of(spec, 4, 1))
        parties = InProcessParties(4, faults={BOARD: impostor})
        with pytest.raises(NetworkError):
            parties.open_sums(spec, words_of(4))
        heard = [message.payload for message in parties.transcripts[BOARD]]
        for victim in range(4):
            found = impostor.input_of(victim, heard[4 + victim], heard[8 + victim])
            assert torch.equal(found, words_of(4)[:, victim])

    def test_keys_of_the_servers_own_are_refused_in_malicious_mode(self) -> None:
        parties = InProcessParties(4, faults={BOARD: Impostor(plan=plan_of(SIGNED, 4, 1))})
        with pytest.raises(NetworkError):
            parties.open_sums(SIGNED, words_of(4))
        assert messages_of(parties) == Counter(dict.fromkeys(range(4), 1))

    @pytest.mark.parametrize(("step", "said"), [(ROSTER, 1), (RELAY, 2), (LIST, 3), (SIGNATURES, 4)])
    def test_a_list_of_fewer_than_t_members_gets_no_answer(self, step: int, said: int) -> None:
        assert_silent_after_a_short_list(step, said)

    @pytest.mark.parametrize(("step", "said"), [(RELAY, 2), (LIST, 3), (SIGNATURES, 4)])
    def test_members_that_ignore_the_threshold_are_seen(self, step: int, said: int) -> None:
        with without_least(), pytest.raises(AssertionError, match="fewer than t others"):
            assert_silent_after_a_short_list(step, said)

    @pytest.mark.parametrize("step", [RELAY, LIST, SIGNATURES])
    def test_a_list_that_grows_or_leaves_its_reader_out_gets_no_answer(self, step: int) -> None:
        plan = plan_of(SIGNED, 5, 1)
        for listed in (lambda peer: range(5), lambda peer: set(range(4)) - {peer}):
            lies = Lies(
                step=step,
                changes={
                    step: lambda peer, message, listed=listed: torch.cat(
                        [to_bitmap(listed(peer), 5), message[plan.bitmap_words :]]
                    )
                },
            )
            parties = InProcessParties(5, faults={BOARD: lies, 4: Crash(step=0)})
            with pytest.raises(NetworkError):
                parties.open_sums(SIGNED, words_of(5))
            said = {RELAY: 2, LIST: 3, SIGNATURES: 4}[step]
            assert messages_of(parties) == Counter(dict.fromkeys(range(4), said))

    @examples(1)
    @given(
        step=st.integers(0, 5),
        delta=st.integers(LOWEST, HIGHEST),
        word=st.one_of(st.none(), st.integers(0, 500)),
        mode=st.sampled_from(MODES),
    )
    def test_whatever_the_server_changes_members_answer_truthfully_or_stop(
        self, step: int, delta: int, word: int | None, mode: str
    ) -> None:
        """A run ends with sums or a typed error, and no member is made to release the other kind of share."""
        spec, fault = masked(mode, threshold="3"), Tamper(step=step, delta=delta, word=word)
        parties = InProcessParties(4, faults={BOARD: fault}, keyring=replayable_keyring(2))
        with contextlib.suppress(NetworkError):
            parties.open_sums(spec, words_of(4))
        told = told_to_the_board(parties, releases(mode))
        if told and step != LIST:
            assert_one_kind_a_member(spec, parties, set(), seed=2)


def without_least() -> mock._patch:
    """Planted: members go on however short a list is."""
    original = _masked_member._ask

    def planted(plan: Plan, party: Party, said: torch.Tensor, *, least: int, **rest: object):
        return original(plan, party, said, least=0, **rest)

    return mock.patch.object(_masked_member, "_ask", planted)


class TestByzantineMembers:
    """One of them can stop or change the sum, as the threat model says; what shows is not opened."""

    def test_key_shares_that_cannot_be_opened_stop_the_sum(self) -> None:
        parties = InProcessParties(5, faults={1: Tamper(step=1, delta=1)})
        with pytest.raises(NetworkError):
            parties.open_sums(masked(threshold="3"), words_of(5))
        assert messages_of(parties)[0] == 2

    def test_other_masked_words_change_the_sum_by_what_is_added(self) -> None:
        words = words_of(4)
        opened = InProcessParties(4, faults={2: Tamper(step=SENDS_WORDS, delta=5)}).open_sums(masked(), words)
        assert torch.equal(opened.sums, words.sum(dim=1) + 5)

    @pytest.mark.parametrize("dropped", [None, 4])
    def test_a_wrong_share_among_more_than_t_is_found_out(self, dropped: int | None) -> None:
        faults: dict[int, Fault] = {1: Tamper(step=3, delta=1, word=0)}
        if dropped is not None:
            faults[dropped] = Crash(step=SENDS_WORDS)
        with pytest.raises(CheatingDetectedError, match=r"the key of member 0 .* contradicts itself") as raised:
            InProcessParties(5, faults=faults).open_sums(masked(threshold="3"), words_of(5))
        assert 1 in raised.value.suspects

    def test_a_mask_key_other_than_the_advertised_one_is_found_out(self) -> None:
        """With t answers any shares fit a polynomial; one is changed so that the first limb grows by 8.

        X25519 ignores the lowest three bits of a private key.
        """
        weight = lagrange_weights(PrimeField(), [1, 2, 3], 0)[1]

        def change(peer: int, rows: torch.Tensor) -> torch.Tensor:
            changed = rows.clone()
            changed[3, 0] = (int(rows[3, 0]) + 8 * pow(weight, -1, MERSENNE_61)) % MERSENNE_61
            return changed

        faults = {1: Lies(step=3, changes={3: change}), 3: Crash(step=SENDS_WORDS)}
        with pytest.raises(CheatingDetectedError, match=r"the key of member 3 .* is not the one") as raised:
            InProcessParties(4, faults=faults).open_sums(masked(threshold="3"), words_of(4))
        assert raised.value.suspects == {0, 1, 2, 3}

    def test_a_public_key_shown_twice_is_refused(self) -> None:
        """A member that advertises another one's keys as its own would read what is sealed for that one."""
        faults = {BOARD: Lies(step=ROSTER, changes={ROSTER: lambda peer, message: twice(message)})}
        parties = InProcessParties(4, faults=faults)
        with pytest.raises(NetworkError):
            parties.open_sums(masked(), words_of(4))
        assert messages_of(parties) == Counter(dict.fromkeys(range(4), 1))


def twice(message: torch.Tensor) -> torch.Tensor:
    changed = message.clone()
    changed[1:9] = message[9:17]
    return changed


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
    @pytest.mark.parametrize("spec", [masked(), SIGNED, TestGraphs.SPEC], ids=str)
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

    @pytest.mark.parametrize("spec", [masked(threshold="3"), TestGraphs.SPEC], ids=str)
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
            conditions = secure_sums.make(TestGraphs.SPEC).conditions
            for crashed in range(members + 1):
                lost = bool(conditions.lost(members, np.array(0), np.array(crashed)))
                faults = {rank: Crash(step=SENDS_WORDS) for rank in range(crashed)}
                assert opens(TestGraphs.SPEC, members, faults) != lost, (members, crashed)

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
