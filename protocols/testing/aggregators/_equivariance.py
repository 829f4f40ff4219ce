"""Checks of what a rule does when all clusters are reordered, shifted or scaled."""

from collections.abc import Iterator

import torch
from torch import Tensor

from protocols.randomness import public_stream
from protocols.registry import Spec
from protocols.testing.aggregators._points import cases_of, close, result_of, rule_of

__all__ = [
    "does_not_depend_on_the_order_of_the_clusters",
    "does_not_grow_with_every_scaling",
    "does_not_move_with_every_shift",
    "grows_with_a_scaling_of_all_clusters",
    "moves_with_a_shift_of_all_clusters",
]


def does_not_depend_on_the_order_of_the_clusters(spec: Spec) -> None:
    """Clusters in another order, each with its size, give the same result, also with equal clusters among them.

    A rule that selects one of the rows may find several equally good: the lowest cluster number then counts.
    """
    for means, sizes, tolerate in cases_of(spec):
        m = means.shape[0]
        twins = means.clone()
        twins[m // 2] = twins[0]
        orders = _orders(m)
        for points in (means, twins) if m > 1 else (means,):
            results = [result_of(rule_of(spec), points[order], sizes[order], tolerate) for order in orders]
            tied = _selected(points, results)
            for order, result in zip(orders, results, strict=True):
                expected = points[next(int(i) for i in order if int(i) in tied)] if tied else results[0]
                assert close(result, expected), f"{spec} depends on the order of the clusters, m = {m}"


def _orders(m: int) -> list[Tensor]:
    """Return orders of m clusters in which each cluster comes first once, and some random ones, without repeats."""
    turned = [tuple((first + k) % m for k in range(m)) for first in range(m)]
    mixed = [tuple(public_stream(k, "order", m).permutation(m).tolist()) for k in range(4)]
    return [torch.tensor(order) for order in dict.fromkeys([*turned, *mixed])]


def _selected(points: Tensor, results: list[Tensor]) -> set[int]:
    """Return the rows that a selecting rule chose, unless it chose others than rows, or every row of more than two.

    Of two rows both may be equally good.
    """
    rows: set[int] = set()
    for result in results:
        same = [int(row) for row in (points == result).all(dim=1).nonzero().flatten()]
        if not same:
            return set()
        rows.update(same)
    return rows if len(rows) < max(points.shape[0], 3) else set()


def moves_with_a_shift_of_all_clusters(spec: Spec) -> None:
    """Adding a vector to all cluster means adds it to the result."""
    assert all(_shifts(spec)), f"{spec} does not move with a shift"


def does_not_move_with_every_shift(spec: Spec) -> None:
    """A rule that does not promise to move with a shift has a reason: some shift moves its result otherwise."""
    assert not all(_shifts(spec)), f"{spec} moves with each shift, and does not say so"


def _shifts(spec: Spec) -> Iterator[bool]:
    for means, sizes, tolerate in cases_of(spec):
        shift = torch.linspace(-10.0, 10.0, means.shape[1], dtype=torch.float64)
        expected = result_of(rule_of(spec), means, sizes, tolerate) + shift
        yield close(result_of(rule_of(spec), means + shift, sizes, tolerate), expected)


def grows_with_a_scaling_of_all_clusters(spec: Spec) -> None:
    """Multiplying all cluster means by a positive number multiplies the result by it.

    The factors reach from 1e-9 to 1e9. Rounding alone is below 1e-12, and what an iteration leaves undone scales as
    well; a rule with a fixed length, such as a clipping radius or a smoothing, is off by much more at one of them.
    """
    assert all(_scalings(spec)), f"{spec} does not grow with a scaling"


def does_not_grow_with_every_scaling(spec: Spec) -> None:
    """A rule that does not promise to grow with a scaling has a reason: some factor changes its result otherwise."""
    assert not all(_scalings(spec)), f"{spec} grows with each scaling, and does not say so"


def _scalings(spec: Spec) -> Iterator[bool]:
    for means, sizes, tolerate in cases_of(spec):
        expected = result_of(rule_of(spec), means, sizes, tolerate)
        for factor in (1e-9, 0.125, 8.0, 1e9):
            result = result_of(rule_of(spec), means * factor, sizes, tolerate)
            yield close(result / factor, expected)
