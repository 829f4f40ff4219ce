"""Computing on masked values: what is public is x + mask, and no `threshold` parties hold all parts of the mask.

A shared value x is the sum of a public part and of one part, a negated share of the mask, for each set of parties
(`_access`). So every sum of values is a sum of parts, every product of values a sum of products of parts that some
party holds both of. A product, or a sum of many products, thus costs one opening of one word, however many terms it
has: its additive share is computed from the parts, and opened under a new mask.

Threat model: parties follow the protocol and may pool what they see (semi-honest); up to `threshold` of them learn
nothing but what `reveal` and `reveal_products` open. All that they see else are words under a mask of which they lack
a part that is used once, and shares of openings that are blinded by pads of the pairs among the others.

Source: Cramer, Damgård and Ishai 2005, TCC (masks without messages); Ben-Efraim, Nielsen and Omri 2019, ACNS,
Turbospeedz (masked wires, one opening a product); Araki et al. 2016, CCS (the same cost for three parties).
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import reduce
from itertools import count

import torch
from torch import Tensor

from protocols.network import Link
from protocols.secure_robust._access import Access
from protocols.secure_robust._opening import Add, open_shares
from protocols.secure_robust._pads import Pads
from protocols.secure_robust._planes import WORD_BITS

__all__ = ["BITS", "WORDS", "Algebra", "Engine", "Shared"]


@dataclass(frozen=True, kw_only=True)
class Algebra:
    """The operations of one ring on int64 tensors."""

    add: Add
    subtract: Add
    multiply: Add


BITS = Algebra(add=torch.bitwise_xor, subtract=torch.bitwise_xor, multiply=torch.bitwise_and)
"""64 bits side by side in each word: XOR and AND."""
WORDS = Algebra(add=torch.add, subtract=torch.sub, multiply=torch.mul)
"""The integers modulo 2^64."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Shared:
    """What one party keeps of shared values: int64 (1 + groups, clusters, ...), the public part first."""

    parts: Tensor

    def __repr__(self) -> str:
        return f"Shared(shape={tuple(self.shape)}, parts hidden)"

    @property
    def shape(self) -> torch.Size:
        """The shape of the values, clusters first."""
        return self.parts.shape[1:]

    def take(self, axis: int, places: Sequence[int]) -> "Shared":
        """Return the values at these places of an axis (0: the clusters)."""
        return Shared(parts=self.parts.index_select(axis + 1, torch.tensor(places, dtype=torch.int64)))

    def narrow(self, axis: int, start: int, stop: int) -> "Shared":
        """Return the values at the places start..stop-1 of an axis, without a copy of them."""
        return Shared(parts=self.parts.narrow(axis + 1, start, stop - start))

    def view(self, *shape: int) -> "Shared":
        """Return the same values in another shape, clusters first."""
        return Shared(parts=self.parts.reshape(self.parts.shape[0], *shape))


