"""What a cell's rule is, what it is given in a round, and which cells are skipped because of it."""

import dataclasses
import math
from typing import Any

import pytest
import torch

from bench.cell import Cell, cell_key, code_fingerprint
from bench.chain import Chain
from bench.compressing import code_of
from bench.data import Dataset
from bench.experiment import parse_experiment, parse_setting
from bench.federation import build, run_cell
from bench.given import given_of
from bench.grid import expand, skip_reason
from bench.models import accuracy_and_loss
from bench.partitions import partitions
from bench.promised import promised_verdict
from bench.recall import Recall
from bench.round import form_clusters, run_round
from bench.rules import rule_of
from bench.setting import Federation, Past
from bench.training import train_locally
from protocols.aggregators import Given
from protocols.check import CloisterError
from protocols.in_process import InProcessParties
from protocols.randomness import public_stream
from protocols.registry import Spec
from protocols.tolerance.verdict import Verdict


def cells_of(text: str) -> list[Cell]:
    small = "rounds = 2\nlocal_steps = 1\nn = 12\ncluster_size = 2\nmodel = 'logistic'\nprotocol = 'plaintext'"
    return expand(parse_experiment(f"[defaults]\n{small}\n[[grid]]\n{text}", name="test"))


def one_cell(text: str = "") -> Cell:
    (cell,) = cells_of(text)
    return cell


class TestTheAxisPre:
    def test_a_nested_list_is_a_chain(self) -> None:
        cells = cells_of("pre = ['none', 'nnm', ['bucketing', 'nnm']]")
        assert [cell.labels()["pre"] for cell in cells] == ["none", "nnm", "bucketing + nnm"]
        assert isinstance(cells[2].pre, Chain)

    def test_one_form_for_each_chain(self) -> None:
        assert len(cells_of("pre = ['nnm', ['nnm'], ['none', 'nnm'], ['nnm', 'none']]")) == 1
        assert len(cells_of("pre = ['none', ['none'], ['none', 'none']]")) == 1
        assert len(cells_of("pre = [['bucketing', 'nnm'], ['nnm', 'bucketing']]")) == 2

    def test_every_parameter_is_in_the_key_and_the_label(self) -> None:
        plain, other = cells_of("pre = [['bucketing', 'nnm'], [{name = 'bucketing', size = 3}, 'nnm']]")
        assert cell_key(plain, "data") != cell_key(other, "data")
        assert other.labels()["pre"] == "bucketing(size=3) + nnm"
        assert code_fingerprint(plain) == code_fingerprint(other)
        assert code_fingerprint(plain) != code_fingerprint(one_cell("pre = 'bucketing'"))

    def test_an_experiment_written_out_reads_back_to_the_same_cells(self) -> None:
        text = (
            "[[grid]]\npre = ['none', ['bucketing', {name = 'clip', radius = 2.0}]]\nworker = {name = 'momentum', "
            "beta = 0.5}\nroot_rows = [0, 20]"
        )
        experiment = parse_experiment(text, name="test")
        assert expand(parse_experiment(experiment.to_toml(), name="again")) == expand(experiment)

    def test_the_command_line_takes_it(self) -> None:
        assert parse_setting('pre=nnm,["bucketing", "nnm"]') == (
            "pre",
            ["nnm", ["bucketing", "nnm"]],
        )

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("pre = 'nnn'", r"pre = 'nnn' is unknown \(did you mean 'nnm'\?\)"),
            ("pre = [['nnm', 'buketing']]", r"pre = 'buketing' is unknown \(did you mean 'bucketing'\?\)"),
            ("pre = [[]]", r"pre = \[\] is not allowed; allowed: a name, or a list"),
            ("pre = [[['nnm']]]", r"pre = \[\['nnm'\]\] is not allowed"),
            ("worker = 'momentun'", r"worker = 'momentun' is unknown \(did you mean 'momentum'\?\)"),
            ("root_rows = -1", r"root_rows = -1 is not allowed"),
        ],
    )
    def test_a_mistake_is_one_clear_error(self, text: str, message: str) -> None:
        with pytest.raises(CloisterError, match=message):
            cells_of(text)


