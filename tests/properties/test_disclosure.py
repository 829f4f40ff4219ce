"""What revealed sums say about single updates: against linear algebra over the rationals, and published ranks."""

import math
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.check import CloisterError
from protocols.randomness import public_stream
from protocols.tolerance import disclosure
from protocols.tolerance.disclosure import Disclosure, generic_rank, rounds_until_disclosed
from protocols.tolerance.spans import ModularSpan, RationalSpan
from protocols.types import Clustering


def eliminated(rows: list[list[int]]) -> int:
    """The rank over the rationals, by the schoolbook."""
    table = [[Fraction(value) for value in row] for row in rows]
    rank = 0
    for column in range(len(table[0]) if table else 0):
        found = next((i for i in range(rank, len(table)) if table[i][column]), None)
        if found is None:
            continue
        table[rank], table[found] = table[found], table[rank]
        for i in range(rank + 1, len(table)):
            factor = table[i][column] / table[rank][column]
            table[i] = [x - factor * y for x, y in zip(table[i], table[rank], strict=True)]
        rank += 1
    return rank


def unit(column: int, n: int) -> list[int]:
    return [int(i == column) for i in range(n)]


def drawn(n: int, m: int, *names: object) -> Clustering:
    order = public_stream(8, "disclosure test", *names).permutation(n).tolist()
    return Clustering(clusters=tuple(tuple(order[j::m]) for j in range(m)))


@st.composite
def epochs(draw: st.DrawFn) -> tuple[int, frozenset[int], list[tuple[Clustering, frozenset[int]]]]:
    n = draw(st.integers(2, 7))
    colluding = draw(st.frozensets(st.integers(0, n - 1), max_size=n - 1))
    rounds = []
    for _ in range(draw(st.integers(1, 4))):
        order = draw(st.permutations(range(n)))
        m = draw(st.integers(1, n))
        inside = frozenset(range(n)) - draw(st.frozensets(st.integers(0, n - 1), max_size=2))
        rounds.append((Clustering(clusters=tuple(tuple(order[j::m]) for j in range(m))), inside))
    return n, colluding, rounds


@given(epochs(), st.booleans())
def test_rank_and_determined_processes_are_those_over_the_rationals(epoch: tuple, exact: bool) -> None:
    n, colluding, rounds = epoch
    seen = Disclosure(n=n, colluding=colluding, exact=exact)
    honest = [i for i in range(n) if i not in colluding]
    rows: list[list[int]] = []
    for clustering, inside in rounds:
        before = set(seen.determined())
        seen.add(clustering, inside)
        rows += [[int(i in inside and i in cluster) for i in honest] for cluster in clustering.clusters]
        rank = eliminated([list(row) for row in rows])
        assert seen.rank == rank
        expected = {i for k, i in enumerate(honest) if eliminated([*rows, unit(k, len(honest))]) == rank}
        assert set(seen.determined()) == expected
        assert before <= expected
        assert {each.process for each in seen.differences} <= expected


@given(epochs(), st.booleans())
def test_the_least_honest_support_is_that_of_trying_every_set(epoch: tuple, exact: bool) -> None:
    n, colluding, rounds = epoch
    seen = Disclosure(n=n, colluding=colluding, exact=exact)
    honest = [i for i in range(n) if i not in colluding]
    rows: list[list[int]] = []
    for clustering, inside in rounds:
        seen.add(clustering, inside)
        rows += [[int(i in inside and i in cluster) for i in honest] for cluster in clustering.clusters]
    rank = eliminated([list(row) for row in rows])
    least = n + 1
    for size in range(len(honest), 0, -1):
        for subset in combinations(range(len(honest)), size):
            outside = [[row[k] for k in range(len(honest)) if k not in subset] for row in rows]
            if (eliminated(outside) if size < len(honest) else 0) < rank:
                least = size
                break
    found = seen.honest_support()
    assert found.exact
    assert found.lower == least
    bounded = seen.honest_support(most_subsets=0)
    assert bounded.lower <= least <= bounded.upper


