"""What worker processes run in tests of how they are run: words instead of cells, and no heavy import."""

import os
import time
from pathlib import Path
from typing import Any

__all__ = ["run", "start"]


def start(parties: int, deadline_s: float, data_dir: Path | None, faults_over_tcp: bool) -> None:
    """There is nothing to start."""


def run(word: str, key: str) -> dict[str, Any]:
    """Do what the word says; else say who did it."""
    if word == "die":
        os._exit(1)
    if word == "wait":
        time.sleep(3600.0)
    if word == "fail":
        raise ValueError("planted")
    return {"key": key, "status": "ok", "error": "", "pid": os.getpid()}
