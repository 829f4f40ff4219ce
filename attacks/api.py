"""The attack surfaces, and the decorators that register an attack on each; what it sees there is in attacks.views."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from attacks.views import (
    KNOWLEDGE,
    ChurnView,
    ClaimView,
    ClusterView,
    DataView,
    DefenceView,
    ExchangeView,
    HonestView,
    MessageView,
    ModelView,
    OpenedRound,
    OwnView,
    Points,
    Rows,
    World,
    look,
    view_class,
)
from protocols.check import CloisterError, one_of
from protocols.faulty_link import Fault
from protocols.placements import PlacementView
from protocols.registry import Registry

__all__ = [
    "SCHEDULE_KEYS",
    "Attack",
    "Backdoor",
    "ChurnView",
    "ClaimView",
    "Claiming",
    "ClusterView",
    "DataAttack",
    "DataView",
    "DefenceView",
    "Distributing",
    "ExchangeAttack",
    "ExchangeView",
    "HonestView",
    "MessageAttack",
    "MessageView",
    "ModelView",
    "OpenedRound",
    "OwnView",
    "Placing",
    "Points",
    "Rejoining",
    "Rows",
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

SCHEDULE_KEYS = ("from_round", "until_round", "every", "ramp_rounds", "share")
"""What a grid may say of any attack beside its own parameters; see attacks.plan."""


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


@runtime_checkable
class Distributing(Protocol):
    """An attack that also hands out the global model, to the members of clusters in which somebody colludes with it."""

    def hand_out(self, view: ModelView) -> Tensor:
        """Return the model that each member of a cluster is handed, float32 (members, d), perhaps another to each."""
        ...


@runtime_checkable
class Rejoining(Protocol):
    """An attack whose processes also leave and join again between rounds, as far as churn lets them."""

    def leave(self, view: ChurnView) -> NDArray[np.int64]:
        """Return the numbers of its processes that leave now, to be seated anew, at most `view.most`."""
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

    def test_rows(self, inputs: Tensor, labels: Tensor, classes: int, clean: Rows) -> tuple[Tensor, Tensor]:
        """Return the test rows that attack_success is measured on, and the label (int64) wanted for each of them.

        From test inputs (rows, ...), their labels (rows,), and the senders' training rows as in DataView.clean; none
        of the rows has the wanted label by right.
        """
        ...


Attack = UpdateAttack[Any] | DataAttack | ExchangeAttack | MessageAttack
attacks: Registry[Attack] = Registry(
    "attack",
    ("attacks.update", "attacks.data", "attacks.cluster", "attacks.exchange", "attacks.message"),
    "cloister.attacks",
)

Factory = TypeVar("Factory", bound=type)


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
    one_of(KNOWLEDGE, knowledge=knowledge)
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
    *,
    source: str,
    examples: tuple[Mapping[str, Any], ...] = ({},),
    name: str | None = None,
    reads_mean: bool = False,
    swaps: bool = False,
) -> Callable[[Factory], Factory]:
    """Register a frozen dataclass as an attack on the messages of secure sums; its processes send honest updates.

    It is shown what its cluster is about to open only if it `reads_mean`; it `swaps` if its members in two clusters act
    together. Raises: CloisterError for a parameter with a schedule's name.
    """
    facts = {"surface": "message", "adds_noise": True, "reads_mean": reads_mean, "swaps": swaps}
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
