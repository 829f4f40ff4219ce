"""All ways to leave F of m rows out, for the rules that are defined by the best of them; refused beyond a limit."""

import math
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain, combinations

import numpy as np
import torch
from torch import Tensor

from protocols.check import CloisterError

__all__ = ["MOST_SUBSETS", "check_subsets", "subsets", "too_many_subsets"]

MOST_SUBSETS = 200_000
"""So many subsets are looked at, in a second or two; 20 clusters with 7 tainted are 77,520, with 8 125,970."""
_CHUNK = 4096


def too_many_subsets(m: int, tolerate: int) -> str | None:
    """Return why no exact minimum over the subsets is looked for, in words, or None."""
    count = math.comb(m, tolerate)
    if count <= MOST_SUBSETS:
        return None
    return f"{count} ways to leave {tolerate} of {m} clusters out; allowed: at most {MOST_SUBSETS}"


def check_subsets(m: int, tolerate: int) -> None:
    """Raise CloisterError where there are more subsets than are looked at."""
    reason = too_many_subsets(m, tolerate)
    if reason:
        raise CloisterError(f"tolerate = {tolerate} means {reason}; form fewer clusters or tolerate less")


def subsets(m: int, keep: int) -> Iterator[Tensor]:
    """Yield the int64 numbers (chunk, keep) of the rows kept, all subsets in lexicographic order."""
    table = torch.from_numpy(_table(m, keep))
    for start in range(0, len(table), _CHUNK):
        yield table[start : start + _CHUNK].long()


@lru_cache(maxsize=8)
def _table(m: int, keep: int) -> np.ndarray:
    # 16 bits a number: 200,000 subsets of 20 rows take 8 MB, and the same ones are asked for in every round.
    flat = np.fromiter(chain.from_iterable(combinations(range(m), keep)), dtype=np.int16)
    return flat.reshape(-1, keep)
