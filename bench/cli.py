"""The command `bench`: run, report, compare, list, new; `cli_peers` and `cli_tolerance` hold the others.

Exit codes: 0 all well; 1 a cell failed, or broke where its verdict said safe; 2 a mistake in what was asked, said in
one line; 130 interrupted.
"""

import json
import os
import sys
import warnings
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Protocol, runtime_checkable

import typer
from rich.console import Console

from bench import cli_tolerance
from bench.cli_peers import peers_app
from bench.folders import make_folder
from protocols.check import CloisterError

__all__ = ["app", "main"]

app = typer.Typer(
    help="Private and robust federated learning, measured: attack x clustering x privacy.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
new_app = typer.Typer(help="Write a working plug-in to start from.", no_args_is_help=True)
app.add_typer(new_app, name="new")
app.add_typer(peers_app, name="peers")

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
DataDir = Annotated[
    Path | None, typer.Option(envvar="CLOISTER_DATA", help="Folder with data sets in their publishers' layouts.")
]


@runtime_checkable
class _Misuse(Protocol):
    """What Typer raises for options and arguments that it cannot take; its class is private."""

    ctx: Any

    def format_message(self) -> str:
        """Return what is wrong."""
        ...


def _say_misuse(error: _Misuse) -> None:
    said = error.format_message()
    if said.startswith("Usage:"):  # no arguments at all: this is the help
        print(said)
        return
    command = error.ctx.command_path if error.ctx else "bench"
    print(
        f"bench: error: {' '.join(said.split()).rstrip('.')}; `{command} --help` shows what is allowed", file=sys.stderr
    )


def main() -> None:
    """Run the command line; every mistake of the user's is one line and exit code 2."""
    # Libraries warn about themselves; what matters to the user is an error or a column of the report.
    warnings.simplefilter("ignore")
    try:
        sys.exit(app(standalone_mode=False))  # what an option cannot be is an exception too, then
    except CloisterError as error:
        print(f"bench: error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except Exception as error:
        if isinstance(error, _Misuse):
            _say_misuse(error)
            sys.exit(2)
        if os.environ.get("CLOISTER_TRACEBACK"):
            raise
        text = " ".join(str(error).split()) or "no more is known"
        print(
            f"bench: error: unexpected {type(error).__name__}: {text}; CLOISTER_TRACEBACK=1 shows where",
            file=sys.stderr,
        )
        sys.exit(2)


@app.command()
def run(  # noqa: PLR0917 - the options of one command
    experiment: Annotated[str | None, typer.Argument(help="A preset's name, or a TOML file; default: quick.")] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", metavar="AXIS=VALUE[,VALUE]", help="Replace an axis; repeatable.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write; default reports/<preset>-<time>.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Run what is missing or failed in this directory.")] = None,
    jobs: Annotated[int, typer.Option(help="Worker processes, each with its own parties.")] = 1,
    data_dir: DataDir = None,
    rounds: Annotated[int | None, typer.Option(help="Rounds of every cell.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Seeds, such as 0,1,2.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print cells, skips and an estimate; run nothing.")
    ] = False,
    deadline: Annotated[float, typer.Option(help="Seconds that a party waits for another one.")] = 60.0,
    cell_deadline: Annotated[float, typer.Option(help="Seconds after which a cell has failed.")] = 3600.0,
    faults_over_tcp: Annotated[
        bool, typer.Option("--faults-over-tcp", help="Members who misbehave are party processes too, not threads.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Run a grid of federated trainings and write its report."""
    # The grid, torch and pandas take seconds to import, which `bench list` and errors should not wait for.
    from bench import run as job
    from protocols import check

    check.integer_at_least(1, jobs=jobs)
    check.positive(deadline=deadline, cell_deadline=cell_deadline)
    chosen = _experiment(experiment, resume, out, setting or [], rounds, seeds)
    plan = job.plan_experiment(chosen, data_dir)
    if dry_run:
        print(json.dumps(job.plan_as_json(plan, jobs)) if as_json else job.describe_plan(plan, jobs))
        return
    directory = resume or out or Path("reports") / f"{chosen.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    if directory.exists() and not directory.is_dir():
        raise CloisterError(f"out = {str(directory)!r} is a file; allowed: a new folder")
    if resume is None and directory.exists() and any(directory.iterdir()):
        raise CloisterError(f"out = {str(directory)!r} is not empty; allowed: a new folder, or --resume {directory}")
    try:
        summary = job.execute_plan(
            plan,
            directory,
            workers=jobs,
            deadline_s=deadline,
            cell_deadline_s=cell_deadline,
            data_dir=data_dir,
            as_json=as_json,
            faults_over_tcp=faults_over_tcp,
        )
    except KeyboardInterrupt:
        print(f"interrupted; finished cells are kept: bench run --resume {directory}", file=sys.stderr)
        sys.exit(130)
    report = _write_report([directory], directory)
    _print_summary(asdict(summary), directory, report, as_json)
    if summary.failed or summary.missing or summary.contradicted:
        sys.exit(1)


def _experiment(  # noqa: PLR0917 - the options that choose it
    name: str | None, resume: Path | None, out: Path | None, settings: list[str], rounds: int | None, seeds: str | None
) -> Any:
    from bench.experiment import load_experiment, parse_setting

    if resume is not None:
        if name is not None or settings or rounds is not None or seeds is not None or out is not None:
            raise CloisterError(
                "--resume runs what the directory's experiment.toml says; not with a preset, --set, --out, ..."
            )
        if not (resume / "experiment.toml").is_file():
            raise CloisterError(f"resume = {str(resume)!r} holds no experiment.toml; allowed: a directory of a run")
        return load_experiment(str(resume / "experiment.toml"))
    changed: dict[str, list[Any]] = {}
    for axis, values in map(parse_setting, settings):
        changed.setdefault(axis, []).extend(values)
    if rounds is not None:
        changed["rounds"] = [rounds]
    if seeds is not None:
        changed["seed"] = parse_setting(f"seed={seeds}")[1]
    return load_experiment("quick" if name is None else name).with_settings(changed)


def _print_summary(summary: dict[str, Any], directory: Path, report: Path, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"event": "done", **summary, "directory": str(directory), "report": str(report)}))
        return
    print(
        f"{summary['ok']} ok, {summary['failed']} failed, {summary['skipped']} skipped "
        f"({summary['reused']} already there) in {summary['wall_s']:.0f} s"
    )
    if summary["contradicted"]:
        print(f"{summary['contradicted']} broke where their verdict had said safe: the report names them first")
    print(f"tables: {directory / 'results.csv'}")
    print(f"report: {report}")


def _write_report(directories: list[Path], out: Path) -> Path:
    import pandas as pd

    from bench.report import write_report
    from bench.store import load_environment, load_results, load_rounds

    names = [directory.name for directory in directories]
    if len(set(names)) < len(names):
        names = [str(directory) for directory in directories]
    results = [load_results(each).assign(run=name) for each, name in zip(directories, names, strict=True)]
    rounds = [load_rounds(each).assign(run=name) for each, name in zip(directories, names, strict=True)]
    if len(directories) == 1:
        results, rounds = ([table.drop(columns="run") for table in tables] for tables in (results, rounds))
    experiments = [(directory / "experiment.toml").read_text(encoding="utf-8") for directory in directories]
    return write_report(
        out,
        pd.concat(results, ignore_index=True),
        pd.concat(rounds, ignore_index=True),
        [load_environment(directory) for directory in directories],
        experiments,
    )


@app.command()
def report(
    directories: Annotated[list[Path], typer.Argument(help="Directories that `bench run` wrote.")],
    out: Annotated[Path | None, typer.Option(help="Where to write; default: the first directory.")] = None,
) -> None:
    """Write the report of a run again, or one report of several runs together."""
    for directory in directories:
        _check_run(directory)
    target = out or directories[0]
    make_folder(target)
    print(f"report: {_write_report(directories, target)}")


def _check_run(directory: Path) -> None:
    if (directory / "rows").is_dir() and not (directory / "results.csv").is_file():
        from bench.store import Store

        store = Store(directory)  # a killed run has rows and no tables yet
        store.write_tables(store.rows())
    for name in ("results.csv", "rounds.csv", "environment.json", "experiment.toml"):
        if not (directory / name).is_file():
            raise CloisterError(f"{str(directory)!r} holds no {name}; allowed: a directory that `bench run` wrote")


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="The run to compare with.")],
    b: Annotated[Path, typer.Argument(help="The run that may differ.")],
    as_json: JsonFlag = False,
) -> None:
    """Show what changed between two runs, cell by cell, with intervals over seeds."""
    from bench.compare import as_records, render
    from bench.compare import compare as compare_results
    from bench.store import load_results

    comparison = compare_results(load_results(a), load_results(b))
    if as_json:
        print(json.dumps(as_records(comparison)))
    else:
        Console().print(render(comparison))


