"""The checks of attacks on data."""

from typing import cast

import torch

from attacks.api import Backdoor, DataAttack, DataView, attacks
from attacks.testing._views import make_data_view
from protocols.registry import Spec
from protocols.testing import Check

__all__ = ["DATA_CHECKS"]


def _data_attack(spec: Spec) -> DataAttack:
    return cast(DataAttack, attacks.make(spec))


def keeps_the_shapes_of_the_data(spec: Spec) -> None:
    """The attack returns inputs and labels of the shapes and types it got, labels within the classes."""
    for shape in ((5,), (1, 8, 8)):
        _keeps_the_shapes(spec, make_data_view(shape=shape))


def _keeps_the_shapes(spec: Spec, view: DataView) -> None:
    inputs, labels = _data_attack(spec)(view)
    assert inputs.shape == view.inputs.shape, f"{spec} returned inputs of shape {tuple(inputs.shape)}"
    assert inputs.dtype == view.inputs.dtype, f"{spec} returned inputs of type {inputs.dtype}"
    assert labels.shape == view.labels.shape, f"{spec} returned labels of shape {tuple(labels.shape)}"
    assert labels.dtype == torch.int64, f"{spec} returned labels of type {labels.dtype}"
    assert bool(torch.isfinite(inputs).all()), f"{spec} returned inputs that are not finite"
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


def aims_its_backdoor_at_rows_of_other_labels(spec: Spec) -> None:
    """test_rows(), where there is one, gives inputs of the shape of the others, and labels within the classes."""
    attack = _data_attack(spec)
    if not isinstance(attack, Backdoor):
        return
    for shape in ((5,), (1, 8, 8)):
        view = make_data_view(shape=shape)
        inputs, wanted = attack.test_rows(view.inputs, view.labels, view.classes, view.clean)
        assert inputs.shape == (len(wanted), *shape), f"{spec} tests rows of shape {tuple(inputs.shape)}"
        assert inputs.dtype == torch.float32, f"{spec} tests inputs of type {inputs.dtype}"
        assert wanted.dtype == torch.int64, f"{spec} wants labels of type {wanted.dtype}"
        assert bool(((wanted >= 0) & (wanted < view.classes)).all()), f"{spec} wants labels outside the classes"
        most = int((view.labels != wanted[0]).sum()) if len(wanted) else 0
        assert len(wanted) <= most, f"{spec} tests rows that have the wanted label by right"


DATA_CHECKS: list[Check] = [
    keeps_the_shapes_of_the_data,
    data_attack_is_repeatable_and_leaves_its_view_alone,
    names_a_target_label,
    aims_its_backdoor_at_rows_of_other_labels,
]
