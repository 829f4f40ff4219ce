"""Domains that fail as a whole, swept in the order of the clusters that they touch, of which few are open at once."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.tolerance.binomial import Floats, log_binomial

__all__ = ["transferred"]

_MOST_STEPS = 200_000  # of the sweep without weights: below a second
_MOST_WORK = 4e8  # additions, about a second
Held = tuple[int, ...]
"""Faulty members of each open cluster."""
Soft = tuple[Floats, Floats]
"""How likely a cluster with x = 0, 1, .. faulty members is safe, and bad."""


@dataclass(frozen=True, kw_only=True)
class _Step:
    """One domain: what it adds to the open clusters, then which of these are complete.

    `opened`: how many clusters are new, after those open already. `closed`: (place among them, cluster).
    """

    row: Held
    opened: int
    closed: tuple[tuple[int, int], ...]

    def moved(self, held: Held, *, fails: bool) -> Held:
        """Return the faulty members of the open clusters after it, those that are complete among them."""
        grown = (*held, *[0] * self.opened)
        return tuple(x + y for x, y in zip(grown, self.row, strict=True)) if fails else grown

    def kept(self, held: Held) -> Held:
        """Return those of the clusters that stay open."""
        gone = {place for place, _ in self.closed}
        return tuple(x for place, x in enumerate(held) if place not in gone) if gone else held


def transferred(members: NDArray[np.int64], failing: int, soft: Sequence[Soft], most: int) -> float | None:
    """Return P(more than `most` clusters are bad and none is forbidden) where `failing` domains fail, uniformly drawn.

    members[d, j] counts the processes of domain d in cluster j, soft[j] says how likely cluster j is safe and bad with
    0, 1, .. faulty members. None where more clusters are open at once, in more ways, than a second suffices for.

    Guarantees:
        Equal to trying every choice of domains, to full relative accuracy down to 1e-300: only additions.
    """
    if not 0 < failing < len(members):
        held = members.sum(axis=0) if failing else np.zeros(members.shape[1], dtype=np.int64)
        weights = np.zeros((1, max(most, -1) + 2))
        weights[0, 0] = 1.0
        return float(_closed(weights, [_at(soft[j], x) for j, x in enumerate(held.tolist())])[0, -1])
    steps = _steps(members)
    cells = (failing + 1) * (max(most, -1) + 2)
    if _work(steps, cells) > _MOST_WORK:
        return None
    share = failing / len(members)
    start = np.zeros((failing + 1, max(most, -1) + 2))
    start[0, 0 if most >= 0 else -1] = 1.0
    # No step closes a cluster that no domain touches, which may be bad without a faulty member.
    start = _closed(start, [_at(soft[j], 0) for j in np.flatnonzero(~members.any(axis=0)).tolist()])
    states: dict[Held, Floats] = {(): start}
    for step in steps:
        states = _after(states, step, soft, share)
    whole = float(log_binomial(np.asarray(float(failing)), np.asarray(float(len(members))), share))
    return min(1.0, float(states.get((), start)[failing, -1]) / math.exp(whole))


def _steps(members: NDArray[np.int64]) -> list[_Step]:
    """The domains in the order of the first cluster that they touch, then of the last one."""
    first = np.argmax(members > 0, axis=1)
    final = members.shape[1] - np.argmax(members[:, ::-1] > 0, axis=1)
    rows = members[np.lexsort((final, first))]
    last = len(rows) - 1 - (rows > 0)[::-1].argmax(axis=0)
    steps: list[_Step] = []
    open_now: list[int] = []
    for place, row in enumerate(rows):
        there = np.flatnonzero(row).tolist()
        known = set(open_now)
        new = [j for j in there if j not in known]
        open_now = [*open_now, *new]
        closed = tuple((i, j) for i, j in enumerate(open_now) if last[j] == place)
        steps.append(_Step(row=tuple(row[open_now].tolist()), opened=len(new), closed=closed))
        gone = {j for _, j in closed}
        open_now = [j for j in open_now if j not in gone]
    return steps


def _work(steps: Sequence[_Step], cells: int) -> float:
    """The additions of the sweep: how many ways the open clusters can be at each step, without weights."""
    reached: set[Held] = {()}
    done = work = 0
    for step in steps:
        done += len(reached) * (len(step.row) + 1)
        if done > _MOST_STEPS:
            return math.inf
        after = {step.moved(held, fails=fails) for held in reached for fails in (False, True)}
        work += len(after) * (1 + len({step.row[place] for place, _ in step.closed})) * cells
        reached = {step.kept(held) for held in after}
    return float(work)


def _after(states: Mapping[Held, Floats], step: _Step, soft: Sequence[Soft], share: float) -> dict[Held, Floats]:
    moved: dict[Held, Floats] = {}
    for held, weights in states.items():
        for fails in (False, True):
            now = step.moved(held, fails=fails)
            term = np.zeros_like(weights)
            if fails:
                term[1:] = weights[:-1] * share
            else:
                term += weights * (1 - share)
            moved[now] = moved[now] + term if now in moved else term
    following: dict[Held, Floats] = {}
    for held, weights in moved.items():
        done = _closed(weights, [_at(soft[j], held[place]) for place, j in step.closed])
        kept = step.kept(held)
        following[kept] = following[kept] + done if kept in following else done
    return following


def _at(soft: Soft, x: int) -> tuple[float, float]:
    return float(soft[0][x]), float(soft[1][x])


def _closed(weights: Floats, shares: Sequence[tuple[float, float]]) -> Floats:
    """Weights by (failed domains, bad clusters) after more clusters; the last column is more than enough of them."""
    for safe, bad in sorted(set(shares)):
        many = shares.count((safe, bad))
        if bad == 0.0:
            weights = weights * safe**many
        elif safe == 0.0:
            weights = _shifted(weights, many) * bad**many
        else:
            for _ in range(many):
                weights = weights * safe + _shifted(weights, 1) * bad
    return weights


def _shifted(weights: Floats, by: int) -> Floats:
    out = np.zeros_like(weights)
    columns = weights.shape[1]
    if by < columns:
        out[:, by:] = weights[:, : columns - by]
    out[:, -1] = weights[:, max(0, columns - 1 - by) :].sum(axis=1)
    return out
