"""Cells and starting models for tests that run single rounds."""

from typing import Any

import torch

from bench.cell import Cell
from bench.experiment import parse_experiment
from bench.grid import expand
from bench.setting import Federation

__all__ = ["cell_with", "start"]


def cell_with(**axes: Any) -> Cell:
    """The one cell with these axes, and else of two rounds in which a logistic model is trained for one step."""
    experiment = parse_experiment("[[grid]]\nrounds = 2\nlocal_steps = 1\nmodel = 'logistic'", name="test")
    (cell,) = expand(experiment.with_settings({axis: [value] for axis, value in axes.items()}))
    return cell


def start(federation: Federation) -> torch.Tensor:
    """The model (d,) that every test of a round begins with."""
    return federation.network.initial(torch.Generator().manual_seed(0))
