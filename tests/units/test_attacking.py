"""Attacks in a round: what each sees, what combinations, schedules and splits send, and what data attacks change."""

import dataclasses
import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from attacks import attacks
from attacks.api import ClusterView, DefenceView, OwnView, UpdateAttack
from attacks.plan import assign
from attacks.reading import resolve_attack
from bench.attacking import _OMNISCIENT, attacked
from bench.cell import Cell
from bench.data import Dataset
from bench.federation import build, run_cell
from bench.grid import skip_reason
from bench.round import _participants, form_clusters, run_round
from bench.setting import Federation
from protocols.aggregators import aggregators
from protocols.aggregators.pre import pre_aggregators
from protocols.in_process import InProcessParties
from protocols.registry import Spec
from tests.rounds import cell_with


def one_cell(attack: object = "none", **axes: Any) -> Cell:
    return cell_with(**{"n": 12, "f": 4, "cluster_size": 3, "attack": attack, **axes})


def updates_of(federation: Federation) -> Tensor:
    rng = np.random.default_rng(1)
    return torch.from_numpy(rng.normal(size=(federation.data.n, federation.network.dimension)))


def sent(federation: Federation, updates: Tensor, round_index: int = 0) -> Tensor:
    clustering = form_clusters(federation, round_index)
    model = torch.zeros(federation.network.dimension)
    return attacked(federation, updates, clustering, model, round_index).rows


def sent_under(attack: object, digits: Dataset, round_index: int = 0) -> tuple[Tensor, Tensor, Federation]:
    federation = build(one_cell(attack), digits)
    updates = updates_of(federation)
    return sent(federation, updates, round_index), updates, federation


def test_one_attack_after_the_other_gets_the_rows_of_the_one_before(digits: Dataset) -> None:
    rows, updates, federation = sent_under(
        [{"name": "sign_flip", "scale": 2.0}, {"name": "sign_flip", "scale": 3.0}], digits
    )
    faulty = torch.from_numpy(federation.faulty)
    assert torch.equal(rows[faulty], 6.0 * updates[faulty])
    assert torch.equal(rows[~faulty], updates[~faulty])


def test_a_ramp_goes_from_the_honest_update_to_the_attacks(digits: Dataset) -> None:
    for round_index, factor in ((0, 1.0), (1, 1.0 - 0.5 * 5.0), (2, -4.0)):
        rows, updates, federation = sent_under(
            {"name": "sign_flip", "from_round": 2, "ramp_rounds": 2}, digits, round_index
        )
        faulty = torch.from_numpy(federation.faulty)
        assert torch.allclose(rows[faulty], factor * updates[faulty], rtol=1e-15, atol=0)
        assert torch.equal(rows[~faulty], updates[~faulty])


def test_a_split_sends_each_processs_own_attack(digits: Dataset) -> None:
    rows, updates, federation = sent_under({"split": ["sign_flip", {"name": "sign_flip", "scale": 7.0}]}, digits)
    factors = (rows / updates).mean(dim=1)
    assert sorted(factors.tolist()) == pytest.approx([-7.0, -7.0, -4.0, -4.0, *[1.0] * 8])
    assert (factors.numpy() < 0).tolist() == federation.faulty.tolist()


def test_a_round_in_which_nobody_honest_takes_part_is_sent_as_it_is(digits: Dataset, parties: InProcessParties) -> None:
    """Of 4 processes 2 take part, and 3 are faulty: in half of the rounds on average both are.

    Seed 0 has such rounds among its first 6, and rounds with an honest participant, in which the attack works.
    """
    omniscient = [name for name, entry in attacks.entries().items() if entry.facts.get("knowledge") in _OMNISCIENT]
    assert len(omniscient) > 8
    for name in omniscient:
        axes = {"n": 4, "f": 3, "participation": 0.5, "cluster_size": 2, "rounds": 6, "aggregator": "mean"}
        cell = one_cell(name, **axes)
        federation = build(cell, digits)
        alone = 0
        for round_index in range(6):
            present = federation.of(_participants(federation, round_index))
            updates = updates_of(present)
            rows = sent(present, updates, round_index)
            faulty = torch.from_numpy(present.faulty)
            alone += int(bool(faulty.all()))
            assert torch.equal(rows, updates) == bool(faulty.all()), name
        assert 0 < alone < 6
        assert run_cell(cell, digits, parties).metrics["diverged_round"] is None


