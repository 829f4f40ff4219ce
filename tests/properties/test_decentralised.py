"""Learning without a server: topologies and exchange rules against slow references, and rules that break promises."""

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from unittest import mock

import networkx
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from protocols.check import CloisterError
from protocols.decentralised.graph import Graph, contraction, metropolis_weights
from protocols.decentralised.graphs import topologies
from protocols.decentralised.heard import LARGEST, Heard
from protocols.decentralised.rules import Exchanged, ExchangeRule, exchanges
from protocols.decentralised.rules.clipped_gossip import ClippedGossip
from protocols.decentralised.rules.gossip import Gossip
from protocols.decentralised.rules.nna import NearestNeighbourAveraging
from protocols.decentralised.rules.rpel import Rpel
from protocols.randomness import public_stream
from protocols.registry import Spec
from protocols.testing import Check
from protocols.testing import exchanges as kit
from protocols.testing import topologies as graph_kit


def cases(of: object) -> list[object]:
    return [
        pytest.param(spec, check, id=f"{spec}-{check.__name__}")
        for spec in of.example_specs()
        for check in of.conformance_checks(spec)
    ]


@pytest.mark.parametrize(("spec", "check"), [*cases(kit), *cases(graph_kit)])
def test_every_rule_and_topology_keeps_the_contract(spec: Spec, check: Check) -> None:
    check(spec)


def stream() -> np.random.Generator:
    return public_stream(0, "exchange")


def graph_of(name: str, m: int, seed: int = 0) -> Graph:
    return topologies.make(topologies.resolve(name))(m=m, seed=seed)


@st.composite
def connected(draw: st.DrawFn) -> Graph:
    """A path of 2 to 9 clusters in a random order, and any further edges."""
    order = draw(st.permutations(range(draw(st.integers(2, 9)))))
    pairs = [(a, b) for a in order for b in order if a < b]
    more = draw(st.lists(st.sampled_from(pairs)))
    return Graph.of(len(order), [*pairwise(order), *more])


def messages(heard: Heard) -> Tensor:
    """All messages one by one: what j tells i is at [i, j]; on the diagonal what each holds."""
    m = heard.graph.m
    table = heard.values.expand(m, -1, -1).clone()
    for told, liar in zip(heard.told, heard.liars.tolist(), strict=True):
        table[:, liar] = told
    table[range(m), range(m)] = heard.values
    return table


# ---- topologies


class TestTopologies:
    @pytest.mark.parametrize(
        ("name", "m", "degrees", "edges"),
        [("complete", 7, {6}, 21), ("ring", 7, {2}, 7), ("torus", 12, {4}, 24), ("random_regular", 9, {4}, 18)],
    )
    def test_degrees_and_edges_are_as_the_name_says(self, name: str, m: int, degrees: set[int], edges: int) -> None:
        graph = graph_of(name, m)
        assert (set(graph.degrees), len(graph.edges)) == (degrees, edges)

    def test_a_torus_has_the_distances_of_one(self) -> None:
        """On 3 x 5 places around both ways, the farthest pair is floor(3/2) + floor(5/2) steps apart."""
        graph = networkx.Graph(graph_of("torus", 15).edges)
        assert networkx.diameter(graph) == 1 + 2
        assert networkx.diameter(networkx.Graph(graph_of("ring", 15).edges)) == 7

    def test_edges_of_a_random_graph_come_with_their_probability(self) -> None:
        """200 graphs of 12 clusters at p = 0.5, which are connected but for one in 175: 13,200 edges or none.

        Bad luck below 1e-6; p = 0.45 or 0.55 would be 11 standard deviations away. That unconnected ones are left out
        adds less than 1/175 x 11 edges of 66, a fifth of a standard deviation of the mean.
        """
        count = sum(len(graph_of("erdos_renyi", 12, seed).edges) for seed in range(200))
        assert stats.binomtest(count, 200 * 66, 0.5).pvalue > 1e-6

    def test_another_seed_draws_another_graph(self) -> None:
        for name in ("erdos_renyi", "random_regular"):
            assert len({graph_of(name, 12, seed).edges for seed in range(4)}) == 4

    def test_so_few_edges_that_no_draw_is_connected_is_refused(self) -> None:
        sparse = topologies.make(topologies.resolve({"name": "erdos_renyi", "p": 1e-6}))
        with pytest.raises(CloisterError, match="none of 200 graphs of 12 clusters is connected; ask for more edges"):
            sparse(m=12, seed=0)

    @pytest.mark.parametrize(
        ("name", "m", "why"),
        [
            ("ring", 2, "a ring needs 3 clusters or more, and there are 2"),
            ("torus", 10, "10 clusters form no torus"),
            ("complete", 1, "no edge"),
            ({"name": "random_regular", "degree": 3}, 5, "5 clusters form no graph of degree 3"),
            ({"name": "random_regular", "degree": 4}, 4, "more clusters than the degree"),
        ],
    )
    def test_a_number_of_clusters_that_does_not_fit_is_said(self, name: object, m: int, why: str) -> None:
        assert why in str(topologies.make(topologies.resolve(name)).unfit(m))

    @pytest.mark.parametrize("edges", [((0, 1), (2, 3)), ((1, 0),), ((0, 0), (0, 1)), ((0, 4),), ((0, 1), (0, 1))])
    def test_edges_that_make_no_connected_graph_are_refused(self, edges: tuple[tuple[int, int], ...]) -> None:
        with pytest.raises(CloisterError, match="allowed: "):
            Graph(m=4, edges=edges)

    def test_a_server_has_no_graph(self) -> None:
        with pytest.raises(CloisterError, match="topology 'server' has no graph"):
            graph_of("server", 4)


