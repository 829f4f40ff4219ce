"""Verified dealing to a committee by dealers that are gone once they have dealt.

1. Each dealer sends each server its row: shares of its words and, behind them, of random masks. For each row it
   draws a key, shares that key among the servers, and posts the row in a box under the key: a sealed copy. Behind
   the boxes it posts what binds the model that it has trained on to the batch; who holds another one than the board
   announces is no dealer.
2. Servers tell whose rows they have, with a random number each; all numbers together are a coin that nobody knew
   while rows were sent.
3. Each server posts, for each dealer, a random combination of its row (the coin gives the coefficients, a mask
   hides it). An honest dealer's combinations lie on one polynomial, off which at most the faulty servers are.
4. Where a server lacks a row, or is off the polynomial, it or the dealer is faulty, so that the faulty know the
   row already. The servers open its key. If what was in the box fits the polynomial, everybody uses that row in
   the server's place; else, or where no polynomial fits, the dealer is out.
5. Servers post the sum of their rows; the sums are decoded as a Reed-Solomon code.

So no dealer needs to answer, none can stop the sum, and no server can have an honest dealer left out.

Soundness: rows off every polynomial pass with probability below 2^servers p^-checks a dealer, by a union bound
over the sets of servers that could be on one polynomial, for each random number that a faulty server, as the last
to speak, tries. The boxes (AES-128-GCM, one key a box) hide rows computationally; rows and combinations are
perfectly hidden.

Source: Ben-Or, Goldwasser and Wigderson 1988, STOC (sharing as an error-correcting code); complaints that are
answered in the open as there, but from what the dealer left behind.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from torch import Tensor

from protocols.field import PrimeField
from protocols.model_digest import DIGEST_BYTES
from protocols.randomness import public_stream
from protocols.secure_sum import Party
from protocols.secure_sum._bulletin import bitmap
from protocols.secure_sum._committee import Plan, deal, heard_set, sum_over, to_servers
from protocols.secure_sum._verified import hear, marked, say
from protocols.secure_sum._verified_plan import as_bytes

__all__ = ["COIN_BYTES", "CheckedPlan", "Edge", "edges_of", "post_verified", "public_elements", "unsealed"]

COIN_BYTES = 32
_KEY_BYTES, _TAG_BYTES, _WORD_BYTES = 16, 16, 8
_NONCE = bytes(12)
"""Each key seals one box, so its nonce need not change."""

Edge = tuple[int, int]
"""(a server's place, a dealer): one of the two is faulty."""


@dataclass(frozen=True, kw_only=True)
class CheckedPlan:
    """A plan whose rows have `checks` masks behind their words."""

    plan: Plan
    checks: int

    @property
    def width(self) -> int:
        """The columns of a row: words, masks."""
        return self.plan.coordinates + self.checks

    @property
    def row_bytes(self) -> int:
        """The size of all clusters' rows for one server."""
        return _WORD_BYTES * self.plan.clusters * self.width

    @property
    def box_bytes(self) -> int:
        """The size of one box."""
        return self.row_bytes + _TAG_BYTES

    @property
    def key_elements(self) -> int:
        """How many elements of the field hold a key."""
        return -(-8 * _KEY_BYTES // (self.plan.sharing.field.modulus.bit_length() - 1))

    @property
    def posted_bytes(self) -> int:
        """The size of what a dealer posts: a box a server, and its model."""
        return len(self.plan.servers) * self.box_bytes + DIGEST_BYTES

    def boxes_in(self, post: Tensor) -> Tensor:
        """Return the boxes (servers, box_bytes) of a dealer's post."""
        return post[:-DIGEST_BYTES].view(len(self.plan.servers), self.box_bytes)

    def combined(self, rows: Tensor, coin: bytes) -> Tensor:
        """Return the combinations (..., checks) of rows (..., width) that this coin stands for."""
        ring, words = self.plan.sharing.field, rows[..., : self.plan.coordinates].contiguous()
        coefficients = public_elements(ring, coin, self.checks, self.plan.coordinates)
        chosen = torch.stack([ring.combine(each, words) for each in coefficients], dim=-1)
        return ring.add(chosen, rows[..., self.plan.coordinates :])


def public_elements(ring: PrimeField, coin: bytes, *shape: int) -> Tensor:
    """Return uniform elements that follow from a public coin."""
    stream = public_stream(int.from_bytes(coin, "big"), "committee challenge")
    return torch.from_numpy(stream.integers(0, ring.modulus, shape, dtype=np.int64))


def post_verified(checked: CheckedPlan, party: Party, words: Tensor) -> None:
    """Play one member: share and post the boxes; a server goes on with steps 2 to 5."""
    plan, ring = checked.plan, checked.plan.sharing.field
    masks = party.keys.secrets.elements(
        ring, purpose="committee masks", use=party.use, clusters=plan.clusters, count=checked.checks
    )
    rows = deal(plan, party, torch.cat([ring.from_signed(words), masks], dim=1), purpose="committee shares")
    keys = _keys(checked, party)
    key_shares = deal(plan, party, keys.view(1, -1), purpose="committee key shares")[:, 0]
    received, senders = to_servers(plan, party, rows)
    received_keys, key_senders = to_servers(plan, party, key_shares)
    boxes = [_sealed(keys[place], row) for place, row in enumerate(rows)]
    say(party.link, torch.cat([*boxes, as_bytes(party.bound_model)]))
    if party.rank in plan.servers:
        have = [rank for rank in senders if rank in key_senders]
        _serve(checked, party, received, received_keys, have)


def _keys(checked: CheckedPlan, party: Party) -> Tensor:
    """Return one key a server, (servers, key elements): drawn once a batch."""
    plan = checked.plan
    count = len(plan.servers) * checked.key_elements
    drawn = party.keys.secrets.elements(
        plan.sharing.field, purpose="committee keys", use=party.use, clusters=1, count=count
    )
    return drawn.view(len(plan.servers), checked.key_elements)


def _serve(checked: CheckedPlan, party: Party, rows: Tensor, keys: Tensor, have: list[int]) -> None:
    """Steps 2 to 5 at a server that has received rows and shares of keys, and all of both from the members `have`."""
    plan, link = checked.plan, party.link
    number = party.keys.secrets.token(purpose="committee coin", use=party.use, size=COIN_BYTES)
    say(link, torch.cat([bitmap(plan.parties, have), as_bytes(number)]))
    link.skip(2)  # the board waits for all boxes and all of these
    told = hear(link, torch.empty(COIN_BYTES + plan.parties, dtype=torch.uint8))
    dealers = heard_set(plan, told[COIN_BYTES:])
    say(link, checked.combined(rows[dealers], bytes(told[:COIN_BYTES].numpy())).transpose(0, 1))
    told = hear(link, torch.empty((len(plan.servers) + 1) * plan.parties, dtype=torch.uint8))
    matrix = told[: -plan.parties].view(len(plan.servers), plan.parties)
    announced = told[-plan.parties :]
    if bool(matrix.any()):
        shares = keys.view(plan.parties, len(plan.servers), checked.key_elements)
        say(link, torch.stack([shares[dealer, place] for place, dealer in edges_of(matrix)]))
        announced = hear(link, torch.empty(plan.parties, dtype=torch.uint8))
    replaced = marked(matrix[plan.servers.index(party.rank)])
    kept = [dealer for dealer in heard_set(plan, announced) if dealer not in replaced]
    say(link, sum_over(plan, rows, kept))


def edges_of(matrix: Tensor) -> list[Edge]:
    """Return the marked (place, dealer) pairs in the order of places, then dealers."""
    return [(int(place), int(dealer)) for place, dealer in torch.nonzero(matrix)]


def unsealed(key: Tensor, box: Tensor) -> Tensor | None:
    """Return the words in a box, (words,), or None where it was not made under this key."""
    try:
        words = AESGCM(_cipher_key(key)).decrypt(_NONCE, bytes(box.numpy()), None)
    except InvalidTag:
        return None
    return torch.frombuffer(bytearray(words), dtype=torch.int64)


def _cipher_key(elements: Tensor) -> bytes:
    digest = hashlib.sha256(b"cloister committee box v1" + elements.contiguous().numpy().tobytes())
    return digest.digest()[:_KEY_BYTES]


def _sealed(key: Tensor, row: Tensor) -> Tensor:
    return as_bytes(AESGCM(_cipher_key(key)).encrypt(_NONCE, row.contiguous().numpy().tobytes(), None))
