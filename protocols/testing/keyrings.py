"""Keys that follow from a seed, so that a test run repeats word for word; never for real data."""

import hashlib
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocols.identity import Identity
from protocols.keyring import Keyring
from protocols.network import Link
from protocols.randomness import SecretStreams
from protocols.secret_source import OwnSecrets
from protocols.zero_sharing import ZeroShares

__all__ = ["replayable_keyring"]


def replayable_keyring(seed: int) -> Callable[[Link, int], Keyring]:
    """Return what makes each party's keys from the seed, without a message.

    Guarantees:
        The same seed gives the same keys; both ends of a pair have the same streams, other pairs others.
    """
    public: dict[int, bytes] = {}

    def signing_key(rank: int) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"replayable {seed}/{rank}".encode()).digest())

    def public_of(rank: int) -> bytes:
        if rank not in public:
            public[rank] = signing_key(rank).public_key().public_bytes_raw()
        return public[rank]

    def keyring(link: Link, parties: int) -> Keyring:
        rank = link.rank
        pairs = {peer: (min(rank, peer), max(rank, peer)) for peer in range(parties) if peer != rank}
        return Keyring(
            zero_shares=ZeroShares(
                rank, {peer: SecretStreams.replayable(seed, "pair", *pair) for peer, pair in pairs.items()}
            ),
            identity=Identity(rank, signing_key(rank), {peer: public_of(peer) for peer in range(parties)}),
            secrets=OwnSecrets(SecretStreams.replayable(seed, "own", rank)),
        )

    return keyring
