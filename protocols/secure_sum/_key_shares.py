"""Shamir shares of keys of 32 bytes: dealt once, released once, rebuilt only if they agree."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from protocols.field import PrimeField
from protocols.network import CheatingDetectedError
from protocols.polynomials import consistent, interpolate
from protocols.secret_source import Secrets

__all__ = ["KEY_BYTES", "LIMBS", "HeldShares", "deal", "from_limbs", "rebuild", "to_limbs"]

KEY_BYTES = 32
LIMBS = 5
_LIMB_BYTES = 7
_FIELD = PrimeField()


def to_limbs(key: bytes) -> Tensor:
    """Return a key of KEY_BYTES bytes as LIMBS elements below 2^56, the lowest first."""
    pieces = [key[start : start + _LIMB_BYTES] for start in range(0, KEY_BYTES, _LIMB_BYTES)]
    return torch.tensor([int.from_bytes(piece, "little") for piece in pieces], dtype=torch.int64)


def from_limbs(limbs: Sequence[int]) -> bytes | None:
    """Return the key of these elements, or None where they are those of no key."""
    number = sum(limb << (8 * _LIMB_BYTES * place) for place, limb in enumerate(limbs))
    fits = all(0 <= limb < 1 << (8 * _LIMB_BYTES) for limb in limbs) and number < 1 << (8 * KEY_BYTES)
    return number.to_bytes(KEY_BYTES, "little") if fits else None


def deal(secrets: Secrets, keys: Sequence[bytes], *, use: int, threshold: int, holders: Sequence[int]) -> Tensor:
    """Return the shares (holders, keys, LIMBS) of keys of KEY_BYTES bytes; holder j has the point j + 1.

    Guarantees:
        Any `threshold` shares of a key rebuild it; fewer are uniform and independent of it.
    Source: Shamir 1979.
    """
    constants = torch.stack([to_limbs(key) for key in keys])
    count = (threshold - 1) * constants.numel()
    drawn = secrets.elements(_FIELD, purpose="masked key shares", use=use, clusters=1, count=count)
    coefficients = torch.cat([constants.view(1, -1), drawn.view(threshold - 1, constants.numel())])
    powers = _powers(tuple(_points(holders)), threshold)
    # All products at once: with keys of a few limbs each, a pass for every holder and power would cost far more.
    shares = _FIELD.sum(_FIELD.multiply(powers[:, :, None], coefficients), 1)
    return shares.view(len(holders), *constants.shape)


@lru_cache(maxsize=64)
def _powers(points: tuple[int, ...], count: int) -> Tensor:
    """Return the powers 0..count - 1 of each point: (points, count)."""
    return torch.tensor([[pow(point, power, _FIELD.modulus) for power in range(count)] for point in points])


def rebuild(shares: Tensor, *, threshold: int, holders: Sequence[int]) -> list[bytes | None]:
    """Return the keys behind shares (holders, keys, LIMBS); None for one whose shares contradict each other.

    More than `threshold` shares must lie on one polynomial, and what they rebuild must be a key.
    """
    inside = ((shares >= 0) & (shares < _FIELD.modulus)).all(dim=0)
    elements = torch.where(inside, shares, 0)
    points = _points(holders)
    agree = (consistent(_FIELD, points, elements, threshold - 1) & inside).all(dim=1)
    limbs = interpolate(_FIELD, points[:threshold], elements[:threshold])
    return [from_limbs([int(limb) for limb in row]) if fits else None for row, fits in zip(limbs, agree, strict=True)]


def _points(holders: Sequence[int]) -> list[int]:
    return [holder + 1 for holder in holders]


class HeldShares:
    """The shares that one member holds in one use: of each dealer's mask key and of its self-mask.

    Guarantees:
        Of a dealer it releases the share of the self-mask or that of the mask key, never both.
        A second, different list of survivors is refused.
    """

    MASK_KEY = 0
    SELF_MASK = 1

    def __init__(self, slots: Sequence[int], shares: dict[int, Tensor], present: frozenset[int]) -> None:
        """Hold shares (2, LIMBS) of some of the dealers in `slots`; `present` are all members that dealt."""
        self.present = present
        self._slots = slots
        self._shares = shares
        self._answered: frozenset[int] | None = None

    def __repr__(self) -> str:
        return f"HeldShares(of {sorted(self._shares)}, hidden)"

    @property
    def dealers(self) -> list[int]:
        """Whose shares are held."""
        return sorted(self._shares)

    def release(self, survivors: frozenset[int]) -> Tensor:
        """Return the shares (slots, LIMBS) that unmask the sum of the survivors; zeros for those who did not deal."""
        if self._answered not in (None, survivors):
            raise CheatingDetectedError("the board shows a second list of survivors in the same use; nothing is said")
        self._answered = survivors
        answer = torch.zeros(len(self._slots), LIMBS, dtype=torch.int64)
        for slot, dealer in enumerate(self._slots):
            if dealer in self._shares:
                answer[slot] = self._shares[dealer][self.SELF_MASK if dealer in survivors else self.MASK_KEY]
        return answer
