"""The conformance kit of aggregators."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from protocols.aggregators import Aggregator, aggregators, within_coefficient
from protocols.randomness import public_stream
from protocols.registry import Spec
from protocols.testing import Check, check_documented, examples_of, refusal
from protocols.types import balanced_sizes

__all__ = ["conformance_checks", "example_specs", "make_points"]

# The points have a spread of about 1. Rounding alone is below 1e-12; a rule that iterates may stop a step earlier.
_TOLERANCE = 1e-6


def example_specs() -> list[Spec]:
    """Return every registered rule with its defaults and with each of its declared examples, without repeats."""
    return examples_of(aggregators)


def conformance_checks(spec: Spec) -> list[Check]:  # noqa: ARG001
    """Return the checks that apply to the rule: all of them; a rule without a sensitivity passes that check."""
    return [
        is_a_documented_frozen_dataclass,
        withstands_fewer_than_half_of_the_clusters,
        returns_one_finite_number_per_coordinate,
        returns_what_all_clusters_agree_on,
        leaves_its_inputs_alone_and_repeats_itself,
        does_not_depend_on_the_order_of_the_clusters,
        moves_with_a_shift_of_all_clusters,
        grows_with_a_scaling_of_all_clusters,
        is_not_carried_away_by_tainted_clusters,
        is_not_carried_away_by_tainted_clusters_at_many_distances,
        refuses_numbers_that_are_not_finite,
        refuses_more_tainted_clusters_than_it_withstands,
        changes_by_no_more_than_its_sensitivity,
        stays_within_its_coefficient,
    ]


def make_points(m: int, d: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return random cluster means (m, d) float64 and the balanced sizes (m,) int64 of 3 m + 2 processes."""
    rng = public_stream(seed, "conformance", m, d)
    return torch.from_numpy(rng.normal(size=(m, d))), torch.tensor(balanced_sizes(3 * m + 2, 3))


def _rule(spec: Spec) -> Aggregator:
    return aggregators.make(spec)


