"""Processes that leave and join again between the rounds of a training: who sits where, and attacks that use it."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import attacks.testing as kit
from attacks import attacks
from attacks.api import ChurnView
from attacks.cluster.isolate import Isolate
from attacks.cluster.rejoin import Rejoin
from bench.churning import CHURNED, Churning
from bench.data import Dataset
from bench.federation import build, run_cell
from bench.grid import skip_reason
from bench.round import form_clusters, run_round
from bench.simulation.counting import BYZANTINE
from bench.simulation.request import request
from bench.simulation.world import World
from protocols.check import CloisterError
from protocols.in_process import InProcessParties
from protocols.randomness import public_stream
from protocols.tolerance.conditions import conditions_of
from protocols.types import Clustering
from tests.rounds import cell_with, start

CHURN = {"n": 24, "cluster_size": 4, "churn": 0.2, "clustering": "random"}
ROUNDS = 12


def clusters_of(digits: Dataset, rounds: int = ROUNDS, **axes: Any) -> tuple[list[Clustering], np.ndarray]:
    federation = build(cell_with(**{**CHURN, **axes}), digits)
    return [form_clusters(federation, r) for r in range(rounds)], federation.faulty


def test_clusters_are_those_of_a_simulation_of_the_same_churn(digits: Dataset) -> None:
    """One law and one implementation: the same number of faulty members in every cluster of every round."""
    asked = request(
        **{"n": 24, "faulty": "6", "crash": "0", "curious": "0", "cluster_size": 4, "policy": "random", "every": 0},
        **{"conditions": conditions_of("shamir"), "aggregator": "median", "placement": None, "domains": None},
        **{"moves": 0, "rounds": ROUNDS, "batch": None, "joins": 0.2, "leaves": 0.2, "identify": False},
        **{"test_error": 0.0, "seed": 0},
    )
    world = World(asked)
    world.advance()
    faulty = world.kinds == BYZANTINE
    found, _ = clusters_of(digits)
    moved = 0
    for clustering in found:
        if clustering is not found[0]:
            world.advance()
            moved += clustering != found[0]
        assert [int(faulty[list(members)].sum()) for members in clustering.clusters] == world.counts.byzantine.tolist()
        assert list(clustering.sizes) == world.counts.size.tolist()
    assert moved == ROUNDS - 1


def test_seats_that_are_drawn_otherwise_are_seen(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench import churning

    def other(seed: int, round_index: int) -> np.random.Generator:
        return public_stream(seed, "another churn", round_index)

    monkeypatch.setattr(churning, "churn_stream", other)
    with pytest.raises(AssertionError, match="assert"):
        test_clusters_are_those_of_a_simulation_of_the_same_churn(digits)


def test_sizes_stay_balanced_and_nobody_is_lost(digits: Dataset) -> None:
    for clustering in clusters_of(digits, n=26)[0]:
        assert sorted(process for members in clustering.clusters for process in members) == list(range(26))
        assert max(clustering.sizes) - min(clustering.sizes) <= 1
        assert min(clustering.sizes) >= 4


def test_rounds_have_the_same_clusters_in_whatever_order_they_are_asked_for(digits: Dataset) -> None:
    federation = build(cell_with(**CHURN), digits)
    assert [form_clusters(federation, r) for r in (7, 0, 7, 3)] == [clusters_of(digits)[0][r] for r in (7, 0, 7, 3)]


def test_a_policy_that_draws_again_does_and_churn_goes_on_from_there(digits: Dataset) -> None:
    every = {"name": "random", "every": 4}
    without = clusters_of(digits, churn=0.0, clustering=every)[0]
    found = clusters_of(digits, clustering=every)[0]
    assert [r for r in range(ROUNDS) if found[r] == without[r]] == [0, 4, 8]


# ---- attacks


def most_together(clustering: Clustering, faulty: np.ndarray) -> int:
    return int(clustering.faulty_counts(faulty).max())


def test_who_joins_again_until_placed_well_is_together_more_often(digits: Dataset) -> None:
    """Where few leave; where many do, their swaps scatter them again (the cuckoo rule is made against it).

    One seed, so that nothing is left to chance: four or more of the five are in one cluster of eight in 19 of 100
    rounds where `rejoin` uses the churn, and in 5 where nobody does.
    """
    axes = {"f": 5, "cluster_size": 8, "churn": 0.05}
    found, faulty = clusters_of(digits, 100, attack={"name": "rejoin", "attempts": 1}, **axes)
    plain, others = clusters_of(digits, 100, attack="none", **axes)
    assert sum(most_together(each, faulty) > 3 for each in found) == 19
    assert sum(most_together(each, others) > 3 for each in plain) == 5


def test_a_victim_under_churn_ends_among_mimics(digits: Dataset) -> None:
    """Under chance alone the victim's cluster has few of them, as churn parts those whom similarity put together."""
    axes = {"n": 20, "f": 3, "clustering": "similarity", "partition": {"name": "dirichlet", "alpha": 0.3}}
    beside: dict[str, int] = {}
    for attack in ("isolate", "none"):
        found, faulty = clusters_of(digits, rounds=30, attack=attack, **axes)
        beside[attack] = sum(most_together(each, faulty) for each in found[10:])
    assert beside["isolate"] > beside["none"]


