"""What an attack sees on each surface; what it must not see is not in its view.

A view holds exactly what the attack's declared knowledge allows.
"""

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from protocols.compression import PLAIN, Code
from protocols.registry import Spec

__all__ = [
    "KNOWLEDGE",
    "ChurnView",
    "ClaimView",
    "ClusterView",
    "DataView",
    "DefenceView",
    "ExchangeView",
    "HonestView",
    "MessageView",
    "ModelView",
    "OpenedRound",
    "OwnView",
    "Points",
    "Rows",
    "World",
    "look",
    "view_class",
]

Points = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class OwnView:
    """Knowledge "own": what the f colluding senders have by themselves, and what every participant is shown.

    `own` is float64 of shape (f, d): what each would send if it were honest, or what the attacks before this one in a
    combination make it send; before it is compressed, and with what its messages have left out so far where it would
    remember that. `code` is this round's, by which all rows are compressed: it is public before anybody sends.
    `numbers` (f,) are the senders' numbers among all processes, in ascending order, and `n` is how many processes take
    part. `model` (d,) float64 is the global model, `previous` (d,) the step that led to it, None in the first round.
    `rng` is the attack's own stream of this round; `memory` holds what this attack wrote into it in the rounds before,
    and is empty in the first.
    """

    own: Tensor
    numbers: tuple[int, ...]
    n: int
    round_index: int
    rng: np.random.Generator
    model: Tensor
    previous: Tensor | None
    memory: MutableMapping[str, Any]
    code: Code = PLAIN


@dataclass(frozen=True, kw_only=True)
class OpenedRound:
    """What everybody saw of a round: the members of each cluster that opened its sum, and these means (m, d)."""

    clusters: tuple[tuple[int, ...], ...]
    means: Tensor


@dataclass(frozen=True, kw_only=True)
class ClusterView(OwnView):
    """Knowledge "cluster": also who is in which cluster, and what was opened in the round before.

    `clusters` are those of this round, members by their numbers among all processes; `opened` is None in the first.
    """

    clusters: tuple[tuple[int, ...], ...]
    opened: OpenedRound | None


@dataclass(frozen=True, kw_only=True)
class HonestView(OwnView):
    """Knowledge "honest" (omniscient): also the clipped updates of the honest processes, before noise.

    `honest` is float64 of shape (n - f, d), where f counts all Byzantine processes, and `honest_numbers` are the
    numbers of these processes among all, in ascending order.
    """

    honest: Tensor
    honest_numbers: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class DefenceView(HonestView):
    """Knowledge "defence": also the clusters, and what the server makes of anything that the senders might send.

    `aggregate` takes rows (f, d), one for each of the senders, and returns the combined update (d,) float64 that the
    server would get if all others sent what they do send and no noise were added: the means of the clusters, what comes
    before the rule, the rule, and the number that it is told to withstand. `rule` names the rule with its parameters,
    and `pre` the pre-aggregators that do something before it, in order.
    """

    clusters: tuple[tuple[int, ...], ...]
    pre: tuple[Spec, ...]
    rule: Spec
    aggregate: Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class World(DefenceView, ClusterView):
    """All that there is to see in a round, from which look() takes a view."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows of data: `inputs` float32 of shape (rows, ...) and `labels` int64 of shape (rows,)."""

    inputs: Tensor
    labels: Tensor


@dataclass(frozen=True, kw_only=True)
class DataView:
    """What a data attack sees: the training rows of the f Byzantine processes.

    `inputs` is float32 of shape (rows, ...), `labels` int64 of shape (rows,), `owners` int64 of shape (rows,), from 0
    to f - 1: whose row it is; `classes` is the number of labels. `clean` are the rows before any attack: what a
    trigger takes from its senders' data, it takes from these, so that test rows get the same one. An attack that works
    anew in every round (`each_round`) is also given `scores`, which maps inputs to the global model's scores (rows,
    classes); for others, which work once, before training, it is None and `round_index` is 0.
    """

    inputs: Tensor
    clean: Rows
    labels: Tensor
    owners: Tensor
    classes: int
    round_index: int
    rng: np.random.Generator
    scores: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True, kw_only=True)
