"""Prices of robust statistics, kept while they are measured, so that a run goes on where another one stopped."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import protocols
from bench.peers import Comparison
from bench.peers.robust import MedianComparison, compare_robust_median
from bench.peers.robust_prices import Price, price_list
from bench.store import write_atomically
from protocols.check import CloisterError

__all__ = ["FILE", "Kept", "code_of_prices", "kept_in", "measure", "write_kept"]

FILE = "prices.json"


def _ignore(kept: "Kept") -> None:
    """Write nothing while things are measured."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What has been measured: the comparison of medians, if any, and the prices."""

    median: MedianComparison | None = None
    prices: tuple[Price, ...] = ()


@cache
def code_of_prices() -> str:
    """Return a hash of what is measured: all source files of `protocols`."""
    digest, root = hashlib.sha256(), Path(protocols.__path__[0])
    for file in sorted(root.rglob("*.py")):
        digest.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:24]


def write_kept(folder: Path, kept: Kept, environment: Mapping[str, Any]) -> Path:
    """Write prices.json, whole or not at all; return its path. `environment` says `code` and `turns`."""
    found = {
        "environment": environment,
        "median": None if kept.median is None else asdict(kept.median),
        "prices": [asdict(price) for price in kept.prices],
    }
    write_atomically(folder / FILE, json.dumps(found, indent=1) + "\n")
    return folder / FILE


def kept_in(folder: Path, *, code: str, turns: int) -> Kept:
    """Return what a run has left in the folder; nothing where none has.

    Raises: CloisterError where that is of other code or other turns than these, or is no list of prices.
    """
    file = folder / FILE
    if not file.is_file():
        return Kept()
    try:
        found = json.loads(file.read_text("utf-8"))
        environment, median = found["environment"], _median(found["median"])
        left = environment.get("code"), environment.get("turns")
        prices = tuple(Price(**price) for price in found["prices"]) if left == (code, turns) else ()
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CloisterError(f"{file} holds no prices; allowed: no --resume, which measures all again") from None
    if left != (code, turns):
        raise CloisterError(
            f"{file} was measured with (code, turns) = {left}, not {(code, turns)}; allowed: the same, or no --resume, "
            f"which measures all again"
        )
    return Kept(median=median, prices=prices)


def _median(found: dict[str, Any] | None) -> MedianComparison | None:
    if found is None:
        return None
    time = Comparison(**found.pop("time"))
    return MedianComparison(time=time, **found)


def measure(
    kept: Kept,
    *,
    names: Sequence[str] | None,
    parties: Sequence[int],
    turns: int,
    keep: Callable[[Kept], None] = _ignore,
) -> Kept:
    """Return what is kept and all that is missing of these statistics and sizes; `keep` is told after every step.

    Raises: AssertionError, see `price_list`.
    """
    median = kept.median or compare_robust_median(turns=turns)
    keep(Kept(median=median, prices=kept.prices))
    prices = price_list(
        names=names,
        parties=parties,
        turns=turns,
        kept=kept.prices,
        keep=lambda prices: keep(Kept(median=median, prices=tuple(prices))),
    )
    return Kept(median=median, prices=tuple(prices))
