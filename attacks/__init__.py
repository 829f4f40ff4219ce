"""Attacks on federated learning: an attack is one file, registered by a decorator, found by its file's name."""

from attacks.api import (
    ClusterView,
    DataView,
    DefenceView,
    HonestView,
    OwnView,
    attacks,
    data_attack,
    update_attack,
)

__all__ = [
    "ClusterView",
    "DataView",
    "DefenceView",
    "HonestView",
    "OwnView",
    "attacks",
    "data_attack",
    "update_attack",
]
