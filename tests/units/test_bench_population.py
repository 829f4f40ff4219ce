"""A cell's population, its faults, what its rounds tell the policies, and the templates of both kinds of plug-in."""

import dataclasses
import importlib.util
import math
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from scipy import stats

from bench import federation as bench_federation
from bench import scaffold
from bench.catalogue import describe
from bench.cell import Cell, code_fingerprint
from bench.data import Dataset
from bench.experiment import parse_experiment
from bench.federation import _noise_name, build, move_faults, run_cell
from bench.grid import expand, skip_reason
from bench.outcome import _suspects
from bench.population import label_shares, make_population, place, with_trust
from bench.round import form_clusters, run_round
from bench.setting import Federation
from protocols.check import CloisterError
from protocols.clustering import clusterings
from protocols.in_process import InProcessParties
from protocols.placements import PlacementView, placements
from protocols.population import Population
from protocols.randomness import SecretStreams
from protocols.testing import clusterings as kit


@pytest.fixture(scope="module")
def parties() -> InProcessParties:
    return InProcessParties(24)


def cells_of(text: str) -> list[Cell]:
    return expand(
        parse_experiment(f"[[grid]]\nrounds = 2\nlocal_steps = 1\nprotocol = 'plaintext'\n{text}", name="test")
    )


def one_cell(text: str) -> Cell:
    (cell,) = cells_of(text)
    return cell


def population_of(cell: Cell) -> Population:
    labels = np.arange(200) % 10
    return make_population(cell, labels, np.array_split(np.arange(200), cell.n), 10)


class TestFacts:
    @pytest.mark.parametrize(("n", "domains"), [(20, 1), (20, 6), (7, 7), (13, 4)])
    def test_neighbours_share_a_domain_and_domains_differ_by_at_most_one_process(self, n: int, domains: int) -> None:
        assert_domains(population_of(one_cell(f"n = {n}\ncluster_size = 3\ndomains = {domains}")), domains)

    def test_domains_dealt_like_cards_are_seen(self) -> None:
        with pytest.raises(AssertionError):
            assert_domains(Population(n=20, domains=np.arange(20) % 6), 6)

    def test_features_are_the_shares_of_the_classes_among_the_rows(self) -> None:
        shares = label_shares(np.array([0, 0, 1, 2, 2, 2]), [np.array([0, 2]), np.array([1, 3, 4, 5])], 3)
        assert shares.tolist() == [[0.5, 0.5, 0.0], [0.25, 0.0, 0.75]]

    def test_features_are_those_of_the_rows_as_dealt_whatever_is_poisoned_later(self, digits: Dataset) -> None:
        plain, flipped = (build(one_cell(f"f = 5\nattack = '{name}'"), digits) for name in ("none", "label_flip"))
        assert not torch.equal(plain.data.labels, flipped.data.labels)
        first, second = (each.population.fact("features", reader="test") for each in (plain, flipped))
        assert (first == second).all()

    def test_sites_are_far_from_each_other_and_their_processes_near(self) -> None:
        positions = population_of(one_cell("n = 20\ndomains = 2")).fact("positions", reader="test")
        around = max(float(np.ptp(part, axis=0).max()) for part in (positions[:10], positions[10:]))
        assert around < 0.05
        assert float(np.linalg.norm(positions[:10].mean(axis=0) - positions[10:].mean(axis=0))) > 0.02

    @pytest.mark.parametrize("quality", [0.5, 0.6, 0.9, 0.99])
    def test_an_honest_process_is_trusted_more_than_a_faulty_one_with_that_probability(self, quality: float) -> None:
        assert_quality(lambda population, faulty: with_trust(population, faulty, quality), quality)

    def test_scores_of_another_quality_are_seen(self) -> None:
        with pytest.raises(AssertionError, match="of all pairs"):
            assert_quality(lambda population, faulty: with_trust(population, faulty, 0.65), 0.6)

    def test_at_one_half_scores_say_nothing_and_at_one_all(self) -> None:
        population = population_of(one_cell("n = 20"))
        faulty = np.arange(20) < 8
        assert (with_trust(population, faulty, 0.5) == population.fact("trust", reader="test")).all()
        assert (with_trust(population, faulty, 1.0)[8:] == 1.0).all()
        assert (with_trust(population, faulty, 1.0)[:8] < 1.0).all()


def assert_domains(population: Population, count: int) -> None:
    domains = population.fact("domains", reader="test")
    sizes = np.bincount(domains)
    assert len(sizes) == count
    assert sizes.max() - sizes.min() <= 1
    assert (np.diff(domains) >= 0).all()


