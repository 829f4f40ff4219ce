"""Links in virtual time: the same outcome however the threads are scheduled, and deadlines that cost no time."""

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from unittest import mock

import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.faults import Crash, Duplicate, Fault, Garbage, Mute, Replay, Tamper, Truncate
from protocols.identity import Identity
from protocols.in_process import InProcessParties
from protocols.in_process_link import InProcessLink, Received, _Hub, in_process_links
from protocols.keyring import Keyring
from protocols.network import BOARD, Link, NetworkError, PartyCrashedError, PartyTimeoutError
from protocols.randomness import SecretStreams
from protocols.secret_source import OwnSecrets
from protocols.secure_sum import secure_sums
from protocols.types import Traffic
from protocols.zero_sharing import ZeroShares

YEAR_S = 3.2e7
Work = Callable[[InProcessLink], Any]
Disturbance = Callable[[], contextlib.AbstractContextManager[Any]]


def words(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int64)


def nothing(link: InProcessLink) -> None:
    """The work of a party that does none."""


def play(links: list[InProcessLink], *works: Work) -> list[Any]:
    """Run one work a link side by side, and nobody else; a party that raises NetworkError closes its links."""
    taking_part = links[: len(works)]
    links[0].run({link.rank for link in taking_part})

    def alone(link: InProcessLink, work: Work) -> Any:
        try:
            result = work(link)
        except NetworkError as error:
            link.close()
            return error
        link.finish()
        return result

    with ThreadPoolExecutor(len(works)) as threads:
        return list(threads.map(alone, taking_part, works))


def hears(peer: int, count: int = 1) -> Work:
    """Wait for one message of the peer; the lost peers, the words, and when that was."""

    def work(link: InProcessLink) -> tuple[list[int], list[int], float]:
        into = torch.full((count,), -1)
        lost = link.try_exchange({}, {peer: into})
        return list(lost), into.tolist(), link._now

    return work


def says(peer: int, *values: int, after_s: float = 0.0) -> Work:
    def work(link: InProcessLink) -> None:
        link.pause(after_s)
        link.try_exchange({peer: words(*values)}, {})

    return work


@dataclass(frozen=True, kw_only=True)
class Step:
    """One exchange of one party; times in deadlines."""

    pause: float
    skip: int
    to: frozenset[int]
    of: frozenset[int]
    size: int
    expected: int


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """All that a run shows: what each party knows in the end and when, whom it lost and why, what it read and sent."""

    knows: list[Any]
    transcripts: list[list[tuple[int, list[int]]]]
    traffic: list[Traffic]
    lost: list[dict[int, str]]


def follow(link: InProcessLink, steps: list[Step], *, crashes: bool) -> tuple[int, float]:
    """Play a party whose words depend on all that it has heard, so that no difference is ever forgotten."""
    known = link.rank + 2
    for step in steps:
        link.pause(step.pause)
        link.skip(step.skip)
        outgoing = {peer: torch.arange(step.size) + (known + peer) % 2**60 for peer in sorted(step.to)}
        incoming = {peer: torch.zeros(step.expected, dtype=torch.int64) for peer in sorted(step.of)}
        lost = link.try_exchange(outgoing, incoming)
        for peer, tensor in incoming.items():
            if peer not in lost:
                known = (known * 6364136223846793005 + int(tensor.sum()) + 1) % 2**61
    if crashes:
        raise PartyCrashedError(f"party {link.rank} crashes")
    return known, link._now


def outcome(programs: list[list[Step]], crashing: frozenset[int], seed: int | None) -> Outcome:
    """Run one program a party, the last one the board's, with a deadline of one and messages of up to 0.7."""
    links = in_process_links(len(programs) - 1, deadline_s=1.0, seed=seed, latency_s=0.7)
    for link in links:
        link.transcript = []
    works = [lambda link, steps=steps: follow(link, steps, crashes=link.rank in crashing) for steps in programs]
    knows = play(links, *works)
    return Outcome(
        knows=[str(each) for each in knows],
        transcripts=[[(read.sender, read.payload.tolist()) for read in link.transcript or []] for link in links],
        traffic=[link.meter.traffic() for link in links],
        lost=[{peer: str(error) for peer, error in link.lost.items()} for link in links],
    )


