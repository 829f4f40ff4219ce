"""Many rounds of batches that stay, in clusters drawn anew: the law against every placement and every drawing."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import beta

from protocols.clustering.sticky import Sticky
from protocols.tolerance.analysis import Faults, analyse
from protocols.tolerance.batches import any_round_fails
from protocols.tolerance.conditions import Conditions, conditions_of
from protocols.tolerance.parts import size_groups
from protocols.tolerance.rounds import over_rounds


def drawings(batches: Sequence[int], each: int) -> Iterator[list[tuple[int, ...]]]:
    """Every way of putting the batches into clusters of so many, each cluster's first batch being the lowest left."""
    if not batches:
        yield []
        return
    first, *rest = batches
    for others in combinations(rest, each - 1):
        left = [b for b in rest if b not in others]
        yield from ([(first, *others), *more] for more in drawings(left, each))


@dataclass(frozen=True, kw_only=True)
class Case:
    """One design with batches, small enough to try everything."""

    faults: Faults
    size: int
    conditions: Conditions
    tolerate: int = 0
    batch: int = 2

    def law(self, rounds: int) -> float | None:
        """What the analysis says."""
        groups = size_groups(self.faults.n, self.size)
        return any_round_fails(self.faults, groups, self.conditions, self.tolerate, batch=self.batch, rounds=rounds)


def by_counting(case: Case, rounds: int) -> Fraction:
    """The mean over placements of 1 - (1 - q)^T, q the share of drawings that fail."""
    shares = failing_shares(case)
    return sum((1 - (1 - q) ** rounds for q in shares), Fraction(0)) / len(shares)