class ExchangeView:
    """What an attack on the exchange between clusters sees, where there is no server: everything.

    `held` is float64 (m, d): what each cluster holds and would tell; `liars` are the Byzantine clusters that the attack
    speaks for; `weights` (m, m) are those of gossip on the graph, zero where clusters are no neighbours.
    """

    held: Tensor
    liars: tuple[int, ...]
    weights: Tensor
    round_index: int
    rng: np.random.Generator


@dataclass(frozen=True, kw_only=True)
class MessageView:
    """What an attack on the messages of one cluster's sum sees, for one faulty member of it.

    `members` are the numbers of the cluster's members among all processes, `place` is the member's own place among
    them, and `colluding` are the places of all that use this attack. `mean` (d,) float64 is what the cluster is about
    to open, which a rushing adversary sees before it sends its last message: None where nothing would be opened, and
    for an attack that is not registered with `reads_mean`. `previous` (d,) is the last step of the global model, None
    in the first round. `rng` is the member's own stream of this round.
    """

    place: int
    members: tuple[int, ...]
    colluding: frozenset[int]
    mean: Tensor | None
    previous: Tensor | None
    round_index: int
    rng: np.random.Generator


@dataclass(frozen=True, kw_only=True)
class ModelView:
    """What a faulty distributor sees that hands the global model to the members of one cluster.

    `model` (d,) float32 is the global model, `layers` are the sizes of its blocks of parameters (weights and biases
    apart, in their order, adding up to d), `members` is the cluster's size and `honest` are the places in it of those
    that neither collude nor crash, ascending.
    """

    model: Tensor
    layers: tuple[int, ...]
    members: int
    honest: tuple[int, ...]
    round_index: int


@dataclass(frozen=True, kw_only=True)
class ChurnView:
    """What an attack sees that has its processes leave and join again between rounds.

    `clusters` are those of the round before, of which up to `most` processes leave now; `faulty` (n,) are the colluding
    processes, `features` (n, k) what all claim to be, None where nobody is asked. `rng` is its stream of this round.
    """

    clusters: tuple[tuple[int, ...], ...]
    faulty: NDArray[np.bool_]
    most: int
    features: Points | None
    rng: np.random.Generator

    def outside(self, aim: tuple[int, ...]) -> NDArray[np.int64]:
        """Return the colluding processes that are not in the cluster `aim`, as many as may leave, ascending.

        Nobody where only colluding ones are in it: nothing is left to gain.
        """
        if self.faulty[list(aim)].all():
            return np.zeros(0, dtype=np.int64)
        there = np.isin(np.arange(len(self.faulty)), aim)
        return np.flatnonzero(self.faulty & ~there)[: self.most]


@dataclass(frozen=True, kw_only=True)
class ClaimView:
    """What an attack sees that lies about public facts: the features (n, k) of all processes, as they are.

    `faulty` (n,) are the colluding processes; `cluster_size` is what the clustering aims at.
    """

    features: Points
    faulty: NDArray[np.bool_]
    cluster_size: int
    rng: np.random.Generator


_VIEWS: Mapping[str, type[OwnView]] = {
    "own": OwnView,
    "cluster": ClusterView,
    "honest": HonestView,
    "defence": DefenceView,
}

KNOWLEDGE = tuple(_VIEWS)
"""What an attack on updates may declare to know."""


def view_class(knowledge: str) -> type[OwnView]:
    """Return the class of the view that an attack with this knowledge is given."""
    return _VIEWS[knowledge]


def look(knowledge: str, world: World) -> OwnView:
    """Return the view that this knowledge allows.

    Guarantees:
        Worlds that differ only in what the knowledge does not allow give equal views.
    """
    view = _VIEWS[knowledge]
    return view(**{field.name: getattr(world, field.name) for field in fields(view)})
