"""Data sets as tensors, the files that publishers give, and errors for files that are missing or broken."""

import gzip
import hashlib
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from protocols.check import CloisterError

__all__ = [
    "DATA_VARIABLE",
    "SPLIT_SEED",
    "Dataset",
    "DatasetLoader",
    "Publisher",
    "data_folder",
    "split_dataset",
    "standardised",
    "stratified_split",
]

DATA_VARIABLE = "CLOISTER_DATA"
SPLIT_SEED = 20_240_229
"""The seed of every train/test split: one split per data set and fraction, the same in all experiments."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Training and test rows of a classification task.

    `x_train` (N, *shape) and `x_test` (M, *shape) are float32, `y_train` (N,) and `y_test` (M,) are int64 in
    [0, classes), `groups` (N,) is int64 in [0, len(group_names)): the natural group of each training row, such
    as its hospital, or None.

    Raises CloisterError if a tensor has another dtype, length or range, or a feature is not finite.

    Guarantees:
        Data sets that differ in one value, shape, group or class count have different fingerprints.
        Equal data sets have equal fingerprints, whatever their names.
    """

    name: str
    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    classes: int
    groups: Tensor | None = None
    group_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._check_part("train", self.x_train, self.y_train)
        self._check_part("test", self.x_test, self.y_test)
        self._require(
            self.x_test.shape[1:] == self.shape, f"x_test rows of shape {(*self.x_test.shape[1:],)}", self.shape
        )
        paired = (self.groups is None) == (not self.group_names)
        self._require(paired, "only one of groups and group_names", "both or neither")
        if self.groups is not None:
            self._check_labels("groups", self.groups, len(self.x_train), len(self.group_names))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row's features."""
        return tuple(self.x_train.shape[1:])

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256 of all tensors with their shapes, the class count and the group names, in hexadecimal."""
        digest = hashlib.sha256(repr((self.classes, self.group_names)).encode())
        for tensor in (self.x_train, self.y_train, self.x_test, self.y_test, self.groups):
            # The shape goes in front of the bytes: the same bytes cut into other rows are other data.
            digest.update(repr(None if tensor is None else tuple(tensor.shape)).encode())
            if tensor is not None:
                digest.update(tensor.cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def _check_part(self, part: str, x: Tensor, y: Tensor) -> None:
        self._require(x.dtype == torch.float32, f"x_{part} of dtype {x.dtype}", torch.float32)
        self._require(
            x.ndim > 1 and x.numel() > 0, f"x_{part} of shape {tuple(x.shape)}", "one row of features or more"
        )
        # The extremes are NaN if any value is, and much faster to find than a mask of all values.
        extremes = torch.stack(x.aminmax())
        self._require(bool(extremes.isfinite().all()), f"x_{part} with NaN or infinity", "finite features")
        self._check_labels(f"y_{part}", y, len(x), self.classes)

    def _check_labels(self, field: str, values: Tensor, rows: int, bound: int) -> None:
        self._require(values.dtype == torch.int64, f"{field} of dtype {values.dtype}", torch.int64)
        self._require(tuple(values.shape) == (rows,), f"{field} of shape {tuple(values.shape)}", (rows,))
        low, high = int(values.min()), int(values.max())
        self._require(low >= 0 and high < bound, f"{field} from {low} to {high}", f"0 to {bound - 1}")

    def _require(self, ok: bool, found: str, allowed: object) -> None:
        if not ok:
            raise CloisterError(f"dataset {self.name!r} has {found}; allowed: {allowed}")


class DatasetLoader(Protocol):
    """A plug-in that reads one data set; its fields are the data set's parameters."""

    def load(self, data_dir: Path | None) -> Dataset:
        """Return the data set, read from the publisher's files under `data_dir` where it needs files.

        Raises CloisterError if files are missing or broken.
        """
        ...


def data_folder(data_dir: Path | None) -> Path | None:
    """Return `data_dir`, else the folder that the environment variable CLOISTER_DATA names, else None."""
    named = os.environ.get(DATA_VARIABLE) if data_dir is None else data_dir
    return Path(named).expanduser() if named else None


