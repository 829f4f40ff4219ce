"""Every attack under the conformance kit, the kit under planted bugs, and each attack's own formula."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, make_dataclass, replace

import numpy as np
import pytest
import torch

import attacks.testing as kit
import attacks.update as attacks_on_updates
from attacks import attacks, update_attack
from attacks.api import DataView, HonestView, OwnView, Rows, World, look
from attacks.testing import _data, _update
from protocols.check import CloisterError
from protocols.registry import Spec

EXAMPLES = kit.example_specs()


@pytest.mark.parametrize(
    ("spec", "check"),
    [(spec, check) for spec in EXAMPLES for check in kit.conformance_checks(spec)],
    ids=lambda given: str(given) if isinstance(given, Spec) else given.__name__,
)
def test_every_attack_conforms(spec: Spec, check: Callable[[Spec], None]) -> None:
    check(spec)


def test_every_registered_attack_is_tried_with_its_defaults() -> None:
    assert {spec.name for spec in EXAMPLES} == set(attacks.entries())


def test_the_package_names_exactly_the_attacks_that_send_one_vector_from_all() -> None:
    """Views with different own updates; a scale of 0 or one kind of number aside, which are no defaults."""
    said = (attacks_on_updates.__doc__ or "").partition("`sine`")[0]
    update = [name for name, entry in attacks.entries().items() if entry.facts["surface"] == "update"]
    same = set()
    for name in update:
        view = kit.make_update_view(attacks.entry(name).facts["knowledge"], d=40)
        sent = attacks.make(attacks.resolve(name))(view)
        assert len(view.own.unique(dim=0)) == len(sent) == 3
        if bool((sent == sent[0]).all()):
            same.add(name)
    assert same == set(re.findall(r"`(\w+)`", said))


class TestTheKitSeesPlantedBugs:
    def plant(self, monkeypatch: pytest.MonkeyPatch, call: Callable[[object], object], name: str = "sign_flip") -> Spec:
        monkeypatch.setattr(attacks.entry(name).factory, "__call__", lambda self, view: call(view))
        return attacks.resolve(name)

    @pytest.mark.parametrize(
        ("bug", "call", "check"),
        [
            ("one row for all", lambda view: -view.own[:1], _update.sends_one_finite_row_per_byzantine_process),
            ("float32", lambda view: -view.own.float(), _update.sends_one_finite_row_per_byzantine_process),
            ("not finite", lambda view: view.own / 0.0, _update.sends_one_finite_row_per_byzantine_process),
            (
                "global randomness",
                lambda view: torch.randn(view.own.shape).double(),
                _update.update_attack_is_repeatable,
            ),
            ("changes its view", lambda view: view.own.mul_(-1.0), _update.update_attack_leaves_its_view_alone),
        ],
    )
    def test_in_an_update_attack(
        self, monkeypatch: pytest.MonkeyPatch, bug: str, call: Callable, check: Callable[[Spec], None]
    ) -> None:
        with pytest.raises(AssertionError):
            check(self.plant(monkeypatch, call))

    def test_in_what_it_reads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(AttributeError, match="honest"):
            _update.update_attack_reads_only_what_it_declared(self.plant(monkeypatch, lambda view: -view.honest))

    @pytest.mark.parametrize("knowledge", ["own", "honest"])
    def test_in_a_view_that_shows_more_than_it_says(self, monkeypatch: pytest.MonkeyPatch, knowledge: str) -> None:
        """What the rest of the round is leaks into the updates that the senders are told are their own."""

        def leaking(knowledge: str, world: World) -> OwnView:
            return replace(look(knowledge, world), own=world.own + world.aggregate(world.own))

        name = next(name for name, entry in attacks.entries().items() if entry.facts.get("knowledge") == knowledge)
        spec = self.plant(monkeypatch, lambda view: view.own, name)
        _update.nothing_outside_its_view_matters(spec)
        monkeypatch.setattr(_update, "look", leaking)
        with pytest.raises(AssertionError, match=r"sends something else when .*aggregate"):
            _update.nothing_outside_its_view_matters(spec)

    @pytest.mark.parametrize(
        ("bug", "call"),
        [
            ("labels outside", lambda view: (view.inputs, view.labels + view.classes)),
            ("rows lost", lambda view: (view.inputs[1:], view.labels[1:])),
            ("type changed", lambda view: (view.inputs.double(), view.labels)),
            ("not finite", lambda view: (view.inputs / 0.0, view.labels)),
        ],
    )
    def test_in_a_data_attack(self, monkeypatch: pytest.MonkeyPatch, bug: str, call: Callable) -> None:
        with pytest.raises(AssertionError):
            _data.keeps_the_shapes_of_the_data(self.plant(monkeypatch, call, "label_flip"))

    @pytest.mark.parametrize(
        ("bug", "rows"),
        [
            ("all rows", lambda inputs, labels: (inputs, torch.zeros_like(labels))),
            ("more labels than rows", lambda inputs, labels: (inputs[1:], torch.zeros_like(labels))),
            ("label outside", lambda inputs, labels: (inputs[:1], torch.full_like(labels[:1], 4))),
            ("type changed", lambda inputs, labels: (inputs[:1].double(), torch.zeros_like(labels[:1]))),
        ],
    )
    def test_in_the_test_rows_of_a_backdoor(self, monkeypatch: pytest.MonkeyPatch, bug: str, rows: Callable) -> None:
        factory = attacks.entry("backdoor_trigger").factory
        monkeypatch.setattr(factory, "test_rows", lambda self, inputs, labels, classes, clean: rows(inputs, labels))
        with pytest.raises(AssertionError):
            _data.aims_its_backdoor_at_rows_of_other_labels(attacks.resolve("backdoor_trigger"))

    def test_in_a_data_attack_that_draws_from_global_randomness_or_changes_its_view(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def drawn(view: DataView) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.randn(view.inputs.shape), view.labels

        def changed(view: DataView) -> tuple[torch.Tensor, torch.Tensor]:
            return view.inputs.mul_(2.0), view.labels

        for call in (drawn, changed):
            spec = self.plant(monkeypatch, call, "label_flip")
            with pytest.raises(AssertionError, match=r"differs between equal views|changed the inputs"):
                _data.data_attack_is_repeatable_and_leaves_its_view_alone(spec)

    def test_in_a_raw_attack_that_says_it_is_not(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What lets hostile numbers pass is the declaration, and nothing else."""
        entry = attacks.entry("nan_inf_huge")
        spec = attacks.resolve("nan_inf_huge")
        _update.sends_one_finite_row_per_byzantine_process(spec)
        monkeypatch.setitem(attacks._entries, "nan_inf_huge", replace(entry, facts={**entry.facts, "raw": False}))
        with pytest.raises(AssertionError, match="not finite"):
            _update.sends_one_finite_row_per_byzantine_process(spec)

    def test_in_its_documentation(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(attacks.entry("ipm").factory, "__doc__", "Ipm(*, tau: float = 1.0) -> None")
        with pytest.raises(AssertionError, match="no docstring"):
            kit.is_a_documented_frozen_dataclass(attacks.resolve("ipm"))


def sent(name: str, view: object, **parameters: float) -> torch.Tensor:
    return attacks.make(attacks.resolve({"name": name, **parameters}))(view)


VIEW = kit.make_update_view("honest")
assert isinstance(VIEW, HonestView)
OWN = kit.make_update_view("own")


def test_sign_flip_sends_each_own_update_turned_round_and_scaled() -> None:
    assert torch.equal(sent("sign_flip", OWN, scale=3.0), -3.0 * OWN.own)


def test_ipm_points_against_the_honest_mean() -> None:
    mean = VIEW.honest.mean(dim=0)
    rows = sent("ipm", VIEW, tau=0.5)
    assert torch.allclose(rows, (-0.5 * mean).expand_as(rows), rtol=0, atol=1e-15)


def test_alie_stays_within_z_standard_deviations_of_each_coordinate() -> None:
    rows = sent("alie", VIEW, z=1.2)
    deviation = (rows - VIEW.honest.mean(dim=0)).abs() / VIEW.honest.std(dim=0, correction=0)
    assert torch.allclose(deviation, torch.full_like(deviation, 1.2))


def test_gaussian_rows_differ_between_byzantine_processes() -> None:
    rows = sent("gaussian", OWN, std=1.0)
    assert not torch.equal(rows[0], rows[1])


def test_label_flip_turns_the_first_label_into_the_last_one() -> None:
    view = DataView(
        inputs=torch.zeros(3, 2),
        clean=Rows(inputs=torch.zeros(3, 2), labels=torch.tensor([0, 1, 9])),
        labels=torch.tensor([0, 1, 9]),
        owners=torch.zeros(3, dtype=torch.int64),
        classes=10,
        round_index=0,
        rng=np.random.default_rng(0),
    )
    assert sent("label_flip", view)[1].tolist() == [9, 8, 0]


@pytest.mark.parametrize(
    ("name", "parameter"), [("sign_flip", "scale"), ("ipm", "tau"), ("alie", "z"), ("gaussian", "std")]
)
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_strength_that_is_not_positive_is_refused_by_name(name: str, parameter: str, value: float) -> None:
    with pytest.raises(CloisterError, match=f"{parameter} = "):
        attacks.resolve({"name": name, parameter: value})


def test_unknown_knowledge_is_refused_with_what_is_allowed() -> None:
    with pytest.raises(CloisterError, match=r"knowledge = 'owned' is unknown \(did you mean 'own'\?\)"):
        update_attack(knowledge="owned", source="test")


@dataclass
class Mutable:
    """An attack that can be changed after it was made."""

    strength: list[float] = field(default_factory=list)


def test_an_attack_that_is_not_frozen_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = attacks.entry("ipm")
    monkeypatch.setitem(attacks._entries, "ipm", type(entry)(**{**entry.__dict__, "factory": Mutable}))
    with pytest.raises(AssertionError, match="not frozen"):
        kit.is_a_documented_frozen_dataclass(Spec(name="ipm"))


@pytest.mark.parametrize("key", ["share", "split", "every"])
def test_a_parameter_with_a_schedules_name_is_refused(key: str) -> None:
    fields = [(key, float, field(default=1.0))]
    attack = make_dataclass("Attack", fields, frozen=True, kw_only=True)
    with pytest.raises(CloisterError, match=f"has a parameter '{key}', which a schedule sets"):
        update_attack(knowledge="own", source="test")(attack)
