"""One round against a slow reference, and what noise, attackers and divergence do to it."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from scipy import stats

from bench import round as bench_round
from bench.cell import Cell
from bench.data import Dataset
from bench.experiment import parse_experiment
from bench.federation import build, run_cell
from bench.grid import expand
from bench.round import DivergedError, RoundOutcome, _participants, run_round
from bench.setting import Federation
from bench.training import train_locally
from protocols.aggregators import NOTHING, Aggregator, Given
from protocols.check import CloisterError
from protocols.in_process import InProcessParties
from protocols.network import NetworkError, PartyCrashedError
from protocols.parties import OpenedSums
from protocols.randomness import public_stream
from protocols.registry import Spec
from protocols.types import Cost, Traffic
from tests.rounds import start


def one_cell(text: str) -> Cell:
    (cell,) = expand(parse_experiment(f"[[grid]]\nrounds = 2\nlocal_steps = 1\n{text}", name="test"))
    return cell


def without_noise(federation: Federation) -> Federation:
    none = type("Silent", (), {"member_std": lambda self, size: 0.0, "result_std": lambda self, s, n: 0.0})
    mechanism = federation.mechanism

    class Clipped(none):
        clip_norm = mechanism.clip_norm
        noise_multiplier_of = staticmethod(mechanism.noise_multiplier_of)

    return dataclasses.replace(federation, mechanism=Clipped())


@pytest.mark.parametrize("attack", ["none", "sign_flip", "ipm"])
@pytest.mark.parametrize("privacy", ["none", "{name = 'local', noise_multiplier = 1e-9, clip_norm = 0.5}"])
def test_a_round_of_plain_means_equals_a_slow_reference(
    digits: Dataset, parties: InProcessParties, attack: str, privacy: str
) -> None:
    """Each process by itself in float64; the round differs by its fixed point only.

    Each of n words is off by at most half a unit, so their mean is too.
    """
    quoted = privacy if privacy.startswith("{") else f"'{privacy}'"
    cell = one_cell(f"n = 11\nf = 3\ncluster_size = 3\naggregator = 'mean'\nattack = '{attack}'\nprivacy = {quoted}")
    federation = without_noise(build(cell, digits)) if "local" in privacy else build(cell, digits)
    model = start(federation)
    outcome = run_round(federation, model, 0, parties)

    rng = public_stream(cell.seed, "batches", 0)
    updates = train_locally(federation.network, model, federation.data, federation.training, rng).double()
    rows = []
    for update in updates:
        norm = float(update.norm())
        limit = federation.mechanism.clip_norm
        rows.append(update * min(1.0, limit / norm) if limit is not None else update)
    honest = [row for row, faulty in zip(rows, federation.faulty, strict=True) if not faulty]
    for process in np.flatnonzero(federation.faulty):
        if attack == "sign_flip":
            rows[process] = -4.0 * rows[process]
        if attack == "ipm":
            rows[process] = -sum(honest) / len(honest)
    expected = sum(rows) / len(rows)
    step = outcome.model.double() - model.double()
    # float32 keeps 24 bits of the new model; the fixed point half a unit in each of n words.
    allowed = federation.ring.unit / 2 + float(outcome.model.abs().max()) * 2.0**-23
    assert float((step - expected).abs().max()) <= allowed
    assert outcome.sum_exact


@pytest.mark.parametrize("rule", ["mean", "median"])
def test_the_encrypted_protocol_gives_the_same_model_as_the_plaintext_one(
    digits: Dataset, parties: InProcessParties, rule: str
) -> None:
    cells = [
        one_cell(f"n = 10\nf = 2\ncluster_size = 4\naggregator = '{rule}'\nprotocol = '{name}'")
        for name in ("additive", "plaintext")
    ]
    first, second = (run_cell(cell, digits, parties) for cell in cells)
    assert [point["accuracy"] for point in first.curve] == [point["accuracy"] for point in second.curve]
    assert first.metrics["loss"] == second.metrics["loss"]
    assert first.metrics["bytes_mpc"] > second.metrics["bytes_mpc"] > 0
    for measured in (first.metrics, second.metrics):
        parts = [measured[f"bytes_{part}"] for part in ("offline", "mpc", "upload")]
        assert parts[0] == 0
        assert sum(parts) == measured["bytes_total"]
        assert measured["failed_clusters"] == 0


def test_running_a_cell_again_gives_the_same_accuracies_to_the_last_digit(
    digits: Dataset, parties: InProcessParties
) -> None:
    cell = one_cell(
        "n = 9\nf = 2\ncluster_size = 3\nattack = 'gaussian'\nprivacy = {name = 'distributed', noise_multiplier = 0.1}"
    )
    curves = [[(point["accuracy"], point["loss"]) for point in run_cell(cell, digits, parties).curve] for _ in range(2)]
    assert curves[0] == curves[1]
    other = run_cell(dataclasses.replace(cell, seed=1), digits, parties)
    assert curves[0] != [(point["accuracy"], point["loss"]) for point in other.curve]


class _Recorder:
    """Passes words on to real parties and keeps them."""

    def __init__(self, inner: InProcessParties) -> None:
        self.inner = inner
        self.words: list[torch.Tensor] = []

    @property
    def spent(self) -> Traffic:
        return self.inner.spent

    def open_sums(self, protocol: Spec, words: torch.Tensor, **how: Any) -> OpenedSums:
        self.words.append(words.clone())
        return self.inner.open_sums(protocol, words, **how)


def residual_noise(
    digits: Dataset, parties: InProcessParties, privacy: str, f: int, attack: str = "sign_flip"
) -> tuple[Federation, torch.Tensor]:
    """The noise in the opened sums of one round: with noise minus without, in floating point, (clusters, d)."""
    cell = one_cell(
        f"n = 12\nf = {f}\ncluster_size = 4\nclustering = 'round_robin'\nprivacy = {privacy}\nattack = '{attack}'"
    )
    federation = build(cell, digits)
    recorders = _Recorder(parties), _Recorder(parties)
    model = start(federation)
    run_round(federation, model, 0, recorders[0])
    run_round(without_noise(federation), model, 0, recorders[1])
    noisy, silent = (recorder.words[0] for recorder in recorders)
    return federation, federation.ring.decode(noisy - silent)


class TestNoise:
    """A chi-square of d = 2,410 coordinates and 3 clusters, 7,230 draws: alpha = 1e-7 on each side.

    False alarms: 4 tests x 2e-7 < 1e-6 a run, and the streams are fixed. Power: a standard deviation that is
    10 % off moves the statistic by 20 % of its mean, 12 of its standard deviations: missed with P < 1e-9.
    """

    ALPHA = 1e-7

    def check(self, draws: torch.Tensor, std: float) -> None:
        statistic = float((draws / std).square().sum())
        low, high = (float(stats.chi2.ppf(q, draws.numel())) for q in (self.ALPHA, 1 - self.ALPHA))
        assert low < statistic < high

    def test_local_noise_has_the_full_std_in_every_members_words(
        self, digits: Dataset, parties: InProcessParties
    ) -> None:
        _, noise = residual_noise(digits, parties, "{name = 'local', clip_norm = 2.0, noise_multiplier = 0.5}", f=0)
        self.check(noise[:, 0], 1.0)

    def test_distributed_noise_adds_up_to_the_target_in_the_clusters_sum(
        self, digits: Dataset, parties: InProcessParties
    ) -> None:
        _, noise = residual_noise(
            digits, parties, "{name = 'distributed', clip_norm = 2.0, noise_multiplier = 0.5}", f=0
        )
        self.check(noise.sum(dim=1), 1.0)
        self.check(noise[:, 0], 0.5)

    def test_any_members_but_the_non_adders_carry_the_target(self, digits: Dataset, parties: InProcessParties) -> None:
        privacy = "{name = 'distributed', clip_norm = 2.0, noise_multiplier = 0.5, non_adders = 2}"
        _, noise = residual_noise(digits, parties, privacy, f=0)
        self.check(noise[:, 1:3].sum(dim=1), 1.0)

    def test_noise_that_is_scaled_for_all_members_where_some_do_not_add_is_seen(
        self, digits: Dataset, parties: InProcessParties
    ) -> None:
        _, noise = residual_noise(
            digits, parties, "{name = 'distributed', clip_norm = 2.0, noise_multiplier = 0.5}", f=0
        )
        with pytest.raises(AssertionError):
            self.check(noise[:, 1:3].sum(dim=1), 1.0)

    def test_byzantine_members_add_none_and_epsilon_says_so(self, digits: Dataset, parties: InProcessParties) -> None:
        federation, noise = residual_noise(digits, parties, "{name = 'distributed', noise_multiplier = 0.5}", f=5)
        faulty = torch.from_numpy(federation.faulty)
        silent = noise.abs().sum(dim=2) == 0  # (clusters, members)
        members = torch.tensor([list(range(j, 12, 3)) for j in range(3)])
        assert torch.equal(silent, faulty[members])
        outcome = run_round(federation, start(federation), 1, parties)
        assert outcome.multipliers is not None
        slack = 1 + 0.5 * federation.ring.unit * math.sqrt(federation.network.dimension)
        for row in members.tolist():
            adders = [process for process in row if not federation.faulty[process]]
            for process in adders:
                expected = 0.5 * math.sqrt(len(adders) / 4) / slack
                assert outcome.multipliers[process] == pytest.approx(expected, rel=1e-12)

    @pytest.mark.parametrize("attack", ["none", "label_flip"])
    def test_faulty_processes_that_follow_the_protocol_add_theirs(
        self, digits: Dataset, parties: InProcessParties, attack: str
    ) -> None:
        privacy = "{name = 'distributed', noise_multiplier = 0.5}"
        _, noise = residual_noise(digits, parties, privacy, f=5, attack=attack)
        assert bool((noise.abs().sum(dim=2) > 0).all())

    def test_two_rounds_and_two_members_never_share_their_noise(
        self, digits: Dataset, parties: InProcessParties
    ) -> None:
        """Correlation of independent draws: |r| > 6 / sqrt(7,230) has probability below 1e-8."""
        cell = one_cell(
            "n = 12\ncluster_size = 4\nclustering = 'round_robin'\nprivacy = {name = 'local', noise_multiplier = 1.0}"
        )
        federation = build(cell, digits)
        recorder = _Recorder(parties)
        for round_index in range(2):
            run_round(federation, start(federation), round_index, recorder)
        first, second = (federation.ring.decode(words).flatten(0, 1) for words in recorder.words)
        for a, b in ((first[0], first[1]), (first[0], second[0])):
            assert abs(float(torch.corrcoef(torch.stack([a, b]))[0, 1])) < 6 / math.sqrt(len(a))

    def test_noise_below_the_grid_of_the_ring_is_refused(self, digits: Dataset, parties: InProcessParties) -> None:
        cell = one_cell("privacy = {name = 'local', noise_multiplier = 1e-5}")
        with pytest.raises(CloisterError, match="does not fit the ring; allowed"):
            run_cell(cell, digits, parties)


class TestEpsilon:
    def test_without_privacy_it_is_infinite(self, digits: Dataset, parties: InProcessParties) -> None:
        assert run_cell(one_cell(""), digits, parties).metrics["epsilon"] == "inf"

    def test_central_noise_on_a_rule_without_a_proved_sensitivity_is_unsupported(
        self, digits: Dataset, parties: InProcessParties
    ) -> None:
        cell = one_cell("aggregator = 'krum'\nprivacy = {name = 'central', noise_multiplier = 0.1}")
        assert run_cell(cell, digits, parties).metrics["epsilon"] == "unsupported"

    @pytest.mark.parametrize("name", ["local", "distributed", "central"])
    def test_an_attacker_who_sees_updates_without_their_noise_leaves_it_unsupported(
        self, digits: Dataset, parties: InProcessParties, name: str
    ) -> None:
        text = f"f = 2\nprivacy = {{name = '{name}', noise_multiplier = 1.0}}\nattack = "
        assert run_cell(one_cell(f"{text}'ipm'"), digits, parties).metrics["epsilon"] == "unsupported"
        assert float(run_cell(one_cell(f"{text}'sign_flip'"), digits, parties).metrics["epsilon"]) > 0

    @pytest.mark.parametrize(
        ("settings", "shares"),
        [
            ("protocol = 'additive'", 4),
            ("protocol = 'plaintext'", 1),  # anybody on the wire sees each input
            ("protocol = 'shamir'", 4),
            ("protocol = 'shamir'\ncurious = 11", 1),  # the colluding members of its cluster open each input
        ],
    )
    def test_it_counts_the_shares_that_hide_an_update_from_those_who_see_the_most(
        self, digits: Dataset, parties: InProcessParties, settings: str, shares: int
    ) -> None:
        """Of four members' shares, of half the noise each, where only the sum is seen; else of one's own."""
        privacy = "privacy = {name = 'distributed', noise_multiplier = 1.0}\n"
        cell = one_cell(f"n = 12\ncluster_size = 4\n{privacy}{settings}")
        federation = build(cell, digits)
        outcome = run_round(federation, start(federation), 0, parties)
        assert outcome.multipliers is not None
        slack = 1 + 0.5 * federation.ring.unit * math.sqrt(federation.network.dimension)
        honest = outcome.multipliers[~federation.curious]
        assert honest == pytest.approx(math.sqrt(shares / 4) / slack, rel=1e-12)

    def test_what_it_leaves_out_is_said(self, digits: Dataset, parties: InProcessParties) -> None:
        privacy = "privacy = {name = 'local', noise_multiplier = 1.0}\n"
        found = {
            text: run_cell(one_cell(text), digits, parties).metrics["epsilon_leaves_out"]
            for text in (
                f"{privacy}clustering = 'similarity'",
                f"{privacy}clustering = 'random'",
                "clustering = 'similarity'",
            )
        }
        assert list(found.values()) == ["label shares, which clusters are formed by", "", ""]

    @pytest.mark.parametrize(
        ("settings", "said"),
        [("f = 2", True), ("f = 2\ncluster_size = 1\nclustering = 'singletons'", False), ("f = 0", False)],
    )
    def test_it_leaves_out_what_shows_where_a_sum_wraps_around_before_its_noise(
        self, digits: Dataset, parties: InProcessParties, settings: str, said: bool
    ) -> None:
        cell = one_cell(f"aggregator = 'mean'\nattack = 'none'\nprivacy = 'central'\n{settings}")
        found = run_cell(cell, digits, parties).metrics["epsilon_leaves_out"]
        assert ("wraps around" in found) is said

    def test_nothing_is_stated_of_a_run_without_a_finished_round(
        self, digits: Dataset, parties: InProcessParties
    ) -> None:
        metrics = run_cell(one_cell("learning_rate = 1e30"), digits, parties).metrics
        assert metrics["epsilon"] is None
        assert metrics["sum_exact"] is None

    def test_it_is_the_same_for_local_and_central_noise_of_one_multiplier(
        self, digits: Dataset, parties: InProcessParties
    ) -> None:
        local, central = (
            float(
                run_cell(one_cell(f"privacy = {{name = '{name}', noise_multiplier = 2.0}}"), digits, parties).metrics[
                    "epsilon"
                ]
            )
            for name in ("local", "central")
        )
        assert local == central


def test_attack_success_is_stated_only_where_somebody_attacks(digits: Dataset, parties: InProcessParties) -> None:
    assert run_cell(one_cell("f = 0\nattack = 'sign_flip'"), digits, parties).metrics["attack_success"] is None
    assert run_cell(one_cell("f = 4\nattack = 'none'"), digits, parties).metrics["attack_success"] is None
    assert run_cell(one_cell("f = 4\nattack = 'label_flip'"), digits, parties).metrics["attack_success"] is not None


def test_cells_of_one_seed_do_not_share_their_noise(digits: Dataset, parties: InProcessParties) -> None:
    """Else the difference of two cells' results would show the updates."""
    noises = []
    for multiplier in (0.5, 1.0):
        privacy = f"{{name = 'local', noise_multiplier = {multiplier}}}"
        _, noise = residual_noise(digits, parties, privacy, f=0)
        noises.append(noise[0, 0] / multiplier)
    # Independent draws are more than 6 / sqrt(2,410) correlated with probability below 1e-8.
    assert abs(float(torch.corrcoef(torch.stack(noises))[0, 1])) < 6 / math.sqrt(2410)


