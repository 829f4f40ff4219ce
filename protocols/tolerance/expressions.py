"""Thresholds as users write them: c/2, 2c/3+1, c-1, a number."""

import re
from collections.abc import Callable
from functools import lru_cache

from protocols.check import CloisterError

__all__ = ["parse_threshold"]

_EXPRESSION = re.compile(r"(?P<factor>\d{1,6})?\*?c(?:/(?P<divisor>[1-9]\d{0,5}))?(?P<shift>[+-]\d{1,9})?")


@lru_cache(maxsize=256)  # a search asks for the same one at every size
def parse_threshold(expression: str) -> Callable[[int], int]:
    """Return the threshold as a function of the cluster's size c.

    A number is itself; "c-1" is itself; with a divisor it is a strict bound: "c/2" is the largest integer below
    c / 2, so X members are too many when X > (c - 1) // 2; "2c/3+1" adds one to the largest integer below 2 c / 3.
    Raises: CloisterError for anything else; nothing is evaluated.
    """
    text = expression.replace(" ", "")
    if re.fullmatch(r"\d{1,9}", text):
        return lambda c: int(text)  # noqa: ARG005
    found = _EXPRESSION.fullmatch(text)
    if not found:
        raise CloisterError(
            f"threshold = {expression!r} is not understood; allowed: a number, or c/2, c/3, 2c/3, c-1, 2c/3+1, ..."
        )
    factor, shift = int(found["factor"] or 1), int(found["shift"] or 0)
    if found["divisor"] is None:
        return lambda c: factor * c + shift
    divisor = int(found["divisor"])
    return lambda c: (factor * c - 1) // divisor + shift
