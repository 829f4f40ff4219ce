"""The attack surfaces, what an attack sees on each, and the decorators that register one.

A view holds exactly what the attack's declared knowledge allows; what it must not see is not in it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from torch import Tensor

from protocols.check import one_of
from protocols.registry import Registry

__all__ = [
    "Attack",
    "DataAttack",
    "DataView",
    "HonestView",
    "OwnView",
    "UpdateAttack",
    "attacks",
    "data_attack",
    "update_attack",
    "view_class",
]


@dataclass(frozen=True, kw_only=True)
class OwnView:
    """Knowledge "own": the f Byzantine processes pool their own honest updates, and know n and the round.

    `own` is float64 of shape (f, d): what each would send if it were honest. `rng` is the attack's own stream.
    """

    own: Tensor
    n: int
    round_index: int
    rng: np.random.Generator


@dataclass(frozen=True, kw_only=True)
class HonestView:
    """Knowledge "honest" (omniscient): also the clipped updates of the n - f honest processes, before noise.

    `honest` is float64 of shape (n - f, d); the other fields are those of OwnView.
    """

    own: Tensor
    honest: Tensor
    n: int
    round_index: int
    rng: np.random.Generator


@dataclass(frozen=True, kw_only=True)
class DataView:
    """What a data attack sees: the training rows of the f Byzantine processes, once, before training.

    `inputs` is float32 of shape (rows, ...), `labels` int64 of shape (rows,), `classes` the number of labels.
    """

    inputs: Tensor
    labels: Tensor
    classes: int
    rng: np.random.Generator


View_contra = TypeVar("View_contra", OwnView, HonestView, contravariant=True)


class UpdateAttack(Protocol[View_contra]):
    """Replaces the updates of the Byzantine processes."""

    def __call__(self, view: View_contra) -> Tensor:
        """Return what the Byzantine processes send, float64 of shape (f, d), a row for each."""
        ...


class DataAttack(Protocol):
    """Changes the training data of the Byzantine processes, which then train honestly on it."""

    def __call__(self, view: DataView) -> tuple[Tensor, Tensor]:
        """Return the changed (inputs, labels), of the shapes and types that the view has."""
        ...

    def target(self, labels: Tensor, classes: int) -> Tensor:
        """Return the label that the attacker wants for each test row, int64; attack_success counts them."""
        ...


Attack = UpdateAttack[Any] | DataAttack
attacks: Registry[Attack] = Registry("attack", ("attacks.update", "attacks.data"), "cloister.attacks")

_VIEWS: Mapping[str, type] = {"own": OwnView, "honest": HonestView}
Factory = TypeVar("Factory", bound=type)


def view_class(knowledge: str) -> type:
    """Return the class of the view that an attack with this knowledge is given."""
    return _VIEWS[knowledge]


def update_attack(
    *,
    knowledge: str,
    source: str,
    examples: tuple[Mapping[str, Any], ...] = ({},),
    name: str | None = None,
    adds_noise: bool = False,
) -> Callable[[Factory], Factory]:
    """Register a frozen dataclass as an attack on updates; `knowledge` is "own" or "honest".

    `examples` are parameter sets that the conformance tests try. Processes under an update attack omit the
    privacy noise that they ought to add, unless `adds_noise`. Raises: CloisterError for unknown knowledge.
    """
    one_of(_VIEWS.keys(), knowledge=knowledge)
    facts = {"surface": "update", "knowledge": knowledge, "adds_noise": adds_noise}
    return attacks.register(source=source, examples=examples, name=name, facts=facts)


def data_attack(
    *, source: str, examples: tuple[Mapping[str, Any], ...] = ({},), name: str | None = None
) -> Callable[[Factory], Factory]:
    """Register a frozen dataclass as an attack on training data; apart from its data a process is honest."""
    facts = {"surface": "data", "adds_noise": True}
    return attacks.register(source=source, examples=examples, name=name, facts=facts)
