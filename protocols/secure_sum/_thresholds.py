"""Thresholds as expressions in the size of something else than the cluster: a committee, a group."""

from protocols.check import CloisterError
from protocols.tolerance.expressions import parse_threshold

__all__ = ["in_size_of", "threshold_of"]


def in_size_of(letter: str, **named: str) -> str:
    """Return the named expression in `letter` as `parse_threshold` reads it; CloisterError where it means nothing."""
    ((name, expression),) = named.items()
    try:
        if letter != "c" and "c" in expression:
            raise CloisterError("a letter that means something else")
        translated = expression.replace(letter, "c")
        parse_threshold(translated)
    except CloisterError:
        raise CloisterError(
            f"{name} = {expression!r} is not understood; "
            f"allowed: a number, or {letter}/2, {letter}/3, 2{letter}/3, {letter}-1, ..."
        ) from None
    return translated


def threshold_of(translated: str, size: int, what: str, **named: str) -> int:
    """Return a translated threshold at this size; CloisterError unless it is below the size of `what`."""
    ((name, expression),) = named.items()
    threshold = parse_threshold(translated)(size)
    if not 0 <= threshold < size:
        raise CloisterError(f"{name} = {expression!r} gives {threshold} for {size} {what}; allowed: 0 to {size - 1}")
    return threshold
