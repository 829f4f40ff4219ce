"""Running a batch: what is refused before it starts, what is raised when it fails, what comes out when it works."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protocols.check import CloisterError
from protocols.faults import Crash, Fault
from protocols.in_process import InProcessParties
from protocols.in_process_link import in_process_links
from protocols.keyring import Keyring
from protocols.network import (
    BOARD,
    HEADER_BYTES,
    CheatingDetectedError,
    NetworkError,
    OutOfStepError,
    PartyCrashedError,
    PartyFailedError,
    PartyTimeoutError,
    TooFewPartiesError,
)
from protocols.parties import OpenedSums, check_batch, run_board, run_member, the_cause, total
from protocols.registry import Spec
from protocols.secure_sum import Board, Opened, Party, secure_sums
from protocols.types import Cost, Traffic

ADDITIVE = secure_sums.resolve("additive")
WORDS = torch.arange(2 * 4 * 3, dtype=torch.int64).view(2, 4, 3)
# From the cause of a failure to its echoes.
MISTAKE = ZeroDivisionError("a mistake in the code")
REFUSED = CloisterError("a mistake in the question")
FAILED = PartyFailedError("ZeroDivisionError: a mistake in a process")
CHEATING = CheatingDetectedError("somebody cheats", suspects=frozenset({1}))
OUT_OF_STEP = OutOfStepError("a wrong message")
TOO_FEW = TooFewPartiesError("two are left")
SILENT = PartyTimeoutError("nothing from 1")
CRASHED = PartyCrashedError("1 is gone")
ORDER = [MISTAKE, FAILED, CHEATING, OUT_OF_STEP, TOO_FEW, SILENT, CRASHED]

Cause = Callable[[NetworkError, list[BaseException]], BaseException]


def assert_tells_the_cause(cause: Cause) -> None:
    """All orders of all errors of a batch, members' and board's."""
    for size in (1, 2, 3):
        for members in itertools.permutations(ORDER, size):
            first = min(members, key=ORDER.index)
            assert cause(CRASHED, list(members)) is first, "an echo is raised instead of its cause"
            assert cause(SILENT, list(members)) is min((first, SILENT), key=ORDER.index)
            for board in (CHEATING, TOO_FEW):
                expected = first if first in (MISTAKE, FAILED) else board
                assert cause(board, list(members)) is expected, "the board's finding is not what is raised"
    for board in ORDER[1:]:
        assert cause(board, []) is board
    assert cause(CRASHED, [SILENT, REFUSED]) is REFUSED


class TestTheCause:
    def test_is_a_mistake_else_the_boards_own_finding_else_what_the_others_only_echo(self) -> None:
        assert_tells_the_cause(the_cause)

    @pytest.mark.parametrize(
        "planted",
        [
            lambda board, members: (members or [board])[0],
            lambda board, members: board,
            lambda board, members: min([*members, board], key=ORDER.index),
            lambda board, members: board if board in (CHEATING, TOO_FEW) else the_cause(board, members),
        ],
        ids=["the first one", "the board's", "the board's finding is one of many", "the board's beats a mistake"],
    )
    def test_another_one_is_seen(self, planted: Cause) -> None:
        with pytest.raises(AssertionError):
            assert_tells_the_cause(planted)


class TestCheckBatch:
    def test_returns_the_shape(self) -> None:
        assert check_batch(ADDITIVE, WORDS, 4) == (2, 4, 3)

    @pytest.mark.parametrize(
        ("words", "most", "problem"),
        [
            (WORDS.double(), 4, "type torch.float64; allowed: int64"),
            (WORDS[0], 4, r"shape \(4, 3\)"),
            (WORDS[:0], 4, "clusters = 0"),
            (WORDS[:, :0], 4, "members = 0"),
            (WORDS[:, :, :0], 4, "coordinates = 0"),
            (WORDS, 3, "clusters of 4 members do not fit the pool; allowed: 1 to 3"),
        ],
    )
    def test_refuses_words_that_make_no_sense(self, words: torch.Tensor, most: int, problem: str) -> None:
        with pytest.raises(CloisterError, match=problem):
            check_batch(ADDITIVE, words, most)

    def test_refuses_what_the_protocol_cannot_run_and_a_protocol_that_is_none(self) -> None:
        with (
            played(Stub(smallest=5)),
            pytest.raises(CloisterError, match="parties = 4"),
        ):
            check_batch(ADDITIVE, WORDS, 4)
        with pytest.raises(CloisterError, match="'nothing' is unknown"):
            check_batch(Spec(name="nothing"), WORDS, 4)


@dataclass(frozen=True, kw_only=True)
class Stub:
    """A protocol that goes on without lost members: each tells all others its words, and the board adds them."""

    smallest: int = 1
    least: int = 1
    suspects: frozenset[int] = frozenset()

    def check_size(self, *, parties: int) -> None:
        if parties < self.smallest:
            raise CloisterError(f"parties = {parties} is not allowed; allowed: >= {self.smallest}")

    def contribute(self, party: Party, words: torch.Tensor) -> None:
        with party.link.meter.offline():
            hello = torch.zeros(1, dtype=torch.int64)
            party.link.try_exchange(dict.fromkeys(party.peers, hello), {peer: hello.clone() for peer in party.peers})
        party.link.try_exchange(
            dict.fromkeys(party.peers, words), {peer: torch.empty_like(words) for peer in party.peers}
        )
        party.link.try_exchange({BOARD: words}, {})

    def collect(self, board: Board) -> Opened:
        into = torch.zeros(board.parties, board.clusters, board.coordinates, dtype=torch.int64)
        board.link.skip(2)
        lost = board.link.try_exchange({}, {rank: into[rank] for rank in range(board.parties)})
        there = tuple(rank for rank in range(board.parties) if rank not in lost)
        if len(there) < self.least:
            raise TooFewPartiesError(f"{len(there)} members are left")
        return Opened(sums=into[list(there)].sum(dim=0), contributors=there, suspects=self.suspects)

    def cost(self, *, parties: int, clusters: int, coordinates: int) -> Traffic:
        pairs, size = parties * (parties - 1), 8 * clusters * coordinates
        return Traffic(
            offline=cost(pairs, 8 * pairs, min(parties - 1, 1)),
            mpc=cost(pairs, size * pairs, min(parties - 1, 1)),
            upload=cost(parties, size * parties, 1),
        )


def cost(messages: int, payload_bytes: int, rounds: int) -> Cost:
    wire_bytes = payload_bytes + HEADER_BYTES * messages
    return Cost(payload_bytes=payload_bytes, wire_bytes=wire_bytes, messages=messages, rounds=rounds)


def played(protocol: Stub) -> Any:
    """Play this protocol whatever is asked for."""
    return mock.patch.object(secure_sums, "make", return_value=protocol)


def assert_counts_offline_and_online_apart(members: int) -> None:
    """The board, to which nothing is sent offline, never says that it is in the offline part."""
    threads = InProcessParties(members)
    with played(Stub()):
        found = threads.open_sums(ADDITIVE, WORDS[:, :members])
    assert found.traffic == Stub().cost(parties=members, clusters=2, coordinates=3)


class TestPartyThatGoesOnWithoutOthers:
    @pytest.mark.parametrize("step", [0, 1, 2])
    def test_the_sums_are_those_of_the_contributors_and_the_next_batch_has_all_again(self, step: int) -> None:
        faults: dict[int, Fault] = {1: Crash(step=step)}
        threads = InProcessParties(4, deadline_s=1e7, faults=faults)
        with played(Stub()):
            found = threads.open_sums(ADDITIVE, WORDS)
            assert found.contributors == (0, 2, 3)
            assert torch.equal(found.sums, WORDS[:, [0, 2, 3]].sum(dim=1))
            links = list(threads._links)
            faults.clear()
            assert threads.open_sums(ADDITIVE, WORDS).contributors == (0, 1, 2, 3)
        assert threads._links == links, "links without losses were replaced, or new ones not kept"

    def test_links_that_lost_a_party_are_not_used_again(self) -> None:
        faults: dict[int, Fault] = {1: Crash(step=0)}
        threads = InProcessParties(4, deadline_s=1e7, faults=faults)
        with played(Stub()), mock.patch.object(InProcessParties, "_start"):
            threads.open_sums(ADDITIVE, WORDS)
            faults.clear()
            assert threads.open_sums(ADDITIVE, WORDS).contributors != (0, 1, 2, 3)

    def test_too_few_contributors_are_an_error(self) -> None:
        threads = InProcessParties(4, deadline_s=1e7, faults={1: Crash(step=0), 3: Crash(step=1)})
        with played(Stub(least=3)), pytest.raises(TooFewPartiesError, match="2 members are left"):
            threads.open_sums(ADDITIVE, WORDS)

    def test_suspects_come_with_the_sums(self) -> None:
        with played(Stub(suspects=frozenset({2}))):
            assert InProcessParties(4).open_sums(ADDITIVE, WORDS).suspects == {2}

    def test_a_members_mistake_is_raised_although_the_sums_were_opened(self) -> None:
        """Going on without it would hide it."""
        original = Stub.contribute

        def planted(own: Stub, party: Party, words: torch.Tensor) -> None:
            if party.rank == 2:
                raise ZeroDivisionError("a mistake")
            original(own, party, words)

        for least in (1, 4):  # the board opens, or finds that too few are left
            threads = InProcessParties(4, deadline_s=1e7)
            with (
                played(Stub(least=least)),
                mock.patch.object(Stub, "contribute", planted),
                pytest.raises(ZeroDivisionError, match="a mistake"),
            ):
                threads.open_sums(ADDITIVE, WORDS)

    @pytest.mark.parametrize("members", [1, 2, 4])
    def test_traffic_is_counted_offline_and_online_apart_board_and_all(self, members: int) -> None:
        assert_counts_offline_and_online_apart(members)

    def test_traffic_without_the_board_or_without_a_part_is_seen(self) -> None:
        for planted in (
            lambda traffic: Traffic(offline=Cost.none(), mpc=traffic.mpc, upload=traffic.upload),
            lambda traffic: Traffic(
                offline=traffic.offline, mpc=traffic.mpc.then(traffic.offline), upload=traffic.upload
            ),
            lambda traffic: Traffic(offline=traffic.offline, mpc=traffic.mpc, upload=Cost.none()),
        ):
            wrong = mock.patch("protocols.in_process.total", lambda each, planted=planted: planted(total(each)))
            with wrong, pytest.raises(AssertionError):
                assert_counts_offline_and_online_apart(4)


class TestOneParty:
    def test_a_batch_begins_with_nothing_counted_and_says_what_was_sent(self) -> None:
        links = in_process_links(1)
        links[0].exchange({BOARD: WORDS}, {})
        links[-1].exchange({}, {0: torch.empty_like(WORDS)})
        party = Party(link=links[0], parties=1, use=1, keys=mock.Mock(spec=Keyring))
        with played(Stub()):
            assert run_member(ADDITIVE, party, WORDS[:, 0]).upload == cost(1, 8 * 6, 0)
            board = Board(link=links[-1], parties=1, use=1, clusters=2, coordinates=3)
            assert torch.equal(run_board(ADDITIVE, board).sums, WORDS[:, 0])
        assert links[-1].meter.traffic().upload == Cost.none(rounds=1)

    def test_a_party_knows_its_place_and_its_peers_and_shows_no_keys(self) -> None:
        party = Party(link=in_process_links(3)[1], parties=3, use=1, keys=mock.Mock(spec=Keyring))
        assert (party.rank, party.peers) == (1, [0, 2])
        assert "keys" not in repr(party)


COSTS = st.builds(
    Cost,
    payload_bytes=st.integers(0, 100),
    wire_bytes=st.integers(0, 100),
    messages=st.integers(0, 9),
    rounds=st.integers(0, 9),
)


class TestTotal:
    @given(each=st.lists(st.builds(Traffic, offline=COSTS, mpc=COSTS, upload=COSTS), max_size=5))
    def test_adds_bytes_and_messages_and_takes_the_longest_chain_of_each_part(self, each: list[Traffic]) -> None:
        found = total(each)
        for part in ("offline", "mpc", "upload"):
            costs: list[Cost] = [getattr(traffic, part) for traffic in each]
            assert getattr(found, part) == Cost(
                payload_bytes=sum(one.payload_bytes for one in costs),
                wire_bytes=sum(one.wire_bytes for one in costs),
                messages=sum(one.messages for one in costs),
                rounds=max((one.rounds for one in costs), default=0),
            )

    def test_of_nobody_is_nothing(self) -> None:
        assert total([]) == Traffic.none()


def test_opened_sums_suspect_nobody_unless_said() -> None:
    assert OpenedSums(sums=WORDS[:, 0], contributors=(0,), traffic=Traffic.none()).suspects == frozenset()
