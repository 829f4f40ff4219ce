"""Checks of a rule on tainted clusters that are far away, or no numbers to compute with."""

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from protocols.aggregators import LIMIT, Aggregator, Limited, aggregators, within
from protocols.check import CloisterError
from protocols.registry import Spec
from protocols.testing import refusal
from protocols.testing.aggregators._points import cases_of, close, make_given, make_points, rule_of

__all__ = [
    "HOSTILE",
    "SCALES",
    "is_not_carried_away_by_tainted_clusters",
    "is_not_carried_away_by_tainted_clusters_at_many_distances",
    "refuses_more_such_rows_than_it_is_told_to_tolerate",
    "survives_hostile_numbers",
    "takes_out_any_number_of_such_rows",
    "takes_rows_out_that_cannot_be_computed_with",
]

_TYPES = (torch.float32, torch.float64)

HOSTILE = (math.nan, math.inf, -math.inf, 1e30, -1e30, 1e-40, LIMIT, 1e300)
"""Numbers that every rule must survive: not finite, far too large (in range and beyond), and denormal in float32."""

SCALES = (1.0, 1e-2, 1e-4)
"""Sizes of honest numbers: of the rows that tests like to draw, and of updates, of which a rule may think small."""


def is_not_carried_away_by_tainted_clusters(spec: Spec) -> None:
    """With `tolerate` clusters moved far away together, the result stays near the honest ones, however far that is.

    Asked of rules that promise a coefficient.

    "Near" is generous, m sqrt(d) times the honest radius, which every bounded rule keeps; a rule that gives
    `tolerate` clusters any say at all is off by their distance over m, at least 30 times as much.
    """
    for distance in (1e5, 1e9, 1e14, 1e30):
        _check_near_honest(spec, lambda tolerate, far=distance: [far * (1 + k / tolerate) for k in range(tolerate)])


def is_not_carried_away_by_tainted_clusters_at_many_distances(spec: Spec) -> None:
    """One tainted cluster so far away that rounding swallows the others' differences hides no nearer one."""
    for distance in (1e9, 1e14, 1e30):
        _check_near_honest(spec, lambda tolerate, far=distance: [far, *(1e5 / 4**k for k in range(tolerate - 1))])


def _check_near_honest(spec: Spec, distances: Callable[[int], list[float]]) -> None:
    """Raise AssertionError where `tolerate` clusters at these distances pull the result away from the others."""
    rule = rule_of(spec)
    for m, d in ((3, 2), (5, 3), (7, 2), (8, 4), (11, 2)):
        for tolerate in range(1, rule.breakdown(m) + 1):
            means, sizes = make_points(m, d)
            if math.isinf(rule.coefficient(sizes, tolerate)):
                continue
            honest = means[tolerate:]
            centre = honest.mean(dim=0)
            radius = float((honest - centre).square().sum(dim=1).max().sqrt())
            tainted = means.clone()
            tainted[:tolerate] = torch.tensor(distances(tolerate), dtype=torch.float64)[:, None]
            result = rule(tainted, sizes, tolerate, make_given(honest, history=means))
            found = float((result - centre).square().sum().sqrt())
            allowed = m * math.sqrt(d) * radius
            assert found <= allowed, (
                f"{spec} is carried {found:.3g} away by {tolerate} of {m} clusters at {distances(tolerate)}; "
                f"allowed: {allowed:.3g}"
            )


def takes_rows_out_that_cannot_be_computed_with(spec: Spec) -> None:
    """Rows with NaN, infinities or numbers beyond LIMIT are left out, and counted as tainted clusters."""
    rule = rule_of(spec)
    for means, sizes, tolerate in cases_of(spec):
        rows = [0, means.shape[0] - 1][:tolerate]
        kept = torch.tensor([j for j in range(means.shape[0]) if j not in rows])
        for dtype in _TYPES if tolerate else ():
            honest = means[kept].to(dtype)
            left = rule(honest, sizes[kept], tolerate - len(rows), make_given(honest))
            for bad in (math.nan, math.inf, -math.inf, 2 * LIMIT):  # in float32 2 * LIMIT is an infinity
                poisoned = means.clone()
                poisoned[rows, -1] = bad
                result = rule(poisoned.to(dtype), sizes, tolerate, make_given(honest, history=means))
                assert close(result, left), f"{spec} lets {bad} from clusters {rows} of {len(means)} into the result"


