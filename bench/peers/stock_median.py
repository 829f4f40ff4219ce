"""The peer: an encrypted median on CrypTen as it comes, in processes that it starts itself."""

from dataclasses import dataclass

from protocols.testing.stock_crypten.fresh import run_fresh

__all__ = ["StockRun", "run_stock_median"]

_DEADLINE_S = 600.0


@dataclass(frozen=True, kw_only=True)
class StockRun:
    """Seconds of one encrypted median of five inputs on stock CrypTen, and the bytes that the kernel counted."""

    seconds: float
    wire_bytes: int


def run_stock_median(coordinates: int) -> StockRun:
    """Return one measured run after one that is not counted. Raises: RuntimeError where CrypTen's interpreter fails."""
    return StockRun(**run_fresh("network_median", coordinates, deadline_s=_DEADLINE_S))
