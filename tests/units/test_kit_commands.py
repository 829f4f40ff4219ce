"""The commands of the conformance kit: a mistake is one line, and a third party's line replays."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest import mock

import pytest

from protocols.check import CloisterError
from protocols.testing import scenarios, suite
from protocols.testing.commands import import_first, in_one_line
from protocols.testing.pytest_plugin import _check_folder


@pytest.mark.parametrize(
    ("main", "words", "message"),
    [
        (scenarios.main, ["foo"], "'foo' is no replay line"),
        (scenarios.main, ['cloister-replay {"x":1}'], "field = 'x' is unknown"),
        (scenarios.main, ["--import", "no_such_module", "foo"], "--import no_such_module: No module named"),
        (suite.main, ["additve"], "did you mean 'additive'"),
        (suite.main, ["additive", "I99"], "invariant = 'I99' is unknown"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    main: Callable[[Sequence[str]], int], words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with mock.patch.object(sys, "path", list(sys.path)):
        assert in_one_line(lambda: main(words)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert message in said.err


def test_a_module_is_imported_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "of_a_third_party.py").write_text("REGISTERED = True\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    import_first(["of_a_third_party"])
    assert sys.modules.pop("of_a_third_party").REGISTERED
    with pytest.raises(CloisterError, match="--import of_another_one"):
        import_first(["of_another_one"])


def test_a_folder_that_cannot_be_written_is_refused_before_any_test_runs(tmp_path: Path) -> None:
    (tmp_path / "a_file").write_text("")
    with pytest.raises(pytest.UsageError, match=r"--verification-report .*a_file/report: .*; allowed: a folder"):
        _check_folder(tmp_path / "a_file" / "report")
    _check_folder(tmp_path / "new" / "report")
    assert (tmp_path / "new" / "report").is_dir()
    assert not list((tmp_path / "new" / "report").iterdir())