def test_faults_are_placed_the_same_for_every_attack_and_differently_for_another_seed(digits: Dataset) -> None:
    """The draws are those of the first published results: NumPy's choice without replacement, from its own stream."""
    cells = [one_cell(f"n = 50\nf = 10\nattack = '{name}'") for name in ("none", "ipm", "label_flip")]
    masks = [build(cell, digits).faulty for cell in cells]
    expected = np.zeros(50, dtype=bool)
    expected[public_stream(0, "placement").choice(50, size=10, replace=False)] = True
    assert all((mask == expected).all() for mask in masks)
    assert (build(dataclasses.replace(cells[0], seed=1), digits).faulty != expected).any()


def test_label_flipping_changes_the_labels_of_faulty_processes_only(digits: Dataset) -> None:
    cell = one_cell("f = 5\nattack = 'label_flip'")
    federation = build(cell, digits)
    changed = federation.data.labels != digits.y_train
    for process in range(cell.n):
        rows = federation.data.rows[process, : federation.data.counts[process]]
        assert bool(changed[rows].all()) == bool(federation.faulty[process])
        assert bool(changed[rows].any()) == bool(federation.faulty[process])


def test_the_rule_is_told_of_clusters_not_of_processes(digits: Dataset, parties: InProcessParties) -> None:
    """Six faulty of twelve processes taint at most four clusters, of which a median tolerates one."""
    seen: list[int] = []
    federation = build(one_cell("n = 12\nf = 6\ncluster_size = 3\naggregator = 'median'"), digits)

    class Spy:
        def __call__(self, means: torch.Tensor, sizes: torch.Tensor, tolerate: int, given: Given) -> torch.Tensor:
            seen.append(tolerate)
            return federation.rule(means, sizes, tolerate, given)

        breakdown = staticmethod(federation.rule.breakdown)
        sensitivity = staticmethod(federation.rule.sensitivity)
        coefficient = staticmethod(federation.rule.coefficient)

    run_round(dataclasses.replace(federation, rule=Spy()), start(federation), 0, parties)
    assert seen == [1]