@contextlib.contextmanager
def stumbling() -> Iterator[None]:
    """Threads side by side that stumble for random times, another way in every run, before they send and wait."""
    original_post, take, chance = _Hub.post, _Hub.take, random.SystemRandom()

    def late_post(*arguments: Any) -> None:
        time.sleep(chance.choice([0.0, 0.0, 0.001]))
        original_post(*arguments)

    def late_take(*arguments: Any) -> Any:
        time.sleep(chance.choice([0.0, 0.0, 0.001]))
        return take(*arguments)

    with (
        mock.patch.object(_Hub, "turn", contextlib.nullcontext),
        mock.patch.object(_Hub, "post", late_post),
        mock.patch.object(_Hub, "take", late_take),
    ):
        yield


def sending_first(rank: int) -> Disturbance:
    """A schedule of the threads in which nobody sends anything before this party has."""

    @contextlib.contextmanager
    def disturbed() -> Iterator[None]:
        original, has_sent = _Hub.post, threading.Event()

        def ordered(hub: _Hub, channel: tuple[int, int], *rest: Any) -> None:
            if channel[0] != rank:
                assert has_sent.wait(60.0)
            original(hub, channel, *rest)
            has_sent.set()

        with mock.patch.object(_Hub, "post", ordered):
            yield

    return disturbed


def assert_outcome_is_the_same(run: Callable[[], Any], disturbances: list[Disturbance]) -> None:
    undisturbed = run()
    for disturbance in disturbances:
        with disturbance():
            assert run() == undisturbed, "the outcome depends on how the threads were scheduled"


PEERS = st.frozensets(st.integers(-1, 2), max_size=4)
STEPS = st.builds(
    Step,
    pause=st.sampled_from([0.0, 0.0, 0.4, 1.0, 2.5]),
    skip=st.sampled_from([0, 0, 1]),
    to=PEERS,
    of=PEERS,
    size=st.just(2),
    expected=st.sampled_from([2, 2, 2, 2, 3]),
)


def without(rank: int, steps: list[Step]) -> list[Step]:
    """The same steps without messages from this party to itself."""
    return [
        Step(
            pause=step.pause,
            skip=step.skip,
            to=step.to - {rank},
            of=step.of - {rank},
            size=step.size,
            expected=step.expected,
        )
        for step in steps
    ]


def telling(*to: int) -> Step:
    return Step(pause=0.0, skip=0, to=frozenset(to), of=frozenset(), size=2, expected=2)


def asking(*of: int) -> Step:
    return Step(pause=0.0, skip=0, to=frozenset(), of=frozenset(of), size=2, expected=2)


TWO_TELL_A_THIRD = [[telling(2)], [telling(2)], [asking(0, 1)], []]


post = _Hub.post


def post_in_one_box(hub: _Hub, channel: tuple[int, int], *rest: Any) -> None:
    """A bug to plant: whoever sends to 2 first fills the box of sender 0."""
    first = (0, channel[1])
    post(hub, channel if hub._channels[first] else first, *rest)


