"""What numbers that nobody honest sends do to each rule, and to the same rule of byzfl."""

import itertools
import math
import signal
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from bench.peers._byzfl import byzfl
from bench.peers._rules import PAIRS, Pair, peer_result
from protocols import check
from protocols.aggregators import Aggregator, Limited, aggregators, within
from protocols.check import CloisterError
from protocols.randomness import public_stream
from protocols.testing.aggregators import SCALES, make_given

__all__ = ["NOTE", "POISONS", "Survival", "hostile_table"]

_LARGEST = float(np.finfo(np.float32).max)
POISONS: Mapping[str, float] = MappingProxyType(
    {
        **{"NaN": math.nan, "+inf": math.inf, "-inf": -math.inf, "1e30": 1e30, "-1e30": -1e30},
        **{"1e-40": 1e-40, "huge": _LARGEST},
    }
)
"""The number in every coordinate of a tainted row, by its name; "huge" is the largest of float32."""
NOTE = (
    "inside: the smallest ball around the honest average that holds all honest rows; within: so far from the result "
    "for rows of zeros, whatever the honest rows' scale. With more hostile rows, near the breakdown point, a rule that "
    "goes coordinate by coordinate may leave the ball: each coordinate is between honest ones, the row need not be."
)
_NO_PROMISE = "promises nothing"
_PATIENCE_S = 10.0  # for a peer's rule on ten rows


@dataclass(frozen=True, kw_only=True)
class Survival:
    """What one rule does with one poison in `f` rows; `peer` is None where byzfl does not define the rule.

    Honest numbers are of size `scale`. Each says "inside" (in the smallest ball around the honest average that holds
    all honest rows), "outside by K" (in radii of that ball), "not finite", "refuses" (so many such rows), "raises NAME"
    or "hangs". A rule of ours that is Limited says "within WORDS" of what it returns for rows of zeros, or "outside by
    K" times that; ours also say "promises nothing", where the rule withstands no tainted row (its breakdown point is
    0), and so is not tried.
    """

    name: str
    poison: str
    scale: float
    f: int
    ours: str
    peer: str | None

    @property
    def promises(self) -> bool:
        """Whether ours is to withstand such a row at all."""
        return self.ours != _NO_PROMISE

    @property
    def survived(self) -> bool:
        """Whether ours keeps its promise: it is inside, or within, with as many hostile rows as it is to withstand.

        Where it promises nothing, it has not survived anything, and has broken nothing either.
        """
        return self.ours == "inside" or self.ours.startswith("within ")


def hostile_table(*, n: int = 11, f: int = 3, d: int = 20) -> list[Survival]:
    """Return every registered rule, and nnm before the trimmed mean, under every poison in some of n float32 rows.

    The rows are drawn from N(0, scale^2), for each of SCALES. Poisoned are f rows, or as many as the rule withstands if
    that is fewer; f for the peer of one that withstands none.
    Raises: CloisterError where byzfl is missing, or n and f make no sense.
    """
    check.integer_at_least(1, f=f, d=d)
    if not 2 * f + 3 <= n:
        raise CloisterError(f"n = {n} rows with f = {f} are not allowed; allowed: n >= 2 f + 3, as Krum needs")
    drawn = torch.from_numpy(public_stream(0, "peers", "hostile", n, f, d).normal(size=(n, d)))
    pairs = {pair.name: pair for pair in PAIRS}
    table: list[Survival] = []
    for scale, poison in itertools.product(SCALES, POISONS):
        clean = (scale * drawn).float()
        table += [_survival(name, _case(poison, scale, clean, f), pairs.get(name)) for name in aggregators.entries()]
        mixed = _case(poison, scale, clean, f)
        table.append(_mixed_first(mixed, nnm=pairs["nnm"], trimmed=pairs["trimmed_mean"]))
    return sorted(table, key=lambda row: (row.name, -row.scale, list(POISONS).index(row.poison)))


@dataclass(frozen=True, kw_only=True)
class _Case:
    poison: str
    scale: float
    clean: Tensor
    f: int

    @property
    def honest(self) -> Tensor:
        return self.clean[self.f :]

    @property
    def rows(self) -> Tensor:
        return torch.cat([torch.full_like(self.clean[: self.f], POISONS[self.poison]), self.honest])

    def survival(self, name: str, ours: str, peer: str | None) -> Survival:
        return Survival(name=name, poison=self.poison, scale=self.scale, f=self.f, ours=ours, peer=peer)


def _case(poison: str, scale: float, clean: Tensor, f: int) -> _Case:
    return _Case(poison=poison, scale=scale, clean=clean, f=f)


def _survival(name: str, case: _Case, pair: Pair | None) -> Survival:
    rule = aggregators.make(aggregators.resolve(name))
    withstood = min(case.f, rule.breakdown(len(case.clean)))
    case = replace(case, f=withstood or case.f)
    ours = _ours(name, rule, case) if withstood else _NO_PROMISE
    return case.survival(name, ours, None if pair is None else _theirs(pair, case))


def _ours(name: str, rule: Aggregator, case: _Case) -> str:
    sizes = torch.ones(len(case.rows), dtype=torch.int64)
    before = torch.cat([case.honest[:1].expand(case.f, -1), case.honest])
    given = make_given(case.honest, history=before)

    def combined(rows: Tensor) -> Tensor:
        return rule(rows, sizes, case.f, given)

    if not isinstance(rule, Limited):
        return _outcome(lambda: combined(case.rows), _hull(case.honest))
    still = combined(torch.cat([torch.zeros_like(case.clean[: case.f]), case.honest])).double()
    reach = (1 + 2.0**-14) * rule.reach(sizes, case.f, case.clean.shape[1])  # lengths are off by 2^-15 in float32
    ball = _Ball(centre=still, radius=reach, words=f"within {within(aggregators.entry(name))}")
    return _outcome(lambda: combined(case.rows), ball)


def _theirs(pair: Pair, case: _Case) -> str:
    peer = pair.peer(byzfl(), case.f)
    return _outcome(lambda: peer_result(peer(case.rows), torch.float32), _hull(case.honest))


def _mixed_first(case: _Case, *, nnm: Pair, trimmed: Pair) -> Survival:
    rows, f, module = case.rows, case.f, byzfl()

    def ours() -> Tensor:
        mixed = nnm.ours(f)(rows)  # without the rows that cannot be computed with, so fewer are left to trim
        return trimmed.ours(f - (len(rows) - len(mixed)))(mixed)

    def theirs() -> Tensor:
        return peer_result(trimmed.peer(module, f)(nnm.peer(module, f)(rows.clone())), rows.dtype)

    hull = _hull(case.honest)
    return case.survival("nnm + trimmed_mean", _outcome(ours, hull), _outcome(theirs, hull))


@dataclass(frozen=True, kw_only=True)
class _Ball:
    """Where a result is to be, and in which words it is there."""

    centre: Tensor
    radius: float
    words: str = "inside"


def _hull(honest: Tensor) -> _Ball:
    """Return the smallest ball around the honest average that holds all honest rows."""
    centre = honest.double().mean(dim=0)
    return _Ball(centre=centre, radius=float((honest.double() - centre).norm(dim=1).max()))


def _outcome(work: Callable[[], Tensor], ball: _Ball) -> str:
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
    off = float((result - ball.centre).square().sum().sqrt()) / ball.radius
    return ball.words if off <= 1 else f"outside by {off:.2g}"


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
