"""What a run ran on: versions, processor, commit."""

import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.sources import version_of

__all__ = ["describe_environment"]

_PACKAGES = (
    "cloister",
    "torch",
    "crypten",
    "numpy",
    "numba",
    "scipy",
    "pandas",
    "scikit-learn",
    "dp-accounting",
    "cryptography",
)


def describe_environment(command: Sequence[str]) -> dict[str, Any]:
    """Return what a reader needs to judge or repeat a run: the command as it was given, versions, processor, commit."""
    return {
        "command": " ".join(command),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "commit": _commit(),
        "packages": {name: version_of(name) for name in _PACKAGES},
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def _commit() -> str:
    """Return the commit of the source checkout, marked where files differ from it, or "unknown" outside of one."""
    here = Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=here, capture_output=True, text=True, check=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return described.stdout.strip()
