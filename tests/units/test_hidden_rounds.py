"""Rounds whose cluster sums stay hidden: the same models, nothing but the result shown, and verdicts that hold."""

from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

from attacks import attacks
from attacks.message.selective_abort import SelectiveAbort
from bench.cell import Cell
from bench.data import Dataset
from bench.datasets import datasets
from bench.federation import build, largest_cluster, run_cell
from bench.grid import skip_reason
from bench.hidden import _judged, in_order
from bench.numbering import batch_number
from bench.outcome import RoundOutcome
from bench.round import form_clusters, run_round
from protocols.hidden_sums import hidden_sums
from protocols.hidden_sums.hidden import Hidden
from protocols.in_process import InProcessParties
from protocols.network import PartyTimeoutError
from tests.hidden import made
from tests.rounds import cell_with, start

NOBODY = InProcessParties(1)
"""All members of hidden sums are threads of the round's own."""


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return datasets.make(datasets.resolve("breast_cancer")).load(None)


def hidden_cell(**axes: Any) -> Cell:
    defaults = {"dataset": "breast_cancer", "protocol": "hidden", "aggregator": "median", "n": 15, "f": 2}
    return cell_with(**{**defaults, "cluster_size": 3, "attack": "sign_flip", **axes})


def first_round(cell: Cell, dataset: Dataset, parties: InProcessParties = NOBODY) -> RoundOutcome:
    federation = build(cell, dataset)
    return run_round(federation, start(federation), 0, parties)


@pytest.mark.parametrize(
    ("aggregator", "n"), [("median", 15), ("median", 17), ("mean", 17), ("trimmed_mean", 17), ("krum", 17)]
)
def test_the_model_is_that_of_opened_means(dataset: Dataset, aggregator: str, n: int) -> None:
    """Of 17, clusters have 4, 4, 3, 3 and 3 members. Both ways differ by float64 divisions: below 2^-50 of 2^-24."""
    cell = hidden_cell(aggregator=aggregator, n=n)
    ours = first_round(cell, dataset)
    opened = first_round(hidden_cell(aggregator=aggregator, n=n, protocol="additive"), dataset, InProcessParties(4))
    torch.testing.assert_close(ours.model, opened.model, rtol=2**-23, atol=0)
    assert ours.sum_exact
    assert (ours.clusters, ours.tainted_clusters) == (opened.clusters, opened.tainted_clusters)
    assert largest_cluster(cell) == 1


def test_rows_of_a_compressor_stay_hidden_too(dataset: Dataset) -> None:
    axes = {"compression": {"name": "rand_k", "k": 0.3}}
    ours = first_round(hidden_cell(**axes), dataset)
    opened = first_round(hidden_cell(protocol="additive", **axes), dataset, InProcessParties(3))
    torch.testing.assert_close(ours.model, opened.model, rtol=2**-23, atol=0)
    assert ours.opened.means.shape == (1, len(ours.model))
    assert ours.traffic.mpc.wire_bytes < first_round(hidden_cell(), dataset).traffic.mpc.wire_bytes


@pytest.mark.parametrize("privacy", ["none", "central"])
def test_all_that_is_shown_is_the_result_with_its_noise(dataset: Dataset, privacy: str) -> None:
    cell = hidden_cell(privacy=privacy)
    federation = build(cell, dataset)
    model = start(federation)
    outcome = run_round(federation, model, 0, NOBODY)
    assert [sorted(members) for members in outcome.opened.clusters] == [list(range(15))]
    step = (outcome.opened.means[0] + model.double()).float()
    torch.testing.assert_close(step, outcome.model, rtol=2**-23, atol=0)
    assert outcome.report.suspected == frozenset()
    opened = first_round(hidden_cell(protocol="additive"), dataset, InProcessParties(4))
    assert len(opened.opened.clusters) == 5


@pytest.mark.parametrize(("aggregator", "rank"), [("mean", 1), ("median", None)])
def test_one_sum_of_all_is_disclosed_at_most(dataset: Dataset, aggregator: str, rank: int | None) -> None:
    assert run_cell(hidden_cell(aggregator=aggregator), dataset, NOBODY).metrics["revealed_rank"] == rank


def test_a_crashed_member_costs_its_cluster_and_no_other(dataset: Dataset) -> None:
    outcome = first_round(hidden_cell(crashed=1, f=1), dataset)
    assert (outcome.clusters, outcome.failed_clusters) == (4, 1)
    assert len(outcome.opened.clusters[0]) == 12
    assert outcome.observed.contradicts(outcome.said) == ()


