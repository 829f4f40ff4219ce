"""The encrypted sum, on real CrypTen: exact, metered, and the same in threads and in processes."""

import dataclasses
import os
import re
from types import ModuleType
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import crypten_engine, in_process, zero_sharing
from protocols.check import CloisterError
from protocols.in_process import InProcessParties
from protocols.keyring import make_keyring
from protocols.link_communicator import LinkCommunicator
from protocols.network import HEADER_BYTES, Link, OutOfStepError
from protocols.parties import run_board, run_member
from protocols.party_pool import PartyPool
from protocols.registry import Spec
from protocols.secure_sum import Board, Party, SecureSum, secure_sums
from protocols.secure_sum import additive as additive_module
from protocols.secure_sum import additive_stock as stock_module
from protocols.types import Cost
from tests.tcp import in_parallel, kernel_received_bytes, tcp_links

PROTOCOLS = sorted(secure_sums.entries())
EXAMPLES = [
    secure_sums.resolve({"name": name, **example})
    for name, entry in secure_sums.entries().items()
    for example in entry.examples
]
LOWEST, HIGHEST = -(2**63), 2**63 - 1
INTERESTING = st.sampled_from([0, 1, -1, 2**31, 2**32, 2**62, -(2**62), HIGHEST, LOWEST])
WORDS = st.one_of(st.integers(LOWEST, HIGHEST), INTERESTING)
MOST = 8
# There are many protocols, and each of them runs all checks.
NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
FEWER = settings(max_examples=max(1, settings.default.max_examples // 5))


def resolve(name: str) -> Spec:
    return secure_sums.resolve(name)


def integer_sum(words: torch.Tensor, modulus: int = 2**64) -> list[list[int]]:
    """The sums over members in Python integers, modulo M and as signed numbers around zero."""
    clusters, members, coordinates = words.shape
    plain, half = words.tolist(), modulus // 2 if modulus % 2 == 0 else (modulus - 1) // 2
    totals = [[sum(plain[j][i][k] for i in range(members)) for k in range(coordinates)] for j in range(clusters)]
    return [[(total + half) % modulus - half for total in row] for row in totals]


def sizes_of(protocol: SecureSum, most: int = MOST) -> list[int]:
    """The sizes of clusters that can run the protocol."""
    sizes: list[int] = []
    for size in range(1, most + 1):
        try:
            protocol.check_size(parties=size)
        except CloisterError:
            continue
        sizes.append(size)
    return sizes


@st.composite
def batches(draw: st.DrawFn, spec: Spec | None = None, most_members: int = MOST) -> torch.Tensor:
    """Words of a batch; those that the protocol's ring holds, and sizes that it can run, where one is named."""
    clusters = draw(st.integers(1, 4))
    members = draw(
        st.integers(1, most_members)
        if spec is None
        else st.sampled_from(sizes_of(secure_sums.make(spec), most_members))
    )
    coordinates = draw(st.integers(1, 20))
    count = clusters * members * coordinates
    flat = draw(st.lists(WORDS, min_size=count, max_size=count))
    words = torch.tensor(flat, dtype=torch.int64).view(clusters, members, coordinates)
    return words if spec is None else secure_sums.make(spec).ring.wrap(words)


@pytest.fixture(scope="module")
def threads() -> InProcessParties:
    return InProcessParties(8)


@pytest.mark.parametrize("spec", EXAMPLES, ids=str)
class TestEveryExampleOfASecureSum:
    @FEWER
    @given(data=st.data())
    def test_opens_the_sum_of_python_integers_word_for_word(
        self, spec: Spec, threads: InProcessParties, data: st.DataObject
    ) -> None:
        words = data.draw(batches(spec))
        opened = threads.open_sums(spec, words)
        assert opened.sums.tolist() == integer_sum(words, secure_sums.make(spec).ring.modulus)
        assert opened.contributors == tuple(range(words.shape[1]))
        assert opened.suspects == frozenset()

    @FEWER
    @given(data=st.data())
    def test_costs_what_its_closed_form_says(self, spec: Spec, threads: InProcessParties, data: st.DataObject) -> None:
        words = data.draw(batches(spec))
        clusters, members, coordinates = words.shape
        formula = secure_sums.make(spec).cost(parties=members, clusters=clusters, coordinates=coordinates)
        assert threads.open_sums(spec, words).traffic == formula

    def test_refuses_a_size_that_it_cannot_run_before_anything_is_sent(
        self, spec: Spec, threads: InProcessParties
    ) -> None:
        fitting = sizes_of(secure_sums.make(spec))
        assert fitting, "no cluster of up to eight members can run it"
        links = list(threads._links)
        for size in set(range(1, MOST + 1)) - set(fitting):
            with pytest.raises(CloisterError, match="allowed"):
                threads.open_sums(spec, torch.zeros(1, size, 2, dtype=torch.int64))
        assert threads._links == links

    def test_promises_to_sum_what_its_ring_can_hold(self, spec: Spec, threads: InProcessParties) -> None:
        """All members at the largest word that as many of them can add, then all at the smallest.

        Daily in the smallest and in the largest cluster, at night in all between as well.
        """
        protocol = secure_sums.make(spec)
        sizes = sizes_of(protocol)
        for members in sizes if NIGHTLY else (sizes[0], sizes[-1]):
            largest = protocol.ring.largest_word(members)
            for word in (largest, -largest):
                words = torch.full((1, members, 3), word, dtype=torch.int64)
                assert threads.open_sums(spec, words).sums.tolist() == [[members * word] * 3]


TOO_MUCH = [
    ("shamir", {"threshold": "9"}, "threshold = '9' gives 9 for clusters of 8; allowed: 0 to 7"),
    ("shamir", {"threshold": "c"}, "threshold = 'c' gives 8 for clusters of 8; allowed: 0 to 7"),
    ("shamir", {"modulus": 7, "fraction_bits": 0}, "modulus = 7 is too small for clusters of 8"),
    ("masked", {"threshold": "9"}, "threshold = '9' gives 9 for clusters of 8; allowed: 1 to 8"),
    ("masked", {"least_honest": 9}, "least_honest = 9 needs 14 contributors in clusters of 8"),
    ("masked_graph", {"least_honest": 9}, "least_honest = 9 needs 10 contributors in clusters of 8"),
    ("committee", {"servers": 9}, "servers = 9 do not fit clusters of 8; allowed: 1 to 8"),
    ("committee", {"threshold": "3"}, "threshold = '3' gives 3 for 3 servers; allowed: 0 to 2"),
    ("committee", {"servers": 5, "modulus": 5, "fraction_bits": 0}, "modulus = 5 is too small for 5 servers"),
    ("hierarchical", {"threshold": "4"}, "threshold = '4' gives 4 for 4 members of a group; allowed: 0 to 3"),
    ("hierarchical", {"delegate_threshold": "2"}, "delegate_threshold = '2' gives 2 for 2 delegates"),
    ("hierarchical", {"modulus": 3, "fraction_bits": 0}, "modulus = 3 is too small for 4 shares"),
]
WITHOUT_THRESHOLD = ("plaintext", "additive", "additive_stock", "authenticated")


@pytest.mark.parametrize(("name", "parameters", "text"), TOO_MUCH)
def test_more_faults_than_members_or_too_small_a_field_is_refused_before_anything_is_sent(
    name: str, parameters: dict[str, object], text: str, threads: InProcessParties
) -> None:
    links, sent = list(threads._links), [link.meter.traffic() for link in threads._links]
    with pytest.raises(CloisterError, match=re.escape(text)):
        threads.open_sums(secure_sums.resolve({"name": name, **parameters}), torch.ones(1, 8, 2, dtype=torch.int64))
    assert threads._links == links
    assert [link.meter.traffic() for link in links] == sent


@pytest.mark.parametrize(
    ("name", "parameters", "text"),
    [
        ("shamir", {"modulus": 101, "fraction_bits": 4}, "|x| <= 0.375 (8 terms, modulus 101, 4 bits of fraction)"),
        ("authenticated", {"modulus": 11, "fraction_bits": 0}, "|x| <= 0 (8 terms, modulus 11, 0 bits of fraction)"),
        ("additive", {"bits": 8, "fraction_bits": 4}, "|x| <= 0.9375 (8 terms, modulus 256, 4 bits of fraction)"),
    ],
)
def test_a_ring_or_field_too_small_for_the_sum_refuses_the_value_with_its_bound(
    name: str, parameters: dict[str, object], text: str
) -> None:
    ring = secure_sums.make(secure_sums.resolve({"name": name, **parameters})).ring
    said = f"value 1.0 at index [0] cannot be encoded; allowed: finite numbers with {text}"
    with pytest.raises(CloisterError, match=re.escape(said)):
        ring.encode(torch.tensor([1.0]), terms=8)


# What makes each protocol's ring or field small, and the largest numbers of which it then holds a sum of eight.
SMALL = {
    name: ({"bits": 8, "fraction_bits": 4}, 0.9375)
    if "bits" in dict(resolve(name).parameters)
    else ({"modulus": 101, "fraction_bits": 4}, 0.375)
    for name in PROTOCOLS
}


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("sign", [1, -1])
def test_every_protocol_encodes_the_largest_numbers_whose_sum_it_holds_and_refuses_any_larger_one(
    name: str, sign: int
) -> None:
    small, bound = SMALL[name]
    ring = secure_sums.make(secure_sums.resolve({"name": name, **small})).ring
    words = ring.encode(torch.full((8,), sign * bound), terms=8)
    assert abs(int(words.sum())) <= (ring.modulus - 1) // 2
    beyond = sign * (bound + 2.0**-4)
    said = f"value {beyond!r} at index [0] cannot be encoded; allowed: finite numbers with |x| <= {bound:g} (8 terms"
    with pytest.raises(CloisterError, match=re.escape(said)):
        ring.encode(torch.tensor([beyond]), terms=8)


@pytest.mark.parametrize("name", WITHOUT_THRESHOLD)
def test_a_protocol_of_all_its_members_cannot_be_asked_for_a_threshold(name: str) -> None:
    with pytest.raises(CloisterError, match=f"'{name}' has no parameter 'threshold'; its parameters"):
        secure_sums.resolve({"name": name, "threshold": "1"})


def test_every_protocol_is_among_those_that_are_asked_for_too_much() -> None:
    assert {name for name, _, _ in TOO_MUCH} | set(WITHOUT_THRESHOLD) == set(PROTOCOLS)


@pytest.mark.parametrize("name", PROTOCOLS)
class TestEverySecureSum:
    @FEWER
    @given(data=st.data())
    def test_returns_the_same_words_and_traffic_from_processes_over_tcp(
        self, name: str, threads: InProcessParties, pool: PartyPool, data: st.DataObject
    ) -> None:
        words = data.draw(batches(resolve(name)))
        ours, theirs = threads.open_sums(resolve(name), words), pool.open_sums(resolve(name), words)
        assert torch.equal(ours.sums, theirs.sums)
        assert ours.traffic == theirs.traffic
        assert (ours.contributors, ours.suspects) == (theirs.contributors, theirs.suspects)

    @FEWER
    @given(data=st.data())
    def test_a_cluster_opens_the_same_words_alone_as_in_a_batch_at_the_same_cost(
        self, name: str, threads: InProcessParties, data: st.DataObject
    ) -> None:
        words = data.draw(batches(resolve(name), most_members=6))
        j = data.draw(st.integers(0, words.shape[0] - 1))
        batch, alone = threads.open_sums(resolve(name), words), threads.open_sums(resolve(name), words[j : j + 1])
        assert torch.equal(batch.sums[j : j + 1], alone.sums)
        clusters, members, coordinates = words.shape
        protocol = secure_sums.make(resolve(name))
        one, two = (protocol.cost(parties=members, clusters=k, coordinates=coordinates) for k in (1, 2))
        for part in ("offline", "mpc", "upload"):
            # What is sent once a batch (vouchers, stock CrypTen's seeds) is what a second cluster does not add.
            once = 2 * payload(one, part) - payload(two, part)
            assert once >= 0
            assert payload(batch.traffic, part) - once == clusters * (payload(alone.traffic, part) - once)

    @FEWER
    @given(data=st.data(), shift=st.integers(1, 5))
    def test_does_not_depend_on_which_member_holds_which_words(
        self, name: str, threads: InProcessParties, data: st.DataObject, shift: int
    ) -> None:
        words = data.draw(batches(resolve(name)))
        turned = words.roll(shift, dims=1)
        sums = [threads.open_sums(resolve(name), each).sums for each in (words, turned)]
        assert torch.equal(*sums)

    @pytest.mark.parametrize("part", [0.0, 0.3, 0.6, 1.0])
    def test_sends_what_the_kernel_counts_on_its_sockets(self, name: str, part: float) -> None:
        """In clusters of the smallest size, of the largest, and between."""
        protocol = secure_sums.make(resolve(name))
        sizes = sizes_of(protocol)
        members = sizes[round(part * (len(sizes) - 1))]
        clusters, coordinates = 2, 1001
        words = protocol.ring.wrap(torch.randint(LOWEST, HIGHEST, (clusters, members, coordinates)))
        metered, counted = over_sockets(resolve(name), words)
        formula = protocol.cost(parties=members, clusters=clusters, coordinates=coordinates)
        assert metered == counted == formula.wire_bytes

    def test_refuses_words_of_the_wrong_shape_or_type_before_anything_is_sent(
        self, name: str, threads: InProcessParties
    ) -> None:
        links = list(threads._links)
        for wrong in (torch.zeros(2, 3), torch.zeros(2, 3, 4), torch.zeros(1, 9, 2, dtype=torch.int64)):
            with pytest.raises(CloisterError, match="allowed"):
                threads.open_sums(resolve(name), wrong)
        assert threads._links == links


def payload(traffic: Any, part: str) -> int:
    cost: Cost = getattr(traffic, part)
    return cost.payload_bytes


def over_sockets(spec: Spec, words: torch.Tensor) -> tuple[int, int]:
    """Run one batch over TCP; the bytes on the wire as the meters count them, and as the kernel does."""
    clusters, members, coordinates = words.shape
    links = tcp_links(members)
    keys = in_parallel(members, lambda rank: make_keyring(links[rank], members))
    before = sum(kernel_received_bytes(link) for link in links)

    def work(place: int) -> int:
        link = links[place]
        if place == members:
            board = Board(link=link, parties=members, use=1, clusters=clusters, coordinates=coordinates)
            run_board(spec, board)
            return link.meter.traffic().wire_bytes
        party = Party(link=link, parties=members, use=1, keys=keys[place])
        return run_member(spec, party, words[:, place]).wire_bytes

    metered = sum(in_parallel(members + 1, work))
    counted = sum(kernel_received_bytes(link) for link in links) - before
    for link in links:
        link.close()
    return metered, counted


class TestAdditive:
    @given(words=batches(most_members=5))
    def test_shows_no_party_the_words_of_another_one_unmasked(self, words: torch.Tensor) -> None:
        """Every message of the first round is masked: with c >= 3 none equals the words that it hides.

        A 64-bit mask is zero in a given place with probability 2^-64; one run compares fewer than 2^12 words
        in each of 100 examples, so a false alarm has probability below 2^-45.
        """
        members = words.shape[1]
        if members < 2:
            return  # a lone member's sum is its update
        seen: list[tuple[int, torch.Tensor]] = []
        original = LinkCommunicator.all_reduce

        def spy(self: LinkCommunicator, share: torch.Tensor) -> torch.Tensor:
            seen.append((self.get_rank(), share.clone()))
            return original(self, share)

        with mock.patch.object(LinkCommunicator, "all_reduce", spy):
            InProcessParties(members).open_sums(resolve("additive"), words)
        assert len(seen) == members
        for rank, share in seen:
            assert not bool((share == words[:, rank]).any())

    def test_masks_are_drawn_anew_for_every_batch(self) -> None:
        """Equal inputs give shares that differ in every word: P(a false alarm) < 3 x 64 x 2^-64 < 2^-56."""
        shares: list[torch.Tensor] = []
        original = crypten_engine.reveal

        def spy(link: Link, members: int, share: torch.Tensor, *, fraction_bits: int) -> torch.Tensor:
            shares.append(share.clone())
            return original(link, members, share, fraction_bits=fraction_bits)

        threads = InProcessParties(3)
        with mock.patch.object(crypten_engine, "reveal", spy):
            for _ in range(2):
                threads.open_sums(resolve("additive"), torch.zeros(1, 3, 64, dtype=torch.int64))
        first, second = shares[:3], shares[3:]
        assert not any(bool((a == b).any()) for a in first for b in second)

    def test_one_sum_of_five_parties_costs_the_published_bytes(self, threads: InProcessParties) -> None:
        """2 (c - 1) words a coordinate and 2 c (c - 1) headers, in two rounds; one copy of the sum and 5 vouchers."""
        traffic = threads.open_sums(resolve("additive"), torch.zeros(1, 5, 1000, dtype=torch.int64)).traffic
        cost = traffic.mpc
        assert cost.payload_bytes == 2 * 4 * 1000 * 8
        assert cost.wire_bytes == cost.payload_bytes + 2 * 5 * 4 * HEADER_BYTES
        assert cost.rounds == 2
        assert traffic.offline == Cost.none()
        upload = 1000 * 8 + 5 * 32
        assert traffic.upload == Cost(payload_bytes=upload, wire_bytes=upload + 6 * 16, messages=6, rounds=1)


class TestPlantedBugs:
    """Each bug, planted into the real code, is seen by the checks above."""

    WORDS = torch.arange(2 * 3 * 7, dtype=torch.int64).view(2, 3, 7)

    def test_a_wrong_mask_sign_for_one_pair_changes_the_sum(self) -> None:
        original = zero_sharing.ZeroShares.draw

        def planted(self: zero_sharing.ZeroShares, *, onto: torch.Tensor, **sizes: int) -> torch.Tensor:
            share = original(self, **sizes)
            return onto - share if self._rank == 0 else onto + share

        with mock.patch.object(zero_sharing.ZeroShares, "draw", planted):
            assert InProcessParties(3).open_sums(resolve("additive"), self.WORDS).sums.tolist() != integer_sum(
                self.WORDS
            )

    def test_a_coordinate_that_is_left_out_changes_the_sum(self) -> None:
        original = LinkCommunicator.all_reduce

        def planted(self: LinkCommunicator, words: torch.Tensor) -> torch.Tensor:
            opened = original(self, words)
            opened[:, -1] = 0
            return opened

        with mock.patch.object(LinkCommunicator, "all_reduce", planted):
            assert InProcessParties(3).open_sums(resolve("additive"), self.WORDS).sums.tolist() != integer_sum(
                self.WORDS
            )

    @pytest.mark.parametrize("rank", [1, 2])
    def test_a_party_that_opens_other_sums_is_named(self, rank: int) -> None:
        with lying_about_its_sums(rank), pytest.raises(OutOfStepError, match=rf"parties \[{rank}\] opened other sums"):
            InProcessParties(3).open_sums(resolve("additive"), self.WORDS)

    def test_when_party_0_opens_other_sums_all_others_disagree(self) -> None:
        with lying_about_its_sums(0), pytest.raises(OutOfStepError, match=r"parties \[1, 2\] opened other sums"):
            InProcessParties(3).open_sums(resolve("additive"), self.WORDS)

    @pytest.mark.parametrize("rank", range(3))
    def test_members_of_stock_crypten_vouch_for_what_is_published_too(self, rank: int) -> None:
        named = re.escape(str([1, 2] if rank == 0 else [rank]))
        with lying_about_its_sums(rank, stock_module), pytest.raises(OutOfStepError, match=f"parties {named} opened"):
            InProcessParties(3).open_sums(resolve("additive_stock"), self.WORDS)

    @pytest.mark.parametrize("rank", range(3))
    def test_a_party_that_is_in_another_batch_than_the_others_is_named(self, rank: int) -> None:
        """Its masks do not cancel, and all open the same garbage; the voucher tells who is out of step."""
        original = in_process.run_member

        def planted(protocol: Spec, party: Party, words: torch.Tensor) -> object:
            use = party.use + 1 if party.rank == rank else party.use
            return original(protocol, dataclasses.replace(party, use=use), words)

        with (
            mock.patch.object(in_process, "run_member", planted),
            pytest.raises(OutOfStepError, match=rf"parties \[{rank}\] opened other sums, or in another batch"),
        ):
            InProcessParties(3).open_sums(resolve("additive"), self.WORDS)

    def test_a_meter_that_forgets_one_message_disagrees_with_the_formula(self, threads: InProcessParties) -> None:
        formula = secure_sums.make(resolve("additive")).cost(parties=3, clusters=2, coordinates=7)
        metered = threads.open_sums(resolve("additive"), self.WORDS).traffic
        assert metered == formula
        fewer = dataclasses.replace(metered.mpc, messages=metered.mpc.messages - 1)
        assert dataclasses.replace(metered, mpc=fewer) != formula

    def test_a_message_that_is_not_metered_disagrees_with_the_kernel(self) -> None:
        original = additive_module.publish

        def planted(party: Party, opened: torch.Tensor, *, vouching: bool) -> None:
            original(party, opened, vouching=vouching)
            party.link.meter.reset()

        with mock.patch.object(additive_module, "publish", planted):
            metered, counted = over_sockets(resolve("additive"), self.WORDS)
        assert metered < counted

    def test_words_of_another_modulus_are_seen(self, threads: InProcessParties) -> None:
        """A protocol that forgets to reduce modulo its ring opens other sums than the integers say."""
        words = torch.full((1, 3, 2), 2**30, dtype=torch.int64)
        sums = threads.open_sums(secure_sums.resolve({"name": "plaintext"}), words).sums.tolist()
        assert sums == integer_sum(words)
        assert sums != integer_sum(words, 2**32)


def lying_about_its_sums(rank: int, module: ModuleType = additive_module) -> Any:
    """A party publishes one more than was opened."""
    original = module.publish

    def planted(party: Party, opened: torch.Tensor, *, vouching: bool) -> None:
        original(party, opened + 1 if party.rank == rank else opened, vouching=vouching)

    return mock.patch.object(module, "publish", planted)
