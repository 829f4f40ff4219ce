"""Groups of which any t + 1 members hold the sum of all words: from additive shares to Shamir's and back.

1. Each member deals its words to its group by Shamir's sharing over a Galois ring: the words modulo 2^64, extended
   until there are as many points as members. A word of a share is then m words, with 2^m above the group's size.
2. Each says whose shares it has; the board announces who said so, and whose shares all of their group have that did. A
   group goes on if all its members have dealt and t + 1 are there, whoever they are: up to n - t - 1 may be gone.
3. Any t + 1 holders add the shares that they have, and take the constant word of their Lagrange weight times the sum:
   these words add up to the constant word of the sum of all secrets, which is the group's sum. Where each member's
   words are looked at, they do so with each one's shares apart, and nobody adds any.

Any t members of a group see shares that are uniform and independent of the others' words: the differences of points,
and points themselves, are invertible, so their t shares are a bijection of the t random coefficients. In step 3 the
holders' words need no share of zero: they follow from the sum of all polynomials, and the whole of it tells of the
others' words their sum alone, as each of their own polynomials is uniform but for the values that those t have.

Source: Shamir 1979, CACM; Abspoel, Cramer, Damgård, Escudero and Yuan 2019, TCC (over Galois rings); Cramer, Damgård
and Ishai 2005, TCC (local conversion to additive shares).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from protocols.check import CloisterError
from protocols.galois import GaloisRing
from protocols.hidden_sums._groups import Attendance, Entered, Groups
from protocols.hidden_sums._one_by_one import OneByOne
from protocols.hidden_sums._resharing import Seats
from protocols.model_digest import DIGEST_BYTES
from protocols.network import cost_of
from protocols.secure_sum import Board, Party
from protocols.secure_sum._bulletin import bitmap
from protocols.secure_sum._thresholds import threshold_of
from protocols.secure_sum._unverified import heard_memory, of_one_model
from protocols.secure_sum._verified import hear, marked, say
from protocols.secure_sum._verified_plan import as_bytes
from protocols.types import Cost, Traffic

__all__ = ["ShamirGroups"]

_WORD_BYTES = 8


@dataclass(frozen=True, kw_only=True)
class ShamirGroups:
    """Each group shares with the threshold that `expression`, as `parse_threshold` reads it, gives for its size.

    Guarantees:
        Any t shares are uniform and independent of the word; the additive shares of any t + 1 holders add up to it.
    """

    expression: str

    def threshold(self, size: int) -> int:
        """See GroupSharing.threshold."""
        return threshold_of(self.expression, size, "members of a group", threshold=self._said)

    @property
    def spares(self) -> bool:
        """Yes: any t + 1 are enough."""
        return True

    def check(self, *, size: int) -> None:
        """See GroupSharing.check: a group of more than one has a threshold of 1 or more."""
        if size > 1 and self.threshold(size) < 1:
            raise CloisterError(
                f"threshold = {self._said!r} gives 0 for groups of {size}, which hides nothing; allowed: at least 1 "
                f"(take larger groups, or sharing = 'additive')"
            )
        GaloisRing.with_points(size)

    @property
    def _said(self) -> str:
        return self.expression.replace("c", "n")

    def deal(self, words: Tensor, randomness: Tensor, size: int) -> list[Tensor]:
        """Return each member's share (clusters, m, coordinates) of words (clusters, coordinates).

        `randomness` is uniform, (clusters, t m, coordinates): the other coefficients of the polynomial.
        """
        ring, t = GaloisRing.with_points(size), self.threshold(size)
        basis = torch.cat([words[:, None], randomness], dim=1)
        shares: list[Tensor] = []
        for place in range(size):
            constant, *others = [ring.matrix(power) for power in ring.powers(place + 1, t + 1)]
            matrix = torch.cat([constant[:, :1], *others], dim=1)  # of a word, only the constant coefficient is not 0
            shares.append(matrix @ basis)
        return shares

    def convert(self, size: int, places: Sequence[int], place: int, share: Tensor) -> Tensor:
        """Return the additive share of the member at `place` among the t + 1 at `places`, of its Shamir share."""
        ring = GaloisRing.with_points(size)
        weight = ring.lagrange_weights([each + 1 for each in places])[list(places).index(place)]
        return (ring.matrix(weight)[0][:, None] * share).sum(dim=1)

    def enter(self, party: Party, groups: Groups, words: Tensor, *, apart: bool = False) -> Entered:
        """See GroupSharing.enter: steps 1 and 2."""
        group = next(group for group in groups if party.rank in group)
        count = GaloisRing.with_points(len(group)).degree * self.threshold(len(group))
        clusters, coordinates = words.shape
        drawn = party.keys.secrets.words(
            purpose="hidden sums shares", use=party.use, clusters=clusters, count=count * coordinates
        )
        dealt = self.deal(words, drawn.view(clusters, count, coordinates), len(group))
        shares = dict(zip(group, dealt, strict=True))
        received = {mate: torch.zeros_like(shares[mate]) for mate in group if mate != party.rank}
        lost = party.link.try_exchange({mate: shares[mate] for mate in received}, received)
        heard = bitmap(party.parties, [rank for rank in group if rank not in lost])
        say(party.link, torch.cat([heard, as_bytes(party.bound_model)]))
        party.link.skip(1)  # the board waits for all of these
        said = hear(party.link, torch.empty(2 * party.parties, dtype=torch.uint8)).view(2, -1)
        attendance = Attendance(present=frozenset(marked(said[0])), dealt=frozenset(marked(said[1])))
        received[party.rank] = shares[party.rank]
        if apart:
            return Entered(attendance=attendance, held=torch.stack([received[rank] for rank in group], 1), apart=True)
        return Entered(attendance=attendance, held=reduce(torch.add, received.values()))

    def additive(self, party: Party, group: Sequence[int], holders: Sequence[int], entered: Entered) -> Tensor:
        """See GroupSharing.additive: step 3, of each member's shares by themselves where they stay apart."""
        places = [group.index(rank) for rank in holders]
        held = entered.held.flatten(0, 1) if entered.apart else entered.held
        return self.convert(len(group), places, group.index(party.rank), held)

    def one_by_one(self, seats: Seats) -> OneByOne:
        """Whoever holds a group's shares re-shares every member's."""
        return OneByOne(seats=seats, width=max(map(len, seats.sums)))

    def gather(self, board: Board, groups: Groups) -> Attendance:
        """See GroupSharing.gather."""
        board.link.skip(1)  # the members share in their groups first
        said = {rank: heard_memory(board) for rank in range(board.parties)}
        lost = board.link.try_exchange({}, said)
        has = {rank: frozenset(marked(each[: board.parties])) for rank, each in said.items() if rank not in lost}
        dealt = [rank for group in groups for rank in group if all(rank in has[mate] for mate in group if mate in has)]
        misled = has.keys() - of_one_model(board, said)
        return Attendance(present=frozenset(has), dealt=frozenset(dealt) - misled)

    def announce(self, board: Board, heard: Attendance, said: Attendance) -> None:
        """See GroupSharing.announce."""
        both = [bitmap(board.parties, sorted(ranks)) for ranks in (said.present, said.dealt)]
        board.link.try_exchange(dict.fromkeys(sorted(heard.present), torch.cat(both)), {})

    def cost(self, sizes: Sequence[int], *, clusters: int, coordinates: int) -> Traffic:
        """m words to each mate, and bitmaps: of all members, with a digest, from each, and two of them to each."""
        n, row = sum(sizes), _WORD_BYTES * clusters * coordinates
        sent = sum(size * (size - 1) for size in sizes)
        words = sum(size * (size - 1) * GaloisRing.with_points(size).degree for size in sizes)
        return Traffic(
            offline=Cost.none(),
            mpc=cost_of(messages=sent, payload_bytes=words * row, rounds=min(sent, 1)),
            upload=cost_of(messages=2 * n, payload_bytes=n * (n + DIGEST_BYTES) + n * 2 * n, rounds=2),
        )