class TestSameOutcome:
    @settings(max_examples=settings.default.max_examples * 3 // 5)
    @given(
        programs=st.lists(st.lists(STEPS, max_size=4), min_size=4, max_size=4),
        crashing=st.frozensets(st.integers(-1, 2), max_size=2),
        seed=st.one_of(st.none(), st.integers(0, 2**32)),
    )
    def test_whatever_parties_send_await_and_suffer_the_threads_do_not_matter(
        self, programs: list[list[Step]], crashing: frozenset[int], seed: int | None
    ) -> None:
        fitting = [without(rank, steps) for rank, steps in zip((0, 1, 2, BOARD), programs, strict=True)]
        assert_outcome_is_the_same(lambda: outcome(fitting, crashing, seed), [stumbling] * 3)

    def test_it_holds_for_either_order_in_which_two_parties_send(self) -> None:
        run = lambda: outcome(TWO_TELL_A_THIRD, frozenset(), 7)  # noqa: E731
        assert_outcome_is_the_same(run, [sending_first(0), sending_first(1)])

    @pytest.mark.parametrize(
        ("bug", "method", "planted"),
        [
            (
                "messages are slower the later they are sent",
                "_latency",
                lambda hub, channel, sequence: 3.0 * any(map(len, hub._channels.values())),
            ),
            (
                "all messages of a party come in one box",
                "post",
                post_in_one_box,
            ),
        ],
    )
    def test_an_outcome_that_depends_on_the_threads_is_seen(self, bug: str, method: str, planted: Callable) -> None:
        run = lambda: outcome(TWO_TELL_A_THIRD, frozenset(), 7)  # noqa: E731
        with mock.patch.object(_Hub, method, planted), pytest.raises(AssertionError, match="depends on how"):
            assert_outcome_is_the_same(run, [sending_first(0), sending_first(1)])

    @settings(max_examples=max(1, settings.default.max_examples // 7))
    @given(
        faults=st.dictionaries(
            st.sampled_from([BOARD, 0, 1, 2, 3]),
            st.one_of(
                st.sampled_from([Crash, Mute, Duplicate, Replay, Truncate, Garbage]).flatmap(
                    lambda kind: st.builds(kind, step=st.integers(0, 3))
                ),
                st.builds(Tamper, step=st.integers(0, 2), delta=st.just(5)),
            ),
            max_size=2,
        ),
        schedule=st.integers(0, 2**32),
    )
    @pytest.mark.parametrize("name", ["additive", "plaintext"])
    def test_the_same_words_faults_and_seed_give_the_same_sums_transcripts_and_traffic(
        self, name: str, faults: dict[int, Fault], schedule: int
    ) -> None:
        assert_outcome_is_the_same(lambda: sums(name, faults, schedule), [stumbling] * 2)

    def test_fresh_keys_give_another_transcript_which_is_seen(self) -> None:
        """Two shares of 64-bit words are equal by chance with probability 2^-64 a word."""
        with pytest.raises(AssertionError, match="depends on how"):
            assert_outcome_is_the_same(lambda: sums("additive", {}, 0, fresh=True), [contextlib.nullcontext])

    def test_another_seed_gives_another_schedule_and_the_same_seed_the_same_one(self) -> None:
        """Times between 0 and the latency, each message its own; 40 of them twice the same: below 2^-2000."""
        first, again, other = (arrivals(seed) for seed in (1, 1, 2))
        assert first == again
        assert len(set(first)) == len(first) == 40
        assert not set(first) & set(other)
        assert all(0.0 <= each <= 0.25 for each in first + other)
        assert max(first) - min(first) > 0.1, "all messages take the same time"
        assert arrivals(None) == [0.0] * 40


def arrivals(seed: int | None) -> list[float]:
    zero, one, _ = in_process_links(2, seed=seed, latency_s=0.25)
    for k in range(20):
        zero.exchange({1: words(k)}, {})
        one.exchange({0: words(k)}, {})
    hub = zero._hub
    return [message.arrives for channel in ((0, 1), (1, 0)) for message in hub._channels[channel]]


def replayable_keyring(link: Link, parties: int) -> Keyring:
    """Keys that are the same in every run, without a message; for tests of what else is the same."""
    private = [Ed25519PrivateKey.from_private_bytes(bytes([rank] * 32)) for rank in range(parties)]
    public = {rank: key.public_key().public_bytes_raw() for rank, key in enumerate(private)}
    peers = [peer for peer in range(parties) if peer != link.rank]
    streams = {peer: SecretStreams.replayable(0, "pair", min(link.rank, peer), max(link.rank, peer)) for peer in peers}
    return Keyring(
        zero_shares=ZeroShares(link.rank, streams),
        identity=Identity(link.rank, private[link.rank], public),
        secrets=OwnSecrets(SecretStreams.replayable(0, "own", link.rank)),
    )


def sums(name: str, faults: dict[int, Fault], schedule: int, *, fresh: bool = False) -> tuple[Any, ...]:
    """The outcome of two batches of one pool of threads, each with its transcripts."""
    keyring = {} if fresh else {"keyring": replayable_keyring}
    parties = InProcessParties(4, deadline_s=1.0, faults=faults, schedule=schedule, **keyring)
    batch = torch.arange(2 * 4 * 5).view(2, 4, 5) ** 5
    ended: list[Any] = []
    for _ in range(2):
        try:
            opened = parties.open_sums(secure_sums.resolve(name), batch)
            ended.append((opened.sums.tolist(), opened.contributors, opened.suspects, opened.traffic))
        except NetworkError as error:
            ended.append((type(error), str(error)))
        ended.append(
            {
                rank: [(read.sender, read.payload.tolist()) for read in reads]
                for rank, reads in parties.transcripts.items()
            }
        )
    return tuple(ended)


def assert_chain_of_deadlines(links: list[InProcessLink]) -> None:
    """Party 1 waits one deadline for 2 and then tells 0, whose own deadline is later."""

    def zero(link: InProcessLink) -> tuple[list[int], list[int], float]:
        link.skip(2)
        return hears(1)(link)

    def one(link: InProcessLink) -> list[int]:
        lost = link.try_exchange({}, {2: words(0)})
        link.try_exchange({0: words(7)}, {})
        return list(lost)

    found, lost, _ = play(links, zero, one, nothing)
    assert lost == [2]
    assert found == ([], [7], YEAR_S), "a later deadline passed before an earlier one"


def assert_late_is_lost(links: list[InProcessLink]) -> None:
    (lost, got, now), _ = play(links, hears(1), says(0, 7, after_s=1.001 * YEAR_S))
    assert (lost, got, now) == ([1], [-1], YEAR_S), "a message that came after the deadline was taken"
    assert isinstance(links[0].lost[1], PartyTimeoutError)


def assert_waits_for_one_who_runs(links: list[InProcessLink]) -> None:
    """Party 1 runs and has sent nothing yet: however long that takes, 0 waits for it."""
    zero, one, _ = links
    hub, into = zero._hub, words(-1)
    zero.run({0, 1})
    with ThreadPoolExecutor(1) as threads:
        waits = threads.submit(zero.try_exchange, {}, {1: into})
        give_up_s = time.monotonic() + 60.0
        while 0 not in hub._waiting and not waits.done():
            assert time.monotonic() < give_up_s, "party 0 does not even wait"
            time.sleep(0.001)
        one.exchange({0: words(7)}, {})
        assert waits.result() == {}
    assert into.tolist() == [7]


def meeting(patience_s: float) -> list[bool]:
    """Whether each of two parties that take turns has met the other one outside a wait for its message."""
    links, place = in_process_links(2)[:2], threading.Barrier(2)

    def meets(link: InProcessLink) -> bool:
        with link.turn():
            try:
                place.wait(patience_s)
            except threading.BrokenBarrierError:
                return False
            return True

    return play(links, meets, meets)


class TestTurns:
    def test_parties_that_take_turns_never_run_side_by_side(self) -> None:
        assert meeting(0.05) == [False, False]

    def test_parties_that_take_none_are_seen_to_meet(self) -> None:
        with mock.patch.object(_Hub, "turn", contextlib.nullcontext):
            assert meeting(60.0) == [True, True]

    def test_a_party_that_waits_leaves_the_turn_to_the_one_that_it_waits_for(self) -> None:
        def asks_first(link: InProcessLink) -> Any:
            with link.turn():
                return hears(1)(link)

        def answers(link: InProcessLink) -> Any:
            with link.turn():
                return says(0, 7)(link)

        found, _ = play(in_process_links(2, deadline_s=YEAR_S)[:2], asks_first, answers)
        assert found == ([], [7], 0.0)


class TestVirtualTime:
    def test_deadlines_of_a_year_pass_at_once_when_nobody_is_left_who_could_send(self) -> None:
        links = in_process_links(3, deadline_s=YEAR_S)
        heard = play(links, hears(1), nothing, nothing)
        assert heard[0] == ([1], [-1], YEAR_S)
        assert str(links[0].lost[1]) == f"party 1 sent nothing for {YEAR_S} s"

    def test_parties_that_wait_for_each_other_in_a_ring_all_come_to_an_end(self) -> None:
        links = in_process_links(3, deadline_s=YEAR_S)
        assert play(links, hears(1), hears(2), hears(0), hears(0)) == [([peer], [-1], YEAR_S) for peer in (1, 2, 0, 0)]

    def test_no_deadline_passes_while_somebody_runs_who_could_send(self) -> None:
        assert_waits_for_one_who_runs(in_process_links(2, deadline_s=YEAR_S))

    def test_a_deadline_that_passes_while_somebody_runs_is_seen(self) -> None:
        def planted(hub: _Hub) -> None:
            hub._timed_out |= set(hub._waiting)
            for rank in hub._waiting:
                hub._changed[rank].notify()

        with mock.patch.object(_Hub, "_pass_deadline", planted), pytest.raises(AssertionError):
            assert_waits_for_one_who_runs(in_process_links(2, deadline_s=YEAR_S))

    def test_a_message_later_than_the_deadline_is_a_timeout(self) -> None:
        assert_late_is_lost(in_process_links(2, deadline_s=YEAR_S))

    def test_a_message_that_comes_at_the_deadline_is_in_time(self) -> None:
        links = in_process_links(2, deadline_s=YEAR_S)
        assert play(links, hears(1), says(0, 7, after_s=YEAR_S))[0] == ([], [7], YEAR_S)
        with pytest.raises(AssertionError, match="after the deadline was taken"):
            assert_late_is_lost(in_process_links(2, deadline_s=1.01 * YEAR_S))

    def test_a_party_that_does_not_pause_where_it_should_is_seen(self) -> None:
        with mock.patch.object(InProcessLink, "pause"), pytest.raises(AssertionError, match="was taken"):
            assert_late_is_lost(in_process_links(2, deadline_s=YEAR_S))

    def test_a_plain_exchange_raises_what_a_late_message_is(self) -> None:
        links = in_process_links(2, deadline_s=YEAR_S)
        found, _ = play(links, lambda link: link.exchange({}, {1: words(0)}), says(0, 7, after_s=2 * YEAR_S))
        assert isinstance(found, PartyTimeoutError)

    def test_when_all_wait_the_earliest_deadline_passes(self) -> None:
        assert_chain_of_deadlines(in_process_links(3, deadline_s=YEAR_S))

    def test_another_deadline_than_the_earliest_is_seen(self) -> None:
        def planted(hub: _Hub) -> None:
            if hub._waiting and hub._running <= hub._waiting.keys() and not hub._timed_out:
                hub._timed_out.add(max(hub._waiting, key=lambda rank: hub._waiting[rank]))
            for rank in hub._waiting:
                hub._changed[rank].notify()

        with mock.patch.object(_Hub, "_pass_deadline", planted), pytest.raises(AssertionError):
            assert_chain_of_deadlines(in_process_links(3, deadline_s=YEAR_S))

    def test_a_party_that_closes_ends_the_waits_for_it_as_a_crash_after_its_last_message(self) -> None:
        def closes(link: InProcessLink) -> None:
            link.exchange({0: words(7)}, {})
            raise PartyCrashedError("gone")

        def zero(link: InProcessLink) -> Any:
            return hears(1)(link), hears(1)(link)

        links = in_process_links(2, deadline_s=YEAR_S)
        assert play(links, zero, closes)[0] == (([], [7], 0.0), ([1], [-1], 0.0))
        assert isinstance(links[0].lost[1], PartyCrashedError)

    def test_a_party_that_finishes_or_takes_no_part_ends_the_waits_for_it_as_a_timeout(self) -> None:
        for works in ([hears(1), nothing], [hears(1)]):
            links = in_process_links(2, deadline_s=YEAR_S)
            assert play(links, *works)[0] == ([1], [-1], YEAR_S)
            assert isinstance(links[0].lost[1], PartyTimeoutError)

    def test_a_new_batch_begins_at_time_zero_with_no_wait_left_over(self) -> None:
        def zero(link: InProcessLink) -> Any:
            link.pause(5 * YEAR_S)
            link.skip(1000)
            link.begin()
            return hears(1)(link)

        assert play(in_process_links(2, deadline_s=YEAR_S), zero, nothing)[0] == ([1], [-1], YEAR_S)
        with mock.patch.object(InProcessLink, "begin"):
            assert play(in_process_links(2, deadline_s=YEAR_S), zero, nothing)[0] == ([1], [-1], 1006 * YEAR_S)

    def test_an_exchange_without_incoming_messages_uses_no_deadline_up(self) -> None:
        def zero(link: InProcessLink) -> Any:
            for _ in range(5):
                link.try_exchange({1: words(0)}, {})
            return hears(1)(link)

        assert play(in_process_links(2, deadline_s=YEAR_S), zero, nothing)[0] == ([1], [-1], YEAR_S)

    def test_the_same_links_serve_batch_after_batch(self) -> None:
        links = in_process_links(2, deadline_s=YEAR_S)
        for k in range(3):
            for link in links:
                link.begin()
            assert play(links, hears(1), says(0, k), nothing)[0] == ([], [k], 0.0)


def assert_waits_really(zero: InProcessLink) -> None:
    started = time.monotonic()
    with pytest.raises(PartyTimeoutError, match=r"party 1 sent nothing for 0\.05 s"):
        zero.exchange({}, {1: words(0)})
    assert time.monotonic() - started >= 0.05  # never earlier; how much later, the machine decides


class TestRealTime:
    """Links of which nobody has said who runs."""

    def test_a_silent_peer_is_a_timeout_after_so_many_real_seconds(self) -> None:
        assert_waits_really(in_process_links(2, deadline_s=0.05)[0])

    def test_virtual_time_is_seen(self) -> None:
        zero, *_ = in_process_links(2, deadline_s=0.05)
        zero.run({0})
        with pytest.raises(AssertionError):
            assert_waits_really(zero)

    def test_a_message_from_another_thread_and_a_closing_end_the_wait(self) -> None:
        zero, one, _ = in_process_links(2, deadline_s=YEAR_S)
        into = words(-1)
        with ThreadPoolExecutor(1) as threads:
            waits = threads.submit(zero.exchange, {}, {1: into})
            one.exchange({0: words(7)}, {})
            waits.result()
            assert into.tolist() == [7]
            waits = threads.submit(zero.exchange, {}, {1: into})
            one.close()
            with pytest.raises(PartyCrashedError, match="party 1"):
                waits.result()


class TestTranscript:
    def test_holds_what_a_party_has_read_in_the_order_of_its_reads(self) -> None:
        links = in_process_links(3, deadline_s=YEAR_S)
        links[0].transcript = []
        into = words(0)

        def zero(link: InProcessLink) -> None:
            for peer in (2, 1, 2):
                link.try_exchange({}, {peer: into})
            link.try_exchange({}, {1: words(0, 0)})  # out of step: not what was due

        def two(link: InProcessLink) -> None:
            says(0, 20)(link)
            says(0, 21)(link)

        def one(link: InProcessLink) -> None:
            says(0, 10)(link)
            says(0, 11)(link)

        play(links, zero, one, two)
        into.fill_(-1)
        assert [(read.sender, read.payload.tolist()) for read in links[0].transcript] == [
            (2, [20]),
            (1, [10]),
            (2, [21]),
        ]
        assert all(isinstance(read, Received) for read in links[0].transcript)
        assert links[1].transcript is None, "a transcript that nobody asked for"
