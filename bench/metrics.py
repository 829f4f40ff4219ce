"""What is measured of a model: accuracy, loss, and how far the attacker got."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attacks import attacks
from bench.data import Dataset
from bench.models import Network, accuracy_and_loss
from protocols.registry import Spec

__all__ = ["Score", "score"]


@dataclass(frozen=True, kw_only=True)
class Score:
    """Test accuracy in 0..1, mean test loss, and attack success in 0..1 (None where nobody attacks)."""

    accuracy: float
    loss: float
    attack_success: float | None


def score(network: Network, model: Tensor, dataset: Dataset, attack: Spec | None) -> Score:
    """Return the score of a model (d,) on the test rows, under this attack or under none.

    Guarantees:
        Under a data attack, attack_success is the share of test rows that get the label the attacker wants.
        Under an update attack, whose aim is to harm, it is the share of test rows that get a wrong label.
    """
    predicted, loss = accuracy_and_loss(network, model, dataset.x_test, dataset.y_test)
    right = predicted == dataset.y_test
    return Score(accuracy=_share(right), loss=loss, attack_success=_attack_success(predicted, dataset, attack))


def _attack_success(predicted: Tensor, dataset: Dataset, attack: Spec | None) -> float | None:
    if attack is None or attack.name == "none":
        return None
    if attacks.entry(attack.name).facts["surface"] == "update":
        return _share(predicted != dataset.y_test)
    plugin: Any = attacks.make(attack)
    target = plugin.target(dataset.y_test, dataset.classes)
    aimed = target != dataset.y_test  # a row that already has the wanted label says nothing
    return _share(predicted[aimed] == target[aimed]) if bool(aimed.any()) else None


def _share(mask: Tensor) -> float:
    return float(mask.to(torch.float64).mean())
