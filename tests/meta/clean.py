"""Counts the false alarms of the suite that kills all planted bugs: its tests on the correct code, again and again.

    python -m tests.meta.clean                        1,000 runs of the smallest such suite
    python -m tests.meta.clean --runs N --jobs K --seconds S --out DIR
                                                      N runs, K at a time, the last of them started within S seconds
    python -m tests.meta.clean --runs 0               what has been seen so far

Each run draws new examples and new secrets. Printed are, for each test, its alarms, and for the suite the rate of false
alarms a run with its upper bound at 95 % (Clopper and Pearson 1934).

What has been seen is kept in DIR (reports/alarms), in one file of JSON lines for each state of the code: the suite, a
line for each whole run, and a line for each alarm at once. The same command goes on with what is there; whatever ends
it, no more than the runs under way are lost.
"""

import argparse
import hashlib
import json
import math
import os
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.meta.hunt import warm_up
from tests.meta.mutants import MUTANTS
from tests.meta.plant import ROOT
from tests.meta.smallest import RAN, run_pytest, smallest_suite

__all__ = ["Seen", "bound_of", "clean_runs", "code_of"]

_FOLDERS = ("protocols", "attacks", "bench", "tests")


class Seen:
    """What clean runs of one suite have shown, in a file of JSON lines to which several processes may add."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tests: dict[str, float] = {}
        self.runs = 0
        self.alarms: list[tuple[str, str]] = []
        for line in path.read_text().splitlines() if path.exists() else ():
            told = json.loads(line)
            self.tests |= told.get("tests", {})
            self.runs += "run_cpu_s" in told
            self.alarms += [(told["alarm"], told["text"])] if "alarm" in told else []

    def add(self, **told: object) -> None:
        """Append one line: in one piece, so that processes neither mix theirs nor leave half of one behind."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.write(file, json.dumps(told).encode() + b"\n")
        os.close(file)

    def summary(self) -> str:
        """Return the alarms, in full, and what follows for their rate."""
        failed = Counter(name for name, _ in self.alarms)
        texts = [f"{name}: {text}" for name, text in self.alarms]
        counts = [f"{count:6d} alarms in {self.runs} runs: {name}" for name, count in sorted(failed.items())]
        bound = bound_of(min(len(self.alarms), self.runs), self.runs)
        found = f"{len(self.alarms)} false alarms in {self.runs} runs of {len(self.tests)} tests"
        return "\n".join([*texts, *counts, f"{found}: at most {bound:.2g} false alarms a run (95 %); {self.path}"])


class _Again:
    """A pytest plug-in that runs what has been collected so many times and tells `seen`; no test starts after `until`.

    It ends with the process that started it, too.
    """

    def __init__(self, seen: Seen, runs: int, until: float) -> None:
        self._seen, self._runs, self._until = seen, runs, until
        self._parent = os.getppid()

    def pytest_runtestloop(self, session: Any) -> bool:
        """Take the place of pytest's own loop."""
        items = list(session.items)
        for _ in range(self._runs):
            started = time.process_time()
            for item, following in zip(items, [*items[1:], None], strict=True):
                if time.monotonic() > self._until or os.getppid() != self._parent:
                    return True
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            self._seen.add(run_cpu_s=round(time.process_time() - started, 3))
        return True

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep what fails; nothing may fail."""
        if report.failed:
            self._seen.add(alarm=report.nodeid, text=report.longreprtext)

    def pytest_collectreport(self, report: Any) -> None:
        """Take a file that cannot be collected for an alarm."""
        self.pytest_runtest_logreport(report)


def clean_runs(seen: Seen, runs: int, *, jobs: int, seconds: float) -> None:
    """Run the suite on the correct code until so many runs have been seen, in so many processes.

    Raises: RuntimeError if the tests cannot be run; KeyboardInterrupt as it comes, once nothing runs any more.
    """
    more, until = max(0, runs - seen.runs), time.monotonic() + seconds
    shares = [more // jobs + (job < more % jobs) for job in range(jobs)]
    started = [_started(seen, share, until) for share in shares if share]
    try:
        codes = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in started]
    except BaseException:
        _end(started)
        raise
    if any(codes):
        raise RuntimeError("the tests cannot be run; the error is above")


def _started(seen: Seen, runs: int, until: float) -> int:
    """Run the suite again and again in a fork; return its process number."""
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent looks after that
            code = run_pytest(list(seen.tests), [_Again(seen, runs, until)], "dev")
            if code not in RAN:
                raise RuntimeError(f"the tests {list(seen.tests)} cannot be run: pytest exit code {code}")
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return process


def _end(processes: list[int]) -> None:
    for process in processes:
        try:
            os.kill(process, signal.SIGTERM)
            os.waitpid(process, 0)
        except (ProcessLookupError, ChildProcessError):
            continue  # it has ended before


def bound_of(alarms: int, runs: int) -> float:
    """Return the upper end of the exact 95 % interval (one-sided) of a rate of which so many were seen in so many runs.

    Source: Clopper and Pearson 1934, Biometrika.
    """
    from scipy.stats import beta

    return 1.0 if alarms >= runs else float(beta.ppf(0.95, alarms + 1, runs - alarms))


def code_of(root: Path) -> str:
    """Return the fingerprint of all source of the product and its tests below this folder, committed or not."""
    found = hashlib.sha256()
    files = (path for folder in _FOLDERS for path in (root / folder).rglob("*") if "__pycache__" not in path.parts)
    for path in sorted(path for path in files if path.is_file()):
        found.update(f"{path.relative_to(root)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()[:16]


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _count(seen: Seen, options: argparse.Namespace) -> None:
    if options.runs and not seen.tests:
        tests: Mapping[str, float] = smallest_suite(MUTANTS)
        seen.add(tests=tests)
        seen = Seen(seen.path)
    if seen.tests:
        cpu_s = sum(seen.tests.values())
        print(f"{len(seen.tests)} tests kill {len(MUTANTS)} planted bugs; a run takes {cpu_s:.1f} s", flush=True)
        clean_runs(seen, options.runs, jobs=options.jobs, seconds=options.seconds)


def main() -> int:
    """Return 0 if the correct code has raised no alarm, and the runs were not interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds", type=float, default=math.inf)
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "alarms")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell has its background jobs ignore the first
        signal.signal(number, _interrupt)
    warm_up()
    path, interrupted = options.out / f"{code_of(ROOT)}.jsonl", False
    try:
        _count(Seen(path), options)
    except KeyboardInterrupt:
        interrupted = True
    seen = Seen(path)
    print(seen.summary())
    return int(interrupted or bool(seen.alarms))


if __name__ == "__main__":
    sys.exit(main())
