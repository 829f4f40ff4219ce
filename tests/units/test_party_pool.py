"""Party processes that crash, stall and fail, and the pool that heals; the same for party threads.

Deadlines are the subject of some tests; none asserts how long anything took. A process is known to have ended
through its pidfd, which the kernel marks readable then.
"""

import contextlib
import dataclasses
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

import pytest
import torch

from protocols import in_process, party_pool, party_report, zero_sharing
from protocols.check import CloisterError
from protocols.faults import Crash, Fault
from protocols.in_process import InProcessParties
from protocols.keyring import Keyring, make_keyring
from protocols.network import (
    BOARD,
    CheatingDetectedError,
    Link,
    NetworkError,
    OutOfStepError,
    PartyCrashedError,
    PartyFailedError,
    PartyTimeoutError,
)
from protocols.party_pool import PartyPool
from protocols.registry import Spec
from protocols.secure_sum import Opened, secure_sums
from protocols.types import Cost, Traffic

ADDITIVE = secure_sums.resolve("additive")
PLAINTEXT = secure_sums.resolve("plaintext")
ONE_CRASH = {"name": "shamir", "threshold": "1", "least_honest": 1}
SURVIVING = [
    *(secure_sums.resolve({**ONE_CRASH, "mode": mode}) for mode in ("passive", "correct", "vss")),
    secure_sums.resolve({"name": "masked", "threshold": "c/2"}),
]
CRASHING = {
    "shamir": SURVIVING[0],
    "masked": SURVIVING[3],
    **{name: secure_sums.resolve(name) for name in ("additive", "authenticated", "committee", "masked_graph")},
}
WORDS = torch.arange(2 * 3 * 5, dtype=torch.int64).view(2, 3, 5)
CANARY = 0x5EC2E7_CA7A27
LONG_S = 60
Errors = type[Exception] | tuple[type[Exception], ...]


@pytest.fixture(scope="module")
def trio() -> Iterator[PartyPool]:
    """Three party processes, which tests may break: every test starts from whatever the one before it left."""
    with PartyPool(3, deadline_s=LONG_S) as pool:
        yield pool


def opened(pool: PartyPool | InProcessParties, protocol: Spec = ADDITIVE) -> list[list[int]]:
    return pool.open_sums(protocol, WORDS).sums.tolist()


def outcome(pool: PartyPool | InProcessParties, protocol: Spec, number: int, faults: dict[int, Fault]) -> object:
    """What a batch opens and costs, or how it fails and what was sent for it."""
    try:
        found = pool.open_sums(protocol, WORDS, number=number, faults=faults)
    except NetworkError as error:
        return type(error), pool.spent
    return found.sums.tolist(), found.contributors, found.suspects, found.traffic


def watch(pids: list[int]) -> list[int]:
    return [os.pidfd_open(pid) for pid in pids]


def ended(watched: list[int]) -> bool:
    """Wait until all these processes have ended."""
    try:
        return all(select.select([fd], [], [], LONG_S)[0] for fd in watched)
    finally:
        for fd in watched:
            os.close(fd)


def assert_fails_and_heals(
    pool: PartyPool,
    error: Errors,
    match: str,
    protocol: Spec = ADDITIVE,
    *,
    words: torch.Tensor = WORDS,
    hit: int | None = None,
    by: signal.Signals = signal.SIGKILL,
) -> None:
    """The next batch fails as said; the one after it works, with a new process for the party that is hit alone."""
    before = pool.pids
    watched = [] if hit is None else watch([before[hit]])
    if hit is not None:
        os.kill(before[hit], by)
    with pytest.raises(error, match=match):
        pool.open_sums(protocol, words)
    assert opened(pool) == WORDS.sum(dim=1).tolist()
    assert ended(watched), "the party process that was hit is still there"
    assert [pid in before for pid in pool.pids] == [slot != hit for slot in range(3)]
    assert [pid for pid in before if pid in pool.pids] == [pid for pid in pool.pids if pid in before]


def assert_fails_and_starts_anew(pool: PartyPool, error: Errors, match: str) -> None:
    """The next batch fails as said and stops every process; the one after it works, with new processes."""
    before = pool.pids
    watched = watch(before)
    with pytest.raises(error, match=match):
        pool.open_sums(ADDITIVE, WORDS)
    assert pool.pids == []
    assert ended(watched), "a party process is still there after a mistake"
    assert opened(pool) == WORDS.sum(dim=1).tolist()
    assert len(pool.pids) == 3
    assert not set(pool.pids) & set(before), "a party process of the failed batch is in use again"


def failure(kind: str, text: str) -> dict[str, Any]:
    """What a party process reports when its code raised."""
    return {"ok": False, "kind": kind, "text": text, "suspects": [], "traffic": NOTHING_SENT}


NOTHING_SENT = dataclasses.asdict(Traffic.none())
CRASH = failure("PartyCrashedError", "party 1 closed its connection")
GOOD = {"ok": True, "lost": [], "traffic": NOTHING_SENT}
ALL_OPENED = Opened(sums=WORDS[:, 0], contributors=(0, 2), suspects=frozenset({1}))


def assert_raises_of(
    pool: PartyPool, replies: list[dict[str, Any]], error: type[Exception], text: str, board: Opened | None = None
) -> Exception:
    """A batch with these replies of the parties, whose board opened that or lost a party, raises so."""
    opened(pool)
    outcome = {"side_effect": PartyCrashedError("the board lost party 0")} if board is None else {"return_value": board}
    try:
        with (
            mock.patch.object(party_pool, "run_board", **outcome),
            mock.patch.object(PartyPool, "_reply", side_effect=replies),
            pytest.raises(error, match=text) as caught,
        ):
            pool.open_sums(ADDITIVE, WORDS)
    finally:
        pool.stop()  # the real replies are still in the pipes
    return caught.value


@contextlib.contextmanager
def once_all_have_the_batch(pool: PartyPool, act: Callable[[], None]) -> Iterator[None]:
    """Act as soon as the first batch has been sent to the last party."""
    original, last, acts = party_pool.send_json, pool._children[-1].control, [act]

    def planted(control: Any, message: dict[str, Any]) -> None:
        original(control, message)
        if control is last and acts:
            acts.pop()()

    with mock.patch.object(party_pool, "send_json", planted):
        yield


def failure_of(pool: PartyPool, words: torch.Tensor) -> type[NetworkError] | None:
    """The type of error with which a batch fails, or None where its sums are exact."""
    try:
        assert torch.equal(pool.open_sums(ADDITIVE, words).sums, words.sum(dim=1))
    except NetworkError as error:
        return type(error)
    return None


class TestPartyPool:
    @pytest.mark.parametrize("protocol", [ADDITIVE, PLAINTEXT], ids=str)
    def test_a_batch_returns_the_exact_sums(self, trio: PartyPool, protocol: Spec) -> None:
        assert opened(trio, protocol) == WORDS.sum(dim=1).tolist()

    def test_processes_are_started_once_and_kept(self, trio: PartyPool) -> None:
        opened(trio)
        first = trio.pids
        opened(trio)
        assert trio.pids == first
        assert len(set(first)) == 3
        assert os.getpid() not in first

    def test_a_batch_of_fewer_members_leaves_the_other_parties_in_step(self, trio: PartyPool) -> None:
        opened(trio)
        first = trio.pids
        for members in (1, 2, 3, 2, 3):
            sums = trio.open_sums(ADDITIVE, WORDS[:, :members]).sums
            assert torch.equal(sums, WORDS[:, :members].sum(dim=1))
        assert trio.pids == first

    def test_no_word_of_a_larger_batch_is_left_in_a_smaller_one_or_in_the_next(self, trio: PartyPool) -> None:
        for clusters, coordinates in ((1, 4), (3, 5000), (2, 3), (1, 15_000), (4, 4000), (1, 1)):
            count = clusters * 3 * coordinates
            words = (torch.arange(count) * 2_654_435_761 + coordinates).view(clusters, 3, coordinates)
            assert torch.equal(trio.open_sums(ADDITIVE, words).sums, words.sum(dim=1))

    def test_a_pool_that_returns_other_sums_is_seen(self, trio: PartyPool) -> None:
        other = Opened(sums=WORDS[:, 0], contributors=(0, 1, 2))
        with mock.patch.object(party_pool, "run_board", return_value=other), pytest.raises(AssertionError):
            assert opened(trio) == WORDS.sum(dim=1).tolist()
        trio.stop()  # the real publications are still in the sockets

    @pytest.mark.parametrize("slot", [0, 2])
    @pytest.mark.parametrize("protocol", [ADDITIVE, PLAINTEXT], ids=str)
    def test_a_killed_party_is_a_crash_and_the_next_batch_has_a_new_process_for_it_alone(
        self, trio: PartyPool, slot: int, protocol: Spec
    ) -> None:
        opened(trio)
        assert_fails_and_heals(trio, PartyCrashedError, "part", protocol, hit=slot)

    @pytest.mark.parametrize("slot", [0, 1])
    def test_a_party_that_is_killed_within_a_batch_is_a_crash_and_the_pool_heals(
        self, trio: PartyPool, slot: int
    ) -> None:
        opened(trio)
        victim = trio.pids[slot]
        with (
            once_all_have_the_batch(trio, lambda: os.kill(victim, signal.SIGKILL)),
            pytest.raises(PartyCrashedError),
        ):
            opened(trio)
        assert opened(trio) == WORDS.sum(dim=1).tolist()
        assert victim not in trio.pids

    @pytest.mark.parametrize("protocol", SURVIVING, ids=str)
    def test_the_others_open_the_same_words_at_the_same_cost_as_threads_where_a_party_is_killed_before_it_sends(
        self, trio: PartyPool, protocol: Spec
    ) -> None:
        """What runs of crashed processes among threads rest on: it is stopped before it can read of the batch."""
        opened(trio)
        victim = trio.pids[1]
        os.kill(victim, signal.SIGSTOP)
        with once_all_have_the_batch(trio, lambda: os.kill(victim, signal.SIGKILL)):
            killed = trio.open_sums(protocol, WORDS)
        crashed = InProcessParties(3, faults={1: Crash(step=0)}).open_sums(protocol, WORDS)
        assert torch.equal(killed.sums, WORDS[:, [0, 2]].sum(dim=1))
        assert torch.equal(killed.sums, crashed.sums)
        assert (killed.contributors, killed.suspects, killed.traffic) == ((0, 2), frozenset(), crashed.traffic)
        without = InProcessParties(3, faults={1: Crash(step=1)}).open_sums(protocol, WORDS)
        assert without.traffic != crashed.traffic  # one that has sent its first messages costs more

    @pytest.mark.parametrize("name", CRASHING)
    def test_a_party_that_is_to_crash_does_so_as_a_thread_does_and_is_back_in_the_next_batch(
        self, trio: PartyPool, name: str
    ) -> None:
        """The same words, contributors and traffic, or the same error at the same cost; and no process is started."""
        opened(trio)
        before = trio.pids
        crashes = (Crash(step=0), Crash(step=1), Crash(step=1, after=1))
        for number, crash in enumerate(crashes, start=1):
            for slot in (0, 1):
                outcomes = [
                    outcome(pool, CRASHING[name], number, {slot: crash}) for pool in (trio, InProcessParties(3))
                ]
                assert outcomes[0] == outcomes[1]
        assert opened(trio) == WORDS.sum(dim=1).tolist()
        assert trio.pids == before

    def test_a_number_that_comes_again_gets_new_keys_from_the_same_processes(self, trio: PartyPool) -> None:
        opened(trio)
        before = trio.pids
        for number in (9, 9, 4, 10):
            assert torch.equal(trio.open_sums(ADDITIVE, WORDS, number=number).sums, WORDS.sum(dim=1))
        assert trio.pids == before

    def test_keys_that_are_kept_for_a_number_that_comes_again_are_seen(self, trio: PartyPool) -> None:
        """By the streams, which give nothing twice."""
        trio.open_sums(ADDITIVE, WORDS, number=9)
        with mock.patch.object(PartyPool, "_renew_keys"), pytest.raises(CloisterError, match="use = 9"):
            trio.open_sums(ADDITIVE, WORDS, number=9)

    @pytest.mark.parametrize("number", [0, -1, 2**48, 1.5])
    def test_a_number_that_labels_have_no_room_for_is_refused(self, trio: PartyPool, number: int) -> None:
        with pytest.raises(CloisterError, match="number = "):
            trio.open_sums(ADDITIVE, WORDS, number=number)

    def test_a_crash_one_exchange_later_is_seen(self, trio: PartyPool) -> None:
        crashed = [outcome(trio, SURVIVING[0], 1, {1: Crash(step=step)}) for step in (0, 1)]
        assert crashed[0] != crashed[1]

    @pytest.mark.parametrize("slot", [0, 1])
    def test_a_party_that_is_stopped_within_a_batch_is_a_timeout_in_time_and_the_pool_heals(
        self, trio: PartyPool, slot: int
    ) -> None:
        """In time: a hang would never end. The party may have done all its work before the signal reached it."""
        opened(trio)  # so that the fork server has loaded CrypTen before the short deadline counts
        with PartyPool(3, deadline_s=3.0) as pool:
            opened(pool)
            stopped = pool.pids[slot]
            with once_all_have_the_batch(pool, lambda: os.kill(stopped, signal.SIGSTOP)):
                with contextlib.suppress(PartyTimeoutError):
                    assert opened(pool) == WORDS.sum(dim=1).tolist()
                with contextlib.suppress(PartyTimeoutError):
                    assert opened(pool) == WORDS.sum(dim=1).tolist()
            assert opened(pool) == WORDS.sum(dim=1).tolist()
            assert stopped not in pool.pids

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
    def test_a_pool_that_loses_a_party_disturbs_no_other_pool(self, trio: PartyPool, number: signal.Signals) -> None:
        """Batches of the other pool go on side by side with the one that fails."""
        opened(trio)
        before = trio.pids
        with PartyPool(2, deadline_s=3.0) as other, ThreadPoolExecutor(1) as threads:
            words = WORDS[:, :2]
            other.open_sums(ADDITIVE, words)
            os.kill(other.pids[1], number)
            kind = PartyCrashedError if number == signal.SIGKILL else PartyTimeoutError
            failing = threads.submit(failure_of, other, words)
            while not failing.done():
                assert opened(trio) == WORDS.sum(dim=1).tolist()
            assert failing.result() in {kind, None}
            assert torch.equal(other.open_sums(ADDITIVE, words).sums, words.sum(dim=1))
            assert opened(trio) == WORDS.sum(dim=1).tolist()
        assert trio.pids == before

    def test_a_party_that_is_killed_after_its_report_makes_the_sums_exact_or_the_batch_fail(
        self, trio: PartyPool
    ) -> None:
        """It may or may not have published by then; the next batch is exact in both cases."""
        opened(trio)
        victim = trio.pids[1]
        original = party_pool.run_board

        def planted(*arguments: Any) -> Opened:
            os.kill(victim, signal.SIGKILL)
            return original(*arguments)

        with mock.patch.object(party_pool, "run_board", planted), contextlib.suppress(PartyCrashedError):
            assert opened(trio) == WORDS.sum(dim=1).tolist()
        with contextlib.suppress(PartyCrashedError):
            assert opened(trio) == WORDS.sum(dim=1).tolist()
        assert opened(trio) == WORDS.sum(dim=1).tolist()
        assert victim not in trio.pids

    def test_a_stopped_party_is_a_timeout_within_the_deadline_and_the_pool_heals(self, trio: PartyPool) -> None:
        """With 4 MB for each party, more than any pipe holds: handing over the words must not wait for the party."""
        opened(trio)  # so that the fork server has loaded CrypTen before the short deadline counts
        many = torch.zeros(1, 3, 2**19, dtype=torch.int64)
        with PartyPool(3, deadline_s=3.0) as pool:
            opened(pool)
            timeout = r"3\.0 s|party 1"
            assert_fails_and_heals(pool, PartyTimeoutError, timeout, words=many, hit=1, by=signal.SIGSTOP)

    def test_a_pool_that_starts_all_anew_after_a_failed_batch_is_seen(self, trio: PartyPool) -> None:
        opened(trio)
        original = PartyPool._join

        def planted(pool: PartyPool) -> Any:
            pool.stop()
            return original(pool)

        with mock.patch.object(PartyPool, "_join", planted), pytest.raises(AssertionError):
            assert_fails_and_heals(trio, PartyCrashedError, "part", hit=1)

    def test_a_pool_that_goes_on_with_its_old_links_after_a_failed_batch_is_seen(self, trio: PartyPool) -> None:
        opened(trio)
        with mock.patch.object(PartyPool, "_hang_up"):
            trio.open_sums(SURVIVING[0], WORDS, faults={1: Crash(step=0)})
            with pytest.raises(NetworkError):
                opened(trio)
        trio.stop()

    @pytest.mark.parametrize(
        ("protocol", "text"),
        [
            (Spec(name="additiv"), r"'additiv' is unknown \(did you mean 'additive'\?\)"),
            (Spec(name="additive", parameters=(("fraction_bits", "x"),)), "fraction_bits = 'x'"),
            (Spec(name="additive", parameters=(("fraction_bits", 99),)), "fraction_bits = 99"),
        ],
        ids=str,
    )
    def test_a_protocol_that_makes_no_sense_is_refused_before_any_process_is_disturbed(
        self, trio: PartyPool, protocol: Spec, text: str
    ) -> None:
        opened(trio)
        before = trio.pids
        with pytest.raises(CloisterError, match=text):
            trio.open_sums(protocol, WORDS)
        assert trio.pids == before

    @pytest.mark.parametrize("slot", [0, 2])
    @pytest.mark.parametrize(
        ("changed", "error", "text"),
        [
            ({"protocol": "additiv"}, CloisterError, r"'additiv' is unknown \(did you mean 'additive'\?\)"),
            ({"parameters": [["fraction_bits", "x"]]}, (CloisterError, PartyFailedError), "fraction_bits"),
            ({"parameters": [["nothing", 1]]}, (CloisterError, PartyFailedError), "'nothing'"),
            ({"members": 9}, PartyFailedError, "^KeyError: "),
            ({"use": "first"}, PartyFailedError, "^TypeError: .*'str'"),
        ],
        ids=lambda given: ",".join(given) if isinstance(given, dict) else "",
    )
    def test_a_partys_own_error_is_named_with_its_text_and_the_pool_heals(
        self, trio: PartyPool, slot: int, changed: dict[str, Any], error: Errors, text: str
    ) -> None:
        """One party is told something else than the others, which lose it and report no more than that."""
        opened(trio)
        original = party_pool.send_json

        def planted(control: Any, message: dict[str, Any]) -> None:
            if control is told:
                message = {**message, **changed}
            original(control, message)

        told = trio._children[slot].control
        with mock.patch.object(party_pool, "send_json", planted):
            assert_fails_and_starts_anew(trio, error, text)

    def test_the_cause_of_a_failure_beats_its_echoes(self, trio: PartyPool) -> None:
        """Parties that lose a peer report a crash; the one that failed by itself says why."""
        for replies, error, text in (
            ([CRASH, failure("CloisterError", "the cause"), CRASH], CloisterError, "^the cause$"),
            ([CRASH, CRASH, failure("ZeroDivisionError", "by zero")], PartyFailedError, "^ZeroDivisionError: by zero$"),
            ([CRASH, failure("OutOfStepError", "a wrong one"), CRASH], OutOfStepError, "^a wrong one$"),
            ([CRASH, CRASH, CRASH], PartyCrashedError, "party [01]"),
        ):
            assert_raises_of(trio, replies, error, text)

    def test_a_first_error_that_is_taken_for_the_cause_is_seen(self, trio: PartyPool) -> None:
        replies = [CRASH, failure("CloisterError", "the cause"), CRASH]
        first = mock.patch.object(party_pool, "the_cause", lambda board, members: members[0])
        with first, pytest.raises(PartyCrashedError):
            assert_raises_of(trio, replies, CloisterError, "the cause")

    def test_suspects_come_with_the_party_that_found_them(self, trio: PartyPool) -> None:
        replies = [CRASH, {**failure("CheatingDetectedError", "0 or 2 cheats"), "suspects": [0, 2]}, CRASH]
        caught = assert_raises_of(trio, replies, CheatingDetectedError, "^0 or 2 cheats$")
        assert isinstance(caught, CheatingDetectedError)
        assert caught.suspects == {0, 2}

    def test_a_partys_mistake_is_raised_although_the_others_opened_the_sums(self, trio: PartyPool) -> None:
        """A protocol that goes on without lost members would else hide it."""
        for kind, error in (("ZeroDivisionError", PartyFailedError), ("CloisterError", CloisterError)):
            assert_raises_of(trio, [GOOD, GOOD, failure(kind, "a mistake")], error, "a mistake", board=ALL_OPENED)

    @pytest.mark.parametrize(
        "reply", [{"kind": "PartyTimeoutError"}, {"kind": "OutOfStepError"}, {"lost": [1]}], ids=str
    )
    def test_a_batch_that_opens_its_sums_without_a_lost_party_is_followed_by_new_links(
        self, trio: PartyPool, reply: dict[str, Any]
    ) -> None:
        opened(trio)
        last = {**GOOD, **reply} if "lost" in reply else failure(reply["kind"], "lost")
        with (
            mock.patch.object(party_pool, "run_board", return_value=ALL_OPENED),
            mock.patch.object(PartyPool, "_reply", side_effect=[GOOD, GOOD, last]),
        ):
            found = trio.open_sums(ADDITIVE, WORDS)
        assert (found.contributors, found.suspects) == ((0, 2), {1})
        assert trio._board is None
        trio.stop()  # the real replies are still in the pipes

    def test_traffic_comes_back_from_json_as_it_was(self) -> None:
        costs = [Cost(payload_bytes=k, wire_bytes=k + 16, messages=k, rounds=k) for k in (1, 2, 3)]
        traffic = Traffic(offline=costs[0], mpc=costs[1], upload=costs[2])
        for report in (party_report.success(traffic, [2, 1]), party_report.failure(traffic, OutOfStepError("x"))):
            assert party_report.traffic_of(json.loads(json.dumps(report))) == traffic

    def test_traffic_is_that_of_all_members_and_the_board(self, trio: PartyPool) -> None:
        for protocol in (ADDITIVE, PLAINTEXT):
            expected = secure_sums.make(protocol).cost(parties=3, clusters=2, coordinates=5)
            assert trio.open_sums(protocol, WORDS).traffic == expected

    def test_contributors_and_suspects_are_the_boards(self, trio: PartyPool) -> None:
        found = trio.open_sums(ADDITIVE, WORDS)
        assert (found.contributors, found.suspects) == ((0, 1, 2), frozenset())

    def test_words_that_make_no_sense_are_refused_before_any_process_is_disturbed(self, trio: PartyPool) -> None:
        opened(trio)
        before = trio.pids
        for wrong in (WORDS.double(), WORDS[0], WORDS[:, :0], torch.zeros(1, 4, 2, dtype=torch.int64)):
            with pytest.raises(CloisterError, match="allowed"):
                trio.open_sums(ADDITIVE, wrong)
        assert trio.pids == before

    def test_party_processes_end_when_the_pool_is_stopped(self) -> None:
        pool = PartyPool(2, deadline_s=LONG_S)
        pool.start()
        watched = watch(pool.pids)
        pool.stop()
        assert pool.pids == []
        assert ended(watched)
        pool.stop()  # once more does no harm

    def test_party_processes_end_when_the_pools_process_ends_however_it_ends(self) -> None:
        """The pool's process is killed outright, so that none of its own code can run any more."""
        program = (
            "import sys\n"
            "from protocols.party_pool import PartyPool\n"
            "pool = PartyPool(2, deadline_s=60.0)\n"
            "pool.start()\n"
            "print(*pool.pids, flush=True)\n"
            "sys.stdin.read()\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as holder:
            assert holder.stdout is not None
            watched = watch([int(pid) for pid in holder.stdout.readline().split()])
            assert len(watched) == 2
            holder.kill()
            assert ended(watched)

    def test_processes_that_run_on_are_seen(self) -> None:
        with subprocess.Popen(["sleep", "1000"]) as sleeper:
            with mock.patch.dict(globals(), {"LONG_S": 0.1}):
                assert not ended(watch([sleeper.pid]))
            sleeper.kill()

    def test_neither_repr_nor_an_error_shows_words_or_keys(self, trio: PartyPool) -> None:
        """56 bits occur by chance in a few hundred characters with probability below 2^-40."""
        secret = torch.full((1, 3, 4), CANARY, dtype=torch.int64)
        trio.open_sums(ADDITIVE, secret)
        texts = [repr(trio), repr(vars(trio)), str(trio)]
        for protocol, words in (
            (Spec(name="additiv"), secret),
            (ADDITIVE, secret.double()),
            (ADDITIVE, secret.repeat(1, 2, 1)),
        ):
            with pytest.raises((CloisterError, NetworkError)) as caught:
                trio.open_sums(protocol, words)
            texts += [str(caught.value), repr(caught.value)]
        for text in texts:
            assert str(CANARY) not in text
            assert f"{CANARY:x}" not in text.lower()

    @pytest.mark.parametrize(("parties", "deadline_s"), [(0, 1.0), (-1, 1.0), (1.5, 1.0), (2, 0.0), (2, float("nan"))])
    @pytest.mark.parametrize("kind", [PartyPool, InProcessParties])
    def test_a_pool_that_makes_no_sense_is_refused(self, kind: type, parties: int, deadline_s: float) -> None:
        with pytest.raises(CloisterError, match="allowed"):
            kind(parties, deadline_s=deadline_s)


def keys_of(parties: InProcessParties) -> list[zero_sharing.ZeroShares]:
    return [keys.zero_shares for keys in parties._keys]


class TestPartyThreads:
    def test_after_a_failed_batch_the_next_one_starts_with_new_links_and_new_keys(self) -> None:
        threads = InProcessParties(3, faults={1: Crash(step=0)})
        links, keys = list(threads._links), keys_of(threads)
        with pytest.raises(PartyCrashedError):
            opened(threads)
        assert not any(link in links for link in threads._links)
        use = {"use": 99, "parties": 3, "clusters": 1, "coordinates": 8}
        old, new = keys[0].draw(**use), keys_of(threads)[0].draw(**use)
        assert not bool((old == new).any())  # 8 words of 64 bits: equal by chance with probability 2^-61

    def test_old_links_that_go_on_after_a_failure_are_seen_to_be_broken(self) -> None:
        faults: dict[int, Fault] = {1: Crash(step=0)}
        threads = InProcessParties(3, faults=faults)
        with mock.patch.object(InProcessParties, "_start"), pytest.raises(PartyCrashedError):
            opened(threads)
        faults.clear()
        with pytest.raises(NetworkError):
            opened(threads)

    def test_a_protocol_that_makes_no_sense_is_refused_before_anything_is_sent(self) -> None:
        threads = InProcessParties(3)
        links = list(threads._links)
        for protocol in (Spec(name="additiv"), Spec(name="additive", parameters=(("fraction_bits", 99),))):
            with pytest.raises(CloisterError, match=r"additiv|fraction_bits"):
                threads.open_sums(protocol, WORDS)
        assert threads._links == links
        assert opened(threads) == WORDS.sum(dim=1).tolist()

    def test_a_party_that_fails_leaves_no_other_one_waiting_and_its_error_is_the_one_raised(self) -> None:
        original = in_process.run_member

        def planted(protocol: Spec, party: Any, words: torch.Tensor) -> Any:
            if party.rank == 1:
                raise ZeroDivisionError("planted")
            return original(protocol, party, words)

        threads = InProcessParties(3, deadline_s=1e7)
        with mock.patch.object(in_process, "run_member", planted), pytest.raises(ZeroDivisionError, match="planted"):
            opened(threads)
        assert opened(threads) == WORDS.sum(dim=1).tolist()

    def test_a_board_that_fails_leaves_no_party_waiting_and_its_error_is_the_one_raised(self) -> None:
        threads = InProcessParties(3, deadline_s=1e7)
        planted = mock.patch.object(in_process, "run_board", side_effect=ZeroDivisionError("planted"))
        with planted, pytest.raises(ZeroDivisionError, match="planted"):
            opened(threads)
        assert opened(threads) == WORDS.sum(dim=1).tolist()

    def test_a_party_whose_keys_fail_leaves_no_other_one_waiting_and_its_error_is_the_one_raised(self) -> None:
        def planted(link: Link, parties: int) -> Keyring:
            if link.rank == 1:
                raise ZeroDivisionError("planted")
            return make_keyring(link, parties)

        with pytest.raises((ZeroDivisionError, PartyCrashedError), match=r"planted|party 1"):
            InProcessParties(3, deadline_s=1e7, keyring=planted)

    def test_a_party_that_stays_silent_is_a_timeout(self) -> None:
        original = in_process.run_member

        def planted(protocol: Spec, party: Any, words: torch.Tensor) -> Any:
            return Traffic.none() if party.rank == 1 else original(protocol, party, words)

        threads = InProcessParties(3, deadline_s=1e7)
        with (
            mock.patch.object(in_process, "run_member", planted),
            pytest.raises(PartyTimeoutError, match=r"party \d sent nothing for 10000000\.0 s"),
        ):
            opened(threads)
        assert opened(threads) == WORDS.sum(dim=1).tolist()

    def test_transcripts_are_those_of_the_last_batch_even_of_one_that_failed(self) -> None:
        faults: dict[int, Fault] = {}
        threads = InProcessParties(3, faults=faults)
        threads.open_sums(PLAINTEXT, WORDS)
        assert read_by(threads) == {0: [1, 2], 1: [], 2: [], BOARD: [0]}
        faults[2] = Crash(step=0)
        with pytest.raises(PartyCrashedError):
            threads.open_sums(PLAINTEXT, WORDS)
        assert read_by(threads) == {0: [1], 1: [], 2: [], BOARD: []}
        assert torch.equal(threads.transcripts[0][0].payload, WORDS[:, 1])
        faults.clear()
        threads.open_sums(PLAINTEXT, WORDS[:, :2])
        assert read_by(threads) == {0: [1], 1: [], BOARD: [0]}


def read_by(threads: InProcessParties) -> dict[int, list[int]]:
    """The senders of what each party has read."""
    return {rank: [read.sender for read in reads] for rank, reads in threads.transcripts.items()}
