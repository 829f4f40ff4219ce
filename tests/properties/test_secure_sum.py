"""The encrypted sum, on real CrypTen: exact, metered, and the same in threads and in processes."""

import dataclasses
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protocols import crypten_engine, parties, zero_sharing
from protocols.in_process import InProcessParties
from protocols.network import HEADER_BYTES, OutOfStepError
from protocols.parties import run_party
from protocols.party_pool import PartyPool
from protocols.registry import Spec
from protocols.secure_sum import Party, secure_sums
from tests.tcp import in_parallel, kernel_received_bytes, tcp_links

PROTOCOLS = sorted(secure_sums.entries())
LOWEST, HIGHEST = -(2**63), 2**63 - 1
INTERESTING = st.sampled_from([0, 1, -1, 2**31, 2**32, 2**62, -(2**62), HIGHEST, LOWEST])
WORDS = st.one_of(st.integers(LOWEST, HIGHEST), INTERESTING)


def resolve(name: str) -> Spec:
    return secure_sums.resolve(name)


def integer_sum(words: torch.Tensor) -> list[list[int]]:
    """The sums over members in Python integers, wrapped into signed 64 bits."""
    clusters, members, coordinates = words.shape
    plain = words.tolist()
    totals = [[sum(plain[j][i][k] for i in range(members)) for k in range(coordinates)] for j in range(clusters)]
    return [[(total - LOWEST) % 2**64 + LOWEST for total in row] for row in totals]


@st.composite
def batches(draw: st.DrawFn, most_members: int = 8) -> torch.Tensor:
    clusters = draw(st.integers(1, 4))
    members = draw(st.integers(1, most_members))
    coordinates = draw(st.integers(1, 20))
    count = clusters * members * coordinates
    flat = draw(st.lists(WORDS, min_size=count, max_size=count))
    return torch.tensor(flat, dtype=torch.int64).view(clusters, members, coordinates)


@pytest.fixture(scope="module")
def threads() -> InProcessParties:
    return InProcessParties(8)


@pytest.mark.parametrize("name", PROTOCOLS)
class TestEverySecureSum:
    @given(words=batches())
    def test_opens_the_sum_of_python_integers_word_for_word(
        self, name: str, threads: InProcessParties, words: torch.Tensor
    ) -> None:
        assert threads.open_sums(resolve(name), words).sums.tolist() == integer_sum(words)

    @given(words=batches())
    def test_returns_the_same_words_and_costs_from_processes_over_tcp(
        self, name: str, threads: InProcessParties, pool: PartyPool, words: torch.Tensor
    ) -> None:
        ours, theirs = threads.open_sums(resolve(name), words), pool.open_sums(resolve(name), words)
        assert torch.equal(ours.sums, theirs.sums)
        assert (ours.mpc, ours.upload) == (theirs.mpc, theirs.upload)

    @given(words=batches())
    def test_costs_what_its_closed_form_says(self, name: str, threads: InProcessParties, words: torch.Tensor) -> None:
        clusters, members, coordinates = words.shape
        formula = secure_sums.make(resolve(name)).cost(parties=members, clusters=clusters, coordinates=coordinates)
        assert threads.open_sums(resolve(name), words).mpc == formula

    @given(words=batches(most_members=6), chosen=st.data())
    def test_a_cluster_opens_the_same_words_alone_as_in_a_batch(
        self, name: str, threads: InProcessParties, words: torch.Tensor, chosen: st.DataObject
    ) -> None:
        j = chosen.draw(st.integers(0, words.shape[0] - 1))
        batch, alone = threads.open_sums(resolve(name), words), threads.open_sums(resolve(name), words[j : j + 1])
        assert torch.equal(batch.sums[j : j + 1], alone.sums)
        # What a protocol sends once a batch (stock CrypTen's seeds) is what zero clusters would cost.
        clusters, members, coordinates = words.shape
        protocol = secure_sums.make(resolve(name))
        once = protocol.cost(parties=members, clusters=0, coordinates=coordinates).payload_bytes
        assert batch.mpc.payload_bytes - once == clusters * (alone.mpc.payload_bytes - once)

    @given(words=batches(), shift=st.integers(1, 5))
    def test_does_not_depend_on_which_member_holds_which_words(
        self, name: str, threads: InProcessParties, words: torch.Tensor, shift: int
    ) -> None:
        turned = words.roll(shift, dims=1)
        sums = [threads.open_sums(resolve(name), each).sums for each in (words, turned)]
        assert torch.equal(*sums)

    @pytest.mark.parametrize("members", [3, 5, 8])
    def test_sends_what_the_kernel_counts_on_its_sockets(self, name: str, members: int) -> None:
        clusters, coordinates = 2, 1001
        words = torch.randint(LOWEST, HIGHEST, (clusters, members, coordinates))
        links = tcp_links(members)
        zero_shares = in_parallel(members, lambda rank: zero_sharing.agree_on_keys(links[rank], members))
        before = sum(kernel_received_bytes(link) for link in links)

        def work(rank: int) -> int:
            party = Party(link=links[rank], parties=members, use=1, zero_shares=zero_shares[rank])
            return run_party(resolve(name), party, words[:, rank])[0].mpc.wire_bytes

        metered = sum(in_parallel(members, work))
        counted = sum(kernel_received_bytes(link) for link in links) - before
        for link in links:
            link.close()
        formula = secure_sums.make(resolve(name)).cost(parties=members, clusters=clusters, coordinates=coordinates)
        assert metered == counted == formula.wire_bytes

    def test_refuses_words_of_the_wrong_shape_or_type_before_anything_is_sent(
        self, name: str, threads: InProcessParties
    ) -> None:
        for wrong in (torch.zeros(2, 3), torch.zeros(2, 3, 4), torch.zeros(1, 9, 2, dtype=torch.int64)):
            with pytest.raises(ValueError, match="allowed"):
                threads.open_sums(resolve(name), wrong)


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
        original = crypten_engine.LinkCommunicator.all_reduce

        def spy(self: crypten_engine.LinkCommunicator, share: torch.Tensor) -> torch.Tensor:
            seen.append((self.get_rank(), share.clone()))
            return original(self, share)

        with mock.patch.object(crypten_engine.LinkCommunicator, "all_reduce", spy):
            InProcessParties(members).open_sums(resolve("additive"), words)
        assert len(seen) == members
        for rank, share in seen:
            assert not bool((share == words[:, rank]).any())

    def test_masks_are_drawn_anew_for_every_batch(self) -> None:
        """Equal inputs give shares that differ in every word: P(a false alarm) < 3 x 64 x 2^-64 < 2^-56."""
        shares: list[torch.Tensor] = []
        original = crypten_engine.reveal

        def spy(link: object, members: int, share: torch.Tensor, *, fraction_bits: int) -> torch.Tensor:
            shares.append(share.clone())
            return original(link, members, share, fraction_bits=fraction_bits)

        threads = InProcessParties(3)
        with mock.patch.object(crypten_engine, "reveal", spy):
            for _ in range(2):
                threads.open_sums(resolve("additive"), torch.zeros(1, 3, 64, dtype=torch.int64))
        first, second = shares[:3], shares[3:]
        assert not any(bool((a == b).any()) for a in first for b in second)

    def test_one_sum_of_five_parties_costs_the_published_bytes(self, threads: InProcessParties) -> None:
        """2 (c - 1) words a coordinate and 2 c (c - 1) headers, in two rounds."""
        cost = threads.open_sums(resolve("additive"), torch.zeros(1, 5, 1000, dtype=torch.int64)).mpc
        assert cost.payload_bytes == 2 * 4 * 1000 * 8
        assert cost.wire_bytes == cost.payload_bytes + 2 * 5 * 4 * HEADER_BYTES
        assert cost.rounds == 2


