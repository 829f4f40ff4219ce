"""Reed-Solomon decoding (I9): exact within the radius for every choice of positions, never a value beyond it."""

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protocols import reed_solomon
from protocols.check import CloisterError
from protocols.field import PrimeField
from protocols.polynomials import share
from protocols.randomness import public_stream
from protocols.reed_solomon import Decoded, DecodingError, decode, decode_clusters, detect

F5, F11, LARGE = PrimeField(5), PrimeField(11), PrimeField()
# Seven members take as long as all smaller clusters together.
LARGEST = 7 if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 6
SIZES = [(c, t) for c in range(1, LARGEST + 1) for t in range(c)]
CASES = [(LARGE, *size) for size in SIZES] + [(F11, *size) for size in SIZES if size[0] < 7]
"""In the small field every eleventh random combination misses an error."""
COORDINATES = 3


def tensor(values: object) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int64)


def elements(draws: np.random.Generator, field: PrimeField, *shape: int) -> torch.Tensor:
    return torch.from_numpy(draws.integers(0, field.modulus, shape))


def shared(
    draws: np.random.Generator, field: PrimeField, degree: int, parties: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """A random secret and all its shares."""
    secret = elements(draws, field, COORDINATES)
    return secret, share(field, secret, degree, parties, elements(draws, field, degree, COORDINATES))


def corrupted(
    draws: np.random.Generator, field: PrimeField, rows: torch.Tensor, positions: Sequence[int]
) -> torch.Tensor:
    """The rows with a random error, never zero, in a random set of coordinates, never empty, of each position."""
    received = rows.clone()
    for position in positions:
        where = draws.random(rows.shape[1]) < 0.5
        where[draws.integers(rows.shape[1])] = True
        delta = torch.from_numpy(draws.integers(1, field.modulus, rows.shape[1]) * where)
        received[position] = field.add(received[position], delta)
    return received


def disjoint(field: PrimeField, rows: torch.Tensor, positions: Sequence[int]) -> torch.Tensor:
    """The rows with an error of each position in one coordinate alone, another one for the next position."""
    received = rows.clone()
    for order, position in enumerate(positions):
        where = (position, order % rows.shape[1])
        received[where] = field.add(received[where], tensor(1))
    return received


def python_value(modulus: int, points: Sequence[int], values: Sequence[int], at: int) -> int:
    """Lagrange's formula, written out."""
    total = 0
    for i, value in enumerate(values):
        above = below = 1
        for j, point in enumerate(points):
            if i != j:
                above, below = above * (at - point), below * (points[i] - point)
        total += value * above * pow(below, -1, modulus)
    return total % modulus


def assert_agrees_with_enough_rows(
    field: PrimeField, points: Sequence[int], received: torch.Tensor, degree: int, found: Decoded
) -> None:
    """The value lies on polynomials that agree with all rows but those named, of which there are at most e."""
    e = (len(points) - degree - 1) // 2
    assert len(found.wrong) <= e, f"{len(found.wrong)} wrong rows were accepted, with a radius of {e}"
    kept = [i for i in range(len(points)) if i not in found.wrong]
    base = [points[i] for i in kept[: degree + 1]]
    disagreeing = set()
    for column, secret in zip(received.T.tolist(), found.secret.tolist(), strict=True):
        values = [column[i] for i in kept[: degree + 1]]
        assert python_value(field.modulus, base, values, 0) == secret, "the value is not that of the rows kept"
        word = [python_value(field.modulus, base, values, point) for point in points]
        disagreeing |= {i for i, (ours, theirs) in enumerate(zip(word, column, strict=True)) if ours != theirs}
    assert disagreeing == set(found.wrong), "the positions named are not those that disagree"


def faults(parties: int, allowed: Callable[[int, int], bool]) -> Iterator[tuple[list[int], tuple[int, ...]]]:
    """All sets of k crashed parties and of b Byzantine ones among the others, as (present, wrong places among them)."""
    for crashed in range(parties):
        for absent in itertools.combinations(range(parties), crashed):
            present = [party for party in range(parties) if party not in absent]
            for b in range(len(present) + 1):
                if allowed(b, crashed):
                    yield from ((present, wrong) for wrong in itertools.combinations(range(len(present)), b))


def assert_decodes_in_region(field: PrimeField, parties: int, degree: int, *, blind: bool = False) -> None:
    """I9 over every set of positions with 2b + k <= c - t - 1; a blind challenge is zero, and sees no error."""
    draws = public_stream(9, "region", field.modulus, parties, degree)
    for present, wrong in faults(parties, lambda b, k: 2 * b + k <= parties - degree - 1):
        secret, shares = shared(draws, field, degree, parties)
        received = corrupted(draws, field, shares[present], wrong)
        challenge = elements(draws, field, COORDINATES) * (not blind)
        found = decode(field, [i + 1 for i in present], received, degree, challenge=challenge)
        assert torch.equal(found.secret, secret), f"wrong secret with errors at {wrong} of {present}"
        assert found.wrong == wrong, f"errors at {wrong} are named {found.wrong}"


def assert_never_beyond_the_radius(field: PrimeField, parties: int, degree: int) -> None:
    """Every set of more than e positions: an error, or a value that agrees with all but e rows."""
    draws = public_stream(9, "beyond", field.modulus, parties, degree)
    points = range(1, parties + 1)
    blind = torch.zeros(COORDINATES, dtype=torch.int64)
    for _, wrong in faults(parties, lambda b, k: k == 0 and 2 * b > parties - degree - 1):
        _, shares = shared(draws, field, degree, parties)
        for received, challenge in (
            (corrupted(draws, field, shares, wrong), elements(draws, field, COORDINATES)),
            (disjoint(field, shares, wrong), blind),
        ):
            try:
                found = decode(field, points, received, degree, challenge=challenge)
            except DecodingError:
                continue
            assert_agrees_with_enough_rows(field, points, received, degree, found)


def brute_force(field: PrimeField, points: Sequence[int], degree: int) -> Callable[[list[int]], int | None]:
    """The value at 0 of the only codeword within the radius of a word, from the list of all codewords."""
    codewords = {
        tuple(sum(a * x**i for i, a in enumerate(message)) % field.modulus for x in points): message[0]
        for message in itertools.product(range(field.modulus), repeat=degree + 1)
    }
    e = (len(points) - degree - 1) // 2

    def nearest(word: list[int]) -> int | None:
        near = [s for codeword, s in codewords.items() if sum(a != b for a, b in zip(codeword, word, strict=True)) <= e]
        return near[0] if near else None

    return nearest


class TestWithinTheRadius:
    @pytest.mark.parametrize(("field", "parties", "degree"), CASES)
    def test_with_at_most_e_wrong_rows_the_secret_is_exact_and_exactly_their_positions_are_named(
        self, field: PrimeField, parties: int, degree: int
    ) -> None:
        assert_decodes_in_region(field, parties, degree)

    @pytest.mark.parametrize(("parties", "degree"), [size for size in SIZES if size[0] < 7 or size[1] > 1])
    def test_a_challenge_that_sees_no_error_at_all_changes_nothing(self, parties: int, degree: int) -> None:
        assert_decodes_in_region(LARGE, parties, degree, blind=True)

    def test_every_possible_challenge_of_a_tiny_field_gives_the_same(self) -> None:
        draws = public_stream(9, "challenges")
        secret, shares = shared(draws, F5, 1, 4)
        for wrong in range(4):
            received = corrupted(draws, F5, shares, [wrong])
            for challenge in itertools.product(range(5), repeat=COORDINATES):
                found = decode(F5, range(1, 5), received, 1, challenge=tensor(challenge))
                assert torch.equal(found.secret, secret)
                assert found.wrong == (wrong,)

    def test_errors_in_disjoint_coordinates_are_all_found(self) -> None:
        """The worst case for a blind challenge: every pass over the coordinates names one wrong row more."""
        draws = public_stream(9, "disjoint")
        secret, shares = shared(draws, LARGE, 0, 7)
        for wrong in itertools.combinations(range(7), 3):
            received = disjoint(LARGE, shares, wrong)
            found = decode(LARGE, range(1, 8), received, 0, challenge=torch.zeros(3, dtype=torch.int64))
            assert torch.equal(found.secret, secret)
            assert found.wrong == wrong

    @given(data=st.data(), field=st.sampled_from([PrimeField(101), PrimeField(2**31 - 1), LARGE]))
    def test_larger_clusters_decode_from_any_points(self, data: st.DataObject, field: PrimeField) -> None:
        points = data.draw(st.lists(st.integers(1, field.modulus - 1), min_size=1, max_size=30, unique=True))
        degree = data.draw(st.integers(0, len(points) - 1))
        e = (len(points) - degree - 1) // 2
        wrong = data.draw(st.lists(st.integers(0, len(points) - 1), max_size=e, unique=True))
        draws = public_stream(data.draw(st.integers(0, 2**32)), "larger")
        coefficients = elements(draws, field, degree + 1, 4)
        rows = field.apply([[pow(x, i, field.modulus) for i in range(degree + 1)] for x in points], coefficients)
        received = corrupted(draws, field, rows, wrong)
        found = decode(field, points, received, degree, challenge=elements(draws, field, 4))
        assert torch.equal(found.secret, coefficients[0])
        assert found.wrong == tuple(sorted(wrong))

    def test_received_words_that_are_no_elements_are_read_modulo_p(self) -> None:
        draws = public_stream(9, "words")
        secret, shares = shared(draws, F11, 1, 5)
        received = shares.clone()
        received[0] -= 22
        received[2] += 11 * 10**6
        received[3, 1] = -(2**63)
        found = decode(F11, range(1, 6), received, 1, challenge=tensor([1, 2, 3]))
        assert torch.equal(found.secret, secret)
        assert found.wrong == ((3,) if int(shares[3, 1]) != -(2**63) % 11 else ())
        assert not detect(F11, range(1, 4), received[:3], 1)

    @pytest.mark.parametrize(
        ("bug", "name", "planted"),
        [
            ("rows left over are not checked", "_first_disagreement", lambda original: lambda *arguments: None),
            (
                "only the first coordinate is checked",
                "consistent",
                lambda original: lambda f, points, values, degree: original(f, points, values[:, :1], degree),
            ),
            (
                "the last row is not checked",
                "consistent",
                lambda original: lambda f, points, values, degree: original(f, points[:-1], values[:-1], degree),
            ),
            ("a radius too small by one", "_radius", lambda original: lambda rows, degree: original(rows, degree) - 1),
            ("the first error alone is found", "_errors", lambda original: lambda *a: set(sorted(original(*a))[:1])),
            ("one error too many", "_errors", lambda original: lambda *a: {0} | original(*a)),
        ],
    )
    def test_a_decoder_that_fails_within_its_radius_is_seen(
        self, bug: str, name: str, planted: Callable[[Callable], Callable]
    ) -> None:
        wrong = planted(getattr(reed_solomon, name))
        with mock.patch.object(reed_solomon, name, wrong), pytest.raises((AssertionError, DecodingError)):
            assert_decodes_in_region(F11, 6, 1, blind=True)


class TestBeyondTheRadius:
    @pytest.mark.parametrize(("field", "parties", "degree"), CASES)
    def test_a_value_always_agrees_with_at_least_k_minus_e_rows_in_every_coordinate(
        self, field: PrimeField, parties: int, degree: int
    ) -> None:
        assert_never_beyond_the_radius(field, parties, degree)

    @pytest.mark.parametrize(("parties", "degree"), [(4, 1), (5, 1), (6, 2), (7, 1)])
    def test_a_decoder_that_accepts_beyond_its_radius_is_seen(self, parties: int, degree: int) -> None:
        original = reed_solomon._radius
        with (
            mock.patch.object(reed_solomon, "_radius", lambda rows, degree: original(rows, degree) + 1),
            pytest.raises(AssertionError, match="wrong rows were accepted"),
        ):
            assert_never_beyond_the_radius(LARGE, parties, degree)

    @pytest.mark.parametrize(("parties", "degree"), [(4, 1), (5, 2), (6, 3)])
    def test_a_decoder_that_does_not_check_what_it_keeps_is_seen(self, parties: int, degree: int) -> None:
        with (
            mock.patch.object(reed_solomon, "_first_disagreement", return_value=None),
            pytest.raises(AssertionError, match="are not those that disagree"),
        ):
            assert_never_beyond_the_radius(LARGE, parties, degree)

    @pytest.mark.parametrize("degree", range(4))
    @pytest.mark.parametrize("points", [(1, 2, 3, 4), (3, 1, 4), (2, 4)], ids=str)
    def test_every_word_of_a_tiny_field_is_decoded_as_by_the_list_of_all_codewords(
        self, points: tuple[int, ...], degree: int
    ) -> None:
        if degree >= len(points):
            return
        nearest = brute_force(F5, points, degree)
        for word in itertools.product(range(5), repeat=len(points)):
            wanted = nearest(list(word))
            if wanted is None:
                with pytest.raises(DecodingError, match=f"no polynomial of degree {degree} agrees"):
                    decode(F5, points, tensor(word), degree, challenge=tensor(1))
            else:
                assert int(decode(F5, points, tensor(word), degree, challenge=tensor(1)).secret) == wanted

    @pytest.mark.parametrize(("rows", "degree"), [(3, 0), (4, 1)])
    @pytest.mark.parametrize("challenge", [(0, 0), (1, 0), (1, 4)], ids=str)
    def test_every_message_of_two_coordinates_is_decoded_exactly_or_refused(
        self, rows: int, degree: int, challenge: tuple[int, int]
    ) -> None:
        """Up to codewords, all messages with e = 1: the first degree + 1 rows are zero, the last two are anything."""
        points = range(1, rows + 1)
        for last in itertools.product(range(5), repeat=4):
            received = tensor([0, 0] * (rows - 2) + list(last)).view(rows, 2)
            decodable = any(
                not detect(
                    F5, [x for x in points if x != left + 1], received[[i for i in range(rows) if i != left]], degree
                )
                for left in range(rows)
            )
            if decodable:
                found = decode(F5, points, received, degree, challenge=tensor(challenge))
                assert_agrees_with_enough_rows(F5, points, received, degree, found)
            else:
                with pytest.raises(DecodingError):
                    decode(F5, points, received, degree, challenge=tensor(challenge))

    def test_the_error_says_how_many_wrong_rows_are_allowed(self) -> None:
        received = tensor([[1], [2], [4], [7], [1]])
        with pytest.raises(
            DecodingError, match=r"degree 1 agrees with all but 1 of the 5 rows; allowed: at most 1 wrong rows"
        ):
            decode(LARGE, range(1, 6), received, 1, challenge=tensor([1]))

    def test_the_error_is_a_mistake_of_the_user_like_others(self) -> None:
        assert issubclass(DecodingError, CloisterError)


def assert_detects(field: PrimeField, parties: int, degree: int) -> None:
    """Every set of positions with 1 <= b <= c - k - t - 1 is detected, and no errors are not."""
    draws = public_stream(9, "detect", field.modulus, parties, degree)
    _, shares = shared(draws, field, degree, parties)
    for present, wrong in faults(parties, lambda b, k: b + k <= parties - degree - 1):
        received = corrupted(draws, field, shares[present], wrong)
        seen = detect(field, [i + 1 for i in present], received, degree)
        assert seen is bool(wrong), f"errors at {wrong} of {present}: {seen}"


class TestDetect:
    @pytest.mark.parametrize(("field", "parties", "degree"), CASES)
    def test_true_whenever_1_to_k_minus_degree_minus_1_rows_are_wrong_and_false_without_errors(
        self, field: PrimeField, parties: int, degree: int
    ) -> None:
        assert_detects(field, parties, degree)

    @pytest.mark.parametrize("degree", range(4))
    def test_every_error_of_a_tiny_field_up_to_the_distance_is_detected_and_some_at_the_distance_are_not(
        self, degree: int
    ) -> None:
        """Linear: errors on the shares of zero stand for errors on any shares."""
        missed = {
            sum(value != 0 for value in error)
            for error in itertools.product(range(5), repeat=4)
            if not detect(F5, range(1, 5), tensor(error), degree)
        }
        assert min(missed - {0}) == 4 - degree

    @pytest.mark.parametrize(
        ("bug", "planted"),
        [
            ("the last row", lambda original: lambda f, x, rows, degree: original(f, x[:-1], rows[:-1], degree)),
            ("the last coordinate", lambda original: lambda f, x, rows, degree: original(f, x, rows[:, :-1], degree)),
            ("one degree more", lambda original: lambda f, x, rows, degree: original(f, x, rows, degree + 1)),
        ],
    )
    def test_a_check_that_skips_something_is_seen(self, bug: str, planted: Callable[[Callable], Callable]) -> None:
        wrong = planted(reed_solomon.consistent)
        with mock.patch.object(reed_solomon, "consistent", wrong), pytest.raises(AssertionError, match="errors at"):
            assert_detects(LARGE, 5, 1)


class TestClusters:
    def test_each_cluster_has_its_own_wrong_rows_and_a_lost_one_holds_up_no_other(self) -> None:
        draws = public_stream(9, "clusters")
        messages = [shared(draws, LARGE, 1, 5) for _ in range(4)]
        errors: list[tuple[int, ...]] = [(), (4,), (0, 1, 2), (2,)]
        rows = [corrupted(draws, LARGE, shares, wrong) for (_, shares), wrong in zip(messages, errors, strict=True)]
        results = decode_clusters(
            LARGE, range(1, 6), torch.stack(rows, dim=1), 1, challenge=elements(draws, LARGE, COORDINATES)
        )
        assert isinstance(results[2], DecodingError)
        for cluster in (0, 1, 3):
            found = results[cluster]
            assert isinstance(found, Decoded)
            assert torch.equal(found.secret, messages[cluster][0])
            assert found.wrong == errors[cluster]

    def test_rows_without_a_cluster_axis_are_refused(self) -> None:
        with pytest.raises(CloisterError, match=r"shape \(5, 3\); allowed: \(rows, clusters, coordinates\)"):
            decode_clusters(LARGE, range(1, 6), torch.zeros(5, 3, dtype=torch.int64), 1, challenge=tensor([1, 1, 1]))

    def test_a_message_of_any_trailing_shape_is_one_message(self) -> None:
        draws = public_stream(9, "shape")
        secret = elements(draws, LARGE, 2, 3)
        rows = share(LARGE, secret, 1, 5, elements(draws, LARGE, 1, 2, 3))
        rows[1, 0, 2] = 5
        rows[3, 1, 1] = 5
        with pytest.raises(DecodingError):
            decode(LARGE, range(1, 6), rows, 1, challenge=elements(draws, LARGE, 2, 3))
        rows[1, 0, 2] = share(LARGE, secret, 1, 5, torch.zeros(1, 2, 3, dtype=torch.int64))[0, 0, 2]
        rows[1] = rows[0]
        found = decode(LARGE, [1, 3, 4, 5], rows[[0, 2, 3, 4]], 1, challenge=elements(draws, LARGE, 2, 3))
        assert torch.equal(found.secret, secret)
        assert found.wrong == (2,)


class TestBadInput:
    def test_fewer_than_degree_plus_1_rows_are_refused(self) -> None:
        rows = torch.ones(2, 3, dtype=torch.int64)
        for call in (
            lambda: decode(LARGE, [1, 2], rows, 2, challenge=tensor([1, 1, 1])),
            lambda: detect(LARGE, [1, 2], rows, 2),
        ):
            with pytest.raises(CloisterError, match="2 shares do not determine a polynomial of degree 2; allowed: 3"):
                call()

    @pytest.mark.parametrize("points", [[0, 1, 2], [1, 1, 2], [1, 2, 11]])
    def test_points_that_no_party_may_have_are_refused(self, points: list[int]) -> None:
        rows = torch.ones(3, 1, dtype=torch.int64)
        for call in (lambda: decode(F11, points, rows, 1, challenge=tensor([1])), lambda: detect(F11, points, rows, 1)):
            with pytest.raises(CloisterError, match=r"points\[0\] = 0|points\[2\] = 11|have 1 twice"):
                call()

    @pytest.mark.parametrize("challenge", [tensor([1, 2]), tensor([[1, 2, 3]]), tensor([1, 2, 11]), torch.ones(3)])
    def test_a_challenge_that_does_not_fit_is_refused(self, challenge: torch.Tensor) -> None:
        with pytest.raises(CloisterError, match="challenge"):
            decode(F11, [1, 2, 3], torch.ones(3, 3, dtype=torch.int64), 1, challenge=challenge)

    def test_rows_that_are_not_one_for_each_point_are_refused(self) -> None:
        with pytest.raises(CloisterError, match=r"3 points do not fit rows of shape \(2, 1\)"):
            detect(F11, [1, 2, 3], torch.ones(2, 1, dtype=torch.int64), 1)

    def test_the_secret_is_not_printed(self) -> None:
        found = decode(F11, [1, 2, 3], torch.full((3, 1), 7), 0, challenge=tensor([1]))
        assert repr(found) == "Decoded(wrong=())"
        assert found.secret.tolist() == [7]
