"""The board's side of verified dealing: relay what is posted, and say what follows from it for all to see.

Everything that the board decides is a function of what has been posted; it keeps no secret and makes no choice.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from protocols.network import CheatingDetectedError, NetworkError, TooFewPartiesError, raise_lost
from protocols.secure_sum import Board
from protocols.secure_sum._verified import marked
from protocols.secure_sum._verified_plan import HASH_BYTES, Plan, as_bytes, challenge, fits, hash_rows

__all__ = ["Bulletin", "OpenedRows", "bitmap"]


@dataclass(frozen=True, kw_only=True)
class OpenedRows:
    """The opened sums: rows (positions, clusters, coordinates) of elements by the members `positions`."""

    positions: list[int]
    rows: Tensor
    dealers: tuple[int, ...]
    suspects: frozenset[int]


@dataclass(kw_only=True)
class _State:
    """What the board has seen so far."""

    hashes: Tensor
    dealers: list[int]
    suspects: set[int] = field(default_factory=set[int])
    coin: bytes = field(default=b"", repr=False)


class Bulletin:
    """One batch at the board.

    `strict`: the first member that is lost or proved to cheat ends it; otherwise it goes on without that one
    while `least_dealers` are left.
    """

    def __init__(self, plan: Plan, board: Board, *, strict: bool, least_dealers: int) -> None:
        self._plan, self._link, self._model = plan, board.link, as_bytes(board.bound_model)
        self._strict, self._least_dealers = strict, least_dealers
        self._alive = list(range(plan.parties))

    def run(self) -> OpenedRows:
        """Play the board. Raises: CheatingDetectedError, TooFewPartiesError, and where strict any NetworkError."""
        state, disputed, sums, coin = self._deal()
        for attempt in range(self._plan.attempts):
            if disputed:
                sums, coin = self._commit(state)
            coefficients = challenge(
                self._plan.sharing.field, bytes(coin.numpy()), self._plan.checks, self._plan.coordinates
            )
            before = list(state.dealers)
            tags, accused = self._prove(state, coefficients, attempt)
            self._check(state)
            self._tell(bitmap(self._plan.parties, state.dealers))
            disputed = accused or state.dealers != before
            if not disputed:
                return self._open(state, coefficients, tags, sums)
        raise TooFewPartiesError(f"no set of dealers is left after {self._plan.attempts} attempts")

    def _deal(self) -> tuple[_State, bool, dict[int, Tensor], Tensor]:
        """Steps 1 and 2, and step 3 of the first attempt."""
        c = self._plan.parties
        hashes = self._ask((c, HASH_BYTES), torch.uint8)
        posted = torch.zeros(c, c, HASH_BYTES, dtype=torch.uint8)
        for dealer, each in hashes.items():
            posted[dealer] = each
        state = _State(hashes=posted, dealers=self._of_one_model(posted, sorted(hashes)))
        self._check(state)
        self._tell(torch.cat([bitmap(c, state.dealers), posted.flatten()]))
        said = self._ask((c + HASH_BYTES,), torch.uint8)
        matrix = self._matrix({rank: each[:c] for rank, each in said.items()}, state)
        sums = {rank: each[c:] for rank, each in said.items()}
        coin = self._coin(state, posted, matrix, *(sums[rank] for rank in sorted(sums)))
        self._tell(torch.cat([matrix.flatten(), coin]))
        if bool(matrix.any()):
            self._settle(state, matrix)
            self._check(state)
            self._tell(bitmap(c, state.dealers))
        self._refuse_other_models(posted)
        return state, bool(matrix.any()), sums, coin

    def _of_one_model(self, posted: Tensor, dealers: list[int]) -> list[int]:
        """Return the dealers that hold the model which the board announces; where strict, all, for the time being."""
        return [dealer for dealer in dealers if self._strict or torch.equal(posted[dealer, dealer], self._model)]

    def _refuse_other_models(self, posted: Tensor) -> None:
        """Where strict, raise CheatingDetectedError unless all hold that model: nobody was proved to cheat by then."""
        dealers = range(self._plan.parties)
        other = [dealer for dealer in dealers if not torch.equal(posted[dealer, dealer], self._model)]
        if other and self._strict:
            raise CheatingDetectedError(
                f"parties {other} hold another model than the board announces, or say so; nothing was opened"
            )

    def _settle(self, state: _State, matrix: Tensor) -> None:
        """Have the accused dealers post the rows in question, pass them on, and drop those who cannot."""
        plan, opened = self._plan, dict[tuple[int, int], Tensor]()
        accusers = {dealer: marked(matrix[:, dealer]) for dealer in range(plan.parties)}
        accused = [dealer for dealer, who in accusers.items() if who]
        answers = self._ask_each({dealer: plan.rows(len(accusers[dealer])) for dealer in accused})
        for dealer, rows in answers.items():
            for place, member in enumerate(accusers[dealer]):
                row = rows[:, place].contiguous()
                if fits(plan, row, state.hashes[dealer, member]):
                    opened[dealer, member] = row
                else:
                    state.suspects.add(dealer)
        for member in range(plan.parties):
            mine = marked(matrix[member])
            if mine:
                nothing = torch.zeros(plan.clusters, plan.width, dtype=torch.int64)
                rows = [opened.get((dealer, member), nothing) for dealer in mine]
                self._tell(torch.stack(rows, dim=1), [member])
        answered = [dealer for dealer in accused if all((dealer, who) in opened for who in accusers[dealer])]
        state.dealers = [dealer for dealer in state.dealers if dealer not in accused or dealer in answered]

    def _commit(self, state: _State) -> tuple[dict[int, Tensor], Tensor]:
        """Step 3 of a later attempt."""
        sums = self._ask((HASH_BYTES,), torch.uint8)
        coin = self._coin(state, *(sums[rank] for rank in sorted(sums)))
        self._tell(coin)
        return sums, coin

    def _prove(self, state: _State, coefficients: Tensor, attempt: int) -> tuple[Tensor, bool]:
        """Steps 4 and 5; return the tags (clusters, dealers, terms, checks) and whether anybody was accused."""
        plan = self._plan
        posted = self._ask_each({dealer: plan.tags(1)[:, 0].contiguous() for dealer in state.dealers})
        state.dealers = sorted(posted)
        self._tell(bitmap(plan.parties, state.dealers))
        tags = torch.stack([posted[dealer] for dealer in state.dealers], dim=1) if posted else plan.tags(0)
        tags = torch.remainder(tags, plan.sharing.field.modulus)
        self._tell(tags)
        matrix = self._matrix(self._ask((plan.parties,), torch.uint8), state)
        self._tell(matrix)
        if bool(matrix.any()):
            self._judge(state, matrix, coefficients, tags, attempt)
        return tags, bool(matrix.any())

    def _judge(self, state: _State, matrix: Tensor, coefficients: Tensor, tags: Tensor, attempt: int) -> None:
        """Look at the rows that accusers post: each proves its dealer guilty, or else the accuser."""
        plan = self._plan
        accused = {member: marked(matrix[member]) for member in range(plan.parties)}
        evidence = self._ask_each({member: plan.rows(len(who)) for member, who in accused.items() if who})
        for member, rows in evidence.items():
            expected = plan.tags_at(tags, member)
            for place, dealer in enumerate(accused[member]):
                row = rows[:, place].contiguous()
                bound = fits(plan, row, state.hashes[dealer, member])
                same = torch.equal(plan.tag(coefficients, row, attempt), expected[state.dealers.index(dealer)])
                state.suspects.add(dealer if bound and not same else member)
        state.dealers = [dealer for dealer in state.dealers if dealer not in state.suspects]

    def _open(self, state: _State, coefficients: Tensor, tags: Tensor, sums: dict[int, Tensor]) -> OpenedRows:
        """Step 6."""
        plan = self._plan
        opened = self._ask((plan.clusters, plan.sum_width), torch.int64)
        if plan.committed_sums:
            wrong = {r for r, row in opened.items() if not self._right(r, row, coefficients, tags, sums)}
            state.suspects |= wrong
            self._check(state)
            opened = {rank: row for rank, row in opened.items() if rank not in wrong}
        modulus = plan.sharing.field.modulus
        rows = [torch.remainder(opened[rank][:, : plan.coordinates], modulus) for rank in sorted(opened)]
        return OpenedRows(
            positions=sorted(opened),
            rows=torch.stack(rows) if rows else torch.empty(0, plan.clusters, plan.coordinates, dtype=torch.int64),
            dealers=tuple(state.dealers),
            suspects=frozenset(state.suspects),
        )

    def _right(self, rank: int, row: Tensor, coefficients: Tensor, tags: Tensor, sums: dict[int, Tensor]) -> bool:
        """Return whether an opened sum is the one that was committed, and fits the tags."""
        plan, field = self._plan, self._plan.sharing.field
        words = row[:, : plan.coordinates + plan.checks]
        inside = bool(((words >= 0) & (words < field.modulus)).all())
        if not inside or rank not in sums or not torch.equal(hash_rows(row), sums[rank]):
            return False
        # An opened sum has one attempt's masks: the first, and only, mask columns behind its words.
        return torch.equal(plan.tag(coefficients, row, 0), field.sum(plan.tags_at(tags, rank), 0))

    def _check(self, state: _State) -> None:
        """Go on only with enough dealers, or, where strict, with all."""
        if self._strict and state.suspects:
            named = sorted(state.suspects)
            raise CheatingDetectedError(f"parties {named} cheated; nothing was opened", suspects=frozenset(named))
        least = self._plan.parties if self._strict else self._least_dealers
        if len(state.dealers) < least:
            raise TooFewPartiesError(
                f"the inputs of parties {state.dealers} are left; allowed: at least {least} inputs in a sum that opens"
            )

    def _matrix(self, posted: dict[int, Tensor], state: _State) -> Tensor:
        """Return who accuses whom, (accusers, dealers): nobody accuses itself, and proven cheaters accuse nobody."""
        matrix = torch.zeros(self._plan.parties, self._plan.parties, dtype=torch.uint8)
        for rank, each in posted.items():
            if rank not in state.suspects:
                matrix[rank, state.dealers] = (each[state.dealers] != 0).to(torch.uint8)
        return matrix.fill_diagonal_(0)

    def _coin(self, state: _State, *posted: Tensor) -> Tensor:
        """Return the hash of all that has been posted so far: of the last coin and of what came since."""
        digest = hashlib.sha256(state.coin)
        for each in posted:
            digest.update(each.contiguous().numpy().data)
        state.coin = digest.digest()
        return as_bytes(state.coin)

    def _ask(self, shape: tuple[int, ...], dtype: torch.dtype) -> dict[int, Tensor]:
        return self._ask_each({rank: torch.empty(shape, dtype=dtype) for rank in self._alive})

    def _ask_each(self, into: dict[int, Tensor]) -> dict[int, Tensor]:
        """Return what these members post; those that are lost are left out, for good."""
        lost = self._link.try_exchange({}, into)
        self._lose(lost)
        return {rank: tensor for rank, tensor in into.items() if rank not in lost}

    def _tell(self, words: Tensor, to: list[int] | None = None) -> None:
        self._lose(self._link.try_exchange(dict.fromkeys(self._alive if to is None else to, words), {}))

    def _lose(self, lost: Mapping[int, NetworkError]) -> None:
        if self._strict:
            raise_lost(lost)
        self._alive = [rank for rank in self._alive if rank not in lost]


def bitmap(parties: int, ranks: list[int]) -> Tensor:
    """Return c bytes, 1 for each of these ranks."""
    marks = torch.zeros(parties, dtype=torch.uint8)
    marks[ranks] = 1
    return marks
