"""What members and server of a masked sum share: the shape of a batch, its keys and masks, its messages.

All messages are int64 words of a size that depends on public numbers only; what is absent is zeros. A set of
members is a bitmap, the lowest rank in the lowest bit.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from torch import Tensor

from protocols.identity import SIGNATURE_BYTES
from protocols.model_digest import NO_MODEL
from protocols.network import CheatingDetectedError, cost_of
from protocols.randomness import SecretStreams
from protocols.ring import FixedPoint
from protocols.secure_sum._graph import MaskGraph
from protocols.secure_sum._key_shares import KEY_BYTES, LIMBS
from protocols.types import Cost, Traffic

__all__ = [
    "SEALED_WORDS",
    "SIGNATURE_WORDS",
    "Plan",
    "agree",
    "derive",
    "from_bitmap",
    "from_words",
    "pair_mask",
    "pair_sign",
    "public_keys",
    "self_mask",
    "to_bitmap",
    "to_words",
]

_WORD_BYTES = 8
_STREAM_KEY_BYTES = 16
_TAG_BYTES = 16
SIGNATURE_WORDS = SIGNATURE_BYTES // _WORD_BYTES
SEALED_WORDS = 2 * LIMBS + _TAG_BYTES // _WORD_BYTES
_PUBLIC_WORDS = 2 * KEY_BYTES // _WORD_BYTES


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The public numbers of one batch, on which all must agree; `signed` is the mode against a malicious server.

    `model` is the digest of the model that a member has trained on; the server needs none.
    """

    parties: int
    use: int
    clusters: int
    coordinates: int
    ring: FixedPoint
    graph: MaskGraph
    signed: bool
    model: bytes = NO_MODEL

    @property
    def bitmap_words(self) -> int:
        """The size of a set of members."""
        return -(-self.parties // 64)

    @property
    def key_words(self) -> int:
        """The size of a member's two public keys, with its signature if they are signed."""
        return _PUBLIC_WORDS + (SIGNATURE_WORDS if self.signed else 0)

    @cached_property
    def _place(self) -> str:
        return (
            f"cloister masked v1, use {self.use}, {self.parties} members, {self.graph.degree} neighbours, "
            f"{self.graph.threshold} shares, {self.clusters} x {self.coordinates} words, "
        )

    def context(self, what: str) -> bytes:
        """Return what binds keys, ciphertexts and signatures to their place in this use."""
        return (self._place + what).encode()

    def said(self, what: str) -> bytes:
        """Return what binds what members say to each other to its place and to the model that they have trained on."""
        return self.context(what) + self.model

    def cost(self) -> Traffic:
        """Return what the batch sends when all follow the protocol, all of it from and to the server."""
        degree, bitmap = self.graph.degree, self.bitmap_words
        sealed = degree * SEALED_WORDS
        offline = self.key_words + (bitmap + degree * self.key_words) + sealed + (bitmap + sealed)
        online = self.clusters * self.coordinates + bitmap + (degree + 1) * LIMBS
        signatures = SIGNATURE_WORDS + bitmap + degree * SIGNATURE_WORDS if self.signed else 0
        return Traffic(
            offline=self._all_send(offline, rounds=4),
            mpc=Cost.none(),
            upload=self._all_send(online + signatures, rounds=5 if self.signed else 3),
        )

    def _all_send(self, words: int, *, rounds: int) -> Cost:
        """Return the cost of so many words for each member, in one message a round."""
        messages, payload_bytes = self.parties * rounds, self.parties * words * _WORD_BYTES
        return cost_of(messages=messages, payload_bytes=payload_bytes, rounds=rounds)


def to_words(data: bytes) -> Tensor:
    """Return a multiple of 8 bytes as int64 words."""
    return torch.frombuffer(bytearray(data), dtype=torch.int64)


def from_words(words: Tensor) -> bytes:
    """Return the bytes of int64 words."""
    return words.contiguous().numpy().tobytes()


def to_bitmap(members: Iterable[int], parties: int) -> Tensor:
    """Return a set of members as words."""
    bits = np.zeros(-(-parties // 64) * 64, dtype=np.uint8)
    bits[list(members)] = 1
    return torch.from_numpy(np.packbits(bits, bitorder="little").view(np.int64))


def from_bitmap(words: Tensor, parties: int) -> frozenset[int]:
    """Return the set of members that these words are; CheatingDetectedError if there are others in it."""
    members = np.flatnonzero(np.unpackbits(words.numpy().view(np.uint8), bitorder="little")).tolist()
    if members and members[-1] >= parties:
        raise CheatingDetectedError(f"the board lists member {members[-1]} of a cluster of {parties}")
    return frozenset(members)


def agree(private: X25519PrivateKey, public: bytes, peer: int) -> bytes:
    """Return the secret of both ends; CheatingDetectedError for a key that makes it the same for everybody."""
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise CheatingDetectedError(f"the public key of member {peer} lets everybody know the secret") from None


def derive(secret: bytes, context: bytes) -> bytes:
    """Return the key of 16 bytes for one purpose."""
    return HKDF(algorithm=SHA256(), length=_STREAM_KEY_BYTES, salt=None, info=context).derive(secret)


def _expand(plan: Plan, key: bytes) -> Tensor:
    """Return the mask (clusters, coordinates) of a key: a lane of its stream for each cluster."""
    return SecretStreams(key).words(use=plan.use, lanes=plan.clusters, count=plan.coordinates)


def self_mask(plan: Plan, rank: int, seed: bytes) -> Tensor:
    """Return the mask that a member adds so that a late masked input is of no use."""
    return _expand(plan, derive(seed, plan.context(f"self-mask of {rank}")))


def pair_mask(plan: Plan, private: X25519PrivateKey, public: bytes, rank: int, peer: int) -> Tensor:
    """Return the mask (clusters, coordinates) of a pair, the same for both."""
    low, high = sorted((rank, peer))
    return _expand(plan, derive(agree(private, public, peer), plan.context(f"mask of {low} and {high}")))


def pair_sign(rank: int, peer: int) -> int:
    """Return 1 where `rank` adds the mask of its pair with `peer`, -1 where it subtracts it."""
    return 1 if rank < peer else -1


def public_keys(keys: Tensor) -> tuple[bytes, bytes]:
    """Return the key for sealing and the key for masking of what a member advertised."""
    data = from_words(keys[:_PUBLIC_WORDS])
    return data[:KEY_BYTES], data[KEY_BYTES:]
