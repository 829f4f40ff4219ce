"""What the command `bench simulate` does: a bar while it runs, then what was found, printed or written."""

import json
import sys
from contextlib import nullcontext
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bench.simulation import Request, RoundLog, describe, simulate

__all__ = ["run_and_print"]


def run_and_print(asked: Request, *, out: Path | None, as_json: bool) -> None:
    """Simulate with a bar on stderr, print the outcome, and write rounds.csv into `out`.

    Raises: CloisterError where `out` is no folder, or has a rounds.csv.
    """
    bar = _bar()
    with nullcontext() if out is None else RoundLog(out) as log, bar:
        task = bar.add_task("rounds", total=asked.rounds)
        found = simulate(asked, log=log, tick=lambda: bar.advance(task))
    print(json.dumps(found.as_json()) if as_json else "\n".join(describe(found)))
    if out is not None and not as_json:
        print(f"rounds: {out / 'rounds.csv'}")


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(elapsed_when_finished=False),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )
