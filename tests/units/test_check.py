"""The validators: what each lets through, and what its error says."""

import math
from collections.abc import Callable
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import check
from protocols.check import CloisterError

Validator = Callable[..., None]
Allowed = Callable[[float], bool]

EVERY_KIND = [0, 1, -1, 3, 0.0, -0.0, 0.5, 1.0, -0.5, 2.5, 5e-324, -5e-324, 1e308, -1e308, 2**53 + 1]
NEVER = [math.nan, math.inf, -math.inf, True, False]
# What each validator lets through, said again in other words.
VALIDATORS: list[tuple[Validator, Allowed]] = [
    (check.positive, lambda x: x not in {0, -0.0} and math.copysign(1, x) == 1),
    (check.non_negative, lambda x: x == 0 or math.copysign(1, x) == 1),
    (check.fraction, lambda x: min(x, 1 - x) > 0),
    (lambda **named: check.integer_at_least(1, **named), lambda x: type(x) is int and not x < 1),
    (lambda **named: check.integer_at_least(-1, **named), lambda x: type(x) is int and not x < -1),
]


def lets_through(validate: Validator, value: float) -> bool:
    try:
        validate(amount=value)
    except CloisterError as error:
        if f"amount = {value!r} is not allowed; allowed: " not in str(error):
            raise AssertionError("the error leaves out the name, the value or what is allowed") from error
        return False
    return True


def assert_lets_through_exactly(validate: Validator, allowed: Allowed, values: list[float]) -> None:
    for value in values:
        expected = type(value) is not bool and math.isfinite(value) and allowed(value)
        assert lets_through(validate, value) == expected, f"{value!r} is judged wrongly"


@pytest.mark.parametrize(("validate", "allowed"), VALIDATORS)
def test_a_validator_lets_through_exactly_what_its_error_allows(validate: Validator, allowed: Allowed) -> None:
    assert_lets_through_exactly(validate, allowed, EVERY_KIND + NEVER)


@pytest.mark.parametrize(("validate", "allowed"), VALIDATORS)
@given(value=st.one_of(st.floats(), st.integers(-(2**64), 2**64), st.booleans()))
def test_a_validator_judges_any_number_alike(validate: Validator, allowed: Allowed, value: float) -> None:
    assert_lets_through_exactly(validate, allowed, [value])


@pytest.mark.parametrize(
    ("bug", "planted"),
    [
        ("zero is positive", check.non_negative),
        ("infinity is a number", lambda amount: None if amount == math.inf else check.positive(amount=amount)),
        ("True is 1", lambda amount: check.positive(amount=amount if amount is not True else 1)),
    ],
)
def test_a_validator_that_lets_through_too_much_is_seen(bug: str, planted: Validator) -> None:
    validate, allowed = VALIDATORS[0]
    assert_lets_through_exactly(validate, allowed, EVERY_KIND + NEVER)
    with pytest.raises(AssertionError, match="judged wrongly"):
        assert_lets_through_exactly(planted, allowed, EVERY_KIND + NEVER)


def test_without_the_check_for_finite_numbers_the_infinite_ones_are_seen_to_pass() -> None:
    with mock.patch.object(check.math, "isfinite", return_value=True):
        passed = [value for value in NEVER[:3] if lets_through(check.positive, value)]
    assert passed == [math.inf]


def test_the_first_bad_one_of_several_numbers_is_named() -> None:
    with pytest.raises(CloisterError, match=r"^second = -1 is not allowed; allowed: a finite number > 0$"):
        check.positive(first=1.0, second=-1, third=0.0)


@pytest.mark.parametrize("text", ["3", "", None, [3]])
def test_what_is_not_a_number_is_no_integer(text: object) -> None:
    with pytest.raises(CloisterError, match=r"n = .* is not allowed; allowed: an integer >= 1"):
        check.integer_at_least(1, n=text)


def test_an_unknown_word_is_refused_with_the_closest_one_and_all_allowed_ones() -> None:
    message = r"^rule = 'medain' is unknown \(did you mean 'median'\?\); allowed: krum, mean, median$"
    with pytest.raises(CloisterError, match=message):
        check.one_of({"median", "mean", "krum"}, rule="medain")


def test_a_known_word_is_let_through_and_the_first_unknown_one_of_several_is_named() -> None:
    check.one_of(["a", "b"], first="a", second="b")
    with pytest.raises(CloisterError, match="second = 'c'"):
        check.one_of(["a", "b"], first="a", second="c", third="d")


def test_a_word_unlike_all_others_gets_no_suggestion() -> None:
    assert check.suggestion("zebra", ["mean", "median"]) == ""
    with pytest.raises(CloisterError, match=r"^rule = 'zebra' is unknown; allowed: nothing$"):
        check.one_of([], rule="zebra")


@given(word=st.text(min_size=1, max_size=8), others=st.lists(st.text(min_size=1, max_size=8), max_size=4))
def test_an_allowed_word_is_its_own_closest_one(word: str, others: list[str]) -> None:
    assert check.suggestion(word, [*others, word]) == f" (did you mean {word!r}?)"


def test_a_mistake_of_the_user_is_a_value_error() -> None:
    """Plug-ins may raise ValueError themselves; whoever catches that catches both."""
    assert issubclass(CloisterError, ValueError)
