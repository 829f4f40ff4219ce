"""Galois rings: every difference of points can be divided by, and polynomials are interpolated exactly modulo 2^64."""

from itertools import combinations, pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protocols.check import CloisterError
from protocols.galois import Element, GaloisRing

WORDS = st.integers(0, 2**64 - 1)
DEGREES = range(1, 9)


@st.composite
def rings_with_elements(draw: st.DrawFn) -> tuple[GaloisRing, list[Element]]:
    degree = draw(st.sampled_from(DEGREES))
    element = st.tuples(*[WORDS] * degree)
    return GaloisRing(degree=degree), draw(st.lists(element, min_size=3, max_size=3))


@given(drawn=rings_with_elements())
def test_multiplication_is_commutative_associative_distributive_and_has_a_one(
    drawn: tuple[GaloisRing, list[Element]],
) -> None:
    ring, (a, b, c) = drawn
    multiply = ring.multiply
    assert multiply(a, b) == multiply(b, a)
    assert multiply(multiply(a, b), c) == multiply(a, multiply(b, c))
    assert multiply(a, ring.subtract(b, c)) == ring.subtract(multiply(a, b), multiply(a, c))
    assert multiply(a, ring.one) == a


def test_the_second_ring_is_that_of_the_third_roots_of_unity() -> None:
    """X^2 = -X - 1, and so X^3 = 1: by hand, not by the code."""
    ring = GaloisRing(degree=2)
    x = ring.point(2)
    assert ring.multiply(x, x) == (2**64 - 1, 2**64 - 1)
    assert ring.powers(2, 4)[3] == ring.one


def divided(product: list[int], by: list[int]) -> list[int]:
    """The remainder of one polynomial over the integers by another one, whose first coefficient of all is 1."""
    rest = list(product)
    while len(rest) >= len(by):
        first = rest.pop()
        for place, coefficient in enumerate(reversed(by[:-1]), start=1):
            rest[-place] -= first * coefficient
    return rest


@given(drawn=rings_with_elements())
def test_multiplication_is_that_of_polynomials_over_the_integers_reduced_afterwards(
    drawn: tuple[GaloisRing, list[Element]],
) -> None:
    """By the polynomial that the ring itself says is zero: X^m and the m coefficients that it is equal to."""
    ring, (a, b, _) = drawn
    m = ring.degree
    modulus = [-word % 2**64 for word in ring.powers(2, m + 1)[m]] + [1] if m > 1 else [0, 1]
    assert set(modulus) <= {0, 1}
    product = [sum(a[i] * b[k - i] for i in range(m) if 0 <= k - i < m) for k in range(2 * m - 1)]
    assert ring.multiply(a, b) == tuple(word % 2**64 for word in divided(product, modulus))


@pytest.mark.parametrize("degree", DEGREES)
def test_the_difference_of_any_two_points_is_invertible(degree: int) -> None:
    """Up to 2^5 points all differences; above, all points and the differences of neighbours."""
    ring = GaloisRing(degree=degree)
    points = range(2**degree)
    pairs = list(combinations(points, 2)) if degree <= 5 else [(0, n) for n in points[1:]] + [*pairwise(points)]
    for first, second in pairs:
        apart = ring.subtract(ring.point(first), ring.point(second))
        assert ring.multiply(apart, ring.inverse(apart)) == ring.one


def test_of_the_words_alone_a_third_point_would_not_do() -> None:
    """The twin: 2 - 0 is even, and no word times 2 is 1."""
    ring = GaloisRing(degree=1)
    with pytest.raises(CloisterError, match="even and has no inverse"):
        ring.inverse((2,))


@given(data=st.data())
def test_any_t_plus_one_values_of_a_polynomial_give_its_constant(data: st.DataObject) -> None:
    ring = GaloisRing(degree=data.draw(st.integers(1, 4)))
    points = data.draw(st.lists(st.integers(1, 2**ring.degree - 1), unique=True, min_size=1, max_size=5))
    coefficients = [data.draw(st.tuples(*[WORDS] * ring.degree)) for _ in points]
    nothing, total = ring.point(0), ring.point(0)
    for point, weight in zip(points, ring.lagrange_weights(points), strict=True):
        value = nothing
        for coefficient, power in zip(coefficients, ring.powers(point, len(points)), strict=True):
            value = ring.subtract(value, ring.subtract(nothing, ring.multiply(coefficient, power)))
        total = ring.subtract(total, ring.subtract(nothing, ring.multiply(weight, value)))
    assert total == coefficients[0]


@given(drawn=rings_with_elements())
def test_the_matrix_of_an_element_multiplies_words_by_it(drawn: tuple[GaloisRing, list[Element]]) -> None:
    ring, (a, b, _) = drawn
    column = torch.tensor([word - 2**64 if word >> 63 else word for word in b])[:, None]
    product = (ring.matrix(a) @ column)[:, 0]
    assert tuple(word % 2**64 for word in product.tolist()) == ring.multiply(a, b)


@pytest.mark.parametrize(("count", "degree"), [(1, 1), (2, 2), (3, 2), (4, 3), (7, 3), (8, 4), (255, 8)])
def test_the_smallest_ring_with_enough_points_is_chosen(count: int, degree: int) -> None:
    assert GaloisRing.with_points(count).degree == degree


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(CloisterError, match="degree = 9 is not supported; allowed: 1 to 8"):
        GaloisRing.with_points(256)
    with pytest.raises(CloisterError, match="number = 4 is not allowed; allowed: 0 to 3"):
        GaloisRing(degree=2).point(4)
    with pytest.raises(CloisterError, match="each of them once"):
        GaloisRing(degree=2).lagrange_weights([1, 2, 1])