@dataclasses.dataclass
class _Lossy:
    """Sums of 4 clusters of 3 that member 1 of every cluster does not get into, or that some clusters never open.

    A batch with a failing cluster fails as a whole. `claimed` members are said to be in the sums.
    """

    failing: tuple[int, ...] = ()
    claimed: tuple[int, ...] = (0, 2)
    asked: list[torch.Tensor] = dataclasses.field(default_factory=list)

    @property
    def spent(self) -> Traffic:
        return Traffic.none()

    def open_sums(self, protocol: Spec, words: torch.Tensor, **_: Any) -> OpenedSums:
        self.asked.append(words.clone())
        first = self.asked[0]
        if any(torch.equal(cluster, first[j]) for cluster in words for j in self.failing):
            raise PartyCrashedError("a member is gone")
        traffic = dataclasses.replace(Traffic.none(), upload=Cost.none(rounds=1))
        return OpenedSums(sums=words[:, [0, 2]].sum(dim=1), contributors=self.claimed, traffic=traffic)


class _SpyRule:
    """The rule of a federation, and what it was given."""

    def __init__(self, rule: Aggregator) -> None:
        self._rule = rule
        self.means: torch.Tensor | None = None
        self.sizes: list[int] = []
        self.breakdown = rule.breakdown
        self.sensitivity = rule.sensitivity
        self.coefficient = rule.coefficient

    def __call__(self, means: torch.Tensor, sizes: torch.Tensor, tolerate: int, given: Given = NOTHING) -> torch.Tensor:
        self.means, self.sizes = means, sizes.tolist()
        return self._rule(means, sizes, tolerate, given)