@pytest.mark.parametrize("branch", ["constant", ["constant", "sign_flip"]])
def test_who_searches_against_the_defence_knows_what_the_other_branches_send(
    monkeypatch: pytest.MonkeyPatch, digits: Dataset, branch: object
) -> None:
    """In either order of the branches; an attack behind the search in its own branch stays behind it."""
    views = spy_views(monkeypatch, "optimal_ipm")
    searching = ["optimal_ipm", {"name": "sign_flip", "scale": 2.0}]
    found: list[Tensor] = []
    for split in ([searching, branch], [branch, searching]):
        federation = build(one_cell({"split": split}, aggregator="mean"), digits)
        updates = updates_of(federation)
        rows = sent(federation, updates)
        (view,) = views
        views.clear()
        own = torch.zeros(12, dtype=torch.bool)
        own[list(view.numbers)] = True
        assert torch.equal(rows[own], 2.0 * -1.0 * updates[own])
        everybody = rows.clone()
        everybody[own] = updates[own]
        # Sums of 12 float64 in another order, of numbers below 100.
        assert torch.allclose(view.aggregate(view.own), everybody.mean(dim=0), rtol=0, atol=1e-12)
        found.append(rows)


class TestAnAttackSeesNothingOutsideItsView:
    """By the bench's own world and views; the conformance kit has the same for every attack by itself."""

    def sent_by(self, digits: Dataset, knowledge: str, change: Mapping[str, Any], seed: int = 0) -> Tensor:
        @dataclasses.dataclass(frozen=True)
        class Everything:
            """Sends a digest of every number in its view."""

            def __call__(self, view: OwnView) -> Tensor:
                values = [getattr(view, field.name) for field in dataclasses.fields(view)]
                numbers = [value.sum() for value in values if isinstance(value, Tensor)]
                if isinstance(view, ClusterView | DefenceView):
                    numbers.append(torch.tensor([hash(view.clusters) % 1e9]).sum())
                if isinstance(view, DefenceView):
                    numbers.append(view.aggregate(view.own).sum())
                    numbers.append(torch.tensor(float(len(str(view.pre)))))
                return view.own + torch.stack([number.double() for number in numbers]).sum()

        federation = dataclasses.replace(build(one_cell("ipm"), digits), **change)
        federation = dataclasses.replace(federation, parts=assign(resolve_attack("ipm"), federation.faulty, 0))
        updates = updates_of(federation)
        honest = torch.from_numpy(~federation.faulty)
        updates[honest] += seed
        with pytest.MonkeyPatch.context() as patch:
            entry = attacks.entry("ipm")
            facts = {**entry.facts, "knowledge": knowledge}
            patch.setitem(attacks._entries, "ipm", dataclasses.replace(entry, factory=Everything, facts=facts))
            patch.setattr(type(attacks), "make", lambda self, spec: Everything())
            return sent(federation, updates)[torch.from_numpy(federation.faulty)]

    @pytest.mark.parametrize(
        ("knowledge", "sees_honest", "sees_clusters", "sees_defence"),
        [
            ("own", False, False, False),
            ("cluster", False, True, False),
            ("honest", True, False, False),
            ("defence", True, True, True),
        ],
    )
    def test_and_all_of_what_is_in_it(
        self, digits: Dataset, knowledge: str, sees_honest: bool, sees_clusters: bool, sees_defence: bool
    ) -> None:
        plain = build(one_cell("ipm"), digits)
        other = build(one_cell("ipm", clustering={"name": "round_robin"}), digits)
        rule = build(one_cell("ipm", aggregator="mean"), digits).rule
        base = self.sent_by(digits, knowledge, {})
        changed = {
            "honest": not torch.equal(base, self.sent_by(digits, knowledge, {}, seed=1)),
            "clusters": not torch.equal(base, self.sent_by(digits, knowledge, {"policy": other.policy})),
            "rule": not torch.equal(base, self.sent_by(digits, knowledge, {"rule": rule})),
            "pre": not torch.equal(base, self.sent_by(digits, knowledge, {"pre_specs": (Spec(name="nnm"),)})),
        }
        assert changed == {
            "honest": sees_honest,
            "clusters": sees_clusters,
            "rule": sees_defence,
            "pre": sees_defence,
        }
        assert torch.equal(base, self.sent_by(digits, knowledge, {"policy": plain.policy}))


