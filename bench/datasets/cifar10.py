"""CIFAR-10 colour images from the publisher's binary batches."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.data import Dataset, Publisher
from bench.datasets import datasets
from protocols.check import integer_at_least

__all__ = ["MEAN", "STANDARD_DEVIATION", "Cifar10"]

MEAN = (0.4914, 0.4822, 0.4465)
STANDARD_DEVIATION = (0.2470, 0.2435, 0.2616)
"""Of all 50,000 training images' pixels in [0, 1], per channel (red, green, blue): the constants in common use."""

_CLASSES, _SHAPE = 10, (3, 32, 32)
_ROW = 1 + 3 * 32 * 32
_BATCHES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
_PUBLISHER = Publisher(
    dataset="cifar10",
    page="https://www.cs.toronto.edu/~kriz/cifar.html (binary version)",
    folders=("cifar-10-batches-bin", "cifar10", "."),
)


@datasets.register(
    source="Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images, Section 3.1",
    examples=({}, {"max_train": 1000}),
    facts={"needs_files": True},
)
@dataclass(frozen=True, kw_only=True)
class Cifar10:
    """CIFAR-10 colour images, 32 x 32 pixels: up to 50,000 + 10,000 rows, 10 classes.

    Rows are (3, 32, 32) float32: pixels in [0, 1], minus MEAN, divided by STANDARD_DEVIATION, per channel. The
    files lie in `cifar-10-batches-bin`, `cifar10` or the data folder itself, plain or `.gz`; the training rows
    are those of the batches 1 to 5 that are there. `max_train` keeps only the first training rows.
    """

    max_train: int | None = None

    def __post_init__(self) -> None:
        if self.max_train is not None:
            integer_at_least(1, max_train=self.max_train)

    def load(self, data_dir: Path | None) -> Dataset:
        """Return the data set; CloisterError if a file is missing or is not a whole batch."""
        (test_path,) = _PUBLISHER.find(data_dir, ("test_batch.bin",))
        folder = test_path.parent
        train_paths = [path for name in _BATCHES if (path := _PUBLISHER.present(folder, name))]
        if not train_paths:
            raise _PUBLISHER.missing([f"{_BATCHES[0]} to {_BATCHES[-1]}"], [folder])
        train = np.concatenate([_read_batch(path) for path in train_paths])[: self.max_train]
        x_train, y_train = _tensors(train)
        x_test, y_test = _tensors(_read_batch(test_path))
        return Dataset(name="cifar10", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test, classes=_CLASSES)


def _read_batch(path: Path) -> np.ndarray:
    raw = _PUBLISHER.read(path)
    if len(raw) == 0 or len(raw) % _ROW:
        raise _PUBLISHER.broken(path, f"{len(raw)} bytes", f"a positive multiple of {_ROW}, the bytes of one image")
    rows = np.frombuffer(raw, dtype=np.uint8).reshape(-1, _ROW)
    if rows[:, 0].max() >= _CLASSES:
        raise _PUBLISHER.broken(path, f"label {rows[:, 0].max()}", f"0 to {_CLASSES - 1}")
    return rows


def _tensors(rows: np.ndarray) -> tuple[Tensor, Tensor]:
    # In place: the whole of CIFAR-10 in float32 takes 614 MB.
    pixels = rows[:, 1:].astype(np.float32).reshape(-1, *_SHAPE)
    pixels /= 255
    pixels -= np.array(MEAN, dtype=np.float32)[:, None, None]
    pixels /= np.array(STANDARD_DEVIATION, dtype=np.float32)[:, None, None]
    return torch.from_numpy(pixels), torch.from_numpy(rows[:, 0].astype(np.int64))