def lossy_round(digits: Dataset, parties: _Lossy, f: int = 0) -> tuple[RoundOutcome, _SpyRule]:
    text = f"n = 12\nf = {f}\ncluster_size = 3\naggregator = 'mean'\nclustering = 'round_robin'"
    federation = build(one_cell(text), digits)
    spy = _SpyRule(federation.rule)
    return run_round(dataclasses.replace(federation, rule=spy), start(federation), 0, parties), spy


def assert_divides_by_the_contributors(digits: Dataset) -> None:
    parties = _Lossy()
    outcome, spy = lossy_round(digits, parties)
    (words,) = parties.asked
    unit = build(one_cell("n = 12"), digits).ring.unit
    assert spy.sizes == [2] * 4
    assert spy.means is not None
    assert torch.equal(spy.means, words[:, [0, 2]].sum(dim=1).double() * unit / 2)
    assert outcome.sum_exact


def assert_leaves_the_failed_cluster_out(digits: Dataset) -> None:
    whole = lossy_round(digits, _Lossy())[1].means
    parties = _Lossy(failing=(2,))
    outcome, spy = lossy_round(digits, parties)
    assert (outcome.clusters, outcome.failed_clusters) == (3, 1)
    assert spy.sizes == [2] * 3
    assert whole is not None
    assert spy.means is not None
    assert torch.equal(spy.means, whole[[0, 1, 3]])
    assert [len(words) for words in parties.asked] == [4, 1, 1, 1, 1]
    assert outcome.traffic.upload.rounds == 1