class TestPlantedBugs:
    """Each bug, planted into the real code, is seen by the checks above."""

    WORDS = torch.arange(2 * 3 * 7, dtype=torch.int64).view(2, 3, 7)

    def test_a_wrong_mask_sign_for_one_pair_changes_the_sum(self) -> None:
        original = zero_sharing.ZeroShares.draw

        def planted(self: zero_sharing.ZeroShares, **sizes: int) -> torch.Tensor:
            share = original(self, **sizes)
            return -share if self._rank == 0 else share

        with mock.patch.object(zero_sharing.ZeroShares, "draw", planted):
            assert InProcessParties(3).open_sums(resolve("additive"), self.WORDS).sums.tolist() != integer_sum(
                self.WORDS
            )

    def test_a_coordinate_that_is_left_out_changes_the_sum(self) -> None:
        original = crypten_engine.LinkCommunicator.all_reduce

        def planted(self: crypten_engine.LinkCommunicator, words: torch.Tensor) -> torch.Tensor:
            opened = original(self, words)
            opened[:, -1] = 0
            return opened

        with mock.patch.object(crypten_engine.LinkCommunicator, "all_reduce", planted):
            assert InProcessParties(3).open_sums(resolve("additive"), self.WORDS).sums.tolist() != integer_sum(
                self.WORDS
            )

    def test_a_party_that_opens_other_sums_is_named(self) -> None:
        original = parties.run_party

        def planted(protocol: Spec, party: Party, words: torch.Tensor):
            report, opened = original(protocol, party, words)
            return report, opened + 1 if party.rank == 2 else opened

        with (
            mock.patch("protocols.in_process.run_party", planted),
            pytest.raises(OutOfStepError, match=r"parties \[2\] opened other sums"),
        ):
            InProcessParties(3).open_sums(resolve("additive"), self.WORDS)

    def test_a_meter_that_forgets_one_message_disagrees_with_the_formula(self, threads: InProcessParties) -> None:
        formula = secure_sums.make(resolve("additive")).cost(parties=3, clusters=2, coordinates=7)
        metered = threads.open_sums(resolve("additive"), self.WORDS).mpc
        assert metered == formula
        assert dataclasses.replace(metered, messages=metered.messages - 1) != formula
