"""Secret words that the members of a set, or of a pair, draw alike: the whole offline phase is agreeing on keys.

Each pair agrees on a secret by X25519. The first member of each set draws the set's key and sends it to the others,
each copy hidden under a pad that follows from the pair's secret; so no key crosses the wire in clear. All words
are then drawn without a message.
"""

from collections.abc import Mapping
from math import prod
from typing import Protocol

import torch
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from torch import Tensor

from protocols.network import CheatingDetectedError, cost_of
from protocols.randomness import SecretStreams
from protocols.secure_robust._access import Access
from protocols.secure_sum import Party
from protocols.types import Cost

__all__ = ["KeyedPads", "Pads", "agree_on_pads", "agreement_cost"]

_PUBLIC_BYTES = 32
_KEY_BYTES = 16
_SECRET_BYTES = 32


class Pads(Protocol):
    """Where a party draws words that others draw too, each (set or pair, use) once."""

    def of_set(self, number: int, use: int, shape: tuple[int, ...]) -> Tensor:
        """Return the int64 words of one use of a set that this party is in; the first axis are the clusters."""
        ...

    def of_pair(self, peer: int, use: int, shape: tuple[int, ...]) -> Tensor:
        """Return the int64 words of one use of the pair with this peer; the first axis are the clusters."""
        ...


class KeyedPads:
    """Streams of AES-128, one a set and one a pair, one lane a cluster.

    Guarantees:
        Those who draw for one use of a source get the same words, of others other words.
        A use of a source that is not larger than all before is refused, so nothing is drawn twice.
        Nothing of the keys appears in repr.
    """

    def __init__(self, sets: Mapping[int, bytes], pairs: Mapping[int, bytes]) -> None:
        self._sets = {number: SecretStreams(key) for number, key in sets.items()}
        self._pairs = {peer: SecretStreams(key) for peer, key in pairs.items()}

    def __repr__(self) -> str:
        return "KeyedPads(keys hidden)"

    def of_set(self, number: int, use: int, shape: tuple[int, ...]) -> Tensor:
        """See Pads.of_set."""
        return _drawn(self._sets[number], use, shape)

    def of_pair(self, peer: int, use: int, shape: tuple[int, ...]) -> Tensor:
        """See Pads.of_pair."""
        return _drawn(self._pairs[peer], use, shape)


def _drawn(streams: SecretStreams, use: int, shape: tuple[int, ...]) -> Tensor:
    return streams.words(use=use, lanes=shape[0], count=prod(shape[1:])).view(shape)


def agree_on_pads(party: Party, access: Access) -> KeyedPads:
    """Return this party's pads for one batch: two exchanges, metered as offline, before any input is looked at.

    Raises: CheatingDetectedError, with its sender, for a public key with which the secret would be known to all.

    Source: RFC 7748 (X25519), RFC 5869 (HKDF).
    """
    token = party.keys.secrets.token(purpose="robust agreement", use=party.use, size=_PUBLIC_BYTES)
    with party.link.meter.offline():
        secrets = _pair_secrets(party, X25519PrivateKey.from_private_bytes(token))
        sets = _set_keys(party, access, secrets)
    pairs = {peer: _derived(secret, b"pair", _KEY_BYTES) for peer, secret in secrets.items()}
    return KeyedPads(sets, pairs)


def _pair_secrets(party: Party, private: X25519PrivateKey) -> dict[int, bytes]:
    received = {peer: torch.empty(_PUBLIC_BYTES, dtype=torch.uint8) for peer in party.peers}
    party.link.exchange(dict.fromkeys(party.peers, _bytes(private.public_key().public_bytes_raw())), received)
    return {peer: _pair_secret(party, private, peer, bytes(key.numpy())) for peer, key in received.items()}


def _pair_secret(party: Party, private: X25519PrivateKey, peer: int, key: bytes) -> bytes:
    """Return the secret of a pair in this batch: it also depends on who they are, on the batch and on both keys."""
    try:
        shared = private.exchange(X25519PublicKey.from_public_bytes(key))
    except ValueError:  # all zero: RFC 7748, section 6.1
        text = f"party {peer} sent a public key of low order, with which everybody knows the secret"
        raise CheatingDetectedError(text, suspects=frozenset({peer})) from None
    ends = sorted([(party.rank, private.public_key().public_bytes_raw()), (peer, key)])
    context = b"".join(rank.to_bytes(4, "big") + public for rank, public in ends)
    return _derived(shared, b"agreement" + party.use.to_bytes(8, "big") + context, _SECRET_BYTES)


def _set_keys(party: Party, access: Access, secrets: Mapping[int, bytes]) -> dict[int, bytes]:
    """Return the key of each set that this party is in; the first member of a set draws it."""
    led = [number for number in access.held(party.rank) if access.sets[number][0] == party.rank]
    drawn = party.keys.secrets.token(purpose="robust set keys", use=party.use, size=_KEY_BYTES * len(led))
    keys = {number: drawn[_KEY_BYTES * place :][:_KEY_BYTES] for place, number in enumerate(led)}
    outgoing: dict[int, Tensor] = {}
    incoming: dict[int, Tensor] = {}
    for peer, secret in secrets.items():
        if sent := _dealt(access, party.rank, peer):
            outgoing[peer] = _padded(secret, b"".join(keys[number] for number in sent))
        if due := _dealt(access, peer, party.rank):
            incoming[peer] = torch.empty(_KEY_BYTES * len(due), dtype=torch.uint8)
    party.link.exchange(outgoing, incoming)
    for peer, words in incoming.items():
        dealt = bytes(_padded(secrets[peer], bytes(words.numpy())).numpy())
        for place, number in enumerate(_dealt(access, peer, party.rank)):
            keys[number] = dealt[_KEY_BYTES * place :][:_KEY_BYTES]
    return keys


def _dealt(access: Access, dealer: int, receiver: int) -> list[int]:
    """Return the sets whose key the dealer sends to the receiver: only the lower of two ranks deals."""
    return [number for number in access.held(receiver) if access.sets[number][0] == dealer != receiver]


def _padded(secret: bytes, words: bytes) -> Tensor:
    pad = b"".join(_derived(secret, b"set key %d" % place, _KEY_BYTES) for place in range(len(words) // _KEY_BYTES))
    return _bytes(bytes(left ^ right for left, right in zip(words, pad, strict=True)))


def _derived(secret: bytes, purpose: bytes, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=b"cloister robust v1, " + purpose).derive(secret)


def _bytes(plain: bytes) -> Tensor:
    return torch.frombuffer(bytearray(plain), dtype=torch.uint8)


def agreement_cost(access: Access) -> Cost:
    """Return what agreeing sends: a public key to each peer, then each set's key to all but its first member."""
    c, size = access.parties, access.parties - access.threshold
    dealing = [(low, high) for low in range(c) for high in range(low + 1, c) if _dealt(access, low, high)]
    messages = c * (c - 1) + len(dealing)
    payload_bytes = _PUBLIC_BYTES * c * (c - 1) + _KEY_BYTES * len(access.sets) * (size - 1)
    return cost_of(messages=messages, payload_bytes=payload_bytes, rounds=2)
