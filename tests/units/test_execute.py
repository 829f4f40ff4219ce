"""Worker processes that die, hang and fail: each costs its own job, and none is left behind."""

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from bench import execute
from bench.cell import Cell
from bench.execute import Execution, Job, run_jobs
from tests import light_workers
from tests.rounds import cell_with


class Worded:
    """A cell of this process, and a word for a worker process, which then need not know what a cell is."""

    def __init__(self, cell: Cell, word: str) -> None:
        self._cell = cell
        self._word = word

    def __reduce__(self) -> tuple[Any, ...]:
        return str, (self._word,)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cell, name)


@pytest.fixture(autouse=True)
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "start_worker", light_workers.start)
    monkeypatch.setattr(execute, "run_in_worker", light_workers.run)


def rows_of(*words: str, cell_deadline_s: float = 3600.0) -> Generator[dict[str, Any], None, None]:
    """By one worker, so that the jobs are done in this order."""
    execution = Execution(
        jobs=1,
        parties=1,
        deadline_s=1.0,
        cell_deadline_s=cell_deadline_s,
        data_dir=None,
        faults_over_tcp=False,
    )
    jobs = [Job(cell=Worded(cell_with(), word), key=f"{place}") for place, word in enumerate(words)]
    return run_jobs(jobs, execution, started=lambda job: None)


def has_ended(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_a_job_whose_worker_dies_or_that_fails_is_a_failed_row_and_a_new_worker_runs_the_others() -> None:
    first, died, second, failed, third = rows_of("work", "die", "work", "fail", "work")
    assert [row["key"] for row in (first, died, second, failed, third)] == ["0", "1", "2", "3", "4"]
    assert (died["status"], died["error"]) == ("failed", "the worker process died while it ran this cell")
    assert (failed["status"], failed["error"]) == ("failed", "ValueError: planted")
    assert len({first["pid"], second["pid"], third["pid"], os.getpid()}) == 4
    assert all(has_ended(row["pid"]) for row in (first, second, third))


def test_a_job_beyond_its_deadline_is_a_failed_row_and_its_worker_is_replaced() -> None:
    """The deadline is what a started worker has for a job that takes no time."""
    first, late, second = rows_of("work", "wait", "work", cell_deadline_s=3.0)
    assert (late["status"], late["error"]) == ("failed", "no result after 3 s; --cell-deadline allows more")
    assert first["status"] == second["status"] == "ok"
    assert first["pid"] != second["pid"]
    assert has_ended(first["pid"])


def test_all_workers_have_ended_when_the_iterator_is_closed() -> None:
    rows = rows_of("work", "wait")
    pid = next(rows)["pid"]
    assert not has_ended(pid)
    rows.close()
    assert has_ended(pid)
