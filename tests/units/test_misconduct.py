"""Attacks on messages in a grid: what they do to sums, who is named for it, and what it costs."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

from attacks import attacks
from attacks.message.crash import CrashInSum
from attacks.message.selective_abort import SelectiveAbort
from attacks.testing._message import a_mean_that_it_does_not_read_is_not_needed, make_message_view
from bench import opening
from bench.cell import Cell
from bench.data import Dataset
from bench.experiment import load_experiment
from bench.federation import build, run_cell
from bench.grid import expand, skip_reason
from bench.misconduct import MISCONDUCT, misconduct, misconduct_columns
from bench.noise import multipliers_of
from bench.opening import Opened, open_sums
from bench.round import form_clusters, run_round
from protocols.faults import Combined, Crash, Equivocate, Tamper
from protocols.in_process import InProcessParties
from protocols.randomness import public_stream
from protocols.secure_sum import secure_sums
from protocols.types import Traffic
from tests.rounds import cell_with

ON_MESSAGES = [name for name, entry in attacks.entries().items() if entry.facts["surface"] == "message"]


def one_cell(attack: object, **axes: Any) -> Cell:
    return cell_with(**{"n": 12, "f": 1, "cluster_size": 4, "attack": attack, **axes})


def run(digits: Dataset, parties: InProcessParties, attack: object, **axes: Any) -> dict[str, Any]:
    return run_cell(one_cell(attack, **axes), digits, parties).metrics


def test_a_tampered_share_moves_the_sum_by_what_was_added(digits: Dataset, parties: InProcessParties) -> None:
    """Additive shares are not authenticated: the words that the tamperer sends in the first exchange shift the sum.

    Each coordinate is off by `delta` or not at all (the part that the tamperer collects itself), over 4 members.
    """
    delta = 2**20
    federation = build(one_cell({"name": "tamper_share", "delta": delta}), digits)
    clean = build(one_cell("none"), digits)
    model = federation.network.initial(torch.Generator().manual_seed(0))
    moved = run_round(federation, model, 0, parties)
    right = run_round(clean, model, 0, parties)
    counts = form_clusters(federation, 0).faulty_counts(federation.faulty)
    shift = (moved.opened.means - right.opened.means) / federation.ring.unit
    for j, count in enumerate(counts):
        found = set(shift[j].round().tolist())
        assert found == ({0.0, delta / 4} if count else {0.0})
    assert moved.sum_exact  # it speaks of clusters in which nobody misbehaves; of this one an alarm would be false
    assert not moved.named


@pytest.mark.parametrize(
    ("protocol", "failed", "named"),
    [
        ("additive", 0, 0),  # nobody notices
        ("shamir", 0, 0),  # left out of the sum: its digest of the model is another one as well
        ("authenticated", 2, 1),  # named, and nothing is opened, in either round
        ("masked", 2, 0),  # noticed, by nobody in particular
    ],
)
def test_each_protocol_does_with_a_tampered_share_what_it_promises(
    digits: Dataset, parties: InProcessParties, protocol: str, failed: int, named: int
) -> None:
    metrics = run(digits, parties, "tamper_share", protocol=protocol)
    assert metrics["failed_clusters"] == failed
    assert metrics["identified_culprits"] == named
    assert metrics["framed_processes"] == 0
    assert (metrics["bytes_aborted"] > 0) == (failed > 0)
    assert metrics["contradicted"] == ""


@pytest.mark.parametrize(
    ("attack", "protocol", "expected"),
    [
        ({"name": "delay", "seconds": 59.0}, "additive", (0, 0)),  # in time: the others wait for 60 s
        ({"name": "delay", "seconds": 61.0}, "additive", (2, 0)),
        ({"name": "delay", "seconds": 61.0}, "shamir", (0, 0)),  # goes on without the late one
        ("wrong_dtype", "plaintext", (0, 0)),  # other words, and nobody notices
        ("wrong_dtype", "shamir", (0, 0)),  # left out of the sum: its digest of the model is another one as well
        ("wrong_dtype", "authenticated", (2, 1)),
        ({"name": "wrong_dtype", "width": "half"}, "plaintext", (2, 0)),  # no message of that length is expected
        ({"name": "wrong_dtype", "width": "double"}, "plaintext", (2, 0)),
    ],
)
def test_late_messages_and_wrong_types_do_what_they_say(
    digits: Dataset, parties: InProcessParties, attack: object, protocol: str, expected: tuple[int, int]
) -> None:
    """How many clusters fail in two rounds, and how many culprits are named.

    What was sent within the deadline opens what it opens without a delay, to the last word.
    """
    metrics = run(digits, parties, attack, protocol=protocol)
    assert (metrics["failed_clusters"], metrics["identified_culprits"]) == expected
    assert metrics["framed_processes"] == 0
    same = metrics["accuracy"] == run(digits, parties, "none", protocol=protocol)["accuracy"]
    assert same == (attack == {"name": "delay", "seconds": 59.0})


SWAPPED = {"f": 2, "placement": "spread"}


def test_a_message_for_another_cluster_enters_its_sum_where_nothing_is_checked(
    digits: Dataset, parties: InProcessParties
) -> None:
    """`plaintext`: one cluster adds the other one's member's words, and the other way round, to the last word."""
    federation = build(one_cell("wrong_cluster", protocol="plaintext", **SWAPPED), digits)
    clean = build(one_cell("none", protocol="plaintext", f=0), digits)
    model = federation.network.initial(torch.Generator().manual_seed(0))
    moved = run_round(federation, model, 0, parties)
    right = run_round(clean, model, 0, parties)
    clusters = form_clusters(federation, 0).clusters
    first, second = (j for j, members in enumerate(clusters) if federation.faulty[list(members)].any())
    shift = (moved.opened.means - right.opened.means) / federation.ring.unit
    assert shift[first].abs().sum() > 0
    assert torch.equal(shift[first], -shift[second])
    (third,) = {0, 1, 2} - {first, second}
    assert not shift[third].any()


@pytest.mark.parametrize(
    ("protocol", "step", "expected"),
    [
        ("additive", 0, (0, 0)),  # nobody notices
        ("additive", 1, (2, 0)),  # members who were told other sums do not vouch for those that are published
        ("shamir", 0, (0, 0)),  # left out of the sum: their digests of the model are other ones as well
        ("authenticated", 0, (2, 2)),  # named, and nothing is opened
        ("masked", 0, (2, 0)),  # noticed, by nobody in particular
        ("masked", 1, (2, 0)),
    ],
)
def test_each_protocol_does_with_a_message_for_another_cluster_what_it_promises(
    digits: Dataset, parties: InProcessParties, protocol: str, step: int, expected: tuple[int, int]
) -> None:
    """How many clusters fail in a round, and how many culprits are named."""
    attack = {"name": "wrong_cluster", "step": step}
    metrics = run(digits, parties, attack, protocol=protocol, rounds=1, **SWAPPED)
    assert (metrics["failed_clusters"], metrics["identified_culprits"]) == expected
    assert (metrics["framed_processes"], metrics["contradicted"]) == (0, "")
    assert (metrics["bytes_aborted"] > 0) == (expected[0] > 0)


@pytest.mark.parametrize(
    ("axes", "why"),
    [
        ({"f": 1}, "f = 1"),
        ({"cluster_size": 12, "f": 2}, "of clusters of [12] members no two are of one size"),
        ({"attack": ["wrong_cluster", "mute"], "f": 2}, "goes with no other attack on messages"),
    ],
)
def test_a_swap_that_nobody_can_make_is_skipped_with_its_reason(
    digits: Dataset, axes: dict[str, Any], why: str
) -> None:
    reason = skip_reason(one_cell(**{"attack": "wrong_cluster", **axes}), digits)
    assert reason is not None
    assert reason.startswith("wrong_cluster swaps messages of faulty members of two clusters, and")
    assert why in reason
    assert skip_reason(one_cell("wrong_cluster", f=2), digits) is None


@pytest.mark.parametrize(
    "name", [name for name, entry in attacks.entries().items() if entry.facts["surface"] == "message"]
)
def test_no_attack_on_messages_frames_anybody_or_stops_the_training(
    digits: Dataset, parties: InProcessParties, name: str
) -> None:
    for protocol in ("additive", "authenticated"):
        metrics = run(digits, parties, name, protocol=protocol, f=2, model="mlp")
        assert metrics["framed_processes"] == 0
        assert metrics["contradicted"] == ""
        assert metrics["clusters"] >= 1
        parts = [metrics[f"bytes_{part}"] for part in ("offline", "mpc", "upload")]
        assert sum(parts) == metrics["bytes_total"]


def test_a_lost_sum_costs_what_was_sent_for_it(digits: Dataset, parties: InProcessParties) -> None:
    """Who crashes in the first exchange sends nothing; its three peers send what an honest member sends in it.

    In exchange 0 of `additive` a member sends each other one its share of that one's part of the coordinates.
    """
    protocol = secure_sums.make(secure_sums.resolve("additive"))
    whole = protocol.cost(parties=4, clusters=1, coordinates=650).mpc
    metrics = run(digits, parties, "crash", rounds=1)
    assert metrics["failed_clusters"] == 1
    assert 0 < metrics["bytes_aborted"] < whole.wire_bytes
    late = run(digits, parties, {"name": "crash", "step": 1}, rounds=1)
    assert metrics["bytes_aborted"] < late["bytes_aborted"] < whole.wire_bytes


def test_a_cluster_with_a_misbehaving_member_takes_no_other_one_with_it(
    digits: Dataset, parties: InProcessParties
) -> None:
    federation = build(one_cell("mute"), digits)
    model = federation.network.initial(torch.Generator().manual_seed(0))
    outcome = run_round(federation, model, 0, parties)
    counts = form_clusters(federation, 0).faulty_counts(federation.faulty)
    assert outcome.report.failed == frozenset(np.flatnonzero(counts).tolist())
    assert outcome.clusters == 2


def test_old_messages_are_there_to_be_replayed(digits: Dataset, parties: InProcessParties) -> None:
    """In the second round the first one's shares enter: one's own words of then, and the sum is wrong or refused."""
    first = run(digits, parties, "replay", rounds=1)
    assert first["failed_clusters"] == 0
    federation = build(one_cell("replay"), digits)
    model = federation.network.initial(torch.Generator().manual_seed(0))
    run_round(federation, model, 0, parties)
    replayed = run_round(federation, model, 1, parties)
    again = build(one_cell("none"), digits)
    honest = run_round(again, model, 1, parties)
    j = int(np.flatnonzero(form_clusters(federation, 1).faulty_counts(federation.faulty))[0])
    assert not torch.equal(replayed.opened.means[j], honest.opened.means[j])


# ---- who does what, and when


def faults_of(digits: Dataset, attack: object, round_index: int = 0, **axes: Any) -> tuple[dict[int, Any], np.ndarray]:
    federation = build(one_cell(attack, **axes), digits)
    words = torch.ones(12, federation.network.dimension, dtype=torch.int64)
    clustering = form_clusters(federation, round_index)
    return dict(misconduct(federation, words, clustering, None, round_index)), np.flatnonzero(federation.faulty)


def test_every_faulty_process_misbehaves_and_no_other(digits: Dataset) -> None:
    found, faulty = faults_of(digits, "tamper_share", f=3)
    assert sorted(found) == faulty.tolist()
    assert all(fault == Tamper(step=0, delta=2**20) for fault in found.values())


def test_several_attacks_on_messages_act_one_after_the_other(digits: Dataset) -> None:
    found, faulty = faults_of(digits, ["tamper_share", {"name": "crash", "step": 1}])
    assert found == {int(faulty[0]): Combined(faults=(Tamper(step=0, delta=2**20), Crash(step=1)))}


def test_schedules_and_splits_hold_for_messages_too(digits: Dataset) -> None:
    late = {"name": "crash", "from_round": 2}
    assert faults_of(digits, late)[0] == {}
    assert len(faults_of(digits, late, round_index=1)[0]) == 1
    found, faulty = faults_of(digits, {"split": ["crash", "tamper_share"]}, f=4)
    assert sorted(found) == faulty.tolist()
    assert sorted(type(fault).__name__ for fault in found.values()) == ["Crash", "Crash", "Tamper", "Tamper"]


def test_an_equivocator_tells_half_of_the_others_something_else() -> None:
    """Of the three that do not collude, two; which, is drawn anew."""
    attack = attacks.make(attacks.resolve("equivocate"))
    found = {attack(make_message_view(seed=seed)).to for seed in range(20)}
    assert found == {frozenset(pair) for pair in ((0, 2), (0, 4), (2, 4))}
    assert isinstance(attack(make_message_view()), Equivocate)


def test_a_selective_abort_lets_only_harmful_sums_open() -> None:
    """Where the mean goes along the last step, the member crashes; where against it, or in doubt, it does not."""
    view = make_message_view()
    along = dataclasses.replace(view, mean=2.0 * view.previous)
    against = dataclasses.replace(view, mean=-view.previous)
    assert SelectiveAbort()(along) == Crash(step=1)
    assert SelectiveAbort()(against) is None
    assert SelectiveAbort()(dataclasses.replace(along, previous=None)) is None


def test_a_selective_abort_sees_what_its_cluster_is_about_to_open(digits: Dataset, parties: InProcessParties) -> None:
    federation = build(one_cell("selective_abort"), digits)
    model = federation.network.initial(torch.Generator().manual_seed(0))
    with looking(SelectiveAbort) as seen:
        outcome = run_round(federation, model, 0, parties)
    (view,) = seen
    j = outcome.opened.clusters.index(view.members)
    assert torch.equal(view.mean, outcome.opened.means[j])
    assert view.members[view.place] == int(np.flatnonzero(federation.faulty)[0])
    assert view.previous is None


@contextmanager
def looking(attack: type) -> Iterator[list[Any]]:
    """Record the views that an attack on messages is given; it follows the protocol."""
    seen: list[Any] = []
    with mock.patch.object(attack, "__call__", lambda _, view: seen.append(view)):
        yield seen


@pytest.mark.parametrize(
    ("protocol", "crashed"),
    [
        ("shamir", 2),  # what crashed members would have sent is in no sum
        ("median", 0),  # a robust statistic opens no plain mean
    ],
)
def test_a_selective_abort_sees_what_is_opened_and_not_what_is_never_sent(
    digits: Dataset, parties: InProcessParties, protocol: str, crashed: int
) -> None:
    """With large words of the crashed, and with outliers, the plain mean of all members is another one."""
    federation = build(one_cell("selective_abort", protocol=protocol, crashed=crashed), digits)
    clustering = form_clusters(federation, 0)
    rng = public_stream(0, "words")
    words = torch.from_numpy(rng.integers(-(2**10), 2**10, size=(12, federation.network.dimension)))
    words[torch.from_numpy(federation.crashed)] = 2**20
    with looking(SelectiveAbort) as seen:
        misconduct(federation, words, clustering, None, 0)
    (view,) = seen
    j = clustering.clusters.index(view.members)
    opened = open_sums(federation, words, clustering, parties, round_index=0)
    assert torch.equal(view.mean, opened.means[opened.numbers.index(j)])
    plain = federation.ring.decode(words[list(view.members)].sum(dim=0)) / len(view.members)
    changed = bool(federation.crashed[list(view.members)].any()) or not crashed
    assert torch.equal(view.mean, plain) != changed


def test_a_sum_that_crashes_have_lost_shows_nothing_and_neither_does_one_that_an_attack_does_not_read(
    digits: Dataset,
) -> None:
    for attack, factory, crashed, shown in (
        ("selective_abort", SelectiveAbort, 0, True),
        ("selective_abort", SelectiveAbort, 10, False),
        ("crash", CrashInSum, 0, False),
    ):
        federation = build(one_cell(attack, crashed=crashed), digits)
        words = torch.ones(12, federation.network.dimension, dtype=torch.int64)
        with looking(factory) as seen:
            misconduct(federation, words, form_clusters(federation, 0), torch.ones(650), 0)
        assert [view.mean is not None for view in seen] == [shown]
    assert SelectiveAbort()(dataclasses.replace(make_message_view(), mean=None)) is None


def test_an_attack_that_reads_the_mean_without_saying_so_fails_its_check() -> None:
    """The negative twin of the check: `crash`, made to look at the mean."""

    def peeking(_: CrashInSum, view: Any) -> Crash | None:
        return Crash(step=0) if view.mean is not None else None

    spec = attacks.resolve("crash")
    a_mean_that_it_does_not_read_is_not_needed(spec)
    with mock.patch.object(CrashInSum, "__call__", peeking), pytest.raises(AssertionError, match="reads the mean"):
        a_mean_that_it_does_not_read_is_not_needed(spec)


@pytest.mark.parametrize("protocol", ["additive", "shamir", "authenticated", "committee", "plaintext"])
def test_an_attack_in_an_exchange_that_never_comes_is_skipped_with_its_reason(
    digits: Dataset, parties: InProcessParties, protocol: str
) -> None:
    """And in the last one that comes it acts: whether it does, a crash shows in the traffic."""
    beyond = skip_reason(one_cell({"name": "crash", "step": 40}, protocol=protocol), digits)
    assert beyond is not None
    last = int(beyond.rpartition(" ")[2])
    assert beyond == f"crash acts in exchange 40, and the last one of {protocol} is exchange {last}"
    assert skip_reason(one_cell({"name": "crash", "step": last + 1}, protocol=protocol), digits) is not None
    assert skip_reason(one_cell({"name": "crash", "step": last}, protocol=protocol), digits) is None
    federation = build(one_cell("none", protocol=protocol), digits)
    words = torch.ones(12, 9, dtype=torch.int64)
    clustering = form_clusters(federation, 0)
    spent: list[Traffic] = []
    for step in (last, last + 1):
        crashes = {process: Crash(step=step) for process in clustering.clusters[0]}
        spent.append(open_sums(federation, words, clustering, parties, crashes, round_index=0).traffic)
    assert spent[0] != spent[1]


def test_every_cell_of_the_preset_on_messages_can_be_run(digits: Dataset) -> None:
    cells = expand(load_experiment("messages"))
    assert {cell.protocol.name for cell in cells} == {"additive", "authenticated", "shamir", "committee", "plaintext"}
    assert {skip_reason(cell, digits) for cell in cells} == {None}


# ---- columns


def test_who_is_named_counts_once_and_honest_ones_apart() -> None:
    named = [frozenset({3}), frozenset({3, 7}), frozenset()]
    byzantine = [frozenset({3, 4})] * 3
    found = misconduct_columns(named, [10, 0, 5], byzantine)
    assert found == {"identified_culprits": 1, "framed_processes": 1, "bytes_aborted": 15}
    assert tuple(found) == MISCONDUCT
    moved = misconduct_columns([frozenset({3}), frozenset({3})], [0, 0], [frozenset({3}), frozenset({4})])
    assert moved["identified_culprits"] == moved["framed_processes"] == 1


def test_a_protocol_that_frames_somebody_shows_in_the_row(digits: Dataset, parties: InProcessParties) -> None:
    """A planted bug: the wrong member is named."""
    right = opening.named_in

    def wrong(error: Any) -> frozenset[int]:
        return frozenset((place + 1) % 4 for place in right(error))

    with mock.patch.object(opening, "named_in", wrong):
        metrics = run(digits, parties, "tamper_share", protocol="authenticated")
    assert metrics["framed_processes"] == 1
    assert metrics["identified_culprits"] == 0


def test_what_the_parties_of_a_lost_batch_sent_is_known() -> None:
    words = torch.from_numpy(public_stream(0, "words").integers(-5, 5, size=(1, 4, 6)))
    parties = InProcessParties(4, faults={1: Crash(step=1)})
    with pytest.raises(RuntimeError):
        parties.open_sums(secure_sums.resolve("additive"), words)
    assert parties.spent.wire_bytes > 0
    whole = InProcessParties(4)
    assert whole.open_sums(secure_sums.resolve("additive"), words).traffic == whole.spent


def test_noise_of_members_that_a_sum_leaves_out_protects_nobody(digits: Dataset, parties: InProcessParties) -> None:
    """Who is left out of a sum that opens, by whatever its fellows did, does not hide the others in it."""
    private = {"name": "distributed", "noise_multiplier": 1.0}
    federation = build(one_cell("none", privacy=private, protocol="shamir"), digits)
    clustering = form_clusters(federation, 0)
    members = clustering.clusters[0]
    honest = [process for process in members if not federation.faulty[process]]
    everybody = multipliers_of(federation, clustering, None)
    fewer = multipliers_of(federation, clustering, None, frozenset(honest[:1]))
    assert everybody is not None
    assert fewer is not None
    assert (fewer[honest] < everybody[honest]).all()
    others = [process for cluster in clustering.clusters[1:] for process in cluster if not federation.faulty[process]]
    assert (fewer[others] == everybody[others]).all()
    opened = Opened(
        numbers=[0],
        means=torch.zeros(1, 1, dtype=torch.float64),
        contributors=[tuple(members[1:])],
        exact=[True],
        traffic=Traffic.none(),
    )
    assert opened.left_out(clustering) == frozenset(members[:1])
