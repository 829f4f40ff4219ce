"""Which model each process is handed in a round, and the digests by which clusters find out."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attacks import attacks
from attacks.api import Distributing, ModelView
from attacks.plan import specs_of
from bench.cell import Cell
from bench.data import Dataset
from bench.models import models
from bench.setting import Federation
from protocols.check import CloisterError
from protocols.model_digest import Models, model_digest
from protocols.playable import cluster_protocols
from protocols.tolerance.verdict import FaultyProcesses
from protocols.types import Clustering

__all__ = ["Handed", "hand_out", "unfit_handing"]


@dataclass(frozen=True, kw_only=True)
class Handed:
    """The models that processes train: (d,) for all of them, or (n, d), with each one's digest.

    `announced` are the digests of the models that the board announces to each process's cluster; `misled` (n,) marks
    those that hold another one.
    """

    models: Tensor
    held: tuple[bytes, ...]
    announced: tuple[bytes, ...]

    @property
    def misled(self) -> NDArray[np.bool_]:
        """Who holds another model than is announced to its cluster."""
        return np.array([held != said for held, said in zip(self.held, self.announced, strict=True)], dtype=np.bool_)

    def of_batch(self, clusters: Sequence[Sequence[int]]) -> Models:
        """Return the digests of a batch of clusters of one size."""
        return Models(
            announced=_joined([self.announced[members[0]] for members in clusters]),
            held=tuple(_joined([self.held[process] for process in column]) for column in zip(*clusters, strict=True)),
        )

    def who_fails(self, federation: Federation) -> FaultyProcesses:
        """Return the faulty processes, with those that are misled: where models are compared, they do not take part."""
        said = federation.who_fails
        return FaultyProcesses(
            n=said.n,
            byzantine=said.byzantine,
            crashed=said.crashed | (frozenset(np.flatnonzero(self.misled).tolist()) - said.byzantine - said.curious),
            curious=said.curious,
        )


def _joined(digests: Sequence[bytes]) -> bytes:
    """Return one digest for those of all clusters of a batch, where they differ."""
    return digests[0] if len(set(digests)) == 1 else hashlib.sha256(b"".join(digests)).digest()


def hand_out(federation: Federation, model: Tensor, clustering: Clustering, round_index: int) -> Handed:
    """Return what the processes are handed, where honestly it would be the model, (d,) or (n, d) float32.

    Guarantees:
        Without an attack that hands out models, each process holds the model that its cluster's board announces.
        Only clusters with a colluding member are handed others.
    """
    digests = _digests(model, clustering)
    handed = model
    for part in federation.parts:
        attack: Any = attacks.make(part.spec)
        if not isinstance(attack, Distributing) or not part.strength(round_index):
            continue
        handed = model.repeat(clustering.n, 1) if handed.dim() == 1 else handed.clone()
        for members in clustering.clusters:
            if part.senders[list(members)].any():
                handed[list(members)] = _rows(federation, attack, model, members, round_index)
    held = digests if handed is model else tuple(model_digest({"model": row}) for row in handed)
    return Handed(models=handed, held=held, announced=digests)


def _digests(model: Tensor, clustering: Clustering) -> tuple[bytes, ...]:
    """Return the digest of each process's own model, one for all members of a cluster."""
    if model.dim() == 1:
        return (model_digest({"model": model}),) * clustering.n
    digests = [b""] * clustering.n
    for members in clustering.clusters:
        digest = model_digest({"model": model[members[0]]})
        for process in members:
            digests[process] = digest
    return tuple(digests)


def _rows(
    federation: Federation, attack: Distributing, model: Tensor, members: Sequence[int], round_index: int
) -> Tensor:
    """Return what the members (members, d) of a cluster are handed by a faulty distributor."""
    failing = federation.faulty | federation.crashed | federation.curious
    view = ModelView(
        model=model,
        layers=federation.network.layers,
        members=len(members),
        honest=tuple(place for place, process in enumerate(members) if not failing[process]),
        round_index=round_index,
    )
    rows = attack.hand_out(view)
    if rows.shape != (len(members), len(model)) or rows.dtype != torch.float32:
        raise CloisterError(
            f"an attack hands out models of shape {tuple(rows.shape)} and type {rows.dtype}; allowed: "
            f"{(len(members), len(model))} and torch.float32"
        )
    return rows


def unfit_handing(cell: Cell, dataset: Dataset) -> str | None:
    """Return why an attack that hands out models makes no sense with the rest of the cell, in words, or None."""
    for spec in specs_of(cell.attack):
        attack: Any = attacks.make(spec)
        if not isinstance(attack, Distributing):
            continue
        if cell.decentralised:
            return f"{spec.name} hands out the global model, and with {cell.topology.name} there is none"
        if cluster_protocols.is_hidden(cell.protocol.name):
            return f"{spec.name} is after the sums of clusters, and with {cell.protocol.name} none of them opens"
        if cell.worker.name != "sgd":
            return f"{spec.name} hands out other models in every round, and {cell.worker.name} remembers the last one"
        network = models.make(cell.model).build(dataset.shape, dataset.classes)
        try:
            nothing = torch.zeros(network.dimension)
            attack.hand_out(ModelView(model=nothing, layers=network.layers, members=2, honest=(0, 1), round_index=0))
        except CloisterError as error:
            return str(error)
    return None
