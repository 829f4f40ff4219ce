"""Cluster sums that stay hidden: all clusters of a round play one protocol, which opens the rule's result alone.

The cell's clusters are the protocol's groups of the top level, whose sums its aggregator combines under encryption;
with `levels` a cluster adds up within itself first. All run among threads of this process, by the same code and with
the same words and bytes as party processes: a process each for all members of a federation would be too many.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attacks import attacks
from attacks.plan import specs_of
from bench.cell import Cell
from bench.chain import links_of
from bench.compressing import combined_rows, updates_of
from bench.handing import Handed
from bench.hiring import Threads
from bench.inside import same_members
from bench.numbering import batch_number
from bench.opening import Opened, named_in
from bench.rules import rule_of
from bench.setting import Federation
from protocols.check import CloisterError
from protocols.clustering import clusterings
from protocols.faults import Crash
from protocols.faulty_link import Fault
from protocols.hidden_sums import HiddenSums, hidden_sums
from protocols.hidden_sums.rules import outer_rules
from protocols.network import NetworkError
from protocols.parties import OpenedSums, Parties
from protocols.playable import cluster_protocols
from protocols.privacy import mechanisms
from protocols.registry import Spec
from protocols.tolerance.verdict import Verdict
from protocols.types import Clustering, balanced_sizes

__all__ = ["hidden_verdict", "in_order", "open_aggregate", "protocol_of", "result_in_the_clear", "unfit_hidden"]

_GIVEN_BY_THE_CELL = ("group_size", "outer", "tolerate", "noise_std")


def unfit_hidden(cell: Cell, sizes: Sequence[int]) -> str | None:
    """Return why the cell's clusters cannot keep their sums hidden, in words, or None."""
    if sorted(sizes, reverse=True) != list(balanced_sizes(sum(sizes), min(sizes))):
        return f"{cell.protocol.name}: clusters of {sorted(set(sizes))} members differ by more than one"
    reason = next(_unfit_parts(cell), None)
    if reason is not None:
        return f"{cell.protocol.name}: {reason}"
    parts = math.prod(_levels(cell))
    if min(sizes) < parts:
        return f"{cell.protocol.name}: clusters of {min(sizes)} members make no {parts} groups; take larger clusters"
    try:
        protocol = hidden_sums.make(protocol_of(cell, sizes))
        protocol.check_size(parties=sum(sizes))
    except CloisterError as error:
        return f"{cell.protocol.name}: {error}"
    tops = [len(each) for each in protocol.groups_of(parties=sum(sizes))]
    if tops != sorted(sizes, reverse=True):
        return (
            f"{cell.protocol.name}: clusters of {sorted(set(sizes))} members are no groups of {parts} groups that "
            f"differ by one at most, which have {sorted(set(tops))}; let all clusters have one multiple of {parts}"
        )
    return None


def _levels(cell: Cell) -> tuple[int, ...]:
    """Return how many parts a node of each level within a cluster has."""
    return tuple(dict(cell.protocol.as_config())["levels"])


def _unfit_parts(cell: Cell) -> Iterator[str]:
    """Yield which parts of the cell need what stays hidden, or say what the cell's clusters and its rule say."""
    defaults = cluster_protocols.entry(cell.protocol.name).defaults
    for key, value in cell.protocol.parameters:
        if key in _GIVEN_BY_THE_CELL and value != defaults[key]:
            yield f"{key} follows from the cell's clusters, its aggregator and its privacy"
    if cell.aggregator.name not in outer_rules.entries():
        yield f"{cell.aggregator.name} has no form under encryption; {', '.join(outer_rules.entries())} have one"
    for link in links_of(cell.pre):
        if link.name != "none":
            yield f"{link.name} would have to see the clusters' means"
    if cell.decentralised:
        yield f"with {cell.topology.name} clusters exchange what they open, and here they open nothing"
    if "reports" in clusterings.make(cell.clustering).needs:
        yield f"{cell.clustering.name} learns from what clusters open, and here they open nothing"
    for spec in specs_of(cell.attack):
        if attacks.entry(spec.name).facts.get("swaps"):
            yield f"{spec.name} swaps messages of two clusters, and here all clusters play together"