def _cases(spec: Spec) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Yield means, sizes and every `tolerate` that the rule accepts."""
    rule = _rule(spec)
    for m, d in ((1, 1), (2, 3), (3, 1), (4, 5), (7, 3), (8, 11)):
        means, sizes = make_points(m, d)
        for tolerate in range(rule.breakdown(m) + 1):
            yield means, sizes, tolerate


def _close(a: Tensor, b: Tensor) -> bool:
    return float((a - b).abs().max()) <= _TOLERANCE


def is_a_documented_frozen_dataclass(spec: Spec) -> None:
    """The plug-in is a frozen dataclass with a summary, a source and a default for each parameter."""
    check_documented(aggregators, spec)


def withstands_fewer_than_half_of_the_clusters(spec: Spec) -> None:
    """No rule can withstand half of the clusters, and more clusters never withstand less."""
    found = [_rule(spec).breakdown(m) for m in range(1, 33)]
    for m, most in enumerate(found, start=1):
        assert isinstance(most, int), f"{spec} withstands {most!r} of {m} clusters; allowed: an integer"
        assert -1 <= most < m / 2, f"{spec} says that it withstands {most} of {m} clusters; allowed: -1 to below half"
    assert found == sorted(found), f"{spec} withstands fewer of more clusters: {found}"


def returns_one_finite_number_per_coordinate(spec: Spec) -> None:
    """The result is float64 of shape (d,), finite on finite inputs."""
    for means, sizes, tolerate in _cases(spec):
        result = _rule(spec)(means, sizes, tolerate)
        d = means.shape[1]
        assert result.shape == (d,), f"{spec} returns shape {tuple(result.shape)}; allowed: {(d,)}"
        assert result.dtype == torch.float64, f"{spec} returns {result.dtype}; allowed: torch.float64"
        assert bool(torch.isfinite(result).all()), f"{spec} returns numbers that are not finite"


def returns_what_all_clusters_agree_on(spec: Spec) -> None:
    """Where all cluster means are the same, that is the result."""
    for means, sizes, tolerate in _cases(spec):
        agreed = means[0].expand_as(means).contiguous()
        result = _rule(spec)(agreed, sizes, tolerate)
        # A sum of m equal numbers is off by at most m - 1 roundings, and m times an ulp is below this tolerance.
        assert _close(result, means[0]), f"{spec} returns {result}, but all clusters say {means[0]}"


def leaves_its_inputs_alone_and_repeats_itself(spec: Spec) -> None:
    """Equal inputs give equal results, and the inputs are the same after the call as before it."""
    for means, sizes, tolerate in _cases(spec):
        given, given_sizes = means.clone(), sizes.clone()
        first = _rule(spec)(given, given_sizes, tolerate).clone()
        assert torch.equal(given, means), f"{spec} changes the cluster means"
        assert torch.equal(given_sizes, sizes), f"{spec} changes the sizes"
        assert torch.equal(first, _rule(spec)(given, given_sizes, tolerate)), f"{spec} differs between equal inputs"


def does_not_depend_on_the_order_of_the_clusters(spec: Spec) -> None:
    """Clusters in another order, each with its size, give the same result, also with equal clusters among them.

    A rule that selects one of the rows may find several equally good: the lowest cluster number then counts.
    """
    for means, sizes, tolerate in _cases(spec):
        m = means.shape[0]
        twins = means.clone()
        twins[m // 2] = twins[0]
        for points in (means, twins):
            orders = _orders(m)
            results = [_rule(spec)(points[order], sizes[order], tolerate) for order in orders]
            tied = _selected(points, results)
            for order, result in zip(orders, results, strict=True):
                expected = points[next(int(i) for i in order if int(i) in tied)] if tied else results[0]
                assert _close(result, expected), f"{spec} depends on the order of the clusters, m = {m}"


def _orders(m: int) -> list[Tensor]:
    """Return orders of m clusters in which each cluster comes first once, and some random ones."""
    turned = [torch.arange(m).roll(k) for k in range(m)]
    return turned + [torch.from_numpy(public_stream(k, "order", m).permutation(m)) for k in range(4)]


def _selected(points: Tensor, results: list[Tensor]) -> set[int]:
    """Return the rows that a selecting rule chose, unless it chose others than rows, or every row that there is."""
    rows: set[int] = set()
    for result in results:
        same = [int(row) for row in (points == result).all(dim=1).nonzero().flatten()]
        if not same:
            return set()
        rows.update(same)
    return rows if len(rows) < points.shape[0] else set()


def moves_with_a_shift_of_all_clusters(spec: Spec) -> None:
    """Adding a vector to all cluster means adds it to the result."""
    for means, sizes, tolerate in _cases(spec):
        shift = torch.linspace(-10.0, 10.0, means.shape[1], dtype=torch.float64)
        expected = _rule(spec)(means, sizes, tolerate) + shift
        assert _close(_rule(spec)(means + shift, sizes, tolerate), expected), f"{spec} does not move with a shift"


def grows_with_a_scaling_of_all_clusters(spec: Spec) -> None:
    """Multiplying all cluster means by a positive number multiplies the result by it.

    A rule may smooth or stop at a fixed small length, so it may be off by a hundredth of the spread; a rule with a
    fixed length of the order of the spread, such as a clipping radius, is off by much more at one of the factors.
    """
    for means, sizes, tolerate in _cases(spec):
        expected = _rule(spec)(means, sizes, tolerate)
        for factor in (0.125, 8.0):
            result = _rule(spec)(means * factor, sizes, tolerate)
            assert float((result / factor - expected).abs().max()) <= 0.01, (
                f"{spec} does not grow with a scaling by {factor}"
            )


def is_not_carried_away_by_tainted_clusters(spec: Spec) -> None:
    """With `tolerate` clusters moved far away together, the result stays near the honest ones, however far it is.

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
    rule = _rule(spec)
    for m, d in ((3, 2), (5, 3), (7, 2), (8, 4), (11, 2)):
        for tolerate in range(1, rule.breakdown(m) + 1):
            means, sizes = make_points(m, d)
            honest = means[tolerate:]
            centre = honest.mean(dim=0)
            radius = float((honest - centre).square().sum(dim=1).max().sqrt())
            tainted = means.clone()
            tainted[:tolerate] = torch.tensor(distances(tolerate), dtype=torch.float64)[:, None]
            found = float((rule(tainted, sizes, tolerate) - centre).square().sum().sqrt())
            allowed = m * math.sqrt(d) * radius
            assert found <= allowed, (
                f"{spec} is carried {found:.3g} away by {tolerate} of {m} clusters at {distances(tolerate)}; "
                f"allowed: {allowed:.3g}"
            )


