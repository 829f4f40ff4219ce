"""Long-term signing keys: who said what, checkable by everybody, however the words travelled."""

from collections.abc import Mapping

import torch
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from protocols.network import Link

__all__ = ["SIGNATURE_BYTES", "Identity", "exchange_identities"]

SIGNATURE_BYTES = 64
_KEY_BYTES = 32


class Identity:
    """One party's signing key and the verification keys of all parties.

    Guarantees:
        A signature of one party is not accepted as another one's, nor for other words.
        The signing key never appears in repr.
    """

    def __init__(self, rank: int, private: Ed25519PrivateKey, public: Mapping[int, bytes]) -> None:
        self._rank = rank
        self._private = private
        self._public = public

    def __repr__(self) -> str:
        return f"Identity(rank={self._rank}, key hidden)"

    def sign(self, words: bytes) -> bytes:
        """Return this party's signature, SIGNATURE_BYTES bytes."""
        return self._private.sign(words)

    def verify(self, signer: int, words: bytes, signature: bytes) -> bool:
        """Return whether `signature` is that party's on these words."""
        try:
            Ed25519PublicKey.from_public_bytes(self._public[signer]).verify(signature, words)
        except (InvalidSignature, ValueError, KeyError):
            return False
        return True


def exchange_identities(link: Link, parties: int) -> Identity:
    """Return this party's identity after each of the `parties` parties has sent its key to each other one.

    Source: RFC 8032 (Ed25519).
    """
    private = Ed25519PrivateKey.generate()
    own = private.public_key().public_bytes_raw()
    received = {peer: torch.empty(_KEY_BYTES, dtype=torch.uint8) for peer in range(parties) if peer != link.rank}
    link.exchange(dict.fromkeys(received, torch.frombuffer(bytearray(own), dtype=torch.uint8)), received)
    return Identity(link.rank, private, {link.rank: own, **{p: bytes(key.numpy()) for p, key in received.items()}})
