"""The attack surfaces, what an attack sees on each, and the decorators that register one.

A view holds exactly what the attack's declared knowledge allows; what it must not see is not in it.
"""

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, fields
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from protocols.check import CloisterError, one_of
from protocols.faulty_link import Fault
from protocols.placements import PlacementView
from protocols.registry import Registry, Spec

__all__ = [
    "SCHEDULE_KEYS",
    "Attack",
    "Backdoor",
    "ClaimView",
    "Claiming",
    "ClusterView",
    "DataAttack",
    "DataView",
    "DefenceView",
    "ExchangeAttack",
    "ExchangeView",
    "HonestView",
    "MessageAttack",
    "MessageView",
    "OpenedRound",
    "OwnView",
    "Placing",
    "Points",
    "UpdateAttack",
    "World",
    "attacks",
    "data_attack",
    "exchange_attack",
    "look",
    "message_attack",
    "update_attack",
    "view_class",
]

Points = NDArray[np.float64]

SCHEDULE_KEYS = ("from_round", "until_round", "every", "ramp_rounds", "share")
"""What a grid may say of any attack beside its own parameters; see attacks.plan."""


@dataclass(frozen=True, kw_only=True)
class OwnView:
    """Knowledge "own": what the f colluding senders have by themselves, and what every participant is shown.

    `own` is float64 of shape (f, d): what each would send if it were honest, or what the attacks before this one in a
    combination make it send. `numbers` (f,) are their numbers among all processes, in ascending order, and `n` is how
    many processes take part. `model` (d,) float64 is the global model, `previous` (d,) the step that led to it, None
    in the first round. `rng` is the attack's own stream of this round; `memory` holds what this attack wrote into it
    in the rounds before, and is empty in the first.
    """

    own: Tensor
    numbers: tuple[int, ...]
    n: int
    round_index: int
    rng: np.random.Generator
    model: Tensor
    previous: Tensor | None
    memory: MutableMapping[str, Any]


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
    server would get if all others sent what they do send and no noise were added: the means of the clusters, the
    rule, and the number that it is told to withstand. `rule` names that rule with its parameters.
    """

    clusters: tuple[tuple[int, ...], ...]
    rule: Spec
    aggregate: Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class World(DefenceView, ClusterView):
    """All that there is to see in a round, from which look() takes a view."""


@dataclass(frozen=True, kw_only=True)
class DataView:
    """What a data attack sees: the training rows of the f Byzantine processes.

    `inputs` is float32 of shape (rows, ...), `labels` int64 of shape (rows,), `owners` int64 of shape (rows,), from 0
    to f - 1: whose row it is; `classes` is the number of labels. An attack that works anew in every round
    (`each_round`) is also given `scores`, which maps inputs to the global model's scores (rows, classes); for others,
    which work once, before training, it is None and `round_index` is 0.
    """

    inputs: Tensor
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
    to open, which a rushing adversary sees before it sends its last message; `previous` (d,) is the last step of the
    global model, None in the first round. `rng` is the member's own stream of this round.
    """

    place: int
    members: tuple[int, ...]
    colluding: frozenset[int]
    mean: Tensor
    previous: Tensor | None
    round_index: int
    rng: np.random.Generator


@dataclass(frozen=True, kw_only=True)
class ClaimView:
    """What an attack sees that lies about public facts: the features (n, k) of all processes, as they are.

    `faulty` (n,) are the colluding processes; `cluster_size` is what the clustering aims at.
    """

    features: Points
    faulty: NDArray[np.bool_]
    cluster_size: int
    rng: np.random.Generator


View_contra = TypeVar("View_contra", bound=OwnView, contravariant=True)


class UpdateAttack(Protocol[View_contra]):
    """Replaces the updates of the Byzantine processes."""

    def __call__(self, view: View_contra) -> Tensor:
        """Return what the Byzantine processes send, float64 of shape (f, d), a row for each."""
        ...


class MessageAttack(Protocol):
    """Says what a faulty member of a cluster does to the messages that it sends in the cluster's secure sum."""

    def __call__(self, view: MessageView) -> Fault | None:
        """Return the fault of this round; None: the member follows the protocol."""
        ...


@runtime_checkable
class Placing(Protocol):
    """An attack that also chooses which processes are faulty, instead of the axis `placement`."""

    def place(self, view: PlacementView) -> NDArray[np.bool_]:
        """Return which of the n processes are faulty, view.f of them; the view shows the clusters of round 0."""
        ...


@runtime_checkable
class Claiming(Protocol):
    """An attack that also lies about the features of its processes, by which they may be clustered."""

    def claim(self, view: ClaimView) -> Points:
        """Return the features (n, k) that all claim; those of honest processes are what they are."""
        ...


