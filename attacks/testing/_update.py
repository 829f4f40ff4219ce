"""The checks of attacks on updates."""

from collections.abc import Mapping
from dataclasses import fields, replace
from types import MappingProxyType
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from attacks.api import OpenedRound, OwnView, UpdateAttack, attacks, look, view_class
from attacks.testing._views import make_update_view, make_world
from protocols.registry import Spec
from protocols.testing import Check

__all__ = ["UPDATE_CHECKS"]


def _send(spec: Spec, view: OwnView) -> Tensor:
    return cast(UpdateAttack[Any], attacks.make(spec))(view)


def _facts(spec: Spec) -> Mapping[str, Any]:
    return attacks.entry(spec.name).facts


def sends_one_finite_row_per_byzantine_process(spec: Spec) -> None:
    """The attack returns float64 rows (f, d), for one process and for several; finite ones, unless it says `raw`."""
    facts = _facts(spec)
    for f, honest, d in ((1, 2, 1), (3, 7, 11), (5, 5, 4)):
        for round_index in (0, 2):
            world = make_world(f=f, honest=honest, d=d, round_index=round_index)
            sent = _send(spec, look(facts["knowledge"], world))
            assert sent.shape == (f, d), f"{spec} sent shape {tuple(sent.shape)}; allowed: {(f, d)}"
            assert sent.dtype == torch.float64, f"{spec} sent {sent.dtype}; allowed: torch.float64"
            finite = facts.get("raw") or bool(torch.isfinite(sent).all())
            assert finite, f"{spec} sent numbers that are not finite"


def update_attack_is_repeatable(spec: Spec) -> None:
    """Equal views give equal vectors: all randomness comes from the view's stream."""
    knowledge = _facts(spec)["knowledge"]
    torch.manual_seed(1)
    first = _send(spec, make_update_view(knowledge))
    torch.manual_seed(2)
    np.random.seed(3)  # noqa: NPY002 - to show that global state does not matter
    assert _equal(first, _send(spec, make_update_view(knowledge))), f"{spec} differs between equal views"


def _equal(first: Tensor, second: Tensor) -> bool:
    return torch.equal(first.isnan(), second.isnan()) and torch.equal(first.nan_to_num(0.0), second.nan_to_num(0.0))


def update_attack_leaves_its_view_alone(spec: Spec) -> None:
    """The view's tensors are the same after the attack as before it; only its memory is for writing."""
    knowledge = _facts(spec)["knowledge"]
    view, untouched = make_update_view(knowledge), make_update_view(knowledge)
    _send(spec, view)
    for name, before in _tensors(untouched).items():
        assert torch.equal(before, _tensors(view)[name]), f"{spec} changed {name!r} in its view"


def _tensors(view: OwnView) -> dict[str, Tensor]:
    values = {field.name: getattr(view, field.name) for field in fields(view)}
    values = {name: each.means if isinstance(each, OpenedRound) else each for name, each in values.items()}
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}


def update_attack_reads_only_what_it_declared(spec: Spec) -> None:
    """The attack runs on a view that has no other fields than its knowledge's."""
    knowledge = _facts(spec)["knowledge"]
    view = make_update_view(knowledge)
    allowed = {field.name for field in fields(view_class(knowledge))}
    assert {name for name in dir(view) if not name.startswith("_")} == allowed, f"{type(view)} shows more"
    _send(spec, view)


def nothing_outside_its_view_matters(spec: Spec) -> None:
    """In two rounds that differ in everything that its knowledge does not allow it sends the same."""
    knowledge = _facts(spec)["knowledge"]
    allowed = {field.name for field in fields(view_class(knowledge))}
    for round_index in (0, 2):
        hidden = {name: value for name, value in _another(round_index).items() if name not in allowed}
        first = _send(spec, look(knowledge, make_world(round_index=round_index)))
        second = _send(spec, look(knowledge, replace(make_world(round_index=round_index), **hidden)))
        assert _equal(first, second), f"{spec} sends something else when {', '.join(hidden)} change"


def _another(round_index: int) -> Mapping[str, Any]:
    """Return, for each field that some knowledge does not allow, a value that differs from make_world's."""
    world = make_world(seed=1, round_index=round_index)
    return MappingProxyType(
        {
            "clusters": world.clusters[::-1],
            "opened": world.opened,
            "honest": world.honest,
            "honest_numbers": tuple(number + 100 for number in world.honest_numbers),
            "pre": (Spec(name="nnm"),),
            "rule": Spec(name="mean"),
            "aggregate": world.aggregate,
        }
    )


UPDATE_CHECKS: list[Check] = [
    sends_one_finite_row_per_byzantine_process,
    update_attack_is_repeatable,
    update_attack_leaves_its_view_alone,
    update_attack_reads_only_what_it_declared,
    nothing_outside_its_view_matters,
]
