"""A member of a masked sum: what it sends, and what it refuses to answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from torch import Tensor

from protocols.network import BOARD, CheatingDetectedError, raise_lost
from protocols.secure_sum import Party
from protocols.secure_sum._key_shares import KEY_BYTES, LIMBS, HeldShares, deal
from protocols.secure_sum._masking import (
    SEALED_WORDS,
    SIGNATURE_WORDS,
    Plan,
    agree,
    derive,
    from_bitmap,
    from_words,
    pair_mask,
    pair_sign,
    public_keys,
    self_mask,
    to_bitmap,
    to_words,
)

__all__ = ["contribute"]

_NONCE = bytes(12)
"""Each sealing key seals one message, so its nonce need not change."""


@dataclass(frozen=True, kw_only=True)
class _Own:
    """A member's secrets of one use, and the keys that all may know."""

    sealing: X25519PrivateKey = field(repr=False)
    masking: X25519PrivateKey = field(repr=False)
    seed: bytes = field(repr=False)
    public: tuple[bytes, bytes]


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """What a member knows of a neighbour: its public mask key, and the secret that both seal with."""

    mask_key: bytes
    sealing: bytes = field(repr=False)


def contribute(plan: Plan, party: Party, words: Tensor) -> None:
    """Play one member: keys and their shares before its words are looked at, then its masked words.

    Raises: CheatingDetectedError where the board shows what an honest one does not; it then says nothing more.
    """
    with party.link.meter.offline():
        own = _draw(party)
        present, pairs = _advertise(plan, party, own)
        held = _share_keys(plan, party, own, present, pairs)
    mask_keys = {peer: pairs[peer].mask_key for peer in held.dealers if peer != party.rank}
    survivors = _send(plan, party, held.present, _masked(plan, party.rank, own, mask_keys, words))
    if plan.signed:
        _confirm(plan, party, survivors)
    raise_lost(party.link.try_exchange({BOARD: held.release(survivors)}, {}))


def _draw(party: Party) -> _Own:
    sealing, masking, seed = (
        party.keys.secrets.token(purpose=f"masked {purpose}", use=party.use, size=KEY_BYTES)
        for purpose in ("sealing key", "mask key", "self-mask")
    )
    keys = X25519PrivateKey.from_private_bytes(sealing), X25519PrivateKey.from_private_bytes(masking)
    public = keys[0].public_key().public_bytes_raw(), keys[1].public_key().public_bytes_raw()
    return _Own(sealing=keys[0], masking=keys[1], seed=seed, public=public)


def _ask(
    plan: Plan, party: Party, said: Tensor, *, row_words: int, before: frozenset[int], least: int, who: str
) -> tuple[frozenset[int], dict[int, Tensor]]:
    """Send words; return whom the board lists, out of `before`, and the row of each neighbour among them."""
    neighbours = plan.graph.neighbours[party.rank]
    reply = torch.empty(plan.bitmap_words + len(neighbours) * row_words, dtype=torch.int64)
    party.link.skip(1)  # the board first hears all members
    raise_lost(party.link.try_exchange({BOARD: said}, {BOARD: reply}))
    listed = from_bitmap(reply[: plan.bitmap_words], plan.parties)
    if party.rank not in listed or not listed <= before or len(listed) < least:
        raise CheatingDetectedError(
            f"the board lists {sorted(listed)} as those who {who}; allowed: at least {least} of {sorted(before)}, "
            f"member {party.rank} among them"
        )
    rows = reply[plan.bitmap_words :].view(len(neighbours), row_words)
    return listed, {peer: row for peer, row in zip(neighbours, rows, strict=True) if peer in listed}


def _advertise(plan: Plan, party: Party, own: _Own) -> tuple[frozenset[int], dict[int, _Pair]]:
    """Round 0: show the public keys; return who does, and what the keys of the neighbours make."""
    public = b"".join(own.public)
    signature = party.keys.identity.sign(_said(plan, party.rank, public)) if plan.signed else b""
    present, rows = _ask(
        plan,
        party,
        to_words(public + signature),
        row_words=plan.key_words,
        before=frozenset(range(plan.parties)),
        least=plan.graph.least,
        who="advertise keys",
    )
    keys = {peer: public_keys(row) for peer, row in rows.items()}
    _require_distinct(own, keys)
    if plan.signed:
        _require_signed(party, rows, {peer: _said(plan, peer, b"".join(pair)) for peer, pair in keys.items()})
    return present, {
        peer: _Pair(mask_key=masking, sealing=agree(own.sealing, sealing, peer))
        for peer, (sealing, masking) in keys.items()
    }


