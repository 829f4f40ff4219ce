"""From an experiment to cells, and to skips with their reasons."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from bench.cell import NUMBERS, PLUGINS, Cell
from bench.data import Dataset
from bench.experiment import Experiment
from protocols.check import CloisterError

__all__ = ["Skip", "expand", "skip_reason"]


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
    """Without clusters the cluster size means nothing; one value keeps such cells from being run twice."""
    policy = PLUGINS["clustering"].make(axes["clustering"])
    return {**axes, "cluster_size": policy.smallest_cluster(axes["cluster_size"])}


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
    groups = len(dataset.group_names) or None
    if cell.n > len(dataset.y_train):
        return f"n = {cell.n} processes cannot share {len(dataset.y_train)} training rows"
    sizes = _cluster_sizes(cell)
    most = PLUGINS["aggregator"].make(cell.aggregator).breakdown(len(sizes))
    if most < 0:
        return f"{cell.aggregator.name} is not defined for {len(sizes)} clusters"
    if (unfit := _unfit_size(cell, sizes)) is not None:
        return unfit
    return PLUGINS["model"].make(cell.model).unfit(dataset.shape) or PLUGINS["partition"].make(cell.partition).unfit(
        groups, cell.n, dataset.classes
    )


def _cluster_sizes(cell: Cell) -> tuple[int, ...]:
    policy = PLUGINS["clustering"].make(cell.clustering)
    return policy(n=cell.participants, cluster_size=cell.cluster_size, seed=cell.seed, round_index=0).sizes


def _unfit_size(cell: Cell, sizes: tuple[int, ...]) -> str | None:
    """Return why the protocol cannot run in clusters of these sizes."""
    protocol = PLUGINS["protocol"].make(cell.protocol)
    for size in sorted(set(sizes)):
        try:
            protocol.check_size(parties=size)
        except CloisterError as error:
            return f"{cell.protocol.name}: {error}"
    return None
