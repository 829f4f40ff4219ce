"""The parts of masked sums: key shares that are released once, masks that cancel, graphs that stay connected."""

import itertools
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom, hypergeom

from protocols.field import MERSENNE_61, PrimeField
from protocols.network import CheatingDetectedError
from protocols.randomness import SecretStreams
from protocols.ring import FixedPoint
from protocols.secret_source import OwnSecrets
from protocols.secure_sum import _graph, _key_shares, _masking
from protocols.secure_sum._graph import (
    Demands,
    MaskGraph,
    Neighbourhood,
    complete_graph,
    harary,
    neighbourhood,
    random_graph,
)
from protocols.secure_sum._key_shares import KEY_BYTES, LIMBS, HeldShares, deal, from_limbs, rebuild, to_limbs
from protocols.secure_sum._masking import (
    Plan,
    agree,
    derive,
    from_bitmap,
    from_words,
    pair_mask,
    pair_sign,
    self_mask,
    to_bitmap,
    to_words,
)
from protocols.tolerance.schemes import part_of

KEYS = st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES)


def plan_of(parties: int = 4, *, use: int = 7, clusters: int = 2, coordinates: int = 3, threshold: int = 3) -> Plan:
    return Plan(
        parties=parties,
        use=use,
        clusters=clusters,
        coordinates=coordinates,
        ring=FixedPoint(),
        graph=complete_graph(parties, threshold=threshold, least=threshold),
        signed=False,
    )


