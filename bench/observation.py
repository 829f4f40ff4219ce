"""What a round showed, beside what its verdict had said: who was exposed, which means were wrong, what was lost."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from protocols.aggregators import Aggregator, lapses, within_coefficient
from protocols.tolerance.verdict import FaultyProcesses, Verdict

__all__ = ["Observation", "OpenedCluster", "observe"]

_SIDES = ("private", "correct", "live")


Replay = Callable[[int, tuple[int, ...], tuple[int, ...]], bool | None]
"""(members, colluding ranks, crashed ranks) -> whether these learn more than the sum; None: not known."""


def _not_replayed(parties: int, coalition: tuple[int, ...], crashed: tuple[int, ...]) -> None:
    """Nothing is known of shares."""


@dataclass(frozen=True, kw_only=True)
class OpenedCluster:
    """A cluster whose sum was opened: its number, whose words are in it, and whether it is exactly their sum.

    `in_clear`: the protocol sends each input as it is. `withstands`: it may be as good as honest although Byzantine
    members are in it, which is then for the verdict to say. `hidden`: nobody sees its sum.
    """

    number: int
    contributors: tuple[int, ...]
    exact: bool
    in_clear: bool
    withstands: bool = False
    hidden: bool = False


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What happened in one round, on the three sides of the verdict.

    `exposed` are the honest processes of whom the colluding ones learn more than they should: those whose update the
    opened sums and the colluding processes' own inputs tell, and those (`by_shares`) whose cluster's sum, replayed,
    tells the coalition more than itself. `correct`: every sum of a cluster that the verdict calls correct is exact,
    and the rule's result is as near the honest means as the rule promises. `promised`: whether it promises anything for
    clusters of the sizes that opened, where it does for as many of one size. `live`: no more clusters were lost than
    the rule withstands. `passed`: whether honest updates passed the check of inputs, which every verdict takes for
    granted; where some did not, a result that is not correct contradicts none.
    """

    exposed: frozenset[int]
    by_shares: frozenset[int]
    wrong_sums: tuple[int, ...]
    lost: tuple[int, ...]
    near_honest: bool
    live: bool
    promised: bool = True
    passed: bool = True

    @property
    def private(self) -> bool:
        """Whether nobody was exposed."""
        return not self.exposed

    @property
    def correct(self) -> bool:
        """Whether the result is as the rule promises."""
        return self.near_honest and not self.wrong_sums

    @property
    def why(self) -> tuple[str, ...]:
        """One sentence for each side that broke, and for each way."""
        events = (
            (self.exposed > self.by_shares, f"processes {sorted(self.exposed - self.by_shares)} are exposed"),
            (bool(self.by_shares), f"shares tell of processes {sorted(self.by_shares)} (replayed)"),
            (bool(self.wrong_sums), f"the sums of clusters {list(self.wrong_sums)} are wrong"),
            (not self.promised, "the rule promises nothing for clusters of the sizes that opened"),
            (
                self.promised and not self.near_honest,
                "the result is farther from the honest means than the rule promises",
            ),
            (
                not self.near_honest and not self.passed,
                "updates of honest members did not pass the check, of which no verdict says anything",
            ),
            (not self.live, f"clusters {list(self.lost)} are lost"),
        )
        return tuple(sentence for happened, sentence in events if happened)

    def contradicts(self, said: Verdict) -> tuple[str, ...]:
        """Return the sides that the verdict called safe and that broke, though all that it rests on was so."""
        broken = (side for side in _SIDES if getattr(said, side) and not getattr(self, side))
        return tuple(side for side in broken if side != "correct" or self.passed or self.wrong_sums)


