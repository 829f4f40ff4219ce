"""Finds the smallest suite that kills all planted bugs: for each the quickest of its killers' tests that sees it.

So a run takes seconds where all killers take minutes. All killers are run and timed once on the correct code, then,
quickest first, under each bug up to the first that fails.

Every part is one pytest session in a fork of its own. Two sessions in one process are no clean runs: they make a second
instance of each test class, which Hypothesis reports as an error of tests that have properties.
"""

import json
import math
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import pytest

from tests.meta.mutants import Mutant
from tests.meta.plant import plant

__all__ = ["RAN", "run_pytest", "smallest_suite"]

RAN = (0, 1)
"""pytest's exit codes for sessions whose tests have run."""
_QUIET = ("-o", "addopts=", "-p", "no:terminal", "-p", "no:cacheprovider", "-n", "0")
_PATIENCE_S = 120.0


class _Timed:
    """A pytest plug-in that takes the processor time of each test, and keeps what fails."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.failed: list[str] = []

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep what fails."""
        self.failed += [f"{report.nodeid}: {report.longreprtext}"] if report.failed else []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Generator[None, object, object]:
        """Take it with all that the test sets up."""
        started = time.process_time()
        done = yield
        self.seconds[item.nodeid] = time.process_time() - started
        return done


class _QuickestFirst:
    """A pytest plug-in that orders tests by the seconds they took, and tells which is the first that fails.

    A test that takes minutes longer than on the correct code has failed: a bug may let it wait for ever.
    """

    def __init__(self, seconds: Mapping[str, float]) -> None:
        self._seconds = seconds
        self.failed: str | None = None

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Put the quickest first, and last those that wait for processes, whose seconds are not in this one's."""
        items.sort(key=lambda item: ("pool" in item.fixturenames, self._seconds.get(item.nodeid, math.inf)))

    def pytest_runtest_setup(self, item: Any) -> None:
        """Interrupt it in time, and again in case it then waits for its own threads."""
        signal.signal(signal.SIGALRM, _too_long)
        signal.setitimer(signal.ITIMER_REAL, _PATIENCE_S + 100 * self._seconds.get(item.nodeid, 0.0), 1.0)

    def pytest_runtest_teardown(self) -> None:
        """It has ended."""
        signal.setitimer(signal.ITIMER_REAL, 0)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep the first that fails."""
        if report.failed and self.failed is None:
            self.failed = report.nodeid


def _too_long(number: int, frame: object) -> None:
    raise TimeoutError("the test takes too long")


def run_pytest(arguments: Sequence[str], plugins: list[object], profile: str) -> int:
    """Run pytest in this process, which is to do nothing else any more; return its exit code."""
    os.environ["HYPOTHESIS_PROFILE"] = profile
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return int(pytest.main([*_QUIET, "-W", "ignore::pytest.PytestAssertRewriteWarning", *arguments], plugins=plugins))


def _forked(work: Callable[[], object]) -> tuple[int, int]:
    """Start work() in a fork; return its process number and where it writes what it returned, as JSON."""
    sys.stdout.flush()
    read, write = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            os.close(read)
            told = json.dumps(work()).encode()
            with os.fdopen(write, "wb") as pipe:
                pipe.write(told)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(write)
    return process, read


def _joined(fork: tuple[int, int]) -> Any:
    """Return what a fork has returned. Raises: RuntimeError if it has not."""
    process, read = fork
    with os.fdopen(read, "rb") as pipe:
        told = pipe.read()
    os.waitpid(process, 0)
    if not told:
        raise RuntimeError("a part could not be run; its error is above")
    return json.loads(told)


def smallest_suite(mutants: Sequence[Mutant]) -> dict[str, float]:
    """Return the tests, with the seconds that each takes, of which some one fails under each bug.

    A bug under which nothing can be imported needs no test. Raises: RuntimeError for one that survives.
    """
    seconds: dict[str, float] = {}
    for killers in sorted({_tests_of(mutant) for mutant in mutants}):
        seconds |= _joined(_forked(lambda killers=killers: _seconds(killers)))
    chosen: set[str] = set()
    for mutant in mutants:
        first = _joined(_forked(lambda mutant=mutant: _first_killer(mutant, seconds)))
        print(f"{seconds.get(first, 0):6.2f} s  {mutant.name}: {first or 'cannot be imported'}", flush=True)
        chosen |= {first} - {""}
    return {name: seconds[name] for name in sorted(chosen)}


def _tests_of(mutant: Mutant) -> tuple[str, ...]:
    return mutant.quick or mutant.killers


def _seconds(killers: Sequence[str]) -> dict[str, float]:
    timed = _Timed()
    code = run_pytest(killers, [timed], "dev")
    if code != 0:
        raise RuntimeError(f"{killers} do not pass on the correct code: pytest exit code {code}: {timed.failed}")
    return timed.seconds


def _first_killer(mutant: Mutant, seconds: Mapping[str, float]) -> str:
    order = _QuickestFirst(seconds)
    code = run_pytest(["-x", *_tests_of(mutant)], [order, plant(mutant)], "ci")
    if code not in (1, 2):
        raise RuntimeError(f"nothing fails under {mutant.name!r}: pytest exit code {code}")
    return order.failed or ""
