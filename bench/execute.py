"""Running cells on worker processes: a cell that kills its worker costs that cell, not the run."""

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.cell import Cell
from bench.store import make_row
from bench.worker import run_in_worker, start_worker

__all__ = ["Execution", "Job", "run_jobs"]


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Settings that cannot change a result, so they are in no key."""

    jobs: int
    parties: int
    deadline_s: float
    cell_deadline_s: float
    data_dir: Path | None
    faults_over_tcp: bool


@dataclass(frozen=True, kw_only=True)
class Job:
    """A cell to run, and its key."""

    cell: Cell
    key: str


@contextlib.contextmanager
def _interrupts_held() -> Generator[None, None, None]:
    """Start a process that never sees Ctrl-C, which is for this process: a new process inherits what is blocked."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


class _Slot:
    """One worker process at a time, replaced when it dies; so a death has exactly one cell to blame."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._executor: ProcessPoolExecutor | None = None
        self._pid: int | None = None

    def submit(self, job: Job) -> "Future[dict[str, Any]]":
        """Start a job on this slot's worker."""
        if self._executor is None:
            settings = self._execution
            self._executor = ProcessPoolExecutor(
                max_workers=1,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=start_worker,
                initargs=(settings.parties, settings.deadline_s, settings.data_dir, settings.faults_over_tcp),
            )
            with _interrupts_held():
                started = self._executor.submit(os.getpid)
            self._pid = started.result()
        return self._executor.submit(run_in_worker, job.cell, job.key)

    def discard(self) -> None:
        """Kill the worker; its parties end with it."""
        if self._pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
        self._executor, self._pid = None, None


def run_jobs(
    jobs: Sequence[Job], execution: Execution, *, started: Callable[[Job], None]
) -> Generator[dict[str, Any], None, None]:
    """Yield the row of each job as it is finished; `started` is called when a job goes to a worker.

    Guarantees:
        A job that takes longer than the cell deadline yields a `failed` row, and its worker is replaced.
        A job whose worker dies yields a `failed` row and the others are run by a new worker.
        All workers have ended when the iterator is closed or exhausted.
    """
    waiting = list(reversed(jobs))
    idle = [_Slot(execution) for _ in range(min(execution.jobs, len(jobs)))]
    slots = list(idle)
    running: dict[Future[dict[str, Any]], tuple[_Slot, Job]] = {}
    ends: dict[Future[dict[str, Any]], float] = {}
    try:
        while waiting or running:
            while idle and waiting:
                slot, job = idle.pop(), waiting.pop()
                started(job)
                future = _submit(slot, job)
                running[future] = slot, job
                ends[future] = time.monotonic() + execution.cell_deadline_s
            first_end = min(ends[future] for future in running)
            done = wait(running, timeout=max(0.0, first_end - time.monotonic()), return_when=FIRST_COMPLETED).done
            late = {future for future in running if ends[future] <= time.monotonic()} - done
            for future in done | late:
                slot, job = running.pop(future)
                if future in late:
                    slot.discard()
                    reason = f"no result after {execution.cell_deadline_s:g} s; --cell-deadline allows more"
                    yield make_row(job.cell, job.key, status="failed", error=reason)
                else:
                    yield _row(future, slot, job)
                idle.append(slot)
    finally:
        for slot in slots:
            slot.discard()


def _submit(slot: _Slot, job: Job) -> "Future[dict[str, Any]]":
    try:
        return slot.submit(job)
    except BrokenProcessPool as error:
        failed: Future[dict[str, Any]] = Future()
        failed.set_exception(error)
        return failed


def _row(future: "Future[dict[str, Any]]", slot: _Slot, job: Job) -> dict[str, Any]:
    error = future.exception()
    if error is None:
        return future.result()
    slot.discard()
    died = isinstance(error, BrokenProcessPool)
    reason = "the worker process died while it ran this cell" if died else f"{type(error).__name__}: {error}"
    return make_row(job.cell, job.key, status="failed", error=reason)
