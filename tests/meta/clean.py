"""Counts the false alarms of the suite that kills all planted bugs: its tests on the correct code, again and again.

    python -m tests.meta.clean                        1,000 runs of the smallest such suite
    python -m tests.meta.clean --runs N --jobs K --seconds S
                                                      N runs, K parts at a time, each stopped after S seconds

The smallest suite holds, for each planted bug, the quickest of its killers' tests that fails under it, so that a run
takes seconds where all killers take minutes. It is found anew each time: all killers are run and timed once on the
correct code, then, quickest first, under each bug up to the first that fails.

Each run draws new examples and new secrets. Printed are, for each test, its runs and alarms, and for the suite the rate
of false alarms a run with its upper bound at 95 % (Clopper and Pearson 1934).

Every part is one pytest session in a fork of its own. Two sessions in one process are no clean runs: they make a second
instance of each test class, which Hypothesis reports as an error of tests that have properties.
"""

import argparse
import json
import math
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.meta.hunt import warm_up
from tests.meta.mutants import MUTANTS, Mutant
from tests.meta.plant import plant

__all__ = ["bound_of", "clean_runs", "smallest_suite"]

_QUIET = ("-o", "addopts=", "-p", "no:terminal", "-p", "no:cacheprovider", "-n", "0")
_RAN = (0, 1)
"""pytest's exit codes for sessions whose tests have run."""


class _Again:
    """A pytest plug-in that runs what has been collected so many times, none after `until`, and keeps what fails."""

    def __init__(self, runs: int, until: float) -> None:
        self._runs, self._until = runs, until
        self.runs: Counter[str] = Counter()
        self.seconds: dict[str, float] = {}
        self.alarms: list[tuple[str, str]] = []

    def pytest_runtestloop(self, session: Any) -> bool:
        """Take the place of pytest's own loop."""
        items = list(session.items)
        for run in range(self._runs):
            for item, following in zip(items, [*items[1:], None], strict=False):
                if run and time.monotonic() > self._until:
                    return True
                started = time.process_time()
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                self.runs[item.nodeid] += 1
                self.seconds.setdefault(item.nodeid, time.process_time() - started)
        return True

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep what fails; nothing may fail."""
        if report.failed:
            self.alarms.append((report.nodeid, report.longreprtext))

    def pytest_collectreport(self, report: Any) -> None:
        """Take a file that cannot be collected for an alarm."""
        self.pytest_runtest_logreport(report)


class _QuickestFirst:
    """A pytest plug-in that orders tests by the seconds they took, stops at the first that fails, and tells which."""

    def __init__(self, seconds: Mapping[str, float]) -> None:
        self._seconds = seconds
        self.failed: str | None = None

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Put the quickest first."""
        items.sort(key=lambda item: self._seconds.get(item.nodeid, math.inf))

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep the first that fails."""
        if report.failed and self.failed is None:
            self.failed = report.nodeid


def _session(arguments: Sequence[str], plugins: list[object], profile: str) -> int:
    import pytest

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


def _run_again(arguments: Sequence[str], runs: int, until: float) -> list[Any]:
    again = _Again(runs, until)
    code = _session(arguments, [again], "dev")
    if code not in _RAN or not (again.runs or again.alarms):
        raise RuntimeError(f"the tests {arguments} cannot be run: pytest exit code {code}")
    return [dict(again.runs), again.seconds, again.alarms]


def smallest_suite(mutants: Sequence[Mutant]) -> dict[str, float]:
    """Return the tests, with the seconds that each takes, of which some one fails under each bug.

    A bug under which nothing can be imported needs no test. Raises: RuntimeError for one that survives.
    """
    seconds: dict[str, float] = {}
    for killers in sorted({mutant.killers for mutant in mutants}):
        seconds |= _joined(_forked(lambda killers=killers: _run_again(killers, 1, math.inf)))[1]
    chosen: set[str] = set()
    for mutant in mutants:
        first = _joined(_forked(lambda mutant=mutant: _first_killer(mutant, seconds)))
        print(f"{seconds.get(first, 0):6.2f} s  {mutant.name}: {first or 'cannot be imported'}", flush=True)
        chosen |= {first} - {""}
    return {name: seconds[name] for name in sorted(chosen)}


def _first_killer(mutant: Mutant, seconds: Mapping[str, float]) -> str:
    order = _QuickestFirst(seconds)
    code = _session(["-x", *mutant.killers], [order, plant(mutant)], "ci")
    if code not in (1, 2):
        raise RuntimeError(f"nothing fails under {mutant.name!r}: pytest exit code {code}")
    return order.failed or ""


def clean_runs(tests: Mapping[str, float], runs: int, *, jobs: int, seconds: float) -> tuple[dict[str, int], list[Any]]:
    """Return how often each test was run on the correct code, and what failed: (test, text)."""
    parts: list[list[str]] = [[] for _ in range(jobs)]
    for name in sorted(tests, key=lambda name: -tests[name]):
        min(parts, key=lambda part: sum(tests[each] for each in part)).append(name)
    until = time.monotonic() + seconds
    forks = [_forked(lambda part=part: _run_again(part, runs, until)) for part in parts if part]
    ran: dict[str, int] = {}
    alarms: list[Any] = []
    for counts, _, failed in map(_joined, forks):
        ran |= counts
        alarms += failed
    return ran, alarms


def bound_of(alarms: int, runs: int) -> float:
    """Return the upper end of the exact 95 % interval (one-sided) of a rate of which so many were seen in so many runs.

    Source: Clopper and Pearson 1934, Biometrika.
    """
    from scipy.stats import beta

    return 1.0 if alarms >= runs else float(beta.ppf(0.95, alarms + 1, runs - alarms))


def main() -> int:
    """Return 0 if the correct code raises no alarm."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds", type=float, default=math.inf)
    options = parser.parse_args()
    warm_up()
    tests = smallest_suite(MUTANTS)
    print(f"{len(tests)} tests kill {len(MUTANTS)} planted bugs; a run takes {sum(tests.values()):.1f} s", flush=True)
    ran, alarms = clean_runs(tests, options.runs, jobs=options.jobs, seconds=options.seconds)
    failed = Counter(name for name, _ in alarms)
    for name, count in sorted(ran.items()):
        print(f"{count:6d} runs, {failed[name]} alarms: {name}")
    print(*(f"{name}: {text}" for name, text in alarms), sep="\n")
    whole = min(ran.values())
    print(
        f"{len(alarms)} false alarms in {sum(ran.values())} tests; {whole} runs of the whole suite, at most "
        f"{bound_of(min(len(alarms), whole), whole):.2g} false alarms a run (95 %)"
    )
    return int(bool(alarms))


if __name__ == "__main__":
    sys.exit(main())
