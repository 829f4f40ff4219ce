"""The board's side of dealing by members that are gone: who is off which polynomial, and what was in the boxes.

See `_offline_dealing` for the steps. Everything that the board decides is a function of what has been posted; it
keeps no secret and makes no choice.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from protocols.network import NetworkError
from protocols.polynomials import interpolate
from protocols.reed_solomon import DecodingError, decode
from protocols.secure_sum import Board
from protocols.secure_sum._bulletin import bitmap
from protocols.secure_sum._committee import Posted, announce, elements_of, posted
from protocols.secure_sum._offline_dealing import COIN_BYTES, CheckedPlan, Edge, unsealed
from protocols.secure_sum._unverified import of_one_model
from protocols.secure_sum._verified_plan import as_bytes

__all__ = ["collect_verified"]


def collect_verified(checked: CheckedPlan, board: Board) -> Posted:
    """Play the board through all steps; decoding the sums is left to the caller. Raises: TooFewPartiesError."""
    return _Judge(checked, board).run()


@dataclass(kw_only=True)
class _Found:
    """What the combinations say: the dealers on a polynomial, and each edge with the combination that is due."""

    dealers: list[int] = field(default_factory=list[int])
    due: dict[Edge, Tensor] = field(default_factory=dict[Edge, Tensor])


class _Judge:
    """The board: everything that it decides follows from what has been posted."""

    def __init__(self, checked: CheckedPlan, board: Board) -> None:
        self._checked, self._plan, self._board = checked, checked.plan, board
        self._servers = list(self._plan.servers)

    def run(self) -> Posted:
        """Ask and tell, in the order of the steps."""
        boxes = self._boxes()
        have, coin = self._have(list(boxes))
        combined = self._ask(
            lambda: torch.empty(self._plan.clusters, len(boxes), self._checked.checks, dtype=torch.int64)
        )
        found = self._judge(list(boxes), have, combined)
        matrix = torch.zeros(len(self._plan.servers), self._plan.parties, dtype=torch.uint8)
        for place, dealer in found.due:
            matrix[place, dealer] = 1
        opened: dict[Edge, Tensor] = {}
        if found.due:
            self._tell(torch.cat([matrix.flatten(), bitmap(self._plan.parties, [])]))
            opened = self._open(found, boxes, coin)
            announce(self._plan, self._board, self._servers, found.dealers)
        else:
            announce(self._plan, self._board, self._servers, found.dealers, matrix.flatten())
        return self._sums(found, opened)

    def _boxes(self) -> dict[int, Tensor]:
        """Return the boxes of each member that has posted them, and that it holds the model which is announced."""
        link = self._board.link
        link.skip(2)  # the members share rows and keys first
        size = self._checked.posted_bytes
        posts = {rank: torch.empty(size, dtype=torch.uint8) for rank in range(self._plan.parties)}
        lost = link.try_exchange({}, posts)
        self._lose(lost)
        dealers = sorted(of_one_model(self._board, posts) - lost.keys())
        return {rank: self._checked.boxes_in(posts[rank]) for rank in dealers}

    def _have(self, dealers: list[int]) -> tuple[dict[int, Tensor], bytes]:
        """Return which dealers' rows each server has, and the coin, after telling the servers."""
        said = self._ask(lambda: torch.empty(self._plan.parties + COIN_BYTES, dtype=torch.uint8))
        digest = hashlib.sha256(b"cloister committee coin v1")
        for place in sorted(said):
            digest.update(bytes([place % 256]) + bytes(said[place].numpy()))
        coin = digest.digest()
        announce(self._plan, self._board, self._servers, dealers, as_bytes(coin))
        return {place: each[: self._plan.parties] for place, each in said.items()}, coin

    def _judge(self, dealers: list[int], have: Mapping[int, Tensor], combined: Mapping[int, Tensor]) -> _Found:
        """Step 3: find each dealer's polynomial and who is off it; at most the tolerated number may be."""
        plan, found = self._plan, _Found()
        most = (len(combined) - plan.sharing.degree - 1) // 2
        for column, dealer in enumerate(dealers):
            holders = [place for place in combined if have[place][dealer]]
            rows = [elements_of(plan, combined[place][:, column]) for place in holders]
            wrong = self._off_polynomial(rows, holders)
            if wrong is None:
                continue
            off = {*wrong, *(combined.keys() - set(holders))}
            if len(off) <= most:
                found.dealers.append(dealer)
                found.due.update({(place, dealer): self._due(rows, holders, off, place) for place in sorted(off)})
        return found

    def _off_polynomial(self, rows: list[Tensor], holders: list[int]) -> list[int] | None:
        """Return the places off the polynomial, or None where there is none or it is not unique."""
        sharing = self._plan.sharing
        if len(rows) < sharing.least:
            return None
        received = torch.stack(rows)
        points = [place + 1 for place in holders]
        try:
            decoded = decode(sharing.field, points, received, sharing.degree, challenge=torch.ones_like(received[0]))
        except DecodingError:
            return None
        return [holders[i] for i in decoded.wrong]

    def _due(self, rows: list[Tensor], holders: list[int], off: set[int], place: int) -> Tensor:
        """Return the value of the polynomial at a place."""
        sharing = self._plan.sharing
        on = [i for i, holder in enumerate(holders) if holder not in off][: sharing.least]
        points = [holders[i] + 1 for i in on]
        return interpolate(sharing.field, points, torch.stack([rows[i] for i in on]), place + 1)

    def _open(self, found: _Found, boxes: Mapping[int, Tensor], coin: bytes) -> dict[Edge, Tensor]:
        """Step 4: open the boxes of all edges; a dealer whose box does not fit is out."""
        checked, edges = self._checked, sorted(found.due)
        shares = self._ask(lambda: torch.empty(len(edges), checked.key_elements, dtype=torch.int64))
        opened: dict[Edge, Tensor] = {}
        for number, (place, dealer) in enumerate(edges):
            row = self._unsealed(boxes[dealer][place], {q: each[number] for q, each in shares.items()})
            if row is not None and torch.equal(checked.combined(row, coin), found.due[place, dealer]):
                opened[place, dealer] = row[:, : self._plan.coordinates].contiguous()
            elif dealer in found.dealers:
                found.dealers.remove(dealer)
        return opened

    def _unsealed(self, box: Tensor, shares: Mapping[int, Tensor]) -> Tensor | None:
        """Return the row in a box, or None where the shares of its key, or the box, are nothing."""
        sharing, clusters = self._plan.sharing, self._plan.clusters
        if len(shares) < sharing.least:
            return None
        received = torch.stack([elements_of(self._plan, share) for share in shares.values()])
        points = [place + 1 for place in shares]
        try:
            key = decode(sharing.field, points, received, sharing.degree, challenge=torch.ones_like(received[0])).secret
        except DecodingError:
            return None
        words = unsealed(key, box)
        return None if words is None else elements_of(self._plan, words.view(clusters, -1))

    def _sums(self, found: _Found, opened: Mapping[Edge, Tensor]) -> Posted:
        """Step 5: the servers' sums, with the rows that were opened in their place."""
        plan, ring = self._plan, self._plan.sharing.field
        sums = self._ask(plan.sums)
        result = posted(plan, {plan.servers[place]: row for place, row in sums.items()}, found.dealers)
        for (place, dealer), row in opened.items():
            if dealer in found.dealers and place in result.places:
                here = result.places.index(place)
                result.rows[here] = ring.add(result.rows[here], row)
        # Nobody honest finds its own dealing wrong.
        alone = frozenset(dealer for place, dealer in found.due if plan.servers[place] == dealer)
        return Posted(places=result.places, rows=result.rows, dealers=result.dealers, suspects=alone)

    def _ask(self, memory: Callable[[], Tensor]) -> dict[int, Tensor]:
        """Return what each server that is left posts, by its place."""
        said = {server: memory() for server in self._servers}
        self._lose(self._board.link.try_exchange({}, said))
        return {place: said[server] for place, server in enumerate(self._plan.servers) if server in self._servers}

    def _tell(self, words: Tensor) -> None:
        self._lose(self._board.link.try_exchange(dict.fromkeys(self._servers, words), {}))

    def _lose(self, lost: Mapping[int, NetworkError]) -> None:
        self._servers = [server for server in self._servers if server not in lost]
