"""The conformance kit of privacy mechanisms."""

import math
from collections.abc import Iterator
from dataclasses import fields

from protocols.privacy import Mechanism, mechanisms
from protocols.registry import Spec
from protocols.testing import Check, check_documented, examples_of, refusal

__all__ = ["conformance_checks", "example_specs"]

_SENSITIVITIES = (None, 0.01, 0.2)
_N = 40
# Products and square roots of a few numbers are off by a few units in the last place.
_ROUNDING = 1e-12


def example_specs() -> list[Spec]:
    """Return every registered mechanism with its defaults and with each of its declared examples, without repeats."""
    return examples_of(mechanisms)


def conformance_checks(spec: Spec) -> list[Check]:  # noqa: ARG001
    """Return the checks that apply to the mechanism: all of them."""
    return [
        is_a_documented_frozen_dataclass,
        refuses_parameters_that_make_no_sense,
        states_a_delta_wherever_it_clips,
        adds_noise_of_finite_size,
        claims_no_more_protection_than_its_noise_gives,
        claims_no_less_protection_with_more_honest_members,
        scales_its_noise_with_the_clip_norm,
    ]


def _mechanism(spec: Spec) -> Mechanism:
    return mechanisms.make(spec)


def _with(spec: Spec, **changed: float) -> Mechanism:
    return mechanisms.make(mechanisms.resolve({**spec.as_config(), **changed}))


def _has(spec: Spec, parameter: str) -> bool:
    return parameter in dict(spec.parameters)


def _cases() -> Iterator[tuple[int, int, float | None]]:
    """Yield (cluster size, honest members, the rule's sensitivity)."""
    for cluster_size in (1, 2, 3, 5, 10):
        for honest in range(1, cluster_size + 1):
            for sensitivity in _SENSITIVITIES:
                yield cluster_size, honest, sensitivity


def is_a_documented_frozen_dataclass(spec: Spec) -> None:
    """The plug-in is a frozen dataclass with a summary, a source and a default for each parameter."""
    check_documented(mechanisms, spec)


def refuses_parameters_that_make_no_sense(spec: Spec) -> None:
    """Of the usual parameters, those that the mechanism has refuse what is not a norm, a multiplier or a delta."""
    never = (math.nan, math.inf, -1.0)
    bad = {"clip_norm": (0.0, *never), "noise_multiplier": never, "delta": (0.0, 1.0, *never)}
    known = {field.name for field in fields(mechanisms.entry(spec.name).factory)}
    for parameter in bad.keys() & known:
        for value in bad[parameter]:
            said = refusal(lambda p=parameter, v=value: _with(spec, **{p: v}))
            assert said is not None, f"{spec} accepts {parameter} = {value}"
            assert parameter in said, f"{spec} refuses {parameter} = {value} without naming it: {said}"


def states_a_delta_wherever_it_clips(spec: Spec) -> None:
    """A mechanism clips and states a delta, or does neither and adds no noise."""
    mechanism = _mechanism(spec)
    clip_norm, delta = mechanism.clip_norm, mechanism.delta
    assert (clip_norm is None) == (delta is None), f"{spec} has clip_norm = {clip_norm}, but delta = {delta}"
    if clip_norm is None or delta is None:
        noise = [mechanism.member_std(c) + mechanism.result_std(s, _N) for c, _, s in _cases()]
        assert not any(noise), f"{spec} adds noise to updates of any length, which protects nobody"
    else:
        assert 0 < clip_norm < math.inf, f"{spec} clips to {clip_norm}"
        assert 0 < delta < 1, f"{spec} states delta = {delta}"


def adds_noise_of_finite_size(spec: Spec) -> None:
    """Standard deviations are finite and not negative, for every cluster size and sensitivity."""
    mechanism = _mechanism(spec)
    for cluster_size, _, sensitivity in _cases():
        for std in (mechanism.member_std(cluster_size), mechanism.result_std(sensitivity, _N)):
            assert 0 <= std < math.inf, f"{spec} adds noise of std {std} to a cluster of {cluster_size}"


def claims_no_more_protection_than_its_noise_gives(spec: Spec) -> None:
    """The multiplier is at most what h honest shares in the sum and the noise on the result add up to.

    A process changes its cluster's sum by clip_norm at most, where h shares have std sqrt(h) member_std, and the
    result by sensitivity x clip_norm; 1 / z^2 of both adds up as for two Gaussian mechanisms seen together, so
    z^2 is at most the sum of both ratios squared. Without a sensitivity the noise on the result gives nothing.
    """
    mechanism = _mechanism(spec)
    clip_norm = mechanism.clip_norm
    for cluster_size, honest, sensitivity in _cases():
        claimed = mechanism.noise_multiplier_of(cluster_size, honest, sensitivity)
        if claimed is None:
            continue
        given = 0.0
        if clip_norm is not None:
            inside = mechanism.member_std(cluster_size) * math.sqrt(honest) / clip_norm
            after = mechanism.result_std(sensitivity, _N) / (sensitivity * clip_norm) if sensitivity else 0.0
            given = math.hypot(inside, after)
        assert 0 <= claimed <= given * (1 + _ROUNDING), (
            f"{spec} claims the multiplier {claimed} for {honest} honest of {cluster_size} members; "
            f"its noise gives {given}"
        )


def claims_no_less_protection_with_more_honest_members(spec: Spec) -> None:
    """The multiplier does not fall with the number of honest members, nor vanish for some of them."""
    mechanism = _mechanism(spec)
    for sensitivity in _SENSITIVITIES:
        claims = [mechanism.noise_multiplier_of(10, honest, sensitivity) for honest in range(1, 11)]
        supported = [claim for claim in claims if claim is not None]
        assert len(supported) in {0, 10}, f"{spec} is supported for some numbers of honest members only: {claims}"
        assert supported == sorted(supported), f"{spec} protects less with more honest members: {claims}"


def scales_its_noise_with_the_clip_norm(spec: Spec) -> None:
    """Twice the clip norm needs twice the noise and claims the same multiplier; no noise claims none."""
    if not (_has(spec, "clip_norm") and _has(spec, "noise_multiplier")):
        return
    mechanism = _mechanism(spec)
    clip_norm = mechanism.clip_norm
    assert clip_norm is not None, f"{spec} has a clip norm, but does not clip"
    double, silent = _with(spec, clip_norm=2.0 * clip_norm), _with(spec, noise_multiplier=0.0)
    for cluster_size, honest, sensitivity in _cases():
        for ours, theirs, none in (
            (mechanism.member_std(cluster_size), double.member_std(cluster_size), silent.member_std(cluster_size)),
            (
                mechanism.result_std(sensitivity, _N),
                double.result_std(sensitivity, _N),
                silent.result_std(sensitivity, _N),
            ),
        ):
            assert math.isclose(theirs, 2.0 * ours, rel_tol=_ROUNDING), f"{spec}: std {ours} at twice the norm {theirs}"
            assert none == 0, f"{spec} adds noise of std {none} with noise_multiplier = 0"
        same = [each.noise_multiplier_of(cluster_size, honest, sensitivity) for each in (mechanism, double)]
        assert same[0] == same[1], f"{spec} claims {same[0]}, but {same[1]} at twice the clip norm"
        assert not silent.noise_multiplier_of(cluster_size, honest, sensitivity), f"{spec} claims protection by nothing"
