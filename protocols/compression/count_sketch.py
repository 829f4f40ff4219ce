"""Count sketches: updates are hashed into few buckets, and the server finds the heavy coordinates of their sum."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor

from protocols import check
from protocols.compression import Code, check_share, compressors, share_of


@compressors.register(
    source="Rothchild et al. 2020, FetchSGD, ICML (without its momentum); "
    "the sketch: Charikar, Chen, Farach-Colton 2002, ICALP",
    examples=({"k": 0.5}, {"k": 0.5, "tables": 3}, {"k": 0.5, "tables": 5, "top": 0.02}),
)
@dataclass(frozen=True, kw_only=True)
class CountSketch:
    """Adds up, in each of `tables` tables, the coordinates that fall into a bucket, each with a sign of its own.

    All tables together have about k x d buckets, at least one each: more than k x d where there are more tables than
    that, which the grid refuses, as it does a sketch of as many words as the update has. A coordinate is estimated by
    the median over the tables of its bucket times its sign. With `top` below 1 only that share of the coordinates is
    decoded, those with the largest estimates, as in the source; what the server did not decode it keeps, as a sketch,
    for the next round, so all rounds use the same hashes. That memory is fed by everybody, also by Byzantine processes,
    and it needs many more buckets than decoded coordinates: with fewer it fills up with what collides, and training
    fails.

    Guarantees:
        Buckets and signs are uniform and independent, in every table and coordinate.
        With top = 1 the estimates are unbiased.
    """

    k: float = 0.1
    tables: int = 1
    top: float = 1.0

    def __post_init__(self) -> None:
        check_share(k=self.k, top=self.top)
        check.integer_at_least(1, tables=self.tables)

    @property
    def linear(self) -> bool:
        """Buckets add up."""
        return True

    @property
    def unbiased(self) -> bool:
        """What collides with a coordinate has a sign as often as the other one; but not where only some are decoded."""
        return self.top == 1

    @property
    def error_feedback(self) -> bool:
        """The server's, in the sketch."""
        return False

    @property
    def server_memory(self) -> bool:
        """Where something is not decoded."""
        return self.top < 1

    def coordinates(self, dimension: int) -> int:
        """The buckets of all tables: the nearest number that all tables share evenly, at least one each."""
        return self.tables * self._buckets(dimension)

    def _buckets(self, dimension: int) -> int:
        return max(1, round(self.k * dimension / self.tables))

    def unfit(self, dimension: int) -> str | None:
        """Where there are more tables than k x d, or a sketch is no shorter than the update."""
        most, words = share_of(self.k, dimension), self.coordinates(dimension)
        if self.tables > most:
            return (
                f"count_sketch with tables = {self.tables} has more than {most} = k x d buckets; allowed: up to {most}"
            )
        if words >= dimension:
            return (
                f"count_sketch with k = {self.k} sends {words} words for {dimension} coordinates; allowed: a smaller k"
            )
        return None

    def code(self, dimension: int, rng: np.random.Generator) -> Code:
        """See Compressor."""
        shape = (self.tables, dimension)
        buckets = torch.from_numpy(rng.integers(0, self._buckets(dimension), size=shape))
        signs = torch.from_numpy(rng.integers(0, 2, size=shape) * 2 - 1)
        return self._sketch(dimension, buckets, signs)

    def codes(self, dimension: int) -> Iterator[Code]:
        """All ways to hash the coordinates in all tables."""
        cells = self.tables * dimension
        hashed = product(range(self._buckets(dimension)), repeat=cells)
        for buckets in hashed:
            for signs in product((-1, 1), repeat=cells):
                shape = (self.tables, dimension)
                yield self._sketch(dimension, torch.tensor(buckets).view(shape), torch.tensor(signs).view(shape))

    def _sketch(self, dimension: int, buckets: Tensor, signs: Tensor) -> Code:
        return _Sketch(
            width=self._buckets(dimension), buckets=buckets, signs=signs, decoded=share_of(self.top, dimension)
        )

    def contraction(self, dimension: int) -> float | None:  # noqa: ARG002
        """None is proved without an assumption on how heavy the heavy coordinates are."""
        return None

    def gain(self, dimension: int) -> float | None:
        """Sqrt(tables x d): where all coordinates share a bucket in every table, and all are as large."""
        return math.sqrt(self.tables * dimension)


@dataclass(frozen=True, kw_only=True)
class _Sketch:
    """Hashes (tables, d) into `width` buckets a table with signs (tables, d); the `decoded` largest come back."""

    width: int
    buckets: Tensor
    signs: Tensor
    decoded: int

    def compress(self, updates: Tensor) -> Tensor:
        """See Code."""
        sketch = updates.new_zeros(len(updates), len(self.buckets), self.width)
        for table, (buckets, signs) in enumerate(zip(self.buckets, self.signs, strict=True)):
            signed = updates * signs.to(updates.device, updates.dtype)
            sketch[:, table].index_add_(1, buckets.to(updates.device), signed)
        return sketch.flatten(1)

    def decompress(self, rows: Tensor) -> Tensor:
        """See Code; an estimate that is no number counts as the largest."""
        tables = rows.view(len(rows), *self.buckets.shape[:1], self.width)
        found = tables.gather(2, self.buckets.to(rows.device).expand(len(rows), -1, -1))
        estimates = _middle(found * self.signs.to(rows.device, rows.dtype))
        heavy = estimates.abs().topk(self.decoded, dim=1).indices
        return torch.zeros_like(estimates).scatter_(1, heavy, estimates.gather(1, heavy))


def _middle(values: Tensor) -> Tensor:
    """Return the median (m, d) over the tables of values (m, tables, d); the mean of the two in the middle, if two."""
    count = values.shape[1]
    ordered = values.sort(dim=1).values
    return (ordered[:, (count - 1) // 2] + ordered[:, count // 2]) / 2
