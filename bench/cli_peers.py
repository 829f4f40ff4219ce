"""The commands `bench peers ...`: ours against other people's code."""

import contextlib
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bench.folders import held, make_folder
from protocols.check import CloisterError

__all__ = ["peers_app"]

peers_app = typer.Typer(help="Time ours against a peer's code, in turns, in one process.", no_args_is_help=True)

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Turns = Annotated[int, typer.Option(help="Timed turns of each.")]


@peers_app.command("training")
def peers_training(turns: Turns = 15, as_json: JsonFlag = False) -> None:
    """Local training of 100 clients at once against a plain loop over clients: one thread, equal gradients."""
    from bench.peers.training import compare_training

    _check_turns(turns)
    _print_comparisons(compare_training(turns=turns), as_json)


@peers_app.command("sums")
def peers_sums(turns: Turns = 7, as_json: JsonFlag = False) -> None:
    """One encrypted sum of 5 parties, d = 1,000,000, against CrypTen as it comes and against moving its bytes."""
    from bench.peers.sums import compare_sums

    _check_turns(turns)
    _print_comparisons(compare_sums(turns=turns), as_json)


@peers_app.command("attacks")
def peers_attacks(turns: Turns = 7, as_json: JsonFlag = False) -> None:
    """Attacks on updates, n = 100, f = 20, d = 100,000, one thread, against byzfl; equal results are checked."""
    from bench.peers.attacks import compare_attacks

    _check_turns(turns)
    _print_comparisons(compare_attacks(turns=turns), as_json)


@peers_app.command("tolerance")
def peers_tolerance(turns: Turns = 5, as_json: JsonFlag = False) -> None:
    """Exact failure probabilities, a sweep at n = 1,000 and one at n = 1,000,000, against drawing placements."""
    from bench.peers.tolerance import compare_tolerance

    _check_turns(turns)
    _print_comparisons(compare_tolerance(turns=turns), as_json)


@peers_app.command("aggregators")
def peers_aggregators(
    n: Annotated[int, typer.Option(help="Rows.")] = 100,
    f: Annotated[int, typer.Option(help="Tainted rows that the rules are told of.")] = 20,
    d: Annotated[int, typer.Option(help="Coordinates.")] = 100_000,
    turns: Turns = 5,
    as_json: JsonFlag = False,
) -> None:
    """Robust rules against byzfl's, its torch and its numpy form: one thread, equal results, processor time."""
    from bench.peers.aggregators import compare_aggregators, notes

    _check_turns(turns)
    _print_comparisons(compare_aggregators(n=n, f=f, d=d, turns=turns), as_json)
    if not as_json:
        print("\n".join(notes()))


@peers_app.command("hostile")
def peers_hostile(
    n: Annotated[int, typer.Option(help="Rows.")] = 11,
    f: Annotated[int, typer.Option(help="Rows of hostile numbers.")] = 3,
    as_json: JsonFlag = False,
) -> None:
    """Rows of NaN, infinities, 1e30 and 1e-40: what each rule returns, and byzfl's beside it; exit 1 if ours breaks."""
    from bench.peers.hostile import NOTE, hostile_table

    table = hostile_table(n=n, f=f)
    if as_json:
        facts = [{**asdict(row), "promises": row.promises, "survived": row.survived} for row in table]
        print(json.dumps(facts, indent=1))
    else:
        shown = Table("rule", "honest size", "rows of", "ours", "byzfl")
        for row in table:
            colour = "dim" if not row.promises else "green" if row.survived else "red"
            shown.add_row(row.name, f"{row.scale:g}", row.poison, f"[{colour}]{row.ours}[/]", row.peer or "-")
        Console().print(shown)
        print(NOTE)
    if not all(row.survived for row in table if row.promises):
        raise typer.Exit(1)


@peers_app.command("robust")
def peers_robust(  # noqa: PLR0917 - its options
    out: Annotated[Path | None, typer.Option(help="Folder for prices.json, .csv, .md and .png.")] = None,
    statistics: Annotated[str | None, typer.Option(help="Only these, such as median,krum.")] = None,
    parties: Annotated[str, typer.Option(help="Sizes of clusters.")] = "3,5,8",
    resume: Annotated[bool, typer.Option("--resume", help="Keep what prices.json in the folder has already.")] = False,
    turns: Turns = 3,
    as_json: JsonFlag = False,
) -> None:
    """Every robust statistic of 3, 5 and 8 parties, d = 1,000 to 1,000,000; the median against stock CrypTen's.

    With --out each finished statistic is kept in prices.json at once; --resume goes on from there, with more parties or
    statistics if asked.
    """
    from bench.peers.robust_kept import Kept, code_of_prices, kept_in, measure, write_kept
    from bench.report.price_page import HEAD, median_line, price_rows, write_prices

    _check_turns(turns)
    names, sizes = _statistics_of(statistics), _sizes_of(parties)
    environment = {**_price_environment(), "code": code_of_prices(), "turns": turns}
    if resume and out is None:
        raise CloisterError("--resume goes on from what a folder has; allowed: with --out FOLDER")
    with contextlib.ExitStack() as stack:
        if out is not None:
            make_folder(out)
            stack.enter_context(held(out))
        before = kept_in(out, code=code_of_prices(), turns=turns) if resume and out is not None else Kept()

        def keep(kept: Kept) -> None:
            if out is not None:
                write_kept(out, kept, environment)
            print(f"{len(kept.prices)} prices so far", file=sys.stderr, flush=True)

        kept = measure(before, names=names, parties=sizes, turns=turns, keep=keep)
        written = [] if out is None else write_prices(out, kept, environment)
    assert kept.median is not None
    if as_json:
        print(json.dumps({"median": asdict(kept.median), "prices": [asdict(price) for price in kept.prices]}, indent=1))
        return
    table = Table(*HEAD)
    for row in price_rows(kept.prices):
        table.add_row(*row)
    Console().print(table)
    print(median_line(kept.median))
    print(*written, sep="\n")


def _price_environment() -> dict[str, Any]:
    from bench.environment import describe_environment

    return {**describe_environment(["bench", *sys.argv[1:]]), "load": os.getloadavg()}


def _statistics_of(text: str | None) -> list[str] | None:
    """Return the names; None: all. Raises: CloisterError for one that is no statistic."""
    from protocols.secure_robust import robust_statistics

    if text is None:
        return None
    return [robust_statistics.resolve(name.strip()).name for name in text.split(",")]


def _sizes_of(text: str) -> list[int]:
    from protocols import check

    try:
        sizes = [int(each) for each in text.split(",")]
    except ValueError:
        raise CloisterError(f"parties = {text!r} are no numbers; allowed: such as 3,5,8") from None
    for size in sizes:
        check.integer_at_least(3, parties=size)
    return sizes


def _check_turns(turns: int) -> None:
    from protocols import check

    check.integer_at_least(1, turns=turns)


def _print_comparisons(comparisons: list[Any], as_json: bool) -> None:
    rows = [asdict(comparison) for comparison in comparisons]
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    table = Table("name", "peer", "ours ms", "peer ms", "ratio")
    for row in rows:
        times = [f"{row['ours_s'] * 1e3:.2f}", f"{row['peer_s'] * 1e3:.2f}", f"{row['ratio']:.1f}x"]
        table.add_row(row["name"], row["peer"], *times)
    Console().print(table)
