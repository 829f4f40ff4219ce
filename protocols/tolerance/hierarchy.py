"""Clusters in groups in groups: a group is bad when more of its parts are than it withstands, up to the whole."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from protocols import check
from protocols.check import CloisterError
from protocols.tolerance.binomial import log_hypergeometric_sum
from protocols.tolerance.kinds import MarkedEvent, over_totals, typical_of
from protocols.tolerance.parts import BadSet, NotExactError, log_weights, parts_of
from protocols.tolerance.recursion import Weights, grouped, leaf, share_bad
from protocols.tolerance.solve import Probability, bounds_on, tail
from protocols.types import balanced_sizes

__all__ = ["Tree", "hierarchy_drawn", "hierarchy_fails", "hierarchy_tolerates", "leaves_to_break", "tree_of"]

_MOST_WORK = 1e9


@dataclass(frozen=True, kw_only=True)
class Tree:
    """A level of equal parts: leaves are clusters of a size, nodes are groups of (part, how many)."""

    size: int
    parts: tuple[tuple["Tree", int], ...] = ()

    @property
    def width(self) -> int:
        """The number of parts."""
        return sum(count for _, count in self.parts)


def tree_of(n: int, cluster_size: int, groups: Sequence[int]) -> Tree:
    """Return the tree of balanced clusters, of groups of at least groups[0] clusters, of groups[1] groups, ..

    As the policy `hierarchical` forms them: larger parts come first, a level with fewer parts is one group of all.
    Raises: CloisterError for sizes that do not fit.
    """
    level = [Tree(size=size) for size in balanced_sizes(n, cluster_size)]
    for least in groups:
        check.integer_at_least(1, groups=least)
        formed: list[Tree] = []
        for width in balanced_sizes(len(level), min(least, len(level))):
            formed.append(_node(level[:width]))
            level = level[width:]
        level = formed
    return level[0] if len(level) == 1 else _node(level)


def _node(children: Sequence[Tree]) -> Tree:
    kinds = sorted(set(children), key=lambda child: (child.size, child.width, repr(child)))
    return Tree(size=sum(child.size for child in children), parts=tuple((kind, children.count(kind)) for kind in kinds))


def hierarchy_fails(
    tree: Tree,
    *,
    faulty: tuple[int, ...],
    bad: BadSet,
    breakdown: Callable[[int], int],
    forbidden: BadSet | None = None,
) -> Probability:
    """Return P(the root is bad): more of its parts are than breakdown(parts), and so on down to bad clusters.

    With `forbidden` occupancies: and no cluster is forbidden.
    Faults are uniform, faulty[i] of kind i. Exact by the recursion over levels, with additions of non-negative terms
    only, for trees of a few thousand processes (fewer with more kinds); beyond, the bound of the best single level
    (engine "bounds").

    Guarantees:
        Equal to counting every placement; with one level, to the tail of the number of bad clusters.
    Source: design notes 2.5, two-level recursion.
    """
    n = tree.size
    if sum(faulty) > n:
        raise CloisterError(f"faulty = {sum(faulty)} is more than n = {n} processes; allowed: 0 to {n}")
    counts = faulty
    faulty, bad = _of_present(counts, bad)
    barred = _of_present(counts, forbidden)[1] if forbidden else None
    try:
        if all(not part.parts for part, _ in tree.parts):
            groups = tuple((part.size, count) for part, count in tree.parts) or ((n, 1),)
            return tail(parts_of(groups, bad, barred), n, faulty, max(breakdown(tree.width) if tree.parts else 0, -1))
    except NotExactError as error:
        return bounds_on(0.0, _upper(tree, n, faulty, bad, breakdown), because=str(error))
    if _work(tree, faulty) > _MOST_WORK:
        why = f"a tree of {n} processes with these faults takes too many additions"
        return bounds_on(0.0, _upper(tree, n, faulty, bad, breakdown), because=why)

    @cache
    def weights(node: Tree) -> Weights:
        if not node.parts:
            (part,) = parts_of(((node.size, 1),), bad, barred)
            fine, wrong = (mask.astype(np.float64) for mask in (part.safe, part.bad))
            return leaf(log_weights(node.size, n, faulty), fine, wrong, faulty)
        return grouped([(weights(part), count) for part, count in node.parts], breakdown(node.width), faulty)

    return Probability.exact(share_bad(weights(tree), n, faulty), "recursion")


def _of_present(faulty: tuple[int, ...], bad: BadSet) -> tuple[tuple[int, ...], BadSet]:
    """The kinds that somebody has (the first one, where nobody has any), and the bad occupancies by these alone."""
    kept = [kind for kind, count in enumerate(faulty) if count] or [0]
    index = tuple(slice(None) if kind in kept else 0 for kind in range(len(faulty)))
    return tuple(faulty[kind] for kind in kept), lambda size: np.asarray(bad(size)[index])


def hierarchy_drawn(
    tree: Tree, event: MarkedEvent, totals: Sequence[float], breakdown: Callable[[int], int]
) -> Probability | None:
    """Return P(the root is bad) with f faulty processes with probability totals[f], each of a kind by itself.

    `event` says which clusters are bad. None where it would take too long.
    """
    n, law = tree.size, np.array(totals)
    top = int(np.flatnonzero(law)[-1])
    if _work(tree, (top,)) > _MOST_WORK:
        return None
    typical = typical_of(law, n)

    @cache
    def weights(node: Tree) -> Weights:
        if not node.parts:
            return leaf(log_weights(node.size, n, (typical,)), *event.given(node.size), (top,))
        return grouped([(weights(part), count) for part, count in node.parts], breakdown(node.width), (top,))

    return over_totals(weights(tree), n, typical, law[: top + 1])


def _work(tree: Tree, faulty: tuple[int, ...]) -> float:
    if not tree.parts:
        return 0.0

    def cells(size: int) -> int:
        return math.prod(min(size, count) + 1 for count in faulty)

    # Every product costs some thousand additions more than those it makes; with more kinds, for each cell.
    overhead = 2000 if len(faulty) == 1 else 2000 * cells(max(part.size for part, _ in tree.parts))
    own = sum(count * (tree.width + 1) * (overhead + cells(part.size) * cells(tree.size)) for part, count in tree.parts)
    return float(own) + sum(_work(part, faulty) for part, _ in tree.parts)


def _upper(tree: Tree, n: int, faulty: tuple[int, ...], bad: BadSet, breakdown: Callable[[int], int]) -> float:
    """P(a node is bad) <= sum of its parts' probabilities / (breakdown + 1): Markov, level by level."""
    if not tree.parts:
        held = np.nonzero(bad(tree.size)[tuple(slice(0, count + 1) for count in faulty)])
        xs = [axis.astype(np.float64) for axis in held]
        return min(1.0, math.exp(log_hypergeometric_sum(xs, n, faulty, tree.size)))
    most = breakdown(tree.width)
    if most < 0:
        return 1.0
    total = sum(count * _upper(part, n, faulty, bad, breakdown) for part, count in tree.parts)
    return min(1.0, total / (most + 1))


