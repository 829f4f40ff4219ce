"""What is measured of a model: accuracy, loss, and how far the attacker got."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attacks import attacks
from attacks.api import Backdoor, DataAttack, Rows
from attacks.plan import Plan, specs_of
from bench.data import Dataset
from bench.models import Network, accuracy_and_loss
from protocols.registry import Spec

__all__ = ["BY_CLASS", "Score", "by_class_columns", "score"]

BY_CLASS = ("worst_class_accuracy", "class_accuracies")
"""The columns on classes: the lowest accuracy among the test rows of one class, and that of each class in turn."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """Test accuracy in 0..1, mean test loss, and attack success in 0..1 (None where nobody attacks).

    `by_class` is the accuracy among the test rows of each class (None where there are none).
    """

    accuracy: float
    loss: float
    attack_success: float | None
    by_class: tuple[float | None, ...] = ()


def score(
    network: Network,
    model: Tensor,
    dataset: Dataset,
    attack: Spec | Plan | None,
    clean: Callable[[int], Rows] | None = None,
) -> Score:
    """Return the score of a model (d,) on the test rows, under this attack or under none.

    `clean` gives the training rows of the senders of an attack, by its number in the plan, from which backdoors make
    their triggers; without it all training rows do.

    Guarantees:
        Under a data attack, attack_success is the share of test rows that get the label the attacker wants, among
            those that have another one; of several such attacks, the last backdoor's, else the last one's.
        Under a backdoor, these are test rows with the trigger in them, the same one as in training.
        Under an update attack, whose aim is to harm, it is the share of test rows that get a wrong label.
    """
    predicted, loss = accuracy_and_loss(network, model, dataset.x_test, dataset.y_test)
    right = predicted == dataset.y_test
    specs = () if attack is None else specs_of(attack)
    success = _share(~right) if any(spec.name != "none" for spec in specs) else None
    measured = _measured(specs)
    if measured is not None:
        attacking: Any = attacks.make(specs[measured])
        if isinstance(attacking, Backdoor):
            known = clean(measured) if clean else Rows(inputs=dataset.x_train, labels=dataset.y_train)
            success = _backdoor_success(network, model, dataset, attacking, known)
        else:
            success = _data_success(dataset, predicted, attacking)
    return Score(
        accuracy=_share(right),
        loss=loss,
        attack_success=success,
        by_class=_by_class(right, dataset.y_test, dataset.classes),
    )


def _measured(specs: Sequence[Spec]) -> int | None:
    """Return the number of the attack on data whose success is measured, None where there is none."""
    on_data = [number for number, spec in enumerate(specs) if attacks.entry(spec.name).facts["surface"] == "data"]
    backdoors = [number for number in on_data if isinstance(attacks.make(specs[number]), Backdoor)]
    return max(backdoors or on_data, default=None)


def _by_class(right: Tensor, labels: Tensor, classes: int) -> tuple[float | None, ...]:
    rows = torch.bincount(labels, minlength=classes)
    hits = torch.bincount(labels[right], minlength=classes)
    return tuple(float(hits[label]) / float(rows[label]) if rows[label] else None for label in range(classes))


def by_class_columns(score: Score) -> dict[str, Any]:
    """Return the columns BY_CLASS of a score."""
    known = [share for share in score.by_class if share is not None]
    text = " ".join("-" if share is None else f"{share:.4f}" for share in score.by_class)
    return dict(zip(BY_CLASS, (min(known, default=None), text), strict=True))


def _backdoor_success(network: Network, model: Tensor, dataset: Dataset, attack: Backdoor, clean: Rows) -> float | None:
    if not len(clean.labels):  # nobody has put the trigger anywhere
        return None
    inputs, wanted = attack.test_rows(dataset.x_test, dataset.y_test, dataset.classes, clean)
    return _share(accuracy_and_loss(network, model, inputs, wanted)[0] == wanted) if len(wanted) else None


def _data_success(dataset: Dataset, predicted: Tensor, attack: DataAttack) -> float | None:
    target = attack.target(dataset.y_test, dataset.classes)
    aimed = target != dataset.y_test  # a row that already has the wanted label says nothing
    return _share(predicted[aimed] == target[aimed]) if bool(aimed.any()) else None


def _share(mask: Tensor) -> float:
    return float(mask.to(torch.float64).mean())
