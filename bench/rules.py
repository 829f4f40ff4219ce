"""The rule of a cell with what comes before it, and why it may not suit the rest of the cell."""

from bench.cell import Cell
from bench.chain import chained, links_of, real_links
from protocols.aggregators import Aggregator, Bounded, aggregators, needs_of
from protocols.aggregators.pre import pre_aggregators
from protocols.clustering import clusterings
from protocols.composition import composed

__all__ = ["rule_of", "unfit_rule"]


def rule_of(cell: Cell) -> Aggregator:
    """Return the rule, after the cell's pre-aggregators."""
    return composed(*chained(cell.pre), rule=aggregators.make(cell.aggregator))


def unfit_rule(cell: Cell, m: int) -> str | None:
    """Return why the rule cannot combine the cell's m clusters, in words, or None."""
    rule, name = rule_of(cell), _name(cell)
    most = rule.breakdown(m)
    if most < 0:
        return f"{name} is not defined for {m} clusters"
    told = min(cell.f, m, most)
    reason = rule.unfit(m, told) if isinstance(rule, Bounded) else None
    return f"{name}: {reason}" if reason else _unmet(cell, name)


def _name(cell: Cell) -> str:
    return " + ".join([*(link.name for link in real_links(cell.pre)), cell.aggregator.name])


def _unmet(cell: Cell, name: str) -> str | None:
    """Return which need nobody meets."""
    entries = [aggregators.entry(cell.aggregator.name)]
    entries += [pre_aggregators.entry(link.name) for link in links_of(cell.pre)]
    needs = {need for entry in entries for need in needs_of(entry)}
    if needs & {"reference", "loss"} and not cell.root_rows:
        return f"{name} needs root data of the server's, and root_rows = 0"
    if "history" not in needs:
        return None
    if not all(step.in_place for step in chained(cell.pre)):
        return f"{name} needs each cluster's past, and its rows stand for other clusters every round"
    if cell.participants < cell.n:
        return f"{name} needs each cluster's past, and only {cell.participants} of {cell.n} processes take part"
    if not _stays(cell):
        return f"{name} needs each cluster's past, and {cell.clustering.name} forms new ones"
    return None


def _stays(cell: Cell) -> bool:
    """Whether the policy forms the same clusters in every round."""
    moves = clusterings.entry(cell.clustering.name).facts.get("keeps_company", False)
    return not moves and not dict(cell.clustering.parameters).get("every", 0)
