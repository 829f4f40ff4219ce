"""Which global model a member has trained on: one digest, and how it is bound to a batch.

A faulty distributor that hands different models to the members of a cluster makes secure sums tell one member's update:
with all others' gradients suppressed, the sum is that update. So members, or the board where it follows the protocol,
compare what they hold before a sum opens; each protocol says how.

Source: Pasquini, Francati and Ateniese 2022, Eluding secure aggregation in federated learning via model inconsistency,
CCS (the attack; masks that depend on the model as a countermeasure).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from protocols.check import CloisterError

__all__ = ["DIGEST_BYTES", "NO_MODEL", "Models", "bound_digest", "check_digest", "model_digest"]

DIGEST_BYTES = 32
NO_MODEL = bytes(DIGEST_BYTES)
"""What members hold who add words that are of no model."""


def model_digest(parameters: Mapping[str, Tensor]) -> bytes:
    """Return the SHA-256 digest, DIGEST_BYTES bytes, of named tensors of any types and shapes.

    Names in alphabetical order, each with type, shape and the values in row-major order as little-endian bytes. All
    NaNs count as one, since no arithmetic tells them apart; the two zeros, which a division does, as two numbers.

    Guarantees:
        Equal values of equal names, types and shapes have one digest, whatever their strides, device and order.
        Another name, type, shape or value is another digest, as far as SHA-256 resists collisions.
    """
    digest = hashlib.sha256(b"cloister model v1")
    for name in sorted(parameters):
        tensor = parameters[name].detach().cpu()
        for part in (name.encode(), str(tensor.dtype).encode(), repr(tuple(tensor.shape)).encode(), _bytes_of(tensor)):
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
    return digest.digest()


def _bytes_of(tensor: Tensor) -> memoryview:
    flat = tensor.contiguous().flatten()
    if flat.is_complex():
        flat = torch.view_as_real(flat).flatten()
    if flat.is_floating_point() and bool(flat.isnan().any()):
        flat = torch.where(flat.isnan(), torch.full_like(flat, float("nan")), flat)
    words = flat.view(torch.uint8).numpy() if flat.numel() else torch.empty(0, dtype=torch.uint8).numpy()
    return words.data.cast("B") if _IS_LITTLE else words.reshape(-1, flat.element_size())[:, ::-1].copy().data.cast("B")


_IS_LITTLE = torch.tensor([1], dtype=torch.int16).view(torch.uint8)[0] == 1


def bound_digest(model: bytes, *, use: int, parties: int) -> bytes:
    """Return what a member says of its model in one batch: a digest, DIGEST_BYTES bytes, that fits no other batch."""
    place = b"cloister model of a batch v1" + use.to_bytes(16, "little") + parties.to_bytes(8, "little")
    return hashlib.sha256(place + model).digest()


def check_digest(model: bytes) -> None:
    """Raise CloisterError for what is no digest."""
    if len(model) != DIGEST_BYTES:
        raise CloisterError(
            f"a model's digest has {len(model)} bytes; allowed: {DIGEST_BYTES}, as model_digest returns, or NO_MODEL"
        )


@dataclass(frozen=True, kw_only=True)
class Models:
    """The digests of the models of one batch: the one that the board announces, and the one each member holds."""

    announced: bytes
    held: tuple[bytes, ...]

    def __post_init__(self) -> None:
        for model in (self.announced, *self.held):
            check_digest(model)

    @classmethod
    def same(cls, model: bytes, *, members: int) -> "Models":
        """Return what an honest distributor hands out."""
        return cls(announced=model, held=(model,) * members)

    @classmethod
    def given(cls, models: "Models | None", *, members: int) -> "Models":
        """Return the models of a batch of so many members, no model's where none are given; CloisterError if few."""
        if models is None:
            return cls.same(NO_MODEL, members=members)
        if len(models.held) != members:
            raise CloisterError(f"digests of {len(models.held)} members' models; allowed: of all {members} members")
        return models
