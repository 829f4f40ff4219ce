"""Clusters in groups in groups: a group is bad when more of its parts are than it withstands, up to the whole."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

from protocols import check
from protocols.check import CloisterError
from protocols.tolerance.binomial import Floats, log_total
from protocols.tolerance.laws import Event, OneKind, Uniform
from protocols.tolerance.parts import log_weights, parts_of
from protocols.tolerance.solve import Probability, bounds_on
from protocols.tolerance.union import any_bad_bounds
from protocols.types import balanced_sizes

__all__ = ["Tree", "hierarchy_fails", "hierarchy_tolerates", "tree_of"]

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


class _Weights(NamedTuple):
    """Placements of x = 0, 1, .. faulty in a part that is fine, or bad (times exp(scale))."""

    fine: Floats
    bad: Floats
    scale: float


def hierarchy_fails(tree: Tree, *, faulty: int, bad: OneKind, breakdown: Callable[[int], int]) -> Probability:
    """Return P(the root is bad): more of its parts are than breakdown(parts), and so on down to bad clusters.

    Faults are uniform. Exact by the recursion over levels, with additions of non-negative terms only, for trees of a
    few thousand processes; beyond, the bound of the best single level (engine "bounds").

    Guarantees:
        Equal to counting every placement; with one level, to the tail of the number of bad clusters.
    Source: design notes 2.5, two-level recursion.
    """
    n = tree.size
    if faulty > n:
        raise CloisterError(f"faulty = {faulty} is more than n = {n} processes; allowed: 0 to {n}")
    if all(not part.parts for part, _ in tree.parts):
        groups = tuple((part.size, count) for part, count in tree.parts) or ((n, 1),)
        most = breakdown(tree.width) if tree.parts else 0
        return Uniform(n=n, faulty=faulty, groups=groups).probability(Event(bad=bad, most=most))
    if _work(tree, faulty) > _MOST_WORK:
        return bounds_on(0.0, _upper(tree, n, faulty, bad, breakdown))

    @cache
    def weights(node: Tree) -> _Weights:
        if not node.parts:
            return _leaf(node.size, n, faulty, bad(node.size))
        return _grouped([(weights(part), count) for part, count in node.parts], breakdown(node.width), faulty)

    found = weights(tree)
    at = [float(side[faulty]) if faulty < len(side) else 0.0 for side in (found.bad, found.fine)]
    if at[0] == 0.0:
        return Probability.exact(0.0, "recursion")
    if at[1] == 0.0:
        return Probability.exact(1.0, "recursion")
    value = math.exp(min(0.0, math.log(at[0]) + found.scale - log_total(n, (faulty,))))
    return Probability.exact(value, "recursion")


def _work(tree: Tree, faulty: int) -> float:
    if not tree.parts:
        return 0.0
    # Every product costs some thousand additions more than those it makes.
    own = sum(
        count * (tree.width + 1) * (2000 + min(part.size, faulty) * min(tree.size, faulty))
        for part, count in tree.parts
    )
    return float(own) + sum(_work(part, faulty) for part, _ in tree.parts)


def _leaf(size: int, n: int, faulty: int, bad: np.ndarray) -> _Weights:
    logs = log_weights(size, n, (faulty,))[: faulty + 1]
    wrong = np.where(bad[: faulty + 1], logs, -np.inf)
    scale = float(wrong.max())
    fine = np.where(bad[: faulty + 1], 0.0, np.exp(logs))
    return _Weights(fine, np.exp(wrong - scale) if scale > -math.inf else np.zeros(len(logs)), max(scale, -1e9))


def _grouped(parts: Sequence[tuple[_Weights, int]], most: int, faulty: int) -> _Weights:
    """The weights of a group: rows[k] for k bad parts, the last row for more than `most`, each with its own scale."""
    last = max(most, -1) + 1
    rows: list[Floats] = [np.ones(1)] + [np.zeros(1) for _ in range(last)]
    scales = [0.0, *[-math.inf] * last]
    if last == 0:  # bad whatever its parts are
        rows, scales = [np.ones(1)], [0.0]
    for part, count in parts:
        for _ in range(count):
            rows, scales = _joined(rows, scales, part, last, faulty)
    fine = _total(list(zip(rows[:last], scales[:last], strict=True)))
    length = max(len(fine[0]), len(rows[last]))
    whole = np.zeros(length)
    whole[: len(fine[0])] = fine[0] * math.exp(fine[1]) if fine[1] > -math.inf else 0.0
    bad = np.zeros(length)
    bad[: len(rows[last])] = rows[last]
    return _Weights(whole, bad, scales[last] if scales[last] > -math.inf else -1e9)


def _joined(
    rows: list[Floats], scales: list[float], part: _Weights, last: int, faulty: int
) -> tuple[list[Floats], list[float]]:
    grown: list[Floats] = []
    sizes: list[float] = []
    for k in range(last + 1):
        terms: list[tuple[Floats, float]] = []
        if scales[k] > -math.inf:
            terms.append((np.convolve(rows[k], part.fine)[: faulty + 1], scales[k]))
        # More than enough stays more than enough.
        sources = [k - 1, k] if k == last else [k - 1]
        terms += [
            (np.convolve(rows[i], part.bad)[: faulty + 1], scales[i] + part.scale)
            for i in sources
            if i >= 0 and scales[i] > -math.inf and part.scale > -1e8
        ]
        row, scale = _total(terms)
        grown.append(row)
        sizes.append(scale)
    return grown, sizes


def _total(terms: Sequence[tuple[Floats, float]]) -> tuple[Floats, float]:
    """The sum of arrays with logarithmic scales, scaled to a largest entry of 1."""
    held = [(row, scale) for row, scale in terms if scale > -math.inf and row.max(initial=0.0) > 0]
    if not held:
        return np.zeros(1), -math.inf
    top = max(scale for _, scale in held)
    out = np.zeros(max(len(row) for row, _ in held))
    for row, scale in held:
        out[: len(row)] += row * math.exp(scale - top)
    most = float(out.max())
    return (out / most, top + math.log(most)) if most > 0 else (np.zeros(1), -math.inf)


def _upper(tree: Tree, n: int, faulty: int, bad: OneKind, breakdown: Callable[[int], int]) -> float:
    """P(a node is bad) <= sum of its parts' probabilities / (breakdown + 1): Markov, level by level."""
    if not tree.parts:
        # The rest stands for all other processes, of which nothing is asked.
        parts = parts_of(((tree.size, 1),), bad)
        rest = parts_of(((n - tree.size, 1),), lambda c: np.zeros(c + 1, dtype=np.bool_)) if n > tree.size else ()
        return min(1.0, any_bad_bounds((*parts, *rest), n, (faulty,)).upper)
    most = breakdown(tree.width)
    if most < 0:
        return 1.0
    total = sum(count * _upper(part, n, faulty, bad, breakdown) for part, count in tree.parts)
    return min(1.0, total / (most + 1))


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
