"""Rounds of clusters that change all the time, against the ideal functionality: sums of Python integers."""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from protocols.faults import Combined
from protocols.faulty_link import Fault
from protocols.in_process import InProcessParties
from protocols.keyring import Keyring
from protocols.network import Link, NetworkError
from protocols.parties import OpenedSums
from protocols.randomness import KeyStream, SecretStreams
from protocols.registry import Spec
from protocols.secure_sum import secure_sums
from protocols.secure_sum.plaintext import Plaintext
from protocols.testing.keyrings import replayable_keyring
from protocols.testing.placements import FAULTS
from protocols.testing.scenarios import fitting_sizes, registered_specs
from protocols.testing.strategies import clusterings, fault_strategies

MOST_PROCESSES = 9
COORDINATES = 2
_Drawn = set[tuple[bytes, int]]


@contextmanager
def drawn_masks() -> Iterator[_Drawn]:
    """Collect (key, use) of every draw from a secret stream: equal pairs are equal masks."""
    drawn: _Drawn = set()
    original = SecretStreams.claim

    def spy(self: SecretStreams, use: int) -> Callable[[int], KeyStream]:
        drawn.add((self._algorithm.key, use))
        return original(self, use)

    with mock.patch.object(SecretStreams, "claim", spy):
        yield drawn


def keyrings(pool: int, starts: Counter[int]) -> Callable[[Link, int], Keyring]:
    """Keys that follow from the pool's number, and others each time that the pool starts again."""

    def keyring(link: Link, parties: int) -> Keyring:
        starts[link.rank] += 1
        return replayable_keyring(1000 * pool + starts[link.rank])(link, parties)

    return keyring


@dataclass(kw_only=True)
class Cluster:
    """One cluster's members, by rank, with the pool that adds for them and its faults of this round.

    `behind` are the members that lied in an older round: what nobody read of it then is read in the next one.
    """

    members: list[int]
    parties: InProcessParties
    faults: dict[int, Fault]
    starts: Counter[int]
    placed: dict[int, list[Fault]] = field(default_factory=dict)
    behind: set[int] = field(default_factory=set)


