"""Exhaustive exploration of the schedules of a small run: every order of arrivals, by running the run again and again.

Stateless model checking, depth first: a schedule's choices are a list of small integers (protocols.testing.arrivals);
a run takes the choices of a prefix and then the first ones, and each choice that it could have made differently on the
way is the end of another prefix. Two reductions keep that small.

One receiver at a time. What happens at two parties commutes, as parties share nothing but messages: only the order of
arrivals at one of them matters, and the order in which deadlines pass that are due at the same time. So for each party
in turn, the focus, all others get what was sent to them and run on until only messages to the focus are on their way:
all that can possibly arrive there next. Every order of those is explored, with every order of deadlines.

States met again. Two prefixes are continued once where they lead to the same state: each party has read and sent the
same in the same order, waits for the same, and what it has not read yet has arrived in the same order.

Where all explored runs are alike, in that each party reads and sends the same from its first message to its last
wherever deadlines pass in the same order, this is exhaustive: every fair schedule, of all parties at once, is like
one of them. For take any schedule and the first step in it at which some party P does something else than in the
explored runs with the same deadlines so far. Up to there all parties have sent what they send in those, and whatever
has arrived at P was sent without any arrival at P that came after it; so it is on its way in time in the exploration
whose focus is P, which tries that order, and P does the same there. Deadlines pass only where all wait and nothing is
on its way, a state that the order of arrivals since the deadline before has no part in, and every order of those that
are due together is tried.

Not explored: messages that come too late, but for those that a fault delays (a late message is a fault, see
protocols.faults); a party that does not depend on messages alone (memory or clocks that it shares with others); one
that remembers in which order messages arrived, says and reads nothing else because of it for a while, and acts upon it
later on, if its states are met again in between. Where runs are not alike: orders at several parties at once.

Source: Flanagan and Godefroid 2005, Dynamic partial-order reduction for model checking software, POPL; Kahn 1974, The
semantics of a simple language for parallel programming, IFIP (what parties compute that wait for one named sender);
Godefroid 1997, Model checking for programming languages using VeriSoft, POPL (stateless search).
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from protocols import check
from protocols.testing.arrivals import EVERYBODY, Order

__all__ = ["Exploration", "explore"]


@dataclass(frozen=True, kw_only=True)
class Exploration:
    """How many schedules were run, how many were left when the bound was reached, and whether runs were alike."""

    schedules: int
    left: int
    alike: bool

    @property
    def exhaustive(self) -> bool:
        """Whether every fair schedule ends as one of those that were run."""
        return self.alike and not self.left


def explore(
    run: Callable[[Order], None],
    *,
    parties: Collection[int],
    most: int,
    contents: bool = True,
    reduced: bool = True,
) -> Exploration:
    """Run every schedule, `most` at most; `parties` are the ranks, the board's among them.

    `run` makes links from the order that it is given, runs, and raises where the run is not as it should be.
    `contents`: see Order. Without `reduced` every choice is a branch, and no state is met again: for few messages.

    Guarantees:
        Where it is exhaustive, every fair schedule is like one that was run.
        Where the bound cuts it, or runs differ, it is not exhaustive.

    Raises: CloisterError where `most` is below 1.
    """
    check.integer_at_least(1, most=most)
    seen: set[bytes] = set()
    read: dict[tuple[int, ...], tuple[bytes, ...]] = {}
    alike = True
    foci = sorted(parties) if reduced else [EVERYBODY]
    waiting: list[tuple[int, tuple[int, ...]]] = [(focus, ()) for focus in reversed(foci)]
    schedules = 0
    while waiting and schedules < most:
        focus, prefix = waiting.pop()
        order = Order(prefix, focus=focus, contents=contents)
        run(order)
        schedules += 1
        alike = alike and order.read == read.setdefault(order.deadlines, order.read)
        waiting += [(focus, each) for each in reversed(_branches(order, len(prefix), seen, reduced))]
    return Exploration(schedules=schedules, left=len(waiting), alike=alike)


def _branches(order: Order, start: int, seen: set[bytes], reduced: bool) -> list[tuple[int, ...]]:
    """Return the prefixes that branch off a run after its own prefix, up to a state that was met before."""
    found: list[tuple[int, ...]] = []
    taken = tuple(point.taken for point in order.points)
    for place, point in enumerate(order.points[start:], start):
        if len(point.branches) == 1:
            continue
        if reduced and point.state in seen:
            break
        seen.add(point.state)
        found += [(*taken[:place], other) for other in point.branches if other != point.taken]
    return found