class TestSkips:
    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("aggregator = 'fltrust'", "fltrust needs root data of the server's, and root_rows = 0"),
            ("aggregator = 'zeno'\npre = 'arc'", "arc + zeno needs root data"),
            ("aggregator = 'foolsgold'\nclustering = {name = 'random', every = 1}", "and random forms new ones"),
            ("aggregator = 'foolsgold'\npre = 'bucketing'", "its rows stand for other clusters"),
            ("aggregator = 'foolsgold'\nparticipation = 0.5", "only 6 of 12 processes take part"),
            (
                "aggregator = 'krum'\npre = {name = 'bucketing', size = 3}",
                "bucketing + krum is not defined for 6 clusters",
            ),
            ("aggregator = 'mda'\nn = 60\nf = 10", "mda: 30045015 ways to leave 10 of 30"),
            ("root_rows = 1430", "n = 12 processes cannot share 8 training rows beside 1430 root rows"),
            ("worker = 'marina'\nlocal_steps = 2", "marina takes one local step a round"),
            ("worker = 'marina'\ncompression = 'rand_k'", "marina compresses the change of its gradients"),
        ],
    )
    def test_a_combination_that_cannot_be_run_is_skipped_with_its_reason(
        self, digits: Dataset, text: str, reason: str
    ) -> None:
        assert reason in str(skip_reason(one_cell(text), digits))

    @pytest.mark.parametrize(
        "text",
        [
            "aggregator = 'fltrust'\nroot_rows = 10",
            "aggregator = 'foolsgold'",
            "aggregator = 'mda'\nf = 2",
            "worker = 'saga'",
            "worker = 'saga'\ncompression = 'rand_k'",
            "worker = 'marina'",
            "pre = [['bucketing', 'nnm']]",
        ],
    )
    def test_others_are_not(self, digits: Dataset, text: str) -> None:
        assert skip_reason(one_cell(text), digits) is None


class TestRootRows:
    def test_no_client_gets_one(self, digits: Dataset) -> None:
        federation = build(one_cell("root_rows = 100"), digits)
        assert federation.root is not None
        root = set(federation.root.rows[0].tolist())
        dealt = [row for k in range(12) for row in federation.data.rows[k, : federation.data.counts[k]].tolist()]
        assert len(root) == 100
        assert not root & set(dealt)
        assert root | set(dealt) == set(range(len(digits.y_train)))

    def test_without_any_the_data_are_dealt_as_they_always_were(self, digits: Dataset) -> None:
        federation = build(one_cell(), digits)
        assert federation.root is None
        deal = partitions.make(partitions.resolve("iid"))
        dealt = deal(digits.y_train.numpy(), None, 12, public_stream(0, "partition"))
        for client, rows in enumerate(dealt):
            assert federation.data.rows[client, : federation.data.counts[client]].tolist() == rows.tolist()

    def test_a_data_attack_does_not_touch_them(self, digits: Dataset) -> None:
        clean, attacked = (
            build(one_cell(f"root_rows = 100\nf = 4\nattack = '{name}'"), digits) for name in ("none", "label_flip")
        )
        assert clean.root is not None
        assert attacked.root is not None
        assert torch.equal(clean.root.labels, attacked.root.labels)
        assert not torch.equal(clean.data.labels, attacked.data.labels)


def given_in(federation: Federation, model: torch.Tensor, round_index: int = 0) -> Given:
    return given_of(federation, torch.zeros(6, len(model), dtype=torch.float64), model, round_index)


