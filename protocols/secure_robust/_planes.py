"""Numbers as planes of bits: plane k holds bit k of 64 coordinates in each word."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["WORD_BITS", "from_planes", "to_planes", "words_for"]

WORD_BITS = 64


def words_for(coordinates: int) -> int:
    """Return how many words hold one bit of each coordinate."""
    return -(-coordinates // WORD_BITS)


def to_planes(words: Tensor, bits: int) -> Tensor:
    """Return the lowest bits of int64 words (..., d) as planes (..., bits, words_for(d)), lowest bit first."""
    *lead, d = words.shape
    little: NDArray[np.uint8] = words.contiguous().numpy().astype("<i8").view(np.uint8).reshape(*lead, d, 8)
    per_bit = np.unpackbits(little, axis=-1, bitorder="little", count=bits)
    padded = np.zeros((*lead, bits, WORD_BITS * words_for(d)), dtype=np.uint8)
    padded[..., :d] = np.moveaxis(per_bit, -1, -2)
    return torch.from_numpy(np.packbits(padded, axis=-1, bitorder="little").view("<i8").astype(np.int64))


def from_planes(planes: Tensor, coordinates: int) -> Tensor:
    """Return the int64 words (..., d) whose bits the planes (..., bits, words) are; the top plane is the sign."""
    *lead, bits, _ = planes.shape
    per_bit = np.unpackbits(planes.contiguous().numpy().astype("<i8").view(np.uint8), axis=-1, bitorder="little")
    lanes = np.empty((*lead, coordinates, WORD_BITS), dtype=np.uint8)
    lanes[..., :bits] = np.moveaxis(per_bit[..., :coordinates], -1, -2)
    lanes[..., bits:] = lanes[..., bits - 1 : bits]
    return torch.from_numpy(np.packbits(lanes, axis=-1, bitorder="little").view("<i8").astype(np.int64)[..., 0])