def refuses_more_such_rows_than_it_is_told_to_tolerate(spec: Spec) -> None:
    """NaN and infinities in more rows than `tolerate` are refused, by the rows' numbers."""
    rule = rule_of(spec)
    for means, sizes, tolerate in cases_of(spec):
        for bad in (math.nan, math.inf, -math.inf):
            rows = list(range(tolerate + 1))
            poisoned = means.clone()
            poisoned[rows, -1] = bad
            given = make_given(means)
            said = refusal(lambda p=poisoned, s=sizes, t=tolerate, g=given: rule(p, s, t, g))
            assert said is not None, f"{spec} accepts {bad} from clusters {rows} and was told to tolerate {tolerate}"
            assert str(rows) in said, f"{spec} does not name clusters {rows}: {said}"


def takes_out_any_number_of_such_rows(spec: Spec) -> None:
    """Rows with NaN and infinities are left out, however many, as long as there is another; all at once are refused."""
    rule = rule_of(spec)
    for means, sizes, tolerate in cases_of(spec):
        for bad, hostile in itertools.product((math.nan, math.inf, -math.inf), range(1, means.shape[0])):
            poisoned = means.clone()
            poisoned[:hostile, -1] = bad
            result = rule(poisoned, sizes, tolerate, make_given(means))
            kept = means[hostile:]
            left = rule(kept, sizes[hostile:], max(0, tolerate - hostile), make_given(kept))
            assert close(result, left), f"{spec} lets {bad} of {hostile} of {len(means)} clusters into the result"
        said = refusal(lambda p=means, s=sizes, t=tolerate: rule(p * math.nan, s, t, make_given(p)))
        assert said is not None, f"{spec} returns something for rows that are all NaN"


def survives_hostile_numbers(spec: Spec) -> None:
    """`tolerate` rows of any numbers leave the result finite, and of the size of the honest rows, small ones too.

    "Of the size" is as generous as in is_not_carried_away_by_tainted_clusters; 1e30 over m is far beyond it. A rule
    that is Limited moves no farther than it says, to the last digits. One that withstands no cluster leaves one row of
    surely hostile numbers out, or refuses it in one line: its result is never such a number.
    """
    rule = rule_of(spec)
    words = within(aggregators.entry(spec.name))
    assert isinstance(rule, Limited) == bool(words), (
        f"{spec} is Limited in words ({words!r}) or in `reach`, not in both"
    )
    _check_one_row_ends_well(spec, rule)
    for scale in SCALES:
        for m, d in ((3, 2), (5, 3), (8, 4)):
            for tolerate in range(1, rule.breakdown(m) + 1):
                means, sizes = make_points(m, d)
                means *= scale
                for poison in _poisons(d):
                    _check_survival(spec, means, sizes, tolerate, poison)


def _poisons(d: int) -> list[Tensor]:
    signs = torch.where(torch.arange(d) % 2 == 0, 1.0, -1.0).double()
    whole = [torch.full((d,), number, dtype=torch.float64) for number in HOSTILE]
    return [*whole, 1e30 * signs, LIMIT * signs]


def _check_survival(spec: Spec, means: Tensor, sizes: Tensor, tolerate: int, poison: Tensor) -> None:
    rule, (m, d), honest = rule_of(spec), means.shape, means[tolerate:]
    given, largest = make_given(honest, history=means), float(honest.square().sum(dim=1).max().sqrt())
    result = rule(torch.cat([poison.expand(tolerate, -1), honest]), sizes, tolerate, given)
    if isinstance(rule, Limited):
        still = rule(torch.cat([torch.zeros_like(means[:tolerate]), honest]), sizes, tolerate, given)
        allowed = (1 + 1e-9) * rule.reach(sizes, tolerate, d)  # a few roundings of numbers of that size
        size, what = float((result - still).square().sum().sqrt()), "moves by"
    else:
        allowed = m * math.sqrt(d) * largest
        size, what = float(result.square().sum().sqrt()), "returns numbers of size"
    assert size <= allowed, (
        f"{spec} {what} {size:.3g} with {tolerate} of {m} clusters at {poison.tolist()}, "
        f"honest ones of size {largest:.3g}; allowed: {allowed:.3g}"
    )


def _check_one_row_ends_well(spec: Spec, rule: Aggregator) -> None:
    """Raise AssertionError where one row that cannot be computed with gets into what the rule returns."""
    for m in (3, 8):
        means, sizes = make_points(m, 4)
        tolerate = min(1, max(0, rule.breakdown(m)))
        for bad in (math.nan, math.inf, -math.inf, 2 * LIMIT):
            poisoned = means.clone()
            poisoned[1, -1] = bad
            try:
                result = rule(poisoned, sizes, tolerate, make_given(means, history=means))
            except CloisterError as error:
                if tolerate:
                    raise AssertionError(f"{spec} is told to tolerate one cluster, and refuses {bad} in it") from error
                continue
            assert bool(torch.isfinite(result).all()), f"{spec} returns {result} for one row of {bad} among {m}"
