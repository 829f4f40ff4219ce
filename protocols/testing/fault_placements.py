"""The conformance kit of fault placements: where `bench run` puts its faulty processes."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from protocols.placements import FaultPlacement, PlacementView, knowledge, placements
from protocols.population import Population
from protocols.registry import Spec
from protocols.testing import Check, check_documented, examples_of, refusal
from protocols.testing.clusterings import example_population
from protocols.tolerance.conditions import conditions_of
from protocols.types import Clustering, balanced_sizes

__all__ = ["conformance_checks", "example_specs", "example_view"]

_MOST_PROCESSES = 16
# Two draws of 20 of 60 processes, 20 whole clusters or 20 of one domain included, agree with probability below 1e-4.
_MANY, _FAULTY = 60, 20


def example_specs() -> list[Spec]:
    """Return every registered placement with its defaults and with each of its declared examples, without repeats."""
    return examples_of(placements)


def conformance_checks(spec: Spec) -> list[Check]:  # noqa: ARG001
    """Return the checks that apply to the placement.

    A placement whose number of faulty processes is f only on average is registered with facts={"on_average": True}.
    """
    return [
        is_a_documented_frozen_dataclass_that_says_what_it_knows,
        makes_f_processes_faulty,
        gives_the_same_mask_for_the_same_view,
        needs_exactly_the_facts_that_it_states,
        looks_at_the_clusters_exactly_if_it_says_so,
        places_them_elsewhere_for_another_seed,
    ]


def example_view(n: int, f: int, cluster_size: int, *, seed: int = 0) -> PlacementView:
    """Return a view of which everything is known, the same for the same arguments; faults sat elsewhere before."""
    rng = np.random.default_rng([seed, n, f])
    order, ends = rng.permutation(n), np.cumsum(balanced_sizes(n, cluster_size))[:-1]
    return PlacementView(
        population=example_population(n),
        f=f,
        conditions=conditions_of("additive"),
        tolerate=1,
        seed=seed,
        round_index=2,
        clustering=Clustering(clusters=tuple(tuple(part.tolist()) for part in np.split(order, ends))),
        previous=rng.permutation(n) < f,
    )


def _placement(spec: Spec) -> FaultPlacement:
    return placements.make(spec)


def is_a_documented_frozen_dataclass_that_says_what_it_knows(spec: Spec) -> None:
    """The plug-in is a frozen dataclass with a summary and a source, and says what it knows of the clusters."""
    check_documented(placements, spec)
    said = refusal(lambda: knowledge(placements.entry(spec.name)))
    assert said is None, said


def makes_f_processes_faulty(spec: Spec) -> None:
    """A mask of n, f of them faulty: exactly, or never more than there are where it is f on average."""
    exact = not placements.entry(spec.name).facts.get("on_average")
    for n in range(2, _MOST_PROCESSES + 1):
        for f in range(0, n // 3 + 1):
            mask = _placement(spec)(example_view(n, f, 1 + (n + f) % n, seed=f))
            what = f"{spec} gives shape {mask.shape} of {mask.dtype} with {mask.sum()} faulty, n = {n}, f = {f}"
            assert mask.shape == (n,), what
            assert mask.dtype == np.bool_, what
            assert not exact or mask.sum() == f, f"{what}; allowed: f, or facts={{'on_average': True}}"


def gives_the_same_mask_for_the_same_view(spec: Spec) -> None:
    """All randomness comes from the view's seed."""
    view = example_view(_MANY, _FAULTY, 3)
    first, again = _placement(spec)(view), _placement(spec)(view)
    assert (first == again).all(), f"{spec} places other faults in the same view"


def needs_exactly_the_facts_that_it_states(spec: Spec) -> None:
    """With the facts in `needs` alone it gives the same mask; without one of them it says which is missing."""
    placement, whole = _placement(spec), example_view(12, 4, 3)
    facts: dict[str, Any] = {name: getattr(whole.population, name) for name in placement.needs}
    alone = replace(whole, population=Population(n=12, **facts))
    same = (placement(alone) == placement(whole)).all()
    assert same, f"{spec} uses facts that are not among its needs {placement.needs}"
    for name in placement.needs:
        fewer = replace(whole, population=Population(n=12, **{**facts, name: None}))
        said = refusal(partial(placement, fewer))
        assert said is not None, f"{spec} says that it needs {name}, and does without"
        assert f"needs the {name}" in said, f"{spec} without {name} says {said!r}; allowed: what is missing"


def looks_at_the_clusters_exactly_if_it_says_so(spec: Spec) -> None:
    """Who is said to know nothing gets no clusters; who knows them refuses to do without."""
    placement, view = _placement(spec), example_view(12, 4, 3)
    knows = knowledge(placements.entry(spec.name))
    said = refusal(lambda: placement(replace(view, clustering=None)))
    assert (said is None) == (knows == "nothing"), (
        f"{spec} is registered with knows = {knows!r}; blind, it says {said!r}"
    )


def places_them_elsewhere_for_another_seed(spec: Spec) -> None:
    """Another seed gives other faults."""
    view = example_view(_MANY, _FAULTY, 3)
    masks = [_placement(spec)(replace(view, seed=seed)) for seed in (1, 2, 3)]
    assert any((mask != masks[0]).any() for mask in masks[1:]), f"{spec} places the same faults for every seed"