@pytest.mark.parametrize(("n", "f", "m"), [(30, 0, 4), (40, 5, 6), (120, 8, 9)])
def test_fresh_random_partitions_disclose_everything_at_the_published_round(n: int, f: int, m: int) -> None:
    last = rounds_until_disclosed(n, f, m)
    assert last == -(-(n - f - 1) // (m - 1))
    seen = Disclosure(n=n, colluding=range(f))
    for index in range(last):
        assert len(seen.determined()) < n - f
        seen.add(drawn(n, m, n, index))
        assert seen.rank == generic_rank(n, f, m, index + 1)
    assert seen.determined() == tuple(range(f, n))
    assert (seen.error == 0) == (n - f <= 96)
    assert seen.error < 1e-6


def test_batches_that_stay_together_never_disclose_more_than_their_sums() -> None:
    n, size = 24, 3
    batches = [list(range(start, start + size)) for start in range(0, n, size)]
    seen = Disclosure(n=n)
    for index in range(40):
        order = public_stream(8, "batches", index).permutation(len(batches))
        clusters = [tuple(i for b in order[j::4].tolist() for i in batches[b]) for j in range(4)]
        seen.add(Clustering(clusters=tuple(clusters)))
    assert seen.rank == len(batches)
    assert seen.determined() == ()
    assert seen.honest_support(most_subsets=3000).lower == size
    # Planted bug: one process that changes its batch is found by differencing.
    seen.add(Clustering(clusters=(tuple(range(4)), tuple(range(4, n)))))
    assert 3 in seen.determined()


def test_a_process_that_drops_out_is_the_difference_of_two_sums() -> None:
    clusters = Clustering(clusters=((0, 1, 2, 3), (4, 5, 6, 7)))
    seen = Disclosure(n=8, colluding=[7])
    seen.add(clusters)
    seen.add(clusters, contributors=[0, 1, 3, 4, 5, 6, 7])
    (found,) = seen.differences
    assert (found.process, found.larger_round, found.smaller_round) == (2, 0, 1)
    assert seen.determined() == (2,)
    # The colluder's own absence tells nothing new.
    seen.add(clusters, contributors=range(7))
    assert seen.determined() == (2,)


@given(st.integers(2, 15), st.integers(0, 2**32))
def test_the_rank_modulo_a_prime_is_the_rational_one_where_no_minor_is_as_large(n: int, seed: int) -> None:
    """No minor of so few columns has a factor of 31 bits: by Hadamard's bound they are below 15^7.5 < 2^30."""
    exact, modular = RationalSpan(n), ModularSpan(n, seed=seed)
    rows = np.random.default_rng(seed).random((2 * n, n)) < 0.4
    for row in rows:
        assert exact.add(np.flatnonzero(row).tolist()) == modular.add(np.flatnonzero(row).tolist())
        assert exact.rank == modular.rank


@pytest.mark.parametrize("n", [2, 97, 1000])
def test_the_error_of_a_rank_modulo_a_prime_counts_the_primes_that_may_divide_a_minor(n: int) -> None:
    """A number has fewer factors of more than 30 bits than its bits / 30; there are pi(2^31) - pi(2^30) primes."""
    primes = 105_097_565 - 54_400_028
    assert ModularSpan(n).error >= math.log2(n) * n / 2 / 30 / primes * (1 - 1e-12)
    assert len({ModularSpan(2, seed=seed)._prime for seed in range(50)}) == 50
    assert all(2**30 < ModularSpan(2, seed=seed)._prime < 2**31 for seed in range(50))


def test_a_rank_modulo_a_tiny_prime_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted bug: modulo 2, pairs around a triangle are dependent, and the triangle's updates look safe."""
    from protocols.tolerance import spans

    pairs = [
        Clustering(clusters=((0, 1), (2,))),
        Clustering(clusters=((1, 2), (0,))),
        Clustering(clusters=((0, 2), (1,))),
    ]

    def rank() -> int:
        seen = Disclosure(n=3, exact=False)
        for clustering in pairs:
            seen._add(sorted(clustering.clusters[0]))
        return seen.rank

    assert rank() == 3
    monkeypatch.setattr(spans, "_drawn_prime", lambda seed: 2)
    assert rank() == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Disclosure(n=3, colluding=[3]), r"processes \[3\] do not exist"),
        (lambda: Disclosure(n=2).add(Clustering(clusters=((0, 1, 2),)), [0, 2]), r"processes \[2\] do not exist"),
        (lambda: rounds_until_disclosed(5, 5, 2), "leaves no honest process"),
        (lambda: rounds_until_disclosed(5, 1, 6), "more than n = 5"),
        (lambda: generic_rank(5, -1, 2, 1), "faulty = -1"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message: str) -> None:
    with pytest.raises(CloisterError, match=message):
        make()


def test_one_cluster_never_discloses_more_than_its_sum() -> None:
    assert rounds_until_disclosed(9, 2, 1) is None
    assert rounds_until_disclosed(3, 2, 1) == 1
    assert disclosure.HonestSupport(lower=2, upper=3).exact is False
