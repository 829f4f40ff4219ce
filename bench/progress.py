"""What a user sees while cells run: a live bar in a terminal, plain lines elsewhere, JSON lines for machines."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bench.cell import Cell

__all__ = ["Reporter", "make_reporter", "short_name"]


def short_name(cell: Cell) -> str:
    """Return what tells a cell from its neighbours, in one line."""
    labels = cell.labels()
    names = ["dataset", "model", "attack", "clustering", "aggregator", "privacy"]
    names += ["placement"] if labels["placement"] != "uniform" else []  # rare enough to be left out where it is usual
    return " ".join([*(str(labels[name]) for name in names), f"seed={cell.seed}"])


class Reporter(Protocol):
    """Told when cells start and end."""

    def __enter__(self) -> "Reporter": ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...

    def started(self, cell: Cell) -> None:
        """A cell goes to a worker."""
        ...

    def finished(self, cell: Cell, row: Mapping[str, Any]) -> None:
        """A cell's row is written."""
        ...


class _Bar:
    """A progress bar with cells done, the current cell and the time left."""

    def __init__(self, total: int) -> None:
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task("starting the parties", total=total)

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.stop()

    def started(self, cell: Cell) -> None:
        """See Reporter."""
        self._progress.update(self._task, description=short_name(cell))

    def finished(self, cell: Cell, row: Mapping[str, Any]) -> None:
        """See Reporter."""
        if row["status"] == "failed":
            self._progress.console.print(f"failed: {short_name(cell)}: {row['error']}", markup=False, highlight=False)
        self._progress.advance(self._task)


class _Lines:
    """One line a finished cell, for logs."""

    def __init__(self, total: int, write: Callable[[dict[str, Any]], None]) -> None:
        self._total = total
        self._done = 0
        self._write = write
        self._began = time.monotonic()

    def __enter__(self) -> "_Lines":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        return

    def started(self, cell: Cell) -> None:
        """See Reporter."""
        self._write({"event": "started", "cell": short_name(cell), "done": self._done, "total": self._total})

    def finished(self, cell: Cell, row: Mapping[str, Any]) -> None:
        """See Reporter."""
        self._done += 1
        elapsed_s = time.monotonic() - self._began
        self._write(
            {
                "event": "finished",
                "cell": short_name(cell),
                "key": row["key"],
                "status": row["status"],
                "error": row["error"],
                "accuracy": row["metrics"].get("accuracy"),
                "done": self._done,
                "total": self._total,
                "elapsed_s": round(elapsed_s, 3),
                "eta_s": round(elapsed_s / self._done * (self._total - self._done), 3),
            }
        )


def _write_plain(event: Mapping[str, Any]) -> None:
    if event["event"] != "finished":
        return
    outcome = event["error"] if event["accuracy"] is None else f"accuracy {event['accuracy']:.3f}"
    print(
        f"[{event['done']}/{event['total']}] {event['status']} {event['cell']}: {outcome} (ETA {event['eta_s']:.0f} s)",
        file=sys.stderr,
        flush=True,
    )


def _write_json(event: Mapping[str, Any]) -> None:
    print(json.dumps(event), flush=True)


def make_reporter(total: int, *, as_json: bool, terminal: TextIO) -> Reporter:
    """Return JSON lines if asked for, a live bar on a terminal, plain lines otherwise."""
    if as_json:
        return _Lines(total, _write_json)
    return _Bar(total) if terminal.isatty() else _Lines(total, _write_plain)
