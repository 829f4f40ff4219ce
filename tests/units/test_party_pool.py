"""Party processes that crash, stall and fail, and the pool that heals; the same for party threads.

Deadlines are the subject of some tests; none asserts how long anything took. A process is known to have ended
through its pidfd, which the kernel marks readable then.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
import torch

from protocols import in_process, party_pool, zero_sharing
from protocols.check import CloisterError
from protocols.in_process import InProcessParties
from protocols.network import NetworkError, OutOfStepError, PartyCrashedError, PartyTimeoutError
from protocols.parties import PartyReport
from protocols.party_pool import PartyPool
from protocols.registry import Spec
from protocols.secure_sum import secure_sums
from protocols.types import Cost

ADDITIVE = secure_sums.resolve("additive")
PLAINTEXT = secure_sums.resolve("plaintext")
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
    kill: int | None = None,
) -> None:
    """The next batch fails as said and stops every process; the one after it works, with new processes."""
    before = pool.pids
    watched = watch(before)
    if kill is not None:
        os.kill(before[kill], signal.SIGKILL)
    with pytest.raises(error, match=match):
        pool.open_sums(protocol, words)
    assert pool.pids == []
    assert ended(watched), "a party process is still there after a failed batch"
    assert opened(pool) == WORDS.sum(dim=1).tolist()
    assert len(pool.pids) == 3
    assert not set(pool.pids) & set(before), "a party process of the failed batch is in use again"


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
        with mock.patch.object(party_pool, "collect", return_value=WORDS[:, 0]), pytest.raises(AssertionError):
            assert opened(trio) == WORDS.sum(dim=1).tolist()
        trio.stop()  # the real publications are still in the sockets

    @pytest.mark.parametrize("slot", [0, 2])
    @pytest.mark.parametrize("protocol", [ADDITIVE, PLAINTEXT], ids=str)
    def test_a_killed_party_is_a_crash_and_the_next_batch_starts_new_processes(
        self, trio: PartyPool, slot: int, protocol: Spec
    ) -> None:
        opened(trio)
        assert_fails_and_heals(trio, PartyCrashedError, "part", protocol, kill=slot)

    def test_a_party_that_is_killed_within_a_batch_is_a_crash_and_the_pool_heals(self, trio: PartyPool) -> None:
        opened(trio)
        victim = trio.pids[1]
        original = party_pool.send_json

        def planted(control: Any, message: dict[str, Any]) -> None:
            original(control, message)
            if control is trio._children[0].control:
                os.kill(victim, signal.SIGKILL)

        with mock.patch.object(party_pool, "send_json", planted), pytest.raises(PartyCrashedError):
            opened(trio)
        assert opened(trio) == WORDS.sum(dim=1).tolist()
        assert victim not in trio.pids

    def test_a_party_that_is_killed_after_its_report_makes_the_sums_exact_or_the_batch_fail(
        self, trio: PartyPool
    ) -> None:
        """It may or may not have published by then; the next batch is exact in both cases."""
        opened(trio)
        victim = trio.pids[1]
        original = party_pool.collect

        def planted(*arguments: Any) -> torch.Tensor:
            os.kill(victim, signal.SIGKILL)
            return original(*arguments)

        with mock.patch.object(party_pool, "collect", planted), contextlib.suppress(PartyCrashedError):
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
            os.kill(pool.pids[1], signal.SIGSTOP)
            assert_fails_and_heals(pool, PartyTimeoutError, r"3\.0 s|party 1", words=many)

    def test_a_pool_that_keeps_its_processes_after_a_failed_batch_is_seen(self, trio: PartyPool) -> None:
        opened(trio)
        with (
            mock.patch.object(PartyPool, "stop"),
            mock.patch.object(party_pool, "collect", side_effect=OutOfStepError("planted")),
            pytest.raises(AssertionError),
        ):
            assert_fails_and_heals(trio, OutOfStepError, "planted")
        trio.stop()

    @pytest.mark.parametrize(
        ("protocol", "error", "text"),
        [
            (Spec(name="additiv"), CloisterError, r"'additiv' is unknown \(did you mean 'additive'\?\)"),
            (Spec(name="additive", parameters=(("fraction_bits", "x"),)), CloisterError, "fraction_bits = 'x'"),
            (Spec(name="additive", parameters=(("nothing", 1),)), (NetworkError, CloisterError), "'nothing'"),
        ],
        ids=lambda given: given.name if isinstance(given, Spec) else None,
    )
    def test_an_error_of_another_kind_in_a_party_is_named(
        self, trio: PartyPool, protocol: Spec, error: Errors, text: str
    ) -> None:
        opened(trio)
        assert_fails_and_heals(trio, error, text, protocol)

    def test_the_cause_of_a_failure_beats_its_echoes(self, trio: PartyPool) -> None:
        """Parties that lose a peer report a crash; the one that failed by itself says why."""
        opened(trio)
        crash = {"ok": False, "kind": "PartyCrashedError", "text": "party 1 closed its connection"}
        cause = {"ok": False, "kind": "CloisterError", "text": "the cause"}
        other = {"ok": False, "kind": "ZeroDivisionError", "text": "by zero"}
        for replies, error, text in (
            ([crash, cause, crash], CloisterError, "^the cause$"),
            ([crash, crash, other], NetworkError, "^ZeroDivisionError: by zero$"),
            ([crash, crash, crash], PartyCrashedError, "party 1 closed"),
        ):
            with mock.patch.object(PartyPool, "_reply", side_effect=replies), pytest.raises(error, match=text):
                trio._replies(trio._children)

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


class TestReports:
    def test_a_report_comes_back_from_json_as_it_was(self) -> None:
        report = PartyReport(learnt=True, mpc=Cost(payload_bytes=1, wire_bytes=17, messages=1, rounds=2))
        assert PartyReport.from_json(report.as_json()) == report


def keys_of(parties: InProcessParties) -> list[zero_sharing.ZeroShares]:
    return list(parties._zero_shares)


class TestPartyThreads:
    def test_after_a_failed_batch_the_next_one_starts_with_new_links_and_new_keys(self) -> None:
        threads = InProcessParties(3)
        opened(threads)
        links, keys = list(threads._links), keys_of(threads)
        with pytest.raises(CloisterError, match="additiv"):
            threads.open_sums(Spec(name="additiv"), WORDS)
        assert opened(threads) == WORDS.sum(dim=1).tolist()
        assert not any(link in links for link in threads._links)
        use = {"use": 99, "parties": 3, "clusters": 1, "coordinates": 8}
        old, new = keys[0].draw(**use), threads._zero_shares[0].draw(**use)
        assert not bool((old == new).any())  # 8 words of 64 bits: equal by chance with probability 2^-61

    def test_old_links_that_go_on_after_a_failure_are_seen_to_be_broken(self) -> None:
        threads = InProcessParties(3)
        with mock.patch.object(InProcessParties, "_start"), pytest.raises(CloisterError):
            threads.open_sums(Spec(name="additiv"), WORDS)
        with pytest.raises(NetworkError):
            opened(threads)

    def test_a_party_that_fails_leaves_no_other_one_waiting_and_its_error_is_the_one_raised(self) -> None:
        original = in_process.run_party

        def planted(protocol: Spec, party: Any, words: torch.Tensor) -> Any:
            if party.rank == 1:
                raise ZeroDivisionError("planted")
            return original(protocol, party, words)

        threads = InProcessParties(3, deadline_s=1000.0)
        with mock.patch.object(in_process, "run_party", planted), pytest.raises(ZeroDivisionError, match="planted"):
            opened(threads)
        assert opened(threads) == WORDS.sum(dim=1).tolist()

    def test_a_party_that_stays_silent_is_a_timeout(self) -> None:
        original = in_process.run_party

        def planted(protocol: Spec, party: Any, words: torch.Tensor) -> Any:
            if party.rank != 1:
                return original(protocol, party, words)
            return PartyReport(learnt=False, mpc=party.link.meter.cost(board=False)), None

        threads = InProcessParties(3)
        for link in threads._links:
            link._deadline_s = 0.05
        with mock.patch.object(in_process, "run_party", planted), pytest.raises(PartyTimeoutError, match="party 1"):
            opened(threads)
        assert opened(threads) == WORDS.sum(dim=1).tolist()
