"""The main job: an experiment's cells, run, stored, and reported."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from bench.cell import Cell, cell_key
from bench.drawing import parties_to_draw
from bench.environment import describe_environment
from bench.estimate import estimate_s
from bench.execute import Execution, Job, run_jobs
from bench.experiment import Experiment
from bench.federation import largest_cluster
from bench.folders import held
from bench.grid import expand, skip_reason
from bench.progress import Reporter, make_reporter, short_name
from bench.store import Store, load_environment, make_row, write_atomically
from bench.worker import DatasetCache
from protocols.check import CloisterError

__all__ = ["Plan", "Summary", "describe_plan", "execute_plan", "plan_as_json", "plan_experiment"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an experiment comes to: jobs to run, and cells skipped with their reasons, by key."""

    experiment: Experiment
    jobs: tuple[Job, ...]
    skips: tuple[tuple[Job, str], ...]
    data: DatasetCache

    @property
    def keys(self) -> list[str]:
        """All keys, in the order of the tables: what is run, then what is skipped."""
        return [job.key for job in self.jobs] + [job.key for job, _ in self.skips]

    @property
    def parties(self) -> int:
        """The number of party processes that the largest cluster needs, or the beacon that the most of them run."""
        return max((max(largest_cluster(job.cell), parties_to_draw(job.cell)) for job in self.jobs), default=1)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How a run ended; `contradicted` cells broke where their verdict had called them safe."""

    ok: int
    failed: int
    skipped: int
    reused: int
    missing: int
    contradicted: int
    wall_s: float


def plan_experiment(experiment: Experiment, data_dir: Path | None) -> Plan:
    """Return the plan; reads each data set once, so that a missing one is said before anything runs.

    Raises: CloisterError.
    """
    data = DatasetCache(data_dir)
    jobs: list[Job] = []
    skips: list[tuple[Job, str]] = []
    for cell in expand(experiment):
        dataset = data.get(cell.dataset)
        job = Job(cell=cell, key=cell_key(cell, dataset.fingerprint))
        reason = skip_reason(cell, dataset)
        if reason is None:
            jobs.append(job)
        else:
            skips.append((job, reason))
    if not jobs:
        raise CloisterError(f"nothing to run: every cell is skipped; the first because {skips[0][1]}")
    return Plan(experiment=experiment, jobs=tuple(jobs), skips=tuple(skips), data=data)


def execute_plan(
    plan: Plan,
    directory: Path,
    *,
    workers: int,
    deadline_s: float,
    cell_deadline_s: float,
    data_dir: Path | None,
    as_json: bool,
    faults_over_tcp: bool = False,
) -> Summary:
    """Run what has no `ok` row yet, write the tables, and return how it went.

    Guarantees:
        Every finished cell's row is on disk before the next one of its worker starts.
        The tables are written however the run ends, short of a kill; a resumed run completes them.

    Raises: CloisterError for a corrupt row file, or a folder that another run is writing; KeyboardInterrupt after the
    tables are written.
    """
    started = time.perf_counter()
    store = Store(directory)
    store.create()
    with held(directory):
        done = {key for key, row in store.rows().items() if row["status"] == "ok"}
        todo = [job for job in plan.jobs if job.key not in done]
        write_atomically(directory / "experiment.toml", plan.experiment.to_toml())
        _write_environment(directory)
        for job, reason in plan.skips:
            store.put(make_row(job.cell, job.key, status="skipped", error=reason))
        execution = Execution(
            jobs=workers,
            parties=plan.parties,
            deadline_s=deadline_s,
            cell_deadline_s=cell_deadline_s,
            data_dir=data_dir,
            faults_over_tcp=faults_over_tcp,
        )
        try:
            with make_reporter(len(todo), as_json=as_json, terminal=sys.stderr) as reporter:
                _run_all(todo, execution, store, reporter)
        finally:
            store.write_tables(plan.keys)
    return _summary(plan, store.rows(), reused=len(plan.jobs) - len(todo), wall_s=time.perf_counter() - started)


def _write_environment(directory: Path) -> None:
    """Write what the run runs on; a resumed run adds its own to what the first one wrote."""
    environment = describe_environment(_command())
    if (directory / "environment.json").is_file():
        first = load_environment(directory)
        environment = {**first, "resumed": [*first.get("resumed", []), environment]}
    write_atomically(directory / "environment.json", json.dumps(environment, indent=1))


def _run_all(todo: Sequence[Job], execution: Execution, store: Store, reporter: Reporter) -> None:
    cells = {job.key: job.cell for job in todo}
    rows = run_jobs(todo, execution, started=lambda job: reporter.started(job.cell))
    try:
        for row in rows:
            store.put(row)
            reporter.finished(cells[row["key"]], row)
    finally:
        rows.close()


def _summary(plan: Plan, rows: Mapping[str, Mapping[str, Any]], *, reused: int, wall_s: float) -> Summary:
    statuses = [rows[key]["status"] if key in rows else "missing" for key in plan.keys]
    return Summary(
        ok=statuses.count("ok"),
        failed=statuses.count("failed"),
        skipped=statuses.count("skipped"),
        missing=statuses.count("missing"),
        reused=reused,
        contradicted=sum(bool(rows[key]["metrics"].get("contradicted")) for key in plan.keys if key in rows),
        wall_s=wall_s,
    )


def _command() -> list[str]:
    return ["bench", *sys.argv[1:]]


def plan_estimate_s(plan: Plan, workers: int) -> float:
    """Return about how many seconds the plan takes on so many workers, without their start."""
    cells = [job.cell for job in plan.jobs]
    return estimate_s(cells, [plan.data.get(cell.dataset) for cell in cells]) / workers


def plan_as_json(plan: Plan, workers: int) -> dict[str, Any]:
    """Return the cells, the skips with their reasons, and an estimate, for machines."""
    return {
        "title": plan.experiment.title,
        "cells": [{"key": job.key, **job.cell.as_config()} for job in plan.jobs],
        "skips": [{"key": job.key, **job.cell.as_config(), "reason": reason} for job, reason in plan.skips],
        "estimate_s": plan_estimate_s(plan, workers),
    }


def describe_plan(plan: Plan, workers: int) -> str:
    """Return the cells, the skips with their reasons, and an estimate, as `--dry-run` prints them."""
    axes = [field.name for field in fields(Cell)]
    varying = [axis for axis in axes if len({getattr(job.cell, axis) for job in plan.jobs}) > 1]
    fixed = plan.jobs[0].cell.labels()
    lines = [
        f"{plan.experiment.title}: {len(plan.jobs)} cells to run, {len(plan.skips)} skipped",
        "same in all: " + ", ".join(f"{axis}={fixed[axis]}" for axis in axes if axis not in varying),
    ]
    for job in plan.jobs:
        labels = job.cell.labels()
        lines.append("  run   " + " ".join(f"{axis}={labels[axis]}" for axis in varying))
    lines += [f"  skip  {short_name(job.cell)}: {reason}" for job, reason in plan.skips]
    seconds = plan_estimate_s(plan, workers)
    lines.append(f"estimate: about {seconds:.0f} s on {workers} worker{'s' if workers > 1 else ''}, plus start-up")
    return "\n".join(lines)