def assert_quality(trust_of: Any, quality: float) -> None:
    """The part of ordered pairs is a Mann-Whitney statistic of 10,000 x 10,000: std at most sqrt(2 / 12 / 10,000).

    (Under no information; other qualities vary less.) Six standard deviations, 0.025, are exceeded with probability
    below 2e-9; a quality that is 0.05 off is missed with as little.
    """
    n = 20_000
    rng = np.random.default_rng(1)
    population = Population(n=n, trust=rng.random(n))
    faulty = np.arange(n) % 2 == 0
    trust = trust_of(population, faulty)
    won = stats.mannwhitneyu(trust[~faulty], trust[faulty]).statistic / (n / 2) ** 2
    assert abs(won - quality) < 6 * math.sqrt(2 / 12 / 10_000), f"honest processes win in {won} of all pairs"


class TestPlacementsInCells:
    def test_the_clusters_of_round_0_are_what_a_placement_sees(self, digits: Dataset) -> None:
        for policy in ("random", "similarity", "round_robin", "segregated"):
            federation = build(one_cell(f"f = 6\nplacement = 'packed'\nclustering = '{policy}'"), digits)
            counts = form_clusters(federation, 0).faulty_counts(federation.faulty)
            assert sorted(counts.tolist(), reverse=True) == [4, 2, 0, 0, 0]

    def test_one_that_sees_other_clusters_is_seen(self, digits: Dataset) -> None:
        federation = build(one_cell("f = 6\nplacement = 'packed'\nclustering = {name = 'random', every = 1}"), digits)
        counts = form_clusters(federation, 1).faulty_counts(federation.faulty)
        assert sorted(counts.tolist(), reverse=True) != [4, 2, 0, 0, 0]

    def test_worst_judges_by_the_cells_own_protocol(self, digits: Dataset) -> None:
        """Additive sums fall to one Byzantine member a cluster, and f = 5 of 5 clusters is more than a median takes."""
        federation = build(one_cell("f = 5\nplacement = {name = 'worst', aim = 'correct'}"), digits)
        assert form_clusters(federation, 0).faulty_counts(federation.faulty).tolist() == [1] * 5

    def test_faults_move_from_round_to_round_where_the_placement_moves_them(
        self, digits: Dataset, parties: InProcessParties
    ) -> None:
        """Two clusters of ten: the five faults gather in the one that has more of them, one a round."""
        cell = dataclasses.replace(one_cell("f = 5\nseed = 1\nplacement = 'targeted'\ncluster_size = 10"), rounds=4)
        masks = masks_of(cell, digits, parties)
        clusters = form_clusters(build(cell, digits), 0)
        most = [int(clusters.faulty_counts(mask).max()) for mask in masks]
        assert most[0] < 5
        assert most == [min(5, most[0] + round_index) for round_index in range(4)]

    def test_they_stay_where_it_does_not(self, digits: Dataset, parties: InProcessParties) -> None:
        masks = masks_of(one_cell("f = 5\nplacement = 'spread'"), digits, parties)
        assert (masks[0] == masks[1]).all()

    def test_a_placement_that_leaves_nobody_honest_or_has_another_shape_is_refused(self) -> None:
        view = PlacementView(population=Population(n=4), f=2, conditions=mock.Mock(), tolerate=1, seed=0)
        for mask, reason in (
            (np.ones(4, dtype=bool), "makes every process faulty"),
            (np.ones(3, dtype=bool), r"\(3,\)"),
        ):
            with pytest.raises(CloisterError, match=reason):
                place(mock.Mock(return_value=mask), view)

    def test_the_code_that_judges_is_in_the_key_of_a_cell_that_uses_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        worst, uniform = one_cell("placement = 'worst'"), one_cell("placement = 'uniform'")
        before = code_fingerprint(worst), code_fingerprint(uniform)
        original = Path.read_bytes
        changed = lambda self: original(self) + (b"#" if self.parent.name == "tolerance" else b"")  # noqa: E731
        monkeypatch.setattr(Path, "read_bytes", changed)
        assert code_fingerprint(worst) != before[0]
        assert code_fingerprint(uniform) == before[1]


def masks_of(cell: Cell, digits: Dataset, parties: InProcessParties) -> list[np.ndarray]:
    """The faults of each round of a run."""
    return [each.faulty for each in federations_of(cell, digits, parties)]


def federations_of(cell: Cell, digits: Dataset, parties: InProcessParties) -> list[Federation]:
    seen: list[Federation] = []

    def spy(federation: Federation, *rest: Any) -> Any:
        seen.append(federation)
        return run_round(federation, *rest)

    with mock.patch.object(bench_federation, "run_round", spy):
        run_cell(cell, digits, parties)
    return seen


