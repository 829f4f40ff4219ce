"""No compression."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from protocols.compression import PLAIN, Code, compressors


@compressors.register(source="baseline")
@dataclass(frozen=True, kw_only=True)
class NoCompression:
    """All coordinates are sent as they are."""

    @property
    def linear(self) -> bool:
        """They are the same rows."""
        return True

    @property
    def unbiased(self) -> bool:
        """They are the same rows."""
        return True

    @property
    def error_feedback(self) -> bool:
        """Nothing is left out."""
        return False

    @property
    def server_memory(self) -> bool:
        """Nothing is left out."""
        return False

    def coordinates(self, dimension: int) -> int:
        """All."""
        return dimension

    def unfit(self, dimension: int) -> str | None:  # noqa: ARG002
        """It says that it saves nothing."""
        return None

    def code(self, dimension: int, rng: np.random.Generator) -> Code:  # noqa: ARG002
        """See Compressor."""
        return PLAIN

    def codes(self, dimension: int) -> Iterator[Code]:  # noqa: ARG002
        """There is one."""
        yield PLAIN

    def contraction(self, dimension: int) -> float | None:  # noqa: ARG002
        """Nothing is left out."""
        return 1.0

    def gain(self, dimension: int) -> float | None:  # noqa: ARG002
        """Lengths stay."""
        return 1.0
