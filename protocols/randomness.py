"""Randomness of two kinds: public streams named from a seed, and secret streams of AES-128 in counter mode."""

import hashlib
import math
import os
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from torch import Tensor

from protocols.check import CloisterError

__all__ = ["PIECE_BYTES", "SLACK_BYTES", "KeyStream", "SecretStreams", "public_stream"]

_BLOCK_BYTES = 16
_WORD_BYTES = 8
PIECE_BYTES = 2**18
"""So much of a key stream stays in the cache of a core while it is added to as many words."""
SLACK_BYTES = _BLOCK_BYTES - 1
"""The cipher asks for so much room behind what it writes, and leaves it as it is."""
_ZEROS = memoryview(bytes(PIECE_BYTES))


def _digest(*parts: object) -> bytes:
    # Each part is written with its length, so that ("ab", "c") and ("a", "bc") differ.
    digest = hashlib.sha256(b"cloister stream v1")
    for part in parts:
        text = str(part).encode()
        digest.update(len(text).to_bytes(8, "big") + text)
    return digest.digest()


def public_stream(seed: int, *names: object) -> np.random.Generator:
    """Return the generator of the named stream: for sampling, placement, initial weights; never for secrets.

    Guarantees:
        The same seed and names give the same draws; another seed or name gives an independent stream.
    """
    return np.random.Generator(np.random.Philox(key=int.from_bytes(_digest(seed, *names)[:16], "big")))


class KeyStream:
    """The key stream of one (use, lane), from its beginning on."""

    def __init__(self, algorithm: algorithms.AES128, use: int, lane: int) -> None:
        start = use.to_bytes(6, "big") + lane.to_bytes(4, "big") + bytes(6)
        self._encryptor = Cipher(algorithm, modes.CTR(start)).encryptor()

    def fill(self, target: memoryview, count: int) -> None:
        """Write the next `count` bytes to the start of `target`, which has SLACK_BYTES bytes of room behind them."""
        # In pieces, so that the zeros that are encrypted stay in the cache.
        for start in range(0, count, PIECE_BYTES):
            piece = _ZEROS[: min(PIECE_BYTES, count - start)]
            self._encryptor.update_into(piece, target[start:])


class SecretStreams:
    """Secret random words: one AES-128 key, one disjoint counter range for each (use, lane).

    A use is the number of a job and a lane is a place inside it (a cluster, a process); the initial counter
    block is use (48 bits), lane (32 bits), block number (48 bits), so two different pairs never share a block.

    Guarantees:
        Different (use, lane) pairs draw from disjoint blocks of the key stream.
        A use that is not larger than all before it is refused, so nothing is drawn twice; under other labels too.
        The key never appears in repr, str or an error.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != _BLOCK_BYTES:
            raise CloisterError(f"a stream key has {len(key)} bytes; allowed: {_BLOCK_BYTES}")
        self._algorithm = algorithms.AES128(key)
        self._last_use = -1
        self._counting = self

    @classmethod
    def fresh(cls) -> "SecretStreams":
        """Return streams under a new key from the operating system: what production uses."""
        return cls(os.urandom(_BLOCK_BYTES))

    @classmethod
    def replayable(cls, seed: int, *names: object) -> "SecretStreams":
        """Return streams that anyone who knows the seed can replay: for experiments, never for real data."""
        return cls(_digest("replayable secret", seed, *names)[:_BLOCK_BYTES])

    def under(self, label: bytes) -> "SecretStreams":
        """Return the streams of a key that follows from this one and the label; their uses grow together with these.

        Source: RFC 5869 (HKDF).
        """
        info = b"cloister streams under a label v1" + label
        key = HKDF(algorithm=SHA256(), length=_BLOCK_BYTES, salt=None, info=info).derive(self._algorithm.key)
        streams = SecretStreams(key)
        streams._counting = self._counting
        return streams

    def __repr__(self) -> str:
        return "SecretStreams(key hidden)"

    def __reduce__(self) -> str:
        raise TypeError("secret streams cannot be pickled")

    def claim(self, use: int) -> Callable[[int], KeyStream]:
        """Return what gives the key stream of each lane of this use; `use` must grow from call to call."""
        last = self._counting._last_use
        if use <= last or use >= 2**48:
            raise CloisterError(f"use = {use} of a secret stream is not allowed; allowed: > {last}, < 2^48")
        self._counting._last_use = use
        return partial(KeyStream, self._algorithm, use)

    def words(self, *, use: int, lanes: int, count: int) -> Tensor:
        """Return uniform int64 words of shape (lanes, count); `use` must grow from call to call."""
        lane, lane_bytes = self.claim(use), count * _WORD_BYTES
        # The slack of every lane but the last is the next lane.
        drawn = np.empty(lanes * lane_bytes + SLACK_BYTES, dtype=np.uint8)
        target = drawn.data
        for number in range(lanes if count else 0):
            lane(number).fill(target[number * lane_bytes :], lane_bytes)
        return torch.from_numpy(drawn[: lanes * lane_bytes].view(np.int64).reshape(lanes, count))

    def gaussian(self, *, use: int, lanes: int, count: int) -> Tensor:
        """Return standard normal float64 numbers of shape (lanes, count), by the Box-Muller transform.

        Each uniform has 53 bits, so |value| <= 8.6; the tails that are cut weigh less than 1e-17 a draw.
        """
        half = (count + 1) // 2
        bits = self.words(use=use, lanes=lanes, count=2 * half)
        # The logical shift keeps the top 53 bits; +1 moves [0, 1) to (0, 1] so that the logarithm is finite.
        uniform = (((bits >> 11) & (2**53 - 1)) + 1).to(torch.float64) * 2.0**-53
        radius = torch.sqrt(-2.0 * torch.log(uniform[:, :half]))
        angle = 2.0 * math.pi * uniform[:, half:]
        return torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], dim=1)[:, :count]