def spy_views(monkeypatch: pytest.MonkeyPatch, name: str) -> list[Any]:
    """Record the views that an attack is given; it sends what is honest."""
    views: list[Any] = []

    def call(_: UpdateAttack[OwnView], view: OwnView) -> Tensor:
        views.append(view)
        view.memory["rounds"] = view.memory.get("rounds", 0) + 1
        return view.own

    monkeypatch.setattr(attacks.entry(name).factory, "__call__", call)
    return views


def test_a_view_remembers_the_rounds_before(
    monkeypatch: pytest.MonkeyPatch, digits: Dataset, parties: InProcessParties
) -> None:
    views = spy_views(monkeypatch, "ipm")
    run_cell(one_cell("ipm", rounds=3), digits, parties)
    assert views[0].previous is None
    assert [view.memory["rounds"] for view in views] == [3, 3, 3]  # one memory
    for before, after in itertools.pairwise(views):
        assert torch.equal(after.previous, after.model - before.model)
        assert bool(after.previous.any())


def test_the_defences_aggregate_is_what_the_server_gets(
    monkeypatch: pytest.MonkeyPatch, digits: Dataset, parties: InProcessParties
) -> None:
    """The round rounds each of n numbers to half a unit, so the combined update differs by half a unit at most."""
    monkeypatch.setitem(
        attacks._entries,
        "ipm",
        dataclasses.replace(attacks.entry("ipm"), facts={**attacks.entry("ipm").facts, "knowledge": "defence"}),
    )
    views = spy_views(monkeypatch, "ipm")
    federation = build(one_cell("ipm"), digits)
    model = torch.zeros(federation.network.dimension)
    outcome = run_round(federation, model, 0, parties)
    promised = views[0].aggregate(views[0].own)
    # The model is float32: its step is off by 2^-24 of numbers below 1.
    error = (outcome.model.double() - promised).abs().max()
    assert float(error) <= 0.5 * federation.ring.unit + 2.0**-24
    assert not torch.equal(views[0].aggregate(views[0].own + 1.0), promised)


def test_the_defence_is_named_and_searched_with_what_comes_before_the_rule(
    monkeypatch: pytest.MonkeyPatch, digits: Dataset
) -> None:
    """What moves a trimmed mean farthest is not what moves it farthest behind NNM, and `adaptive` knows which is there.

    Both searches are best effort: seen, the one made for the plain trimmed mean moves the mixed rows by rounding only.
    """
    defences = {
        pre: build(
            one_cell(
                "adaptive",
                clustering="singletons",
                cluster_size=1,
                protocol="plaintext",
                pre=pre,
                aggregator="trimmed_mean",
            ),
            digits,
        )
        for pre in ("none", "nnm")
    }
    updates = updates_of(defences["nnm"])
    faulty = torch.from_numpy(defences["nnm"].faulty)
    rows = {pre: sent(federation, updates) for pre, federation in defences.items()}
    views = spy_views(monkeypatch, "adaptive")
    sent(defences["nnm"], updates)
    (view,) = views
    assert (view.pre, view.rule) == ((Spec(name="nnm"),), Spec(name="trimmed_mean"))
    nnm, trimmed = pre_aggregators.make(Spec(name="nnm")), aggregators.make(Spec(name="trimmed_mean"))
    everybody, ones = rows["nnm"], torch.ones(12, dtype=torch.int64)
    # Both compute with the same float64 numbers in the same order; saturate() leaves these alone.
    assert torch.equal(view.aggregate(everybody[faulty]), trimmed(*nnm(everybody, ones, 4)))
    mean = updates[~faulty].mean(dim=0)
    moved = {pre: float((view.aggregate(each[faulty]) - mean).norm()) for pre, each in rows.items()}
    assert moved["nnm"] > moved["none"]


def test_only_participants_attack_and_a_share_stays_the_same_processes(
    monkeypatch: pytest.MonkeyPatch, digits: Dataset, parties: InProcessParties
) -> None:
    views = spy_views(monkeypatch, "ipm")
    cell = one_cell({"name": "ipm", "share": 0.5}, participation=0.75, rounds=6)
    run_cell(cell, digits, parties)
    (part,) = build(cell, digits).parts
    allowed = set(np.flatnonzero(part.senders).tolist())
    assert len(allowed) == 2
    assert set().union(*(view.numbers for view in views)) == allowed
    assert any(set(view.numbers) < allowed for view in views)