class ExchangeAttack(Protocol):
    """Says what Byzantine clusters tell each of their neighbours, perhaps something else to each."""

    def __call__(self, view: ExchangeView) -> Tensor:
        """Return what each liar tells each cluster, float64 (liars, m, d); who is no neighbour does not hear it."""
        ...


class DataAttack(Protocol):
    """Changes the training data of the Byzantine processes, which then train honestly on it."""

    def __call__(self, view: DataView) -> tuple[Tensor, Tensor]:
        """Return the changed (inputs, labels), of the shapes and types that the view has."""
        ...

    def target(self, labels: Tensor, classes: int) -> Tensor:
        """Return the label that the attacker wants for each test row, int64; attack_success counts them."""
        ...


@runtime_checkable
class Backdoor(Protocol):
    """A data attack that is after other test rows than the plain ones."""

    def test_rows(self, inputs: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
        """Return the test rows that attack_success is measured on, and the label (int64) wanted for each of them.

        From test inputs (rows, ...) and their labels (rows,); none of the rows has the wanted label by right.
        """
        ...


Attack = UpdateAttack[Any] | DataAttack | ExchangeAttack | MessageAttack
attacks: Registry[Attack] = Registry(
    "attack",
    ("attacks.update", "attacks.data", "attacks.cluster", "attacks.exchange", "attacks.message"),
    "cloister.attacks",
)

_VIEWS: Mapping[str, type[OwnView]] = {
    "own": OwnView,
    "cluster": ClusterView,
    "honest": HonestView,
    "defence": DefenceView,
}
Factory = TypeVar("Factory", bound=type)


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


def update_attack(
    *,
    knowledge: str,
    source: str,
    examples: tuple[Mapping[str, Any], ...] = ({},),
    name: str | None = None,
    adds_noise: bool = False,
    raw: bool = False,
) -> Callable[[Factory], Factory]:
    """Register a frozen dataclass as an attack on updates; `knowledge` is "own", "cluster", "honest" or "defence".

    `examples` are parameter sets that the conformance tests try. Processes under an update attack omit the
    privacy noise that they ought to add, unless `adds_noise`. `raw` attacks send numbers that are no honest sender's,
    such as NaN: where inputs are sent in the clear, the sum gets them as they are. Raises: CloisterError for unknown
    knowledge, or a parameter with a schedule's name.
    """
    one_of(_VIEWS.keys(), knowledge=knowledge)
    facts = {"surface": "update", "knowledge": knowledge, "adds_noise": adds_noise, "raw": raw}
    return _registered(source=source, examples=examples, name=name, facts=facts)


def data_attack(
    *,
    source: str,
    examples: tuple[Mapping[str, Any], ...] = ({},),
    name: str | None = None,
    each_round: bool = False,
) -> Callable[[Factory], Factory]:
    """Register a frozen dataclass as an attack on training data; apart from its data a process is honest.

    It works once, before training, or anew in every round if `each_round`. Raises: CloisterError for a parameter
    with a schedule's name.
    """
    facts = {"surface": "data", "adds_noise": True, "each_round": each_round}
    return _registered(source=source, examples=examples, name=name, facts=facts)


def exchange_attack(
    *, source: str, examples: tuple[Mapping[str, Any], ...] = ({},), name: str | None = None
) -> Callable[[Factory], Factory]:
    """Register a frozen dataclass as an attack on the exchange between clusters; their members send honest updates.

    Raises: CloisterError for a parameter with a schedule's name.
    """
    facts = {"surface": "exchange", "adds_noise": True}
    return _registered(source=source, examples=examples, name=name, facts=facts)


def message_attack(
    *, source: str, examples: tuple[Mapping[str, Any], ...] = ({},), name: str | None = None
) -> Callable[[Factory], Factory]:
    """Register a frozen dataclass as an attack on the messages of secure sums; its processes send honest updates.

    Raises: CloisterError for a parameter with a schedule's name.
    """
    facts = {"surface": "message", "adds_noise": True}
    return _registered(source=source, examples=examples, name=name, facts=facts)


def _registered(
    *, source: str, examples: tuple[Mapping[str, Any], ...], name: str | None, facts: Mapping[str, Any]
) -> Callable[[Factory], Factory]:
    register = attacks.register(source=source, examples=examples, name=name, facts=facts)

    def add(factory: Factory) -> Factory:
        taken = sorted({*SCHEDULE_KEYS, "split"} & set(factory.__annotations__))
        if taken:
            raise CloisterError(
                f"attack {name or factory.__module__!r} has a parameter {taken[0]!r}, which a schedule sets; "
                f"allowed: any name but {', '.join((*SCHEDULE_KEYS, 'split'))}"
            )
        return register(factory)

    return add
