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
from protocols.aggregators import Aggregator, aggregators
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
_NO_PROMISE = "promises nothing"
_PATIENCE_S = 10.0  # for a peer's rule on ten rows


@dataclass(frozen=True, kw_only=True)
class Survival:
    """What one rule does with one poison in `f` rows; `peer` is None where byzfl does not define the rule.

    Each says "inside" (in the smallest ball around the honest average that holds all honest rows), "outside by K" (in
    radii of that ball), "not finite", "refuses" (so many such rows), "raises NAME" or "hangs"; ours also
    "promises nothing", where the rule withstands no tainted row (its breakdown point is 0), and so is not tried.
    """

    name: str
    poison: str
    f: int
    ours: str
    peer: str | None

    @property
    def promises(self) -> bool:
        """Whether ours is to withstand such a row at all."""
        return self.ours != _NO_PROMISE

    @property
    def survived(self) -> bool:
        """Whether ours keeps its promise: it is inside with as many hostile rows as it is to withstand.

        Where it promises nothing, it has not survived anything, and has broken nothing either.
        """
        return self.ours == "inside"


def hostile_table(*, n: int = 11, f: int = 3, d: int = 20) -> list[Survival]:
    """Return every registered rule, and nnm before the trimmed mean, under every poison in some of n float32 rows.

    Poisoned are f rows, or as many as the rule withstands if that is fewer; f for the peer of one that withstands none.
    Raises: CloisterError where byzfl is missing, or n and f make no sense.
    """
    check.integer_at_least(1, f=f, d=d)
    if not 2 * f + 3 <= n:
        raise CloisterError(f"n = {n} rows with f = {f} are not allowed; allowed: n >= 2 f + 3, as Krum needs")
    clean = torch.from_numpy(public_stream(0, "peers", "hostile", n, f, d).normal(size=(n, d))).float()
    pairs = {pair.name: pair for pair in PAIRS}
    table: list[Survival] = []
    for poison in POISONS:
        table += [_survival(name, poison, clean, f, pairs.get(name)) for name in aggregators.entries()]
        table.append(_mixed_first(poison, _case(poison, clean, f), nnm=pairs["nnm"], trimmed=pairs["trimmed_mean"]))
    return sorted(table, key=lambda row: (row.name, list(POISONS).index(row.poison)))


@dataclass(frozen=True, kw_only=True)
class _Case:
    rows: Tensor
    honest: Tensor
    f: int


def _case(poison: str, clean: Tensor, f: int) -> _Case:
    rows = clean.clone()
    rows[:f] = POISONS[poison]
    return _Case(rows=rows, honest=clean[f:], f=f)


def _survival(name: str, poison: str, clean: Tensor, f: int, pair: Pair | None) -> Survival:
    rule = aggregators.make(aggregators.resolve(name))
    withstood = min(f, rule.breakdown(len(clean)))
    case = _case(poison, clean, withstood or f)
    ours = _ours(rule, case) if withstood else _NO_PROMISE
    return Survival(name=name, poison=poison, f=case.f, ours=ours, peer=None if pair is None else _theirs(pair, case))


def _ours(rule: Aggregator, case: _Case) -> str:
    sizes = torch.ones(len(case.rows), dtype=torch.int64)
    before = torch.cat([case.honest[:1].expand(case.f, -1), case.honest])
    given = make_given(case.honest, history=before)
    return _outcome(lambda: rule(case.rows, sizes, case.f, given), case.honest)


def _theirs(pair: Pair, case: _Case) -> str:
    peer = pair.peer(byzfl(), case.f)
    return _outcome(lambda: peer_result(peer(case.rows.clone()), torch.float32), case.honest)


def _mixed_first(poison: str, case: _Case, *, nnm: Pair, trimmed: Pair) -> Survival:
    rows, f, module = case.rows, case.f, byzfl()

    def ours() -> Tensor:
        mixed = nnm.ours(f)(rows)  # without the rows that cannot be computed with, so fewer are left to trim
        return trimmed.ours(f - (len(rows) - len(mixed)))(mixed)

    def theirs() -> Tensor:
        return peer_result(trimmed.peer(module, f)(nnm.peer(module, f)(rows.clone())), rows.dtype)

    name = "nnm + trimmed_mean"
    return Survival(name=name, poison=poison, f=f, ours=_outcome(ours, case.honest), peer=_outcome(theirs, case.honest))


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
