"""The report on the systems under test: what is committed is what the scripts and the page make."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from protocols.check import CloisterError
from protocols.registry import Spec
from protocols.testing.invariants import Effort, Invariant, effort_named
from protocols.testing.suite import Result, claims_of
from tests.systems import report
from tests.systems.crypten_own_tests import NOT_APPLICABLE, Ended
from tests.systems.under_test import SYSTEMS
from tests.systems.verdicts import COUNTEREXAMPLES, Verdict, installed

COMMITTED = Path(__file__).parents[2] / "reports" / "systems"


def found() -> dict[str, Any]:
    return json.loads((COMMITTED / "systems.json").read_text("utf-8"))


class TestCommitted:
    def test_the_page_is_made_of_the_json_beside_it(self) -> None:
        assert (COMMITTED / "systems.html").read_text("utf-8") == report.page(found())

    def test_it_has_every_script_as_it_stands_with_the_verdict_that_a_test_expects(self) -> None:
        rows = found()["counterexamples"]
        assert [(row["name"], row["title"], row["claim"], row["word"]) for row in rows] == [
            (each.name, each.title, each.claim, each.expected) for each in COUNTEREXAMPLES
        ]
        assert all((COMMITTED / row["link"]).is_file() for row in rows)

    def test_it_has_every_system_in_the_version_that_is_tested(self) -> None:
        assert [system["name"] for system in found()["systems"]] == list(SYSTEMS)
        for package, version in found()["versions"].items():
            assert installed(package) in {None, version}

    def test_nothing_is_violated_that_is_not_known_to_be(self) -> None:
        statuses = {each["status"] for system in found()["systems"] for row in system["rows"] for each in row["found"]}
        assert statuses <= {"holds", "violated as documented", "not applicable"}

    def test_crypten_s_own_tests_all_ended_well(self) -> None:
        own = found()["own_tests"]
        assert own["failed"] == []
        assert own["counts"]["failed"] == 0
        assert own["counts"]["passed"] > 40
        assert {test.partition(".")[2] for test in own["left"]} == set(NOT_APPLICABLE)

    def test_it_says_whose_codec_is_judged_and_which_scripts_show_what_is_no_row(self) -> None:
        (stock,) = (system for system in found()["systems"] if system["name"] == "additive_stock")
        assert stock["scope"] == report._OURS
        of_crypten = {each.name for each in COUNTEREXAMPLES if each.package == "crypten"}
        named = set(re.findall(r"crypten_\w+", stock["scope"]))
        assert named <= of_crypten
        assert {each for each in of_crypten if "provider" in each or "replicated" in each} <= named

    def test_it_is_one_file_without_outside_resources_for_light_and_dark(self) -> None:
        page = (COMMITTED / "systems.html").read_text("utf-8")
        assert "prefers-color-scheme: dark" in page
        assert not any(word in page for word in ("<script", "src=", 'http-equiv="refresh', "@import", "url("))


class TestRows:
    def test_a_test_of_crypten_s_that_failed_is_named(self) -> None:
        ended = [Ended(test="A.a", status="passed"), Ended(test="A.b", status="failed", text="trace")]
        found = report.own_tests([*ended, Ended(test="A.c", status="not applicable", text="why")])
        assert found["counts"] == {"passed": 1, "failed": 1, "not applicable": 1}
        assert (found["failed"], found["left"]) == (["A.b"], {"A.c": "why"})

    def test_a_system_that_claims_a_part_has_rows_of_that_part(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def examined(spec: Spec, invariant: Invariant, effort: Effort) -> Result:
            status = "holds" if invariant.name in (claims_of(spec) or {}) else "not applicable"
            return Result(protocol=str(spec), invariant=invariant.name, status=status, text=f"{status} here")

        monkeypatch.setattr(report, "examine", examined)
        row = report.system_row("mpyc_shamir", effort_named("dev"))
        assert {each["invariant"] for each in row["rows"]} == set(row["claims"])
        assert all(each["claim"] for each in row["rows"])
        assert row["scope"].startswith("MPyC claims nothing against members that lie")
        assert row["left"] == "not applicable here"

    def test_results_that_are_the_same_are_one(self) -> None:
        def result(text: str) -> Result:
            return Result(protocol="", invariant="I1", status="holds", text=text)

        specs = [Spec(name="a", parameters=(("bits", bits), ("same", 1))) for bits in (1, 2, 3)]
        merged = report._merged(specs, [result("yes"), result(f"{specs[1]}: yes"), result("no")])
        assert [(each["parameters"], each["text"]) for each in merged] == [("bits=1; bits=2", "yes"), ("bits=3", "no")]

    def test_a_script_that_broke_is_an_error_and_no_row(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        broken = {each.name: Verdict(word="broke", text="no such module") for each in COUNTEREXAMPLES}
        monkeypatch.setattr(report, "run_together", lambda package: broken)
        with pytest.raises(CloisterError, match="broke: no such module"):
            list(report.counterexample_rows(tmp_path))

    def test_a_system_that_is_not_installed_is_named(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(report, "installed", lambda package: None if package == "flwr" else "1")
        with pytest.raises(CloisterError, match=r"flwr is not installed; allowed: pip install 'cloister\[systems\]'"):
            report.main([str(tmp_path)])
