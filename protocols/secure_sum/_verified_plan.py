"""The public shape of verified dealings: what a row is made of, its tags, its hash, the challenge. See `_verified`."""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from protocols.field import PrimeField
from protocols.randomness import SecretStreams
from protocols.secure_sum._sharing import Sharing

__all__ = ["HASH_BYTES", "SALT_WORDS", "WORD_BYTES", "Plan", "as_bytes", "challenge", "fits", "hash_rows"]

HASH_BYTES = 32
SALT_WORDS = 2
WORD_BYTES = 8


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The public shape of one batch of verified dealings.

    `attempts`: how many sets U can be tried, each with masks of its own. `committed_sums`: steps 3 and 6 hash and
    check the sums; without it they are decoded as a code word that bears errors.
    """

    sharing: Sharing
    parties: int
    clusters: int
    coordinates: int
    checks: int
    attempts: int
    committed_sums: bool

    @property
    def masks(self) -> int:
        """How many mask columns a row has."""
        return self.checks * self.attempts

    @property
    def width(self) -> int:
        """The columns of a row: words, masks, salt."""
        return self.coordinates + self.masks + SALT_WORDS

    @property
    def sum_width(self) -> int:
        """The columns of an opened sum: words, this attempt's masks, salt."""
        return self.coordinates + self.checks + SALT_WORDS

    def tags(self, dealers: int) -> Tensor:
        """Return memory for the tags of so many dealers, as they go over the wire: clusters first."""
        return torch.zeros(self.clusters, dealers, self.sharing.terms, self.checks, dtype=torch.int64)

    def rows(self, count: int) -> Tensor:
        """Return memory for so many rows, as they go over the wire."""
        return torch.zeros(self.clusters, count, self.width, dtype=torch.int64)

    def tags_at(self, tags: Tensor, position: int) -> Tensor:
        """Return the tags (dealers, clusters, checks) that the row of one member must have."""
        return self.sharing.at(tags.movedim(2, 0).contiguous(), [position])[0].transpose(0, 1)

    def tag(self, coefficients: Tensor, rows: Tensor, attempt: int) -> Tensor:
        """Return the tags (..., checks) of rows (..., width) under challenge coefficients (checks, coordinates)."""
        field, first = self.sharing.field, self.coordinates + attempt * self.checks
        words = rows[..., : self.coordinates]
        combined = torch.stack([field.combine(each, words) for each in coefficients], dim=-1)
        return field.add(combined, rows[..., first : first + self.checks])

    def added(self, rows: Tensor, attempt: int) -> Tensor:
        """Return the sum of rows (dealers, clusters, width) without other attempts' masks and salt."""
        first = self.coordinates + attempt * self.checks
        kept = torch.cat([rows[..., : self.coordinates], rows[..., first : first + self.checks]], dim=-1)
        return self.sharing.field.sum(kept, 0)


def hash_rows(rows: Tensor) -> Tensor:
    """Return the hash, HASH_BYTES bytes, of contiguous int64 rows."""
    return as_bytes(hashlib.sha256(rows.contiguous().numpy().data).digest())


def challenge(field: PrimeField, coin: bytes, checks: int, coordinates: int) -> Tensor:
    """Return the public coefficients (checks, coordinates) that this coin stands for, uniform elements."""
    words = SecretStreams(coin[:16]).words(use=0, lanes=checks, count=2 * coordinates + 512)
    candidates, accepted = field.from_uniform_words(words)
    rows = [row[keep][:coordinates] for row, keep in zip(candidates, accepted, strict=True)]
    # See OwnSecrets.elements: too few accepted words have probability below 1e-55.
    return torch.stack(rows)


def fits(plan: Plan, row: Tensor, posted: Tensor) -> bool:
    """Return whether a row (clusters, width) is what its posted hash says, and made of elements of the field."""
    words = row[:, : plan.coordinates + plan.masks]
    inside = bool(((words >= 0) & (words < plan.sharing.field.modulus)).all())
    return inside and torch.equal(hash_rows(row), posted)


def as_bytes(data: bytes) -> Tensor:
    """Return bytes as a uint8 tensor."""
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)