def view(most: int, faulty: list[int], features: np.ndarray | None = None) -> ChurnView:
    mask = np.isin(np.arange(9), faulty)
    clusters = ((0, 1, 2), (3, 4, 5), (6, 7, 8))
    return ChurnView(clusters=clusters, faulty=mask, most=most, features=features, rng=public_stream(0, "x"))


def test_those_that_are_placed_well_stay_and_the_others_leave() -> None:
    assert Rejoin().leave(view(9, [0, 3, 4, 8])).tolist() == [0, 8]
    assert Rejoin().leave(view(1, [0, 3, 4, 8])).tolist() == [0]
    assert Rejoin().leave(view(9, [3, 4, 5, 8])).tolist() == []  # the cluster is theirs
    assert Rejoin(attempts=0).leave(view(9, [0, 3, 4, 8])).tolist() == []
    features = np.zeros((9, 2))
    features[7] = 5.0
    assert Isolate().leave(view(9, [0, 3, 8], features)).tolist() == [0, 3]
    assert Isolate().leave(view(9, [0, 3, 8])).tolist() == []


@pytest.mark.parametrize(
    "leave",
    [
        lambda self, view: np.arange(2),  # one of them is honest
        lambda self, view: np.flatnonzero(view.faulty),  # more than may
        lambda self, view: np.repeat(np.flatnonzero(view.faulty)[:1], 2)[: view.most],
    ],
)
def test_the_kit_sees_who_has_others_leave_or_too_many(monkeypatch: pytest.MonkeyPatch, leave: Callable) -> None:
    spec = attacks.resolve("rejoin")
    kit.leaves_with_its_own_processes_only(spec)
    monkeypatch.setattr(Rejoin, "leave", leave)
    with pytest.raises(AssertionError):
        kit.leaves_with_its_own_processes_only(spec)


def test_an_attack_that_has_honest_processes_leave_is_refused(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rejoin, "leave", lambda self, view: np.flatnonzero(~view.faulty)[: view.most])
    with pytest.raises(CloisterError, match="'rejoin' has others leave; allowed: its own processes"):
        clusters_of(digits, f=5, attack="rejoin")


# ---- cells


def test_a_row_says_who_left_and_its_verdicts_are_those_of_the_clusters_that_churn_made(
    digits: Dataset,
) -> None:
    """Three colluding members of eight learn nothing but the sum; five, whom churn brings together in round 3, do."""
    parties = InProcessParties(8)
    protocol = {"name": "shamir", "threshold": "3", "mode": "passive"}
    rejoin = {"name": "rejoin", "attempts": 1}
    axes = {"f": 5, "cluster_size": 8, "rounds": 3, "protocol": protocol, "attack": rejoin, "seed": 5, "churn": 0.05}
    still = run_cell(cell_with(**{**CHURN, **axes, "churn": 0.0}), digits, parties).metrics
    found = run_cell(cell_with(**{**CHURN, **axes}), digits, parties).metrics
    again = run_cell(cell_with(**{**CHURN, **axes}), digits, parties).metrics
    assert [still[name] for name in CHURNED] == [0, 0, 0]
    assert found["new_processes"] == 0  # there is no reserve
    assert found["rejoined_processes"] > 0
    assert found["reseated_processes"] > 0
    assert (found["contradicted"], still["contradicted"]) == ("", "")
    assert still["predicted_private"]
    assert not found["predicted_private"]
    same = [name for name in found if not name.endswith("_s")]
    assert [found[name] for name in same] == [again[name] for name in same]


@pytest.mark.parametrize(
    ("axes", "why"),
    [
        ({"clustering": "sticky"}, "churn = 0.2: sticky keeps processes together"),
        ({"clustering": {"name": "random", "every": 1}}, "random draws other clusters in every round"),
        ({"clustering": "reputation"}, "reputation draws other clusters in every round"),
        ({"clustering": "single"}, "single does not form several clusters"),
        ({"participation": 0.5}, "only 12 of 24 take part"),
        ({"topology": "ring"}, "with ring clusters keep their models"),
        ({"placement": "worst", "f": 2}, "worst places faults by their clusters"),
    ],
)
def test_churn_that_makes_no_sense_is_skipped_with_its_reason(digits: Dataset, axes: dict[str, Any], why: str) -> None:
    reason = skip_reason(cell_with(**{**CHURN, **axes}), digits)
    assert reason is not None
    assert why in reason
    assert skip_reason(cell_with(**{**CHURN, **axes, "churn": 0.0}), digits) is None
    assert skip_reason(cell_with(**CHURN), digits) is None


# ---- a reserve


RESERVE = {**CHURN, "n": 34, "reserve": 8}


