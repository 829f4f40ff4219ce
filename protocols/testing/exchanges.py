"""The conformance kit of exchange rules: what clusters make of what they hear where there is no server."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from protocols.decentralised.graph import Graph
from protocols.decentralised.graphs import topologies
from protocols.decentralised.heard import Heard
from protocols.decentralised.rules import Exchanged, ExchangeRule, exchanges
from protocols.randomness import public_stream
from protocols.registry import Spec
from protocols.testing import Check, check_documented, examples_of, refusal

__all__ = ["conformance_checks", "example_specs", "graphs", "make_heard", "worst_ratio"]

# Sums of at most 13 products of numbers of order 1: rounding is below 1e-13.
_TOLERANCE = 1e-12
_POISONS = (math.nan, math.inf, -math.inf, 1e300, 1e150, 1e30, -1e9, 1e-40, 0.0)


def example_specs() -> list[Spec]:
    """Return every registered rule with its defaults and with each of its declared examples, without repeats."""
    return examples_of(exchanges)


def conformance_checks(spec: Spec) -> list[Check]:  # noqa: ARG001
    """Return the checks that apply to the rule: all of them."""
    return [
        is_a_documented_frozen_dataclass,
        withstands_no_more_of_fewer_neighbours,
        hears_along_the_edges_only,
        keeps_what_all_agree_on,
        leaves_what_it_is_given_alone_and_repeats_itself,
        moves_with_a_shift,
        does_not_depend_on_the_numbers_of_the_clusters,
        is_moved_no_farther_than_it_says,
        is_not_moved_by_hostile_numbers,
        refuses_to_tolerate_less_than_nobody,
    ]


def graphs() -> list[Graph]:
    """Return small graphs of every kind, sparse and dense."""
    asked = [("ring", 5), ("ring", 8), ("complete", 7), ("torus", 9), ("random_regular", 10), ("erdos_renyi", 12)]
    return [topologies.make(topologies.resolve(name))(m=m, seed=2) for name, m in asked]


def make_heard(graph: Graph, *, d: int = 6, seed: int = 0, liars: int = 0) -> Heard:
    """Return random values of a spread of about 1; the first `liars` of a random order tell everybody another one."""
    rng = public_stream(seed, "conformance", graph.m, d)
    values = torch.from_numpy(rng.normal(size=(graph.m, d)))
    chosen = torch.from_numpy(rng.permutation(graph.m)[:liars])
    return Heard(values=values, graph=graph, liars=chosen, told=torch.from_numpy(rng.normal(size=(liars, graph.m, d))))


def _rule(spec: Spec) -> ExchangeRule:
    return exchanges.make(spec)


def _run(spec: Spec, heard: Heard, tolerate: int, seed: int = 0) -> Exchanged:
    return _rule(spec)(heard, tolerate, public_stream(seed, "exchange"))


def _cases() -> Iterator[tuple[Heard, int]]:
    for graph in graphs():
        for tolerate in (0, 1, 2):
            for liars in {0, tolerate}:
                yield make_heard(graph, liars=liars, seed=tolerate), tolerate


def is_a_documented_frozen_dataclass(spec: Spec) -> None:
    """The plug-in is a frozen dataclass with a summary, a source and a default for each parameter."""
    check_documented(exchanges, spec)


def withstands_no_more_of_fewer_neighbours(spec: Spec) -> None:
    """The number of Byzantine neighbours that it withstands is from 0 to all of them, and grows with their number."""
    found = [_rule(spec).breakdown(degree) for degree in range(33)]
    assert found == sorted(found), f"{spec} withstands fewer of more neighbours: {found}"
    assert all(0 <= most <= degree for degree, most in enumerate(found)), f"{spec} withstands {found}"


def hears_along_the_edges_only(spec: Spec) -> None:
    """It asks neighbours only, gives one finite row a cluster, and what others hold changes nothing."""
    for heard, tolerate in _cases():
        found = _run(spec, heard, tolerate)
        assert found.values.shape == heard.values.shape, f"{spec} returns shape {tuple(found.values.shape)}"
        assert found.values.dtype == torch.float64, f"{spec} returns {found.values.dtype}; allowed: torch.float64"
        assert bool(torch.isfinite(found.values).all()), f"{spec} returns numbers that are not finite"
        assert not bool((found.links & ~heard.graph.adjacency).any()), f"{spec} asks who is no neighbour"
        assert not bool((found.ignored & ~found.links).any()), f"{spec} ignores whom it did not ask"
        for cluster in (0, heard.graph.m - 1):
            deaf = _known_to(heard, cluster, found.links[cluster])
            gap = float((_run(spec, deaf, tolerate).values - found.values)[cluster].abs().max())
            assert gap <= _TOLERANCE, f"{spec} uses values for which it did not ask"


def _known_to(heard: Heard, cluster: int, asked: Tensor) -> Heard:
    """Return what is heard where all is another value that `cluster` neither holds nor `asked` for, bool (m,)."""
    m = heard.graph.m
    told = heard.values[:, None].expand(-1, m, -1).clone()
    told[heard.liars] = heard.told
    told = torch.where(asked[:, None, None] & (torch.arange(m) == cluster)[:, None], told, 7.0)
    values = torch.where((torch.arange(m) == cluster)[:, None], heard.values, 7.0)
    return Heard(values=values, graph=heard.graph, liars=torch.arange(m), told=told)


def keeps_what_all_agree_on(spec: Spec) -> None:
    """Where all hold and tell the same, that is what they hold afterwards."""
    for graph in graphs():
        agreed = make_heard(graph).values[:1].expand(graph.m, -1).contiguous()
        found = _run(spec, Heard.alike(agreed, graph), 1).values
        assert float((found - agreed).abs().max()) <= _TOLERANCE, f"{spec} leaves what all agree on"


def leaves_what_it_is_given_alone_and_repeats_itself(spec: Spec) -> None:
    """Equal inputs and streams give equal results, and the inputs are the same after the call as before it."""
    for heard, tolerate in _cases():
        values, told = heard.values.clone(), heard.told.clone()
        first, second = _run(spec, heard, tolerate), _run(spec, heard, tolerate)
        assert torch.equal(first.values, second.values), f"{spec} differs between equal inputs"
        assert torch.equal(values, heard.values), f"{spec} changes the values"
        assert torch.equal(told, heard.told), f"{spec} changes the messages"


def moves_with_a_shift(spec: Spec) -> None:
    """Adding a vector to all values and messages adds it to the result."""
    for heard, tolerate in _cases():
        shift = torch.linspace(-3.0, 3.0, heard.values.shape[1], dtype=torch.float64)
        moved = Heard(values=heard.values + shift, graph=heard.graph, liars=heard.liars, told=heard.told + shift)
        expected = _run(spec, heard, tolerate).values + shift
        found = _run(spec, moved, tolerate).values
        assert float((found - expected).abs().max()) <= 1e-10, f"{spec} does not move with a shift"


def does_not_depend_on_the_numbers_of_the_clusters(spec: Spec) -> None:
    """Clusters with other numbers hold the same afterwards, unless the rule draws whom it asks."""
    for heard, tolerate in _cases():
        m = heard.graph.m
        new = torch.from_numpy(public_stream(1, "order", m).permutation(m))  # new[j] is the new number of cluster j
        old = new.argsort()
        graph = Graph.of(m, [(int(new[a]), int(new[b])) for a, b in heard.graph.edges])
        turned = Heard(values=heard.values[old], graph=graph, liars=new[heard.liars], told=heard.told[:, old])
        first, second = _run(spec, heard, tolerate), _run(spec, turned, tolerate)
        if torch.equal(first.links, heard.graph.adjacency):
            gap = float((second.values[new] - first.values).abs().max())
            assert gap <= _TOLERANCE, f"{spec} depends on the numbers of the clusters by {gap}"


def is_moved_no_farther_than_it_says(spec: Spec) -> None:
    """Whatever Byzantine neighbours tell it, different things to different clusters, it moves no farther than reach."""
    for graph in graphs():
        for tolerate in (0, 1, 3):
            ratio = worst_ratio(_rule(spec), graph, tolerate)
            assert ratio <= 1.0 + 1e-9, f"{spec} moves {ratio:.3g} times as far as it says; F = {tolerate}"


def worst_ratio(rule: ExchangeRule, graph: Graph, tolerate: int) -> float:
    """Return the largest found distance that an honest cluster is moved, over what the rule promises.

    Byzantine clusters are as many as no neighbourhood has more of than it withstands; they lie far away, nearby, and
    to each neighbour something else. 0 where nothing is promised.
    """
    worst = 0.0
    for seed in range(2):
        heard = make_heard(graph, seed=seed)
        liars = _liars(rule, graph, tolerate, seed)
        honest = torch.ones(graph.m, dtype=torch.bool)
        honest[liars] = False
        farthest = torch.where(graph.adjacency & honest, heard.distances, 0.0).amax(dim=1)
        promised = torch.tensor([rule.reach(degree) for degree in graph.degrees])
        allowed = (promised * farthest)[honest]
        for told in _lies(heard, liars, seed):
            lied = Heard(values=heard.values, graph=graph, liars=liars, told=told)
            found = rule(lied, tolerate, public_stream(seed, "exchange")).values
            moved = (found - heard.values).square().sum(dim=1).sqrt()[honest]
            assert bool(torch.isfinite(moved).all()), "an honest cluster holds a number that is not finite"
            # Where nothing honest is near, nothing may move it, up to rounding of the values themselves.
            over = torch.where(allowed > 0, moved / allowed, torch.where(moved > 1e-9, torch.inf, 0.0))
            worst = max(worst, float(torch.where(allowed.isfinite(), over, 0.0).max()))
    return worst


def _liars(rule: ExchangeRule, graph: Graph, tolerate: int, seed: int) -> Tensor:
    """Return clusters, at random, so that no neighbourhood has more of them than `tolerate` and than it withstands."""
    most = torch.tensor([min(tolerate, rule.breakdown(degree)) for degree in graph.degrees])
    around = torch.zeros(graph.m, dtype=torch.int64)
    chosen: list[int] = []
    for j in public_stream(seed, "liars", graph.m).permutation(graph.m):
        if len(chosen) < graph.m - 1 and bool((around + graph.adjacency[j] <= most)[graph.adjacency[j]].all()):
            around += graph.adjacency[j].long()
            chosen.append(int(j))
    return torch.tensor(sorted(chosen), dtype=torch.int64)


def _lies(heard: Heard, liars: Tensor, seed: int) -> Iterator[Tensor]:
    b, (m, d) = len(liars), heard.values.shape
    away = torch.from_numpy(public_stream(seed, "lies", m, d).normal(size=(b, m, d)))
    sides = torch.where(torch.arange(m) % 2 == 0, 1.0, -1.0)[:, None]
    for size in (0.0, 0.3, 1.0, 3.0, 1e6, 1e30, 1e139):
        yield heard.values + size * away
        yield heard.values + size * sides * away[:, :1]
    for poison in _POISONS:
        yield torch.full((b, m, d), poison, dtype=torch.float64)


def is_not_moved_by_hostile_numbers(spec: Spec) -> None:
    """A neighbour that tells NaN, infinity or numbers too large to square is one that says nothing."""
    for graph in graphs():
        heard = make_heard(graph)
        silent = Heard(values=heard.values, graph=graph, liars=torch.tensor([0]), told=_one_lie(heard, math.nan))
        expected = _run(spec, silent, 1).values[1:]
        for poison in (math.inf, -math.inf, 1e300, -1e150):
            lied = Heard(values=heard.values, graph=graph, liars=torch.tensor([0]), told=_one_lie(heard, poison))
            found = _run(spec, lied, 1).values[1:]
            assert bool(torch.isfinite(found).all()), f"{spec} is not finite where a neighbour tells {poison}"
            assert torch.equal(found, expected), f"{spec} is moved by a neighbour that tells {poison}"


def _one_lie(heard: Heard, poison: float) -> Tensor:
    told = heard.values[:1, None].expand(1, heard.graph.m, -1).clone()
    told[..., 0] = poison  # one bad number of d makes the whole message bad
    return told


def refuses_to_tolerate_less_than_nobody(spec: Spec) -> None:
    """A negative number of Byzantine neighbours is refused."""
    said = refusal(lambda: _run(spec, make_heard(graphs()[0]), -1))
    assert said is not None, f"{spec} takes tolerate = -1"
    assert "tolerate = -1" in said, f"{spec} says {said!r} of tolerate = -1"