def observe(
    opened: Sequence[OpenedCluster],
    means: Tensor,
    sizes: Tensor,
    result: Tensor | None,
    *,
    said: Verdict,
    faulty: FaultyProcesses,
    rule: Aggregator,
    tolerate: int,
    numbers: Sequence[int] | None = None,
    replay: Replay = _not_replayed,
    empty: frozenset[int] = frozenset(),
    excluded: frozenset[int] | None = None,
    inputs_only: bool = False,
    all_pass: bool = False,
    told: frozenset[int] = frozenset(),
    stopped: bool = False,
) -> Observation:
    """Return what a round showed: cluster means (m, d), contributors each (m,) and the rule's result (d,), if any.

    The result is before any noise is added to it. `numbers` are the processes' numbers, where they are not 0..n-1.
    `replay` says what coalitions learn from their shares. `empty` clusters opened that nobody's update passed their
    check: they are not lost, and forgive no result. `excluded` are the members whose updates it did not pass; without a
    check None, and who is left out of a sum is no excuse. `inputs_only`: Byzantine members choose their inputs and
    follow the protocol. `all_pass`: honest updates are made to pass whatever check there is. `told` are processes of
    whom colluding ones learn where sums stay hidden; where a round of these is `stopped` by somebody who misbehaves, no
    wrong result is taken over.
    """
    honest = [
        j
        for j, each in enumerate(opened)
        # A liar may have itself left out of a sum that it has made anything.
        if each.exact
        and (not faulty.byzantine & set(each.contributors) or (each.withstands and said.clusters[each.number].correct))
    ]
    lost = sorted(set(range(len(said.clusters))) - {each.number for each in opened} - empty)
    near = stopped or (result is not None and bool(honest))
    promised = result is None or not lapses(rule, sizes, tolerate)
    if near and result is not None:
        near = within_coefficient(rule, result, means[torch.tensor(honest)], sizes, tolerate)
    by_sums, by_shares = told.union(_exposed(opened, faulty)), frozenset(_by_shares(opened, said, faulty, replay))
    named = range(faulty.n) if numbers is None else numbers
    return Observation(
        exposed=frozenset(named[each] for each in by_sums | by_shares),
        by_shares=frozenset(named[each] for each in by_shares - by_sums),
        wrong_sums=tuple(each.number for each in opened if not each.exact and said.clusters[each.number].correct),
        lost=tuple(lost),
        near_honest=near,
        live=len(lost) <= said.tolerate,
        promised=promised,
        passed=all_pass
        or not _fails_by_itself(opened, said, faulty, empty, excluded or frozenset(), inputs_only=inputs_only),
    )


def _fails_by_itself(
    opened: Sequence[OpenedCluster],
    said: Verdict,
    faulty: FaultyProcesses,
    empty: frozenset[int],
    excluded: frozenset[int],
    *,
    inputs_only: bool,
) -> bool:
    """Return whether an honest member did not pass although its cluster opened, and nobody can have had it fail.

    Somebody can where a Byzantine member does what it likes to messages, and not to its input alone; of an empty
    cluster also by its input, where too few others are left to open a sum.
    """
    left_out = {each.number: set(said.clusters[each.number].members) - set(each.contributors) for each in opened}
    left_out |= {number: set(said.clusters[number].members) for number in empty}
    alone = {each.number for each in opened if each.withstands}
    alone |= {number for number in empty if inputs_only and said.clusters[number].live}
    return any(
        bool((missing & excluded) - faulty.byzantine - faulty.crashed)
        and (number in alone or not faulty.byzantine & set(said.clusters[number].members))
        for number, missing in left_out.items()
    )


def _by_shares(
    opened: Sequence[OpenedCluster], said: Verdict, faulty: FaultyProcesses, replay: Replay
) -> Iterable[int]:
    for each in opened:
        members, unknown = said.clusters[each.number].members, set(each.contributors) - faulty.colluding
        coalition, crashed = (
            tuple(rank for rank, process in enumerate(members) if process in kind)
            for kind in (faulty.colluding, faulty.crashed)
        )
        # With one unknown the sum tells it anyway.
        if coalition and len(unknown) > 1 and not each.in_clear and replay(len(members), coalition, crashed):
            yield from unknown


def _exposed(opened: Sequence[OpenedCluster], faulty: FaultyProcesses) -> Iterable[int]:
    for each in opened:
        unknown = set(each.contributors) - faulty.colluding
        if each.in_clear or (len(unknown) == 1 and not each.hidden):
            yield from unknown
