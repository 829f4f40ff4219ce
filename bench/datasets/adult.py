"""UCI Adult (Census Income) from the publisher's training file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.data import Dataset, Publisher, split_dataset, standardised, stratified_split
from bench.datasets import datasets
from bench.datasets._tables import read_table
from protocols.check import fraction

__all__ = ["CATEGORIES", "COLUMNS", "NUMBERS", "Adult"]

NUMBERS = ("age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week")
"""The columns that hold numbers, in the file's order."""

# The publisher's own list, not the words of the file at hand: any part of the file gives the same columns.
CATEGORIES: dict[str, tuple[str, ...]] = {
    column: tuple(words.split())
    for column, words in {
        "workclass": "Private Self-emp-not-inc Self-emp-inc Federal-gov Local-gov State-gov Without-pay Never-worked ?",
        "education": "Bachelors Some-college 11th HS-grad Prof-school Assoc-acdm Assoc-voc 9th 7th-8th 12th Masters "
        "1st-4th 10th Doctorate 5th-6th Preschool",
        "marital-status": "Married-civ-spouse Divorced Never-married Separated Widowed Married-spouse-absent "
        "Married-AF-spouse",
        "occupation": "Tech-support Craft-repair Other-service Sales Exec-managerial Prof-specialty "
        "Handlers-cleaners Machine-op-inspct Adm-clerical Farming-fishing Transport-moving Priv-house-serv "
        "Protective-serv Armed-Forces ?",
        "relationship": "Wife Own-child Husband Not-in-family Other-relative Unmarried",
        "race": "White Asian-Pac-Islander Amer-Indian-Eskimo Other Black",
        "sex": "Female Male",
        "native-country": "United-States Cambodia England Puerto-Rico Canada Germany Outlying-US(Guam-USVI-etc) India "
        "Japan Greece South China Cuba Iran Honduras Philippines Italy Poland Jamaica Vietnam Mexico Portugal Ireland "
        "France Dominican-Republic Laos Ecuador Taiwan Haiti Columbia Hungary Guatemala Nicaragua Scotland Thailand "
        "Yugoslavia El-Salvador Trinadad&Tobago Peru Hong Holand-Netherlands ?",
    }.items()
}
"""The words of each other column; `?`, a missing value, is a word of its own where the publisher has gaps."""

COLUMNS = NUMBERS + tuple(f"{column}={word}" for column, words in CATEGORIES.items() for word in words)
"""What each of the 108 features is, in order."""

_INCOME = ("<=50K", ">50K")
_FILE = (
    *("age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship"),
    *("race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country", "income"),
)
_PUBLISHER = Publisher(
    dataset="adult", page="https://archive.ics.uci.edu/dataset/2/adult", folders=("adult", "Adult", ".")
)


@datasets.register(
    source="Kohavi 1996, Scaling Up the Accuracy of Naive-Bayes Classifiers; Becker and Kohavi, Adult, UCI",
    examples=({}, {"test_fraction": 0.5}),
    facts={"needs_files": True},
)
@dataclass(frozen=True, kw_only=True)
class Adult:
    """UCI Adult (Census Income): 32,561 rows, 108 features, 2 classes; who earns more than 50,000 dollars a year.

    Rows are (108,) float32, named by COLUMNS: six numbers standardised by the training rows, then the categories
    as 0 or 1. The file `adult.data` lies in `adult`, `Adult` or the data folder itself. The split is stratified by
    class; the publisher's own `adult.test` is not used.
    """

    test_fraction: float = 0.2

    def __post_init__(self) -> None:
        fraction(test_fraction=self.test_fraction)

    def load(self, data_dir: Path | None) -> Dataset:
        """Return the data set; CloisterError if the file is missing or has a cell that is not allowed."""
        (path,) = _PUBLISHER.find(data_dir, ("adult.data",))
        table = read_table(_PUBLISHER, path, _FILE)
        labels = table.one_hot("income", _INCOME).argmax(axis=1)
        train, test = stratified_split(labels, self.test_fraction)
        numbers = np.stack([table.numbers(column) for column in NUMBERS], axis=1)
        hot = [table.one_hot(column, words) for column, words in CATEGORIES.items()]
        features = np.concatenate([standardised(numbers, train), *hot], axis=1)
        return split_dataset(name="adult", features=features, labels=labels, classes=2, train=train, test=test)
