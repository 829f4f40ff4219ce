"""Masked sums under a server or members that lie: nobody is unmasked twice, and no short list is answered."""

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar
from unittest import mock

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from protocols.faults import Crash, Replay, Tamper
from protocols.faulty_link import Batches, Fault, Kind, Messages
from protocols.field import MERSENNE_61, PrimeField
from protocols.identity import Identity
from protocols.in_process import InProcessParties
from protocols.network import BOARD, CheatingDetectedError, NetworkError
from protocols.polynomials import lagrange_weights
from protocols.registry import Spec
from protocols.secure_sum import Party, _masked_member, _masking, secure_sums
from protocols.secure_sum._key_shares import KEY_BYTES, LIMBS, HeldShares, rebuild
from protocols.secure_sum._masking import Plan, from_words, to_bitmap, to_words
from protocols.testing.keyrings import replayable_keyring
from tests.examples import examples
from tests.masked import (
    HIGHEST,
    LIST,
    LOWEST,
    MODES,
    RELAY,
    ROSTER,
    SENDS_WORDS,
    SIGNATURES,
    SIGNED,
    SPARSE,
    assert_exact,
    assert_one_kind_a_member,
    dealt_shares,
    masked,
    plan_of,
    releases,
    told_to_the_board,
    words_of,
)


def run_with_seed(spec: Spec, members: int, faults: Mapping[int, Fault], seed: int) -> InProcessParties:
    parties = InProcessParties(members, faults=faults, keyring=replayable_keyring(seed))
    with contextlib.suppress(NetworkError):  # what was said before is looked at
        parties.open_sums(spec, words_of(members))
    return parties


class TestNoDoubleUnmasking:
    """I19: of no member are both keys released."""

    @pytest.mark.parametrize("spec", [masked(threshold="3"), masked("malicious_server", threshold="3"), SPARSE])
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
        said = plan.said("survivors") + from_words(to_bitmap(listed, plan.parties))
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
