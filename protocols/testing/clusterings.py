"""The conformance kit of clustering policies."""

import random
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from protocols.clustering import ClusteringPolicy, clusterings
from protocols.registry import Spec
from protocols.testing import Check, check_documented, examples_of, refusal
from protocols.types import Clustering

__all__ = ["conformance_checks", "example_specs"]

_MOST_PROCESSES = 16
_SEEDS = (0, 1, 2**31)
_ROUNDS = (0, 1, 7)


def example_specs() -> list[Spec]:
    """Return every registered policy with its defaults and with each of its declared examples, without repeats."""
    return examples_of(clusterings)


def conformance_checks(spec: Spec) -> list[Check]:  # noqa: ARG001
    """Return the checks that apply to the policy: all of them."""
    return [
        is_a_documented_frozen_dataclass,
        puts_every_process_into_exactly_one_cluster,
        forms_clusters_whose_sizes_differ_by_at_most_one,
        states_the_smallest_cluster_that_it_forms,
        forms_the_same_clusters_from_the_same_arguments,
        refuses_a_cluster_size_that_does_not_fit,
    ]


def _policy(spec: Spec) -> ClusteringPolicy:
    return clusterings.make(spec)


def _formed(spec: Spec) -> Iterator[tuple[int, int, Clustering]]:
    """Yield (n, cluster size, clusters) for every size that fits, over some seeds and rounds."""
    policy = _policy(spec)
    for n in range(1, _MOST_PROCESSES + 1):
        for cluster_size in range(1, n + 1):
            # The three pairs take turns: 136 sizes times 9 pairs would only be slower.
            k = n + cluster_size
            seed, round_index = _SEEDS[k % 3], _ROUNDS[k // 3 % 3]
            yield (
                n,
                cluster_size,
                policy(n=n, cluster_size=cluster_size, seed=seed, round_index=round_index),
            )


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


def states_the_smallest_cluster_that_it_forms(spec: Spec) -> None:
    """smallest_cluster is the smallest size that occurs, not just a bound, and not more than was asked for."""
    found: dict[int, int] = {}
    for _, cluster_size, formed in _formed(spec):
        found[cluster_size] = min(found.get(cluster_size, _MOST_PROCESSES), *formed.sizes)
    stated = {cluster_size: _policy(spec).smallest_cluster(cluster_size) for cluster_size in found}
    assert stated == found, f"{spec} states the smallest clusters {stated}, but forms {found}"
    ordered = [stated[cluster_size] for cluster_size in sorted(stated)]
    assert all(a <= b for a, b in pairwise(ordered)), f"{spec} forms smaller clusters when asked for larger ones"


def forms_the_same_clusters_from_the_same_arguments(spec: Spec) -> None:
    """All randomness comes from the seed and the round: neither global state nor earlier calls matter."""
    arguments = [(seed, round_index) for seed in _SEEDS for round_index in _ROUNDS]
    state, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - to show that it does not matter
    try:
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002
        policy = _policy(spec)
        first = [policy(n=13, cluster_size=3, seed=a, round_index=b) for a, b in arguments]
        random.seed(2)
        np.random.seed(2)  # noqa: NPY002
        policy = _policy(spec)
        again = [policy(n=13, cluster_size=3, seed=a, round_index=b) for a, b in reversed(arguments)]
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
        said = refusal(lambda n=n, c=cluster_size: policy(n=n, cluster_size=c, seed=0, round_index=0))
        assert said is not None, f"{spec} accepts cluster_size = {cluster_size} for n = {n} processes"
