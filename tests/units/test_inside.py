"""What clusters compute inside: means of sums, robust statistics, and what a round makes of them."""

import numpy as np
import pytest
import torch

from bench.cell import PLUGINS
from bench.datasets import datasets
from bench.experiment import parse_experiment
from bench.grid import expand, skip_reason
from bench.inside import computed, in_the_clear
from bench.observation import OpenedCluster, observe
from protocols.aggregators.mean import Mean
from protocols.hidden_sums import hidden_sums
from protocols.in_process import InProcessParties
from protocols.parties import OpenedSums
from protocols.playable import cluster_protocols, playable, robust_of
from protocols.registry import Spec
from protocols.secure_robust import robust_statistics
from protocols.secure_sum import secure_sums
from protocols.tolerance.verdict import FaultyProcesses, verdict
from protocols.types import Clustering, Traffic

UNIT = 2**16
WORDS = torch.tensor([[[1, 2], [3, 4], [1000, -1000]], [[2, 2], [2, 2], [5, 5]]]) * UNIT


def opened(spec: Spec, words: torch.Tensor = WORDS) -> OpenedSums:
    plain = in_the_clear(spec, words)
    return OpenedSums(sums=plain.sums, contributors=plain.contributors, kept=plain.kept, traffic=Traffic.none())


def test_what_is_opened_in_the_clear_is_what_is_opened_under_encryption() -> None:
    for name in ("additive", "median", "norm_check"):
        spec = cluster_protocols.resolve(name)
        encrypted = InProcessParties(3).open_sums(spec, WORDS)
        plain = opened(spec)
        assert torch.equal(encrypted.sums, plain.sums)
        assert encrypted.contributors == plain.contributors
        assert (plain.kept is None and encrypted.kept is None) or torch.equal(plain.kept, encrypted.kept)


def test_a_sum_stands_for_its_mean_and_a_median_for_itself() -> None:
    sums = computed(
        secure_sums.resolve("additive"), playable(Spec(name="additive")).ring, WORDS, opened(Spec(name="additive"))
    )
    assert torch.equal(sums[1].mean, torch.tensor([3.0, 3.0]).double())
    median = cluster_protocols.resolve("median")
    medians = computed(median, playable(median).ring, WORDS, opened(median))
    assert [each.mean.tolist() for each in medians] == [[3.0, 2.0], [2.0, 2.0]]
    assert all(each.exact and each.contributors == (0, 1, 2) for each in (*sums, *medians))


def test_who_fails_a_norm_check_is_no_contributor() -> None:
    spec = cluster_protocols.resolve("norm_check")
    found = computed(spec, playable(spec).ring, WORDS, opened(spec))
    assert [each.contributors for each in found] == [(0, 1), (0, 1, 2)]
    assert found[0].mean.tolist() == [2.0, 3.0]


def test_words_that_are_not_the_statistic_are_not_exact() -> None:
    spec = cluster_protocols.resolve("median")
    wrong = opened(spec)
    wrong.sums[0, 0] += 1
    assert [each.exact for each in computed(spec, playable(spec).ring, WORDS, wrong)] == [False, True]


def test_a_member_that_is_named_wrongly_is_not_exact() -> None:
    spec = cluster_protocols.resolve("norm_check")
    right = opened(spec)
    assert right.kept is not None
    assert [each.exact for each in computed(spec, playable(spec).ring, WORDS, right)] == [True, True]
    kept = right.kept ^ torch.tensor([[True], [False]])
    wrong = OpenedSums(sums=right.sums, contributors=right.contributors, kept=kept, traffic=Traffic.none())
    assert [each.exact for each in computed(spec, playable(spec).ring, WORDS, wrong)] == [False, True]


def test_all_kinds_are_on_the_axis_and_sums_are_not_robust() -> None:
    kinds = (secure_sums.entries(), robust_statistics.entries(), hidden_sums.entries())
    names = [name for entries in kinds for name in entries]
    assert sorted(names) == list(PLUGINS["protocol"].entries())
    assert len(set(names)) == len(names)
    assert robust_of(cluster_protocols.resolve("hidden")) is not None
    assert cluster_protocols.is_hidden("hidden")
    assert not cluster_protocols.is_hidden("median")
    assert robust_of(cluster_protocols.resolve("additive")) is None
    assert robust_of(cluster_protocols.resolve({"name": "krum", "selected": 2})) is not None


@pytest.mark.parametrize(("withstands", "near"), [(True, True), (False, False)])
def test_a_cluster_that_withstands_its_byzantine_members_counts_as_the_verdict_says(
    withstands: bool, near: bool
) -> None:
    clustering = Clustering(clusters=((0, 1, 2), (3, 4, 5)))
    faulty = FaultyProcesses(n=6, byzantine=frozenset({0, 3}), crashed=frozenset(), curious=frozenset())
    said = verdict(clustering, faulty, playable(cluster_protocols.resolve("median")).conditions, 1, tolerate=0)
    assert [each.correct for each in said.clusters] == [True, True]
    clusters = [
        OpenedCluster(number=j, contributors=each, exact=True, in_clear=False, withstands=withstands)
        for j, each in enumerate(clustering.clusters)
    ]
    means = torch.ones(2, 3, dtype=torch.float64)
    sizes = torch.tensor([3, 3])
    seen = observe(clusters, means, sizes, means[0], said=said, faulty=faulty, rule=Mean(), tolerate=0)
    assert seen.near_honest is near


@pytest.mark.parametrize("byzantine", [0, 1, 2])
def test_a_median_of_five_withstands_two_byzantine_inputs_by_its_conditions(byzantine: int) -> None:
    conditions = playable(cluster_protocols.resolve("median")).conditions
    counts = np.array([byzantine])
    assert not conditions.tainted(5, counts, 0 * counts).any()
    assert conditions.tainted(5, np.array([3]), 0 * counts).all()
    assert not conditions.exposed(5, counts, 0 * counts).any()
    assert conditions.exposed(5, np.array([3]), 0 * counts).all()
    assert playable(cluster_protocols.resolve("norm_check")).conditions.tainted(5, np.array([1]), 0 * counts).all()


@pytest.mark.parametrize(
    ("axes", "reason"),
    [
        ("protocol = 'median'\nprivacy = 'central'", "noise that is calibrated to sums, and median opens none"),
        ("protocol = 'krum'", "krum: tolerate = 1, selected = 1 do not fit 4 members"),
        ("protocol = {name = 'norm_check', norm = 5000.0}", "words of 29 bits and a sign may wrap around"),
        ("protocol = 'median'", None),
        ("protocol = {name = 'trimmed_mean', trim = 1}", None),
    ],
)
def test_what_makes_no_sense_inside_a_cluster_is_skipped_with_its_reason(axes: str, reason: str | None) -> None:
    digits = datasets.make(datasets.resolve("digits")).load(None)
    (cell,) = expand(parse_experiment(f"[defaults]\ndataset = 'digits'\n{axes}\n[[grid]]\nseed = 0\n", name="test"))
    found = skip_reason(cell, digits)
    assert found is None if reason is None else reason in str(found)
