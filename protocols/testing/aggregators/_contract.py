"""Checks of a rule's contract: what it says of itself, shapes and types, and what it refuses."""

import math

import torch

from protocols.aggregators import Given, Selecting, aggregators, bound_of, needs_of, unanimous
from protocols.registry import Spec
from protocols.testing import check_documented, refusal
from protocols.testing.aggregators._points import cases_of, close, make_given, make_points, result_of, rule_of
from protocols.testing.elsewhere import TwoDevicesError, back, elsewhere, moved

__all__ = [
    "computes_in_float32_what_it_does_in_float64",
    "is_a_documented_frozen_dataclass",
    "leaves_its_inputs_alone_and_repeats_itself",
    "names_the_theorem_behind_its_coefficient",
    "refuses_more_tainted_clusters_than_it_withstands",
    "refuses_to_do_without_what_it_needs",
    "refuses_what_is_no_rows_of_numbers",
    "returns_one_finite_number_per_coordinate",
    "returns_what_all_clusters_agree_on",
    "says_whom_it_excludes",
    "treats_each_cell_of_a_batch_alone",
    "withstands_fewer_than_half_of_the_clusters",
    "works_where_its_means_are",
]

# In float32: numbers below 20 and at most 50 roundings of 2^-24 each.
_SINGLE_TOLERANCE = 1e-4


def is_a_documented_frozen_dataclass(spec: Spec) -> None:
    """The plug-in is a frozen dataclass with a summary, a source and a default for each parameter."""
    check_documented(aggregators, spec)


def names_the_theorem_behind_its_coefficient(spec: Spec) -> None:
    """A rule that promises a finite coefficient says in its facts whose theorem it is."""
    rule = rule_of(spec)
    finite = any(math.isfinite(rule.coefficient(sizes, tolerate)) for _, sizes, tolerate in cases_of(spec))
    assert bound_of(aggregators.entry(spec.name)) or not finite, f"{spec} names no theorem: facts={{'bound': ...}}"


def withstands_fewer_than_half_of_the_clusters(spec: Spec) -> None:
    """No rule can withstand half of the clusters, and more clusters never withstand less."""
    found = [rule_of(spec).breakdown(m) for m in range(1, 33)]
    for m, most in enumerate(found, start=1):
        assert isinstance(most, int), f"{spec} withstands {most!r} of {m} clusters; allowed: an integer"
        assert -1 <= most < m / 2, f"{spec} says that it withstands {most} of {m} clusters; allowed: -1 to below half"
    assert found == sorted(found), f"{spec} withstands fewer of more clusters: {found}"


def returns_one_finite_number_per_coordinate(spec: Spec) -> None:
    """The result has shape (d,) and the type of the means, and is finite on finite inputs."""
    for means, sizes, tolerate in cases_of(spec):
        for points in (means, means.float()):
            result = result_of(rule_of(spec), points, sizes, tolerate)
            d = means.shape[1]
            assert result.shape == (d,), f"{spec} returns shape {tuple(result.shape)}; allowed: {(d,)}"
            assert result.dtype == points.dtype, f"{spec} returns {result.dtype}; allowed: {points.dtype}"
            assert bool(torch.isfinite(result).all()), f"{spec} returns numbers that are not finite"


def returns_what_all_clusters_agree_on(spec: Spec) -> None:
    """Where all cluster means are the same, that is the result, unless the rule says that it may be another."""
    if not unanimous(aggregators.entry(spec.name)):
        return
    for means, sizes, tolerate in cases_of(spec):
        agreed = means[0].expand_as(means).contiguous()
        result = result_of(rule_of(spec), agreed, sizes, tolerate)
        # A sum of m equal numbers is off by at most m - 1 roundings, and m times an ulp is below this tolerance.
        assert close(result, means[0]), f"{spec} returns {result}, but all clusters say {means[0]}"


def leaves_its_inputs_alone_and_repeats_itself(spec: Spec) -> None:
    """Equal inputs give equal results, and the inputs are the same after the call as before it."""
    for means, sizes, tolerate in cases_of(spec):
        given, given_sizes = means.clone(), sizes.clone()
        first = result_of(rule_of(spec), given, given_sizes, tolerate).clone()
        assert torch.equal(given, means), f"{spec} changes the cluster means"
        assert torch.equal(given_sizes, sizes), f"{spec} changes the sizes"
        second = result_of(rule_of(spec), given, given_sizes, tolerate)
        assert torch.equal(first, second), f"{spec} differs between equal inputs"


