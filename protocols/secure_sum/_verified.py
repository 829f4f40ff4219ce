"""Verified dealing: every share is committed, every dealer proves its shares consistent, every culprit is found.

One attempt to add the secrets of a set U of dealers goes like this; the board shows everybody what is posted.

1. Each dealer sends each member its share row, with random masks behind the words, and posts a hash of each row; in
   the place of its own row, which nobody asks it for, what binds the model that it has trained on to the batch. Who
   holds another model than the board announces is no dealer, and a member that is shown such a dealer stops.
2. A member that got no row, or another than the hash says, complains; the dealer must post that row openly.
   (One of the two is faulty, so the faulty ones know the row already: members that follow the protocol reach
   each other within the deadline. Where that may fail, a sum of honest members is no longer hidden.)
3. Each member posts the hash of its sum over U of the rows: commit before open.
4. A challenge is hashed from all that has been posted. Each dealer posts its *tags*: random combinations of its
   words under the challenge plus a mask, as a function of the member's place - a one-time Carter-Wegman
   authenticator of each row, whose key (challenge, mask) nobody knew when rows and sums were fixed.
5. A member whose row does not fit its dealer's tag posts the row: against the hash of step 1 everybody sees
   whether the dealer or the accuser lies. Dealers that lie or stay silent leave U and the next attempt begins
   with step 3, with masks of its own; no sum has been opened for the old U.
6. Members open their sums. One that does not fit its hash or the tags is wrong, and its sender a cheater.

Soundness: a wrong row or sum passes with probability p^-checks for each try at the challenge, so that with the
hash function modelled as a random oracle 2^k evaluations succeed with probability 2^k p^-checks.
"""

import torch
from torch import Tensor

from protocols.network import BOARD, CheatingDetectedError, Link, OutOfStepError, cost_of
from protocols.secure_sum import Party
from protocols.secure_sum._verified_plan import (
    HASH_BYTES,
    SALT_WORDS,
    WORD_BYTES,
    Plan,
    as_bytes,
    challenge,
    fits,
    hash_rows,
)
from protocols.types import Cost, Traffic

__all__ = ["Dealing", "hear", "marked", "play", "say", "verified_cost"]


def hear(link: Link, into: Tensor) -> Tensor:
    """Return what the board says next, in the memory given; NetworkError when it is lost."""
    lost = link.try_exchange({}, {BOARD: into})
    if BOARD in lost:
        raise lost[BOARD]
    return into


def say(link: Link, tensor: Tensor) -> None:
    """Post on the board."""
    link.try_exchange({BOARD: tensor}, {})


