"""Shamir shares: exact reconstruction from any subset (I8), exactly uniform marginals (I14), exact consistency."""

import itertools
import secrets
from collections.abc import Callable, Iterator, Sequence
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protocols import polynomials
from protocols.check import CloisterError
from protocols.field import PrimeField
from protocols.polynomials import consistent, evaluate, interpolate, lagrange_weights, reconstruct, share

F5, F7, NARROW, LARGE = PrimeField(5), PrimeField(7), PrimeField(2**31 - 1), PrimeField()
FIELDS = [F5, F7, NARROW, LARGE]
Share = Callable[[PrimeField, torch.Tensor, int, int, torch.Tensor], torch.Tensor]


def tensor(values: object) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int64)


def all_vectors(field: PrimeField, length: int) -> torch.Tensor:
    """Every vector over the field, as the columns of a tensor (length, p^length)."""
    vectors = list(itertools.product(range(field.modulus), repeat=length))
    return tensor(vectors).reshape(len(vectors), length).T.contiguous()


def python_value(field: PrimeField, coefficients: Sequence[int], point: int) -> int:
    return sum(c * point**i for i, c in enumerate(coefficients)) % field.modulus


@st.composite
def polynomial_and_points(draw: st.DrawFn) -> tuple[PrimeField, list[int], list[int]]:
    """A field, the coefficients of a polynomial and more points than its degree."""
    field = draw(st.sampled_from(FIELDS))
    most = field.modulus - 1
    coefficients = draw(st.lists(st.integers(0, most), min_size=1, max_size=min(6, most)))
    point = st.one_of(st.integers(1, min(20, most)), st.integers(1, most))
    points = draw(st.lists(point, min_size=len(coefficients), max_size=min(9, most), unique=True))
    return field, coefficients, points