def refuses_numbers_that_are_not_finite(spec: Spec) -> None:
    """NaN and infinities are refused wherever they are, and so is another type than float64."""
    for means, sizes, tolerate in _cases(spec):
        for bad in (math.nan, math.inf, -math.inf):
            for row in {0, means.shape[0] - 1}:
                poisoned = means.clone()
                poisoned[row, -1] = bad
                said = refusal(lambda p=poisoned, s=sizes, t=tolerate: _rule(spec)(p, s, t))
                assert said is not None, f"{spec} accepts {bad} from cluster {row} of {means.shape[0]}"
        single = means.float()
        said = refusal(lambda p=single, s=sizes, t=tolerate: _rule(spec)(p, s, t))
        assert said is not None, f"{spec} accepts torch.float32; allowed: torch.float64"


def refuses_more_tainted_clusters_than_it_withstands(spec: Spec) -> None:
    """A `tolerate` below zero or beyond breakdown(m) is refused."""
    rule = _rule(spec)
    for m in (1, 2, 3, 4, 7, 8):
        means, sizes = make_points(m, 3)
        most = rule.breakdown(m)
        for tolerate in (-1, most + 1, m):
            said = refusal(lambda p=means, s=sizes, t=tolerate: rule(p, s, t))
            assert said is not None, f"{spec} accepts tolerate = {tolerate} of {m} clusters; allowed: 0 to {most}"


def changes_by_no_more_than_its_sensitivity(spec: Spec) -> None:
    """Where a sensitivity is declared, no change of one cluster's sum by a vector of norm 1 moves the result more.

    Rows far apart let one row's change through whole, random rows mix them; a change along one axis and along
    all of them is tried for every row. Numbers are below 2 * 10^2, so rounding is below 1e-13 and within 1e-9.
    """
    rule = _rule(spec)
    for means, sizes, tolerate in _cases(spec):
        bound = rule.sensitivity(sizes, tolerate)
        if bound is None:
            continue
        m, d = means.shape
        apart = means + 10.0 * torch.arange(m, dtype=torch.float64)[:, None]
        axis = torch.zeros(d, dtype=torch.float64)
        axis[0] = 1.0
        changes = [sign * v for v in (axis, torch.full_like(axis, d**-0.5)) for sign in (1.0, -1.0)]
        for points in (means, apart):
            before = rule(points, sizes, tolerate)
            for j in range(m):
                for change in changes:
                    after = points.clone()
                    after[j] += change / int(sizes[j])
                    moved = float((rule(after, sizes, tolerate) - before).square().sum().sqrt())
                    assert moved <= bound * (1 + 1e-9), f"{spec} moves by {moved}; its sensitivity is {bound}"


def stays_within_its_coefficient(spec: Spec) -> None:
    """Whatever `tolerate` clusters send, the result is within its coefficient of the others' average.

    Tried: one point far away or near, in each direction of the spread, behind the average, copies of an honest one,
    and none at all; honest means that are random, nearly alike but for one, and in two camps.
    """
    rule = _rule(spec)
    for m, d in ((3, 2), (4, 1), (5, 3), (8, 4), (11, 2)):
        for tolerate in range(rule.breakdown(m) + 1):
            means, sizes = make_points(m, d)
            lone = 1e-3 * means
            lone[-1] += 1.0
            camps = means + 10.0 * (torch.arange(m) % 2)[:, None]
            for points in (means, lone, camps):
                honest = points[tolerate:]
                for attack in _sent_by_tainted(honest, tolerate):
                    result = rule(torch.cat([attack, honest]), sizes, tolerate)
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
