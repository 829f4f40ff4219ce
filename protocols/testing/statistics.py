"""The verification suite for robust statistics: the invariants of protocols that say something of them, and why not.

In a test file of your own:

    from protocols.testing.statistics import statistic_checks

    @pytest.mark.parametrize("check", statistic_checks("my_statistic"), ids=str)
    def test_my_statistic(check): check()

From a shell: `python -m protocols.testing.statistics median I1 I44`. Results go into the same report as those of sums.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from protocols import check
from protocols.registry import Spec
from protocols.secure_robust import robust_statistics
from protocols.testing.invariants import EFFORTS, PROTOCOL, Effort, Invariant, NotApplicable, Violation, effort_named
from protocols.testing.invariants.statistics import CHECKS, REASONS
from protocols.testing.suite import Result, default_effort, record

__all__ = ["StatisticCheck", "examine_statistic", "main", "statistic_checks"]


def examine_statistic(spec: Spec, invariant: Invariant, effort: Effort) -> Result:
    """Return what one invariant says about a statistic."""
    text = str(spec)
    if invariant.number not in CHECKS:
        reason = REASONS[invariant.number]
        return Result(protocol=text, invariant=invariant.name, status="not applicable", text=reason)
    try:
        found = CHECKS[invariant.number](spec, effort)
    except Violation as error:
        return Result(protocol=text, invariant=invariant.name, status="violated", text=error.text, replay=error.replay)
    if isinstance(found, NotApplicable):
        return Result(protocol=text, invariant=invariant.name, status="not applicable", text=found.reason)
    return Result(
        protocol=text, invariant=invariant.name, status="holds", how=found.how, cases=found.cases, text=found.text
    )


@dataclass(frozen=True, kw_only=True)
class StatisticCheck:
    """One invariant of one statistic, to be called in a test."""

    spec: Spec
    invariant: Invariant
    effort: Effort

    def __str__(self) -> str:
        return f"{self.invariant.name}-{self.spec}"

    def __call__(self) -> Result:
        """Return the result. Raises: Violation where it is violated."""
        result = examine_statistic(self.spec, self.invariant, self.effort)
        record(result)
        if result.status == "violated":
            raise Violation(result.text, replay=result.replay)
        return result


def statistic_checks(config: object, effort: Effort | None = None) -> list[StatisticCheck]:
    """Return every invariant of protocols for a statistic: of a name, a spec or {name = ..., parameter = ...}."""
    spec = config if isinstance(config, Spec) else robust_statistics.resolve(config)
    chosen = effort or default_effort()
    return [StatisticCheck(spec=spec, invariant=each, effort=chosen) for each in PROTOCOL]


def main(arguments: Sequence[str] | None = None) -> int:
    """Check a statistic; return 1 where something is violated."""
    parser = argparse.ArgumentParser(prog="protocols.testing.statistics", description="Verify a robust statistic.")
    parser.add_argument("statistic", help="a name, or a spec as JSON")
    parser.add_argument("invariants", nargs="*", help="I1, I2, ...; all by default")
    parser.add_argument("--effort", choices=list(EFFORTS), default=default_effort().name)
    given = parser.parse_args(arguments)
    for name in given.invariants:
        check.one_of([each.name for each in PROTOCOL], invariant=name)
    config = json.loads(given.statistic) if given.statistic.lstrip().startswith("{") else given.statistic
    spec, effort = robust_statistics.resolve(config), effort_named(given.effort)
    asked = [each for each in PROTOCOL if each.name in (given.invariants or [each.name])]
    results = [examine_statistic(spec, each, effort) for each in asked]
    for result in results:
        tail = f"\n    replay: {result.replay}" if result.replay else ""
        print(f"{result.invariant:4} {result.status:14} {result.how} {result.cases or ''} {result.text}{tail}")
    return int(any(result.status == "violated" for result in results))


if __name__ == "__main__":
    sys.exit(main())
