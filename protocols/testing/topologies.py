"""The conformance kit of topologies: who exchanges with whom where there is no server."""

import torch

from protocols.decentralised.graph import contraction, metropolis_weights
from protocols.decentralised.graphs import Topology, topologies
from protocols.registry import Spec
from protocols.testing import Check, check_documented, examples_of

__all__ = ["conformance_checks", "example_specs"]

_MOST_CLUSTERS = 20


def example_specs() -> list[Spec]:
    """Return every registered topology with its defaults and with each of its declared examples, without repeats."""
    return examples_of(topologies)


def conformance_checks(spec: Spec) -> list[Check]:
    """Return the checks that apply to the topology; a server has no graph, so it need only be documented."""
    if topologies.entry(spec.name).facts.get("server"):
        return [is_a_documented_frozen_dataclass]
    return [
        is_a_documented_frozen_dataclass,
        gives_a_graph_of_all_clusters_or_says_why_not,
        gives_the_same_graph_for_the_same_seed,
        lets_gossip_agree,
    ]


def _topology(spec: Spec) -> Topology:
    return topologies.make(spec)


def _fitting(spec: Spec) -> list[int]:
    return [m for m in range(1, _MOST_CLUSTERS + 1) if _topology(spec).unfit(m) is None]


def is_a_documented_frozen_dataclass(spec: Spec) -> None:
    """The plug-in is a frozen dataclass with a summary, a source and a default for each parameter."""
    check_documented(topologies, spec)


def gives_a_graph_of_all_clusters_or_says_why_not(spec: Spec) -> None:
    """For each number of clusters there is a connected graph of them, or a sentence that says why there is none."""
    assert _fitting(spec), f"{spec} fits no number of clusters up to {_MOST_CLUSTERS}"
    for m in range(1, _MOST_CLUSTERS + 1):
        why = _topology(spec).unfit(m)
        if why is not None:
            assert str(m) in why, f"{spec} says {why!r} of {m} clusters; allowed: a sentence that names the number"
            continue
        graph = _topology(spec)(m=m, seed=3)
        assert graph.m == m, f"{spec} gives a graph of {graph.m} clusters for {m}"
        assert m == 1 or min(graph.degrees) > 0, f"{spec} leaves one of {m} clusters alone"


def gives_the_same_graph_for_the_same_seed(spec: Spec) -> None:
    """All randomness comes from the seed, and global random state changes nothing."""
    for m in _fitting(spec)[-3:]:
        first = _topology(spec)(m=m, seed=5)
        torch.manual_seed(1)
        assert _topology(spec)(m=m, seed=5) == first, f"{spec} gives another graph of {m} clusters for the same seed"


def lets_gossip_agree(spec: Spec) -> None:
    """Metropolis weights on it have a spectral gap: plain gossip comes to the average."""
    for m in _fitting(spec):
        graph = _topology(spec)(m=m, seed=1)
        factor = contraction(metropolis_weights(graph))
        assert factor < 1.0 - 1e-6, f"{spec} of {m} clusters has the contraction {factor}; allowed: below 1"
