"""From an experiment to cells, and to skips with their reasons."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch

from attacks.plan import Plan, Split, assign, specs_of
from bench.cell import NUMBERS, PLUGINS, Cell, resolve
from bench.churning import unfit_churn
from bench.compressing import unfit_compression
from bench.data import Dataset
from bench.drawing import unfit_beacon
from bench.experiment import Experiment
from bench.federation import cluster_sizes
from bench.handing import unfit_handing
from bench.hidden import protocol_of, unfit_hidden
from bench.misconduct import unfit_misconduct
from bench.placing import unfit_placing
from bench.rules import rule_of, unfit_rule
from protocols.check import CloisterError
from protocols.placements import knowledge
from protocols.playable import cluster_protocols, in_range_of, opens_sums, robust_of

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
    """Return the axes with one value where an axis means nothing, so that no cell is run twice.

    Clusters that do not change with a seed need no beacon. With a server clusters exchange nothing; without one there
    is nobody to run the aggregator, nor anything before it; and `singletons` and `single` have the cluster size of
    their name.
    """
    if PLUGINS["topology"].entry(axes["topology"].name).facts.get("server"):
        axes = {**axes, "exchange": PLUGINS["exchange"].resolve("none")}
    else:
        axes = {**axes, "pre": resolve("pre", "none"), "aggregator": PLUGINS["aggregator"].resolve("mean")}
    registry = PLUGINS["clustering"]
    if not registry.entry(axes["clustering"].name).facts.get("drawn"):
        axes = {**axes, "beacon": PLUGINS["beacon"].resolve("given")}
    if not registry.entry(axes["clustering"].name).facts.get("ignores_size"):
        return axes
    alone = registry.make(axes["clustering"]).smallest_cluster(2) == 1
    present = round(min(axes["participation"], 1.0) * axes["n"])
    return {**axes, "cluster_size": 1 if alone else max(1, present)}


def _resolve(axis: str, value: Any) -> Any:
    if axis in PLUGINS:
        return resolve(axis, value)
    whole = isinstance(NUMBERS[axis], int)
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        raise CloisterError(f"{axis} = {value!r} is not allowed; allowed: {'an integer' if whole else 'a number'}")
    try:
        return value if whole else float(value)
    except OverflowError:
        raise CloisterError(f"{axis} is an integer of {len(str(value))} digits; allowed: a number") from None


def skip_reason(cell: Cell, dataset: Dataset) -> str | None:
    """Return why this combination of valid values cannot be run, in words, or None."""
    left = len(dataset.y_train) - cell.root_rows
    if cell.n > left:
        aside = f" beside {cell.root_rows} root rows" if cell.root_rows else ""
        return f"n = {cell.n} processes cannot share {max(left, 0)} training rows{aside}"
    try:
        sizes = cluster_sizes(cell)
    except CloisterError as error:
        return f"{cell.clustering.name}: {error}"
    return (
        unfit_rule(cell, len(sizes))
        or _unfit_noise(cell)
        or (unfit_hidden(cell, sizes) if cluster_protocols.is_hidden(cell.protocol.name) else _unfit_size(cell, sizes))
        or _unfit_placement(cell)
        or _unfit_policy(cell)
        or unfit_beacon(cell)
        or _unfit_topology(cell, len(sizes))
        or _unfit_attack(cell)
        or unfit_misconduct(cell, sizes)
        or unfit_placing(cell)
        or unfit_churn(cell)
        or _unfit_data(cell, dataset)
        or _unfit_compression(cell, dataset, sizes)
        or _unfit_coordinates(cell, dataset)
        or _unfit_worker(cell, dataset)
        or unfit_handing(cell, dataset)
    )


def _unfit_attack(cell: Cell) -> str | None:
    """Return why the plan of attack makes no sense with the rest of the cell."""
    if not isinstance(cell.attack, Plan):
        return None
    split = any(isinstance(stage, Split) for stage in cell.attack.stages)
    for part in assign(cell.attack, np.arange(cell.n) < cell.f, cell.seed):
        if (cell.f or split) and not part.senders.any():
            return f"f = {cell.f} faulty processes are too few for all attacks: nobody is left for {part.spec.name}"
        if not any(part.strength(round_index) for round_index in range(cell.rounds)):
            return f"{part.spec.name} is at work in no round: training ends with round {cell.rounds}"
    return None


def _unfit_topology(cell: Cell, m: int) -> str | None:
    """Return why clusters that keep their models and exchange them make no sense with the rest of the cell."""
    attacks = [PLUGINS["attack"].entry(spec.name) for spec in specs_of(cell.attack)]
    if not cell.decentralised:
        exchanged = [entry.name for entry in attacks if entry.facts["surface"] == "exchange"]
        return f"{exchanged[0]} attacks the exchange between clusters, and there is a server" if exchanged else None
    name = cell.topology.name
    if cell.participants < cell.n:
        return f"with {name} clusters keep their models, and only {cell.participants} of {cell.n} processes take part"
    redrawn = "reports" in PLUGINS["clustering"].make(cell.clustering).needs
    if redrawn or dict(cell.clustering.parameters).get("every"):
        return f"with {name} clusters keep their models, and {cell.clustering.name} draws others in later rounds"
    if PLUGINS["privacy"].make(cell.privacy).result_std(None, cell.n):
        return f"{cell.privacy.name} adds its noise at the server, and {name} has none"
    defended = [entry.name for entry in attacks if entry.facts.get("knowledge") == "defence"]
    if defended:
        return f"{defended[0]} is given what the server would make of its updates, and {name} has none"
    why = PLUGINS["topology"].make(cell.topology).unfit(m)
    return None if why is None else f"{name}: {why}"


def _unfit_worker(cell: Cell, dataset: Dataset) -> str | None:
    """Return why the clients' way to train does not suit the data, the model or the topology."""
    facts = PLUGINS["worker"].entry(cell.worker.name).facts
    if cell.compression.name != "none" and facts.get("whole_updates"):
        return (
            f"{cell.worker.name} compresses the change of its gradients in its source, and {cell.compression.name} "
            f"would compress whole updates; allowed: compression none"
        )
    if cell.decentralised and facts.get("one_model"):
        return f"{cell.worker.name} compares gradients at one global model, and with {cell.topology.name} there is none"
    return (
        PLUGINS["worker"]
        .make(cell.worker)
        .unfit(rows=len(dataset.y_train), dimension=_dimension(cell, dataset), steps=cell.local_steps)
    )


