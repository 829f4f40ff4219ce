"""Residues that the statistical checks of shares look at: modulo the protocol's ring, 2^32 or 2^64."""

import numpy as np
import pytest

from protocols.secure_sum import secure_sums
from protocols.testing.invariants import samples as sampling
from protocols.testing.invariants.contract import effort_named
from protocols.testing.invariants.secrecy import secret_sizes
from protocols.testing.invariants.uniformity import highest_chances, highest_parts, p_values, part_counts

SAMPLES = 4096
ALPHA = 1e-12  # the false-positive rate of each uniform case below; what is not uniform gives less than 1e-300


def drawn(least: int, most: int) -> np.ndarray:
    return np.random.default_rng(5).integers(least, most, (SAMPLES, 1), dtype=np.int64)


def p_value(words: np.ndarray, modulus: int) -> tuple[float, int]:
    """The p-value of the words' highest parts, and the size of the ring that they are taken to be from."""
    (size,) = sampling._sizes_of(words, modulus)
    counts = part_counts(highest_parts(sampling._residues(words, size), size))
    return float(p_values(counts, highest_chances(size))[0]), size


@pytest.mark.parametrize(
    ("least", "most", "modulus", "size"),
    [
        (-(2**21), 2**21, 2**22, 2**22),
        (0, 5, 5, 5),
        (0, 2**32, 2**22, 2**32),
        (-(2**31), 2**31, 2**22, 2**32),
        (-(2**63), 2**63 - 1, 2**22, 2**64),
        (-(2**63), 2**63 - 1, 2**64, 2**64),
        (0, 2**61 - 1, 2**61 - 1, 2**61 - 1),
    ],
)
def test_words_that_are_uniform_in_their_ring_pass(least: int, most: int, modulus: int, size: int) -> None:
    p, found = p_value(drawn(least, most), modulus)
    assert found == size
    assert p > ALPHA


@pytest.mark.parametrize(("least", "most", "modulus"), [(0, 2**31, 2**22), (0, 2**40, 2**22), (0, 2**21, 2**22)])
def test_words_that_fill_a_part_of_their_ring_do_not(least: int, most: int, modulus: int) -> None:
    assert p_value(drawn(least, most), modulus)[0] < 1e-300


@pytest.mark.parametrize("name", secure_sums.entries())
def test_every_protocol_that_promises_secrecy_shows_words_to_sample(name: str) -> None:
    # Messages that lose the axis of the clusters leave nothing to look at, and everything would look uniform.
    spec = secure_sums.resolve(name)
    for parties in secret_sizes(spec, effort_named("dev"))[:1]:
        views = sampling._equal_inputs(spec, parties, clusters=32, words=3, seed=1)
        assert list(sampling._blocks(views, secure_sums.make(spec).ring.modulus))
