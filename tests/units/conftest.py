"""What tests of rounds share: a small data set, and parties in this process."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from bench.data import Dataset
    from protocols.in_process import InProcessParties

# Imported where they are used, as most unit tests need neither.


@pytest.fixture(scope="module")
def digits() -> "Dataset":
    """The data set digits, which comes with a package."""
    from bench.datasets import datasets

    return datasets.make(datasets.resolve("digits")).load(None)


@pytest.fixture(scope="module")
def parties() -> "InProcessParties":
    """Six parties, threads of this process."""
    from protocols.in_process import InProcessParties

    return InProcessParties(6)
