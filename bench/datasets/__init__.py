"""Data set plug-ins: one file per data set, found by its name."""

from bench.data import DatasetLoader
from protocols.registry import Registry

__all__ = ["datasets"]

datasets: Registry[DatasetLoader] = Registry("dataset", ("bench.datasets",), "cloister.datasets")
