"""From an experiment to cells, and to skips with their reasons."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from bench.cell import NUMBERS, PLUGINS, Cell
from bench.data import Dataset
from bench.experiment import Experiment
from bench.federation import cluster_sizes
from protocols.check import CloisterError
from protocols.placements import knowledge
from protocols.playable import robust_of

__all__ = ["Skip", "expand", "skip_reason"]

# The trust_quality of scores that tell nothing.
_SAYS_NOTHING = 0.5


@dataclass(frozen=True, kw_only=True)
class Skip:
    """A cell that is not run, and why."""

    cell: Cell
    reason: str


def expand(experiment: Experiment) -> list[Cell]:
    """Return the cells of all blocks in order, each once.

    Raises: CloisterError for an unknown plug-in or parameter, or a number that is not allowed.
    """
    return list(dict.fromkeys(cell for block in experiment.blocks for cell in _expand_block(block)))


def _expand_block(block: Mapping[str, tuple[Any, ...]]) -> Iterator[Cell]:
    resolved = {axis: [_resolve(axis, value) for value in values] for axis, values in block.items()}
    for values in product(*resolved.values()):
        yield Cell(**_canonical(dict(zip(resolved, values, strict=True))))


def _canonical(axes: dict[str, Any]) -> dict[str, Any]:
    """Where the cluster size means nothing (`singletons`, `single`), one value keeps cells from being run twice."""
    registry = PLUGINS["clustering"]
    if not registry.entry(axes["clustering"].name).facts.get("ignores_size"):
        return axes
    alone = registry.make(axes["clustering"]).smallest_cluster(2) == 1
    present = round(min(axes["participation"], 1.0) * axes["n"])
    return {**axes, "cluster_size": 1 if alone else max(1, present)}


def _resolve(axis: str, value: Any) -> Any:
    if axis in PLUGINS:
        return PLUGINS[axis].resolve(value)
    whole = isinstance(NUMBERS[axis], int)
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        raise CloisterError(f"{axis} = {value!r} is not allowed; allowed: {'an integer' if whole else 'a number'}")
    try:
        return value if whole else float(value)
    except OverflowError:
        raise CloisterError(f"{axis} is an integer of {len(str(value))} digits; allowed: a number") from None


def skip_reason(cell: Cell, dataset: Dataset) -> str | None:
    """Return why this combination of valid values cannot be run, in words, or None."""
    if cell.n > len(dataset.y_train):
        return f"n = {cell.n} processes cannot share {len(dataset.y_train)} training rows"
    try:
        sizes = cluster_sizes(cell)
    except CloisterError as error:
        return f"{cell.clustering.name}: {error}"
    most = PLUGINS["aggregator"].make(cell.aggregator).breakdown(len(sizes))
    if most < 0:
        return f"{cell.aggregator.name} is not defined for {len(sizes)} clusters"
    return (
        _unfit_size(cell, sizes)
        or _unfit_noise(cell)
        or _unfit_placement(cell)
        or _unfit_policy(cell)
        or _unfit_data(cell, dataset)
    )


def _unfit_data(cell: Cell, dataset: Dataset) -> str | None:
    groups = len(dataset.group_names) or None
    return PLUGINS["model"].make(cell.model).unfit(dataset.shape) or PLUGINS["partition"].make(cell.partition).unfit(
        groups, cell.n, dataset.classes
    )


def _unfit_placement(cell: Cell) -> str | None:
    """Return why the placement makes no sense with the rest of the cell."""
    knows = knowledge(PLUGINS["placement"].entry(cell.placement.name))
    name = cell.placement.name
    if knows != "nothing" and cell.participants < cell.n:
        return f"{name} sees the clusters of all processes, and only {cell.participants} of {cell.n} take part"
    needs = PLUGINS["placement"].make(cell.placement).needs
    # What it goes by: scores that tell who is faulty cannot be there before somebody is.
    goes_by = {*needs, *(PLUGINS["clustering"].make(cell.clustering).needs if knows == "first" else ())}
    if cell.trust_quality != _SAYS_NOTHING and "trust" in goes_by:
        return f"{name} places faults by trust scores, which trust_quality = {cell.trust_quality} makes of the faults"
    if cell.domains == 1 and "domains" in needs:
        return f"{name} makes failure domains fail, and domains = 1"
    if knows == "each" and PLUGINS["attack"].entry(cell.attack.name).facts["surface"] == "data":
        return f"{name} moves from round to round, and {cell.attack.name} poisons data before the first"
    return None


def _unfit_policy(cell: Cell) -> str | None:
    """Return why the policy makes no sense with the rest of the cell."""
    facts = PLUGINS["clustering"].entry(cell.clustering.name).facts
    if facts.get("keeps_company") and cell.participants < cell.n:
        return f"{cell.clustering.name} keeps processes together, and only {cell.participants} of {cell.n} take part"
    needs = PLUGINS["clustering"].make(cell.clustering).needs
    if cell.domains == 1 and "domains" in needs:
        return f"{cell.clustering.name} spreads failure domains, and domains = 1"
    mechanism = PLUGINS["privacy"].make(cell.privacy)
    silent = mechanism.clip_norm is not None and not mechanism.member_std(cell.cluster_size)
    if silent and "reports" in needs:
        return f"{cell.clustering.name} learns from opened sums, which {cell.privacy.name} protects by later noise only"
    return None


def _unfit_noise(cell: Cell) -> str | None:
    """Return why nothing is known of the noise: mechanisms are calibrated to sums of updates."""
    if robust_of(cell.protocol) is None or cell.privacy.name == "none":
        return None
    return f"{cell.privacy.name} adds noise that is calibrated to sums, and {cell.protocol.name} opens none"


def _unfit_size(cell: Cell, sizes: tuple[int, ...]) -> str | None:
    """Return why the protocol cannot run in clusters of these sizes."""
    protocol = PLUGINS["protocol"].make(cell.protocol)
    for size in sorted(set(sizes)):
        try:
            protocol.check_size(parties=size)
        except CloisterError as error:
            return f"{cell.protocol.name}: {error}"
    return None
