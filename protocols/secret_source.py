"""A party's own secret randomness, by purpose: shares' coefficients, mask seeds, salts."""

from typing import Protocol

import torch
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from torch import Tensor

from protocols.check import CloisterError
from protocols.field import PrimeField
from protocols.randomness import SecretStreams

__all__ = ["OwnSecrets", "Secrets"]

_KEY_BYTES = 16


class Secrets(Protocol):
    """Where a party draws its secrets; each (purpose, use) is drawn once."""

    def words(self, *, purpose: str, use: int, clusters: int, count: int) -> Tensor:
        """Return uniform int64 words of shape (clusters, count)."""
        ...

    def elements(self, field: PrimeField, *, purpose: str, use: int, clusters: int, count: int) -> Tensor:
        """Return uniform elements of the field, int64 of shape (clusters, count)."""
        ...

    def token(self, *, purpose: str, use: int, size: int) -> bytes:
        """Return `size` uniform bytes."""
        ...


class OwnSecrets:
    """Streams of AES-128 in counter mode, one key a purpose, all from one key of the operating system.

    Guarantees:
        A (purpose, use) that was drawn before is refused, so nothing is drawn twice.
        Elements of a field are exactly uniform: words beyond its size are rejected, not reduced.
        Nothing of it appears in repr.
    """

    def __init__(self, streams: SecretStreams) -> None:
        self._master = streams.words(use=0, lanes=1, count=2).numpy().tobytes()
        self._streams: dict[str, SecretStreams] = {}

    @classmethod
    def fresh(cls) -> "OwnSecrets":
        """Return secrets under a new key from the operating system: what production uses."""
        return cls(SecretStreams.fresh())

    def __repr__(self) -> str:
        return "OwnSecrets(key hidden)"

    def __reduce__(self) -> str:
        raise TypeError("secrets cannot be pickled")

    def words(self, *, purpose: str, use: int, clusters: int, count: int) -> Tensor:
        """See Secrets.words."""
        return self._stream(purpose).words(use=use, lanes=clusters, count=count)

    def elements(self, field: PrimeField, *, purpose: str, use: int, clusters: int, count: int) -> Tensor:
        """See Secrets.elements.

        A word is accepted with probability above 1/2. With 2 count + 512 of them, fewer than `count` are
        accepted with probability below exp(-2 * 256^2 / 1024) = 1e-55 (Hoeffding, at count = 256; less elsewhere).
        """
        spare = 4 if field.modulus > 2**60 else count + 512
        words = self._stream(purpose).words(use=use, lanes=clusters, count=count + spare)
        elements, accepted = field.from_uniform_words(words)
        if bool(accepted[:, :count].all()):
            return elements[:, :count].contiguous()
        rows = [row[keep][:count] for row, keep in zip(elements, accepted, strict=True)]
        if any(len(row) < count for row in rows):
            raise CloisterError(f"too few random words fell into the field of {field.modulus} elements; draw again")
        return torch.stack(rows)

    def token(self, *, purpose: str, use: int, size: int) -> bytes:
        """See Secrets.token."""
        words = self._stream(purpose).words(use=use, lanes=1, count=-(-size // 8))
        return words.numpy().tobytes()[:size]

    def _stream(self, purpose: str) -> SecretStreams:
        if purpose not in self._streams:
            info = f"cloister own secrets v1, {purpose}".encode()
            key = HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=info).derive(self._master)
            self._streams[purpose] = SecretStreams(key)
        return self._streams[purpose]