def protocol_of(cell: Cell, sizes: Sequence[int]) -> Spec:
    """Return the protocol as the cell's clusters play it, each alone or, where sums stay hidden, all together."""
    if not cluster_protocols.is_hidden(cell.protocol.name):
        return cell.protocol
    withstood = rule_of(cell).breakdown(len(sizes))
    rule = {"outer": cell.aggregator.name, "tolerate": max(min(cell.f, len(sizes), withstood), 0)}
    noise_std = mechanisms.make(cell.privacy).result_std(1.0, cell.participants)
    given = {**rule, "group_size": max(min(sizes) // math.prod(_levels(cell)), 1), "noise_std": noise_std}
    return hidden_sums.resolve({**cell.protocol.as_config(), **given})


def hidden_verdict(federation: Federation, clustering: Clustering, said: Verdict) -> Verdict:
    """Return the verdict on clusters whose sums stay hidden, of that on their groups: with the delegates in it.

    All three sides: whoever is drawn to serve. Crashed members leave before they say that they are there; where there
    is an attack on messages, Byzantine ones may do anything at any time.
    """
    protocol, colluding = hidden_sums.make(federation.protocol), federation.who_fails.colluding
    complete = [clustering.clusters[j] for j in in_order(clustering)]
    complete = [each for each in complete if not federation.crashed[list(each)].any()]
    # Who does not pass a check costs its cluster, too.
    passing = [each for each in complete if not (federation.in_range and federation.faulty[list(each)].any())]
    why = list(said.why)
    deviating = federation.who_fails.byzantine if _on_messages(federation) else frozenset[int]()
    private, opens = not protocol.exposes(complete, colluding, deviating=deviating), True
    deceived = protocol.deceives(complete, deviating)
    if not private:
        alone = "colluding members may know single inputs: as delegates, or by a mean of what they leave in"
        served = "colluding members may serve as delegates and know all of a cluster but one"
        why.append(alone if federation.in_range else served)
    if deceived:
        why.append("a Byzantine delegate, of each committee, may open what it likes")
    if deviating:
        why.append("a Byzantine member may stop the round")
    try:
        protocol.check_groups(groups=len(complete))
        if len(passing) < protocol.least_groups:
            opens = False
            why.append(
                f"{len(passing)} of {len(clustering.clusters)} clusters surely pass the check of inputs; "
                f"allowed: {protocol.least_groups} or more"
            )
    except CloisterError as error:
        opens = False
        why.append(f"{len(complete)} of {len(clustering.clusters)} clusters are complete: {error}")
    return replace(
        said,
        private=said.private and private,
        correct=said.correct and opens and not deceived,
        live=said.live and opens and not deviating,
        why=tuple(why),
    )


def _on_messages(federation: Federation) -> bool:
    return any(part.facts["surface"] == "message" and part.senders.any() for part in federation.parts)


def in_order(clustering: Clustering) -> list[int]:
    """Return the clusters' numbers as the protocol's groups have them, which are the ranks in order: larger first."""
    return sorted(range(len(clustering.clusters)), key=lambda j: (-clustering.sizes[j], j))


def result_in_the_clear(federation: Federation, words: Tensor, clustering: Clustering) -> Tensor | None:
    """Return the update (d,) that is about to open of these words (n, k), without noise; None where nothing is."""
    protocol = hidden_sums.make(federation.protocol)
    complete = [j for j in in_order(clustering) if not federation.crashed[list(clustering.clusters[j])].any()]
    try:
        protocol.check_groups(groups=len(complete))
    except CloisterError:
        return None
    places = [process for j in complete for process in clustering.clusters[j]]
    result = protocol.decode(protocol.reference(words[places][None]), parties=len(places))
    return updates_of(federation, combined_rows(federation, result))[0]


def open_aggregate(
    federation: Federation,
    words: Tensor,
    clustering: Clustering,
    misconduct: Mapping[int, Fault],
    *,
    round_index: int,
    handed: Handed | None = None,
) -> Opened:
    """Open what the rule makes of all clusters' sums; a cluster with a crashed member leaves the round.

    The means are those that nobody sees, for the bench to judge the result by. Nothing is opened where too few
    clusters are left, or where somebody stops the batch. `misconduct` says what processes do to their messages; what
    they may do to their own sums by it is for the verdict to say, so that no result counts as inexact then.

    Raises: NetworkError where nobody crashed and nobody misbehaves.
    """
    places = [process for j in in_order(clustering) for process in clustering.clusters[j]]
    parties = _parties(federation)
    number = batch_number(seed=federation.seed, round_index=round_index, attempt=0, cluster=0)
    faults = {rank: misconduct[process] for rank, process in enumerate(places) if process in misconduct}
    faults |= {rank: Crash(step=0) for rank, process in enumerate(places) if federation.crashed[process]}
    try:
        models = None if handed is None else handed.of_batch([places])
        opened = parties.open_sums(
            federation.protocol, words[places][None], number=number, faults=faults, models=models
        )
    except NetworkError as error:
        if not (federation.crashed.any() or misconduct):
            raise
        nothing = Opened(numbers=[], means=words[:0].double(), contributors=[], exact=[], traffic=parties.spent)
        named = frozenset(places[rank] for rank in named_in(error))
        told = _told_before_it_stopped(federation, clustering)
        return replace(nothing, lost=parties.spent, named=named, told=told, stopped=bool(misconduct))
    protocol, colluding = hidden_sums.make(federation.protocol), federation.who_fails.colluding
    present = frozenset(places[rank] for rank in opened.contributors)
    counted = present if opened.kept is None else frozenset(_kept_of(places, opened))
    there = [j for j, each in enumerate(clustering.clusters) if counted.issuperset(each)]
    suspects = frozenset(places[rank] for rank in opened.suspects)
    excluded = None if opened.kept is None else suspects
    # A delegate that departs from the protocol may have honest members fail.
    named = suspects if excluded is None or not misconduct else frozenset[int]()
    ranks = frozenset(rank for rank, process in enumerate(places) if process in colluding)
    n, contributors, use = len(places), opened.contributors, number
    told = frozenset(
        places[rank] for rank in protocol.exposed(parties=n, contributors=contributors, colluding=ranks, use=use)
    )
    if not there:
        nothing = Opened(numbers=[], means=words[:0].double(), contributors=[], exact=[], traffic=opened.traffic)
        nothing = replace(nothing, excluded=excluded)
        return replace(nothing, lost=opened.traffic, named=named, told=told, stopped=bool(misconduct))
    sums = torch.stack([words[list(clustering.clusters[j])].sum(dim=0) for j in there])
    sizes = torch.tensor([clustering.sizes[j] for j in there])
    result = _judged(protocol, words[places][None, list(opened.contributors)], opened.sums, opened.kept)
    return Opened(
        numbers=there,
        means=federation.ring.decode(sums) / sizes[:, None],
        contributors=[clustering.clusters[j] for j in there],
        exact=[result.exact or bool(misconduct)] * len(there),
        traffic=opened.traffic,
        aggregate=result.aggregate,
        noise=result.noise,
        protection=protocol.protection(parties=n, contributors=contributors, colluding=ranks, use=use),
        told=told,
        faulty=frozenset(there if misconduct else ()),
        named=named,
        excluded=excluded,
        empty=frozenset(
            j for j, each in enumerate(clustering.clusters) if present.issuperset(each) and not counted.issuperset(each)
        ),
    )


def _told_before_it_stopped(federation: Federation, clustering: Clustering) -> frozenset[int]:
    """Return whose inputs colluding delegates may hold although nothing opened, where they hold single ones.

    A batch that stops does not say who served in it: so it counts whoever may have.
    """
    protocol, colluding = hidden_sums.make(federation.protocol), federation.who_fails.colluding
    complete = [clustering.clusters[j] for j in in_order(clustering)]
    complete = [each for each in complete if not federation.crashed[list(each)].any()]
    served = federation.in_range and len(complete) >= protocol.least_groups
    if not (served and protocol.exposes(complete, colluding)):
        return frozenset()
    return frozenset(process for each in complete for process in each) - colluding


def _kept_of(places: Sequence[int], opened: OpenedSums) -> Iterator[int]:
    """Yield the processes whose words are in the result."""
    assert opened.kept is not None
    kept: list[bool] = opened.kept[0].tolist()
    return (places[rank] for rank, inside in zip(opened.contributors, kept, strict=True) if inside)


@dataclass(frozen=True, kw_only=True)
class _Result:
    """What opened (d,), taken apart: the rule's result and the noise on it; `exact` where these can be told apart."""

    aggregate: Tensor
    noise: Tensor
    exact: bool


def _judged(protocol: HiddenSums, words: Tensor, opened: Tensor, kept: Tensor | None = None) -> _Result:
    """Return the result for words (1, contributors, d): the opened words, or what they are but for their noise.

    `kept` is who is said to be in it, where inputs are checked.
    """
    members, reference = words.shape[1], protocol.reference(words)
    bound, apart = protocol.noise_bound(parties=members), opened - reference.sums
    # No absolute value: int64 has none of -2^63, which is what a flipped top bit makes.
    exact = bool(((apart <= bound) & (apart >= -bound)).all()) and bool(same_members(kept, reference.kept).all())
    known = reference if bound and exact else replace(reference, sums=opened)
    return _Result(
        aggregate=protocol.decode(known, parties=members)[0],
        noise=protocol.decode(replace(reference, sums=opened - known.sums), parties=members)[0],
        exact=exact,
    )


def _parties(federation: Federation) -> Parties:
    """Return the threads that play, kept from round to round; what they sent before may be sent again."""
    company = tuple(sorted(int(number) for number in federation.numbers))
    if company not in federation.companies:
        federation.companies[company] = Threads()(len(company))
    return federation.companies[company]