class Rounds(RuleBasedStateMachine):
    """Processes come, go, fail and lie; each cluster opens what the ideal functionality says, or nothing."""

    SPECS: Sequence[Spec] = registered_specs()
    STEPS = 8  # faults act in the exchanges before this one

    @initialize(count=st.integers(1, 6), data=st.data())
    def start(self, count: int, data: st.DataObject) -> None:
        self.choose_protocol(data)
        self.live = set(range(count))
        self.joined, self.round, self.pools = count, 0, 0
        self.masks: _Drawn = set()
        self.clusters = [self.new_cluster(sorted(self.live))]

    def new_cluster(self, members: list[int]) -> Cluster:
        self.pools += 1
        faults: dict[int, Fault] = {}
        starts: Counter[int] = Counter()
        keyring = keyrings(self.pools, starts)
        parties = InProcessParties(len(members), faults=faults, schedule=self.pools, keyring=keyring)
        return Cluster(members=members, parties=parties, faults=faults, starts=starts)

    def cluster_of(self, process: int) -> Cluster:
        return next(cluster for cluster in self.clusters if process in cluster.members)

    def place(self, data: st.DataObject, *names: str) -> None:
        """Give one process one of the named faults for this round, besides those that it has."""
        process = data.draw(st.sampled_from(sorted(self.live)), label="process")
        cluster = self.cluster_of(process)
        known = fault_strategies(parties=len(cluster.members), clusters=2, steps=self.STEPS)
        fault = data.draw(st.one_of([known[name] for name in names]), label="fault")
        cluster.placed.setdefault(cluster.members.index(process), []).append(fault)

    @precondition(lambda self: len(self.live) < MOST_PROCESSES)
    @rule()
    def join(self) -> None:
        smallest = min(self.clusters, key=lambda cluster: len(cluster.members))
        self.clusters.remove(smallest)
        self.clusters.append(self.new_cluster([*smallest.members, self.joined]))
        self.live.add(self.joined)
        self.joined += 1

    @precondition(lambda self: len(self.live) > 1)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        process = data.draw(st.sampled_from(sorted(self.live)), label="process")
        left = self.cluster_of(process)
        self.clusters.remove(left)
        self.live.remove(process)
        if rest := [member for member in left.members if member != process]:
            self.clusters.append(self.new_cluster(rest))

    @rule(data=st.data())
    def re_cluster(self, data: st.DataObject) -> None:
        processes = sorted(self.live)
        formed = data.draw(clusterings(len(processes)), label="clusters")
        self.clusters = [self.new_cluster([processes[each] for each in cluster]) for cluster in formed.clusters]

    @rule(data=st.data())
    def choose_protocol(self, data: st.DataObject) -> None:
        self.spec = data.draw(st.sampled_from(self.SPECS), label="protocol")

    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        self.place(data, "Crash")

    @rule(data=st.data())
    def delay(self, data: st.DataObject) -> None:
        self.place(data, "Delay", "Mute")

    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        self.place(data, "Replay", "Duplicate")

    @rule(data=st.data())
    def equivocate(self, data: st.DataObject) -> None:
        self.place(data, "Equivocate")

    @rule(data=st.data())
    def tamper(self, data: st.DataObject) -> None:
        self.place(data, "Tamper", "Garbage", "Truncate", "WrongDtype", "WrongCluster")

    @rule()
    def open(self) -> None:
        """Open all clusters' sums: each is judged by its own faults alone, whatever happens in the others."""
        self.round += 1
        for cluster in self.clusters:
            if len(cluster.members) in fitting_sizes(self.spec, MOST_PROCESSES):
                self.open_cluster(cluster)
            cluster.placed.clear()

    @rule(data=st.data())
    def open_with_another_protocol(self, data: st.DataObject) -> None:
        self.choose_protocol(data)
        self.open()

    @rule(data=st.data())
    def fail_and_open(self, data: st.DataObject) -> None:
        """One fault of any kind, then at once the sums: few of the schedules above have so few faults."""
        self.place(data, *FAULTS)
        self.open_with_another_protocol(data)

    def open_cluster(self, cluster: Cluster) -> None:
        placed = dict(cluster.placed)
        cluster.faults.clear()
        cluster.faults.update({rank: Combined(faults=tuple(faults)) for rank, faults in placed.items()})
        inputs = {rank: self.inputs(process) for rank, process in enumerate(cluster.members)}
        words = torch.tensor([[inputs[rank] for rank in range(len(cluster.members))]])
        started = cluster.starts[0]
        with drawn_masks() as drawn:
            try:
                opened = cluster.parties.open_sums(self.spec, words)
            except NetworkError as error:
                opened = error
        cluster.faults.clear()
        again = drawn & self.masks
        assert not again, f"{self.spec} draws {len(again)} masks for a second time"
        self.masks |= drawn
        if isinstance(opened, NetworkError):
            self.judge_stop(cluster, placed, opened)
        else:
            self.judge_sum(cluster, placed, opened, inputs)
        # Links that are new have nothing in their way.
        cluster.behind = liars(placed) | cluster.behind if cluster.starts[0] == started else set()

    def inputs(self, process: int) -> list[int]:
        """The words of a process in this round, some of them at the edges of the ring."""
        source, modulus = random.Random(f"{process}/{self.round}"), secure_sums.make(self.spec).ring.modulus
        least, most = -(modulus // 2), (modulus - 1) // 2
        return [source.choice([source.randint(least, most), least, most, 0, 1]) for _ in range(COORDINATES)]

    def judge_stop(self, cluster: Cluster, placed: Mapping[int, list[Fault]], error: NetworkError) -> None:
        bad = liars(placed) | cluster.behind
        assert lost(self.spec, len(cluster.members), len(bad), len(placed.keys() - bad)), (
            f"{self.spec} of {len(cluster.members)} stops with {error!r} although it tolerates {placed}"
        )

    def judge_sum(
        self,
        cluster: Cluster,
        placed: Mapping[int, list[Fault]],
        opened: OpenedSums,
        inputs: Mapping[int, list[int]],
    ) -> None:
        c, lying = len(cluster.members), liars(placed) | cluster.behind
        contributors = set(opened.contributors)
        assert contributors <= set(range(c)), f"{contributors} are not all in a cluster of {c}"
        assert {cluster.members[rank] for rank in contributors} <= self.live
        assert opened.suspects <= lying, f"{self.spec} suspects {opened.suspects} with {placed}"
        modulus = secure_sums.make(self.spec).ring.modulus
        ideal = [sum(inputs[rank][place] for rank in contributors) for place in range(COORDINATES)]
        ((found),) = opened.sums.tolist()
        right = all((a - e) % modulus == 0 for a, e in zip(found, ideal, strict=True))
        # Whoever changes what it deals has another input, which nobody can tell from a right one.
        early = {rank for rank in lying & placed.keys() if any(fault.step == 0 for fault in placed[rank])}
        misdealt = bool((early | cluster.behind) & contributors)
        failing = placed.keys() | lying
        if not wrong(self.spec, c, len(lying), len(failing - lying)):
            assert right or misdealt, f"{self.spec} opens {found} in place of {ideal} with {placed}"
            assert set(range(c)) - failing <= contributors, f"{self.spec} leaves out one of {cluster.members}"

    @invariant()
    def every_live_process_is_in_one_cluster(self) -> None:
        if hasattr(self, "clusters"):
            assert sorted(member for cluster in self.clusters for member in cluster.members) == sorted(self.live)


def liars(placed: Mapping[int, list[Fault]]) -> set[int]:
    """The ranks that are not only absent."""
    return {rank for rank, faults in placed.items() if any(fault.kind == "byzantine" for fault in faults)}


def lost(spec: Spec, c: int, b: int, k: int) -> bool:
    return bool(secure_sums.make(spec).conditions.lost(c, np.array([b]), np.array([k]))[0])


def wrong(spec: Spec, c: int, b: int, k: int) -> bool:
    conditions = secure_sums.make(spec).conditions
    return bool(conditions.scheme.wrong(np.array([b]), np.array([k]), c, conditions.threshold_at(c))[0])


TestRounds = Rounds.TestCase
TestRounds.settings = settings(
    # Less than the profile's: each example is many rounds of several clusters.
    max_examples=max(50, settings.default.max_examples // 10),
    stateful_step_count=30,
    suppress_health_check=list(HealthCheck),
    deadline=None,
)


class OnePlaintext(Rounds):
    """The machine with one protocol, so that a planted bug need not wait until its protocol is chosen."""

    SPECS = (secure_sums.resolve("plaintext"),)
    STEPS = 2


class TestPlantedBugs:
    """The machine finds what it is for."""

    SETTINGS = settings(
        max_examples=40,
        stateful_step_count=20,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],  # a planted bug is to be found, not to be made small
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )

    def fails(self, said: str, machine: Callable[[], RuleBasedStateMachine] = OnePlaintext) -> None:
        with pytest.raises(AssertionError, match=said):
            run_state_machine_as_test(machine, settings=self.SETTINGS)

    def test_without_a_bug_it_passes(self) -> None:
        run_state_machine_as_test(OnePlaintext, settings=settings(self.SETTINGS, max_examples=5))

    def test_a_sum_that_is_off_by_one_is_found(self) -> None:
        original = Plaintext.collect

        def planted(self, board):
            opened = original(self, board)
            return type(opened)(sums=opened.sums + (board.use == 3), contributors=opened.contributors)

        with mock.patch.object(Plaintext, "collect", planted):
            self.fails("opens")

    def test_a_contributor_that_is_forgotten_is_found(self) -> None:
        original = Plaintext.collect

        def planted(self, board):
            opened = original(self, board)
            return type(opened)(sums=opened.sums, contributors=opened.contributors[:2])

        with mock.patch.object(Plaintext, "collect", planted):
            self.fails("opens|leaves out")

    def test_a_failed_cluster_that_touches_another_ones_sum_is_found(self) -> None:
        original, failed = InProcessParties.open_sums, []

        def planted(self, protocol, words):
            try:
                opened = original(self, protocol, words)
            except NetworkError:
                failed.append(words)
                raise
            return OpenedSums(
                sums=opened.sums + sum(int(each.sum()) for each in failed),
                contributors=opened.contributors,
                traffic=opened.traffic,
            )

        def forgetting() -> OnePlaintext:
            failed.clear()  # each example is a history of its own
            return OnePlaintext()

        with mock.patch.object(InProcessParties, "open_sums", planted):
            self.fails("opens", forgetting)

    def test_a_round_that_stops_without_a_fault_is_found(self) -> None:
        original = Plaintext.collect

        def planted(self, board):
            if board.parties == 2:
                raise NetworkError("planted")
            return original(self, board)

        with mock.patch.object(Plaintext, "collect", planted):
            self.fails("although it tolerates")

    def test_a_mask_that_is_drawn_twice_is_found(self) -> None:
        original = Plaintext.contribute

        def planted(self, party, words):
            SecretStreams(bytes(16)).words(use=7, lanes=1, count=1)
            original(self, party, words)

        with mock.patch.object(Plaintext, "contribute", planted):
            self.fails("for a second time")
