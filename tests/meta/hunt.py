"""Runs the killers of each mutant, each in a process of its own; what survives is a hole in the suite.

    python -m tests.meta.hunt                 every mutant
    python -m tests.meta.hunt NAME [NAME ...] these

The heavy libraries are imported once, before any module of the product; each mutant is a fork of that process.
`tests.meta.clean` counts the false alarms of the killers on the correct code.
"""

import argparse
import importlib
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence

from tests.meta.mutants import MUTANTS, Mutant
from tests.meta.plant import plant

__all__ = ["hunt", "killed", "warm_up"]

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


def main() -> int:
    """Return 0 if every bug is seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *(mutant.name for mutant in MUTANTS)], metavar="NAME")
    options = parser.parse_args()
    warm_up()
    chosen = [mutant for mutant in MUTANTS if not options.names or mutant.name in options.names]
    survivors = hunt(chosen)
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} planted bugs killed")
    return int(bool(survivors))


if __name__ == "__main__":
    sys.exit(main())
