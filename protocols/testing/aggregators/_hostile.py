"""Checks of a rule on tainted clusters that are far away, or no numbers to compute with."""

import math
from collections.abc import Callable

import torch

from protocols.aggregators import LIMIT
from protocols.registry import Spec
from protocols.testing import refusal
from protocols.testing.aggregators._points import cases_of, close, make_given, make_points, rule_of

__all__ = [
    "HOSTILE",
    "is_not_carried_away_by_tainted_clusters",
    "is_not_carried_away_by_tainted_clusters_at_many_distances",
    "refuses_more_such_rows_than_it_is_told_to_tolerate",
    "survives_hostile_numbers",
    "takes_rows_out_that_cannot_be_computed_with",
]

_TYPES = (torch.float32, torch.float64)

HOSTILE = (math.nan, math.inf, -math.inf, 1e30, -1e30, 1e-40, LIMIT, 1e300)
"""Numbers that every rule must survive: not finite, far too large (in range and beyond), and denormal in float32."""


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


def survives_hostile_numbers(spec: Spec) -> None:
    """`tolerate` rows of any numbers leave the result finite, and of the size of the honest rows or of one.

    "Of the size" is as generous as in is_not_carried_away_by_tainted_clusters; 1e30 over m is far beyond it.
    """
    rule = rule_of(spec)
    for m, d in ((3, 2), (5, 3), (8, 4)):
        for tolerate in range(1, rule.breakdown(m) + 1):
            means, sizes = make_points(m, d)
            honest = means[tolerate:]
            allowed = m * math.sqrt(d) * max(1.0, float(honest.square().sum(dim=1).max().sqrt()))
            signs = torch.where(torch.arange(d) % 2 == 0, 1.0, -1.0).double()
            poisons = [torch.full((d,), number, dtype=torch.float64) for number in HOSTILE]
            poisons += [1e30 * signs, LIMIT * signs]
            for poison in poisons:
                points = torch.cat([poison.expand(tolerate, -1), honest])
                result = rule(points, sizes, tolerate, make_given(honest, history=means))
                size = float(result.square().sum().sqrt())
                assert size <= allowed, (
                    f"{spec} returns numbers of size {size:.3g} with {tolerate} of {m} clusters at {poison.tolist()}; "
                    f"allowed: {allowed:.3g}"
                )
