"""The conformance kit: what every attack must do, for built-in ones and for those of third parties.

Each check takes a spec, runs the attack on small random inputs, and raises AssertionError with the reason.
In a test file of your own: `for check in conformance_checks(spec): check(spec)`.
"""

from dataclasses import fields
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from attacks.api import DataAttack, DataView, HonestView, OwnView, UpdateAttack, attacks, view_class
from protocols.randomness import public_stream
from protocols.registry import Spec
from protocols.testing import Check, check_documented, examples_of

__all__ = ["conformance_checks", "example_specs", "make_data_view", "make_update_view"]


def example_specs() -> list[Spec]:
    """Return every registered attack with its defaults and with each of its declared examples, without repeats."""
    return examples_of(attacks)


def make_update_view(
    knowledge: str, *, f: int = 3, honest: int = 7, d: int = 11, seed: int = 0
) -> OwnView | HonestView:
    """Return a random view of the declared knowledge: own (f, d), and honest (honest, d) where it is seen."""
    draws = torch.from_numpy(public_stream(seed, "conformance").normal(size=(f + honest, d)))
    rng = public_stream(seed, "attack")
    if view_class(knowledge) is OwnView:
        return OwnView(own=draws[:f], n=f + honest, round_index=2, rng=rng)
    return HonestView(own=draws[:f], honest=draws[f:], n=f + honest, round_index=2, rng=rng)


def make_data_view(*, rows: int = 23, features: int = 5, classes: int = 4, seed: int = 0) -> DataView:
    """Return random training rows: inputs (rows, features) float32, labels (rows,) int64."""
    rng = public_stream(seed, "conformance")
    return DataView(
        inputs=torch.from_numpy(rng.normal(size=(rows, features))).to(torch.float32),
        labels=torch.from_numpy(rng.integers(0, classes, size=rows)),
        classes=classes,
        rng=public_stream(seed, "attack"),
    )


def conformance_checks(spec: Spec) -> list[Check]:
    """Return the checks that apply to the attack's surface."""
    surface = attacks.entry(spec.name).facts["surface"]
    return [*_COMMON, *(_UPDATE if surface == "update" else _DATA)]


def _send(spec: Spec, view: OwnView | HonestView) -> Tensor:
    return cast(UpdateAttack[Any], attacks.make(spec))(view)


def is_a_documented_frozen_dataclass(spec: Spec) -> None:
    """The plug-in is a frozen dataclass with a one-line summary, a source and a default for each parameter."""
    check_documented(attacks, spec)


def sends_one_finite_row_per_byzantine_process(spec: Spec) -> None:
    """The attack returns float64 rows (f, d), finite on finite inputs, for one process and for several."""
    knowledge = attacks.entry(spec.name).facts["knowledge"]
    for f, honest, d in ((1, 2, 1), (3, 7, 11), (5, 5, 4)):
        sent = _send(spec, make_update_view(knowledge, f=f, honest=honest, d=d))
        assert sent.shape == (f, d), f"{spec} sent shape {tuple(sent.shape)}; allowed: {(f, d)}"
        assert sent.dtype == torch.float64, f"{spec} sent {sent.dtype}; allowed: torch.float64"
        assert bool(torch.isfinite(sent).all()), f"{spec} sent numbers that are not finite"


def update_attack_is_repeatable(spec: Spec) -> None:
    """Equal views give equal vectors: all randomness comes from the view's stream."""
    knowledge = attacks.entry(spec.name).facts["knowledge"]
    torch.manual_seed(1)
    first = _send(spec, make_update_view(knowledge))
    torch.manual_seed(2)
    np.random.seed(3)  # noqa: NPY002 - to show that global state does not matter
    assert torch.equal(first, _send(spec, make_update_view(knowledge))), f"{spec} differs between equal views"


def update_attack_leaves_its_view_alone(spec: Spec) -> None:
    """The view's tensors are the same after the attack as before it."""
    knowledge = attacks.entry(spec.name).facts["knowledge"]
    view, untouched = make_update_view(knowledge), make_update_view(knowledge)
    _send(spec, view)
    assert torch.equal(view.own, untouched.own), f"{spec} changed the updates in its view"
    if isinstance(view, HonestView) and isinstance(untouched, HonestView):
        assert torch.equal(view.honest, untouched.honest), f"{spec} changed the honest updates in its view"


def update_attack_reads_only_what_it_declared(spec: Spec) -> None:
    """The attack runs on a view that has no other fields than its knowledge's."""
    knowledge = attacks.entry(spec.name).facts["knowledge"]
    view = make_update_view(knowledge)
    allowed = {field.name for field in fields(view_class(knowledge))}
    assert {name for name in dir(view) if not name.startswith("_")} == allowed, f"{type(view)} shows more"
    _send(spec, view)


def _data_attack(spec: Spec) -> DataAttack:
    return cast(DataAttack, attacks.make(spec))


def keeps_the_shapes_of_the_data(spec: Spec) -> None:
    """The attack returns inputs and labels of the shapes and types it got, labels within the classes."""
    view = make_data_view()
    inputs, labels = _data_attack(spec)(view)
    assert inputs.shape == view.inputs.shape, f"{spec} returned inputs of shape {tuple(inputs.shape)}"
    assert inputs.dtype == view.inputs.dtype, f"{spec} returned inputs of type {inputs.dtype}"
    assert labels.shape == view.labels.shape, f"{spec} returned labels of shape {tuple(labels.shape)}"
    assert labels.dtype == torch.int64, f"{spec} returned labels of type {labels.dtype}"
    assert bool(((labels >= 0) & (labels < view.classes)).all()), f"{spec} returned labels outside the classes"


def data_attack_is_repeatable_and_leaves_its_view_alone(spec: Spec) -> None:
    """Equal views give equal data, and the view's tensors stay as they were."""
    view, again, fresh = make_data_view(), make_data_view(), make_data_view()
    first, second = _data_attack(spec)(view), _data_attack(spec)(again)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True)), f"{spec} differs between equal views"
    assert torch.equal(view.inputs, fresh.inputs), f"{spec} changed the inputs in its view"
    assert torch.equal(view.labels, fresh.labels), f"{spec} changed the labels in its view"


def names_a_target_label(spec: Spec) -> None:
    """target() names one of the classes for every label."""
    labels = torch.arange(4)
    target = _data_attack(spec).target(labels, 4)
    assert target.shape == labels.shape, f"{spec} names {tuple(target.shape)} targets for {tuple(labels.shape)} labels"
    assert bool(((target >= 0) & (target < 4)).all()), f"{spec} names targets outside the classes"


_COMMON: list[Check] = [is_a_documented_frozen_dataclass]
_UPDATE: list[Check] = [
    sends_one_finite_row_per_byzantine_process,
    update_attack_is_repeatable,
    update_attack_leaves_its_view_alone,
    update_attack_reads_only_what_it_declared,
]
_DATA: list[Check] = [
    keeps_the_shapes_of_the_data,
    data_attack_is_repeatable_and_leaves_its_view_alone,
    names_a_target_label,
]
