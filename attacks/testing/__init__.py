"""The conformance kit: what every attack must do, for built-in ones and for those of third parties.

Each check takes a spec, runs the attack on small random inputs, and raises AssertionError with the reason.
In a test file of your own: `for check in conformance_checks(spec): check(spec)`.
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from types import MappingProxyType
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from attacks.api import (
    Backdoor,
    ChurnView,
    Claiming,
    ClaimView,
    DataAttack,
    DataView,
    OpenedRound,
    OwnView,
    Placing,
    Rejoining,
    Rows,
    UpdateAttack,
    World,
    attacks,
    look,
    view_class,
)
from attacks.testing._exchange import EXCHANGE_CHECKS
from attacks.testing._message import MESSAGE_CHECKS
from protocols.compression import compressors
from protocols.randomness import public_stream
from protocols.registry import Spec
from protocols.testing import Check, check_documented, examples_of
from protocols.testing.fault_placements import example_view

__all__ = ["conformance_checks", "example_specs", "make_data_view", "make_update_view", "make_world"]


def example_specs() -> list[Spec]:
    """Return every registered attack with its defaults and with each of its declared examples, without repeats."""
    return examples_of(attacks)


def make_world(*, f: int = 3, honest: int = 7, d: int = 11, seed: int = 0, round_index: int = 2) -> World:
    """Return a random round: own (f, d), honest (honest, d), clusters of two in order, and a median of their means.

    The senders are the first f processes. The round's code keeps half of the coordinates.
    """
    n = f + honest
    draws = torch.from_numpy(public_stream(seed, "conformance").normal(size=(2 * n + 2, d)))
    clusters = tuple(tuple(range(start, min(start + 2, n))) for start in range(0, n, 2))
    home = torch.arange(n) // 2
    sizes = torch.tensor([len(members) for members in clusters])

    def aggregate(rows: Tensor) -> Tensor:
        everybody = torch.cat([rows, draws[f:n]])
        sums = torch.zeros(len(clusters), d, dtype=torch.float64).index_add_(0, home, everybody)
        return (sums / sizes[:, None]).quantile(0.5, dim=0)

    return World(
        own=draws[:f],
        numbers=tuple(range(f)),
        n=n,
        round_index=round_index,
        rng=public_stream(seed, "attack"),
        model=draws[-1],
        previous=draws[-2] if round_index else None,
        memory={},
        code=compressors.make(compressors.resolve({"name": "rand_k", "k": 0.5})).code(d, public_stream(seed, "code")),
        clusters=clusters,
        opened=OpenedRound(clusters=clusters, means=draws[n : n + len(clusters)]) if round_index else None,
        honest=draws[f:n],
        honest_numbers=tuple(range(f, n)),
        pre=(),
        rule=Spec(name="median"),
        aggregate=aggregate,
    )


def make_update_view(knowledge: str, *, f: int = 3, honest: int = 7, d: int = 11, seed: int = 0) -> OwnView:
    """Return a random view of the declared knowledge: own (f, d), and honest (honest, d) where it is seen."""
    return look(knowledge, make_world(f=f, honest=honest, d=d, seed=seed))


def make_data_view(
    *, rows: int = 23, shape: tuple[int, ...] = (5,), classes: int = 4, seed: int = 0, owners: int = 3
) -> DataView:
    """Return random training rows: inputs (rows, *shape) float32, labels (rows,) int64, with scores of a model."""
    rng = public_stream(seed, "conformance")
    inputs = torch.from_numpy(rng.normal(size=(rows, *shape))).to(torch.float32)
    weights = torch.from_numpy(rng.normal(size=(inputs[0].numel(), classes))).to(torch.float32)
    labels = torch.from_numpy(rng.integers(0, classes, size=rows))
    return DataView(
        inputs=inputs,
        clean=Rows(inputs=inputs, labels=labels),
        labels=labels,
        owners=torch.arange(rows) % owners,
        classes=classes,
        round_index=2,
        rng=public_stream(seed, "attack"),
        scores=lambda some: some.flatten(1) @ weights,
    )


def conformance_checks(spec: Spec) -> list[Check]:
    """Return the checks that apply to the attack's surface."""
    return [*_COMMON, *_CHECKS[attacks.entry(spec.name).facts["surface"]]]


