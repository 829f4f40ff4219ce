"""Every counterexample says, against the version that is installed here, what the report says of it."""

import os
import re
from pathlib import Path

import pytest

from tests.systems import verdicts
from tests.systems.verdicts import COUNTEREXAMPLES, Counterexample, installed, run_alone, run_together

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
BY_NAME = {each.name: each for each in COUNTEREXAMPLES}
EVERY = pytest.mark.parametrize("each", COUNTEREXAMPLES, ids=lambda each: each.name)


@EVERY
@pytest.mark.xdist_group("counterexamples")
def test_says_what_the_report_says(each: Counterexample) -> None:
    version = installed(each.package)
    if version is None:
        pytest.skip(f"{each.package} is not installed: pip install 'cloister[systems]'")
    said = run_alone(each) if NIGHTLY else run_together(each.package)[each.name]
    assert said.word != "broke", said.text
    assert said.word == each.expected, f"{each.package} {version} has mended this ({each.title}): {said.text}"


@EVERY
def test_is_short_and_stands_alone(each: Counterexample) -> None:
    lines = each.path.read_text("utf-8").splitlines()
    assert len(lines) < 30
    assert not any(re.match(r"\s*(import|from) +(protocols|attacks|bench|tests)\b", line) for line in lines)
    assert {"holds", each.expected} <= set(
        re.findall("holds|violated|as documented", lines[-1] + lines[-2] + lines[-3])
    )


@EVERY
def test_says_in_one_sentence_what_it_shows_and_what_is_claimed(each: Counterexample) -> None:
    assert each.title.endswith(".") or each.title.endswith(").")
    assert "\n" not in each.title
    assert each.claim.endswith(".")
    assert each.expected in {"violated", "as documented", "holds"}


def scripted(tmp_path: Path, text: str) -> Counterexample:
    path = tmp_path / "json_script.py"
    path.write_text(text, "utf-8")
    return Counterexample(path=path, package="json", title="", claim="", expected="violated")


class TestRunning:
    def test_the_last_line_that_is_a_verdict_counts(self, tmp_path: Path) -> None:
        said = run_alone(scripted(tmp_path, "print('violated: first')\nprint('holds')\nprint('noise')"))
        assert (said.word, said.text) == ("holds", "")

    def test_a_script_that_fails_is_no_verdict(self, tmp_path: Path) -> None:
        said = run_alone(scripted(tmp_path, "raise ValueError('no such thing')"))
        assert said.word == "broke"
        assert "no such thing" in said.text

    def test_in_forks_scripts_do_not_see_each_other_and_failures_are_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        texts = {"one": "import json\njson.mark = 1\nprint('violated: marked')", "two": "1 / 0"}
        texts["three"] = "import json\nprint('holds' if not hasattr(json, 'mark') else 'violated')"
        for name, text in texts.items():
            (tmp_path / f"json_{name}.py").write_text(text, "utf-8")
        made = tuple(
            Counterexample(path=path, package="json", title="", claim="", expected="holds")
            for path in sorted(tmp_path.glob("json_[a-z]*.py"))
        )
        monkeypatch.setattr(verdicts, "COUNTEREXAMPLES", made)
        said = run_together("json")
        assert {name: verdict.word for name, verdict in said.items()} == {
            "json_one": "violated",
            "json_two": "broke",
            "json_three": "holds",
        }
        assert "ZeroDivisionError" in said["json_two"].text

    def test_one_that_hangs_is_ended(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(verdicts, "_DEADLINE_S", 0.2)
        with pytest.raises(verdicts.subprocess.TimeoutExpired):
            run_alone(scripted(tmp_path, "import time\ntime.sleep(600)"))

    def test_a_package_that_is_not_there_has_no_version(self) -> None:
        assert installed("no_such_package") is None
        assert installed("mpyc")
