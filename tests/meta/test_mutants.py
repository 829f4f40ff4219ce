"""The suite kills planted bugs: each still fits the code, all that the design lists are there, and they are seen.

`make hunt` runs them all (a nightly job); the full run is repeated here under the nightly profile.
"""

import dataclasses
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.meta import mutate
from tests.meta.mutants import LISTED, MUTANTS, OWN, Mutant
from tests.meta.plant import plant, planted_source

ROOT = Path(__file__).parents[2]
# The bugs that the design lists; its numbers have gaps.
NUMBERS = {1, 2, 3, 4, 5, 7, 9, 10, 11, 13, 15, 18, 19, 21, 27, 30, 31, 33, 43, 46}
FAST = (
    "the decoder ignores the sign",
    "a small last cluster is allowed",
    "one stream of randomness for all purposes",
    "the shortest chain of messages is taken for the longest",
)


HARMLESS = Mutant(
    name="a comment",
    module="protocols/ring.py",
    old="        return torch.round(scaled).to(torch.int64)\n",
    new="        return torch.round(scaled).to(torch.int64)  # to the nearest\n",
    killers=("tests/units/test_ring.py",),
)
LOST = dataclasses.replace(MUTANTS[0], name="killers that are not there", killers=("tests/no_such_file.py",))


def run_module(name: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"tests.meta.{name}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=36000, check=False)


@cache
def sample() -> subprocess.CompletedProcess[str]:
    """One process that hunts bugs and what is none, counts false alarms, and ends with killers that are lost."""
    lines = [
        "import tempfile",
        "from pathlib import Path",
        "from tests.meta import clean, hunt, smallest",
        "from tests.meta.mutants import MUTANTS, Mutant",
        "hunt.warm_up()",
        f"survivors = hunt.hunt([mutant for mutant in MUTANTS if mutant.name in {FAST!r}])",
        "print('survivors:', survivors)",
        f"print('harmless:', hunt.killed({HARMLESS!r}))",
        "wrong = tempfile.mkdtemp() + '/test_wrong.py'",
        "Path(wrong).write_text('def test_it():\\n    assert False\\n')",
        f"tests = smallest.smallest_suite([mutant for mutant in MUTANTS if mutant.name == {FAST[0]!r}])",
        "seen = clean.Seen(Path(wrong).with_name('runs'))",
        "seen.add(tests=tests | {wrong: 0.0})",
        "clean.clean_runs(clean.Seen(seen.path), 20, jobs=2, seconds=600)",
        "seen = clean.Seen(seen.path)",
        "print('again:', seen.runs, {name.rpartition(':')[2] for name, _ in seen.alarms}, len(seen.alarms))",
        f"hunt.killed({LOST!r})",
    ]
    command = [sys.executable, "-c", "\n".join(lines)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_bug_still_fits_the_code_and_compiles(mutant: Mutant) -> None:
    source = planted_source(mutant)
    assert source != (ROOT / mutant.module).read_text()
    compile(source, mutant.module, "exec")


def test_a_bug_whose_place_is_gone_is_an_error() -> None:
    gone = dataclasses.replace(MUTANTS[0], old="text that is nowhere")
    with pytest.raises(ValueError, match="occurs 0 times"):
        planted_source(gone)


def test_a_bug_can_only_be_planted_before_its_module_is_imported() -> None:
    with pytest.raises(RuntimeError, match="has been imported"):
        plant(dataclasses.replace(MUTANTS[0], module="tests/meta/plant.py", old="import sys", new="import os, sys"))


def test_every_listed_bug_is_planted_and_at_least_twenty_of_our_own() -> None:
    assert {mutant.listed for mutant in LISTED} == NUMBERS
    assert len(OWN) >= 20
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    assert sum(mutant.private for mutant in MUTANTS) >= 10


@pytest.mark.parametrize("module", sorted(mutate.CORE))
def test_a_module_of_the_core_and_its_own_tests_are_there(module: str) -> None:
    tests = [argument for argument in mutate.CORE[module] if argument.endswith(".py")]
    assert tests
    assert all((ROOT / path).is_file() for path in (module, *tests))


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ("def f(x: int | str) -> None:\n    y: int = x + 1\n", True),
        ("def f(x: int) -> int | None:\n    y: int | str = x + 1\n", True),
        ("def f(x: int) -> None:\n    y: int = x - 1\n", False),
        ("def f(z: int) -> None:\n    y: int = x + 1\n", False),
    ],
)
def test_a_change_of_types_alone_is_told_from_one_that_tests_could_see(changed: str, expected: bool) -> None:
    source = "def f(x: int) -> None:\n    y: int = x + 1\n"
    assert mutate.only_annotations(source, changed) == expected


@pytest.mark.xdist_group("hunt")
class TestASample:
    def test_of_the_planted_bugs_is_killed(self) -> None:
        assert sample().stdout.count("killed  ") == len(FAST), sample().stdout + sample().stderr
        assert "survivors: []" in sample().stdout

    def test_a_change_that_is_no_bug_survives(self) -> None:
        assert "harmless: False" in sample().stdout, sample().stdout + sample().stderr

    def test_one_test_is_enough_to_kill_one_bug(self) -> None:
        assert "the decoder ignores the sign: tests/units/test_ring.py::" in sample().stdout, sample().stderr

    def test_raises_no_alarm_on_the_correct_code_in_twenty_runs_where_a_wrong_test_raises_one_in_each(self) -> None:
        assert "again: 20 {'test_it'} 20" in sample().stdout, sample().stdout + sample().stderr

    def test_killers_that_cannot_be_run_are_an_error_and_no_success(self) -> None:
        assert sample().returncode != 0
        assert "the killers of 'killers that are not there' could not be run" in sample().stderr


@pytest.mark.skipif(os.environ.get("HYPOTHESIS_PROFILE") != "nightly", reason="takes long: the nightly profile runs it")
def test_the_suite_kills_every_planted_bug() -> None:
    done = run_module("hunt")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(os.environ.get("HYPOTHESIS_PROFILE") != "nightly", reason="takes long: the nightly profile runs it")
def test_a_thousand_clean_runs_of_a_suite_that_kills_every_bug_raise_no_alarm() -> None:
    done = run_module("clean")
    assert done.returncode == 0, done.stdout + done.stderr
