"""Comma-separated files without a header, with errors that name the line and the column of a bad cell."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.data import Publisher

__all__ = ["MISSING", "Table", "read_table"]

MISSING = "?"
"""What the UCI repository writes in place of a missing value."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """The cells of one file as text: `cells` (rows, columns), stripped of blanks.

    Guarantees:
        A bad cell is reported with its file, line, column, what was found and what is allowed.
    """

    publisher: Publisher
    path: Path
    columns: tuple[str, ...]
    cells: np.ndarray

    def numbers(self, column: str, *, gaps: bool = False) -> np.ndarray:
        """Return a column as (rows,) float64, NaN where a value is missing if `gaps` allows that.

        Raises CloisterError at a cell that is no finite number.
        """
        cells = self.cells[:, self.columns.index(column)]
        gap = (cells == MISSING) & gaps
        try:
            values = np.where(gap, "nan", cells).astype(np.float64)
        except ValueError:
            # Only now cell by cell: the slow way is needed to say which cell is bad.
            values = np.array([_number(cell) for cell in cells])
        self.require(np.isfinite(values) | gap, column, f"a number or {MISSING}" if gaps else "a number")
        return values

    def one_hot(self, column: str, words: tuple[str, ...]) -> np.ndarray:
        """Return (rows, words) bool, one True per row; CloisterError at a cell that is none of the words."""
        hot = self.cells[:, [self.columns.index(column)]] == np.array(words)
        self.require(hot.any(axis=1), column, ", ".join(words))
        return hot

    def require(self, ok: np.ndarray, column: str, allowed: str) -> None:
        """Raise CloisterError at the first row that is not `ok` (rows,) bool, naming its cell in that column."""
        if not ok.all():
            row = int(np.argmin(ok))
            cell = str(self.cells[row, self.columns.index(column)])
            raise self.publisher.broken(self.path, f"{cell!r} in line {row + 1}, column {column}", allowed)


def read_table(publisher: Publisher, path: Path, columns: tuple[str, ...]) -> Table:
    """Return the file's cells; CloisterError if it is no text, has no line, or a line has another cell count."""
    try:
        text = publisher.read(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise publisher.broken(path, f"a byte that is no text at position {error.start}", "text") from None
    lines = [[cell.strip() for cell in line.split(",")] for line in text.rstrip().splitlines()]
    for number, line in enumerate(lines, start=1):
        if len(line) != len(columns):
            raise publisher.broken(path, f"{len(line)} cells in line {number}", f"{len(columns)} cells")
    if not lines:
        raise publisher.broken(path, "no line", "one line or more")
    return Table(publisher=publisher, path=path, columns=columns, cells=np.array(lines))


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")
