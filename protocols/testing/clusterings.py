"""The conformance kit of clustering policies.

Every check runs on every size from 1 to 16 processes that the policy takes, with all facts about them known.
"""

import random
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from protocols.clustering import ClusteringPolicy, clusterings
from protocols.population import Population, Report
from protocols.randomness import public_stream
from protocols.registry import Spec
from protocols.testing import Check, check_documented, examples_of, refusal
from protocols.types import Clustering

__all__ = ["conformance_checks", "example_population", "example_specs"]

_MOST_PROCESSES = 16
_SEEDS = (0, 1, 2**31)
_ROUNDS = (0, 1, 7)
# So many processes in clusters of so many that another seed gives the same clusters by chance with probability below
# 1e-6, also where pairs or threes of processes always stay together (16 batches in pairs: 2 million ways).
_MANY, _LARGE = 48, 6


@cache
def example_population(n: int) -> Population:
    """Return a population of which all facts are known, the same for the same n."""
    rng = public_stream(0, "example population", n)
    ends = sorted({0, n // 3, n // 2, n})
    clusters = tuple(tuple(range(a, b)) for a, b in pairwise(ends))
    return Population(
        n=n,
        domains=rng.integers(4, size=n),
        trust=rng.integers(5, size=n) / 4,  # equal scores are part of the game
        positions=rng.normal(size=(n, 2)),
        features=rng.normal(size=(n, 3)),
        reports=(Report(round_index=0, clusters=clusters, suspected=frozenset({0})),),
    )


def example_specs() -> list[Spec]:
    """Return every registered policy with its defaults and with each of its declared examples, without repeats."""
    return examples_of(clusterings)


def conformance_checks(spec: Spec) -> list[Check]:
    """Return the checks that apply to the policy."""
    checks = [
        is_a_documented_frozen_dataclass,
        puts_every_process_into_exactly_one_cluster,
        forms_clusters_whose_sizes_differ_by_at_most_one,
        states_the_sizes_that_it_forms,
        states_the_smallest_cluster_that_it_forms,
        forms_the_same_clusters_from_the_same_arguments,
        refuses_a_cluster_size_that_does_not_fit,
        needs_exactly_the_facts_that_it_states,
        depends_on_the_seed_exactly_if_it_says_so,
    ]
    return [*checks, keeps_its_clusters_for_a_period] if "every" in dict(spec.parameters) else checks


def _policy(spec: Spec) -> ClusteringPolicy:
    return clusterings.make(spec)


def _accepted(policy: ClusteringPolicy) -> Iterator[tuple[int, int]]:
    """Yield (n, cluster size) for every size that the policy takes."""
    for n in range(1, _MOST_PROCESSES + 1):
        for cluster_size in range(1, n + 1):
            if refusal(lambda n=n, c=cluster_size: policy.sizes(n=n, cluster_size=c)) is None:
                yield n, cluster_size


def _formed(spec: Spec) -> Iterator[tuple[int, int, Clustering]]:
    """Yield (n, cluster size, clusters) for every size that the policy takes, over some seeds and rounds."""
    policy = _policy(spec)
    for n, cluster_size in _accepted(policy):
        # The pairs take turns: all sizes times nine pairs would only be slower.
        k = n + cluster_size
        seed, round_index = _SEEDS[k % 3], _ROUNDS[k // 3 % 3]
        population = example_population(n)
        yield (
            n,
            cluster_size,
            policy(population=population, cluster_size=cluster_size, seed=seed, round_index=round_index),
        )


def _as_sets(clustering: Clustering) -> frozenset[frozenset[int]]:
    return frozenset(map(frozenset, clustering.clusters))


def is_a_documented_frozen_dataclass(spec: Spec) -> None:
    """The plug-in is a frozen dataclass with a summary, a source and a default for each parameter."""
    check_documented(clusterings, spec)


def puts_every_process_into_exactly_one_cluster(spec: Spec) -> None:
    """The clusters are a partition of 0..n-1."""
    for n, cluster_size, formed in _formed(spec):
        members = sorted(process for cluster in formed.clusters for process in cluster)
        assert members == list(range(n)), f"{spec} puts {members} into clusters, n = {n}, cluster_size = {cluster_size}"


def forms_clusters_whose_sizes_differ_by_at_most_one(spec: Spec) -> None:
    """Sizes are balanced, and no cluster is smaller than the policy says."""
    for n, cluster_size, formed in _formed(spec):
        what = f"{spec} forms sizes {formed.sizes}, n = {n}, cluster_size = {cluster_size}"
        assert max(formed.sizes) - min(formed.sizes) <= 1, f"{what}; allowed: sizes that differ by at most one"
        least = _policy(spec).smallest_cluster(cluster_size)
        assert min(formed.sizes) >= least, f"{what}; allowed: at least smallest_cluster = {least}"


def states_the_sizes_that_it_forms(spec: Spec) -> None:
    """What is planned from the sizes before a run is what the run then has."""
    for n, cluster_size, formed in _formed(spec):
        stated = _policy(spec).sizes(n=n, cluster_size=cluster_size)
        found = tuple(sorted(formed.sizes, reverse=True))
        assert stated == found, f"{spec} states sizes {stated} of n = {n}, cluster_size = {cluster_size}; forms {found}"


def states_the_smallest_cluster_that_it_forms(spec: Spec) -> None:
    """smallest_cluster is the smallest size that occurs, not just a bound, and grows with the size asked for."""
    found: dict[int, int] = {}
    for _, cluster_size, formed in _formed(spec):
        found[cluster_size] = min(found.get(cluster_size, _MOST_PROCESSES), *formed.sizes)
    stated = {cluster_size: _policy(spec).smallest_cluster(cluster_size) for cluster_size in found}
    assert stated, f"{spec} takes no size of up to {_MOST_PROCESSES} processes"
    assert stated == found, f"{spec} states the smallest clusters {stated}, but forms {found}"
    ordered = [stated[cluster_size] for cluster_size in sorted(stated)]
    assert all(a <= b for a, b in pairwise(ordered)), f"{spec} forms smaller clusters when asked for larger ones"


def forms_the_same_clusters_from_the_same_arguments(spec: Spec) -> None:
    """All randomness comes from the seed and the round: neither global state nor earlier calls matter."""
    arguments: list[Any] = [{"seed": seed, "round_index": turn} for seed in _SEEDS for turn in _ROUNDS]
    population = example_population(13)
    state, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - to show that it does not matter
    try:
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002
        policy = _policy(spec)
        first = [policy(population=population, cluster_size=3, **given) for given in arguments]
        random.seed(2)
        np.random.seed(2)  # noqa: NPY002
        policy = _policy(spec)
        again = [policy(population=population, cluster_size=3, **given) for given in reversed(arguments)]
    finally:
        random.setstate(state)
        np.random.set_state(legacy)  # noqa: NPY002
    assert first == again[::-1], f"{spec} forms other clusters from the same seed and round"


def refuses_a_cluster_size_that_does_not_fit(spec: Spec) -> None:
    """A cluster size above n is refused, unless the policy says that it forms smaller clusters than asked for."""
    policy = _policy(spec)
    for n, cluster_size in ((1, 2), (5, 6), (5, 500)):
        if policy.smallest_cluster(cluster_size) <= n:
            continue
        calls = (
            lambda n=n, c=cluster_size: policy.sizes(n=n, cluster_size=c),
            lambda n=n, c=cluster_size: policy(population=example_population(n), cluster_size=c, seed=0, round_index=0),
        )
        for call in calls:
            assert refusal(call) is not None, f"{spec} accepts cluster_size = {cluster_size} for n = {n} processes"


def needs_exactly_the_facts_that_it_states(spec: Spec) -> None:
    """With the facts in `needs` alone it forms the same clusters; without one of them it says which is missing."""
    policy = _policy(spec)
    whole = example_population(13)
    facts = {name: getattr(whole, name) for name in policy.needs}
    given: dict[str, Any] = {"cluster_size": 3, "seed": 1, "round_index": 7}
    alone = policy(population=Population(n=13, **facts), **given)
    assert alone == policy(population=whole, **given), f"{spec} uses facts that are not among its needs {policy.needs}"
    for name in policy.needs:
        fewer = Population(n=13, **{key: value for key, value in facts.items() if key != name})
        said = refusal(lambda fewer=fewer: policy(population=fewer, **given))
        assert said is not None, f"{spec} says that it needs {name}, and does without"
        assert f"needs the {name}" in said, f"{spec} without {name} says {said!r}; allowed: what is missing"


def depends_on_the_seed_exactly_if_it_says_so(spec: Spec) -> None:
    """Clusters of another seed differ where the policy is registered as drawn, and nowhere else."""
    policy, drawn = _policy(spec), bool(clusterings.entry(spec.name).facts.get("drawn"))
    population = replace(example_population(_MANY), trust=np.full(_MANY, 0.5), reports=())
    given: Any = {"population": population, "cluster_size": _LARGE, "round_index": 0}
    clusters = [_as_sets(policy(seed=seed, **given)) for seed in _SEEDS]
    same = [a == b for a, b in pairwise(clusters)]
    if drawn:
        assert not any(same), f"{spec} is registered as drawn, and another seed gives the same clusters"
    else:
        assert all(same), f"{spec} depends on the seed; allowed: facts={{'drawn': True}}, or the same for every seed"


def keeps_its_clusters_for_a_period(spec: Spec) -> None:
    """`every` rounds share their clusters and the next have others where they are drawn; 0 keeps them for ever."""
    policy, every = _policy(spec), int(dict(spec.parameters)["every"])
    population = replace(example_population(_MANY), trust=np.full(_MANY, 0.5), reports=())

    def at(round_index: int) -> frozenset[frozenset[int]]:
        return _as_sets(policy(population=population, cluster_size=_LARGE, seed=1, round_index=round_index))

    length = every or 5
    first = at(0)
    assert all(at(t) == first for t in range(length)), f"{spec} changes its clusters within a period"
    if not every:
        assert at(10**6) == first, f"{spec} changes its clusters, which every = 0 forbids"
    elif clusterings.entry(spec.name).facts.get("drawn"):
        assert at(every) != first, f"{spec} keeps its clusters in the next period"
        assert at(2 * every - 1) == at(every), f"{spec} changes its clusters within the second period"
