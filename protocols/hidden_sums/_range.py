"""Inputs that are shown to be in range before they are added, so that no sum that is combined can wrap around.

Each member shares its own words with the delegates, as groups do with their sums otherwise; under Shamir's sharing any
t1 + 1 members of its group do so for it, so that it may be gone by then. The delegates look at every coordinate of
every member under MPC, open who passes, and combine the sums of the groups all of whose members do. A member who does
not pass has entered what no honest member enters: it costs its group, as an absent one does, and one of the tainted
groups that the rule is told to withstand.

All of that is while the delegates follow the protocol. One that does not may add any number, 2^62 say, to a rest of
somebody's words that it alone holds: then an honest member fails and is named, and its group is lost without a
Byzantine member in it, so that more tainted groups may be left than the rule is then told. Two committees, to both of
which every member shares its words, open who passes as well as the result: where they differ the batch stops, and
nobody is named. So naming an honest member takes a delegate of each or, under Shamir's sharing, a holder of its own
group's shares, who may tell both of them another word of any member of that group.

What it buys: a change of one member's word by r changes its group's sum by r, and the result by the group's weight
times r at most, whatever the others entered; without the check a member may bring a sum to where the least change
takes it from the largest number to the smallest. So noise for such changes hides them all. What it costs, beside the
work: more than t2 colluding delegates learn every input, not only groups' sums; and members who have their groups left
out, by words that do not pass, choose of which groups a mean opens.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from protocols.hidden_sums._combining import Combining, among_delegates, delegates_cost, open_result, read_result
from protocols.hidden_sums._one_by_one import OneByOne
from protocols.hidden_sums._resharing import Seats, reshare
from protocols.hidden_sums._seating import common_multiple
from protocols.secure_robust._checked import draw_of, engines_of, in_range_in_the_clear
from protocols.secure_robust._engine import Engine, Shared
from protocols.secure_robust._pads import agreement_cost
from protocols.secure_robust._passing import open_in_range, open_in_range_cost, widest_limit
from protocols.secure_sum import Board, Opened, Party
from protocols.secure_sum._publish import publish, publishing_cost
from protocols.types import Traffic

__all__ = [
    "INPUT_CHECKS",
    "InputCheck",
    "checked_cost",
    "checked_reference",
    "collect_checked",
    "decode_checked",
    "limit_of",
    "play_checked",
]

InputCheck = Literal["none", "range"]
INPUT_CHECKS: tuple[InputCheck, ...] = ("none", "range")


def limit_of(combining: Combining) -> int:
    """Return the bits of the range at which no weighted sum of all groups' members is beyond +-2^62."""
    return widest_limit(len(combining.groups) * common_multiple(combining.groups))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    """Clusters of a batch (`rows`) in which the same groups (their numbers) are left, and what combines these."""

    rows: list[int]
    groups: list[int]
    combining: Combining


def _parts(combining: Combining, whole: Tensor) -> Iterator[_Part]:
    """Yield the parts of a batch of which something opens: those with as many groups left as there are delegates.

    `whole` (clusters, groups): do all members of the group pass?
    """
    for row in np.unique(whole.numpy(), axis=0):
        pattern = torch.from_numpy(row)
        left, lost = _where(pattern), int((~pattern).sum())
        if len(left) < combining.access.parties:
            continue
        # While delegates follow the protocol each lost group has a Byzantine member: so many fewer are tainted of those
        # that are left.
        tolerate, groups = max(combining.tolerate - lost, 0), [combining.groups[number] for number in left]
        chosen = replace(combining, groups=groups, tolerate=tolerate)
        yield _Part(rows=_where((whole == pattern).all(dim=1)), groups=left, combining=chosen)


def _where(mask: Tensor) -> list[int]:
    return np.flatnonzero(mask.numpy()).tolist()