class Engine:
    """One party's side of a computation on shared values of one algebra.

    Guarantees:
        Opened values are exact in the algebra's ring.
        Each mask is drawn once; the sizes of all messages follow from the shapes.
    """

    def __init__(
        self, link: Link, access: Access, pads: Pads, algebra: Algebra, *, uses: "count[int] | None" = None
    ) -> None:
        self.algebra = algebra
        self.dealers = access.threshold + 1
        self.rank = link.rank
        self.access = access
        self._link = link
        self._pads = pads
        self._groups = access.groups(link.rank)
        self._owns = access.owns(link.rank)
        self._products = access.products(link.rank)
        self._peers = [peer for peer in range(access.parties) if peer != link.rank]
        self._uses = count(1) if uses is None else uses

    def over(self, algebra: Algebra) -> "Engine":
        """Return the same party's engine of another algebra, which draws from the same pads."""
        return Engine(self._link, self.access, self._pads, algebra, uses=self._uses)

    def offline(self) -> AbstractContextManager[None]:
        """Count what is sent inside as offline; nothing in it may depend on an input."""
        return self._link.meter.offline()

    def compared(self, words: int) -> None:
        """Count a comparison in every lane of so many words; the first party counts, for all of them."""
        if self.rank == 0:
            self._link.meter.compared(WORD_BITS * words)

    def share_inputs(self, own: Tensor, owners: int | None = None) -> Shared:
        """Return the words (clusters, owners, ...) of the first parties, each of which knows its own (clusters, ...).

        `owners` is how many parties have such words; all by default. Each masks its words with parts that itself and
        the others of each of its sets draw.
        """
        owners = self.access.parties if owners is None else owners
        shape, sets = tuple(own.shape), self.access.sets
        parts = torch.zeros(1 + len(self._groups), shape[0], owners, *shape[1:], dtype=torch.int64)
        masked = own
        for owner in range(owners):
            use = next(self._uses)
            if owner == self.rank:  # who is in every set that masks its words
                drawn = {number: self._pads.of_set(number, use, shape) for number in self.access.held(self.rank)}
                masked = reduce(self.algebra.subtract, drawn.values(), own).contiguous()
            else:
                needed = (number for group in self._groups for number in group if owner in sets[number])
                drawn = {number: self._pads.of_set(number, use, shape) for number in needed}
            for place, group in enumerate(self._groups, start=1):
                for number in group:
                    if number in drawn:
                        parts[place, :, owner] = self.algebra.add(parts[place, :, owner], drawn[number])
        received = {peer: torch.empty_like(masked) for peer in self._peers if peer < owners}
        sent = dict.fromkeys(self._peers, masked) if self.rank < owners else {}
        self._link.exchange(sent, received)
        if self.rank < owners:
            received[self.rank] = masked
        for owner, words in received.items():
            parts[0, :, owner] = words
        return Shared(parts=parts)

    def public(self, words: Tensor) -> Shared:
        """Return words (clusters, ...) that everybody knows as shared values."""
        parts = torch.zeros(1 + len(self._groups), *words.shape, dtype=torch.int64)
        parts[0] = words
        return Shared(parts=parts)

    def add(self, left: Shared, right: Shared) -> Shared:
        """Return left + right."""
        return Shared(parts=self.algebra.add(left.parts, right.parts))

    def subtract(self, left: Shared, right: Shared) -> Shared:
        """Return left - right."""
        return Shared(parts=self.algebra.subtract(left.parts, right.parts))

    def add_public(self, left: Shared, words: Tensor) -> Shared:
        """Return left + words that everybody knows, of a shape that spreads to that of left."""
        parts = left.parts.clone()
        parts[0] = self.algebra.add(parts[0], words)
        return Shared(parts=parts)

    def scale(self, left: Shared, words: Tensor) -> Shared:
        """Return left x words that everybody knows."""
        return Shared(parts=self.algebra.multiply(left.parts, words))

    def sum(self, value: Shared, axis: int) -> Shared:
        """Return the sum along an axis (of the values, so 1 or more)."""
        if self.algebra is WORDS:
            return Shared(parts=value.parts.sum(dim=axis + 1))
        return Shared(parts=reduce(self.algebra.add, value.parts.unbind(axis + 1)))

    def join(self, values: Sequence[Shared], axis: int) -> Shared:
        """Return the values one after the other along an axis (0: the clusters)."""
        return Shared(parts=torch.cat([each.parts for each in values], dim=axis + 1))

    def products(self, *pairs: tuple[Shared, Shared], fold: int | None = None) -> Shared:
        """Return the sum over the pairs of left x right, shared anew; sizes of one spread as usual.

        `fold` is an axis to sum the products over as well (of the values, so 1 or more). One opening in all.
        """
        return self._renewed(self._product_share(pairs, fold))

    def reveal_products(self, *pairs: tuple[Shared, Shared], fold: int | None = None) -> Tensor:
        """Return the sum over the pairs of left x right, int64 words that all parties learn."""
        return self._opened(self._product_share(pairs, fold))

    def reveal(self, value: Shared) -> Tensor:
        """Return the values, int64 words that all parties learn."""
        return self._opened(self._additive(value.parts))

    def _renewed(self, share: Tensor) -> Shared:
        shape = tuple(share.shape)
        use = next(self._uses)
        groups = [
            reduce(self.algebra.add, (self._pads.of_set(number, use, shape) for number in group))
            for group in self._groups
        ]
        for place in self._owns:
            if place:
                share = self.algebra.subtract(share, groups[place - 1])
        return Shared(parts=torch.stack([self._opened(share), *groups]))

    def _additive(self, parts: Tensor) -> Tensor:
        nothing = torch.zeros(parts.shape[1:], dtype=torch.int64)
        return reduce(self.algebra.add, (parts[place] for place in self._owns), nothing)

    def _product_share(self, pairs: Sequence[tuple[Shared, Shared]], fold: int | None) -> Tensor:
        """Return this party's additive share: the products of the pairs of parts that it owns."""
        total: Tensor | None = None
        for left, right in pairs:
            for place, others in self._products:
                factor = reduce(self.algebra.add, (right.parts[other] for other in others))
                product = self.algebra.multiply(left.parts[place], factor)
                if fold is not None:
                    product = self._folded(product, fold)
                total = product if total is None else self.algebra.add(total, product)
        return self._nothing(pairs, fold) if total is None else total

    def _nothing(self, pairs: Sequence[tuple[Shared, Shared]], fold: int | None) -> Tensor:
        """Return the share of a party that owns no products: the last ones of a large cluster."""
        left, right = pairs[0]
        nothing = torch.zeros_like(self.algebra.multiply(left.parts[0], right.parts[0]))
        return nothing if fold is None else nothing.sum(dim=fold)

    def _folded(self, product: Tensor, axis: int) -> Tensor:
        if self.algebra is WORDS:
            return product.sum(dim=axis)
        return reduce(self.algebra.add, product.unbind(axis))

    def _opened(self, share: Tensor) -> Tensor:
        """Return the sum of all shares, each first blinded by a share of zero from the pairs' pads."""
        use = next(self._uses)
        blind = share
        for peer in self._peers:
            words = self._pads.of_pair(peer, use, tuple(share.shape))
            blind = (self.algebra.add if self.rank < peer else self.algebra.subtract)(blind, words)
        flat = blind.reshape(share.shape[0], -1)
        opened = open_shares(self._link, self.access.parties, flat, self.algebra.add)
        return opened.view(share.shape)
