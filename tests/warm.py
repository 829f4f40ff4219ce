"""Python commands in processes that have the heavy libraries already: forks of a server that imports them once.

The fork server is the one that a pool of parties starts its processes from; whoever comes first says what it loads.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

__all__ = ["run_warm"]

_PRELOADED = ["protocols.party_process", "protocols.crypten_engine", "protocols.testing.suite"]
_PATIENCE_S = 600.0


def run_warm(
    module: str, *arguments: str, cwd: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Return how `python -m module arguments` ends in that folder; the modules of this project are imported there."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("out", "errors")]
        process = context.Process(target=_run, args=(module, arguments, cwd, dict(environment), files))
        process.start()
        process.join(_PATIENCE_S)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise TimeoutError(f"{module} {arguments} did not end within {_PATIENCE_S} s")
        out, errors = (file.read_text(encoding="utf-8") for file in files)
        return subprocess.CompletedProcess([module, *arguments], process.exitcode, out, errors)


def _run(module: str, arguments: tuple[str, ...], cwd: Path, environment: dict[str, str], files: list[Path]) -> None:
    for number, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.path.insert(0, str(cwd))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
