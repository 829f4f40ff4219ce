"""UCI Heart Disease of four hospitals, a natural federation, from the publisher's processed files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.data import Dataset, Publisher, split_dataset, standardised, stratified_split
from bench.datasets import datasets
from bench.datasets._tables import read_table
from protocols.check import fraction

__all__ = ["COLUMNS", "GAPS", "HOSPITALS", "NUMBERS", "HeartDisease"]

HOSPITALS = ("cleveland", "hungarian", "switzerland", "va")
NUMBERS = (
    "age",
    "sex",
    "cp",
    "trestbps",
    "chol",
    "fbs",
    "restecg",
    "thalach",
    "exang",
    "oldpeak",
    "slope",
    "ca",
    "thal",
)
GAPS = NUMBERS[3:]
"""The columns in which the publisher has missing values."""

COLUMNS = NUMBERS + tuple(f"{column} missing" for column in GAPS)
"""What each of the 23 features is, in order."""

_PUBLISHER = Publisher(
    dataset="heart_disease",
    page="https://archive.ics.uci.edu/dataset/45/heart+disease",
    folders=("heart-disease", "heart_disease", "heart+disease", "."),
)


@datasets.register(
    source="Detrano et al. 1989, International Application of a New Probability Algorithm for the Diagnosis of "
    "Coronary Artery Disease; Janosi, Steinbrunn, Pfisterer and Detrano, Heart Disease, UCI",
    examples=({}, {"test_fraction": 0.5}),
    facts={"needs_files": True},
)
@dataclass(frozen=True, kw_only=True)
class HeartDisease:
    """UCI Heart Disease of four hospitals: 920 rows, 23 features, 2 classes, each row's hospital as its group.

    Rows are (23,) float32, named by COLUMNS: 13 numbers as published, with missing ones replaced by the training
    rows' median, standardised by the training rows; then 0 or 1 for each of GAPS: whether it was missing. Class 1
    is disease (published grades 1 to 4). A cholesterol of 0, which is all that switzerland has, is not marked as
    missing by the publisher and is kept. The files `processed.HOSPITAL.data` lie in `heart-disease`,
    `heart_disease`, `heart+disease` or the data folder itself. The split is stratified by hospital and class.
    """

    test_fraction: float = 0.2

    def __post_init__(self) -> None:
        fraction(test_fraction=self.test_fraction)

    def load(self, data_dir: Path | None) -> Dataset:
        """Return the data set; CloisterError if a file is missing or has a cell that is not allowed."""
        paths = _PUBLISHER.find(data_dir, [f"processed.{hospital}.data" for hospital in HOSPITALS])
        parts = [_read_hospital(path) for path in paths]
        numbers = np.concatenate([numbers for numbers, _ in parts])
        labels = np.concatenate([labels for _, labels in parts])
        groups = np.repeat(np.arange(len(parts)), [len(labels) for _, labels in parts])
        train, test = stratified_split(2 * groups + labels, self.test_fraction)
        missing = np.isnan(numbers[:, -len(GAPS) :])
        return split_dataset(
            name="heart_disease",
            features=np.concatenate([standardised(_filled(numbers, train), train), missing], axis=1),
            labels=labels,
            classes=2,
            train=train,
            test=test,
            groups=groups,
            group_names=HOSPITALS,
        )


def _read_hospital(path: Path) -> tuple[np.ndarray, np.ndarray]:
    table = read_table(_PUBLISHER, path, (*NUMBERS, "num"))
    numbers = np.stack([table.numbers(column, gaps=column in GAPS) for column in NUMBERS], axis=1)
    grades = table.numbers("num")
    table.require(np.isin(grades, np.arange(5)), "num", "0, 1, 2, 3 or 4")
    return numbers, (grades > 0).astype(np.int64)


def _filled(numbers: np.ndarray, train: np.ndarray) -> np.ndarray:
    known = ~np.isnan(numbers[train])
    medians = [
        np.median(column[here]) if here.any() else 0.0 for column, here in zip(numbers[train].T, known.T, strict=True)
    ]
    return np.where(np.isnan(numbers), medians, numbers)