class TestBitmaps:
    @given(parties=st.integers(1, 200), chosen=st.data())
    def test_a_set_of_members_comes_back_from_its_words(self, parties: int, chosen: st.DataObject) -> None:
        members = chosen.draw(st.frozensets(st.integers(0, parties - 1)))
        words = to_bitmap(members, parties)
        assert words.shape == (-(-parties // 64),)
        assert words.tolist() == [
            (sum(1 << rank - start for rank in members if start <= rank < start + 64) + 2**63) % 2**64 - 2**63
            for start in range(0, parties, 64)
        ]
        assert from_bitmap(words, parties) == members

    @given(parties=st.integers(1, 127), beyond=st.integers(0, 60))
    def test_a_member_that_the_cluster_does_not_have_is_refused(self, parties: int, beyond: int) -> None:
        size = -(-parties // 64) * 64
        rank = min(parties + beyond, size - 1)
        if rank >= parties:
            with pytest.raises(CheatingDetectedError, match=f"member {rank} of a cluster of {parties}"):
                from_bitmap(to_bitmap({0, rank}, size), parties)


class TestLimbs:
    @given(key=KEYS)
    @example(key=b"\xff" * KEY_BYTES)
    @example(key=bytes(KEY_BYTES))
    def test_a_key_comes_back_from_its_limbs_which_are_elements(self, key: bytes) -> None:
        limbs = to_limbs(key)
        assert limbs.shape == (LIMBS,)
        assert all(0 <= limb < 2**56 for limb in limbs.tolist())
        assert from_limbs(limbs.tolist()) == key

    @pytest.mark.parametrize("limbs", [[2**56, 0, 0, 0, 0], [0, 0, 0, 0, 2**32], [-1, 0, 0, 0, 0]])
    def test_limbs_of_no_key_are_none(self, limbs: list[int]) -> None:
        assert from_limbs(limbs) is None


class Coefficients:
    """Secrets whose elements are known."""

    def __init__(self, seed: int) -> None:
        self.drawn: list[int] = []
        self._random = random.Random(seed)

    def elements(self, field: PrimeField, *, purpose: str, use: int, clusters: int, count: int) -> torch.Tensor:
        self.drawn = [self._random.randrange(field.modulus) for _ in range(count)]
        return torch.tensor(self.drawn, dtype=torch.int64).view(clusters, count)


def assert_shares_are_those_of_shamir(key: bytes, threshold: int, parties: int, seed: int) -> None:
    """Compare with polynomials of degree t - 1 in Python integers, whose coefficients are all that was drawn."""
    secrets = Coefficients(seed)
    dealt = deal(secrets, [key], use=1, threshold=threshold, holders=range(parties))
    assert len(secrets.drawn) == (threshold - 1) * LIMBS, "not one coefficient for each power of x below t"
    for limb, constant in enumerate(to_limbs(key).tolist()):
        coefficients = [constant, *secrets.drawn[limb::LIMBS]]
        for holder in range(parties):
            expected = sum(c * (holder + 1) ** power for power, c in enumerate(coefficients)) % MERSENNE_61
            assert dealt[holder, 0, limb] == expected, "not the polynomial's value at the holder's point"


class TestKeyShares:
    @given(key=KEYS, parties=st.integers(1, 9), seed=st.integers(0, 2**32), chosen=st.data())
    def test_shares_lie_on_uniform_polynomials_of_degree_one_less_than_the_threshold(
        self, key: bytes, parties: int, seed: int, chosen: st.DataObject
    ) -> None:
        """So t - 1 shares tell nothing: with t - 1 uniform coefficients they are uniform whatever the key is."""
        assert_shares_are_those_of_shamir(key, chosen.draw(st.integers(1, parties)), parties, seed)

    def test_a_polynomial_of_too_low_a_degree_is_seen(self) -> None:
        original = _key_shares.deal

        def planted(secrets: object, keys: Sequence[bytes], *, use: int, threshold: int, holders: Sequence[int]):
            return original(secrets, keys, use=use, threshold=max(1, threshold - 1), holders=holders)

        with mock.patch(f"{__name__}.deal", planted), pytest.raises(AssertionError, match="one coefficient"):
            assert_shares_are_those_of_shamir(b"k" * KEY_BYTES, 3, 5, 0)

    def test_a_holder_at_the_point_of_the_secret_is_seen(self) -> None:
        with (
            mock.patch.object(_key_shares, "_points", lambda holders: [holder + 2 for holder in holders]),
            pytest.raises(AssertionError, match="holder's point"),
        ):
            assert_shares_are_those_of_shamir(b"k" * KEY_BYTES, 3, 5, 0)

    @pytest.mark.parametrize("parties", range(1, 8))
    def test_every_set_of_threshold_holders_rebuilds_the_keys(self, parties: int) -> None:
        keys = [bytes([1]) * KEY_BYTES, bytes([255]) * KEY_BYTES]
        for threshold in range(1, parties + 1):
            dealt = deal(OwnSecrets.fresh(), keys, use=1, threshold=threshold, holders=range(parties))
            for size in range(threshold, parties + 1):
                for holders in itertools.combinations(range(parties), size):
                    assert rebuild(dealt[list(holders)], threshold=threshold, holders=holders) == keys

    def test_fewer_holders_rebuild_no_key(self) -> None:
        """t - 1 shares of a random polynomial interpolate to a key by chance with probability 2^-49."""
        dealt = deal(OwnSecrets.fresh(), [b"k" * KEY_BYTES], use=1, threshold=4, holders=range(6))
        for holders in itertools.combinations(range(6), 3):
            assert rebuild(dealt[list(holders)], threshold=3, holders=holders) == [None]

    @given(wrong=st.integers(0, 4), limb=st.integers(0, LIMBS - 1), delta=st.integers(-(2**62), 2**62).filter(bool))
    def test_one_wrong_share_among_more_than_the_threshold_is_seen_and_spoils_that_key_only(
        self, wrong: int, limb: int, delta: int
    ) -> None:
        keys = [b"a" * KEY_BYTES, b"b" * KEY_BYTES]
        dealt = deal(OwnSecrets.fresh(), keys, use=1, threshold=4, holders=range(5))
        before = int(dealt[wrong, 1, limb])
        dealt[wrong, 1, limb] += delta
        if (int(dealt[wrong, 1, limb]) - before) % MERSENNE_61:
            assert rebuild(dealt, threshold=4, holders=range(5)) == [keys[0], None]

    @pytest.mark.parametrize("outside", [-1, -(2**63), MERSENNE_61, 2**63 - 1])
    def test_a_share_that_is_no_element_spoils_that_key_only(self, outside: int) -> None:
        keys = [b"a" * KEY_BYTES, b"b" * KEY_BYTES]
        dealt = deal(OwnSecrets.fresh(), keys, use=1, threshold=3, holders=range(3))
        dealt[1, 0, 2] = outside
        assert rebuild(dealt, threshold=3, holders=range(3)) == [None, keys[1]]

    def test_shares_of_zero_are_elements(self) -> None:
        key = bytes(KEY_BYTES)
        assert rebuild(torch.zeros(2, 1, LIMBS, dtype=torch.int64), threshold=2, holders=range(2)) == [key]


def held(dealers: Iterable[int], parties: int = 4) -> tuple[HeldShares, dict[int, torch.Tensor]]:
    shares = {rank: torch.arange(2 * LIMBS).view(2, LIMBS) + 100 * (rank + 1) for rank in dealers}
    return HeldShares(range(parties), shares, frozenset(dealers)), shares


def assert_one_kind_of_share(release: Callable[[HeldShares, frozenset[int]], torch.Tensor]) -> None:
    for survivors in map(frozenset, itertools.chain.from_iterable(itertools.combinations(range(4), k) for k in (2, 3))):
        holding, shares = held(range(4))
        answer = release(holding, survivors)
        for rank, row in enumerate(answer):
            released = [kind for kind in (0, 1) if any(limb in row.tolist() for limb in shares[rank][kind].tolist())]
            expected = HeldShares.SELF_MASK if rank in survivors else HeldShares.MASK_KEY
            assert released == [expected], f"of member {rank} the kinds {released} are released"


class TestHeldShares:
    def test_of_a_survivor_the_self_mask_and_of_a_dropped_member_the_mask_key_is_released(self) -> None:
        assert_one_kind_of_share(HeldShares.release)

    @pytest.mark.parametrize(
        "planted",
        [
            lambda holding, survivors: torch.cat([row.flatten()[None] for row in holding._shares.values()]),
            lambda holding, survivors: HeldShares.release(holding, frozenset(range(4)) - survivors),
        ],
    )
    def test_both_shares_or_the_wrong_one_are_seen(self, planted: Callable) -> None:
        with pytest.raises(AssertionError, match="are released"):
            assert_one_kind_of_share(planted)

    def test_a_member_that_dealt_nothing_has_zeros(self) -> None:
        answer = held({0, 2})[0].release(frozenset({0, 2}))
        assert answer[[1, 3]].tolist() == [[0] * LIMBS] * 2

    def test_a_second_list_of_survivors_is_refused_and_the_same_one_gets_the_same_answer(self) -> None:
        holding, _ = held(range(4))
        first = holding.release(frozenset({0, 1, 2}))
        assert torch.equal(holding.release(frozenset({0, 1, 2})), first)
        for other in ({0, 1}, {0, 1, 2, 3}, {0, 1, 3}):
            with pytest.raises(CheatingDetectedError, match="a second list of survivors"):
                holding.release(frozenset(other))

    def test_its_repr_shows_no_share(self) -> None:
        assert repr(held({0, 2})[0]) == "HeldShares(of [0, 2], hidden)"


def private_key(seed: int) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(bytes([seed]) * KEY_BYTES)


def public_of(seed: int) -> bytes:
    return private_key(seed).public_key().public_bytes_raw()


class TestMasks:
    @given(pair=st.tuples(st.integers(0, 9), st.integers(0, 9)).filter(lambda pair: pair[0] != pair[1]))
    def test_both_ends_of_a_pair_expand_the_same_mask_and_add_it_with_opposite_signs(
        self, pair: tuple[int, int]
    ) -> None:
        low, high = pair
        plan = plan_of(10)
        ours = pair_mask(plan, private_key(1), public_of(2), low, high)
        theirs = pair_mask(plan, private_key(2), public_of(1), high, low)
        assert ours.shape == (2, 3)
        assert torch.equal(ours, theirs)
        assert pair_sign(low, high) == -pair_sign(high, low)
        assert {pair_sign(low, high), pair_sign(high, low)} == {1, -1}

    def test_every_use_pair_cluster_coordinate_and_kind_of_mask_draws_words_of_its_own(self) -> None:
        """Under one pair of keys and one seed: 480 words, two of them equal by chance with probability 2^-47."""
        masks = [
            mask
            for use, clusters in itertools.product((1, 2), (2, 4))
            for plan in [plan_of(use=use, clusters=clusters, coordinates=5)]
            for mask in (
                *(pair_mask(plan, private_key(1), public_of(2), low, high) for low, high in ((0, 1), (0, 2), (1, 2))),
                *(self_mask(plan, rank, b"s" * KEY_BYTES) for rank in range(5)),
            )
        ]
        words = torch.cat([mask.flatten() for mask in masks]).tolist()
        assert len(words) == 480
        assert len(set(words)) == 480

    def test_a_mask_is_the_stream_of_a_key_derived_for_it(self) -> None:
        plan = plan_of()
        key = derive(private_key(1).exchange(private_key(2).public_key()), plan.context("mask of 0 and 1"))
        expected = SecretStreams(key).words(use=plan.use, lanes=plan.clusters, count=plan.coordinates)
        assert torch.equal(pair_mask(plan, private_key(1), public_of(2), 1, 0), expected)

    def test_contexts_differ_in_everything_that_is_public(self) -> None:
        plans = [
            plan_of(),
            plan_of(use=8),
            plan_of(5),
            plan_of(threshold=2),
            plan_of(clusters=3),
            plan_of(coordinates=4),
        ]
        contexts = [plan.context(what) for plan in plans for what in ("keys of 1", "keys of 11", "survivors")]
        assert len(set(contexts)) == len(contexts)

    def test_what_members_say_differs_in_the_model_that_they_have_trained_on(self) -> None:
        """A seal or a signature under another context does not open, so that members of two models share no sum."""
        plans = [replace(plan, model=bytes([which]) * 32) for plan in (plan_of(), plan_of(use=8)) for which in (1, 2)]
        contexts = [plan.said(what) for plan in plans for what in ("shares of 1", "survivors")]
        assert len(set(contexts)) == len(contexts)

    def test_a_public_key_of_small_order_is_refused(self) -> None:
        """Its secret would be zero for everybody (RFC 7748, section 6.1)."""
        for low_order in (bytes(KEY_BYTES), (1).to_bytes(KEY_BYTES, "little")):
            with pytest.raises(CheatingDetectedError, match="public key of member 3"):
                agree(private_key(1), low_order, 3)

    @given(data=st.binary(min_size=8, max_size=80).filter(lambda data: len(data) % 8 == 0))
    def test_bytes_come_back_from_their_words(self, data: bytes) -> None:
        assert from_words(to_words(data)) == data


Edges = Sequence[Sequence[int]]


def connected(neighbours: Edges, left: frozenset[int]) -> bool:
    """Whether those who are left reach each other over those who are left."""
    if not left:
        return True
    reached, border = set(), {min(left)}
    while border:
        reached |= border
        border = {peer for rank in border for peer in neighbours[rank] if peer in left} - reached
    return reached == left


def assert_regular_and_symmetric(graph: MaskGraph, degree: int) -> None:
    for rank, peers in enumerate(graph.neighbours):
        assert len(peers) == len(set(peers)) == degree, "not regular"
        assert rank not in peers, "a member is its own neighbour"
        assert list(peers) == sorted(peers)
        assert all(rank in graph.neighbours[peer] for peer in peers), "a pair is known to one of the two only"


def assert_survives(neighbours: Edges, degree: int) -> None:
    """No degree - 1 members cut the graph when they leave."""
    members = len(neighbours)
    for size in range(degree):
        for gone in itertools.combinations(range(members), size):
            assert connected(neighbours, frozenset(range(members)) - set(gone)), f"without {gone} it falls apart"


class TestGraphs:
    @given(members=st.integers(4, 40), half=st.integers(1, 8), seed=st.integers(0, 2**16))
    def test_a_harary_graph_is_regular_and_symmetric(self, members: int, half: int, seed: int) -> None:
        degree = min(2 * half, (members - 2) // 2 * 2)
        ring = random.Random(seed).sample(range(members), members)
        graph = MaskGraph(neighbours=harary(ring, degree), threshold=1, least=1)
        assert graph.degree == degree
        assert_regular_and_symmetric(graph, degree)

    @pytest.mark.parametrize(("members", "degree"), [(6, 2), (7, 4), (9, 4), (9, 6), (10, 6), (11, 4)])
    def test_fewer_than_degree_members_never_cut_a_harary_graph(self, members: int, degree: int) -> None:
        assert_survives(harary(range(members), degree), degree)

    def test_min_degree_alone_is_not_enough(self) -> None:
        """Two groups of five, all of which are pairs: each has four neighbours left, but no path leads across."""
        groups = [[peer for peer in range(10) if peer % 2 == rank % 2 and peer != rank] for rank in range(10)]
        assert min(map(len, groups)) == 4
        assert not connected(groups, frozenset(range(10)))
        with pytest.raises(AssertionError, match="falls apart"):
            assert_survives(groups, 4)

    def test_a_ring_with_every_second_neighbour_only_is_seen(self) -> None:
        planted = [[(rank + step) % 10 for step in (-4, -2, 2, 4)] for rank in range(10)]
        with pytest.raises(AssertionError, match="falls apart"):
            assert_survives(planted, 4)

    @given(members=st.integers(1, 12), random_graphs=st.booleans(), use=st.integers(0, 99))
    def test_messages_cross_the_graph_to_the_right_places(self, members: int, random_graphs: bool, use: int) -> None:
        demands = Demands(sigma=1, eta=1, gamma=0.1, delta=0.1)
        graph = (
            random_graph(members, demands, least=1, beacon=3, use=use)
            if random_graphs
            else complete_graph(members, threshold=1, least=1)
        )
        for rows, (peers, places) in ((graph.neighbours, graph.to_neighbours), (graph.holders, graph.to_holders)):
            assert peers.shape == places.shape == (members, len(rows[0]))
            for rank in range(members):
                assert peers[rank].tolist() == list(rows[rank])
                assert [rows[p][s] for p, s in zip(peers[rank], places[rank], strict=True)] == [rank] * len(rows[rank])

    def test_everybody_draws_the_same_graph_and_another_use_or_beacon_gives_another_one(self) -> None:
        demands = Demands(sigma=10, eta=5, gamma=0.1, delta=0.1)
        assert neighbourhood(40, demands).degree < 39
        first = random_graph(40, demands, least=1, beacon=1, use=1).neighbours
        random_graph.cache_clear()
        assert random_graph(40, demands, least=1, beacon=1, use=1).neighbours == first
        others = [random_graph(40, demands, least=1, beacon=b, use=u).neighbours for b, u in ((1, 2), (2, 1))]
        assert len({first, *others}) == 3


DEMANDS = st.builds(
    Demands,
    sigma=st.integers(1, 60),
    eta=st.integers(1, 40),
    gamma=st.floats(0, 0.45, allow_subnormal=False),
    delta=st.floats(0, 0.45, allow_subnormal=False),
)


Bounds = tuple[NDArray[np.float64], float, NDArray[np.float64]]


def failures(members: int, demands: Demands, degree: int, thresholds: NDArray[np.int64]) -> Bounds:
    """The bounds on the three bad events of a random graph, with SciPy's hypergeometric tails in floating point."""
    corrupted, absent = part_of(demands.gamma, members), part_of(demands.delta, members)
    removed = corrupted + absent
    exposed = members * hypergeom.sf(thresholds - 1, members - 1, corrupted, degree)
    # Two given runs of degree / 2 are removed if all their members are among the removed ones.
    both = float(hypergeom.pmf(degree, members, removed, degree)) if removed >= degree else 0.0
    cut = members * (members - degree - 1) / 2 * both
    stuck = members * hypergeom.cdf(thresholds - 1, members - 1, members - absent - 1, degree)
    return exposed, cut, stuck


def good(members: int, demands: Demands, degree: int, thresholds: NDArray[np.int64]) -> bool:
    """Whether one of the thresholds meets the definition at this degree."""
    exposed, cut, stuck = failures(members, demands, degree, thresholds)
    half = 2.0 ** -(demands.sigma + 1)
    return bool(((exposed < half) & (cut < half) & (stuck < 2.0**-demands.eta)).any())


class TestNeighbourhoods:
    @settings(max_examples=50)
    @given(members=st.integers(1, 300), demands=DEMANDS)
    def test_the_degree_is_the_smallest_even_one_that_meets_the_definition(
        self, members: int, demands: Demands
    ) -> None:
        found = neighbourhood(members, demands)
        if found.degree < members - 1:
            assert good(members, demands, found.degree, np.array([found.threshold]))
            assert found.degree % 2 == 0
        smaller = range(2, min(found.degree, members - 1), 2)
        assert not any(good(members, demands, degree, np.arange(1, degree + 1)) for degree in smaller)

    @given(members=st.integers(3, 300), demands=DEMANDS)
    def test_the_threshold_is_the_largest_that_still_lets_keys_be_rebuilt(self, members: int, demands: Demands) -> None:
        found = neighbourhood(members, demands)
        if found.degree < members - 1 and found.threshold < found.degree:
            assert failures(members, demands, found.degree, np.array([found.threshold + 1]))[2] >= 2.0**-demands.eta

    @given(members=st.integers(1, 300), demands=DEMANDS)
    def test_where_all_pairs_are_used_nothing_is_left_to_chance(self, members: int, demands: Demands) -> None:
        found = neighbourhood(members, demands)
        corrupted, absent = part_of(demands.gamma, members), part_of(demands.delta, members)
        if found.degree == members - 1:
            assert corrupted < found.threshold <= members - absent

    def test_published_orders_of_magnitude(self) -> None:
        """Bell et al. promise k in O(log n): ten times the members need a few neighbours more."""
        fifth = Demands(sigma=40, eta=30, gamma=0.2, delta=0.2)
        degrees = [neighbourhood(members, fifth).degree for members in (100, 1000, 10000)]
        assert degrees[0] < degrees[1] < degrees[2] < 150
        assert degrees[2] - degrees[1] < 0.4 * degrees[1]

    @pytest.mark.parametrize("members", [8, 9, 10, 11])
    @pytest.mark.parametrize("sigma", [1, 3])
    def test_over_all_placements_the_events_are_as_rare_as_promised(self, members: int, sigma: int) -> None:
        """A uniform permutation of the ring is a uniform placement of C and D on it: all are counted, exactly."""
        for gamma, delta in ((0.1, 0.1), (0.2, 0.1), (0.25, 0.25), (0.3, 0.0)):
            demands = Demands(sigma=sigma, eta=sigma, gamma=gamma, delta=delta)
            degree, threshold = neighbourhood(members, demands)
            assert degree < members - 1
            ring = harary(range(members), degree)
            unsafe, stuck = placements_that_fail(ring, threshold, part_of(gamma, members), part_of(delta, members))
            assert unsafe < 2.0**-sigma
            assert stuck < 2.0**-sigma

    def test_a_degree_that_is_too_small_is_seen_over_all_placements(self) -> None:
        unsafe, stuck = placements_that_fail(harary(range(10), 2), 2, 2, 2)
        assert unsafe > 0.5
        assert stuck > 0.5

    @pytest.mark.parametrize(("members", "degree"), [(6, 2), (9, 2), (9, 4), (11, 4), (12, 4), (12, 6)])
    def test_the_graph_falls_apart_no_more_often_than_computed(self, members: int, degree: int) -> None:
        """I20: all sets of all sizes are removed from the ring, and counted exactly."""
        ring, cuts = harary(range(members), degree), 0
        for removed in range(members):
            sets = [frozenset(left) for left in itertools.combinations(range(members), members - removed)]
            apart = sum(not connected(ring, left) for left in sets)
            cuts += apart
            for bits in range(12):
                if _graph._stays_connected(members, degree, removed, bits):
                    assert apart * 2**bits < len(sets), f"{removed} members cut it {apart} of {len(sets)} times"
        assert cuts, "nothing that could go wrong"

    def test_a_bound_that_counts_too_few_gaps_is_seen(self) -> None:
        """Planted: one place for a pair of gaps, which must be filled exactly."""
        planted = mock.Mock(side_effect=lambda members, degree, removed, bits: 2**bits < math.comb(members, removed))
        with mock.patch.object(_graph, "_stays_connected", planted), pytest.raises(AssertionError, match="cut it"):
            self.test_the_graph_falls_apart_no_more_often_than_computed(9, 2)

    def test_over_random_placements_the_graph_is_connected_as_often_as_promised(self) -> None:
        """4000 graphs; more failures than a binomial law with the promised rate allows: FPR 1e-6.

        At three times the promised rate of 2^-6 the check fails with probability above 1 - 1e-11 (power).
        """
        demands = Demands(sigma=6, eta=3, gamma=0.15, delta=0.15)
        draws, rate = 4000, 2.0**-demands.sigma
        most = int(binom.isf(1e-6, draws, rate))
        assert binom.cdf(most, draws, 3 * rate) < 1e-11
        assert count_unsafe(60, demands, draws) <= most

    @pytest.mark.parametrize("planted", [Neighbourhood(4, 3), Neighbourhood(22, 4)])
    def test_a_degree_or_threshold_that_is_too_small_is_seen_over_random_placements(
        self, planted: Neighbourhood
    ) -> None:
        demands = Demands(sigma=6, eta=3, gamma=0.15, delta=0.15)
        random_graph.cache_clear()
        with mock.patch.object(_graph, "neighbourhood", return_value=planted):
            assert count_unsafe(60, demands, 500) > binom.isf(1e-6, 500, 2.0**-demands.sigma)
        random_graph.cache_clear()


def unsafe_and_stuck(neighbours: Edges, threshold: int, corrupted: set[int], absent: set[int]) -> tuple[bool, bool]:
    everyone = set(range(len(neighbours)))
    isolated = not connected(neighbours, frozenset(everyone - corrupted - absent))
    known = any(len(corrupted & set(neighbours[rank])) >= threshold for rank in everyone - corrupted)
    stuck = any(len(set(neighbours[rank]) - absent) < threshold for rank in everyone)
    return isolated or known, stuck


def placements_that_fail(neighbours: Edges, threshold: int, corrupted: int, absent: int) -> tuple[float, float]:
    """The largest parts of placements that are unsafe, and stuck, over all overlaps of the two sets."""
    members = range(len(neighbours))
    counts: Counter[int] = Counter()
    fails: Counter[tuple[int, str]] = Counter()
    for bad in map(set, itertools.combinations(members, corrupted)):
        for gone in map(set, itertools.combinations(members, absent)):
            common = len(bad & gone)
            unsafe, stuck = unsafe_and_stuck(neighbours, threshold, bad, gone)
            counts[common] += 1
            fails[common, "unsafe"] += unsafe
            fails[common, "stuck"] += stuck
    return tuple(max(fails[common, side] / counts[common] for common in counts) for side in ("unsafe", "stuck"))


def count_unsafe(members: int, demands: Demands, draws: int) -> int:
    """In how many graphs of the beacon the first gamma n members expose somebody once the last delta n are gone."""
    corrupted = set(range(part_of(demands.gamma, members)))
    absent = set(range(members - part_of(demands.delta, members), members))
    graphs = (random_graph(members, demands, least=1, beacon=5, use=use) for use in range(draws))
    return sum(unsafe_and_stuck(graph.neighbours, graph.threshold, corrupted, absent)[0] for graph in graphs)


def test_a_part_of_the_members_is_that_of_the_decimal_number_written() -> None:
    assert part_of(0.29, 100) == 29 > math.floor(0.29 * 100)
    assert [part_of(0.2, members) for members in (1, 4, 5, 9, 10)] == [0, 0, 1, 1, 2]
    assert part_of(1e-05, 100_000) == 1
    assert _masking.SEALED_WORDS * 8 == 2 * LIMBS * 8 + 16
