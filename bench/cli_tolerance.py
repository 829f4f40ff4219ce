"""The commands `bench tolerance` and `bench simulate`: who may fail where, computed and drawn."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from bench.folders import make_folder
from protocols.check import CloisterError

if TYPE_CHECKING:
    from protocols.tolerance.conditions import Conditions
    from protocols.tolerance.hidden import Delegates

__all__ = ["simulate", "tolerance"]

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


Processes = Annotated[int, typer.Option("--n", help="Processes.")]
Faulty = Annotated[str, typer.Option(help="Byzantine processes: a count, or a fraction such as 0.2, rounded down.")]
Crash = Annotated[str, typer.Option(help="Crashed processes: a count, or a fraction, rounded down.")]
Curious = Annotated[str, typer.Option(help="Curious processes: a count, or a fraction, rounded down.")]
ProtocolName = Annotated[
    str, typer.Option("--protocol", help="A sum (additive, shamir, ...), a robust statistic (median, ...), or hidden.")
]
SimulatedName = Annotated[
    str, typer.Option("--protocol", help="A sum (additive, shamir, ...) or a robust statistic (median, ...).")
]
Mode = Annotated[
    str | None, typer.Option(help="The protocol's mode, such as vss, or passive for a statistic; default: its first.")
]
Threshold = Annotated[str | None, typer.Option(help="c/2, c/3, 2c/3, c-1, a number, ...")]
LeastHonest = Annotated[
    int | None,
    typer.Option(
        help="A sum is withheld unless so many of its inputs are from others than may collude; default: the protocol's."
    ),
]
LeastPassing = Annotated[
    int | None,
    typer.Option(
        help="Of norm_check and range_check: nothing opens unless so many members pass; default: the protocol's."
    ),
]
Hidden = Annotated[bool, typer.Option("--hidden", help="Cluster sums stay shared.")]
CheckedInputs = Annotated[
    bool, typer.Option("--checked-inputs", help="A Byzantine input cannot move a cluster arbitrarily.")
]
Policy = Annotated[str, typer.Option(help="How clusters are formed.")]
Aggregator = Annotated[str, typer.Option(help="The rule that combines the clusters.")]
Pre = Annotated[
    str,
    typer.Option(help='Before the rule: nnm, bucketing,nnm or {name="bucketing",size=3}; what it withstands counts.'),
]
PlacementName = Annotated[
    str | None,
    typer.Option(
        "--placement",
        help="Where faulty processes sit: uniform, iid, packed, spread, worst, targeted, by_domain or heterogeneous; "
        "default: uniform, or targeted where there are moves.",
    ),
]
Domains = Annotated[int | None, typer.Option(help="Failure domains; default: 10.")]
Moves = Annotated[int, typer.Option(help="Faulty processes aimed each round, after clusters are drawn.")]


def tolerance(  # noqa: PLR0917 - the options of one command
    n: Processes,
    faulty: Faulty,
    cluster_size: Annotated[
        str | None, typer.Option(help="A size, or a range such as 3:101; default: the best one.")
    ] = None,
    crash: Crash = "0",
    curious: Curious = "0",
    protocol: ProtocolName = "shamir",
    mode: Mode = None,
    threshold: Threshold = None,
    least_honest: LeastHonest = None,
    least_passing: LeastPassing = None,
    hidden: Hidden = False,
    checked_inputs: CheckedInputs = False,
    policy: Policy = "random",
    aggregator: Aggregator = "median",
    pre: Pre = "none",
    target: Annotated[
        str | None, typer.Option(help="The failure probability to stay below, such as 1e-6 or 2^-40.")
    ] = None,
    rounds: Annotated[int | None, typer.Option(help="Rounds, with clusters drawn anew if the policy does.")] = None,
    placement: PlacementName = None,
    domains: Domains = None,
    moves: Moves = 0,
    every: Annotated[
        int | None, typer.Option(help="Rounds for which clusters are kept before they are drawn anew; default: 1.")
    ] = None,
    levels: Annotated[
        str | None, typer.Option(help="Least parts of a group of the hierarchical policy: 3 unless told, or 3,4.")
    ] = None,
    coordinates: Annotated[
        int | None, typer.Option(help="The length of an update, for the cost of designs; default: 10,000.")
    ] = None,
    delegates: Annotated[
        int | None, typer.Option(help="Who hold the sums of protocol hidden, 3 unless told; --threshold is theirs.")
    ] = None,
    input_check: Annotated[
        str | None, typer.Option(help="Of protocol hidden: range, where delegates look at every input; default: none.")
    ] = None,
    design: Annotated[
        bool, typer.Option("--design", help="Also: window, most faults, cheapest design, Pareto front.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Also a page with figures: an .html file, or a folder.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show how likely a placement of faulty processes breaks a design, and what is tolerated at worst."""
    # The rules import torch, which `bench list` and errors should not wait for.
    from bench import tolerance as job

    path = _page_at(out)
    is_range = cluster_size is not None and ":" in cluster_size
    if design and is_range:
        raise CloisterError(
            f"design means nothing to a range of sizes, cluster_size = {cluster_size!r}; allowed: one size, or none"
        )
    drawn_anew = policy in job.POLICIES and job.POLICIES[policy].redrawn
    _refuse_useless("coordinates", coordinates, design or out is not None, "with --design or --out")
    _refuse_useless("levels", levels, policy == "hierarchical", "with --policy hierarchical")
    _refuse_useless("domains", domains, placement == "by_domain" or out is not None, "with --placement by_domain")
    _refuse_useless(
        "every",
        every,
        drawn_anew and (rounds is not None or moves > 0),
        "with --rounds or --moves, and a policy that draws clusters anew",
    )
    conditions, serving = _named(
        protocol,
        mode=mode,
        threshold=threshold,
        least_honest=least_honest,
        revealed=not hidden,
        checked=checked_inputs,
        least_passing=least_passing,
        delegates=delegates,
        input_check=input_check,
        aggregator=aggregator,
    )
    asked = job.ask(
        n=n,
        faulty=faulty,
        crash=crash,
        curious=curious,
        cluster_size=cluster_size,
        conditions=conditions,
        policy=policy,
        aggregator=aggregator,
        pre=pre,
        target=target,
        rounds=rounds,
        placement=placement,
        domains=domains,
        moves=moves,
        every=1 if every is None else every,
        levels="3" if levels is None else levels,
        coordinates=10_000 if coordinates is None else coordinates,
        delegates=serving,
    )
    if path is not None:
        make_folder(path.parent)
    found = job.answers(asked, design=design)
    if path is not None:
        from bench.report.tolerance_page import write_tolerance_page  # figures import pandas and seaborn

        write_tolerance_page(path, found)
    if as_json:
        refused = [{"cluster_size": size, "refused": reason} for size, reason in job.refusals(asked).items()]
        records = [answer.as_json() for answer in found]
        print(json.dumps([*refused, *records] if is_range else records[0]))
        return
    if is_range:
        Console().print(job.tabulate(found, job.refusals(asked)))
    else:
        print("\n".join(job.describe(found[0])))
    if path is not None:
        print(f"page: {path}")