# ---- gossip: Metropolis weights, the average, the spectral gap


@given(connected())
def test_metropolis_weights_are_those_of_exact_fractions(graph: Graph) -> None:
    """Each entry is a quotient of small integers, off by rounding only; the diagonal is off by at most m roundings."""
    exact = [[Fraction(0)] * graph.m for _ in range(graph.m)]
    for a, b in graph.edges:
        exact[a][b] = exact[b][a] = Fraction(1, 1 + max(graph.degrees[a], graph.degrees[b]))
    for j in range(graph.m):
        exact[j][j] = 1 - sum(exact[j])
    assert all(sum(column) == 1 for column in zip(*exact, strict=True))
    found = metropolis_weights(graph)
    assert bool((found >= 0).all())
    assert torch.equal(found, found.T)
    expected = torch.tensor([[float(each) for each in row] for row in exact], dtype=torch.float64)
    assert float((found - expected).abs().max()) <= 1e-15 * graph.m


@given(connected(), st.integers(0, 3))
def test_gossip_keeps_the_average_and_contracts_by_the_spectral_gap(graph: Graph, seed: int) -> None:
    """Rounding: each value is a sum of at most 9 products of numbers of order 1."""
    heard = kit.make_heard(graph, seed=seed)
    found = Gossip()(heard, 0, stream()).values
    average = heard.values.mean(dim=0)
    assert float((found.mean(dim=0) - average).abs().max()) <= 1e-14
    before, after = (float((x - average).norm()) for x in (heard.values, found))
    assert after <= contraction(metropolis_weights(graph)) * before + 1e-13


def test_gossip_keeps_the_average_of_whole_numbers_to_the_last_bit() -> None:
    """Where all have three neighbours the weights are quarters: nothing is rounded, so nothing may be lost."""
    graph = graph_of("complete", 4)
    values = torch.from_numpy(public_stream(0, "whole").integers(-(2**40), 2**40, size=(4, 5))).double()
    found = Gossip()(Heard.alike(values, graph), 0, stream()).values
    assert torch.equal(found.sum(dim=0), values.sum(dim=0))


def test_the_bound_of_the_spectral_gap_is_met_along_the_slowest_direction() -> None:
    """So that a factor that is too large would be seen: on a ring it is (1 + 2 cos(2 pi / m)) / 3, m >= 4."""
    graph = graph_of("ring", 8)
    expected = (1 + 2 * math.cos(2 * math.pi / 8)) / 3
    assert contraction(metropolis_weights(graph)) == pytest.approx(expected, abs=1e-14)
    wave = torch.cos(2 * math.pi * torch.arange(8, dtype=torch.float64) / 8)[:, None]
    found = Gossip()(Heard.alike(wave, graph), 0, stream()).values
    assert float((found - expected * wave).abs().max()) <= 1e-15


