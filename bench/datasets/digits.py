"""Handwritten digits, 8 x 8 pixels: 1,797 rows that come with scikit-learn."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.data import Dataset, split_dataset, stratified_split
from bench.datasets import datasets
from protocols.check import fraction

__all__ = ["Digits"]


@datasets.register(
    source="Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits, UCI (test part, in scikit-learn)",
    examples=({}, {"test_fraction": 0.5}),
    facts={"needs_files": False},
)
@dataclass(frozen=True, kw_only=True)
class Digits:
    """Handwritten digits, 8 x 8 pixels: 1,797 rows, 10 classes, no files needed.

    Rows are flat, (64,) float32 in [0, 1]: the 17 grey levels divided by 16. The split is stratified by class.
    """

    test_fraction: float = 0.2

    def __post_init__(self) -> None:
        fraction(test_fraction=self.test_fraction)

    def load(self, data_dir: Path | None) -> Dataset:  # noqa: ARG002
        """Return the data set; `data_dir` is not used."""
        # Imported here: scikit-learn takes seconds to import, which listing the data sets should not cost.
        from sklearn.datasets import load_digits

        pixels, labels = (np.asarray(part) for part in load_digits(return_X_y=True))
        train, test = stratified_split(labels, self.test_fraction)
        return split_dataset(name="digits", features=pixels / 16, labels=labels, classes=10, train=train, test=test)