class TestDataInARound:
    def labels(self, federation: Federation, round_index: int) -> Tensor:
        return federation.poisoning.data(round_index).labels

    def test_a_scheduled_data_attack_works_in_its_rounds_only(self, digits: Dataset) -> None:
        federation = build(one_cell({"name": "label_flip", "from_round": 2, "every": 2}), digits)
        poisoned = build(one_cell("label_flip"), digits).data.labels
        assert federation.poisoning.changes
        for round_index, expected in enumerate([digits.y_train, poisoned] * 2):
            assert torch.equal(self.labels(federation, round_index), expected)

    def test_a_ramp_poisons_a_growing_share_of_the_rows(self, digits: Dataset) -> None:
        federation = build(one_cell({"name": "label_flip", "ramp_rounds": 4}), digits)
        changed = [self.labels(federation, index) != digits.y_train for index in range(5)]
        rows = int(federation.data.counts[torch.from_numpy(federation.faulty)].sum())
        assert [int(mask.sum()) for mask in changed] == [round(part * rows) for part in (0.25, 0.5, 0.75, 1.0, 1.0)]
        assert bool((changed[0] <= changed[1]).all())

    def test_training_uses_the_data_of_its_round(self, digits: Dataset, parties: InProcessParties) -> None:
        """A flip in the second round only: the first round ends as without it, the second one does not."""
        ends = {}
        for attack in ("none", "label_flip", "late"):
            config = {"name": "label_flip", "from_round": 2} if attack == "late" else attack
            federation, model = build(one_cell(config), digits), torch.zeros(650)
            ends[attack] = []
            for round_index in range(2):
                model = run_round(federation, model, round_index, parties).model
                ends[attack].append(model)
        assert torch.equal(ends["late"][0], ends["none"][0])
        assert not torch.equal(ends["label_flip"][0], ends["none"][0])
        assert not torch.equal(ends["late"][1], ends["none"][1])

    def test_one_data_attack_after_the_other_undoes_it(self, digits: Dataset) -> None:
        federation = build(one_cell(["label_flip", "label_flip"]), digits)
        assert torch.equal(federation.data.labels, digits.y_train)

    def test_a_share_poisons_the_data_of_some(self, digits: Dataset) -> None:
        federation = build(one_cell({"name": "label_flip", "share": 0.5}), digits)
        changed = federation.data.labels != digits.y_train
        hit = [
            bool(changed[rows[:count]].any())
            for rows, count in zip(federation.data.rows, federation.data.counts, strict=True)
        ]
        assert sum(hit) == 2
        assert (np.array(hit) <= federation.faulty).all()


@pytest.mark.parametrize(
    ("attack", "axes", "reason"),
    [
        ({"name": "ipm", "from_round": 3}, {}, "ipm is at work in no round: training ends with round 2"),
        ({"split": [{"name": "ipm", "from_round": 3}, "alie"]}, {}, "ipm is at work in no round"),
        ({"split": ["alie", {"name": "ipm", "from_round": 2, "every": 9}], "until_round": 1}, {}, "ipm is at work in"),
        ({"split": ["ipm", "alie"]}, {"f": 1}, "f = 1 faulty processes are too few for all attacks"),
        ({"split": ["ipm", "alie"]}, {"f": 0}, "f = 0 faulty processes are too few for all attacks"),
        ({"split": ["alie", "backdoor_trigger"], "share": 0.5}, {"f": 2}, "nobody is left for backdoor_trigger"),
        (["label_flip", "ipm"], {"placement": "targeted"}, "label_flip poisons data before the first"),
    ],
)
def test_a_plan_that_cannot_be_run_is_skipped_with_its_reason(
    digits: Dataset, attack: object, axes: Mapping[str, Any], reason: str
) -> None:
    said = skip_reason(one_cell(attack, **axes), digits)
    assert said is not None
    assert reason in said


@pytest.mark.parametrize(
    ("attack", "f"),
    [
        ({"split": ["alie", "backdoor_trigger"], "share": 0.5}, 4),
        ({"split": [{"name": "ipm", "from_round": 2}, "alie"]}, 2),
        (["label_flip", "ipm"], 0),  # without faulty processes no attack has any
    ],
)
def test_a_plan_of_which_every_attack_works_is_run(digits: Dataset, attack: object, f: int) -> None:
    assert skip_reason(one_cell(attack, f=f), digits) is None


def test_an_attack_that_sees_honest_updates_in_any_part_leaves_privacy_unproved(
    digits: Dataset, parties: InProcessParties
) -> None:
    privacy = {"name": "local", "noise_multiplier": 1.0}
    for attack, proved in (("sign_flip", True), ({"split": ["sign_flip", "ipm"]}, False)):
        metrics = run_cell(one_cell(attack, privacy=privacy), digits, parties).metrics
        assert (metrics["epsilon"] != "unsupported") == proved


