"""The pytest plugin as a third party uses it: from a repository and a process of its own."""

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from protocols.testing.invariants import INVARIANTS
from tests.warm import run_warm

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "tests" / "example_package"
NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
# One fork server for all of them.
pytestmark = pytest.mark.xdist_group("warm")
PLUGIN = ("-p", "protocols.testing.pytest_plugin")
# Hypothesis' plug-in costs pytest a second, and its assertions cannot be rewritten where it is loaded already.
QUIET = (*("-p", "no:cacheprovider", "-p", "no:hypothesispytest"), *("-W", "ignore::pytest.PytestAssertRewriteWarning"))
GOOD, BROKEN = "good_protocol:GoodProtocol", "broken_protocol:BrokenProtocol"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A copy of the example package, somewhere else."""
    return Path(shutil.copytree(EXAMPLE, tmp_path / "example", ignore=shutil.ignore_patterns("__pycache__")))


def environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "CLOISTER"))}
    return {**kept, "PYTHONPATH": str(ROOT), "CLOISTER_EFFORT": "dev"}


def run(repository: Path, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_warm(module, *arguments, cwd=repository, environment=environment())


def run_pytest(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(repository, "pytest", *PLUGIN, *QUIET, *arguments)


def run_fresh(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """In an interpreter that has imported nothing yet."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=repository,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def results_in(directory: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """The results of verification.json by protocol and invariant; a line that comes twice is a mistake."""
    found = json.loads((directory / "verification.json").read_text(encoding="utf-8"))["results"]
    by_place = {(each["protocol"], each["invariant"]): each for each in found}
    assert len(by_place) == len(found)
    return by_place


class TestAGoodProtocol:
    def test_passes_every_invariant_each_an_item_named_by_its_number(self, repository: Path) -> None:
        ended = run_pytest(repository, "--protocol", GOOD, "--verification-report=report", "-v")
        assert ended.returncode == 0, ended.stdout + ended.stderr
        found = results_in(repository / "report")
        assert {each["status"] for each in found.values()} == {"holds", "not applicable"}
        for protocol, invariant in found:
            assert f"{protocol}::{invariant} " in ended.stdout
        assert {invariant for _, invariant in found} > {"I1", "I5", "I12", "I16", "I25", "I44"}
        assert all(each["cases"] > 0 for each in found.values() if each["status"] == "holds")
        termination = next(each["text"] for (_, invariant), each in found.items() if invariant == "I34")
        assert re.match(r"exhaustive: \d+ schedules of clusters of 2 and 3; ", termination)
        assert "test_good_protocol.py" not in ended.stdout  # only the suite, where no path is given

    def test_three_lines_in_a_test_file_do_the_same(self, repository: Path) -> None:
        ended = run_pytest(
            repository, "test_good_protocol.py", "-q", "-k", "I32 or I44", "--verification-report=report"
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert {invariant for _, invariant in results_in(repository / "report")} == {"I32", "I44"}

    def test_plays_vectors_of_its_own_and_fails_them_where_it_ignores_which_models_members_hold(
        self, repository: Path
    ) -> None:
        ended = run_pytest(repository, "test_vectors.py", "-q")
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert "3 passed" in ended.stdout
        source = (repository / "good_protocol.py").read_text(encoding="utf-8")
        deaf = source.replace(
            "if not all(torch.equal(model, theirs)", "if False and not all(torch.equal(model, theirs)"
        )
        assert deaf != source
        (repository / "good_protocol.py").write_text(deaf, encoding="utf-8")
        ended = run_pytest(repository, "test_vectors.py", "-q")
        assert "2 failed, 1 passed" in ended.stdout

    @pytest.mark.skipif(not NIGHTLY, reason="starts five interpreters: the nightly profile runs it")
    def test_workers_send_what_they_find_to_the_report(self, repository: Path) -> None:
        chosen = ("--protocol", GOOD, "-k", "I44", "-q")
        ended = run_pytest(repository, *chosen, "--verification-report=one")
        assert ended.returncode == 0, ended.stdout + ended.stderr
        ended = run_pytest(repository, *chosen, "--verification-report=two", "-n", "2")
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert results_in(repository / "one") == results_in(repository / "two") != {}


class TestABrokenProtocol:
    def test_is_red_with_lines_that_show_each_violation_again(self, repository: Path) -> None:
        ended = run_pytest(repository, "--protocol", BROKEN, "--verification-report=report", "-q", "-k", "I1 or I5")
        assert ended.returncode == 1, ended.stdout + ended.stderr
        found = results_in(repository / "report")
        broken = {invariant: each for (_, invariant), each in found.items() if each["status"] == "violated"}
        assert {"I5", "I12", "I16"} <= broken.keys()  # survivors; one mask for all coordinates
        assert "I1" not in broken  # what it opens is right
        page = (repository / "report" / "verification.html").read_text(encoding="utf-8")
        for each in broken.values():
            assert each["replay"] in ended.stdout
            assert each["text"].split(",")[0] in page

        line = broken["I5"]["replay"]
        assert line.startswith("cloister-replay ")
        again = run(repository, "protocols.testing.suite", "--import", "broken_protocol", line)
        assert again.returncode == 0, again.stderr
        offset = re.search(r"the sum is off by (.*) from", broken["I5"]["text"])
        assert offset is not None
        assert f"off by {offset[1]}" in again.stdout

        words = broken["I16"]["replay"].replace("'", "").split(" ", 4)
        assert words[:2] == ["python", "-m"]
        spec, invariant = broken["I16"]["replay"].split("'")[1:]
        again = run(repository, words[2], "--import", "broken_protocol", spec, invariant.strip())
        assert again.returncode == 1, again.stderr
        assert "I16  violated" in again.stdout


class TestTheReport:
    def test_is_one_file_without_outside_resources_for_light_and_dark(self, repository: Path) -> None:
        # Three defects that need no interpreter of CrypTen's own; all are in tests/systems/test_stock_crypten.py.
        with (repository / "conftest.py").open("a", encoding="utf-8") as file:
            file.write(
                "from protocols.testing import stock_crypten\n\nstock_crypten.DEFECTS = stock_crypten.DEFECTS[:3]\n"
            )
        ended = run_pytest(
            repository, "--protocol", "additive_stock", "-k", "I12 or I35", "--verification-report=report"
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        found = results_in(repository / "report")
        assert {each["status"] for each in found.values()} == {"violated as documented"}
        page = (repository / "report" / "verification.html").read_text(encoding="utf-8")
        assert "prefers-color-scheme: dark" in page
        assert not re.search(r"""(src|href)=["'](?!#)|url\(|@import|<script""", page)
        assert "the two neighbours" in page  # the counterexample is there
        pending = {each.pending for each in INVARIANTS if each.pending and not each.tests}
        assert all(f"waits for issue {number}" in page for number in pending)  # and so is what is pending
        assert ("waits for issue" in page) == bool(pending)
        assert "Stock CrypTen 0.4.1 against the hardened engine" in page
        stock = json.loads((repository / "report" / "verification.json").read_text(encoding="utf-8"))["stock_crypten"]
        assert [(row["number"], row["status"]) for row in stock] == [("1", "holds"), ("2", "holds"), ("3", "holds")]

    def test_a_documented_violation_that_does_not_show_is_red(self, repository: Path) -> None:
        source = (repository / "good_protocol.py").read_text(encoding="utf-8")
        declared = source.replace(
            "@secure_sums.register(", '@secure_sums.register(facts={"violates": {"I44": "Why."}}, '
        )
        assert declared != source
        (repository / "good_protocol.py").write_text(declared, encoding="utf-8")
        ended = run_pytest(repository, "--protocol", GOOD, "-k", "I44", "-q")
        assert ended.returncode == 1, ended.stdout + ended.stderr
        assert "has been mended" in ended.stdout