@dataclass(frozen=True, kw_only=True)
class Publisher:
    """Who publishes a data set's files (`page`) and the `folders` under the data folder where they may lie.

    Guarantees:
        A missing folder or file is reported in one line with the paths looked at, the page and the way out.
        All files come from one folder, the first that holds them all.
        A file that is compressed with gzip reads like the plain one.
    """

    dataset: str
    page: str
    folders: tuple[str, ...]

    def find(self, data_dir: Path | None, names: Sequence[str]) -> list[Path]:
        """Return the paths of the named files, plain or `.gz`; CloisterError if no folder holds them all."""
        folders = self._candidates(data_dir)
        found = [{name: path for name in names if (path := self.present(folder, name))} for folder in folders]
        best = max(found, key=len)
        if len(best) < len(names):
            # A folder that holds some of the files is the one that the user meant.
            looked_at = [folders[found.index(best)]] if best else folders
            raise self.missing([name for name in names if name not in best], looked_at)
        return [best[name] for name in names]

    def present(self, folder: Path, name: str) -> Path | None:
        """Return the path of the named file in the folder, plain or `.gz`, or None."""
        return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)

    def read(self, path: Path) -> bytes:
        """Return the file's bytes, decompressed if it is `.gz`; CloisterError if it cannot be read whole."""
        try:
            raw = path.read_bytes()
            return gzip.decompress(raw) if path.suffix == ".gz" else raw
        except (OSError, EOFError, zlib.error) as error:
            raise self.broken(path, f"{type(error).__name__}: {error}", "a whole, readable file") from None

    def missing(self, names: Sequence[str], looked_at: Sequence[Path]) -> CloisterError:
        """Return the error for files that none of the folders holds."""
        places = " or ".join(str(folder) for folder in looked_at)
        return self._error(f"no {', '.join(names)} (plain or .gz) in {places}")

    def broken(self, path: Path, found: str, allowed: str) -> CloisterError:
        """Return the error for a file whose content is not what the publisher's format allows."""
        return CloisterError(
            f"dataset {self.dataset!r}: {path} is broken: found {found}; allowed: {allowed}; "
            f"get it again from {self.page}"
        )

    def _candidates(self, data_dir: Path | None) -> list[Path]:
        root = data_folder(data_dir)
        if root is None:
            raise self._error("no data folder was given")
        if not root.is_dir():
            raise self._error(f"the data folder {root} {'is not a folder' if root.exists() else 'does not exist'}")
        return [root / folder for folder in self.folders]

    def _error(self, problem: str) -> CloisterError:
        return CloisterError(
            f"dataset {self.dataset!r}: {problem}; get the data from {self.page}, "
            f"then give their folder with --data-dir DIR or the environment variable {DATA_VARIABLE}"
        )


def stratified_split(strata: np.ndarray, test_fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the train and the test rows (int64, sorted) for `strata` (N,), an integer per row.

    Raises CloisterError if the fraction leaves no test row.

    Guarantees:
        Every stratum gives its share to the test rows to within half a row, and keeps one training row.
        The split is the same in every run.
    """
    # The bit generator alone, not Generator: NumPy promises the same stream in all versions only for the former.
    keys = np.random.PCG64(SPLIT_SEED).random_raw(len(strata))
    order = np.lexsort((keys, strata))
    _, start, size = np.unique(strata[order], return_index=True, return_counts=True)
    share = np.minimum(np.floor(test_fraction * size + 0.5), size - 1)
    rank = np.arange(len(order)) - np.repeat(start, size)
    is_test = np.zeros(len(strata), dtype=bool)
    is_test[order] = rank < np.repeat(share, size)
    if not is_test.any():
        raise CloisterError(
            f"test_fraction = {test_fraction!r} leaves no test row out of {len(strata)}; allowed: a larger fraction"
        )
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)


def standardised(features: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Return `features` (N, d) float64 with mean 0 and standard deviation 1 in each column over the `train` rows.

    A column that is constant over the training rows is only centred. The statistics are those of all training
    rows together, before any process holds its share: a preparation that no privacy guarantee covers.

    Guarantees:
        The test rows have no influence on the training rows' values.
    """
    deviation = features[train].std(axis=0)
    return (features - features[train].mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)


def split_dataset(
    *,
    name: str,
    features: np.ndarray,
    labels: np.ndarray,
    classes: int,
    train: np.ndarray,
    test: np.ndarray,
    groups: np.ndarray | None = None,
    group_names: tuple[str, ...] = (),
) -> Dataset:
    """Return the data set of `features` (N, *shape), `labels` (N,) and `groups` (N,) cut at those rows."""

    def values(rows: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(features[rows], dtype=np.float32))

    def words(source: np.ndarray, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(source[rows], dtype=np.int64))

    return Dataset(
        name=name,
        x_train=values(train),
        y_train=words(labels, train),
        x_test=values(test),
        y_test=words(labels, test),
        classes=classes,
        groups=None if groups is None else words(groups, train),
        group_names=group_names,
    )