class Dealing:
    """What one member deals and receives, over all attempts."""

    def __init__(self, plan: Plan, party: Party, words: Tensor) -> None:
        self._plan, self._party = plan, party
        self._basis = self._make_basis(words)
        self._salts = self._make_salts(plan.parties + 1)
        self._rows = torch.zeros(plan.parties, plan.clusters, plan.width, dtype=torch.int64)
        self._got = {party.rank}
        self._dealers: list[int] = []

    def deal(self) -> None:
        """Step 1: send the rows and post their hashes."""
        plan, party = self._plan, self._party
        rows = [self._row_for(peer) for peer in range(plan.parties)]
        hashes = torch.stack([hash_rows(row) for row in rows])
        hashes[party.rank] = as_bytes(party.bound_model)
        self._rows[party.rank] = rows[party.rank]
        outgoing = {peer: rows[peer] for peer in party.peers}
        lost = party.link.try_exchange({BOARD: hashes, **outgoing}, {peer: self._rows[peer] for peer in party.peers})
        self._got |= set(party.peers) - lost.keys()

    def complain(self) -> None:
        """Step 2, and the first attempt's step 3."""
        plan, rank = self._plan, self._party.rank
        posted = hear(self._party.link, torch.empty(plan.parties * (1 + plan.parties * HASH_BYTES), dtype=torch.uint8))
        present, hashes = posted[: plan.parties], posted[plan.parties :].view(plan.parties, plan.parties, HASH_BYTES)
        self._dealers = [dealer for dealer in range(plan.parties) if present[dealer]]
        self._models = hashes[range(plan.parties), range(plan.parties)]
        others = [dealer for dealer in self._dealers if dealer != rank]
        bad = [dealer for dealer in others if not self._fits(dealer, hashes[dealer, rank])]
        complaints = torch.zeros(plan.parties, dtype=torch.uint8)
        complaints[bad] = 1
        say(self._party.link, torch.cat([complaints, self._commit_sum(0)]))

    def compare_models(self) -> None:
        """Raise CheatingDetectedError where a dealer says that it holds another model than this member does.

        Complaints come first, since they name who has changed more of its post than that.
        """
        own = as_bytes(self._party.bound_model)
        other = [dealer for dealer in self._dealers if not torch.equal(self._models[dealer], own)]
        if other:
            # Who was handed the wrong model, and by whom, does not show: this names nobody.
            raise CheatingDetectedError(
                f"parties {other} hold another model than party {self._party.rank}, or say so; nothing was opened"
            )

    def settle(self) -> tuple[bool, Tensor]:
        """Answer complaints; return whether there were any, and the coin of the first attempt."""
        plan, rank = self._plan, self._party.rank
        said = hear(self._party.link, torch.empty(plan.parties**2 + HASH_BYTES, dtype=torch.uint8))
        matrix = said[: plan.parties**2].view(plan.parties, plan.parties)  # [complainer, dealer]
        if not bool(matrix.any()):
            return False, said[plan.parties**2 :]
        accusers = marked(matrix[:, rank])
        if accusers:
            say(self._party.link, torch.stack([self._row_for(peer) for peer in accusers], dim=1))
        mine = marked(matrix[rank])
        if mine:
            self._rows[mine] = hear(self._party.link, plan.rows(len(mine))).transpose(0, 1)
        return True, said[plan.parties**2 :]

    def next_set(self) -> bool:
        """Take the set U that the board announces for the next attempt; return whether it differs from the last."""
        before = self._dealers
        announced = hear(self._party.link, torch.empty(self._plan.parties, dtype=torch.uint8))
        self._dealers = marked(announced)
        return before != self._dealers

    def commit(self, attempt: int) -> Tensor:
        """Step 3; return the coin."""
        say(self._party.link, self._commit_sum(attempt))
        return hear(self._party.link, torch.empty(HASH_BYTES, dtype=torch.uint8))

    def prove(self, attempt: int, coin: Tensor) -> bool:
        """Steps 4 and 5; return whether anybody accuses anybody."""
        plan, link = self._plan, self._party.link
        coefficients = challenge(plan.sharing.field, bytes(coin.numpy()), plan.checks, plan.coordinates)
        if self._party.rank in self._dealers:
            say(link, plan.tag(coefficients, self._basis, attempt).transpose(0, 1))
        arrived = marked(hear(link, torch.empty(plan.parties, dtype=torch.uint8)))
        tags = plan.sharing.field.from_signed(hear(link, plan.tags(len(arrived))))
        wrong = self._misfits(arrived, tags, coefficients, attempt)
        accusations = torch.zeros(plan.parties, dtype=torch.uint8)
        accusations[wrong] = 1
        say(link, accusations)
        matrix = hear(link, torch.empty(plan.parties, plan.parties, dtype=torch.uint8))
        heard = marked(matrix[self._party.rank])
        if heard:
            say(link, self._rows[heard].transpose(0, 1))
        return bool(matrix.any())

    def _misfits(self, dealers: list[int], tags: Tensor, coefficients: Tensor, attempt: int) -> list[int]:
        """Return the dealers whose tags do not fit the rows that this member has from them."""
        expected = self._plan.tags_at(tags, self._party.rank)
        found = self._plan.tag(coefficients, self._rows[dealers], attempt)
        same = (expected == found).flatten(1).all(dim=1)
        return [dealer for dealer, fitting in zip(dealers, same, strict=True) if not bool(fitting)]

    def open(self) -> None:
        """Step 6: open the sum that the last commitment binds."""
        say(self._party.link, self._sum)

    @property
    def dealers(self) -> tuple[int, ...]:
        """The set U of dealers whose secrets are in the sum."""
        return tuple(self._dealers)

    @property
    def opened(self) -> Tensor:
        """This member's sum (clusters, sum_width), as it has opened it."""
        return self._sum

    def _make_basis(self, words: Tensor) -> Tensor:
        plan, field = self._plan, self._plan.sharing.field
        secrets, use = self._party.keys.secrets, self._party.use
        masks = secrets.elements(field, purpose="verified masks", use=use, clusters=plan.clusters, count=plan.masks)
        secret = torch.cat([field.from_signed(words), masks], dim=1)
        drawn = secrets.elements(
            field,
            purpose="verified shares",
            use=use,
            clusters=plan.clusters,
            count=plan.sharing.random_terms * secret.shape[1],
        )
        randomness = drawn.view(plan.clusters, plan.sharing.random_terms, secret.shape[1]).transpose(0, 1)
        return plan.sharing.basis(secret, randomness)

    def _make_salts(self, count: int) -> Tensor:
        """Return salts (count, clusters, SALT_WORDS): a hash of few words would tell them."""
        size = WORD_BYTES * count * self._plan.clusters * SALT_WORDS
        token = self._party.keys.secrets.token(purpose="verified salts", use=self._party.use, size=size)
        return torch.frombuffer(bytearray(token), dtype=torch.int64).view(count, self._plan.clusters, SALT_WORDS)

    def _row_for(self, peer: int) -> Tensor:
        return torch.cat([self._plan.sharing.at(self._basis, [peer])[0], self._salts[peer]], dim=1)

    def _fits(self, dealer: int, posted: Tensor) -> bool:
        return dealer in self._got and fits(self._plan, self._rows[dealer], posted)

    def _commit_sum(self, attempt: int) -> Tensor:
        added = self._plan.added(self._rows[self._dealers], attempt)
        self._sum = torch.cat([added, self._salts[-1]], dim=1)
        return hash_rows(self._sum)


