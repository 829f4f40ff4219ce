"""How many tainted clusters a rule withstands that counts members, for clusters of unequal sizes and with crashes."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from protocols.aggregators import Aggregator, lapses
from protocols.tolerance.parts import Groups, clusters_of

__all__ = ["counts_members", "withstood", "worst_sizes"]


def counts_members(rule: Aggregator) -> bool:
    """Return whether one cluster that has most members is too much for the rule, which withstands it of one size."""
    return rule.breakdown(9) > 0 and lapses(rule, torch.tensor([1000] + [1] * 8), 1)


@lru_cache(maxsize=4096)  # a search asks for the same clusters again, and a simulation in every round
def withstood(rule: Aggregator, groups: Groups, crashed: int) -> int:
    """Return how many tainted clusters the rule withstands of these, whoever of their members crash.

    That is its breakdown point unless it counts members; then as many as it promises something for, where all crashed
    members are missing from the other clusters.

    Guarantees:
        For so many clusters, whichever they are, and whoever crashes, the promise does not lapse.
    """
    most = rule.breakdown(clusters_of(groups))
    if most <= 0 or not counts_members(rule):
        return most
    sizes = torch.tensor([size for size, count in reversed(groups) for _ in range(count)], dtype=torch.int64)
    return bisect_left(range(1, most + 1), True, key=lambda f: lapses(rule, _without(sizes, f, crashed), f))


def _without(descending: Tensor, kept: int, crashed: int) -> Tensor:
    """Return the sizes with so many members fewer, the smallest clusters first, and never of the `kept` largest."""
    rest = descending[kept:].flip(0)
    before = rest.cumsum(dim=0) - rest
    left = rest - (crashed - before).clamp(min=0).minimum(rest)
    return torch.cat([descending[:kept], left.flip(0)])


def worst_sizes(
    whole: Sequence[int], left: Sequence[int], absent: int, told: Callable[[int], int]
) -> Iterator[tuple[Tensor, int]]:
    """Yield sizes (m,) that a round may open with at worst, descending, and how many of them a rule is told are wrong.

    A cluster opens with `left` to `whole` members, or not at all, which may happen to `absent` of them; `told` maps m
    to what the rule is told to withstand. So many of the sizes are as large as any can be, the others as small. A
    cluster may count on both sides, so that sizes are a little worse than those of any round.

    Guarantees:
        Where the promise of a rule that counts members lapses for none of them, it lapses in no such round.
    """
    largest, smallest = sorted(whole, reverse=True), sorted(left)
    for m in range(len(whole), len(whole) - absent - 1, -1):
        if m > 0 and told(m) > 0:
            others = [max(1, size) for size in smallest[: m - told(m)]]
            yield torch.tensor(largest[: told(m)] + others[::-1], dtype=torch.int64), told(m)
