"""Validators whose errors name the parameter, the offending value and what is allowed."""

import difflib
import math
from collections.abc import Collection, Iterable

__all__ = [
    "CloisterError",
    "fraction",
    "integer_at_least",
    "non_negative",
    "one_of",
    "positive",
    "suggestion",
]


class CloisterError(ValueError):
    """A mistake in what the user asked for: one line with the name, the value, what is allowed and the way out."""


def suggestion(value: str, allowed: Iterable[str]) -> str:
    """Return ' (did you mean 'x'?)' for the closest allowed word, or an empty string."""
    close = difflib.get_close_matches(value, list(allowed), n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""


def one_of(allowed: Collection[str], **named: str) -> None:
    """Raise CloisterError unless each named word is one of the allowed words."""
    for name, value in named.items():
        if value not in allowed:
            words = ", ".join(sorted(allowed)) or "nothing"
            raise CloisterError(f"{name} = {value!r} is unknown{suggestion(str(value), allowed)}; allowed: {words}")


def _number(name: str, value: float, ok: bool, allowed: str) -> None:
    if isinstance(value, bool) or not ok or not _finite(value):
        raise CloisterError(f"{name} = {value!r} is not allowed; allowed: {allowed}")


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False


def positive(**named: float) -> None:
    """Raise CloisterError unless each named number is finite and > 0."""
    for name, value in named.items():
        _number(name, value, value > 0, "a finite number > 0")


def non_negative(**named: float) -> None:
    """Raise CloisterError unless each named number is finite and >= 0."""
    for name, value in named.items():
        _number(name, value, value >= 0, "a finite number >= 0")


def fraction(**named: float) -> None:
    """Raise CloisterError unless each named number lies strictly between 0 and 1."""
    for name, value in named.items():
        _number(name, value, 0 < value < 1, "a number strictly between 0 and 1")


def integer_at_least(bound: int, **named: float) -> None:
    """Raise CloisterError unless each named value is an integer >= bound."""
    for name, value in named.items():
        _number(name, value, isinstance(value, int) and value >= bound, f"an integer >= {bound}")