class TestEvaluate:
    @given(drawn=polynomial_and_points())
    def test_every_value_is_exactly_that_of_the_polynomial_at_its_point(
        self, drawn: tuple[PrimeField, list[int], list[int]]
    ) -> None:
        field, coefficients, points = drawn
        found = evaluate(field, tensor(coefficients).reshape(-1, 1), points)
        assert found.tolist() == [[python_value(field, coefficients, point)] for point in points]

    def test_the_largest_coefficients_of_a_high_degree_do_not_overflow(self) -> None:
        p, points = LARGE.modulus, [*range(1, 51), LARGE.modulus - 1, LARGE.modulus // 2]
        found = evaluate(LARGE, torch.full((40, 2), p - 1), points)
        assert found.tolist() == [[python_value(LARGE, [p - 1] * 40, point)] * 2 for point in points]

    def test_trailing_axes_are_kept(self) -> None:
        coefficients = torch.arange(24).view(3, 2, 4)
        values = evaluate(LARGE, coefficients, [1, 3])
        assert torch.equal(
            values, torch.stack([coefficients.sum(0), (coefficients * tensor([1, 3, 9])[:, None, None]).sum(0)])
        )

    def test_a_polynomial_without_coefficients_is_refused(self) -> None:
        with pytest.raises(CloisterError, match=r"coefficients of shape \(0, 3\)"):
            evaluate(LARGE, torch.empty(0, 3, dtype=torch.int64), [1])

    def test_coefficients_that_are_no_elements_are_refused(self) -> None:
        with pytest.raises(CloisterError, match=r"coefficients\[1\] is a tensor of .* with values from -1 to 5"):
            evaluate(F7, tensor([[1, 2], [-1, 5]]), [1])


class TestPoints:
    @pytest.mark.parametrize(
        ("points", "message"),
        [
            ([1, 0, 2], r"points\[1\] = 0 is not allowed; allowed: 1 to 6 \(the value at 0 is the secret\)"),
            ([1, 2, 2], r"points = \[1, 2, 2\] have 2 twice"),
            ([7], r"points\[0\] = 7 is not allowed; allowed: 1 to 6"),
            ([-1], r"points\[0\] = -1"),
            ([True], r"points\[0\] = True"),
            ([1.0], r"points\[0\] = 1.0"),
        ],
    )
    def test_a_point_that_a_party_must_not_have_is_refused_everywhere(self, points: list[int], message: str) -> None:
        values = torch.ones(len(points), 2, dtype=torch.int64)
        calls: list[Callable[[], object]] = [
            lambda: evaluate(F7, values, points),
            lambda: lagrange_weights(F7, points, 0),
            lambda: interpolate(F7, points, values),
            lambda: consistent(F7, points, values, 0),
            lambda: reconstruct(F7, points, values, 0),
        ]
        for call in calls:
            with pytest.raises(CloisterError, match=message):
                call()

    def test_points_that_are_not_one_for_each_row_are_refused(self) -> None:
        for points, rows in (([1, 2], 3), ([1, 2, 3], 2), ([], 0)):
            values = torch.ones(rows, 2, dtype=torch.int64)
            with pytest.raises(CloisterError, match=rf"{len(points)} points do not fit values of shape \({rows}, 2\)"):
                interpolate(F7, points, values)
            with pytest.raises(CloisterError, match=rf"{len(points)} points do not fit"):
                consistent(F7, points, values, 0)

    def test_values_that_are_no_elements_are_refused(self) -> None:
        with pytest.raises(CloisterError, match=r"values is a tensor of .* allowed: torch.int64, 0 to 6"):
            interpolate(F7, [1, 2], tensor([[1], [7]]))


class TestInterpolate:
    @given(drawn=polynomial_and_points(), data=st.data())
    def test_interpolating_a_polynomial_of_degree_below_k_gives_exactly_its_value(
        self, drawn: tuple[PrimeField, list[int], list[int]], data: st.DataObject
    ) -> None:
        field, coefficients, points = drawn
        values = tensor([[python_value(field, coefficients, point)] for point in points])
        at = data.draw(st.one_of(st.just(0), st.sampled_from(points), st.integers(0, field.modulus - 1)))
        assert interpolate(field, points, values, at).tolist() == [python_value(field, coefficients, at)]
        weights = lagrange_weights(field, points, at)
        assert sum(weights) % field.modulus == 1
        assert all(0 <= weight < field.modulus for weight in weights)

    @pytest.mark.parametrize("at", [-1, 7])
    def test_a_place_outside_the_field_is_refused(self, at: int) -> None:
        with pytest.raises(CloisterError, match=f"at = {at} is not allowed; allowed: 0 to 6"):
            lagrange_weights(F7, [1, 2], at)


def assert_consistency_is_exact(field: PrimeField, points: Sequence[int], degree: int) -> None:
    """Over every word of the field at these points, against the list of all codewords."""
    words = all_vectors(field, len(points))
    codewords = {
        tuple(python_value(field, coefficients, point) for point in points)
        for coefficients in itertools.product(range(field.modulus), repeat=min(degree + 1, len(points)))
    }
    wanted = [tuple(word) in codewords for word in words.T.tolist()]
    assert consistent(field, points, words, degree).tolist() == wanted, "consistency is wrong"


class TestConsistent:
    @pytest.mark.parametrize("degree", range(5))
    @pytest.mark.parametrize(
        ("field", "points"), [(F5, (1, 2, 3, 4)), (F5, (4, 1, 3)), (F7, (6, 1, 3, 4, 2)), (F7, (5, 2, 1))], ids=str
    )
    def test_true_exactly_where_a_polynomial_of_the_degree_passes_through_all_values(
        self, field: PrimeField, points: tuple[int, ...], degree: int
    ) -> None:
        assert_consistency_is_exact(field, points, degree)

    @pytest.mark.parametrize("degree", range(3))
    def test_a_check_that_skips_the_last_row_is_seen(self, degree: int) -> None:
        original = polynomials.consistent
        with (
            mock.patch(f"{__name__}.consistent", lambda f, points, values, d: original(f, points[:-1], values[:-1], d)),
            pytest.raises(AssertionError, match="consistency is wrong"),
        ):
            assert_consistency_is_exact(F5, (1, 2, 3, 4), degree)

    def test_a_check_of_one_degree_more_is_seen(self) -> None:
        original = polynomials.consistent
        with (
            mock.patch(f"{__name__}.consistent", lambda f, points, values, d: original(f, points, values, d + 1)),
            pytest.raises(AssertionError, match="consistency is wrong"),
        ):
            assert_consistency_is_exact(F5, (1, 2, 3, 4), 1)

    @given(drawn=polynomial_and_points(), data=st.data())
    def test_one_changed_value_is_seen_in_its_coordinate_alone(
        self, drawn: tuple[PrimeField, list[int], list[int]], data: st.DataObject
    ) -> None:
        field, coefficients, points = drawn
        degree = len(coefficients) - 1
        values = evaluate(field, tensor(coefficients).reshape(-1, 1).repeat(1, 3), points)
        assert bool(consistent(field, points, values, degree).all())
        row, delta = data.draw(st.integers(0, len(points) - 1)), data.draw(st.integers(1, field.modulus - 1))
        values[row, 1] = (values[row, 1] + delta) % field.modulus
        enough = len(points) > degree + 1
        assert consistent(field, points, values, degree).tolist() == [True, not enough, True]


def assert_any_subset_reconstructs(field: PrimeField, degree: int, parties: int, shared: Share) -> None:
    """I8: every set of degree + 1 parties gets the secret, for every secret and a spread of the coefficients."""
    drawn = all_vectors(field, min(degree + 1, 4))
    secret, coefficients = drawn[0], drawn[1:]
    if degree > 3:  # all of the first three coefficients, random ones above them
        more = torch.randint(0, field.modulus, (degree - 3, drawn.shape[1]), generator=torch.Generator().manual_seed(8))
        coefficients = torch.cat([coefficients, more])
    shares = shared(field, secret, degree, parties, coefficients)
    for subset in itertools.combinations(range(parties), degree + 1):
        points = [party + 1 for party in subset]
        found = reconstruct(field, points, shares[list(subset)], degree)
        assert torch.equal(found, secret), f"the parties {subset} do not get the secret"


class TestSharing:
    @pytest.mark.parametrize(("parties", "degree"), [(c, t) for c in range(1, 7) for t in range(c)])
    def test_any_degree_plus_1_shares_reconstruct_the_secret(self, parties: int, degree: int) -> None:
        assert_any_subset_reconstructs(F7, degree, parties, share)

    @pytest.mark.parametrize(
        ("bug", "planted"),
        [
            ("two parties with one point", lambda shares: shares[[0, 1, 1, 3]]),
            ("points shifted by one", lambda shares: shares.roll(1, 0)),
            ("a share of one party off by one", lambda shares: (shares + tensor([[0], [1], [0], [0]])) % 7),
        ],
    )
    def test_shares_that_do_not_reconstruct_are_seen(self, bug: str, planted: Callable) -> None:
        def wrong(*arguments: object) -> torch.Tensor:
            return planted(share(*arguments))

        with pytest.raises(AssertionError, match="do not get the secret"):
            assert_any_subset_reconstructs(F7, 2, 4, wrong)

    @given(drawn=polynomial_and_points(), data=st.data())
    def test_shares_of_real_size_reconstruct_from_more_shares_than_needed(
        self, drawn: tuple[PrimeField, list[int], list[int]], data: st.DataObject
    ) -> None:
        field, (secret, *coefficients), _ = drawn
        degree = len(coefficients)
        parties = data.draw(st.integers(degree + 1, min(9, field.modulus - 1)))
        shares = share(field, tensor([secret]), degree, parties, tensor(coefficients).reshape(-1, 1))
        points = data.draw(st.permutations(range(1, parties + 1)))
        points = points[: data.draw(st.integers(degree + 1, parties))]
        assert reconstruct(field, points, shares[[point - 1 for point in points]], degree).tolist() == [secret]

    def test_fewer_than_degree_plus_1_shares_are_refused(self) -> None:
        """I13: the call that would give a wrong secret does not exist."""
        shares = share(F7, tensor([3]), 2, 5, tensor([[1], [2]]))
        for held in (1, 2):
            with pytest.raises(
                CloisterError, match=rf"{held} shares do not determine a polynomial of degree 2; allowed: 3 or more"
            ):
                reconstruct(F7, range(1, held + 1), shares[:held], 2)

    def test_degree_0_gives_every_party_the_secret(self) -> None:
        shares = share(F7, tensor([3, 4]), 0, 3, torch.empty(0, 2, dtype=torch.int64))
        assert shares.tolist() == [[3, 4]] * 3

    @pytest.mark.parametrize(
        ("parties", "degree", "message"),
        [
            (7, 1, "parties = 7 do not fit the field modulo 7; allowed: 1 to 6"),
            (0, 0, "parties = 0"),
            (3, 3, "degree = 3 needs 4 shares, of which 3 parties hold 3; allowed: 0 to 2"),
            (3, -1, "degree = -1"),
        ],
    )
    def test_parties_and_degree_that_do_not_fit_are_refused(self, parties: int, degree: int, message: str) -> None:
        with pytest.raises(CloisterError, match=message):
            share(F7, tensor([1, 2]), degree, parties, torch.ones(max(degree, 0), 2, dtype=torch.int64))

    @pytest.mark.parametrize("shape", [(1, 2), (3, 2), (2, 1), (2,), (2, 2, 1)])
    def test_coefficients_of_another_shape_are_refused(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(CloisterError, match=r"do not fit; allowed: \(2, 2\)"):
            share(F7, tensor([1, 2]), 2, 4, torch.ones(shape, dtype=torch.int64))

    @pytest.mark.parametrize(("secret", "coefficient"), [(7, 1), (-1, 1), (1, 7), (1, -1)])
    def test_a_secret_or_coefficient_that_is_no_element_is_refused(self, secret: int, coefficient: int) -> None:
        with pytest.raises(CloisterError, match=r"is a tensor of .* allowed: torch.int64, 0 to 6"):
            share(F7, tensor([secret]), 1, 3, tensor([[coefficient]]))


def laws(field: PrimeField, degree: int, parties: int, shared: Share, seen: int) -> Iterator[list[torch.Tensor]]:
    """For each set of `seen` parties, how often each tuple of their shares occurs, secret by secret."""
    coefficients = all_vectors(field, degree)
    count = coefficients.shape[1]
    base = field.modulus ** torch.arange(seen)
    views = [shared(field, torch.full((count,), s), degree, parties, coefficients) for s in range(field.modulus)]
    for coalition in itertools.combinations(range(parties), seen):
        codes = [(view[list(coalition)] * base[:, None]).sum(dim=0) for view in views]
        yield [torch.bincount(code, minlength=field.modulus**seen) for code in codes]


def assert_shares_are_uniform(field: PrimeField, degree: int, parties: int, shared: Share) -> None:
    """I14 and I12 exactly: over all coefficients, all tuples of shares are equally often, whatever the secret."""
    for seen in range(1, degree + 1):
        for law in laws(field, degree, parties, shared, seen):
            for counts in law:
                assert counts.unique().tolist() == [field.modulus ** (degree - seen)], "the shares are not uniform"


SIZES = [(c, t) for c in range(2, 5) for t in range(1, c)]


def planted_low_degree(
    field: PrimeField, secret: torch.Tensor, degree: int, parties: int, a: torch.Tensor
) -> torch.Tensor:
    return share(field, secret, degree, parties, torch.cat([a[:-1], torch.zeros_like(a[-1:])]))


def planted_point_0(
    field: PrimeField, secret: torch.Tensor, degree: int, parties: int, a: torch.Tensor
) -> torch.Tensor:
    """The points 0..c - 1, past the check that forbids them."""
    with (
        mock.patch.object(polynomials, "party_points", lambda f, c: tuple(range(c))),
        mock.patch.object(polynomials, "require_points"),
    ):
        return share(field, secret, degree, parties, a)


def planted_one_coefficient(
    field: PrimeField, secret: torch.Tensor, degree: int, parties: int, a: torch.Tensor
) -> torch.Tensor:
    return share(field, secret, degree, parties, a[:1].expand(a.shape).contiguous())


def planted_biased_draw(
    field: PrimeField, secret: torch.Tensor, degree: int, parties: int, a: torch.Tensor
) -> torch.Tensor:
    """Never the element 4, as from a draw that forgets it."""
    return share(field, secret, degree, parties, a % 4)


class TestSecrecy:
    @pytest.mark.parametrize(("parties", "degree"), SIZES)
    def test_any_degree_shares_are_jointly_uniform_for_every_secret(self, parties: int, degree: int) -> None:
        assert_shares_are_uniform(F5, degree, parties, share)

    @pytest.mark.parametrize(("parties", "degree"), SIZES)
    def test_degree_plus_1_shares_are_not_uniform_and_no_two_secrets_give_the_same(
        self, parties: int, degree: int
    ) -> None:
        """I13: the threshold is tight; the laws of different secrets do not even overlap."""
        for law in laws(F5, degree, parties, share, degree + 1):
            counts = torch.stack(law)
            assert all(row.unique().numel() > 1 for row in counts)
            assert int((counts > 0).sum(dim=0).max()) == 1

    @pytest.mark.parametrize(("parties", "degree"), [(3, 1), (4, 2), (4, 3)])
    @pytest.mark.parametrize("planted", [planted_low_degree, planted_point_0, planted_biased_draw])
    def test_shares_that_give_something_away_are_seen(self, planted: Share, parties: int, degree: int) -> None:
        with pytest.raises(AssertionError, match="not uniform"):
            assert_shares_are_uniform(F5, degree, parties, planted)

    def test_one_coefficient_for_all_powers_is_seen(self) -> None:
        with pytest.raises(AssertionError, match="not uniform"):
            assert_shares_are_uniform(F5, 2, 4, planted_one_coefficient)

    def test_coefficients_from_the_operating_system_hide_every_secret_in_a_share_of_real_size(self) -> None:
        """Two equal words among 64 of 61 random bits have probability below 2^11 / 2^61 = 2^-50."""
        coefficients = tensor([[secrets.randbelow(LARGE.modulus) for _ in range(64)] for _ in range(2)])
        shares = share(LARGE, torch.full((64,), 5), 2, 5, coefficients)
        assert all(len(set(row)) == 64 for row in shares.tolist())