def test_too_few_complete_clusters_open_nothing_and_the_verdict_says_so(dataset: Dataset) -> None:
    cell = hidden_cell(n=12, crashed=6, f=0, attack="none", placement="spread")
    federation = build(cell, dataset)
    model = start(federation)
    outcome = run_round(federation, model, 0, NOBODY)
    assert outcome.clusters == 0
    assert torch.equal(outcome.model, model)
    assert not outcome.said.live
    assert outcome.opened.clusters == ()
    assert outcome.lost_bytes > 0


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("aggregator", ["mean", "median"])
def test_no_coalition_contradicts_a_verdict(dataset: Dataset, aggregator: str, seed: int) -> None:
    """With 8 of 12 processes curious or Byzantine, delegates often know of an honest member alone in its cluster."""
    cell = hidden_cell(n=12, f=1, curious=7, crashed=1, aggregator=aggregator, seed=seed)
    metrics = run_cell(cell, dataset, NOBODY).metrics
    assert metrics["contradicted"] == ""


def test_colluding_delegates_are_observed_and_predicted(dataset: Dataset) -> None:
    seen = {True: 0, False: 0}
    for seed in range(6):
        outcome = first_round(hidden_cell(n=9, f=0, curious=6, attack="none", seed=seed), dataset)
        seen[outcome.observed.private] += 1
        assert outcome.said.private <= outcome.observed.private
        if not outcome.observed.private:
            federation = build(hidden_cell(n=9, f=0, curious=6, attack="none", seed=seed), dataset)
            assert not federation.curious[list(outcome.observed.exposed)].any()
            assert "delegates" in " ".join(outcome.said.why)
    assert min(seen.values()) > 0


def test_delegates_who_can_all_be_honest_are_not_what_the_verdict_trusts() -> None:
    """Two colluding members of different groups may serve; then a third group with one honest member is exposed."""
    protocol = Hidden(group_size=3)
    groups = [(0, 1, 2), (3, 4, 5), (6, 7, 8)]
    assert protocol.exposes(groups, {0, 1, 3})
    assert not protocol.exposes(groups, {0, 1})
    assert not protocol.exposes(groups, {0, 3, 6})
    assert not protocol.exposes(groups, {0, 1, 2, 3})


