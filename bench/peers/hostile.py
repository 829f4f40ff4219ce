"""What numbers that nobody honest sends do to each rule, and to the same rule of byzfl."""

import math
import signal
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from bench.peers._byzfl import byzfl
from bench.peers._rules import PAIRS, Pair, peer_result
from protocols import check
from protocols.aggregators import aggregators
from protocols.check import CloisterError
from protocols.randomness import public_stream
from protocols.testing.aggregators import make_given

__all__ = ["POISONS", "Survival", "hostile_table"]

_LARGEST = float(np.finfo(np.float32).max)
POISONS: Mapping[str, float] = MappingProxyType(
    {
        **{"NaN": math.nan, "+inf": math.inf, "-inf": -math.inf, "1e30": 1e30, "-1e30": -1e30},
        **{"1e-40": 1e-40, "huge": _LARGEST},
    }
)
"""The number in every coordinate of a tainted row, by its name; "huge" is the largest of float32."""
_PATIENCE_S = 10.0  # for a peer's rule on ten rows


@dataclass(frozen=True, kw_only=True)
class Survival:
    """What one rule does with one poison; `peer` is None where byzfl does not define the rule.

    Each says "inside" (in the smallest ball around the honest average that holds all honest rows), "outside by K" (in
    radii of that ball), "not finite", "refuses" (so many such rows), "raises NAME" or "hangs".
    """

    name: str
    poison: str
    ours: str
    peer: str | None

    @property
    def survived(self) -> bool:
        """Whether ours stands: inside, or a rule that withstands fewer such rows than there are refuses."""
        return self.ours in ("inside", "refuses")


def hostile_table(*, n: int = 11, f: int = 3, d: int = 20) -> list[Survival]:
    """Return every registered rule, and nnm before the trimmed mean, under every poison in f of n float32 rows.

    Raises: CloisterError where byzfl is missing, or n and f make no sense.
    """
    check.integer_at_least(1, f=f, d=d)
    if not 2 * f + 3 <= n:
        raise CloisterError(f"n = {n} rows with f = {f} are not allowed; allowed: n >= 2 f + 3, as Krum needs")
    honest = torch.from_numpy(public_stream(0, "peers", "hostile", n, f, d).normal(size=(n - f, d))).float()
    pairs = {pair.name: pair for pair in PAIRS}
    table: list[Survival] = []
    for poison, number in POISONS.items():
        case = _Case(rows=torch.cat([torch.full((f, d), number), honest]), honest=honest, f=f)
        table += [_survival(name, poison, case, pairs.get(name)) for name in aggregators.entries()]
        table.append(_mixed_first(poison, case, nnm=pairs["nnm"], trimmed=pairs["trimmed_mean"]))
    return sorted(table, key=lambda row: (row.name, list(POISONS).index(row.poison)))


@dataclass(frozen=True, kw_only=True)
class _Case:
    rows: Tensor
    honest: Tensor
    f: int


def _survival(name: str, poison: str, case: _Case, pair: Pair | None) -> Survival:
    rule, module = aggregators.make(aggregators.resolve(name)), byzfl()
    sizes = torch.ones(len(case.rows), dtype=torch.int64)
    before = torch.cat([case.honest[:1].expand(case.f, -1), case.honest])
    given = make_given(case.honest, history=before)
    ours = _outcome(lambda: rule(case.rows, sizes, case.f, given), case.honest)
    if pair is None:
        return Survival(name=name, poison=poison, ours=ours, peer=None)
    theirs = _outcome(lambda: peer_result(pair.peer(module, case.f)(case.rows.clone()), torch.float32), case.honest)
    return Survival(name=name, poison=poison, ours=ours, peer=theirs)


def _mixed_first(poison: str, case: _Case, *, nnm: Pair, trimmed: Pair) -> Survival:
    rows, f, module = case.rows, case.f, byzfl()

    def ours() -> Tensor:
        mixed = nnm.ours(f)(rows)  # without the rows that cannot be computed with, so fewer are left to trim
        return trimmed.ours(f - (len(rows) - len(mixed)))(mixed)

    def theirs() -> Tensor:
        return peer_result(trimmed.peer(module, f)(nnm.peer(module, f)(rows.clone())), rows.dtype)

    name = "nnm + trimmed_mean"
    return Survival(name=name, poison=poison, ours=_outcome(ours, case.honest), peer=_outcome(theirs, case.honest))


def _outcome(work: Callable[[], Tensor], honest: Tensor) -> str:
    try:
        with _patience():
            result = work().double()
    except _HangsError:
        return "hangs"
    except CloisterError:
        return "refuses"
    except Exception as error:  # whatever a peer raises is a cell of the table
        return f"raises {type(error).__name__}"
    if not bool(torch.isfinite(result).all()):
        return "not finite"
    centre = honest.double().mean(dim=0)
    radius = float((honest.double() - centre).square().sum(dim=1).max().sqrt())
    off = float((result - centre).square().sum().sqrt()) / radius
    return "inside" if off <= 1 else f"outside by {off:.2g}"


class _HangsError(Exception):
    pass


@contextmanager
def _patience() -> Generator[None]:
    """Interrupt what takes too long, by a signal: for work in Python, in the main thread."""

    def interrupt(_number: int, _frame: object) -> None:
        raise _HangsError

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
