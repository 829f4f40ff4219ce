"""Checks of a rule's promises in numbers, its sensitivity and its coefficient, also by a search for a violation."""

import math
from collections.abc import Iterator
from itertools import product

import torch
from torch import Tensor

from protocols.aggregators import Aggregator, within_coefficient
from protocols.randomness import public_stream
from protocols.registry import Spec
from protocols.testing.aggregators._points import cases_of, make_given, make_points, rule_of

__all__ = [
    "changes_by_no_more_than_its_sensitivity",
    "searched_violation",
    "stays_within_its_coefficient",
    "stays_within_its_coefficient_however_it_is_searched",
]

# The search for a violation: turns, candidates that are kept in each, and how often each is changed in either way.
_GENERATIONS, _KEPT, _CHILDREN = 6, 3, 3


def changes_by_no_more_than_its_sensitivity(spec: Spec) -> None:
    """Where a sensitivity is declared, no change of one cluster's sum by a vector of norm 1 moves the result more.

    Rows far apart let one row's change through whole, random rows mix them; a change along one axis and along
    all of them is tried for every row, also where the largest clusters' rows are hostile and taken out. Numbers are
    below 2 * 10^2, so rounding is below 1e-13 and within 1e-9.
    """
    rule = rule_of(spec)
    for means, sizes, tolerate in cases_of(spec):
        bound = rule.sensitivity(sizes, tolerate)
        if bound is None:
            continue
        m, d = means.shape
        apart = means + 10.0 * torch.arange(m, dtype=torch.float64)[:, None]
        axis = torch.zeros(d, dtype=torch.float64)
        axis[0] = 1.0
        changes = [sign * v for v in (axis, torch.full_like(axis, d**-0.5)) for sign in (1.0, -1.0)]
        largest_first = [int(j) for j in sizes.argsort(descending=True, stable=True)]
        for points, hostile in product((means, apart), {0, tolerate}):
            given = make_given(points)
            rows = points.clone()
            rows[largest_first[:hostile]] = math.nan
            before = rule(rows, sizes, tolerate, given)
            for j in largest_first[hostile:]:
                after = rows.expand(len(changes), m, d).clone()
                after[:, j] += torch.stack(changes) / int(sizes[j])
                for result in rule(after, sizes, tolerate, given):
                    moved = float((result - before).square().sum().sqrt())
                    assert moved <= bound * (1 + 1e-9), (
                        f"{spec} moves by {moved} with {hostile} hostile rows of {m}; its sensitivity is {bound}"
                    )


def stays_within_its_coefficient(spec: Spec) -> None:
    """Whatever `tolerate` clusters send, the result is within its coefficient of the others' average.

    Tried: one point far away or near, in each direction of the spread, behind the average, copies of an honest one,
    and none at all; honest means that are random, nearly alike but for one, and in two camps.
    """
    rule = rule_of(spec)
    for m, d in ((3, 2), (4, 1), (5, 3), (8, 4), (11, 2)):
        for tolerate in range(rule.breakdown(m) + 1):
            means, sizes = make_points(m, d)
            lone = 1e-3 * means
            lone[-1] += 1.0
            camps = means + 10.0 * (torch.arange(m) % 2)[:, None]
            for points in (means, lone, camps) if math.isfinite(rule.coefficient(sizes, tolerate)) else ():
                honest = points[tolerate:]
                cells = torch.stack([torch.cat([sent, honest]) for sent in _sent_by_tainted(honest, tolerate)])
                for result in rule(cells, sizes, tolerate, make_given(honest, history=points)):
                    assert within_coefficient(rule, result, honest, sizes, tolerate), (
                        f"{spec} leaves its coefficient {rule.coefficient(sizes, tolerate):.3g} with {tolerate} of {m}"
                    )


def _sent_by_tainted(honest: Tensor, tolerate: int) -> Iterator[Tensor]:
    """Yield what `tolerate` tainted clusters could send (tolerate, d)."""
    centre, spread = honest.mean(dim=0), honest.std(dim=0, correction=0)
    for point in (
        *(centre + z * spread for z in (-4.0, -1.5, -0.5, 0.5, 1.5, 4.0)),
        *(factor * centre for factor in (-10.0, -1.0, 0.0, 10.0)),
        *honest,
        torch.full_like(centre, 1e9),
        torch.full_like(centre, -1e30),
    ):
        yield point.expand(tolerate, -1)


def stays_within_its_coefficient_however_it_is_searched(spec: Spec) -> None:
    """No search over what `tolerate` clusters could send takes the result beyond its coefficient.

    The search starts from known attacks (far, a little is enough, inner product, mimic, 1e30, NaN), and changes the
    worst ones at random, each tainted cluster on its own, in size and in direction, for some generations.
    """
    rule = rule_of(spec)
    for m, d in ((3, 2), (5, 1), (9, 3)):
        means, sizes = make_points(m, d, seed=1)
        for tolerate in {1, rule.breakdown(m)} - {0, -1} if rule.breakdown(m) > 0 else ():
            if math.isfinite(rule.coefficient(sizes, tolerate)):
                worst = searched_violation(rule, means[tolerate:], sizes, tolerate)
                assert worst <= 1 + 1e-6, (
                    f"{spec} is off by {worst:.4g} times what its coefficient {rule.coefficient(sizes, tolerate):.3g} "
                    f"allows with {tolerate} of {m}"
                )


def searched_violation(rule: Aggregator, honest: Tensor, sizes: Tensor, tolerate: int, *, seed: int = 0) -> float:
    """Return the largest squared error found, over what the rule's coefficient allows, for honest means (h, d).

    Every candidate is a cell of a batch: what each of `tolerate` clusters sends (tolerate, d).
    """
    rng = public_stream(seed, "conformance", "search", *honest.shape)
    centre, spread = honest.mean(dim=0), honest.std(dim=0, correction=0)
    allowed = rule.coefficient(sizes, tolerate) * float((honest - centre).square().sum(dim=1).mean())
    given = make_given(honest, history=torch.cat([honest[:1].expand(tolerate, -1), honest]))
    sent = torch.stack([row.expand(tolerate, -1) for row in _known_attacks(honest)])
    worst = 0.0
    for _ in range(_GENERATIONS):
        cells = torch.cat([sent, honest.expand(len(sent), -1, -1)], dim=1)
        errors = (rule(cells, sizes, tolerate, given) - centre).square().sum(dim=1) / allowed
        worst = max(worst, float(errors.max()))
        best = sent[errors.argsort(descending=True)[:_KEPT]].nan_to_num(nan=0.0).clamp(-1e9, 1e9)
        many = best.repeat(_CHILDREN, 1, 1)
        moved = (
            torch.from_numpy(rng.normal(size=many.shape))
            * spread
            * torch.from_numpy(10.0 ** rng.uniform(-2, 1, size=(len(many), 1, 1)))
        )
        stretched = centre + (many - centre) * torch.from_numpy(rng.uniform(0.5, 2.0, size=(len(many), tolerate, 1)))
        sent = torch.cat([best, many + moved, stretched])
    return worst


def _known_attacks(honest: Tensor) -> list[Tensor]:
    """Return what tainted clusters are known to send (d,) each; NaN as well, which must not matter."""
    centre, spread = honest.mean(dim=0), honest.std(dim=0, correction=0)
    little = [centre - z * spread for z in (0.3, 0.7, 1.0, 1.5, 3.0)]
    inner = [-factor * centre for factor in (0.1, 1.0, 2.0, 10.0)]
    far = [torch.full_like(centre, number) for number in (1e3, -1e9, 1e30, math.nan)]
    return [*little, *inner, *far, *honest]
