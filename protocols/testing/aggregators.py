"""The conformance kit of aggregators."""

import math
from collections.abc import Callable, Iterator
from itertools import product

import torch
from torch import Tensor

from protocols.aggregators import (
    LIMIT,
    Aggregator,
    Given,
    Selecting,
    aggregators,
    bound_of,
    equivariance_of,
    needs_of,
    unanimous,
    within_coefficient,
)
from protocols.randomness import public_stream
from protocols.registry import Spec
from protocols.testing import Check, check_documented, examples_of, refusal
from protocols.types import balanced_sizes

__all__ = ["HOSTILE", "conformance_checks", "example_specs", "make_given", "make_points", "searched_violation"]

# The points have a spread of about 1. Rounding alone is below 1e-12; a rule that iterates may stop a step earlier.
_TOLERANCE = 1e-6
_TYPES = (torch.float32, torch.float64)
# In float32: numbers below 20 and at most 50 roundings of 2^-24 each.
_SINGLE_TOLERANCE = 1e-4

# The search for a violation: turns, candidates that are kept in each, and how often each is changed in either way.
_GENERATIONS, _KEPT, _CHILDREN = 6, 3, 3

HOSTILE = (math.nan, math.inf, -math.inf, 1e30, -1e30, 1e-40, LIMIT, 1e300)
"""Numbers that every rule must survive: not finite, far too large (in range and beyond), and denormal in float32."""


def example_specs() -> list[Spec]:
    """Return every registered rule with its defaults and with each of its declared examples, without repeats."""
    return examples_of(aggregators)


def conformance_checks(spec: Spec) -> list[Check]:
    """Return the checks that apply to the rule; one without a sensitivity or a coefficient passes that check."""
    promised = equivariance_of(aggregators.entry(spec.name))
    shift = moves_with_a_shift_of_all_clusters if "translation" in promised else does_not_move_with_every_shift
    scale = grows_with_a_scaling_of_all_clusters if "scale" in promised else does_not_grow_with_every_scaling
    return [
        is_a_documented_frozen_dataclass,
        names_the_theorem_behind_its_coefficient,
        withstands_fewer_than_half_of_the_clusters,
        returns_one_finite_number_per_coordinate,
        returns_what_all_clusters_agree_on,
        leaves_its_inputs_alone_and_repeats_itself,
        computes_in_float32_what_it_does_in_float64,
        treats_each_cell_of_a_batch_alone,
        does_not_depend_on_the_order_of_the_clusters,
        shift,
        scale,
        is_not_carried_away_by_tainted_clusters,
        is_not_carried_away_by_tainted_clusters_at_many_distances,
        takes_rows_out_that_cannot_be_computed_with,
        refuses_more_such_rows_than_it_is_told_to_tolerate,
        survives_hostile_numbers,
        refuses_what_is_no_rows_of_numbers,
        refuses_more_tainted_clusters_than_it_withstands,
        refuses_to_do_without_what_it_needs,
        says_whom_it_excludes,
        changes_by_no_more_than_its_sensitivity,
        stays_within_its_coefficient,
        stays_within_its_coefficient_however_it_is_searched,
    ]