def all_added(opened: Any) -> Any:
    means = opened.means * opened.added[:, None] / 3
    return dataclasses.replace(opened, means=means, contributors=[(0, 1, 2)] * len(opened.numbers))


def zeros_added(opened: Any) -> Any:
    """A failed cluster as one that sent nothing but zeros."""
    means = torch.zeros(4, opened.means.shape[1], dtype=torch.float64)
    means[opened.numbers] = opened.means
    return dataclasses.replace(opened, numbers=range(4), means=means, contributors=[(0, 1)] * 4, exact=[True] * 4)


class TestLosses:
    def test_a_member_whose_words_are_not_in_the_sum_is_not_in_the_number_that_divides_it(
        self, digits: Dataset
    ) -> None:
        assert_divides_by_the_contributors(digits)

    def test_a_cluster_that_fails_takes_no_other_one_with_it(self, digits: Dataset) -> None:
        """Its members are in neither the sum nor the count, and it is no cluster of zeros."""
        assert_leaves_the_failed_cluster_out(digits)

    @pytest.mark.parametrize(
        ("planted", "check"),
        [(all_added, assert_divides_by_the_contributors), (zeros_added, assert_leaves_the_failed_cluster_out)],
    )
    def test_losses_that_count_as_if_they_were_none_are_seen(
        self, digits: Dataset, planted: Callable[[Any], Any], check: Callable[[Dataset], None]
    ) -> None:
        original = bench_round.open_sums
        wrong = mock.patch.object(bench_round, "open_sums", lambda *given, **how: planted(original(*given, **how)))
        with wrong, pytest.raises(AssertionError):
            check(digits)

    def test_a_sum_of_others_than_is_said_is_not_exact(self, digits: Dataset) -> None:
        for claimed in ((0, 1, 2), (0, 1), (2,)):
            outcome, spy = lossy_round(digits, _Lossy(claimed=claimed))
            assert not outcome.sum_exact
            assert spy.sizes == [len(claimed)] * 4

    def test_only_clusters_that_opened_their_sum_count_as_tainted(self, digits: Dataset) -> None:
        """Six faulty of twelve taint every cluster here, or not; a failed one is not among them."""
        tainted = lossy_round(digits, _Lossy(), f=6)[0].tainted_clusters
        left = [lossy_round(digits, _Lossy(failing=(j,)), f=6)[0].tainted_clusters for j in range(4)]
        assert sum(tainted - each for each in left) == tainted

    def test_a_round_without_any_sum_fails_with_its_cause(self, digits: Dataset) -> None:
        with pytest.raises(NetworkError, match="a member is gone"):
            lossy_round(digits, _Lossy(failing=(0, 1, 2, 3)))


