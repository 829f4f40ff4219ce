"""Memory that a pool shares with one of its party processes, so that words are not copied through a pipe."""

import mmap
import os
from collections.abc import Callable
from multiprocessing import reduction
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["InputMemory", "SentDescriptor"]

_WORD_BYTES = 8


class InputMemory:
    """A party's input words; the memory grows with the largest batch and has no name that others could open."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._mapped: mmap.mmap | None = None

    @classmethod
    def create(cls) -> "InputMemory":
        """Return new, empty memory."""
        return cls(os.memfd_create("cloister-party"))

    def close(self) -> None:
        """Give the descriptor back; the memory goes with its last user."""
        self._mapped = None
        os.close(self.descriptor)

    def words(self, clusters: int, coordinates: int) -> Tensor:
        """Return the int64 words of shape (clusters, coordinates) that lie at the start of the memory."""
        count = clusters * coordinates
        if self._mapped is None or len(self._mapped) < count * _WORD_BYTES:
            self._mapped = mmap.mmap(self.descriptor, count * _WORD_BYTES)
        return torch.frombuffer(self._mapped, dtype=torch.int64, count=count).view(clusters, coordinates)

    def write(self, words: Tensor) -> None:
        """Put words of shape (clusters, coordinates) at the start of the memory."""
        needed = words.numel() * _WORD_BYTES
        if os.fstat(self.descriptor).st_size < needed:
            os.ftruncate(self.descriptor, needed)
        # One thread copies: PyTorch's threads would wait for each other while the parties have the cores.
        np.copyto(self.words(*words.shape).numpy(), words.numpy())


class SentDescriptor:
    """A file descriptor as an argument of a new process, which gets its own number for it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __reduce__(self) -> tuple[Callable[[Any], int], tuple[Any]]:
        return _received, (reduction.DupFd(self._descriptor),)


def _received(sent: Any) -> int:
    return sent.detach()