def make_points(m: int, d: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return random cluster means (m, d) float64 and the balanced sizes (m,) int64 of 3 m + 2 processes."""
    rng = public_stream(seed, "conformance", m, d)
    return torch.from_numpy(rng.normal(size=(m, d))), torch.tensor(balanced_sizes(3 * m + 2, 3))


def make_given(trusted: Tensor, history: Tensor | None = None) -> Given:
    """Return everything that a rule may be given, as if the rows (h, d) were known to be honest.

    The reference is their coordinate-wise median, the loss grows with the distance to it, as losses do in no
    proportion, and nothing was before.
    """
    reference = trusted.median(dim=0).values
    return Given(
        rng=public_stream(0, "conformance", "rule"),
        reference=reference,
        history=trusted if history is None else history,
        loss=lambda candidates: (candidates - reference).square().sum(dim=-1).log1p(),
    )


def _rule(spec: Spec) -> Aggregator:
    return aggregators.make(spec)


def _result(rule: Aggregator, means: Tensor, sizes: Tensor, tolerate: int) -> Tensor:
    """Return the rule's result for means that are all honest, or that it is given as if they were."""
    return rule(means, sizes, tolerate, make_given(means))


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


def names_the_theorem_behind_its_coefficient(spec: Spec) -> None:
    """A rule that promises a finite coefficient says in its facts whose theorem it is."""
    rule = _rule(spec)
    finite = any(math.isfinite(rule.coefficient(sizes, tolerate)) for _, sizes, tolerate in _cases(spec))
    assert bound_of(aggregators.entry(spec.name)) or not finite, f"{spec} names no theorem: facts={{'bound': ...}}"


def withstands_fewer_than_half_of_the_clusters(spec: Spec) -> None:
    """No rule can withstand half of the clusters, and more clusters never withstand less."""
    found = [_rule(spec).breakdown(m) for m in range(1, 33)]
    for m, most in enumerate(found, start=1):
        assert isinstance(most, int), f"{spec} withstands {most!r} of {m} clusters; allowed: an integer"
        assert -1 <= most < m / 2, f"{spec} says that it withstands {most} of {m} clusters; allowed: -1 to below half"
    assert found == sorted(found), f"{spec} withstands fewer of more clusters: {found}"


def returns_one_finite_number_per_coordinate(spec: Spec) -> None:
    """The result has shape (d,) and the type of the means, and is finite on finite inputs."""
    for means, sizes, tolerate in _cases(spec):
        for points in (means, means.float()):
            result = _result(_rule(spec), points, sizes, tolerate)
            d = means.shape[1]
            assert result.shape == (d,), f"{spec} returns shape {tuple(result.shape)}; allowed: {(d,)}"
            assert result.dtype == points.dtype, f"{spec} returns {result.dtype}; allowed: {points.dtype}"
            assert bool(torch.isfinite(result).all()), f"{spec} returns numbers that are not finite"


def returns_what_all_clusters_agree_on(spec: Spec) -> None:
    """Where all cluster means are the same, that is the result, unless the rule says that it may be another."""
    if not unanimous(aggregators.entry(spec.name)):
        return
    for means, sizes, tolerate in _cases(spec):
        agreed = means[0].expand_as(means).contiguous()
        result = _result(_rule(spec), agreed, sizes, tolerate)
        # A sum of m equal numbers is off by at most m - 1 roundings, and m times an ulp is below this tolerance.
        assert _close(result, means[0]), f"{spec} returns {result}, but all clusters say {means[0]}"


def leaves_its_inputs_alone_and_repeats_itself(spec: Spec) -> None:
    """Equal inputs give equal results, and the inputs are the same after the call as before it."""
    for means, sizes, tolerate in _cases(spec):
        given, given_sizes = means.clone(), sizes.clone()
        first = _result(_rule(spec), given, given_sizes, tolerate).clone()
        assert torch.equal(given, means), f"{spec} changes the cluster means"
        assert torch.equal(given_sizes, sizes), f"{spec} changes the sizes"
        second = _result(_rule(spec), given, given_sizes, tolerate)
        assert torch.equal(first, second), f"{spec} differs between equal inputs"


def computes_in_float32_what_it_does_in_float64(spec: Spec) -> None:
    """The result for float32 means is that for the same numbers in float64, but for rounding."""
    for means, sizes, tolerate in _cases(spec):
        single = means.float()
        exact = _result(_rule(spec), single.double(), sizes, tolerate)
        off = float((_result(_rule(spec), single, sizes, tolerate).double() - exact).abs().max())
        assert off <= _SINGLE_TOLERANCE, f"{spec} is off by {off:.3g} in float32"


def treats_each_cell_of_a_batch_alone(spec: Spec) -> None:
    """For (cells, m, d) the result is (cells, d), each row that of its cell, also where cells lost different rows.

    Everything that is given is the same for all cells, as in a call.
    """
    rule = _rule(spec)
    for means, sizes, tolerate in _cases(spec):
        batch = torch.stack([means, 2.0 * means - 1.0, means.flip(0), means.flip(0)])
        if tolerate:
            batch[2, 0], batch[3, -1] = math.nan, math.inf
        found = rule(batch, sizes, tolerate, make_given(means))
        assert found.shape == (4, means.shape[1]), f"{spec} returns shape {tuple(found.shape)} for 4 cells"
        for cell, result in zip(batch, found, strict=True):
            assert _close(rule(cell, sizes, tolerate, make_given(means)), result), f"{spec} mixes the cells of a batch"


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
            results = [_result(_rule(spec), points[order], sizes[order], tolerate) for order in orders]
            tied = _selected(points, results)
            for order, result in zip(orders, results, strict=True):
                expected = points[next(int(i) for i in order if int(i) in tied)] if tied else results[0]
                assert _close(result, expected), f"{spec} depends on the order of the clusters, m = {m}"


def _orders(m: int) -> list[Tensor]:
    """Return orders of m clusters in which each cluster comes first once, and some random ones."""
    turned = [torch.arange(m).roll(k) for k in range(m)]
    return turned + [torch.from_numpy(public_stream(k, "order", m).permutation(m)) for k in range(4)]


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
    for means, sizes, tolerate in _cases(spec):
        shift = torch.linspace(-10.0, 10.0, means.shape[1], dtype=torch.float64)
        expected = _result(_rule(spec), means, sizes, tolerate) + shift
        yield _close(_result(_rule(spec), means + shift, sizes, tolerate), expected)


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
    for means, sizes, tolerate in _cases(spec):
        expected = _result(_rule(spec), means, sizes, tolerate)
        for factor in (1e-9, 0.125, 8.0, 1e9):
            result = _result(_rule(spec), means * factor, sizes, tolerate)
            yield _close(result / factor, expected)


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
    rule = _rule(spec)
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
    rule = _rule(spec)
    for means, sizes, tolerate in _cases(spec):
        # In float32 2 * LIMIT is an infinity.
        for bad, dtype in product((math.nan, math.inf, -math.inf, 2 * LIMIT), _TYPES) if tolerate else ():
            rows = [0, means.shape[0] - 1][:tolerate]
            poisoned = means.clone()
            poisoned[rows, -1] = bad
            kept = torch.tensor([j for j in range(means.shape[0]) if j not in rows])
            poisoned, honest = poisoned.to(dtype), means[kept].to(dtype)
            left = rule(honest, sizes[kept], tolerate - len(rows), make_given(honest))
            result = rule(poisoned, sizes, tolerate, make_given(honest, history=means))
            assert _close(result, left), f"{spec} lets {bad} from clusters {rows} of {means.shape[0]} into the result"


def refuses_more_such_rows_than_it_is_told_to_tolerate(spec: Spec) -> None:
    """NaN and infinities in more rows than `tolerate` are refused, by the rows' numbers."""
    rule = _rule(spec)
    for means, sizes, tolerate in _cases(spec):
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
    rule = _rule(spec)
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


def refuses_what_is_no_rows_of_numbers(spec: Spec) -> None:
    """Another shape or type of the means, and sizes that do not fit them, are refused."""
    rule = _rule(spec)
    means, sizes = make_points(4, 3)
    wrong = [(means[0], sizes), (means[None, None], sizes), (means[:0], sizes[:0]), (means.half(), sizes)]
    wrong += [(means.long(), sizes), (means, sizes[:3]), (means, sizes.double()), (means, sizes[None])]
    for points, count in wrong:
        said = refusal(lambda p=points, s=count: rule(p, s, 0, make_given(means)))
        assert said is not None, f"{spec} accepts means {points.dtype} {tuple(points.shape)}, sizes {count.dtype}"


def refuses_more_tainted_clusters_than_it_withstands(spec: Spec) -> None:
    """A `tolerate` below zero or beyond breakdown(m) is refused."""
    rule = _rule(spec)
    for m in (1, 2, 3, 4, 7, 8):
        means, sizes = make_points(m, 3)
        most, given = rule.breakdown(m), make_given(means)
        for tolerate in (-1, most + 1, m):
            said = refusal(lambda p=means, s=sizes, t=tolerate, g=given: rule(p, s, t, g))
            assert said is not None, f"{spec} accepts tolerate = {tolerate} of {m} clusters; allowed: 0 to {most}"


def refuses_to_do_without_what_it_needs(spec: Spec) -> None:
    """Each field of Given that the rule says it needs is missed, by its name, and nothing else is."""
    rule, needs = _rule(spec), needs_of(aggregators.entry(spec.name))
    means, sizes = make_points(8, 3)
    tolerate = max(0, rule.breakdown(8) // 2)
    everything = make_given(means)
    for need in needs:
        without = Given(**{key: value for key, value in vars(everything).items() if key != need})
        said = refusal(lambda g=without: rule(means, sizes, tolerate, g))
        assert said is not None, f"{spec} needs {need}, and does without it"
        assert need in said, f"{spec} does not name {need}: {said}"
    alone = Given(**{key: value for key, value in vars(everything).items() if key in needs})
    assert bool(torch.isfinite(rule(means, sizes, tolerate, alone)).all()), f"{spec} needs more than it says"


def says_whom_it_excludes(spec: Spec) -> None:
    """A rule that leaves clusters out gives a mask of them, with the hostile ones in it, and never leaves out all."""
    rule = _rule(spec)
    if not isinstance(rule, Selecting):
        return
    for means, sizes, tolerate in _cases(spec):
        mask = rule.excluded(means, sizes, tolerate, make_given(means))
        assert mask.dtype == torch.bool, f"{spec} excludes {mask}; allowed: a mask"
        assert mask.shape == sizes.shape, f"{spec} excludes {mask}; allowed: a mask of shape {tuple(sizes.shape)}"
        assert not bool(mask.all()), f"{spec} excludes all {len(mask)} clusters"
        if tolerate:
            poisoned = means.clone()
            poisoned[0, 0] = math.nan
            found = rule.excluded(poisoned, sizes, tolerate, make_given(means[1:], history=means))
            assert bool(found[0]), f"{spec} does not exclude a row of NaN: {found}"
            assert not bool(found.all()), f"{spec} excludes all {len(found)} clusters because of one"


def changes_by_no_more_than_its_sensitivity(spec: Spec) -> None:
    """Where a sensitivity is declared, no change of one cluster's sum by a vector of norm 1 moves the result more.

    Rows far apart let one row's change through whole, random rows mix them; a change along one axis and along
    all of them is tried for every row, also where the largest clusters' rows are hostile and taken out. Numbers are
    below 2 * 10^2, so rounding is below 1e-13 and within 1e-9.
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
    rule = _rule(spec)
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
    rule = _rule(spec)
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
