"""The engine for large clusters and several kinds of fault: against exact rationals, other engines, all placements."""

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest

from protocols.playable import conditions_named
from protocols.tolerance import contour
from protocols.tolerance.analysis import Faults, analyse
from protocols.tolerance.conditions import Conditions
from protocols.tolerance.contour import Cells, contour_tail
from protocols.tolerance.exact import exact_tail
from protocols.tolerance.parts import Groups, NotExactError, Part, size_groups
from protocols.tolerance.saddle import saddle_tail
from protocols.tolerance.union import tail_bounds

Counts = np.ndarray


def cells_of(conditions: Conditions) -> Cells:
    """Tainted or lost, and not exposed, of three kinds of fault."""

    def cells(size: int, held: Sequence[Counts]) -> tuple[np.ndarray, np.ndarray]:
        b, k, p = held
        failed, exposed = conditions.failed(size, b, k), conditions.exposed(size, b + p, k)
        return ~failed & ~exposed, failed & ~exposed

    return cells


def parts_of_cells(groups: Groups, cells: Cells, kinds: int = 3) -> list[Part]:
    parts: list[Part] = []
    for size, count in groups:
        axes = [axis.reshape(-1) for axis in np.indices([size + 1] * kinds)]
        safe, bad = (mask.reshape([size + 1] * kinds) for mask in cells(size, axes))
        parts.append(Part(size=size, count=count, safe=safe, bad=bad))
    return parts


def shamir(mode: str, threshold: str) -> Conditions:
    return conditions_named("shamir", mode=mode, threshold=threshold, checked=True)


SMALL = [
    (12, 3, (2, 1, 2), shamir("vss", "c/2"), 0),
    (13, 4, (3, 2, 1), conditions_named("shamir", threshold="c/2"), 1),
    (24, 6, (4, 3, 3), shamir("vss", "c/2"), 0),
    (26, 6, (5, 2, 4), conditions_named("shamir", threshold="c/2"), 2),
    (20, 5, (4, 4, 4), conditions_named("masked", checked=True), 1),
    (21, 10, (1, 9, 2), conditions_named("additive", checked=True), 0),
]


@pytest.mark.parametrize(("n", "size", "counts", "conditions", "most"), SMALL, ids=lambda each: str(each)[:24])
def test_it_answers_as_exact_rationals_do(
    n: int, size: int, counts: tuple[int, int, int], conditions: Conditions, most: int
) -> None:
    groups, cells = size_groups(n, size), cells_of(conditions)
    exact = float(exact_tail(parts_of_cells(groups, cells), n, counts, most))
    assert exact > 0
    assert contour_tail(groups, n, counts, cells, most) == pytest.approx(exact, rel=1e-9)


def test_it_is_the_share_of_all_placements_of_all_kinds() -> None:
    n, counts, conditions = 9, (2, 1, 1), conditions_named("shamir", threshold="c/2")
    groups, cells = ((4, 1), (5, 1)), cells_of(conditions)
    bounds = ((0, 4), (4, 9))
    hits = total = 0
    for liars in combinations(range(n), counts[0]):
        left = [each for each in range(n) if each not in liars]
        for gone in combinations(left, counts[1]):
            for spies in combinations([each for each in left if each not in gone], counts[2]):
                bad, allowed = 0, True
                for low, high in bounds:
                    held = [np.array([sum(low <= each < high for each in kind)]) for kind in (liars, gone, spies)]
                    safe, wrong = cells(high - low, held)
                    bad, allowed = bad + int(wrong[0]), allowed and bool(safe[0] | wrong[0])
                hits, total = hits + (allowed and bad > 0), total + 1
    assert 0 < hits < total
    assert contour_tail(groups, n, counts, cells, 0) == pytest.approx(hits / total, rel=1e-9)


@pytest.mark.parametrize(
    ("n", "size", "counts", "most"),
    [(80, 20, (12, 6, 8), 0), (60, 15, (14, 9, 9), 0)],
)
@pytest.mark.parametrize(("mode", "threshold"), [("vss", "c/2"), ("correct", "c/3")])
def test_it_agrees_with_the_saddle_point(  # noqa: PLR0917 - a design
    n: int, size: int, counts: tuple[int, int, int], most: int, mode: str, threshold: str
) -> None:
    groups, cells = size_groups(n, size), cells_of(shamir(mode, threshold))
    one = contour_tail(groups, n, counts, cells, most)
    other = saddle_tail(parts_of_cells(groups, cells), n, counts, most)
    assert one == pytest.approx(other, rel=1e-9)


def test_large_clusters_under_three_kinds_of_fault_are_exact_and_within_the_bounds_of_two() -> None:
    """The saddle point's tables hold clusters of 143 at most; those beyond had bounds a factor of 2 apart."""
    faults, groups = Faults(n=300, byzantine=60, crashed=30, curious=30), size_groups(300, 150)
    found = analyse(faults, groups, shamir("vss", "c/2"), 0)
    assert found.fail.engine != "bounds"
    private, correct = found.private.value, found.correct.value
    assert max(private, correct) * (1 + 1e-6) < found.fail.value < (private + correct) * (1 - 1e-12)


def test_a_bound_on_several_kinds_holds_and_is_far_below_the_mean() -> None:
    """P(K > most) of two kinds, by exact rationals, against the bound of independent members over the chance of n."""
    cells = cells_of(shamir("correct", "c/3"))

    def two(size: int, held: Sequence[Counts]) -> tuple[np.ndarray, np.ndarray]:
        return cells(size, [*held, np.zeros_like(held[0])])

    for n, size, counts, most in ((24, 6, (4, 3), 1), (60, 10, (6, 4), 2), (60, 10, (12, 9), 1), (40, 20, (9, 4), 1)):
        parts = parts_of_cells(size_groups(n, size), two, 2)
        exact = float(exact_tail(parts, n, counts, most))
        bounds = tail_bounds(parts, n, counts, most)
        assert bounds.lower <= exact <= bounds.upper * (1 + 1e-9)
    wide = parts_of_cells(size_groups(1000, 100), two, 2)
    assert tail_bounds(wide, 1000, (50, 200), 4).upper < 1e-30


def test_angles_that_are_left_out_too_early_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative twin: with half of the range that matters the answer is off, or refused."""
    groups, cells = size_groups(24, 6), cells_of(shamir("vss", "c/2"))
    right = contour_tail(groups, 24, (4, 3, 3), cells, 0)
    monkeypatch.setattr(contour, "FADED", 3.0)
    try:
        found = contour_tail(groups, 24, (4, 3, 3), cells, 0)
    except NotExactError:
        return
    assert not math.isclose(found, right, rel_tol=1e-9)


def test_more_clusters_than_it_adds_up_are_refused() -> None:
    with pytest.raises(NotExactError, match="65 clusters are too many"):
        contour_tail(((3, 65),), 195, (5, 5, 5), cells_of(shamir("vss", "c/2")), 0)


def test_what_cannot_happen_is_zero() -> None:
    cells = cells_of(shamir("vss", "c/2"))
    assert contour_tail(((10, 3),), 30, (1, 1, 1), cells, 0) == 0.0
    assert contour_tail(((10, 3),), 30, (9, 9, 1), cells, 3) == 0.0