class TestReports:
    def test_a_policy_that_learns_is_told_of_every_past_round(self, digits: Dataset, parties: InProcessParties) -> None:
        seen = federations_of(dataclasses.replace(one_cell("clustering = 'reputation'"), rounds=3), digits, parties)
        assert [[each.round_index for each in one.population.past(reader="test")] for one in seen] == [[], [0], [0, 1]]

    def test_one_that_does_not_learn_costs_no_memory(self, digits: Dataset, parties: InProcessParties) -> None:
        assert all(each.population.reports == () for each in federations_of(one_cell(""), digits, parties))

    def test_a_report_names_members_by_their_numbers_among_all(
        self, digits: Dataset, parties: InProcessParties
    ) -> None:
        cell = one_cell("n = 12\ncluster_size = 3\nparticipation = 0.5")
        federation = build(cell, digits)
        outcome = run_round(federation, torch.zeros(federation.network.dimension), 0, parties)
        members = sorted(member for cluster in outcome.report.clusters for member in cluster)
        assert len(members) == 6
        assert max(members) > 5
        assert members == sorted(bench_federation_participants(federation))

    def test_far_means_are_suspected_at_most_as_many_as_are_tolerated(self) -> None:
        means = torch.tensor([[0.0], [0.1], [-0.1], [9.0], [-7.0]], dtype=torch.float64)
        combined = torch.zeros(1, dtype=torch.float64)
        assert sorted(_suspects(means, combined, 2)) == [3, 4]
        assert _suspects(means, combined, 1) == [3]
        assert _suspects(means, combined, 0) == []
        assert _suspects(torch.ones(4, 1, dtype=torch.float64), combined, 1) == []

    def test_a_mean_that_is_no_number_is_suspected_and_hides_no_other_one(self) -> None:
        means = torch.tensor([[0.0], [0.1], [math.nan], [9.0], [-0.1]], dtype=torch.float64)
        assert sorted(_suspects(means, torch.zeros(1, dtype=torch.float64), 2)) == [2, 3]

    def test_reputation_packs_those_who_are_suspected_again_and_again(
        self, digits: Dataset, parties: InProcessParties
    ) -> None:
        """Six of 24 flip signs in pairs; after twelve rounds they are in fewer clusters than at first."""
        text = "n = 24\nf = 4\ncluster_size = 3\nattack = 'sign_flip'\nclustering = {name = 'reputation', pack = true}"
        cell = dataclasses.replace(one_cell(text), rounds=12, local_steps=3, learning_rate=0.5)
        seen = federations_of(cell, digits, parties)
        tainted = [int((form_clusters(each, t).faulty_counts(each.faulty) > 0).sum()) for t, each in enumerate(seen)]
        assert np.mean(tainted[-3:]) < np.mean(tainted[:3])


def bench_federation_participants(federation: Federation) -> list[int]:
    from bench.round import _participants

    return _participants(federation, 0).tolist()


class TestNoise:
    def test_the_noise_of_published_results_stays_what_it_was(self) -> None:
        """The name is that of the cells before placements and facts were axes, word for word."""
        name = _noise_name(one_cell("clustering = 'singletons'\nprivacy = 'local'"))
        assert list(name)[:8] == [
            *("dataset", "partition", "model", "attack"),
            *("clustering", "protocol", "aggregator", "privacy"),
        ]
        assert name["clustering"] == {"name": "none"}
        assert not {"placement", "domains", "trust_quality"} & set(name)
        words = SecretStreams.replayable(0, "privacy noise", name).words(use=0, lanes=1, count=1)
        assert words.item() == GOLDEN

    @pytest.mark.parametrize("axis", ["placement = 'iid'", "domains = 2", "trust_quality = 0.75"])
    def test_cells_that_differ_in_a_new_axis_do_not_share_their_noise(self, axis: str) -> None:
        assert _noise_name(one_cell(axis)) != _noise_name(one_cell(""))


GOLDEN = 2156059453066487880


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("placement = 'packed'\nparticipation = 0.5", "packed sees the clusters of all processes, and only 10 of 20"),
        ("placement = 'targeted'\nparticipation = 0.5", "targeted sees the clusters"),
        ("placement = 'targeted'\nattack = 'label_flip'\nf = 2", "label_flip poisons data before the first"),
        ("placement = 'by_domain'", "by_domain makes failure domains fail, and domains = 1"),
        (
            "placement = 'heterogeneous'\ntrust_quality = 0.9",
            "trust scores, which trust_quality = 0.9 makes of the faults",
        ),
        ("placement = 'worst'\ntrust_quality = 0.9\nclustering = 'segregated'", "makes of the faults"),
        ("clustering = 'stratified'", "stratified spreads failure domains, and domains = 1"),
        ("clustering = 'sticky'\nparticipation = 0.5", "sticky keeps processes together, and only 10 of 20"),
        ("clustering = 'overlapping'\nparticipation = 0.5", "overlapping keeps processes together"),
        ("clustering = {name = 'overlapping', times = 9}", "overlapping: times = 9 partitions"),
        ("clustering = {name = 'sticky', batch = 30}", "sticky: batch = 30 does not fit"),
        ("clustering = 'reputation'\nprivacy = 'central'", "central protects by later noise only"),
    ],
)
def test_a_combination_that_makes_no_sense_is_skipped_with_its_reason(digits: Dataset, text: str, reason: str) -> None:
    assert reason in str(skip_reason(one_cell(text), digits))