def _refuse_useless(name: str, value: object, useful: bool, allowed: str) -> None:
    if value is not None and not useful:
        raise CloisterError(f"{name} = {value} means nothing here; allowed: leave the option out, or {allowed}")


def _named(
    protocol: str,
    *,
    mode: str | None,
    threshold: str | None,
    least_honest: int | None,
    revealed: bool,
    checked: bool,
    least_passing: int | None,
    delegates: int | None,
    input_check: str | None,
    aggregator: str,
) -> "tuple[Conditions, Delegates | None]":
    """Return what the protocol tolerates in a cluster, and who holds the sums where these stay hidden."""
    from bench.tolerance.hidden import hidden_named
    from protocols.playable import cluster_protocols, conditions_named

    if not cluster_protocols.is_hidden(protocol):
        for name, value in {"delegates": delegates, "input_check": input_check}.items():
            if value is not None:
                raise CloisterError(
                    f"{name} = {value} means nothing to protocol {protocol!r}; allowed: --protocol hidden"
                )
        found = conditions_named(
            protocol,
            mode=mode,
            threshold=threshold,
            least_honest=least_honest,
            least_passing=least_passing,
            revealed=revealed,
            checked=checked,
        )
        return found, None
    useless = {
        "hidden": not revealed,
        "checked_inputs": checked,
        "least_honest": least_honest is not None,
        "least_passing": least_passing is not None,
    }
    for name, given in useless.items():
        if given:
            raise CloisterError(f"{name} means nothing to protocol {protocol!r}; allowed: leave the option out")
    return hidden_named(
        mode=mode,
        threshold=threshold,
        delegates=3 if delegates is None else delegates,
        aggregator=aggregator,
        input_check=input_check or "none",
    )


