"""Sums modulo 2^61 - 1 in tests: words, a batch among threads, and what Python's integers say that it opens."""

from collections.abc import Mapping

import torch
from hypothesis import strategies as st

from protocols.faults import Fault
from protocols.field import MERSENNE_61
from protocols.in_process import InProcessParties
from protocols.parties import OpenedSums
from protocols.registry import Spec
from protocols.testing.keyrings import replayable_keyring

__all__ = ["HALF", "WORDS", "assert_exact", "run", "sum_of", "words_of"]

HALF = MERSENNE_61 // 2
WORDS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.sampled_from([0, 1, -1, HALF, -HALF, MERSENNE_61]))


def words_of(parties: int, clusters: int = 2, coordinates: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(parties)
    return torch.randint(-(2**40), 2**40, (clusters, parties, coordinates), generator=generator)


def run(
    spec: Spec, words: torch.Tensor, faults: Mapping[int, Fault] | None = None, schedule: int | None = None
) -> OpenedSums:
    # Keys that need no exchange: most of these runs end with parties that are lost.
    threads = InProcessParties(words.shape[1], faults=faults, schedule=schedule, keyring=replayable_keyring(0))
    return threads.open_sums(spec, words)


def sum_of(words: torch.Tensor, contributors: tuple[int, ...], modulus: int = MERSENNE_61) -> list[list[int]]:
    """Python integers, wrapped around zero."""
    half = (modulus - 1) // 2
    plain = words.tolist()
    return [
        [(sum(plain[j][i][k] for i in contributors) + half) % modulus - half for k in range(words.shape[2])]
        for j in range(words.shape[0])
    ]


def assert_exact(opened: OpenedSums, words: torch.Tensor, faulty: frozenset[int] = frozenset()) -> None:
    """The sum is that of its contributors; nobody honest is missing or named."""
    assert opened.sums.tolist() == sum_of(words, opened.contributors)
    assert set(range(words.shape[1])) - faulty <= set(opened.contributors)
    assert opened.suspects <= faulty
