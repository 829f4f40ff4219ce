"""What pre-aggregators share."""

from torch import Tensor

from protocols.aggregators import Points, screen
from protocols.aggregators.pre import PreAggregator
from protocols.check import CloisterError

__all__ = ["screen_alike"]


def screen_alike(pre: PreAggregator, means: Tensor, sizes: Tensor, tolerate: int) -> Points:
    """Return the cells without their hostile rows, which must be the same in all of them.

    Raises: CloisterError where they are not, and as `protocols.aggregators.screen`.
    """
    parts = screen(pre, means, sizes, tolerate)
    if len(parts) > 1:
        raise CloisterError(
            f"a batch whose cells have different hostile rows ({len(parts)} kinds) is not allowed before a rule; "
            f"allowed: the same rows in all; a composed rule takes them out cell by cell"
        )
    return parts[0]
