"""The verification suite: every invariant against any registered protocol.

In a test file of your own:

    from protocols.testing.suite import conformance_checks

    @pytest.mark.parametrize("check", conformance_checks("my_package:MyProtocol"), ids=str)
    def test_my_protocol(check): check()

From a shell: `pytest --protocol my_package:MyProtocol`, or

    python -m protocols.testing.suite my_package:MyProtocol            every invariant
    python -m protocols.testing.suite '{"name": "additive"}' I12 I15   these, of one spec
    python -m protocols.testing.suite 'cloister-replay {...}'          one run again

A protocol of somebody else's is judged on what its authors say of it: the registration may give `claims` (invariant
-> what they say, and where), and every other invariant then does not apply; `scope` says what they leave out. It may
give `checks` (invariant -> check) for what the suite's own check cannot see inside, such as a generator.
"""

import argparse
import importlib
import json
import os
import sys
import traceback
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

from protocols import check
from protocols.check import CloisterError
from protocols.registry import Spec
from protocols.secure_sum import secure_sums
from protocols.testing import examples_of
from protocols.testing.commands import import_first, in_one_line
from protocols.testing.invariants import (
    EFFORTS,
    INVARIANTS,
    PROTOCOL,
    Check,
    Effort,
    Evidence,
    Invariant,
    NotApplicable,
    Violation,
    effort_named,
)
from protocols.testing.invariants.campaign import forget
from protocols.testing.invariants.runs import observe_pair, suite_line
from protocols.testing.scenarios import Scenario

__all__ = [
    "ConformanceCheck",
    "Result",
    "claims_of",
    "conformance_checks",
    "default_effort",
    "documented_violations",
    "main",
    "record",
    "recording",
    "specs_of",
    "verify",
]

