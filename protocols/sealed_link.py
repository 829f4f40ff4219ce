"""Sealed links: TCP links whose messages nobody else on the machine can read, change, repeat, reorder or cut short.

Threat model: an attacker reads and writes everything that crosses the loopback interface, and may stand between any
two parties, but does not know the start-up token, which the pool hands to its own children by their control pipes.

- On plain links it reads all shares and opened sums, reads the token off the first message of each connection, and
  changes what it likes; a change is seen only where it breaks a length, a sequence number or the protocol itself.
- On sealed links it learns who sends how many bytes to whom and when, and can stop a batch, nothing more: whatever
  it does to a message ends in OutOfStepError, PartyCrashedError or PartyTimeoutError, never in other words. Keys are
  fresh for each connection, so a token that leaks after the start opens no words that were sent (forward secrecy).

Neither protects from whoever can read the parties' memory, nor from the parties themselves.

Each connection starts with one message a direction: a fresh X25519 public key, sealed under a key that the token gives
to this direction of this pair. All later messages are sealed under a key a direction that HKDF derives from what the
two agreed on, with the token as salt and both ranks and both public keys in its info. A seal is AES-128 in GCM; the
nonce is the number of the message under its key, and the 16 bytes of the header, which stays readable, are
authenticated with the payload. A sealed message is SEAL_BYTES = 16 bytes longer on the wire than a plain one; meters
and cost formulas are those of plain links.

Source: RFC 7748 (X25519), RFC 5869 (HKDF), NIST SP 800-38D (GCM).
"""

import numpy as np
import torch
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from protocols.mesh import TOKEN_BYTES
from protocols.network import OutOfStepError, name_of
from protocols.tcp_link import TcpLink

__all__ = ["SEAL_BYTES", "ConnectionSeal", "seal_link", "shown_token"]

SEAL_BYTES = 16
"""The tag of each message, and the room that the cipher asks for behind the payload."""
_KEY_BYTES = 16
_PUBLIC_BYTES = 32
_NONCE_BYTES = 12


class ConnectionSeal:
    """One end of a sealed connection: a key and a count of messages for each direction.

    Guarantees:
        What one end closes, the other end opens, in the same order, to the bit.
        A message that was changed, repeated, left out, reordered, sent back or put under another header is refused.
        The keys never appear in repr.
    """

    def __init__(self, *, sending: bytes, receiving: bytes) -> None:
        self._sending = algorithms.AES128(sending)
        self._receiving = algorithms.AES128(receiving)
        self._sent = 0
        self._received = 0

    def __repr__(self) -> str:
        return "ConnectionSeal(keys hidden)"

    def __reduce__(self) -> str:
        raise TypeError("seals cannot be pickled: two copies would use a nonce twice")

    @property
    def extra_bytes(self) -> int:
        """See Seal.extra_bytes."""
        return SEAL_BYTES

    def close(self, header: bytes, payload: memoryview) -> memoryview:
        """See Seal.close."""
        count = len(payload)
        closer = Cipher(self._sending, modes.GCM(_nonce(self._sent))).encryptor()
        self._sent += 1
        closer.authenticate_additional_data(header)
        sealed = np.empty(count + SEAL_BYTES, dtype=np.uint8).data
        closer.update_into(payload, sealed)
        closer.finalize()
        sealed[count:] = closer.tag
        return sealed

    def open(self, header: bytes, sealed: memoryview, payload: memoryview) -> bool:
        """See Seal.open; a payload that is refused is wiped."""
        count = len(payload)
        opener = Cipher(self._receiving, modes.GCM(_nonce(self._received))).decryptor()
        self._received += 1
        opener.authenticate_additional_data(header)
        if count:
            # The cipher asks for room behind what it writes, which the payload has none of.
            body = max(0, count - SEAL_BYTES)
            if body:
                opener.update_into(sealed[:body], payload)
            payload[body:] = opener.update(sealed[body:count])
        try:
            opener.finalize_with_tag(bytes(sealed[count:]))
        except InvalidTag:
            if count:
                payload[:] = bytes(count)
            return False
        return True


def shown_token(token: bytes) -> bytes:
    """Return what a party shows where it connects to sealed links: it tells parties from strangers, not the token."""
    return _derive(token, salt=b"", info=b"shown where a party connects")[:TOKEN_BYTES]


def seal_link(link: TcpLink, token: bytes) -> None:
    """Agree on keys with all peers of the link, at the same time as they do, and seal all messages from now on.

    Guarantees:
        Without the token nobody can stand between two parties, nor be one: the first message is refused.
        Two connections, and the two directions of one, have different keys.

    Raises: OutOfStepError where a peer has another token or somebody stands between, and what Link.exchange raises.
    """
    private = X25519PrivateKey.generate()
    own = torch.frombuffer(bytearray(private.public_key().public_bytes_raw()), dtype=torch.uint8)
    received = {peer: torch.empty(_PUBLIC_BYTES, dtype=torch.uint8) for peer in link.sockets}
    link.seal({peer: _seal(link.rank, peer, secret=token, salt=b"", context=b"start") for peer in received})
    link.exchange(dict.fromkeys(received, own), received)
    link.seal({peer: _agree(link.rank, peer, private, bytes(key.numpy()), token) for peer, key in received.items()})


def _agree(rank: int, peer: int, private: X25519PrivateKey, public: bytes, token: bytes) -> ConnectionSeal:
    try:
        secret = private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:  # the peer chose a point whose secret everybody knows
        raise OutOfStepError(f"{name_of(peer)} sent a public key that agrees on nothing") from None
    keys = {rank: private.public_key().public_bytes_raw(), peer: public}
    return _seal(rank, peer, secret=secret, salt=token, context=keys[min(keys)] + keys[max(keys)])


def _seal(rank: int, peer: int, *, secret: bytes, salt: bytes, context: bytes) -> ConnectionSeal:
    sending, receiving = (
        _derive(secret, salt=salt, info=f"from {sender} to {receiver}, ".encode() + context)[:_KEY_BYTES]
        for sender, receiver in ((rank, peer), (peer, rank))
    )
    return ConnectionSeal(sending=sending, receiving=receiving)


def _derive(secret: bytes, *, salt: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=b"cloister sealed link v1, " + info).derive(secret)


def _nonce(number: int) -> bytes:
    return number.to_bytes(_NONCE_BYTES, "big")
