from pathlib import Path

import good_protocol
import pytest

from protocols.testing import vectors

VECTORS = vectors.load(Path(__file__).parent / "vectors.json")
__all__ = ["good_protocol"]


@pytest.mark.parametrize("vector", VECTORS, ids=vectors.name_of)
def test_good_protocol_ends_as_the_vectors_say(vector):
    vectors.verify(vector)