class TestGiven:
    def test_the_reference_is_the_servers_own_training(self, digits: Dataset) -> None:
        federation = build(one_cell("root_rows = 64"), digits)
        model = torch.zeros(federation.network.dimension)
        found = given_in(federation, model, 3).reference
        assert federation.root is not None
        rng = public_stream(0, "root batches", 3)
        expected = train_locally(federation.network, model, federation.root, federation.training, rng)[0]
        assert found is not None
        assert torch.equal(found, expected.double())
        assert float(found.norm()) > 0

    def test_the_loss_is_that_of_the_model_after_the_step(self, digits: Dataset) -> None:
        federation = build(one_cell("root_rows = 64\nserver_learning_rate = 0.5"), digits)
        model = torch.zeros(federation.network.dimension)
        rng = public_stream(0, "updates")
        updates = torch.from_numpy(rng.normal(size=(20, len(model))))
        loss, root = given_in(federation, model).loss, federation.root
        assert loss is not None
        assert root is not None
        found = loss(updates)
        assert found.shape == (20,)
        for update, value in zip(updates, found, strict=True):
            rows = root.rows[0]
            stepped = (model.double() + 0.5 * update).float()
            _, expected = accuracy_and_loss(federation.network, stepped, root.inputs[rows], root.labels[rows])
            assert abs(float(value) - expected) <= 1e-4 * expected  # float32 sums over 64 rows

    def test_the_layers_are_the_models_but_not_those_of_a_code(self, digits: Dataset) -> None:
        federation = build(one_cell("model = {name = 'mlp', hidden = 3}"), digits)
        model = torch.zeros(federation.network.dimension)
        assert given_in(federation, model).layers == (64 * 3, 3, 3 * 10, 10)
        cell = one_cell("compression = {name = 'rand_k', k = 0.5}")
        federation = build(cell, digits)
        coded = dataclasses.replace(federation, code=code_of(federation, 0))
        assert given_in(federation, torch.zeros(650)).layers == (640, 10)
        assert given_in(coded, torch.zeros(650)).layers is None

    def test_the_previous_step_is_the_one_that_everybody_saw(self, digits: Dataset, parties: InProcessParties) -> None:
        """With the noise that was added to the result; without it, a rule would tell of the step twice."""
        noisy = "privacy = {name = 'central', noise_multiplier = 1.0, clip_norm = 1.0}\nserver_learning_rate = 0.5"
        federation = build(one_cell(noisy), digits)
        model = torch.zeros(federation.network.dimension)
        assert given_in(federation, model).previous is None
        outcome = run_round(federation, model, 0, parties)
        federation = dataclasses.replace(federation, past=Past(model=model, opened=outcome.opened))
        found = given_in(federation, outcome.model, 1).previous
        assert found is not None
        assert torch.equal(found, (outcome.model.double() - model.double()) / 0.5)

    def test_a_rule_has_a_stream_of_its_own_in_every_round(self, digits: Dataset) -> None:
        federation = build(one_cell(), digits)
        model = torch.zeros(federation.network.dimension)
        streams = [given_in(federation, model, k).rng for k in (0, 0, 1)]
        draws = [0.0 if rng is None else float(rng.random()) for rng in streams]
        assert draws[0] == draws[1] != draws[2]

    def test_the_rule_is_given_its_clusters_past_means(self, digits: Dataset, parties: InProcessParties) -> None:
        federation = build(one_cell(), digits)
        seen: list[Given] = []
        means: list[torch.Tensor] = []
        rule = federation.rule

        class Spy:
            def __call__(self, rows: torch.Tensor, sizes: torch.Tensor, tolerate: int, given: Given) -> torch.Tensor:
                seen.append(given)
                means.append(rows)
                return rule(rows, sizes, tolerate, given)

            breakdown = staticmethod(rule.breakdown)
            sensitivity = staticmethod(rule.sensitivity)
            coefficient = staticmethod(rule.coefficient)

        spied = dataclasses.replace(federation, rule=Spy())
        model = torch.zeros(federation.network.dimension)
        for k in range(3):
            model = run_round(spied, model, k, parties).model
        assert seen[0].history is not None
        assert seen[2].history is not None
        assert not bool(seen[0].history.any())
        assert torch.allclose(seen[2].history, means[0] + means[1], rtol=0, atol=1e-15)


