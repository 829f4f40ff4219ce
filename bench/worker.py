"""What a worker process does: keep one pool of parties and the data sets it has read, and run cells."""

import contextlib
import json
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Generator
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch

from bench.cell import Cell
from bench.data import Dataset
from bench.datasets import datasets
from bench.federation import run_cell
from bench.hiring import Hire, Processes, Threads
from bench.store import make_row
from protocols.check import CloisterError
from protocols.memory import keep_freed_memory
from protocols.network import NetworkError
from protocols.party_pool import PartyPool
from protocols.registry import Spec

__all__ = ["DatasetCache", "Worker", "run_in_worker", "start_worker"]


class DatasetCache:
    """Reads each data set once."""

    def __init__(self, data_dir: Path | None) -> None:
        self._data_dir = data_dir
        self._read: dict[Spec, Dataset] = {}

    def get(self, spec: Spec) -> Dataset:
        """Return the data set; CloisterError names what is missing and where to get it."""
        if spec not in self._read:
            self._read[spec] = datasets.make(spec).load(self._data_dir)
        return self._read[spec]


class Worker:
    """Runs cells one after the other, on one pool of party processes.

    With `faults_over_tcp` they play the clusters in which somebody misbehaves as well.
    """

    def __init__(self, *, parties: int, deadline_s: float, data_dir: Path | None, faults_over_tcp: bool) -> None:
        self._pool = PartyPool(parties, deadline_s=deadline_s)
        self._hire: Hire = Processes(pool=self._pool) if faults_over_tcp else Threads()
        self._datasets = DatasetCache(data_dir)

    def start(self) -> None:
        """Start the party processes now, so that no cell's run time holds their start."""
        self._pool.start()

    def run(self, cell: Cell, key: str) -> dict[str, Any]:
        """Return the row of a cell; whatever goes wrong in it becomes a `failed` row."""
        try:
            with _quiet():
                result = run_cell(cell, self._datasets.get(cell.dataset), self._pool, self._hire)
            row = make_row(cell, key, status="ok", metrics=result.metrics, curve=result.curve)
            json.dumps(row, allow_nan=False)  # a row that cannot be stored is this cell's failure, not the run's
        except Exception as error:
            return {**make_row(cell, key, status="failed", error=_reason(error)), "traceback": traceback.format_exc()}
        return row


def _reason(error: Exception) -> str:
    # Errors of ours say all in their text; of others the type is half of the story.
    return str(error) if isinstance(error, CloisterError) else f"{type(error).__name__}: {error}"


@contextlib.contextmanager
def _quiet() -> Generator[None, None, None]:
    """One thread a worker: cells, not matrix products, run side by side."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


_worker: list[Worker] = []  # one a worker process, made by start_worker


def start_worker(parties: int, deadline_s: float, data_dir: Path | None, faults_over_tcp: bool) -> None:
    """Prepare this process, once, before its first cell."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the main process, which then ends the workers
    _end_with_parent()
    keep_freed_memory()
    worker = Worker(parties=parties, deadline_s=deadline_s, data_dir=data_dir, faults_over_tcp=faults_over_tcp)
    with contextlib.suppress(NetworkError, OSError):  # the first cell tries again and reports the reason in its row
        worker.start()
    _worker.append(worker)


def run_in_worker(cell: Cell, key: str) -> dict[str, Any]:
    """Return the row of a cell, run by this process's worker."""
    return _worker[0].run(cell, key)


def _end_with_parent() -> None:
    """End this process when the main one ends, however it ends; its parties then end as well."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
