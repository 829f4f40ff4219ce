"""Shares of zero from keys that every pair of parties agrees on.

CrypTen's own zero sharing gives a key to each ring-adjacent pair only, so the two neighbours of a party
together know its mask; and its generator has 32 bits of seed. Here every pair has its own AES-128 key, so
only all the other members together know a party's mask - and they learn its update from the sum anyway.
"""

from collections.abc import Collection

import numpy as np
import torch
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray
from torch import Tensor

from protocols.model_digest import NO_MODEL
from protocols.network import Link
from protocols.randomness import PIECE_BYTES, SLACK_BYTES, KeyStream, SecretStreams

__all__ = ["ZeroShares", "agree_on_keys"]

_KEY_BYTES = 32
_WORD_BYTES = 8
_PIECE_WORDS = PIECE_BYTES // _WORD_BYTES


class ZeroShares:
    """One party's half of the pairwise streams.

    Guarantees:
        The shares of the first `parties` parties for one use add up to zero in the ring of 64-bit words.
        So do those of any group of parties who all draw among that group.
        They do not where two of them name different models: each such pair leaves a mask that is not taken off.
        No use is drawn twice.
    """

    def __init__(self, rank: int, streams: dict[int, SecretStreams]) -> None:
        self._rank = rank
        self._streams = streams

    def __repr__(self) -> str:
        return f"ZeroShares(rank={self._rank}, keys hidden)"

    def draw(
        self,
        *,
        use: int,
        parties: int,
        clusters: int,
        coordinates: int,
        onto: Tensor | None = None,
        model: bytes = NO_MODEL,
    ) -> Tensor:
        """Return this party's int64 shares of zero, shape (clusters, coordinates), one stream lane a cluster.

        They are added onto words of that shape where there are some, which saves a pass over the memory. `model` is
        the digest of the model that the words were made from.
        """
        return self.draw_among(
            range(parties), use=use, clusters=clusters, coordinates=coordinates, onto=onto, model=model
        )

    def draw_among(
        self,
        group: Collection[int],
        *,
        use: int,
        clusters: int,
        coordinates: int,
        onto: Tensor | None = None,
        model: bytes = NO_MODEL,
    ) -> Tensor:
        """Return the same for a group of ranks, this party's among them; the two ends of a pair draw together."""
        pairs = {peer: streams for peer, streams in self._streams.items() if peer in group}
        if model != NO_MODEL:
            pairs = {peer: streams.under(model) for peer, streams in pairs.items()}
        # The lower rank adds what the higher rank subtracts.
        added = [streams for peer, streams in pairs.items() if self._rank < peer]
        subtracted = [streams for peer, streams in pairs.items() if peer < self._rank]
        words = torch.zeros(1, 1, dtype=torch.int64).expand(clusters, coordinates) if onto is None else onto
        if words.numel() > _PIECE_WORDS:
            return _add_in_pieces(words.numpy(), use, added, subtracted)
        share = words.clone(memory_format=torch.contiguous_format)
        for streams in added:
            share.add_(streams.words(use=use, lanes=clusters, count=coordinates))
        for streams in subtracted:
            share.sub_(streams.words(use=use, lanes=clusters, count=coordinates))
        return share


def _add_in_pieces(
    words: NDArray[np.int64], use: int, added: list[SecretStreams], subtracted: list[SecretStreams]
) -> Tensor:
    """Return the words plus the streams', each piece with all streams before the next, so that it stays in the cache.

    A piece is a part of one cluster's words, or all words of several clusters.
    """
    clusters, coordinates = words.shape
    share = np.empty((clusters, coordinates), dtype=np.int64)
    scratch = np.empty(PIECE_BYTES + SLACK_BYTES, dtype=np.uint8)
    claimed = [(np.add, streams.claim(use)) for streams in added]
    claimed += [(np.subtract, streams.claim(use)) for streams in subtracted]
    if not claimed:
        return torch.from_numpy(words.copy())
    rows = max(1, _PIECE_WORDS // coordinates)
    for row in range(0, clusters, rows):
        lanes = range(row, min(row + rows, clusters))
        drawing = [(operation, [stream_of(lane) for lane in lanes]) for operation, stream_of in claimed]
        for column in range(0, coordinates, _PIECE_WORDS):
            place = np.s_[row : row + rows, column : column + _PIECE_WORDS]
            so_far, piece = words[place], share[place]
            for operation, streams in drawing:
                operation(so_far, _next_words(streams, piece.shape[1], scratch), out=piece)
                so_far = piece
    return torch.from_numpy(share)


def _next_words(streams: list[KeyStream], count: int, scratch: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the next `count` words of each stream, (streams, count), in the scratch memory."""
    target, stream_bytes = scratch.data, count * _WORD_BYTES
    for place, stream in enumerate(streams):
        stream.fill(target[place * stream_bytes :], stream_bytes)
    return scratch[: len(streams) * stream_bytes].view(np.int64).reshape(len(streams), count)


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
