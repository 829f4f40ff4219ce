"""MNIST handwritten digits from the publisher's IDX files."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.data import Dataset, Publisher
from bench.datasets import datasets
from protocols.check import integer_at_least

__all__ = ["MEAN", "STANDARD_DEVIATION", "Mnist"]

MEAN, STANDARD_DEVIATION = 0.1307, 0.3081
"""Of all training pixels in [0, 1]: the constants that the literature uses."""

_IMAGES, _LABELS = 0x0803, 0x0801
_CLASSES, _SIDE = 10, 28
_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_PUBLISHER = Publisher(
    dataset="mnist",
    page="http://yann.lecun.com/exdb/mnist/ (torchvision.datasets.MNIST(DIR, download=True) gets the same files)",
    folders=("MNIST/raw", "mnist", "."),
)


@datasets.register(
    source="LeCun, Bottou, Bengio and Haffner 1998, Gradient-Based Learning Applied to Document "
    "Recognition, Section III",
    examples=({}, {"max_train": 1000}),
    facts={"needs_files": True},
)
@dataclass(frozen=True, kw_only=True)
class Mnist:
    """MNIST handwritten digits, 28 x 28 pixels: 60,000 + 10,000 rows, 10 classes.

    Rows are (1, 28, 28) float32: pixels in [0, 1], minus MEAN, divided by STANDARD_DEVIATION. The files lie in
    `MNIST/raw`, `mnist` or the data folder itself, plain or `.gz`. `max_train` keeps only the first training rows.
    """

    max_train: int | None = None

    def __post_init__(self) -> None:
        if self.max_train is not None:
            integer_at_least(1, max_train=self.max_train)

    def load(self, data_dir: Path | None) -> Dataset:
        """Return the data set; CloisterError if a file is missing or is not a whole IDX file of digits."""
        paths = _PUBLISHER.find(data_dir, _FILES)
        x_train, y_train = _read_part(paths[0], paths[1], self.max_train)
        x_test, y_test = _read_part(paths[2], paths[3], None)
        return Dataset(name="mnist", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test, classes=_CLASSES)


def _read_part(images_path: Path, labels_path: Path, limit: int | None) -> tuple[Tensor, Tensor]:
    images = _read_idx(images_path, _IMAGES, dimensions=3)
    labels = _read_idx(labels_path, _LABELS, dimensions=1)
    if images.shape[1:] != (_SIDE, _SIDE) or len(images) == 0:
        raise _PUBLISHER.broken(images_path, f"images of shape {images.shape}", f"(rows, {_SIDE}, {_SIDE})")
    if len(labels) != len(images):
        raise _PUBLISHER.broken(labels_path, f"{len(labels)} labels", f"{len(images)}, one per image")
    if labels.max() >= _CLASSES:
        raise _PUBLISHER.broken(labels_path, f"label {labels.max()}", f"0 to {_CLASSES - 1}")
    # Converted after the cut, in place: the whole of MNIST in float32 takes 188 MB.
    pixels = images[:limit].astype(np.float32)
    pixels /= 255
    pixels -= MEAN
    pixels /= STANDARD_DEVIATION
    return torch.from_numpy(pixels).unsqueeze(1), torch.from_numpy(labels[:limit].astype(np.int64))


def _read_idx(path: Path, magic: int, *, dimensions: int) -> np.ndarray:
    raw = _PUBLISHER.read(path)
    start = 4 * (1 + dimensions)
    if len(raw) < start:
        raise _PUBLISHER.broken(path, f"{len(raw)} bytes", f"an IDX header of {start} bytes, then data")
    found, *sizes = (int(word) for word in np.frombuffer(raw, dtype=">u4", count=1 + dimensions))
    if found != magic:
        raise _PUBLISHER.broken(path, f"magic number {found:#010x}", f"{magic:#010x} (IDX, unsigned bytes)")
    size = start + math.prod(sizes)
    if len(raw) != size:
        raise _PUBLISHER.broken(path, f"{len(raw)} bytes", f"{size} bytes for the shape {tuple(sizes)} in its header")
    return np.frombuffer(raw, dtype=np.uint8, offset=start).reshape(sizes)