def test_one_byzantine_cluster_moves_gossip_as_far_as_it_likes() -> None:
    """Why it withstands nobody; a cluster that tells everybody what they hold would do nothing."""
    graph = graph_of("complete", 5)
    heard = kit.make_heard(graph)
    told = heard.values[None] + 1e6
    found = Gossip()(Heard(values=heard.values, graph=graph, liars=torch.tensor([0]), told=told), 0, stream()).values
    assert float((found[1:] - heard.values[1:]).norm(dim=1).min()) > 1e5


# ---- each rule against itself, one cluster and one neighbour at a time


def slow_nna(heard: Heard, tolerate: int) -> Tensor:
    table, rows = messages(heard), []
    for i, degree in enumerate(heard.graph.degrees):
        own = heard.values[i]
        neighbours = [j for j in range(heard.graph.m) if heard.graph.adjacency[i, j]]
        ordered = sorted(neighbours, key=lambda j: (float((table[i, j] - own).norm()), j))
        kept = ordered[: degree - min(tolerate, degree // 2)]
        rows.append(torch.stack([own, *(table[i, j] for j in kept)]).mean(dim=0))
    return torch.stack(rows)


def slow_clipped(heard: Heard, tolerate: int, radius: float | None) -> Tensor:
    table, weights, rows = messages(heard), metropolis_weights(heard.graph), []
    for i, degree in enumerate(heard.graph.degrees):
        own = heard.values[i]
        neighbours = [j for j in range(heard.graph.m) if heard.graph.adjacency[i, j]]
        far = {j: float((table[i, j] - own).norm()) for j in neighbours}
        heavy = sorted((float(weights[i, j]) for j in neighbours), reverse=True)
        delta = sum(heavy[: min(tolerate, degree // 2)])
        tau = math.inf if radius is None else radius
        if radius is None and delta:
            total, squares = float(weights[i, i]), 0.0
            for j in sorted(neighbours, key=lambda j: (far[j], j)):
                total += float(weights[i, j])
                if total > 1 - delta + 1e-9:
                    break
                squares += float(weights[i, j]) * far[j] ** 2
            tau = math.sqrt(squares / delta)
        moves = [float(weights[i, j]) * min(1.0, tau / far[j]) * (table[i, j] - own) for j in neighbours]
        rows.append(own + torch.stack(moves).sum(dim=0))
    return torch.stack(rows)


@given(connected(), st.integers(0, 3), st.integers(0, 4), st.integers(0, 3))
def test_nearest_neighbour_averaging_is_the_average_of_the_nearest(
    graph: Graph, tolerate: int, liars: int, seed: int
) -> None:
    heard = kit.make_heard(graph, liars=min(liars, graph.m), seed=seed)
    found = NearestNeighbourAveraging()(heard, tolerate, stream()).values
    assert float((found - slow_nna(heard, tolerate)).abs().max()) <= 1e-13


@given(connected(), st.integers(0, 3), st.integers(0, 4), st.sampled_from([None, 0.3, 2.0]))
def test_clipped_gossip_is_what_the_paper_writes(graph: Graph, tolerate: int, liars: int, radius: float | None) -> None:
    heard = kit.make_heard(graph, liars=min(liars, graph.m))
    found = ClippedGossip(radius=radius)(heard, tolerate, stream()).values
    assert float((found - slow_clipped(heard, tolerate, radius)).abs().max()) <= 1e-13


@given(connected(), st.integers(0, 3), st.sampled_from([1.0, 1e6]))
def test_clipped_gossip_that_tolerates_nobody_is_gossip(graph: Graph, seed: int, scale: float) -> None:
    """However far apart the values are."""
    heard = Heard.alike(scale * kit.make_heard(graph, seed=seed).values, graph)
    clipped, plain = (rule(heard, 0, stream()).values for rule in (ClippedGossip(), Gossip()))
    assert float((clipped - plain).abs().max()) <= 1e-14 * scale


@given(connected(), st.integers(0, 4), st.integers(1, 9), st.integers(0, 3))
def test_rpel_is_the_trimmed_mean_of_what_it_pulled(graph: Graph, liars: int, samples: int, tolerate: int) -> None:
    heard = kit.make_heard(graph, liars=min(liars, graph.m))
    found = Rpel(samples=samples)(heard, tolerate, stream())
    table = messages(heard)
    for i, degree in enumerate(graph.degrees):
        pulled = found.links[i].nonzero().flatten().tolist()
        assert len(pulled) == min(samples, degree)
        known = torch.stack([heard.values[i], *(table[i, j] for j in pulled)]).sort(dim=0).values
        out = min(tolerate, len(pulled) // 2)
        assert float((found.values[i] - known[out : len(known) - out].mean(dim=0)).abs().max()) <= 1e-13


def test_rpel_pulls_in_blocks_of_coordinates_as_it_does_in_one() -> None:
    heard = kit.make_heard(graph_of("complete", 6), d=11, liars=2)
    whole = Rpel(samples=3)(heard, 1, stream()).values
    with mock.patch("protocols.decentralised.rules.rpel._BLOCK", 4):
        assert torch.equal(Rpel(samples=3)(heard, 1, stream()).values, whole)


def test_rpel_pulls_from_every_neighbour_equally_often() -> None:
    """3,000 rounds of 6 clusters that pull from 2 of 5: each pair is asked 1,200 times, give or take.

    The 30 pairs' counts are binomial(3,000, 2/5); a bias of 10 % is 4.5 standard deviations in each of them. Bad luck
    below 1e-6 in all, by Bonferroni.
    """
    heard, rng = kit.make_heard(graph_of("complete", 6), d=1), public_stream(3, "many rounds")
    counts = sum(Rpel(samples=2)(heard, 0, rng).links.long() for _ in range(3000))
    pairs = counts[~torch.eye(6, dtype=torch.bool)].tolist()
    assert min(stats.binomtest(count, 3000, 0.4).pvalue for count in pairs) > 1e-6 / 30


# ---- who says different things, and what is no number


def test_a_liar_moves_each_neighbour_by_what_it_tells_that_one() -> None:
    graph = graph_of("ring", 6)
    heard = kit.make_heard(graph, liars=0)
    told = heard.values[0].expand(1, 6, -1).clone()
    told[0, 1] += 1.0
    lied = Heard(values=heard.values, graph=graph, liars=torch.tensor([0]), told=told)
    gap = (Gossip()(lied, 0, stream()).values - Gossip()(heard, 0, stream()).values).abs().amax(dim=1)
    assert float(gap[1]) == pytest.approx(1 / 3)
    assert float(gap[[0, 2, 3, 4, 5]].max()) <= 1e-15  # cluster 5 is told what cluster 0 holds, the others nothing


@pytest.mark.parametrize("spec", kit.example_specs(), ids=str)
def test_what_a_liar_holds_itself_is_not_what_it_tells(spec: Spec) -> None:
    """It may hold NaN and tell numbers, and the other way round."""
    graph = graph_of("complete", 5)
    heard = kit.make_heard(graph)
    holds = heard.values.clone()
    holds[0] = math.nan
    told = heard.values[:1, None].expand(1, 5, -1)
    rule = exchanges.make(spec)
    broken = rule(Heard(values=holds, graph=graph, liars=torch.tensor([0]), told=told), 1, stream()).values
    assert float((broken[1:] - rule(heard, 1, stream()).values[1:]).abs().max()) <= 1e-15
    assert bool(broken[0].isnan().all())


@pytest.mark.parametrize("poison", [math.nan, math.inf, -1e300])
@pytest.mark.parametrize("rule", [Gossip(), ClippedGossip(), NearestNeighbourAveraging(), Rpel()], ids=str)
def test_a_message_that_is_no_value_changes_nothing_or_is_as_far_as_any(rule: ExchangeRule, poison: float) -> None:
    """As if the liar had told each its own value; among the nearest, as if it had told what is far from all."""
    heard = kit.make_heard(graph_of("complete", 6))

    def after(told: Tensor) -> Tensor:
        lied = Heard(values=heard.values, graph=heard.graph, liars=torch.tensor([0]), told=told[None].contiguous())
        return rule(lied, 1, stream()).values[1:]

    bad = heard.values[0].expand(6, -1).clone()
    bad[:, 2] = poison
    own, far = after(heard.values.clone()), after(torch.full_like(heard.values, 1e9))
    expected = far if isinstance(rule, NearestNeighbourAveraging) else own
    assert float((after(bad) - expected).abs().max()) <= 1e-14
    assert not torch.allclose(own, far)


def test_the_largest_number_is_a_value_and_the_next_one_is_not() -> None:
    graph = graph_of("complete", 3)
    for size, heard_of in ((LARGEST, True), (math.nextafter(LARGEST, math.inf), False)):
        values = torch.tensor([[0.0], [0.0], [size]], dtype=torch.float64)
        heard = Heard.alike(values, graph)
        assert bool(heard.usable[0, 2]) == heard_of
        assert (float(Gossip()(heard, 0, stream()).values[0, 0]) > 1e139) == heard_of


@pytest.mark.parametrize("change", ["values", "told", "liars", "twice"])
def test_shapes_that_do_not_fit_are_refused(change: str) -> None:
    graph = graph_of("ring", 4)
    parts = {
        "values": torch.zeros(4, 2, dtype=torch.float64),
        "liars": torch.tensor([0, 1]),
        "told": torch.zeros(2, 4, 2, dtype=torch.float64),
    }
    Heard(graph=graph, **parts)
    wrong = {
        "values": {"values": torch.zeros(4, 2)},
        "told": {"told": torch.zeros(2, 3, 2, dtype=torch.float64)},
        "liars": {"liars": torch.tensor([0])},
        "twice": {"liars": torch.tensor([1, 1])},
    }[change]
    with pytest.raises(CloisterError, match="do not fit 4 clusters; allowed: float64"):
        Heard(graph=graph, **{**parts, **wrong})


def test_models_that_differ_by_little_at_a_distance_are_told_apart() -> None:
    """Differences of 1e-6 between values of a million: a Gram matrix without centring would see noise of 1e-4."""
    values = torch.tensor([[0.0], [1e-6], [3e-6], [4e-6]], dtype=torch.float64) + 1e6
    found = NearestNeighbourAveraging()(Heard.alike(values, graph_of("complete", 4)), 1, stream())
    assert found.ignored.nonzero().tolist() == [[0, 3], [1, 3], [2, 0], [3, 0]]


# ---- rules that break a promise are caught

Twin = Callable[[Heard, int, Exchanged], Tensor]


def all_neighbours(heard: Heard, tolerate: int, found: Exchanged) -> Tensor:
    return slow_nna(heard, 0)


def of_the_whole_graph(heard: Heard, tolerate: int, found: Exchanged) -> Tensor:
    return heard.values.mean(dim=0).expand_as(heard.values)


def towards_zero(heard: Heard, tolerate: int, found: Exchanged) -> Tensor:
    return 0.9 * found.values


def farther(heard: Heard, tolerate: int, found: Exchanged) -> Tensor:
    return heard.values + 3.0 * (found.values - heard.values)


def by_number(heard: Heard, tolerate: int, found: Exchanged) -> Tensor:
    return found.values + 1e-3 * torch.arange(heard.graph.m)[:, None]


def told_by_liars(heard: Heard, tolerate: int, found: Exchanged) -> Tensor:
    return found.values + (heard.told.nan_to_num(0.0, 0.0, 0.0).sum(dim=0) if len(heard.told) else 0.0)


@pytest.mark.parametrize(
    ("twin", "check"),
    [
        (all_neighbours, kit.is_moved_no_farther_than_it_says),
        (farther, kit.is_moved_no_farther_than_it_says),
        (of_the_whole_graph, kit.hears_along_the_edges_only),
        (towards_zero, kit.moves_with_a_shift),
        (towards_zero, kit.keeps_what_all_agree_on),
        (by_number, kit.does_not_depend_on_the_numbers_of_the_clusters),
        (told_by_liars, kit.is_not_moved_by_hostile_numbers),
    ],
)
def test_a_rule_that_breaks_a_promise_is_caught(twin: Twin, check: Check) -> None:
    right = NearestNeighbourAveraging.__call__

    def wrong(self: NearestNeighbourAveraging, heard: Heard, tolerate: int, rng: np.random.Generator) -> Exchanged:
        found = right(self, heard, tolerate, rng)
        return Exchanged(values=twin(heard, tolerate, found), links=found.links, ignored=found.ignored)

    with mock.patch.object(NearestNeighbourAveraging, "__call__", wrong), pytest.raises(AssertionError):
        check(exchanges.resolve("nna"))