def play(plan: Plan, party: Party, words: Tensor) -> Dealing:
    """Play one member through all steps; return its part. Raises: NetworkError when the board is lost or gives up."""
    dealing = Dealing(plan, party, words)
    dealing.deal()
    dealing.complain()
    disputed, coin = dealing.settle()
    dealing.compare_models()
    if disputed:
        dealing.next_set()
    for attempt in range(plan.attempts):
        if disputed:
            coin = dealing.commit(attempt)
        accused = dealing.prove(attempt, coin)
        disputed = dealing.next_set() or accused
        if not disputed:
            dealing.open()
            return dealing
    raise OutOfStepError("the board asks for more attempts than there can be faulty dealers")


def verified_cost(plan: Plan) -> Traffic:
    """Return what one batch sends when everybody follows the protocol: one attempt, no complaint."""
    c = plan.parties
    row = WORD_BYTES * plan.clusters * plan.width
    tags = WORD_BYTES * plan.clusters * plan.sharing.terms * plan.checks
    opened = WORD_BYTES * plan.clusters * plan.sum_width
    up = c * HASH_BYTES + (c + HASH_BYTES) + tags + c + opened
    down = c * (1 + c * HASH_BYTES) + (c**2 + HASH_BYTES) + c + c * tags + c**2 + c
    return Traffic(
        offline=Cost.none(),
        mpc=cost_of(messages=c * (c - 1), payload_bytes=c * (c - 1) * row, rounds=min(c - 1, 1)),
        upload=cost_of(messages=11 * c, payload_bytes=c * (up + down), rounds=9),
    )


def marked(bitmap: Tensor) -> list[int]:
    """Return the places of a bitmap that are not zero."""
    return [int(place) for place in torch.nonzero(bitmap)]
