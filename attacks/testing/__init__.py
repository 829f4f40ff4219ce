"""The conformance kit: what every attack must do, for built-in ones and for those of third parties.

Each check takes a spec, runs the attack on small random inputs, and raises AssertionError with the reason.
In a test file of your own: `for check in conformance_checks(spec): check(spec)`.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from attacks.api import ChurnView, Claiming, ClaimView, Placing, Rejoining, attacks
from attacks.testing._data import DATA_CHECKS
from attacks.testing._exchange import EXCHANGE_CHECKS
from attacks.testing._message import MESSAGE_CHECKS
from attacks.testing._update import UPDATE_CHECKS
from attacks.testing._views import make_data_view, make_update_view, make_world
from protocols.randomness import public_stream
from protocols.registry import Spec
from protocols.testing import Check, check_documented, examples_of
from protocols.testing.fault_placements import example_view

__all__ = ["conformance_checks", "example_specs", "make_data_view", "make_update_view", "make_world"]


def example_specs() -> list[Spec]:
    """Return every registered attack with its defaults and with each of its declared examples, without repeats."""
    return examples_of(attacks)


def conformance_checks(spec: Spec) -> list[Check]:
    """Return the checks that apply to the attack's surface."""
    return [*_COMMON, *_CHECKS[attacks.entry(spec.name).facts["surface"]]]


def is_a_documented_frozen_dataclass(spec: Spec) -> None:
    """The plug-in is a frozen dataclass with a one-line summary, a source and a default for each parameter."""
    check_documented(attacks, spec)


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
_CHECKS: Mapping[str, list[Check]] = MappingProxyType(
    {"update": UPDATE_CHECKS, "data": DATA_CHECKS, "exchange": EXCHANGE_CHECKS, "message": MESSAGE_CHECKS}
)