def seated(digits: Dataset, rounds: int = ROUNDS, **axes: Any) -> tuple[list[list[int]], list[Clustering], Churning]:
    """Who is there in each round, by number, the clusters by their places, and the churn that made them."""
    federation = build(cell_with(**{**RESERVE, **axes}), digits)
    clusterings = [form_clusters(federation, r) for r in range(rounds)]
    assert federation.churning is not None
    return [federation.churning.present(r).tolist() for r in range(rounds)], clusterings, federation.churning


def test_new_processes_come_out_of_the_reserve_and_sizes_stay(digits: Dataset) -> None:
    present, clusterings, churning = seated(digits)
    assert {len(there) for there in present} == {26}
    assert all(there == sorted(set(there)) for there in present)
    for clustering in clusterings:
        assert sorted(process for members in clustering.clusters for process in members) == list(range(26))
        assert max(clustering.sizes) - min(clustering.sizes) <= 1
        assert min(clustering.sizes) >= 4
    new = set().union(*present) - set(present[0])
    assert churning.columns["new_processes"] == len(new) > 0
    assert churning.columns["rejoined_processes"] > len(new)  # some come back
    assert any(set(before) - set(after) for before, after in itertools.pairwise(present))
    assert present == seated(digits)[0]
    assert present != seated(digits, seed=1)[0]


def test_who_stays_keeps_its_cluster_but_for_swaps(digits: Dataset) -> None:
    """Where one process in twenty leaves, most pairs that both stay are together in the round after as well.

    A mistake in who sits at which place would leave one pair in five together, by chance alone.
    """
    present, clusterings, _ = seated(digits, churn=0.05)

    def companions(r: int) -> set[frozenset[int]]:
        named = [[present[r][place] for place in members] for members in clusterings[r].clusters]
        return {frozenset((a, b)) for members in named for a in members for b in members if a < b}

    kept = together = 0
    for r in range(ROUNDS - 1):
        stay = set(present[r]) & set(present[r + 1])
        before, after = ({pair for pair in companions(each) if pair <= stay} for each in (r, r + 1))
        kept, together = kept + len(before & after), together + len(before)
    assert kept > together / 2


def test_only_those_that_are_there_train_send_and_are_judged(digits: Dataset, parties: InProcessParties) -> None:
    axes: dict[str, Any] = {**RESERVE, "n": 16, "reserve": 4, "f": 3, "attack": "sign_flip", "protocol": "plaintext"}
    federation = build(cell_with(**axes), digits)
    model = start(federation)
    assert federation.churning is not None
    for r in range(3):
        outcome = run_round(federation, model, r, parties)
        there = federation.churning.present(r).tolist()
        assert sorted(process for members in outcome.report.clusters for process in members) == there
        assert outcome.byzantine == set(np.flatnonzero(federation.faulty).tolist()) & set(there)
        assert sum(len(each.members) for each in outcome.said.clusters) == len(there) == 12


def test_a_row_of_a_training_with_arrivals_repeats_and_says_who_came(digits: Dataset) -> None:
    axes: dict[str, Any] = {**RESERVE, "n": 16, "reserve": 4, "f": 2, "attack": "ipm", "rounds": 4, "churn": 0.3}
    first, again = (run_cell(cell_with(**axes), digits, InProcessParties(7)).metrics for _ in range(2))
    assert 0 < first["new_processes"] <= 4
    assert first["contradicted"] == ""
    same = [name for name in first if not name.endswith("_s")]
    assert [first[name] for name in same] == [again[name] for name in same]


@pytest.mark.parametrize(
    ("axes", "why"),
    [
        ({"churn": 0.0}, "reserve = 8: nobody joins from it, as churn = 0 lets nobody leave"),
        ({"participation": 0.5}, "only 13 of 34 take part"),
        ({"attack": "rejoin", "f": 3}, "sees the clusters of all processes, and only 26 of 34 take part"),
    ],
)
def test_a_reserve_that_makes_no_sense_is_skipped_with_its_reason(
    digits: Dataset, axes: dict[str, Any], why: str
) -> None:
    reason = skip_reason(cell_with(**{**RESERVE, **axes}), digits)
    assert reason is not None
    assert why in reason
    assert skip_reason(cell_with(**RESERVE), digits) is None


@pytest.mark.parametrize("reserve", [-1, 31, 0.5])
def test_a_reserve_that_leaves_too_few_is_refused(reserve: float) -> None:
    with pytest.raises(CloisterError, match="reserve = "):
        cell_with(**{**RESERVE, "reserve": reserve})


@pytest.mark.parametrize("churn", [-0.1, 0.51, float("nan")])
def test_a_share_that_makes_no_sense_is_refused(churn: float) -> None:
    with pytest.raises(CloisterError, match="churn = "):
        cell_with(churn=churn)


def test_a_cell_without_churn_has_none(digits: Dataset) -> None:
    assert build(cell_with(n=24), digits).churning is None
    assert isinstance(build(cell_with(**CHURN), digits).churning, Churning)