def test_a_wrong_result_is_not_exact(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    original = InProcessParties.open_sums

    def off_by_one(self: InProcessParties, *arguments: Any, **how: Any) -> Any:
        opened = original(self, *arguments, **how)
        return replace(opened, sums=opened.sums + 1)

    monkeypatch.setattr(InProcessParties, "open_sums", off_by_one)
    assert not first_round(hidden_cell(), dataset).sum_exact


def test_a_failure_without_a_crash_is_raised(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(self: InProcessParties, *arguments: Any, **how: Any) -> Any:
        raise PartyTimeoutError("party 1 sent nothing")

    monkeypatch.setattr(InProcessParties, "open_sums", silent)
    with pytest.raises(PartyTimeoutError):
        first_round(hidden_cell(), dataset)


def test_words_of_clusters_of_two_sizes_leave_room_for_the_rule(dataset: Dataset) -> None:
    """All 5 groups at the bound, each weighted up to 12 = 3 x 4 members, wrap nothing; beyond it they may."""
    federation = build(hidden_cell(n=17), dataset)
    clustering = federation.policy(population=federation.population, cluster_size=3, seed=0, round_index=0)
    largest = federation.ring.largest_word(federation.terms(clustering))
    assert largest * 12 * 5 * 2 < 2**63 <= (largest + 1) * 12 * 5 * 2
    assert federation.terms(clustering) > 2 * max(clustering.sizes)


@pytest.mark.parametrize(
    ("axes", "reason"),
    [
        ({}, None),
        ({"aggregator": "medoid"}, "hidden: medoid has no form under encryption; "),
        (
            {"protocol": {"name": "hidden", "outer": "mean"}},
            "outer follows from the cell's clusters",
        ),
        ({"protocol": {"name": "hidden", "group_size": 4}}, "group_size follows from"),
        ({"protocol": {"name": "hidden", "levels": [3]}}, None),
        ({"protocol": {"name": "hidden", "levels": [2, 2]}}, "clusters of 3 members make no 4 groups"),
        ({"protocol": {"name": "hidden", "levels": [2]}, "n": 16}, "members are no groups of 2 groups that differ"),
        ({"protocol": {"name": "hidden", "sharing": "shamir"}}, None),
        (
            {"protocol": {"name": "hidden", "sharing": "shamir"}, "cluster_size": 2, "n": 12},
            "gives 0 for groups of 2, which hides nothing",
        ),
        ({"pre": "nnm"}, "nnm would have to see the clusters' means"),
        ({"topology": "ring", "attack": "none"}, "with ring clusters exchange what they open"),
        ({"clustering": "reputation"}, "reputation learns from what clusters open"),
        ({"attack": "tamper_share"}, None),
        ({"attack": {"name": "crash", "step": 900}}, "acts in exchange 900, and the last one of hidden is exchange"),
        ({"cluster_size": 6}, "leave 2 of 15 members; allowed: at least delegates = 3 groups"),
        ({"privacy": "distributed"}, None),
        ({"protocol": {"name": "hidden", "committees": 2}, "privacy": "central"}, "does not fit committees = 2"),
        ({"privacy": "central"}, None),
        ({"aggregator": "krum"}, None),
        ({"aggregator": "krum", "f": 1, "n": 12}, None),
        ({"aggregator": "krum", "privacy": "central"}, "adds noise for a sensitivity, and none is proved of krum"),
        ({"privacy": {"name": "central", "noise_multiplier": 1e-5}}, "noise shares of 0.463 units"),
    ],
)
def test_what_makes_no_sense_is_skipped_with_its_reason(
    dataset: Dataset, axes: dict[str, Any], reason: str | None
) -> None:
    found = skip_reason(hidden_cell(**axes), dataset)
    assert found is None if reason is None else reason in str(found)


def test_noise_on_the_result_is_counted_as_far_as_colluding_delegates_do_not_know_it(dataset: Dataset) -> None:
    """Three delegates, t2 = 1: of three shares two suffice; who knows two of them knows all sums, without noise."""
    cell = hidden_cell(n=12, f=0, curious=6, attack="none", privacy={"name": "central", "noise_multiplier": 2.0})
    federation = build(cell, dataset)
    slack = 1 + 0.5 * federation.ring.unit * np.sqrt(federation.network.dimension)
    seen: set[float] = set()
    for round_index in range(8):
        multipliers = run_round(federation, start(federation), round_index, NOBODY).multipliers
        assert multipliers is not None
        assert np.isinf(multipliers[federation.curious]).all()
        seen |= set(np.round(multipliers[~federation.curious] * slack, 9).tolist())
    assert seen <= {round(2 * np.sqrt(3 / 2), 9), 2.0, 0.0}
    assert {2.0, 0.0} <= seen


def test_an_opened_word_that_is_wrong_by_its_top_bit_is_not_exact(dataset: Dataset) -> None:
    protocol = hidden_sums.make(hidden_sums.resolve({"name": "hidden", "group_size": 1}))
    words = torch.arange(5)[None, :, None]
    right = protocol.reference(words).sums
    assert _judged(protocol, words, right).exact
    assert not _judged(protocol, words, right + torch.tensor(-(2**63))).exact


def test_epsilon_is_that_of_the_central_mechanism_with_the_honest_shares(dataset: Dataset) -> None:
    axes = {"f": 0, "attack": "none", "n": 12, "aggregator": "mean"}
    ours = run_cell(hidden_cell(privacy="central", **axes), dataset, NOBODY).metrics
    trusted = {"name": "central", "noise_multiplier": float(np.sqrt(3 / 2))}
    server = run_cell(hidden_cell(privacy=trusted, protocol="additive", **axes), dataset, InProcessParties(3)).metrics
    assert float(ours["epsilon"]) == pytest.approx(float(server["epsilon"]), rel=1e-9)
    assert ours["contradicted"] == ""
    assert ours["sum_exact"]


ON_MESSAGES = [name for name, entry in attacks.entries().items() if entry.facts["surface"] == "message"]
LATE = 30
"""An exchange in which delegates compute the median."""


def attacked_cell(name: str, step: int, **axes: Any) -> Cell:
    protocol = axes.pop("protocol", "hidden")
    attack = {"name": name} | ({"step": step} if "step" in attacks.entry(name).defaults else {})
    return hidden_cell(**{"attack": attack, "protocol": protocol, "n": 15, "f": 1, "rounds": 2, **axes})


@pytest.mark.parametrize(
    "name", [name for name in ON_MESSAGES if not attacks.entry(name).facts["swaps"] and name != "inconsistent_model"]
)
def test_each_attack_on_messages_ends_in_a_row_that_its_verdict_does_not_contradict(
    dataset: Dataset, name: str
) -> None:
    """Where members enter, additively and by Shamir's sharing, and in the middle of the rule's circuit."""
    for step, sharing, seed in ((0, "additive", 0), (1, "shamir", 3), (LATE, "additive", 1)):
        protocol = {"name": "hidden", "sharing": sharing}
        cell = attacked_cell(name, step, protocol=protocol, seed=seed, n=9)
        assert skip_reason(cell, dataset) is None
        metrics = run_cell(cell, dataset, NOBODY).metrics
        assert metrics["contradicted"] == ""
        assert metrics["framed_processes"] == 0
        assert sum(metrics[f"bytes_{part}"] for part in ("offline", "mpc", "upload")) == metrics["bytes_total"]


@pytest.mark.parametrize(
    ("name", "step", "protocol", "opens"),
    [
        ("crash", 0, "additive", 4),  # costs its cluster
        ("crash", 1, "additive", 0),  # it said that it was there
        ("crash", 1, "shamir", 5),  # its cluster has its words
        ("duplicate", 0, "additive", 5),  # what comes twice counts once
        ("truncate", 0, "shamir", 4),  # its shares are no shares: its cluster goes without
        ("selective_abort", 1, "additive", 5),  # in the first round nothing is worth it
    ],
)
def test_messages_that_are_lost_cost_a_cluster_the_round_or_nothing(
    dataset: Dataset, name: str, step: int, protocol: str, opens: int
) -> None:
    """In a round in which the faulty member does not serve as a delegate, which a batch's number draws."""
    cells = (
        attacked_cell(name, step, protocol={"name": "hidden", "sharing": protocol}, seed=seed) for seed in range(9)
    )
    outcome = first_round(next(cell for cell in cells if not delegates_lie(cell, dataset)), dataset)
    assert outcome.clusters == opens
    assert outcome.observed.live == (opens >= 3)
    assert not outcome.said.live
    assert (outcome.lost_bytes > 0) == (opens == 0)


def test_messages_of_two_clusters_cannot_be_swapped_where_all_play_one_batch(dataset: Dataset) -> None:
    reason = skip_reason(attacked_cell("wrong_cluster", 0, f=2), dataset)
    assert reason is not None
    assert "wrong_cluster swaps messages of two clusters, and here all clusters play together" in reason


def delegates_lie(cell: Cell, dataset: Dataset) -> bool:
    """Whether a Byzantine process serves as a delegate in the first round."""
    federation = build(cell, dataset)
    clustering = form_clusters(federation, 0)
    places = [process for j in in_order(clustering) for process in clustering.clusters[j]]
    protocol = made(federation.protocol)
    number = batch_number(seed=federation.seed, round_index=0, attempt=0, cluster=0)
    seats = protocol.seats(parties=len(places), present=frozenset(range(len(places))), use=number)
    return any(federation.faulty[places[rank]] for rank in seats.delegates + seats.second)


@pytest.mark.parametrize(("seed", "lies"), [(1, False), (2, True)])
def test_a_lying_delegate_moves_the_result_and_whoever_may_serve_is_not_trusted(
    dataset: Dataset, seed: int, lies: bool
) -> None:
    """One Byzantine process of nine, of whom three serve: only where it does is the result another one, unseen."""
    cell = attacked_cell("tamper_share", LATE, seed=seed, n=9)
    assert delegates_lie(cell, dataset) == lies
    outcome = first_round(cell, dataset)
    honest = first_round(attacked_cell("tamper_share", LATE, seed=seed, n=9, f=0), dataset)
    assert torch.equal(outcome.model, honest.model) != lies
    assert outcome.observed.correct != lies
    assert not outcome.said.correct
    assert "Byzantine delegate" in " ".join(outcome.said.why)
    assert outcome.sum_exact  # it speaks of clusters in which nobody misbehaves


def test_two_committees_stop_a_round_in_which_a_delegate_lies_and_the_verdict_knows_it(dataset: Dataset) -> None:
    """Six of nine processes serve, each in one committee alone."""
    protocol = {"name": "hidden", "committees": 2}
    for seed, lies in ((2, True), (4, False)):
        cell = attacked_cell("tamper_share", LATE, seed=seed, n=9, protocol=protocol)
        assert delegates_lie(cell, dataset) == lies
        outcome = first_round(cell, dataset)
        assert (outcome.said.correct, outcome.said.live) == (True, False)
        assert outcome.observed.correct
        assert outcome.observed.live != lies
        assert (outcome.lost_bytes > 0) == lies
        assert outcome.observed.contradicts(outcome.said) == ()
    two = first_round(attacked_cell("tamper_share", LATE, seed=2, n=9, f=2, protocol=protocol), dataset)
    assert not two.said.correct


def test_without_an_attack_on_messages_byzantine_members_serve_as_they_should(dataset: Dataset) -> None:
    outcome = first_round(hidden_cell(f=1), dataset)
    assert (outcome.said.correct, outcome.said.live) == (True, True)


def test_a_selective_abort_sees_the_result_that_is_about_to_open(dataset: Dataset) -> None:
    seen: list[Any] = []
    with mock.patch.object(SelectiveAbort, "__call__", lambda _, view: seen.append(view)):
        outcome = first_round(attacked_cell("selective_abort", 1, crashed=1), dataset)
    (view,) = seen
    assert outcome.clusters == 4
    assert torch.equal(view.mean, outcome.opened.means[0])
    assert sorted(view.members) == list(range(15))


@pytest.mark.parametrize(("levels", "size"), [([2], 4), ([3], 3), ([2, 2], 4)])
def test_levels_within_clusters_open_the_same_result(dataset: Dataset, levels: list[int], size: int) -> None:
    axes = {"n": 4 * size, "cluster_size": size, "curious": 2}
    deep = hidden_cell(protocol={"name": "hidden", "levels": levels}, **axes)
    assert skip_reason(deep, dataset) is None
    ours, flat = first_round(deep, dataset), first_round(hidden_cell(**axes), dataset)
    assert torch.equal(ours.model, flat.model)
    assert ours.traffic != flat.traffic
    assert ours.sum_exact
    assert run_cell(deep, dataset, NOBODY).metrics["contradicted"] == ""


def test_holders_within_a_cluster_are_in_the_verdict_and_observed() -> None:
    """Clusters of four, as two groups of two: a member of each may hold both sums, and so knows the others' words."""
    deep, flat = Hidden(group_size=2, levels=(2,)), Hidden(group_size=4)
    groups = [tuple(range(4 * j, 4 * j + 4)) for j in range(3)]
    assert deep.exposes(groups, {0, 2})
    assert not deep.exposes(groups, {0, 1})
    assert not flat.exposes(groups, {0, 2})
    told = [deep.exposed(parties=12, contributors=range(12), colluding={0, 2}, use=use) for use in range(1, 30)]
    assert set(told) == {frozenset(), frozenset({1, 3})}


@pytest.mark.parametrize("sharing", ["additive", "shamir"])
def test_no_draw_exposes_whom_the_verdict_calls_safe_and_some_draw_exposes_the_others(sharing: Any) -> None:
    """Coalitions of up to four, in three clusters of two groups of two (of three, Shamir's).

    The rarest draw that exposes has a chance of 1/36 or more: 250 of them all miss with 0.1 %, and the seeds are fixed.
    """
    size = 2 if sharing == "additive" else 3
    protocol = Hidden(group_size=size, levels=(2,), sharing=sharing)
    n = 6 * size
    groups = [tuple(range(2 * size * j, 2 * size * (j + 1))) for j in range(3)]
    rng = np.random.default_rng(0)
    for _ in range(6):
        coalition = frozenset(rng.permutation(n)[: rng.integers(1, 5)].tolist())
        draws = [protocol.exposed(parties=n, contributors=range(n), colluding=coalition, use=use) for use in range(250)]
        assert protocol.exposes(groups, coalition) == any(draws), coalition


def test_placements_see_the_clusters_and_not_all_members_as_one(dataset: Dataset) -> None:
    federation = build(hidden_cell(placement="packed", f=3), dataset)
    clustering = federation.policy(population=federation.population, cluster_size=3, seed=0, round_index=0)
    assert sorted(clustering.faulty_counts(federation.faulty).tolist()) == [0, 0, 0, 0, 3]
    assert int(np.count_nonzero(federation.faulty)) == 3
