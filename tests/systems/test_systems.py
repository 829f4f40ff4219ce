"""The whole suite against systems that nobody here wrote: they keep what their authors claim, or are known not to."""

import importlib
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest

from protocols.check import CloisterError
from protocols.registry import Spec
from protocols.secure_sum import secure_sums
from protocols.testing import examples_of, suite
from protocols.testing.invariants import PROTOCOL, Invariant
from protocols.testing.suite import ConformanceCheck, default_effort, effort_named, examine
from tests.systems.under_test import SYSTEMS, on_the_bench
from tests.systems.verdicts import installed

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
# MPyC adds number by number: a quarter of the samples has the day's time.
EFFORT = default_effort() if NIGHTLY else replace(effort_named("dev"), samples=2**12)
DEV = effort_named("dev")
# Stock CrypTen is a registered protocol: tests/properties/test_invariants.py runs the suite against it.
ADAPTED = [name for name, system in SYSTEMS.items() if system.adapter is not None]
BY_NAME = {invariant.name: invariant for invariant in PROTOCOL}


def need(name: str) -> None:
    package = SYSTEMS[name].package
    if installed(package) is None:
        pytest.skip(f"{package} is not installed: pip install 'cloister[systems]'")


def specs_of(name: str) -> list[Spec]:
    """All examples that the day has time for: MPyC's other threshold waits for the night."""
    specs = [spec for spec in examples_of(secure_sums) if spec.name == name]
    return specs if NIGHTLY or name != "mpyc_shamir" else specs[:1]


@pytest.mark.parametrize("invariant", PROTOCOL, ids=lambda each: each.name)
@pytest.mark.parametrize("name", ADAPTED)
def test_a_system_keeps_what_is_claimed_of_it_or_is_known_not_to(name: str, invariant: Invariant) -> None:
    need(name)
    with on_the_bench(name):
        for spec in specs_of(name):
            result = ConformanceCheck(spec=spec, invariant=invariant, effort=EFFORT)()
            assert result.status in {"holds", "violated as documented", "not applicable"}


@pytest.mark.parametrize("name", ADAPTED)
def test_every_claim_says_what_is_claimed_and_where(name: str) -> None:
    need(name)
    with on_the_bench(name):
        assert secure_sums.entry(name).facts["scope"]
        for spec in specs_of(name):
            claims = suite.claims_of(spec)
            assert claims
            assert all(":" in claim or "," in claim for claim in claims.values())


@pytest.mark.parametrize("name", ADAPTED)
def test_a_system_leaves_the_bench_as_it_was(name: str) -> None:
    need(name)
    before = set(secure_sums.entries())
    with on_the_bench(name):
        assert set(secure_sums.entries()) == {*before, name}
    assert set(secure_sums.entries()) == before


class TestClaims:
    """A registration with `claims` is judged on these alone."""

    def with_facts(self, **facts: Any) -> Any:
        entry = secure_sums.entry("plaintext")
        changed = type(entry)(
            name=entry.name, factory=entry.factory, source=entry.source, facts=facts, examples=entry.examples
        )
        return mock.patch.dict(secure_sums._entries, {"plaintext": changed})

    def test_what_is_not_claimed_does_not_apply_and_the_scope_says_why(self) -> None:
        with self.with_facts(claims={"I1": "a sum: its README"}, scope="it says nothing of crashes"):
            result = examine(secure_sums.resolve("plaintext"), BY_NAME["I5"], DEV)
        assert result.status == "not applicable"
        assert result.text == "its authors do not claim it; it says nothing of crashes"

    def test_what_is_claimed_is_checked(self) -> None:
        with self.with_facts(claims={"I1": "a sum: its README"}):
            assert examine(secure_sums.resolve("plaintext"), BY_NAME["I1"], DEV).status == "holds"

    def test_a_violation_of_what_nobody_claims_is_refused(self) -> None:
        with (
            self.with_facts(claims={"I1": "a sum: its README"}, violates={"I5": "it counts wrong"}),
            pytest.raises(CloisterError, match="I5 is in `violates` and not in `claims`"),
        ):
            examine(secure_sums.resolve("plaintext"), BY_NAME["I5"], DEV)

    @pytest.mark.parametrize("fact", ["claims", "checks", "violates"])
    def test_an_invariant_that_does_not_exist_is_refused(self, fact: str) -> None:
        with self.with_facts(**{fact: {"I99": "no such thing"}}), pytest.raises(CloisterError, match=f"{fact} = 'I99'"):
            examine(secure_sums.resolve("plaintext"), BY_NAME["I1"], DEV)

    def test_a_check_of_its_own_replaces_the_suites(self) -> None:
        def violated(spec: Spec, effort: object) -> Any:
            raise suite.Violation("seen inside", replay="again")

        with self.with_facts(checks={"I1": violated}):
            result = examine(secure_sums.resolve("plaintext"), BY_NAME["I1"], DEV)
        assert (result.status, result.text) == ("violated", "seen inside")


class TestPlantedBugsInMpyc:
    """The suite sees a bug that is put into the system itself, not only into what drives it."""

    def status(self, number: int) -> str:
        with on_the_bench("mpyc_shamir"):
            return examine(secure_sums.resolve("mpyc_shamir"), BY_NAME[f"I{number}"], DEV).status

    def plant(self, monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], Any]) -> None:
        with on_the_bench("mpyc_shamir"):
            thresha = importlib.import_module("mpyc.thresha")
        monkeypatch.setattr(thresha, "random_split", change(thresha.random_split))

    def test_a_polynomial_of_too_low_a_degree_is_no_secret(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plant(monkeypatch, lambda split: lambda field, secrets, t, m: split(field, secrets, t - 1, m))
        assert self.status(12) == "violated"

    def test_shares_of_other_secrets_are_no_sum(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plant(monkeypatch, lambda split: lambda field, secrets, t, m: split(field, [s + 1 for s in secrets], t, m))
        assert self.status(1) == "violated"
        assert self.status(8) == "violated"


class TestPlantedMendingsOfFlwr:
    """A defect that is mended is reported, so that the report never blames a version for what it does not do."""

    def status(self, number: int, **parameters: object) -> str:
        spec = secure_sums.resolve({"name": "flwr_secaggplus", **parameters})
        return examine(spec, BY_NAME[f"I{number}"], DEV).status

    def test_a_client_that_refuses_to_answer_for_both_lists(self, monkeypatch: pytest.MonkeyPatch) -> None:
        need("flwr_secaggplus")

        def refuse(state: object, configs: object) -> object:
            raise ValueError("a node is on both lists")

        with on_the_bench("flwr_secaggplus"):
            assert self.status(19) == "violated as documented"
            client = importlib.import_module("tests.systems.adapters._flwr").client
            monkeypatch.setattr(client, "_unmask", refuse)
            assert self.status(19) == "violated"

    def test_seeds_of_which_all_bits_count(self, monkeypatch: pytest.MonkeyPatch) -> None:
        need("flwr_secaggplus")
        with on_the_bench("flwr_secaggplus"):
            checks = importlib.import_module("tests.systems.adapters._flwr_checks")
            plain = checks.pseudo_rand_gen
            monkeypatch.setattr(checks, "pseudo_rand_gen", lambda seed, *rest: plain(seed[:4], *rest))
            assert self.status(15) == "violated"
