"""CrypTen in an interpreter of its own: our engine replaces parts of it for the process that imports it."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["counterexample", "run_fresh"]

_DEADLINE_S = 120.0
# The one thing without which CrypTen 0.4.1 cannot be imported: torch 2.9 moved a module.
_SCRIPT = """
import importlib, sys, types
old = "torch.onnx._internal.registration"
try:
    importlib.import_module(old)
except ModuleNotFoundError:
    sys.modules[old] = importlib.import_module("torch.onnx._internal.torchscript_exporter.registration")
import crypten
path, name, *numbers = sys.argv[1:]
experiments = sys.modules["experiments"] = types.ModuleType("experiments")
experiments.__path__ = [path]  # a bare package: our own __init__ would import our engine
importlib.import_module("experiments." + name).main(crypten, *map(int, numbers))
"""


def counterexample(number: int) -> str | None:
    """Return what the experiment of that defect shows on untouched CrypTen, or None where it shows nothing.

    All experiments run once a process, in some five seconds. Raises: RuntimeError when the experiment broke.
    """
    said = _experiments()
    if str(number) in said["broken"]:
        raise RuntimeError(f"the experiment of defect {number} broke:\n{said['broken'][str(number)]}")
    return said["lines"][str(number)]


@cache
def _experiments() -> dict[str, dict[str, Any]]:
    return run_fresh("worlds", deadline_s=_DEADLINE_S)


def run_fresh(module: str, *numbers: int, deadline_s: float) -> Any:
    """Return what main(crypten, *numbers) of a module of this package prints last, a line of JSON.

    Raises: RuntimeError where the interpreter fails, subprocess.TimeoutExpired where it hangs.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _SCRIPT, str(Path(__file__).parent), module, *map(str, numbers)],
            stdout=out,
            stderr=errors,
            start_new_session=True,
        )
        try:
            status = process.wait(deadline_s)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)  # with all parties that it has started
            process.wait()
            raise
        out.seek(0)
        errors.seek(0)
        if status != 0:
            raise RuntimeError(f"CrypTen's own interpreter ended with status {status}:\n{errors.read().decode()}")
        return json.loads(out.read().splitlines()[-1])