def _dimension(cell: Cell, dataset: Dataset) -> int:
    """Return how many parameters the model has."""
    return PLUGINS["model"].make(cell.model).build(dataset.shape, dataset.classes).dimension


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
    on_data = [
        spec.name for spec in specs_of(cell.attack) if PLUGINS["attack"].entry(spec.name).facts["surface"] == "data"
    ]
    if knows == "each" and on_data:
        return f"{name} moves from round to round, and {on_data[0]} poisons data before the first"
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
    if opens_sums(cell.protocol) and in_range_of(cell.protocol) is not None:
        return None  # sums of all honest members, whatever the others enter
    if cluster_protocols.is_hidden(cell.protocol.name):
        return _unfit_joint_noise(cell)
    return f"{cell.privacy.name} adds noise that is calibrated to sums, and {cell.protocol.name} opens none"


def _unfit_joint_noise(cell: Cell) -> str | None:
    """Return why noise on the result of hidden sums proves nothing; members' own noise is in the sums already."""
    m = len(cluster_sizes(cell))
    sizes = torch.tensor(cluster_sizes(cell))
    told = max(min(cell.f, m, rule_of(cell).breakdown(m)), 0)
    noisy = PLUGINS["privacy"].make(cell.privacy).result_std(1.0, cell.n)
    if noisy and rule_of(cell).sensitivity(sizes, told) is None:
        return f"{cell.privacy.name} adds noise for a sensitivity, and none is proved of {cell.aggregator.name}"
    return None


def _unfit_compression(cell: Cell, dataset: Dataset, sizes: tuple[int, ...]) -> str | None:
    # Only where something is compressed is the model made, which takes the most time of all these checks.
    return None if cell.compression.name == "none" else unfit_compression(cell, sizes, _dimension(cell, dataset))


def _unfit_coordinates(cell: Cell, dataset: Dataset) -> str | None:
    """Return why the robust statistic cannot run on updates of the model."""
    statistic = robust_of(protocol_of(cell, cluster_sizes(cell)))
    if statistic is None:
        return None
    coordinates = PLUGINS["compression"].make(cell.compression).coordinates(_dimension(cell, dataset))
    try:
        statistic.check_coordinates(coordinates=coordinates)
    except CloisterError as error:
        return f"{cell.protocol.name}: {error}"
    return None


def _unfit_size(cell: Cell, sizes: tuple[int, ...]) -> str | None:
    """Return why the protocol cannot run in clusters of these sizes."""
    protocol = PLUGINS["protocol"].make(cell.protocol)
    for size in sorted(set(sizes)):
        try:
            protocol.check_size(parties=size)
        except CloisterError as error:
            return f"{cell.protocol.name}: {error}"
    return None