class TestRecall:
    def test_new_clusters_have_no_past(self) -> None:
        recall, means = Recall(), torch.ones(2, 3, dtype=torch.float64)
        recall.add(((0, 1), (2, 3)), [0, 1], means)
        assert torch.equal(recall.history(((0, 1), (2, 3)), [1], means[:1]), means[:1])
        assert not bool(recall.history(((0, 2), (1, 3)), [0, 1], means).any())

    def test_a_cluster_that_failed_adds_nothing_and_a_hostile_mean_counts_as_zero(self) -> None:
        clusters = ((0,), (1,), (2,))
        recall, means = Recall(), torch.ones(2, 3, dtype=torch.float64)
        recall.add(clusters, [0, 2], means)
        recall.add(clusters, [0, 1], torch.tensor([[torch.nan] * 3, [2.0] * 3], dtype=torch.float64))
        assert recall.history(clusters, [0, 1, 2], torch.zeros(3, 3, dtype=torch.float64))[:, 0].tolist() == [1, 2, 1]


class TestInTheRound:
    def test_a_weighted_rule_counts_the_members_of_unequal_clusters(
        self, digits: Dataset, parties: InProcessParties
    ) -> None:
        """Of 11 processes in a cluster of five and one of six, each mean counts for each member.

        The model is float32: its step is off by 2^-24 of numbers below 1.
        """
        moved: dict[str, torch.Tensor] = {}
        for name in ("median", "weighted_median"):
            federation = build(one_cell(f"n = 11\ncluster_size = 4\naggregator = '{name}'"), digits)
            model = torch.zeros(federation.network.dimension)
            outcome = run_round(federation, model, 0, parties)
            sizes = torch.tensor([len(members) for members in outcome.opened.clusters])
            assert sorted(sizes.tolist()) == [5, 6]
            moved[name] = outcome.model.double()
            heavy = outcome.opened.means[int(sizes.argmax())]
        assert torch.allclose(moved["weighted_median"], heavy, rtol=0, atol=2.0**-24)
        assert not torch.allclose(moved["median"], heavy, rtol=0, atol=1e-4)

    @pytest.mark.parametrize(
        ("name", "crashed", "predicted"),
        [
            ("weighted_median", 5, False),
            ("geometric_median", 5, False),
            ("median", 5, True),
            ("weighted_median", 0, True),
        ],
    )
    def test_nothing_is_promised_where_crashes_leave_tainted_clusters_most_of_the_weight(
        self, digits: Dataset, parties: InProcessParties, name: str, crashed: int, predicted: bool
    ) -> None:
        """Two clusters of five are tainted and ten members of the other three left, in a round that did go wrong."""
        text = (
            f"n = 25\nf = 2\ncrashed = {crashed}\ncluster_size = 5\nseed = 13\naggregator = '{name}'\nrounds = 1\n"
            "protocol = {name = 'shamir', mode = 'correct'}\nattack = {name = 'scaled_sign_flip', strength = 1000.0}"
        )
        found = run_cell(one_cell(text), digits, parties).metrics
        assert found["predicted_correct"] is predicted
        assert found["observed_correct"] is predicted
        assert found["contradicted"] == ""
        said = f"{name} promises nothing for clusters of 5, 5, 4, 3, 3 with 2 tainted"
        assert (said in found["predicted_why"]) is not predicted
        assert ("promises nothing for clusters of the sizes that opened" in found["observed_why"]) is not predicted

    def test_a_verdict_stays_what_it_was_where_the_rule_does_not_count_members(self, digits: Dataset) -> None:
        """The same crashes as above: beside a median, a weighted one, of which nothing is promised."""
        said = Verdict(clusters=(), tolerate=2, private=True, correct=True, live=True, why=())
        for name, stays in (("median", True), ("weighted_median", False)):
            text = (
                f"n = 25\nf = 2\ncrashed = 5\ncluster_size = 5\nseed = 13\naggregator = '{name}'\n"
                "protocol = {name = 'shamir', mode = 'correct'}"
            )
            federation = build(one_cell(text), digits)
            found = promised_verdict(federation, form_clusters(federation, 0), said)
            assert (found is said) is stays
            assert found.correct is stays

    def test_the_rule_after_buckets_is_told_of_clusters(self, digits: Dataset) -> None:
        """12 singletons in buckets of 2: six rows, of which a median tolerates two, however many are declared."""
        cell = one_cell("clustering = 'singletons'\nf = 5\npre = 'bucketing'")
        assert rule_of(cell).breakdown(12) == 2
        assert build(cell, digits).told(12) == 2
        assert build(one_cell("clustering = 'singletons'\nf = 5"), digits).told(12) == 5

    @pytest.mark.parametrize(
        "text",
        [
            "pre = [['bucketing', 'nnm']]\naggregator = 'median'\nattack = 'ipm'\nf = 1\nclustering = 'singletons'",
            "pre = 'nnm'\naggregator = 'krum'\nattack = 'sign_flip'\nf = 1",
            "aggregator = 'fltrust'\nroot_rows = 60\nattack = 'ipm'\nf = 2",
            "aggregator = 'foolsgold'\nattack = 'ipm'\nf = 2",
            "aggregator = 'lasa'\nattack = 'ipm'\nf = 2\nmodel = {name = 'mlp', hidden = 3}",
            "worker = 'momentum'\nparticipation = 0.5",
            "worker = 'saga'\nparticipation = 0.5",
        ],
    )
    def test_a_cell_runs_holds_what_was_predicted_and_runs_again_to_the_same(
        self, digits: Dataset, parties: InProcessParties, text: str
    ) -> None:
        cell = one_cell(f"{text}\nrounds = 3")
        first, second = (run_cell(cell, digits, parties) for _ in range(2))
        assert first.metrics["contradicted"] == ""
        assert [point["accuracy"] for point in first.curve] == [point["accuracy"] for point in second.curve]
        assert first.metrics["loss"] == second.metrics["loss"]

    @pytest.mark.parametrize(("rule", "trains"), [("foolsgold", True), ("lasa", True), ("mean", False)])
    def test_one_row_of_nan_does_not_end_every_round(
        self, digits: Dataset, parties: InProcessParties, rule: str, trains: bool
    ) -> None:
        """The mean promises nothing and refuses it, so that its model stays where it started, and is finite."""
        text = "attack = {name = 'nan_inf_huge', value = 'nan'}\nf = 1\nclustering = 'singletons'\nrounds = 3"
        found = run_cell(one_cell(f"aggregator = '{rule}'\n{text}"), digits, parties)
        losses = {point["loss"] for point in found.curve}
        assert all(math.isfinite(loss) for loss in losses)
        assert (len(losses) > 1) is trains

    def test_a_cell_at_the_new_axes_defaults_keeps_the_noise_it_always_had(self, digits: Dataset) -> None:
        from bench.federation import _noise_name

        name = _noise_name(one_cell())
        assert not {"pre", "worker", "root_rows", "compression"} & set(name)
        assert _noise_name(one_cell("pre = 'nnm'"))["pre"] == {"name": "nnm"}

    def test_clipping_before_the_mean_keeps_its_sensitivity(self) -> None:
        sizes = torch.full((6,), 2)
        clipped, plain = (rule_of(one_cell(f"aggregator = 'mean'\npre = '{pre}'")) for pre in ("clip", "none"))
        assert clipped.sensitivity(sizes, 0) == plain.sensitivity(sizes, 0) == 1 / 12
        assert rule_of(one_cell("aggregator = 'mean'\npre = 'arc'")).sensitivity(sizes, 0) is None


def test_specs_are_as_they_were_for_a_single_pre_aggregator() -> None:
    cell: Any = one_cell("pre = 'nnm'")
    assert cell.pre == Spec(name="nnm")
    assert cell.as_config()["pre"] == {"name": "nnm"}