def leaves_to_break(tree: Tree, breakdown: Callable[[int], int]) -> tuple[int, int]:
    """Return the fewest bad clusters that make the root bad, and the most with which it can still be fine (-1: none).

    Guarantees:
        Whatever the clusters, the root is fine with fewer, and bad with more.
    """

    @cache
    def fewest(node: Tree) -> int:
        needed, total = (breakdown(node.width) + 1, 0) if node.parts else (0, 1)
        for price, count in sorted((fewest(part), count) for part, count in node.parts):
            taken = min(count, needed)
            total, needed = total + taken * price, needed - taken
        return total if needed <= 0 else 2**62

    @cache
    def leaves(node: Tree) -> int:
        return sum(count * leaves(part) for part, count in node.parts) if node.parts else 1

    @cache
    def most_fine(node: Tree) -> int:
        if not node.parts:
            return 0
        spare = breakdown(node.width)
        held, gains = 0, list[tuple[int, int]]()
        for part, count in node.parts:
            within = most_fine(part)
            if within < 0:  # bad whatever it holds
                held, spare = held + count * leaves(part), spare - count
            else:
                held += count * within
                gains.append((leaves(part) - within, count))
        if spare < 0:
            return -1
        for gain, count in sorted(gains, reverse=True):
            taken = min(spare, count)
            held, spare = held + taken * gain, spare - taken
        return held

    return fewest(tree), most_fine(tree)


def hierarchy_tolerates(tree: Tree, *, least: Callable[[int], int], breakdown: Callable[[int], int]) -> int:
    """Return the most faulty processes that no placement turns into a bad root; least(c) break a cluster of c.

    Guarantees:
        With clusters that survive a_1, groups a_2, .. it is (a_1 + 1)(a_2 + 1) .. - 1.
    Source: design notes 2.3: the adversary breaks the cheapest parts, level by level.
    """

    @cache
    def cost(node: Tree) -> int:
        if not node.parts:
            return least(node.size)
        needed = breakdown(node.width) + 1
        total = 0
        for price, count in sorted((cost(part), count) for part, count in node.parts):
            taken = min(count, needed)
            total, needed = total + taken * price, needed - taken
        return total if needed <= 0 else 2**62

    return min(cost(tree) - 1, tree.size)
