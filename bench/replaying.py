"""What a coalition can compute from the shares that it holds: its cluster's sum replayed, decided by linear algebra.

The messages of party processes are not kept in a run. What members and board receive is, in the linear protocols, an
affine map of inputs and secret digits; the map is read off the protocol's own code among threads, with one coordinate,
and tells for all inputs at once whether a coalition learns more than the sum. Reports call it replayed.
"""

from functools import lru_cache

from protocols.faults import Crash
from protocols.network import NetworkError
from protocols.playable import robust_of
from protocols.registry import Spec
from protocols.testing.invariants.affine import AffineViews, affine_views

__all__ = ["MOST_MEMBERS", "learns"]

MOST_MEMBERS = 8
"""Beyond, reading off the map would take seconds a cluster."""


@lru_cache(maxsize=4096)
def learns(protocol: Spec, parties: int, coalition: tuple[int, ...], crashed: tuple[int, ...]) -> bool | None:
    """Return whether these members, with the board, learn more than the sum and their own inputs.

    `crashed` members leave before they send anything. None where it is not known: clusters of more than 8 members,
    sums that do not open, robust statistics, and protocols that are not affine, or hide words by keys whose shares are
    not replayed.

    Guarantees:
        True exactly where the views of some inputs with equal sums differ in distribution, where it is not None.
    """
    known = parties <= MOST_MEMBERS and robust_of(protocol) is None
    views = _views(protocol, parties, crashed) if known else None
    if views is None:
        return None
    if views.leaking([coalition]):
        return True
    by_keys = any(draw.label[0].startswith("generator") for draw in views.script.draws)
    return None if by_keys else False


@lru_cache(maxsize=64)
def _views(protocol: Spec, parties: int, crashed: tuple[int, ...]) -> AffineViews | None:
    try:
        return affine_views(protocol, parties, coordinates=1, faults={rank: Crash(step=0) for rank in crashed})
    except NetworkError:
        return None
