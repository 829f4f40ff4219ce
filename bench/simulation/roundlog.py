"""One line a round in a file, which gets its name when it is whole."""

import csv
from pathlib import Path
from types import TracebackType

import numpy as np

from bench.folders import make_folder
from bench.simulation.counting import CountVerdict
from protocols.check import CloisterError

__all__ = ["RoundLog"]

_COLUMNS = ("round", "drawing", "n", "K", "tainted", "lost", "exposed", "private", "correct", "live")


class RoundLog:
    """Writes rounds.csv in a folder: line by line into rounds.csv.part, renamed once all rounds are there.

    Guarantees:
        A file called rounds.csv has every round; a run that was stopped leaves none.

    Raises: CloisterError where the folder is a file, or holds a rounds.csv.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "rounds.csv"
        if any(each.exists() and not each.is_dir() for each in (directory, *directory.parents)):
            raise CloisterError(f"out = {str(directory)!r} is no folder; allowed: a folder, new or not")
        if self.path.exists():
            raise CloisterError(f"out = {str(directory)!r} holds a rounds.csv; allowed: a folder without one")
        make_folder(directory)
        self._part = directory / "rounds.csv.part"

    def __enter__(self) -> "RoundLog":
        self._file = self._part.open("w", encoding="utf-8", newline="")
        self._rows = csv.writer(self._file, lineterminator="\n")
        self._rows.writerow(_COLUMNS)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()
        if kind is None:
            self._part.replace(self.path)

    def write(self, round_index: int, drawing: int, n: int, verdict: CountVerdict) -> None:
        """Write the line of a round: clusters broken (K), tainted, lost, exposed, and 1 for each side that held."""
        counts = (int(np.count_nonzero(each)) for each in (verdict.tainted, verdict.lost, verdict.exposed))
        sides = (int(verdict.private), int(verdict.correct), int(verdict.live))
        self._rows.writerow((round_index, drawing, n, verdict.broken, *counts, *sides))
