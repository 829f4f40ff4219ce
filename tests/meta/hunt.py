"""Runs the killers of each mutant, each in a process of its own; what survives is a hole in the suite.

    python -m tests.meta.hunt                 every mutant
    python -m tests.meta.hunt NAME [NAME ...] these
    python -m tests.meta.hunt --clean COUNT [--under SECONDS]
                                              the killers of all mutants on the correct code, COUNT times

The heavy libraries are imported once, before any module of the product; each mutant is a fork of that process.

A clean run draws new examples and new secrets. Tests that take longer than --under in the first run are left out of
the others, and counted: all killers together take minutes.
"""

import argparse
import importlib
import math
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Collection, Sequence
from typing import Any

from tests.meta.mutants import MUTANTS, Mutant
from tests.meta.plant import plant

__all__ = ["false_alarms", "hunt", "killed"]

_HEAVY = ("torch", "numpy", "scipy.stats", "hypothesis", "pandas", "cryptography.hazmat.primitives.asymmetric.x25519")
# pytest's exit codes: 1 is failing tests; 2 an interruption, such as an import error, which a planted bug may cause.
_KILLED = (1, 2)
# Ours, for pytest itself failing: Python's own code for that is 1, which would pass for a kill.
_NOT_RUN = 70


def _pytest(mutant: Mutant) -> int:
    """Run in a forked process; return pytest's exit code."""
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        try:
            code = _run(mutant)
        except BaseException:
            os.write(3, traceback.format_exc().encode())
            code = _NOT_RUN
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def _run(mutant: Mutant) -> int:
    import pytest

    log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the process
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    quiet = ["-q", "-x", "-n", "0", "-p", "no:cacheprovider", "--no-header"]
    # Hypothesis is imported already, on purpose; pytest warns that it cannot rewrite that plug-in's assertions.
    quiet += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    code = int(pytest.main([*quiet, *mutant.killers], plugins=[plant(mutant)]))
    if code not in (0, *_KILLED):
        log.seek(0)
        os.write(3, log.read()[-4000:].encode())
    return code


def warm_up() -> None:
    """Import what takes long, and nothing of the product."""
    for name in _HEAVY:
        importlib.import_module(name)
    os.dup2(2, 3)


def killed(mutant: Mutant) -> bool:
    """Return whether the killers see the bug. Raises: RuntimeError if they cannot be run."""
    code = _pytest(mutant)
    if code not in (0, *_KILLED):
        raise RuntimeError(f"the killers of {mutant.name!r} could not be run: pytest exit code {code}")
    return code in _KILLED


def hunt(mutants: Sequence[Mutant]) -> list[Mutant]:
    """Return the mutants that survive, and print one line for each."""
    survivors: list[Mutant] = []
    for mutant in mutants:
        started = time.perf_counter()
        dead = killed(mutant)
        print(f"{'killed  ' if dead else 'SURVIVED'} {time.perf_counter() - started:5.1f} s  {mutant.name}", flush=True)
        survivors += [] if dead else [mutant]
    return survivors


class _Again:
    """A pytest plug-in that runs what has been collected so many times, and counts what fails."""

    def __init__(self, runs: int, under_s: float) -> None:
        self._runs, self._under_s = runs, under_s
        self.collected = self.repeated = self.executed = 0
        self.alarms: list[str] = []

    def pytest_runtestloop(self, session: Any) -> bool:
        """Take the place of pytest's own loop."""
        items = list(session.items)
        self.collected = len(items)
        for run in range(self._runs):
            slow: set[Any] = set()
            for item, following in zip(items, [*items[1:], None], strict=False):
                started = time.process_time()
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                self.executed += 1
                slow |= {item} if time.process_time() - started > self._under_s else set()
            if run == 0:
                items = [item for item in items if item not in slow]
                self.repeated = len(items)
        return True

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep what fails; nothing may fail."""
        if report.failed:
            self.alarms.append(f"{report.nodeid}: {report.longreprtext}")

    def pytest_collectreport(self, report: Any) -> None:
        """Take a file that cannot be collected for an alarm."""
        self.pytest_runtest_logreport(report)


def false_alarms(killers: Collection[Sequence[str]], runs: int, *, under_s: float = math.inf) -> int:
    """Return how many tests fail in so many runs of the killers on the correct code, each killer in a fork.

    Prints one line for each killer, and what fails. Raises: RuntimeError if a killer cannot be run.
    """
    return sum(_alarms_of(each, runs, under_s) for each in sorted(set(killers)))


def _alarms_of(killers: Sequence[str], runs: int, under_s: float) -> int:
    sys.stdout.flush()
    read, write = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            again, code = _run_again(killers, runs, under_s)
            left_out = again.collected - again.repeated
            print(
                f"{len(again.alarms)} alarms in {again.executed} tests: {' '.join(killers)} "
                f"({again.repeated} tests {runs} times, {left_out} slow ones once)",
                *again.alarms,
                sep="\n",
                flush=True,
            )
            os.write(write, b"%d" % len(again.alarms) if again.collected and code in (0, 1) else b"")
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as told:
        count = told.read()
    os.waitpid(process, 0)
    if not count:
        raise RuntimeError(f"the killers {killers} cannot be run")
    return int(count)


def _run_again(killers: Sequence[str], runs: int, under_s: float) -> tuple[_Again, int]:
    import pytest

    # Not derandomised, so that each run draws other examples.
    os.environ["HYPOTHESIS_PROFILE"] = "dev"
    again = _Again(runs, under_s)
    quiet = ["-o", "addopts=", "-p", "no:terminal", "-p", "no:cacheprovider", "-n", "0"]
    quiet += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    return again, int(pytest.main([*quiet, *killers], plugins=[again]))


def main() -> int:
    """Return 0 if every bug is seen and the correct code raises no alarm."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *(mutant.name for mutant in MUTANTS)])
    parser.add_argument("--clean", type=int, metavar="COUNT")
    parser.add_argument("--under", type=float, metavar="SECONDS", default=math.inf)
    options = parser.parse_args()
    warm_up()
    if options.clean is not None:
        alarms = false_alarms({mutant.killers for mutant in MUTANTS}, options.clean, under_s=options.under)
        print(f"{alarms} false alarms in {options.clean} clean runs")
        return int(alarms > 0)
    chosen = [mutant for mutant in MUTANTS if not options.names or mutant.name in options.names]
    survivors = hunt(chosen)
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} planted bugs killed")
    return int(bool(survivors))


if __name__ == "__main__":
    sys.exit(main())