def _send(spec: Spec, view: OwnView) -> Tensor:
    return cast(UpdateAttack[Any], attacks.make(spec))(view)


def _facts(spec: Spec) -> Mapping[str, Any]:
    return attacks.entry(spec.name).facts


def is_a_documented_frozen_dataclass(spec: Spec) -> None:
    """The plug-in is a frozen dataclass with a one-line summary, a source and a default for each parameter."""
    check_documented(attacks, spec)


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


def places_f_processes(spec: Spec) -> None:
    """place(), where there is one, gives a mask (n,) of f processes, the same for the same view."""
    attack = attacks.make(spec)
    if not isinstance(attack, Placing):
        return
    for n, f, cluster_size in ((6, 0, 2), (7, 1, 3), (12, 4, 3), (16, 5, 1)):
        view = example_view(n, f, cluster_size)
        mask = attack.place(view)
        assert mask.shape == (n,), f"{spec} gives a mask of shape {mask.shape}; allowed: {(n,)}"
        assert mask.dtype == np.bool_, f"{spec} gives a mask of {mask.dtype}; allowed: bool"
        assert mask.sum() == f, f"{spec} makes {mask.sum()} processes faulty; allowed: {f}"
        assert (mask == attack.place(view)).all(), f"{spec} places other faults in the same view"


def claims_for_its_own_processes_only(spec: Spec) -> None:
    """claim(), where there is one, changes no honest process's features, and not the view."""
    attack = attacks.make(spec)
    if not isinstance(attack, Claiming):
        return
    features = public_stream(0, "conformance").random((9, 4))
    faulty = np.arange(9) % 4 == 0
    view = ClaimView(features=features.copy(), faulty=faulty, cluster_size=3, rng=public_stream(0, "attack"))
    claimed = attack.claim(view)
    assert claimed.shape == features.shape, f"{spec} claims features of shape {claimed.shape}"
    assert (claimed[~faulty] == features[~faulty]).all(), f"{spec} changes what honest processes are"
    assert (view.features == features).all(), f"{spec} changes its view"


def leaves_with_its_own_processes_only(spec: Spec) -> None:
    """An attack that uses churn has its own processes leave, once each, no more than may, repeatably."""
    attack = attacks.make(spec)
    if not isinstance(attack, Rejoining):
        return
    faulty, clusters = np.arange(12) % 3 == 0, tuple(tuple(range(j, j + 4)) for j in (0, 4, 8))
    features = public_stream(0, "conformance").random((12, 4))
    for most in (0, 1, 12):
        rng = public_stream(0, "attack")
        view = ChurnView(clusters=clusters, faulty=faulty, most=most, features=features, rng=rng)
        leaving = attack.leave(view)
        assert faulty[leaving].all(), f"{spec} has processes {leaving.tolist()} leave, of which some are not its own"
        assert len(set(leaving.tolist())) == len(leaving) <= most, f"{spec} has {len(leaving)} of at most {most} leave"
        again = replace(view, rng=public_stream(0, "attack"))
        assert np.array_equal(leaving, attack.leave(again)), f"{spec} differs between equal views"


_COMMON: list[Check] = [
    is_a_documented_frozen_dataclass,
    places_f_processes,
    claims_for_its_own_processes_only,
    leaves_with_its_own_processes_only,
]
_UPDATE: list[Check] = [
    sends_one_finite_row_per_byzantine_process,
    update_attack_is_repeatable,
    update_attack_leaves_its_view_alone,
    update_attack_reads_only_what_it_declared,
    nothing_outside_its_view_matters,
]
_DATA: list[Check] = [
    keeps_the_shapes_of_the_data,
    data_attack_is_repeatable_and_leaves_its_view_alone,
    names_a_target_label,
    aims_its_backdoor_at_rows_of_other_labels,
]
_CHECKS: Mapping[str, list[Check]] = MappingProxyType(
    {"update": _UPDATE, "data": _DATA, "exchange": EXCHANGE_CHECKS, "message": MESSAGE_CHECKS}
)