def _places(groups: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return the groups as places among all their members, in order."""
    order = {rank: place for place, rank in enumerate(sorted(rank for group in groups for rank in group))}
    return [[order[rank] for rank in group] for group in groups]


def _whole(passing: Tensor, places: Sequence[Sequence[int]]) -> Tensor:
    """Return whether all members of each group pass, bool (clusters, groups), of 0 or 1 for each member."""
    return torch.stack([passing[:, list(group)].bool().all(dim=1) for group in places], dim=1)


def _kept(combining: Combining, passing: Tensor) -> Tensor:
    """Return whose words are in what opens, bool (clusters, members)."""
    places = _places(combining.groups)
    kept = torch.zeros_like(passing, dtype=torch.bool)
    for part in _parts(combining, _whole(passing, places)):
        inside = [place for number in part.groups for place in places[number]]
        kept[torch.tensor(part.rows)[:, None], torch.tensor(inside)] = True
    return kept


def play_checked(party: Party, each: OneByOne, combining: Combining, rows: Tensor) -> None:
    """Play one holder, and a delegate where it is one: from what it re-shares to what the board reads.

    `rows` are its share of its group's words (clusters x width, coordinates).
    """
    mine = each.seats.committee_of(party.rank)
    if mine is None:
        reshare(party, each.seats, rows)
        return
    served = among_delegates(party, mine)
    bits, engine = engines_of(served, each.seats.access)
    draw, shared = draw_of(served), reshare(party, each.seats, rows)
    assert shared is not None
    values = each.by_member(shared)
    passing = open_in_range(bits, draw, values, limit_of(combining))
    places, sums = _places(combining.groups), torch.zeros(len(passing), rows.shape[1], dtype=torch.int64)
    for number, part in enumerate(_parts(combining, _whole(passing, places))):
        chosen = _group_sums(engine, values.take(0, part.rows), [places[group] for group in part.groups])
        sums[part.rows] = open_result(party, bits, draw, part.combining, chosen, part=number)
    publish(served, torch.cat([sums, passing], dim=1), vouching=True)


def _group_sums(engine: Engine, values: Shared, places: Sequence[Sequence[int]]) -> Shared:
    """Return the sums (clusters, groups, coordinates) of members' words (clusters, members, coordinates)."""
    clusters, _, coordinates = values.shape
    sums = [engine.sum(values.take(1, group), 1).view(clusters, 1, coordinates) for group in places]
    return engine.join(sums, 1)


def collect_checked(board: Board, seats: Seats, combining: Combining) -> Opened:
    """Read what the delegates publish to the board; `suspects` are the members who did not pass.

    They entered words out of range while who shares them and the delegates, or those of one of two committees, follow
    the protocol; else honest members may fail, and so be named.

    Raises: see `read_result`.
    """
    members, coordinates = seats.contributors, board.coordinates
    words = read_result(replace(board, coordinates=coordinates + len(members)), seats)
    passing = words[:, coordinates:] & 1
    failing = _where(~passing.bool().all(dim=0))
    return Opened(
        sums=words[:, :coordinates].contiguous(),
        contributors=members,
        suspects=frozenset(members[place] for place in failing),
        kept=_kept(combining, passing),
    )


def checked_reference(combining: Combining, words: Tensor) -> Opened:
    """Return what opens of words (clusters, members, coordinates), without noise, computed in the clear."""
    passing = in_range_in_the_clear(words, limit_of(combining))
    sums = torch.zeros_like(words[:, 0])
    for part in _parts(combining, _whole(passing, _places(combining.groups))):
        sums[part.rows] = part.combining.reference(words[part.rows])
    return Opened(sums=sums, contributors=tuple(range(words.shape[1])), kept=_kept(combining, passing))


def decode_checked(combining: Combining, opened: Opened) -> Tensor:
    """Return what the opened words mean, float64 (clusters, coordinates); zero where nothing opened."""
    assert opened.kept is not None
    found = torch.zeros(opened.sums.shape, dtype=torch.float64)
    for part in _parts(combining, _whole(opened.kept, _places(combining.groups))):
        found[part.rows] = part.combining.decode(opened.sums[part.rows])
    return found


def checked_cost(
    combining: Combining, each: OneByOne, entering: Traffic, *, clusters: int, coordinates: int
) -> Traffic:
    """Return what a batch sends, as `play_cost` does, where each member's words are looked at."""
    access, beside, members = combining.access, len(each.seats.committees), len(each.seats.contributors)
    numbers, looked = open_in_range_cost(access, (clusters, members, coordinates), limit_of(combining))
    dealt, combined = delegates_cost(combining, clusters=clusters, coordinates=coordinates)
    seeds, handed = each.cost(clusters=clusters, coordinates=coordinates)
    publishing = publishing_cost(
        parties=access.parties, clusters=clusters, coordinates=coordinates + members, vouching=True
    )
    dealing = agreement_cost(access).times(beside).then(seeds).then(numbers.then(dealt).times(beside))
    return Traffic(
        offline=entering.offline.then(dealing),
        mpc=entering.mpc.then(handed).then(looked.then(combined).times(beside)),
        upload=entering.upload.then(publishing.times(beside)),
    )