def computes_in_float32_what_it_does_in_float64(spec: Spec) -> None:
    """The result for float32 means is that for the same numbers in float64, but for rounding."""
    for means, sizes, tolerate in cases_of(spec):
        single = means.float()
        exact = result_of(rule_of(spec), single.double(), sizes, tolerate)
        off = float((result_of(rule_of(spec), single, sizes, tolerate).double() - exact).abs().max())
        assert off <= _SINGLE_TOLERANCE, f"{spec} is off by {off:.3g} in float32"


def treats_each_cell_of_a_batch_alone(spec: Spec) -> None:
    """For (cells, m, d) the result is (cells, d), each row that of its cell, also where cells lost different rows.

    Everything that is given is the same for all cells, as in a call.
    """
    rule = rule_of(spec)
    for means, sizes, tolerate in cases_of(spec):
        batch = torch.stack([means, 2.0 * means - 1.0, means.flip(0), means.flip(0)])
        if tolerate:
            batch[2, 0], batch[3, -1] = math.nan, math.inf
        found = rule(batch, sizes, tolerate, make_given(means))
        assert found.shape == (4, means.shape[1]), f"{spec} returns shape {tuple(found.shape)} for 4 cells"
        for cell, result in zip(batch, found, strict=True):
            assert close(rule(cell, sizes, tolerate, make_given(means)), result), f"{spec} mixes the cells of a batch"


def works_where_its_means_are(spec: Spec) -> None:
    """Means on another device than the processor's are combined there, to the same result; so are those of a batch.

    What is given stays on the processor, and so do the sizes, as a server has them.
    """
    rule = rule_of(spec)
    for m, d, dtype in ((7, 3, torch.float64), (8, 11, torch.float32)):
        means, sizes = make_points(m, d)
        means, tolerate, given = means.to(dtype), max(0, rule.breakdown(m)), make_given(means)
        batch = torch.stack([means, means.flip(0)])
        if tolerate:
            batch[1, 0, 0] = math.nan
        try:
            with elsewhere():
                found = back(rule(moved(batch), sizes, tolerate, given))
                out = rule.excluded(moved(means), sizes, tolerate, given) if isinstance(rule, Selecting) else None
                mask = None if out is None else back(out)
        except TwoDevicesError as error:
            raise AssertionError(f"{spec} does not stay on the device of its means: {error}") from error
        off = float((found.double() - rule(batch, sizes, tolerate, given).double()).abs().max())
        assert off <= _SINGLE_TOLERANCE, f"{spec} is off by {off:.3g} on another device"
        if isinstance(rule, Selecting) and mask is not None:
            here = rule.excluded(means, sizes, tolerate, given)
            assert torch.equal(mask, here), f"{spec} excludes {mask} on another device, and {here} on the processor"


def refuses_what_is_no_rows_of_numbers(spec: Spec) -> None:
    """Another shape or type of the means, and sizes that do not fit them, are refused."""
    rule = rule_of(spec)
    means, sizes = make_points(4, 3)
    wrong = [(means[0], sizes), (means[None, None], sizes), (means[:0], sizes[:0]), (means.half(), sizes)]
    wrong += [(means.long(), sizes), (means, sizes[:3]), (means, sizes.double()), (means, sizes[None])]
    for points, count in wrong:
        said = refusal(lambda p=points, s=count: rule(p, s, 0, make_given(means)))
        assert said is not None, f"{spec} accepts means {points.dtype} {tuple(points.shape)}, sizes {count.dtype}"


def refuses_more_tainted_clusters_than_it_withstands(spec: Spec) -> None:
    """A `tolerate` below zero or beyond breakdown(m) is refused."""
    rule = rule_of(spec)
    for m in (1, 2, 3, 4, 7, 8):
        means, sizes = make_points(m, 3)
        most, given = rule.breakdown(m), make_given(means)
        for tolerate in (-1, most + 1, m):
            said = refusal(lambda p=means, s=sizes, t=tolerate, g=given: rule(p, s, t, g))
            assert said is not None, f"{spec} accepts tolerate = {tolerate} of {m} clusters; allowed: 0 to {most}"


def refuses_to_do_without_what_it_needs(spec: Spec) -> None:
    """Each field of Given that the rule says it needs is missed, by its name, and nothing else is."""
    rule, needs = rule_of(spec), needs_of(aggregators.entry(spec.name))
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
    rule = rule_of(spec)
    if not isinstance(rule, Selecting):
        return
    for means, sizes, tolerate in cases_of(spec):
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