def _page_at(out: Path | None) -> Path | None:
    """Return the file to write, and refuse what cannot be one before anything is computed."""
    if out is None:
        return None
    path = out if out.suffix == ".html" else out / "tolerance.html"
    if path.is_dir() or any(parent.exists() and not parent.is_dir() for parent in path.parents):
        raise CloisterError(
            f"out = {str(out)!r} is no place for a page; allowed: a file that ends in .html, or a folder"
        )
    return path


_IDENTIFY_HELP = "Test every cluster every round, and report rounds until identified against rounds until disclosed."


def simulate(  # noqa: PLR0917 - the options of one command
    n: Processes,
    faulty: Faulty,
    cluster_size: Annotated[int, typer.Option(help="Members of a cluster, at least.")],
    crash: Crash = "0",
    curious: Curious = "0",
    protocol: SimulatedName = "shamir",
    mode: Mode = None,
    threshold: Threshold = None,
    least_honest: LeastHonest = None,
    least_passing: LeastPassing = None,
    hidden: Hidden = False,
    checked_inputs: CheckedInputs = False,
    policy: Policy = "random",
    every: Annotated[
        int | None, typer.Option(help="Rounds for which clusters are kept; 0: for ever. Default: 1.")
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Processes that always act together, for sticky.")] = None,
    aggregator: Aggregator = "median",
    pre: Pre = "none",
    placement: PlacementName = None,
    domains: Domains = None,
    moves: Moves = 0,
    rounds: Annotated[int, typer.Option(help="Rounds.")] = 1000,
    joins: Annotated[float, typer.Option(help="Mean share of the processes that join in a round.")] = 0.0,
    leaves: Annotated[float, typer.Option(help="Mean share of the processes that leave in a round.")] = 0.0,
    identify: Annotated[bool, typer.Option("--identify", help=_IDENTIFY_HELP)] = False,
    test_error: Annotated[float, typer.Option(help="How likely a test of a cluster errs, either way.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of all draws.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Also write rounds.csv, a line a round, in this folder.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Re-cluster round after round without training, with churn, beside what the theory predicts."""
    # The rules import torch, which `bench list` and errors should not wait for.
    from bench import simulation as job
    from bench.simulate_command import run_and_print
    from protocols.playable import conditions_named

    asked = job.request(
        n=n,
        faulty=faulty,
        crash=crash,
        curious=curious,
        cluster_size=cluster_size,
        conditions=conditions_named(
            protocol,
            mode=mode,
            threshold=threshold,
            least_honest=least_honest,
            least_passing=least_passing,
            revealed=not hidden,
            checked=checked_inputs,
        ),
        policy=policy,
        aggregator=aggregator,
        pre=pre,
        placement=placement,
        domains=domains,
        moves=moves,
        rounds=rounds,
        every=every,
        batch=batch,
        joins=joins,
        leaves=leaves,
        identify=identify,
        test_error=test_error,
        seed=seed,
    )
    run_and_print(asked, out=out, as_json=as_json)