class TestParticipation:
    TEXT = "n = 12\nf = 4\ncluster_size = 3\nparticipation = 0.5\nprivacy = {name = 'local', noise_multiplier = 1.0}"

    def test_exactly_the_chosen_processes_take_part_drawn_anew_in_every_round(
        self, digits: Dataset, parties: InProcessParties
    ) -> None:
        federation = build(one_cell(self.TEXT), digits)
        chosen = []
        for round_index in range(2):
            recorder = _Recorder(parties)
            outcome = run_round(federation, start(federation), round_index, recorder)
            assert recorder.words[0].shape[:2] == (2, 3)
            assert outcome.clusters == 2
            chosen.append(tuple(_participants(federation, round_index)))
        assert chosen[0] != chosen[1]
        assert len(set(chosen[0])) == 6

    def test_a_process_that_does_not_take_part_loses_no_privacy(
        self, digits: Dataset, parties: InProcessParties
    ) -> None:
        federation = build(one_cell(self.TEXT), digits)
        outcome = run_round(federation, start(federation), 0, parties)
        protected = np.isin(np.arange(12), _participants(federation, 0)) & ~federation.faulty
        assert outcome.multipliers is not None
        assert (np.isfinite(outcome.multipliers) == protected).all()

    def test_epsilon_counts_the_rounds_of_the_process_that_took_part_most_often(
        self, digits: Dataset, parties: InProcessParties
    ) -> None:
        cell = dataclasses.replace(one_cell(self.TEXT), rounds=9)
        federation = build(cell, digits)
        times = sum(np.isin(np.arange(12), _participants(federation, t)) for t in range(9))
        most = int(np.max(times[~federation.faulty]))
        always = dataclasses.replace(cell, participation=1.0, rounds=most)
        found = run_cell(cell, digits, parties).metrics["epsilon"]
        assert 0 < most < 9
        assert found == run_cell(always, digits, parties).metrics["epsilon"]

    def test_everybody_takes_part_by_default(self, digits: Dataset) -> None:
        assert (_participants(build(one_cell(""), digits), 0) == np.arange(20)).all()

    @pytest.mark.parametrize("value", [0.0, -0.5, 1.5, 0.1])
    def test_a_share_that_fills_no_cluster_is_refused(self, value: float) -> None:
        with pytest.raises(CloisterError, match="participation = "):
            one_cell(f"participation = {value}\ncluster_size = 4")


