"""Shares of zero from keys that every pair of parties agrees on.

CrypTen's own zero sharing gives a key to each ring-adjacent pair only, so the two neighbours of a party
together know its mask; and its generator has 32 bits of seed. Here every pair has its own AES-128 key, so
only all the other members together know a party's mask - and they learn its update from the sum anyway.
"""

import torch
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from torch import Tensor

from protocols.network import Link
from protocols.randomness import SecretStreams

__all__ = ["ZeroShares", "agree_on_keys"]

_KEY_BYTES = 32


class ZeroShares:
    """One party's half of the pairwise streams.

    Guarantees:
        The shares of the first `parties` parties for one use add up to zero in the ring of 64-bit words.
        No use is drawn twice.
    """

    def __init__(self, rank: int, streams: dict[int, SecretStreams]) -> None:
        self._rank = rank
        self._streams = streams

    def __repr__(self) -> str:
        return f"ZeroShares(rank={self._rank}, keys hidden)"

    def draw(self, *, use: int, parties: int, clusters: int, coordinates: int) -> Tensor:
        """Return this party's int64 shares of zero, shape (clusters, coordinates), one stream lane a cluster."""
        share = torch.zeros(clusters, coordinates, dtype=torch.int64)
        for peer, streams in self._streams.items():
            if peer < parties:
                mask = streams.words(use=use, lanes=clusters, count=coordinates)
                # The lower rank adds what the higher rank subtracts.
                share = share.add_(mask) if self._rank < peer else share.sub_(mask)
        return share


def agree_on_keys(link: Link, parties: int) -> ZeroShares:
    """Return the zero shares of this party after an X25519 key agreement with each of the `parties` others.

    Guarantees:
        Both ends of a pair derive the same key and no two pairs derive the same one.

    Source: RFC 7748 (X25519), RFC 5869 (HKDF).
    """
    private = X25519PrivateKey.generate()
    public = torch.frombuffer(bytearray(private.public_key().public_bytes_raw()), dtype=torch.uint8)
    peers = [peer for peer in range(parties) if peer != link.rank]
    received = {peer: torch.empty(_KEY_BYTES, dtype=torch.uint8) for peer in peers}
    link.exchange(dict.fromkeys(peers, public), received)
    return ZeroShares(link.rank, {peer: _pair_streams(private, link.rank, peer, received[peer]) for peer in peers})


def _pair_streams(private: X25519PrivateKey, rank: int, peer: int, public: Tensor) -> SecretStreams:
    shared = private.exchange(X25519PublicKey.from_public_bytes(bytes(public.numpy())))
    pair = f"cloister zero sharing v1, pair {min(rank, peer)}-{max(rank, peer)}".encode()
    return SecretStreams(HKDF(algorithm=SHA256(), length=16, salt=None, info=pair).derive(shared))