class TestWhereNobodyAsks:
    PROBE = """
        import sys

        def test_nothing_heavy_is_there():
            assert not {"torch", "crypten", "protocols.secure_sum", "protocols.testing.suite"} & sys.modules.keys()
    """

    def probe(self, directory: Path) -> None:
        (directory / "test_probe.py").write_text(textwrap.dedent(self.PROBE))

    def test_it_imports_nothing_heavy_and_adds_no_items(self, tmp_path: Path) -> None:
        self.probe(tmp_path)
        ended = run_fresh(tmp_path, "-m", "pytest", *PLUGIN, *QUIET, "-q")
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert "1 passed" in ended.stdout

    def test_a_heavy_import_would_be_seen(self, tmp_path: Path) -> None:
        self.probe(tmp_path)
        """In a process that has loaded all that is heavy."""
        assert "1 failed" in run_pytest(tmp_path, "-q").stdout

    @pytest.mark.parametrize("also", [(), PLUGIN], ids=["by its entry point", "by both"])
    def test_it_can_be_loaded_by_its_entry_point_by_p_or_by_both(self, tmp_path: Path, also: tuple[str, ...]) -> None:
        self.probe(tmp_path)
        installed = tmp_path / "installed" / "example-1.0.dist-info"
        installed.mkdir(parents=True)
        (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: example\nVersion: 1.0\n")
        (installed / "entry_points.txt").write_text("[pytest11]\ncloister = protocols.testing.pytest_plugin\n")
        code = "import sys, pytest; sys.path.insert(0, 'installed'); sys.exit(pytest.main(sys.argv[1:]))"
        ended = run_fresh(
            tmp_path, "-c", code, *also, "-p", "no:cacheprovider", "test_probe.py", "--verification-effort=dev"
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr

    def test_an_unknown_protocol_is_one_clear_line(self, tmp_path: Path) -> None:
        ended = run_pytest(tmp_path, "--protocol", "nowhere:Nobody")
        assert ended.returncode == 4
        assert "protocol = 'nowhere:Nobody' cannot be found" in ended.stderr
