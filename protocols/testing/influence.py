"""Which random digits, and which inputs, touch which words that parties receive in a secure sum."""

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray

from protocols.randomness import public_stream
from protocols.registry import Spec
from protocols.secure_sum import secure_sums
from protocols.testing._taped import Script, Views, play

__all__ = ["Influence", "Words", "influence_of", "random_inputs", "reduced", "reduced_words", "wrapped"]

Words = NDArray[np.int64]
_PROBES = 3
_COINS = 5


@dataclass(frozen=True, kw_only=True)
class Influence:
    """Which digits touch which received words (digits, columns), which of these depend on the inputs at a coordinate
    (coordinates, columns), and who sees and sent the words.

    Seen at several random tapes, inputs and, where a protocol tosses public coins, coins.
    """

    touches: NDArray[np.bool_]
    depends: NDArray[np.bool_]
    views: Views


def influence_of(script: Script) -> Influence:
    """Change each digit and each input alone and look at what changes."""
    digits, parties, coordinates = len(script.moduli), script.parties, script.coordinates
    width = 1 + digits + parties * coordinates
    touches: list[NDArray[np.bool_]] = []
    depends: list[NDArray[np.bool_]] = []
    views = None
    for seed in range(_COINS):
        tapes = np.repeat(script.random_tapes(_PROBES, seed)[:, None], width, axis=1)
        inputs = np.repeat(random_inputs(script.spec, script, _PROBES, seed)[:, None], width, axis=1)
        for i, modulus in enumerate(script.moduli):
            tapes[:, 1 + i, i] = [_plus(int(word), 1, int(modulus)) for word in tapes[:, 0, i]]
        for j, k in product(range(parties), range(coordinates)):
            inputs[:, 1 + digits + j * coordinates + k, j, k] += 1
        flat = wrapped(script.spec, inputs.reshape(-1, parties, coordinates))
        views = play(script, flat, tapes.reshape(_PROBES * width, digits))
        words = reduced_words(script.spec, views.words).reshape(_PROBES, width, -1)
        changed = (words[:, 1:] != words[:, :1]).any(axis=0)
        touches.append(changed[:digits])
        depends.append(changed[digits:].reshape(parties, coordinates, -1).any(axis=0))
    assert views is not None
    return Influence(touches=np.logical_or.reduce(touches), depends=np.logical_or.reduce(depends), views=views)


def random_inputs(spec: Spec, script: Script, count: int, seed: int) -> Words:
    """Return uniform words of the protocol's ring, int64 (count, parties, coordinates)."""
    rng = public_stream(seed, "inputs", script.parties)
    drawn = rng.integers(-(2**63), 2**63 - 1, (count, script.parties, script.coordinates), dtype=np.int64)
    return wrapped(spec, drawn)


def wrapped(spec: Spec, words: Words) -> Words:
    """Return the words as the protocol's ring writes them."""
    return secure_sums.make(spec).ring.wrap(torch.from_numpy(words)).numpy()


def reduced_words(spec: Spec, words: Words) -> Words:
    """Return all that counts of the words in the protocol's ring, see reduced."""
    return reduced(words, secure_sums.make(spec).ring.modulus)


def reduced(words: Words, modulus: int) -> Words:
    """Return what a word is modulo a ring of 2^k words: all that counts of it; field elements stay as they are."""
    return words & (modulus - 1) if modulus & (modulus - 1) == 0 and modulus < 2**63 else words


def _plus(word: int, step: int, modulus: int) -> int:
    moved = (word % 2**64 + step) % modulus
    return moved - 2**64 if moved >= 2**63 else moved