@lru_cache
def failing_shares(case: Case) -> list[Fraction]:
    """The share of drawings that fail, for each placement."""
    faults, size, batch = case.faults, case.size, case.batch
    kind = next(k for k, count in enumerate((faults.byzantine, faults.crashed, faults.curious)) if count)
    count, chances = faults.n // batch, list[Fraction]()
    ways = list(drawings(range(count), size // batch))
    for faulty in combinations(range(faults.n), faults.total):
        held = [sum(process // batch == b for process in faulty) for b in range(count)]
        bad = 0
        for clusters in ways:
            exposed, failed = False, 0
            for cluster in clusters:
                seats = [np.zeros(1, dtype=np.int64) for _ in range(3)]
                seats[kind] = np.array([sum(held[b] for b in cluster)])
                b, k, p = seats
                exposed |= bool(case.conditions.exposed(size, b + p, k)[0])
                failed += int(case.conditions.failed(size, b, k)[0])
            bad += exposed or failed > case.tolerate
        chances.append(Fraction(bad, len(ways)))
    return chances


def passive(threshold: int) -> Conditions:
    return conditions_of("shamir", mode="passive", threshold=str(threshold))


CASES = [
    Case(faults=Faults(n=8, byzantine=0, curious=2), size=4, conditions=passive(1)),
    Case(faults=Faults(n=8, byzantine=2), size=4, conditions=passive(2), tolerate=1),
    Case(faults=Faults(n=12, byzantine=3), size=4, conditions=passive(2), tolerate=2),
    Case(faults=Faults(n=12, byzantine=0, crashed=4), size=4, conditions=passive(1), tolerate=0),
    Case(faults=Faults(n=12, byzantine=0, crashed=6), size=4, conditions=passive(2), tolerate=1),
    Case(faults=Faults(n=12, byzantine=0, curious=4), size=6, conditions=passive(2), batch=3),
    Case(faults=Faults(n=12, byzantine=0, curious=3), size=6, conditions=passive(2), batch=3),
]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("rounds", [1, 2, 7])
def test_any_round_fails_as_often_as_over_every_placement_and_every_drawing(case: Case, rounds: int) -> None:
    found, exact = case.law(rounds), by_counting(case, rounds)
    assert 0 < exact < 1  # else it would tell nothing
    # Nine digits are what the engines vouch for.
    assert found is not None
    assert math.isclose(found, float(exact), rel_tol=1e-9, abs_tol=0.0), (found, float(exact))


def test_a_cluster_of_one_batch_is_the_same_in_all_rounds() -> None:
    case = Case(faults=Faults(n=9, byzantine=0, curious=2), size=3, conditions=passive(1), batch=3)
    once = case.law(1)
    assert once is not None
    assert 0 < once < 1
    assert case.law(50) == pytest.approx(once, rel=1e-12)


def test_the_reference_tells_batches_that_stay_from_batches_that_are_drawn_anew() -> None:
    """The negative twin: rounds taken for independent give another number."""
    once, seven = (float(by_counting(CASES[2], rounds)) for rounds in (1, 7))
    assert once < seven < 0.98 * over_rounds(once, 7)


@pytest.mark.parametrize("batch", [2, 3, 5])
def test_the_smallest_cluster_of_the_policy_is_one_batch(batch: int) -> None:
    """So `bench tolerance` knows how many always act together without knowing the policy."""
    assert Sticky(batch=batch).smallest_cluster(1) == batch


@pytest.mark.parametrize(("n", "faulty", "size"), [(60, 3, 10), (200, 20, 10), (1000, 60, 20), (1000, 30, 4)])
@pytest.mark.parametrize("kind", ["byzantine", "crashed", "curious"])
def test_one_round_of_batches_is_as_likely_to_fail_as_clusters_without(
    n: int, faulty: int, size: int, kind: str
) -> None:
    faults = Faults(n=n, **{"byzantine": 0, kind: faulty})
    conditions = conditions_of("shamir", mode="passive", threshold="c/3")
    groups, tolerate = size_groups(n, size), n // size // 3
    once = analyse(faults, groups, conditions, tolerate).fail
    found = any_round_fails(faults, groups, conditions, tolerate, batch=2, rounds=1)
    assert found is not None
    assert math.isclose(found, once.value, rel_tol=1e-8, abs_tol=1e-300)


@pytest.mark.parametrize(
    ("faults", "size"),
    [
        (Faults(n=62, byzantine=3), 10),  # clusters of two sizes
        (Faults(n=60, byzantine=3), 15),  # a batch of three in each
        (Faults(n=60, byzantine=3, curious=1), 10),  # two kinds of fault
        (Faults(n=60, byzantine=0), 10),  # no fault at all
        (Faults(n=4000, byzantine=900), 20),  # more ways than are worth while
    ],
)
def test_what_is_not_known_has_no_answer(faults: Faults, size: int) -> None:
    assert any_round_fails(faults, size_groups(faults.n, size), passive(1), 0, batch=2, rounds=5) is None


def test_the_policy_itself_fails_as_often_as_the_law_says() -> None:
    """2,000 epochs of `sticky`: 12 processes, three curious, bad where a cluster of four has all of them in a round.

    The count is binomial; the interval is its exact one (Clopper and Pearson) at 1e-6, which is the rate of false
    alarms. Rounds taken for independent would give .362 instead of .227, 14 standard deviations away.
    """
    policy, rounds, trials = Sticky(batch=2), 8, 2000
    case = Case(faults=Faults(n=12, byzantine=0, curious=3), size=4, conditions=passive(2), tolerate=3)
    hits = 0
    for seed in range(trials):
        # The placement is fixed: batches are drawn without looking at it.
        owners = (policy.assign(n=12, cluster_size=4, seed=seed, round_index=r)[:3] for r in range(rounds))
        hits += any(len(set(owner.tolist())) == 1 for owner in owners)
    low, high = beta.ppf(5e-7, hits, trials - hits + 1), beta.ppf(1 - 5e-7, hits + 1, trials - hits)
    law = case.law(rounds)
    assert law is not None
    assert low <= law <= high, (hits / trials, law)
    independent = over_rounds(analyse(case.faults, size_groups(12, 4), case.conditions, 3).fail.value, rounds)
    assert not low <= independent <= high, (hits / trials, law, independent)