def _said(plan: Plan, rank: int, public: bytes) -> bytes:
    return plan.said(f"keys of {rank}") + public


def _require_distinct(own: _Own, keys: Mapping[int, tuple[bytes, bytes]]) -> None:
    # A key that occurs twice would let one member stand for two, or open what is sealed for another one.
    shown = [key for pair in (own.public, *keys.values()) for key in pair]
    if len(set(shown)) < len(shown):
        raise CheatingDetectedError("the board shows one public key twice; allowed: different keys of all members")


def _require_signed(party: Party, rows: Mapping[int, Tensor], said: Mapping[int, bytes]) -> None:
    """Raise CheatingDetectedError unless each row ends with its member's signature on what it said."""
    for peer, row in rows.items():
        if not party.keys.identity.verify(peer, said[peer], from_words(row[-SIGNATURE_WORDS:])):
            # The board may have made it up: this names nobody.
            raise CheatingDetectedError(
                f"what the board shows of member {peer} does not bear its signature, or that on another model"
            )


def _share_keys(plan: Plan, party: Party, own: _Own, present: frozenset[int], pairs: Mapping[int, _Pair]) -> HeldShares:
    """Round 1: seal a share of the mask key and of the self-mask for each neighbour; open those sealed for us."""
    rank, neighbours, holders = party.rank, plan.graph.neighbours[party.rank], plan.graph.holders[party.rank]
    dealt = deal(
        party.keys.secrets,
        [own.masking.private_bytes_raw(), own.seed],
        use=party.use,
        threshold=plan.graph.threshold,
        holders=holders,
    )
    shares = dict(zip(holders, dealt, strict=True))
    sealed = torch.zeros(len(neighbours), SEALED_WORDS, dtype=torch.int64)
    for slot, peer in enumerate(neighbours):
        if peer in pairs:
            sealed[slot] = _seal(plan, pairs[peer], rank, peer, shares[peer])
    dealers, received = _ask(
        plan, party, sealed, row_words=SEALED_WORDS, before=present, least=plan.graph.least, who="share their keys"
    )
    opened = {peer: _open(plan, pairs[peer], peer, rank, row) for peer, row in received.items()}
    return HeldShares(holders, {rank: shares[rank], **opened}, dealers)


def _seal(plan: Plan, pair: _Pair, sender: int, receiver: int, shares: Tensor) -> Tensor:
    return to_words(_cipher(plan, pair, sender, receiver).encrypt(_NONCE, from_words(shares), None))


def _open(plan: Plan, pair: _Pair, sender: int, receiver: int, sealed: Tensor) -> Tensor:
    try:
        opened = _cipher(plan, pair, sender, receiver).decrypt(_NONCE, from_words(sealed), None)
    except InvalidTag:
        raise CheatingDetectedError(
            f"the key shares that the board shows of member {sender} are not its, or it has trained on another model"
        ) from None
    return to_words(opened).view(2, LIMBS)


def _cipher(plan: Plan, pair: _Pair, sender: int, receiver: int) -> AESGCM:
    return AESGCM(derive(pair.sealing, plan.said(f"key shares from {sender} to {receiver}")))


def _masked(plan: Plan, rank: int, own: _Own, mask_keys: Mapping[int, bytes], words: Tensor) -> Tensor:
    """Return the words plus the self-mask and the mask of each pair, reduced to the ring."""
    total = self_mask(plan, rank, own.seed).add_(words)
    for peer, public in mask_keys.items():
        total.add_(pair_mask(plan, own.masking, public, rank, peer), alpha=pair_sign(rank, peer))
    return plan.ring.wrap(total)


def _send(plan: Plan, party: Party, dealers: frozenset[int], masked: Tensor) -> frozenset[int]:
    """Round 2: send the masked words; return the members whose words have arrived."""
    survivors, _ = _ask(
        plan, party, masked, row_words=0, before=dealers, least=plan.graph.least, who="sent masked words"
    )
    return survivors


def _confirm(plan: Plan, party: Party, survivors: frozenset[int]) -> None:
    """Round 3: sign the list of survivors; go on only if enough others have signed the same one."""
    said = plan.said("survivors") + from_words(to_bitmap(survivors, plan.parties))
    _, rows = _ask(
        plan,
        party,
        to_words(party.keys.identity.sign(said)),
        row_words=SIGNATURE_WORDS,
        before=survivors,
        least=plan.graph.threshold,
        who="signed the list of survivors",
    )
    _require_signed(party, rows, dict.fromkeys(rows, said))