Status = Literal["holds", "violated as documented", "violated", "not applicable", "pending"]


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one invariant says about one protocol.

    `text` is the evidence, the counterexample or the reason; `replay` shows a violation again.
    """

    protocol: str
    invariant: str
    status: Status
    text: str
    how: str = ""
    cases: int = 0
    replay: str = ""

    def as_json(self) -> str:
        """Return it as one line."""
        return json.dumps(asdict(self))


_recorders: list[list[Result]] = []


@contextmanager
def recording() -> Generator[list[Result], None, None]:
    """Collect every result that is found inside."""
    found: list[Result] = []
    _recorders.append(found)
    try:
        yield found
    finally:
        _recorders.remove(found)


def record(result: Result) -> None:
    """Add a result to what is being recorded, if anything is."""
    for found in _recorders:
        found.append(result)


def default_effort() -> Effort:
    """Return the effort that CLOISTER_EFFORT, else HYPOTHESIS_PROFILE, names: dev, ci (the default) or nightly."""
    name = os.environ.get("CLOISTER_EFFORT") or os.environ.get("HYPOTHESIS_PROFILE", "ci")
    return effort_named(name if name in EFFORTS or "CLOISTER_EFFORT" in os.environ else "ci")


def documented_violations(spec: Spec) -> Mapping[str, str]:
    """Return what the registration declares as `violates`: invariant -> why; it may depend on the parameters."""
    return cast(Mapping[str, str], _declared(spec, "violates") or {})


def claims_of(spec: Spec) -> Mapping[str, str] | None:
    """Return what the registration declares as `claims`: invariant -> what is said, and where; None: everything."""
    return cast(Mapping[str, str] | None, _declared(spec, "claims"))


def _declared(spec: Spec, fact: str) -> Mapping[str, Any] | None:
    """Return a fact that says something of invariants, of which each must exist; it may depend on the parameters."""
    declared: Any = secure_sums.entry(spec.name).facts.get(fact)
    found = cast(Mapping[str, Any] | None, declared(secure_sums.make(spec)) if callable(declared) else declared)
    for name in found or ():
        check.one_of([each.name for each in PROTOCOL], **{fact: name})
    return found


def examine(spec: Spec, invariant: Invariant, effort: Effort) -> Result:
    """Return what one invariant says about a spec."""
    text = str(spec)
    documented = documented_violations(spec).get(invariant.name)
    if invariant.check is None or not _is_claimed(spec, invariant, documented):
        return _not_judged(spec, invariant)
    checked = cast(Check, (_declared(spec, "checks") or {}).get(invariant.name, invariant.check))
    try:
        found = checked(spec, effort)
    except Violation as error:
        status: Status = "violated as documented" if documented else "violated"
        said = f"{documented} Shown by: {error.text}" if documented else error.text
        return Result(protocol=text, invariant=invariant.name, status=status, text=said, replay=error.replay)
    except Exception:  # whatever a protocol's mistake does to a check, the others go on
        broken = f"{spec}: the check broke: {traceback.format_exc(limit=-3)}"
        line = suite_line(spec, invariant.name)
        return Result(protocol=text, invariant=invariant.name, status="violated", text=broken, replay=line)
    if documented:
        return Result(
            protocol=text,
            invariant=invariant.name,
            status="violated",
            text=f"{spec} has been mended: the documented violation of {invariant.name} does not show: {documented}",
            replay="take it out of `violates` where the protocol is registered",
        )
    if isinstance(found, NotApplicable):
        return Result(protocol=text, invariant=invariant.name, status="not applicable", text=found.reason)
    return _holds(text, invariant, found)


def _is_claimed(spec: Spec, invariant: Invariant, documented: str | None) -> bool:
    claims = claims_of(spec)
    if claims is None or invariant.name in claims:
        return True
    if documented:
        raise CloisterError(
            f"{spec}: {invariant.name} is in `violates` and not in `claims`; allowed: violations of what is claimed"
        )
    return False


def _not_judged(spec: Spec, invariant: Invariant) -> Result:
    status: Status = "not applicable"
    if invariant.check is None:
        waits = bool(invariant.pending) and not invariant.tests
        status = "pending" if waits else status
        text = f"waits for issue {invariant.pending}" if waits else "it concerns other parts"
    else:
        scope = secure_sums.entry(spec.name).facts.get("scope")
        text = "; ".join(filter(None, ("its authors do not claim it", scope)))
    return Result(protocol=str(spec), invariant=invariant.name, status=status, text=text)


def _holds(text: str, invariant: Invariant, found: Evidence) -> Result:
    return Result(
        protocol=text, invariant=invariant.name, status="holds", how=found.how, cases=found.cases, text=found.text
    )


def verify(spec: Spec, effort: Effort | None = None) -> list[Result]:
    """Return what every invariant says about a spec; nothing is remembered from runs before."""
    forget()
    return [examine(spec, invariant, effort or default_effort()) for invariant in INVARIANTS]


@dataclass(frozen=True, kw_only=True)
class ConformanceCheck:
    """One invariant of one spec, to be called in a test."""

    spec: Spec
    invariant: Invariant
    effort: Effort

    @property
    def __name__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return f"{self.invariant.name}-{self.spec}"

    def __call__(self, spec: Spec | None = None) -> Result:
        """Return the result. Raises: Violation where it is violated and that is not documented."""
        result = examine(spec or self.spec, self.invariant, self.effort)
        record(result)
        if result.status == "violated":
            raise Violation(result.text, replay=result.replay)
        return result


def conformance_checks(protocol: "Spec | str", effort: Effort | None = None) -> list[ConformanceCheck]:
    """Return every invariant of a protocol: of a spec, or of all examples of `module:Class` or of a name."""
    specs = [protocol] if isinstance(protocol, Spec) else specs_of(protocol)
    chosen = effort or default_effort()
    return [ConformanceCheck(spec=spec, invariant=each, effort=chosen) for spec in specs for each in PROTOCOL]


def specs_of(text: str) -> list[Spec]:
    """Return the specs of a name (defaults and examples), of `module:Class`, or the one that JSON describes.

    Raises: CloisterError where there is no such protocol.
    """
    if text.lstrip().startswith("{"):
        return [secure_sums.resolve(json.loads(text))]
    name = _registered(text) if ":" in text else text
    secure_sums.entry(name)
    return [spec for spec in examples_of(secure_sums) if spec.name == name]


def _registered(text: str) -> str:
    """Return the name under which `module:attribute` is registered; the attribute is a class or a name."""
    module, _, attribute = text.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise CloisterError(
            f"protocol = {text!r} cannot be found: {error}; allowed: a registered name, or module:Class with the "
            f"module on Python's path"
        ) from None
    if isinstance(found, str):
        return found
    names = [name for name, entry in secure_sums.entries().items() if entry.factory is found]
    if not names:
        raise CloisterError(
            f"protocol = {text!r} is not registered; allowed: a dataclass under @secure_sums.register(source=...)"
        )
    return names[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """Check a protocol, or replay a line; return 1 where something is violated that is not documented."""
    parser = argparse.ArgumentParser(prog="protocols.testing.suite", description="Verify a protocol.")
    parser.add_argument("protocol", help="module:Class, a registered name, a spec as JSON, or a replay line")
    parser.add_argument("invariants", nargs="*", help="I1, I2, ...; all by default")
    parser.add_argument("--effort", choices=list(EFFORTS), default=default_effort().name)
    parser.add_argument("--import", dest="imported", action="append", default=[], help="a module to import first")
    given = parser.parse_args(arguments)
    import_first(given.imported)
    if given.protocol.startswith("cloister-replay"):
        pair = observe_pair(Scenario.parse(given.protocol))
        print(*map(_line_of, (pair.first, pair.second)), sep="\n")
        return 0
    known = {each.name: each for each in INVARIANTS}
    for name in given.invariants:
        check.one_of(known, invariant=name)
    chosen = [known[name] for name in given.invariants] or list(PROTOCOL)
    results = [examine(spec, each, effort_named(given.effort)) for spec in specs_of(given.protocol) for each in chosen]
    for result in results:
        tail = f"\n    replay: {result.replay}" if result.replay else ""
        print(f"{result.invariant:4} {result.status:22} {result.how} {result.cases or ''} {result.text}{tail}")
    return int(any(result.status == "violated" for result in results))


def _line_of(seen: Any) -> str:
    sums = None if seen.sums is None else seen.sums.tolist()
    offset = None if seen.offset is None else seen.offset.tolist()
    return f"{seen.kind} {seen.error} suspects {sorted(seen.suspects)} of {seen.contributors}: {sums}, off by {offset}"


if __name__ == "__main__":
    sys.exit(in_one_line(main))