@pytest.mark.parametrize(
    "text",
    [
        "placement = 'worst'\ntrust_quality = 0.9",
        "placement = 'by_domain'\ndomains = 4",
        "clustering = 'reputation'\nprivacy = 'local'",
        "clustering = 'segregated'\ntrust_quality = 0.9",
        "placement = 'targeted'\nattack = 'sign_flip'\nf = 2",
    ],
)
def test_one_that_does_is_not(digits: Dataset, text: str) -> None:
    assert skip_reason(one_cell(text), digits) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("domains = 0", "domains = 0 is not allowed"),
        ("domains = 21", "domains = 21 of n = 20 processes is not allowed; allowed: 1 to 20"),
        ("trust_quality = 0.4", "trust_quality = 0.4 is not allowed; allowed: 0.5"),
        ("trust_quality = 1.1", "trust_quality = 1.1 is not allowed"),
        ("placement = 'pakced'", r"placement = 'pakced' is unknown \(did you mean 'packed'\?\)"),
        ("placement = {name = 'worst', aim = 'all'}", "aim = 'all' is not allowed"),
    ],
)
def test_a_mistake_is_one_clear_error(text: str, reason: str) -> None:
    with pytest.raises(CloisterError, match=reason):
        one_cell(text)


def test_cluster_sizes_that_change_nothing_are_run_once() -> None:
    cells = cells_of("clustering = ['singletons', 'single', 'random']\ncluster_size = [4, 5]")
    assert [(cell.clustering.name, cell.cluster_size) for cell in cells] == [
        ("singletons", 1),
        ("single", 20),
        ("random", 4),
        ("random", 5),
    ]


@pytest.mark.parametrize("policy", sorted(clusterings.entries()))
@pytest.mark.parametrize("placement", ["iid", "worst", "targeted", "by_domain", "heterogeneous"])
def test_every_policy_trains_under_placements_of_every_kind(
    digits: Dataset, parties: InProcessParties, policy: str, placement: str
) -> None:
    text = f"n = 24\nf = 4\ndomains = 4\nclustering = '{policy}'\nplacement = '{placement}'\nattack = 'sign_flip'"
    cell = one_cell(text)
    assert skip_reason(cell, digits) is None
    metrics = run_cell(cell, digits, parties).metrics
    assert metrics["sum_exact"]
    assert metrics["failed_clusters"] == 0


def test_placements_are_in_the_list() -> None:
    assert {item["name"] for item in describe("placements")} == set(placements.entries())


class TestTemplates:
    def written(self, path: Path) -> Any:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        # dataclass() looks its module up.
        with mock.patch.dict("sys.modules", {path.stem: module}):
            spec.loader.exec_module(module)
        return module

    def test_a_new_policy_conforms_as_it_is_written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(clusterings, "_entries", dict(clusterings.entries()))
        self.written(scaffold.new_clustering("my_policy", tmp_path))
        specs = [spec for spec in kit.example_specs() if spec.name == "my_policy"]
        assert len(specs) == 2
        for spec in specs:
            for check in kit.conformance_checks(spec):
                check(spec)

    def test_a_new_placement_works_as_it_is_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: Dataset
    ) -> None:
        monkeypatch.setattr(placements, "_entries", dict(placements.entries()))
        self.written(scaffold.new_placement("my_placement", tmp_path))
        mask = build(one_cell("f = 6\nplacement = 'my_placement'"), digits).faulty
        assert mask.sum() == 6
        assert np.abs(np.diff(mask.astype(int))).sum() <= 2

    @pytest.mark.parametrize("new", [scaffold.new_clustering, scaffold.new_placement])
    def test_a_name_that_is_taken_or_no_name_is_refused(self, new: Any, tmp_path: Path) -> None:
        taken = "random" if new is scaffold.new_clustering else "worst"
        for name, reason in ((taken, "is taken by"), ("My-Thing", "allowed: a lower-case Python name")):
            with pytest.raises(CloisterError, match=reason):
                new(name, tmp_path)


def test_faults_that_move_keep_their_number(digits: Dataset) -> None:
    cell = one_cell("f = 5\nplacement = 'targeted'\nclustering = {name = 'random', every = 1}")
    federation = build(cell, digits)
    for round_index in range(1, 4):
        federation = move_faults(cell, federation, round_index)
        assert federation.faulty.sum() == 5
