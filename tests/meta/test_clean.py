"""What clean runs have shown stays, whatever ends them; they go on where they were, and an alarm is never lost."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.meta import clean

ROOT = Path(__file__).parents[2]
# The first waits in its third run until it is told to go on; the second fails in the fifth run.
SUITE = """
import time
from pathlib import Path

FOLDER = Path(__file__).parent


def test_one():
    with (FOLDER / "started").open("a") as file:
        file.write(".")
    while len((FOLDER / "started").read_text()) == 3 and not (FOLDER / "go").exists():
        time.sleep(0.01)


def test_two():
    assert len((FOLDER / "started").read_text()) != 5
"""
# Without the libraries that only the search for the smallest suite needs.
MAIN = """
import signal, sys
from tests.meta import clean

signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell starts what runs in the background
clean.warm_up = lambda: None
sys.exit(clean.main())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "test_suite.py").write_text(SUITE)
    names = [f"{tmp_path / 'test_suite.py'}::test_{which}" for which in ("one", "two")]
    clean.Seen(file_of(tmp_path)).add(tests=dict.fromkeys(names, 0.01))
    return tmp_path


def file_of(folder: Path) -> Path:
    return folder / "out" / f"{clean.code_of(ROOT)}.jsonl"


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", MAIN, "--out", str(folder / "out"), "--jobs", "1", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)


def wait_for_third_run(folder: Path, running: subprocess.Popen[str]) -> None:
    started = folder / "started"
    while not (started.exists() and len(started.read_text()) == 3):
        assert running.poll() is None, running.communicate()
        time.sleep(0.01)


def test_a_kill_and_an_interruption_lose_only_the_run_under_way_and_the_next_goes_on(folder: Path) -> None:
    running = start(folder, "--runs", "6")
    wait_for_third_run(folder, running)
    running.send_signal(signal.SIGINT)
    said, errors = running.communicate()
    assert running.returncode == 1, errors
    assert "0 false alarms in 2 runs of 2 tests" in said
    assert clean.Seen(file_of(folder)).runs == 2

    (folder / "started").write_text("..")
    running = start(folder, "--runs", "6")
    wait_for_third_run(folder, running)
    running.kill()
    running.wait()
    (folder / "go").touch()
    running.communicate()  # until the fork, which writes to the same pipe, has seen that it is alone
    assert clean.Seen(file_of(folder)).runs == 2

    ended = start(folder, "--runs", "6")
    said, errors = ended.communicate()
    assert ended.returncode == 1, errors
    seen = clean.Seen(file_of(folder))
    assert (seen.runs, [name.rpartition("::")[2] for name, _ in seen.alarms]) == (6, ["test_two"])
    assert "1 false alarms in 6 runs of 2 tests" in said
    assert "assert len" in said
    assert len((folder / "started").read_text()) == 3 + 4


def test_runs_that_are_there_already_are_not_made_again_and_no_alarm_is_a_success(folder: Path) -> None:
    seen = clean.Seen(file_of(folder))
    for _ in range(3):
        seen.add(run_cpu_s=0.02)
    ended = start(folder, "--runs", "3")
    said, errors = ended.communicate()
    assert ended.returncode == 0, errors
    assert "0 false alarms in 3 runs of 2 tests: at most 0.63 false alarms a run" in said
    assert not (folder / "started").exists()


def test_tests_that_are_not_there_are_an_error_and_no_run(folder: Path) -> None:
    file_of(folder).write_text(json.dumps({"tests": {f"{folder / 'test_suite.py'}::test_none": 0.01}}) + "\n")
    ended = start(folder, "--runs", "3")
    said, errors = ended.communicate()
    assert ended.returncode == 1, said
    assert "cannot be run" in errors
    assert clean.Seen(file_of(folder)).runs == 0


def test_the_runs_of_other_code_are_not_counted(tmp_path: Path) -> None:
    for folder in ("protocols", "attacks", "bench", "tests"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").touch()
    first = clean.code_of(tmp_path)
    (tmp_path / "bench" / "__pycache__").mkdir()
    (tmp_path / "bench" / "__pycache__" / "a.pyc").touch()
    assert clean.code_of(tmp_path) == first
    (tmp_path / "bench" / "__init__.py").write_text("\n")
    second = clean.code_of(tmp_path)
    os.rename(tmp_path / "bench" / "__init__.py", tmp_path / "attacks" / "more.py")
    assert len({first, second, clean.code_of(tmp_path)}) == 3


@pytest.mark.parametrize(
    ("alarms", "runs", "expected"), [(0, 1, 0.95), (0, 1000, 1 - 0.05**1e-3), (1, 1, 1.0), (1, 2, 0.95**0.5)]
)
def test_the_bound_of_a_rate_is_the_one_that_follows_from_its_definition(
    alarms: int, runs: int, expected: float
) -> None:
    """At the bound so few alarms or fewer have a probability of 5 %: (1 - p)^n for none, 1 - p^2 for one in two."""
    assert clean.bound_of(alarms, runs) == pytest.approx(expected, abs=1e-12)
