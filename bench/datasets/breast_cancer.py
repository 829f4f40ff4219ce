"""Breast Cancer Wisconsin (Diagnostic): 569 rows that come with scikit-learn."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.data import Dataset, split_dataset, standardised, stratified_split
from bench.datasets import datasets
from protocols.check import fraction

__all__ = ["BreastCancer"]


@datasets.register(
    source="Wolberg, Mangasarian, Street and Street 1993, Breast Cancer Wisconsin (Diagnostic), UCI (in scikit-learn)",
    examples=({}, {"test_fraction": 0.5}),
    facts={"needs_files": False},
)
@dataclass(frozen=True, kw_only=True)
class BreastCancer:
    """Breast Cancer Wisconsin (Diagnostic): 569 rows, 30 features, 2 classes, no files needed.

    Rows are (30,) float32, standardised by the training rows; 0 is malignant, 1 benign. The split is stratified
    by class.
    """

    test_fraction: float = 0.2

    def __post_init__(self) -> None:
        fraction(test_fraction=self.test_fraction)

    def load(self, data_dir: Path | None) -> Dataset:  # noqa: ARG002
        """Return the data set; `data_dir` is not used."""
        # Imported here: scikit-learn takes seconds to import, which listing the data sets should not cost.
        from sklearn.datasets import load_breast_cancer

        features, labels = (np.asarray(part) for part in load_breast_cancer(return_X_y=True))
        train, test = stratified_split(labels, self.test_fraction)
        return split_dataset(
            name="breast_cancer",
            features=standardised(features, train),
            labels=labels,
            classes=2,
            train=train,
            test=test,
        )