@app.command("list")
def list_(
    kind: Annotated[str | None, typer.Argument(help="attacks, clusterings, protocols, ...; default: all.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show what there is to choose from, with parameters and sources."""
    from bench.catalogue import KINDS, describe, print_catalogue

    if as_json:
        described = describe(kind) if kind is not None else {name: describe(name) for name in KINDS}
        print(json.dumps(described, indent=1))
    else:
        print_catalogue(KINDS if kind is None else (kind,), Console())


@new_app.command("attack")
def new_attack(
    name: Annotated[str, typer.Argument(help="A lower-case Python name; the attack's name in grids and reports.")],
    directory: Annotated[Path | None, typer.Option("--into", help="Folder; default: attacks/update.")] = None,
) -> None:
    """Write a working attack on updates, found by `bench list` and tested by the conformance kit."""
    from bench import scaffold

    print(f"attack: {scaffold.new_attack(name, directory)}")


@new_app.command("clustering")
def new_clustering(
    name: Annotated[str, typer.Argument(help="A lower-case Python name; the policy's name in grids and reports.")],
    directory: Annotated[Path | None, typer.Option("--into", help="Folder; default: protocols/clustering.")] = None,
) -> None:
    """Write a working clustering policy, found by `bench list` and tested by the conformance kit."""
    from bench import scaffold

    print(f"clustering: {scaffold.new_clustering(name, directory)}")


@new_app.command("placement")
def new_placement(
    name: Annotated[str, typer.Argument(help="A lower-case Python name; the placement's name in grids and reports.")],
    directory: Annotated[Path | None, typer.Option("--into", help="Folder; default: protocols/placements.")] = None,
) -> None:
    """Write a working placement of faulty processes, found by `bench list`."""
    from bench import scaffold

    print(f"placement: {scaffold.new_placement(name, directory)}")


@new_app.command("system")
def new_system(
    name: Annotated[str, typer.Argument(help="A lower-case Python name; the system's name in reports.")],
    directory: Annotated[Path | None, typer.Option("--into", help="Folder; default: the current one.")] = None,
) -> None:
    """Write the adapter of somebody else's secure sum, to be verified by `pytest --protocol`."""
    from bench import scaffold

    print(f"system: {scaffold.new_system(name, directory)}")


app.command("tolerance")(cli_tolerance.tolerance)
app.command("simulate")(cli_tolerance.simulate)