@pytest.mark.parametrize(
    ("attack", "central", "local"),
    [
        ("sign_flip", True, True),
        ("crash", True, True),
        ("collude_cluster", False, True),  # it has seen means to which nobody added noise
        ("selective_abort", False, True),  # it is about to see them
        (["sign_flip", {"split": ["mute", "selective_abort"]}], False, True),
        ("ipm", False, False),
    ],
)
def test_privacy_is_proved_only_of_attackers_who_see_nothing_before_its_noise(
    digits: Dataset, parties: InProcessParties, attack: object, central: bool, local: bool
) -> None:
    for name, proved in (("central", central), ("local", local)):
        privacy = {"name": name, "noise_multiplier": 1.0}
        metrics = run_cell(one_cell(attack, privacy=privacy, aggregator="mean"), digits, parties).metrics
        assert (metrics["epsilon"] != "unsupported") == proved, name


class TestNumbersThatNoHonestSenderHas:
    """In the clear they reach the rule; in an encrypted sum there is no word for them."""

    def means(self, digits: Dataset, parties: InProcessParties, value: str, **axes: Any) -> tuple[Tensor, Tensor]:
        """Return the means that the rule gets, and which of them are tainted."""
        federation = build(one_cell({"name": "nan_inf_huge", "value": value}, **axes), digits)
        outcome = run_round(federation, torch.zeros(federation.network.dimension), 0, parties)
        counts = form_clusters(federation, 0).faulty_counts(federation.faulty)
        return outcome.opened.means, torch.from_numpy(counts > 0)

    @pytest.mark.parametrize(("value", "number"), [("inf", math.inf), ("-inf", -math.inf), ("huge", 1e30)])
    @pytest.mark.parametrize("size", [1, 3])
    def test_in_the_clear_they_reach_the_rule_as_they_are(
        self, digits: Dataset, parties: InProcessParties, value: str, number: float, size: int
    ) -> None:
        policy = "singletons" if size == 1 else "random"
        means, tainted = self.means(digits, parties, value, protocol="plaintext", clustering=policy)
        # How many senders there are in each tainted cluster; honest numbers are lost beside 1e30.
        counts = means[tainted] * size / 1e30
        assert bool(((means[tainted] == number) | ((counts - counts.round()).abs() < 1e-9)).all())
        assert bool((means[tainted] * math.copysign(1.0, number) >= 1e30 / size).all())
        assert bool(means[~tainted].isfinite().all())

    def test_in_the_clear_nan_and_denormal_numbers_reach_the_rule(
        self, digits: Dataset, parties: InProcessParties
    ) -> None:
        for value, check in (("nan", torch.isnan), ("denormal", lambda means: means == 1e-40)):
            means, tainted = self.means(digits, parties, value, protocol="plaintext", clustering="singletons")
            assert bool(check(means[tainted]).all())
            assert bool(means[~tainted].isfinite().all())

    @pytest.mark.parametrize("value", ["nan", "inf", "-inf", "huge", "denormal", "mixed"])
    def test_in_an_encrypted_sum_they_are_numbers_of_the_ring(
        self, digits: Dataset, parties: InProcessParties, value: str
    ) -> None:
        means, tainted = self.means(digits, parties, value, protocol="additive")
        assert bool(means.isfinite().all())
        large = means[tainted].abs().max() > 1e11
        assert bool(large) == (value not in ("nan", "denormal"))

    @pytest.mark.parametrize(("aggregator", "moves"), [("mean", False), ("median", True)])
    def test_a_rule_that_gets_more_of_them_than_it_withstands_has_no_result_and_the_run_goes_on(
        self, digits: Dataset, parties: InProcessParties, aggregator: str, moves: bool
    ) -> None:
        axes = {"protocol": "plaintext", "clustering": "singletons", "aggregator": aggregator}
        federation = build(one_cell({"name": "nan_inf_huge", "value": "nan"}, **axes), digits)
        model = torch.zeros(federation.network.dimension)
        outcome = run_round(federation, model, 0, parties)
        assert bool(outcome.model.isfinite().all())
        assert bool(outcome.model.any()) == moves
        assert outcome.observed.correct == moves
        assert not outcome.observed.contradicts(outcome.said)
