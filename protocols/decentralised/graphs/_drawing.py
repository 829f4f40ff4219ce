"""Drawing random graphs until one is connected."""

from collections.abc import Callable

from protocols.check import CloisterError
from protocols.decentralised.graph import Graph

__all__ = ["first_connected"]

_ATTEMPTS = 200


def first_connected(name: str, m: int, draw: Callable[[int], list[tuple[int, int]]]) -> Graph:
    """Return the first connected graph among draw(0), draw(1), ..: a draw from the law, given that it is connected.

    Raises: CloisterError when none of 200 is.
    """
    for attempt in range(_ATTEMPTS):
        edges = draw(attempt)
        try:
            return Graph.of(m, edges)
        except CloisterError:
            continue
    raise CloisterError(
        f"topology {name!r}: none of {_ATTEMPTS} graphs of {m} clusters is connected; ask for more edges"
    )