class TestDivergence:
    def test_an_honest_update_that_is_not_finite_ends_the_training(
        self, digits: Dataset, parties: InProcessParties
    ) -> None:
        federation = build(one_cell(""), digits)
        with pytest.raises(DivergedError):
            run_round(federation, torch.full((federation.network.dimension,), math.nan), 0, parties)

    def test_a_training_that_diverges_is_a_result_and_says_when(
        self, digits: Dataset, parties: InProcessParties
    ) -> None:
        result = run_cell(one_cell("learning_rate = 1e30"), digits, parties)
        assert result.metrics["diverged_round"] == 1
        assert result.curve == []
        assert 0.0 <= result.metrics["accuracy"] <= 0.5

    def test_under_a_mechanism_nothing_visible_depends_on_an_update_before_it_is_clipped(
        self, digits: Dataset, parties: InProcessParties
    ) -> None:
        """A process whose raw update is not finite sends zero and noise, and the run goes on."""
        cell = one_cell(
            "clustering = 'singletons'\nprivacy = {name = 'local', noise_multiplier = 0.1}\nlearning_rate = 1e38"
        )
        outcome = run_round(build(cell, digits), torch.full((2410,), 1e30), 0, parties)
        assert outcome.sum_exact
        assert bool(torch.isfinite(outcome.model).all())

    def test_an_attack_that_sends_another_shape_is_named(
        self, digits: Dataset, parties: InProcessParties, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from attacks import attacks

        monkeypatch.setattr(attacks.entry("sign_flip").factory, "__call__", lambda self, view: view.own[0])
        with pytest.raises(CloisterError, match=r"attack 'sign_flip' sends shape \(2410,\); allowed: \(4, 2410\)"):
            run_round(build(one_cell("f = 4\nattack = 'sign_flip'"), digits), torch.zeros(2410), 0, parties)

    def test_numbers_that_no_sum_can_take_are_cut_to_what_a_byzantine_process_can_send(
        self, digits: Dataset, parties: InProcessParties, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from attacks import attacks

        monkeypatch.setattr(attacks.entry("sign_flip").factory, "__call__", lambda self, view: view.own * math.nan)
        outcome = run_round(build(one_cell("f = 4\nattack = 'sign_flip'"), digits), torch.zeros(2410), 0, parties)
        assert outcome.sum_exact
        assert bool(torch.isfinite(outcome.model).all())
