"""Cluster sums that stay hidden among delegates: which placements, and which draws of delegates, break what.

The members of a cluster share with all of it (n of n); `Delegates.count` of the clusters, drawn uniformly, each send a
member, drawn uniformly, to hold all cluster sums with a threshold. A coalition learns an update where both give way, so
the weaker of the two counts: more delegates than the threshold collude, who then know all sums, and some cluster has
one member outside the coalition. Byzantine members choose their inputs and follow the protocol; where they deviate, one
delegate is enough to show a cluster's sum, and any of them changes or stops the result. Of two committees of delegates
that compare their results, one in each is needed to change it. Nobody learns by crashing: a cluster with a crashed
member is left out before an input of it is sent.

Where inputs are checked these are shared among the delegates one by one: more of them than the threshold know all
inputs, however large clusters are. A Byzantine member may have its cluster left out, by an input that does not pass: of
fewer clusters than delegates nothing opens, and of a mean it chooses which clusters it is of. Of two committees that
check them any colluding delegate of either knows all inputs, and one of each has to lie to change the result.
"""

from protocols.tolerance.analysis import Analysis, Faults, analyse, correct_failure
from protocols.tolerance.compared import wrong_result
from protocols.tolerance.conditions import Conditions
from protocols.tolerance.delegates import Delegates
from protocols.tolerance.hidden_private import private_hidden, sums_shown
from protocols.tolerance.hidden_states import MOST_WORK, states, states_work
from protocols.tolerance.parts import Groups
from protocols.tolerance.solve import Probability, bounds_on
from protocols.tolerance.tallies import Tally, tally
from protocols.tolerance.worst import WorstCase, worst_case

__all__ = ["Delegates", "hidden_bound", "hidden_sides", "hidden_worst", "private_hidden", "sums_shown"]

_APART = "delegates, lost and tainted clusters are too many to count together"


def hidden_sides(
    faults: Faults, groups: Groups, conditions: Conditions, delegates: Delegates, tolerate: int
) -> Analysis:
    """Return the four probabilities, over uniform placements and draws of delegates; see analysis.analyse.

    `conditions` are those of a cluster alone. An outer mean tells the last honest update to all others, who know it
    from their delegates anyway. Where inputs are checked, Byzantine members may stop a round whose result would be
    right: then live may be above correct, and fail counts it as well. Where two committees deviate, correct is that no
    wrong result is taken over, and that enough clusters are complete to draw them; any liar may stop the round.

    Guarantees:
        Equal to counting all placements and all draws of delegates, one by one, or bounds around it.
    """
    delegates.check(groups)
    private = private_hidden(faults, groups, delegates)
    if tolerate < 0 or (delegates.deviating and faults.byzantine):
        sure = Probability.exact(1.0, "certain")
        lying = tolerate >= 0 and delegates.committees > 1
        correct = wrong_result(faults, groups, conditions, delegates, tolerate) if lying else sure
        return Analysis(private=private, correct=correct, live=sure, fail=sure, union_bound=1.0)
    together = _together(faults, groups, delegates, tolerate)
    correct, live = _delivered(faults, groups, conditions, delegates, tolerate, together)
    harmed = live if delegates.checked and delegates.spare(groups) < tolerate else correct
    fail = _fail(faults, groups, delegates, tolerate, (private, harmed), together)
    return Analysis(
        private=private,
        correct=correct,
        live=live,
        fail=fail,
        union_bound=max(fail.upper, min(1.0, private.upper + harmed.upper)),
    )


def _together(faults: Faults, groups: Groups, delegates: Delegates, tolerate: int) -> Tally | None:
    """Return what counts all sides together, where they depend on more than one kind of fault or on a check."""
    if not (faults.crashed or faults.curious or delegates.checked):
        return None
    most = max(tolerate, delegates.spare(groups)) if delegates.checked else tolerate
    return tally(faults, groups, delegates, most=most)


def _delivered(  # noqa: PLR0917 - what all sides have
    faults: Faults, groups: Groups, conditions: Conditions, delegates: Delegates, tolerate: int, together: Tally | None
) -> tuple[Probability, Probability]:
    """Return the correct and the live side: too many tainted or lost clusters, or too few that are left to serve."""
    base, spare = analyse(faults, groups, conditions, tolerate), delegates.spare(groups)
    correct, live = base.correct, base.live
    fewer = analyse(faults, groups, conditions, spare) if spare < tolerate else base
    if faults.crashed and spare < tolerate:
        live = fewer.live
        correct = (
            _exact(together.probability(lambda lost, _, failed: (failed > tolerate) | (lost > spare)))
            if together
            else bounds_on(
                max(correct.lower, live.lower), min(fewer.correct.upper, correct.upper + live.upper), because=_APART
            )
        )
    if not delegates.checked:
        return correct, live
    # Byzantine members may have their clusters left out as well.
    stopped = correct_failure(faults, groups, conditions, spare)
    if spare <= tolerate or not faults.crashed:
        return correct, stopped
    if together:
        return correct, _exact(together.probability(lambda lost, _, failed: (lost > tolerate) | (failed > spare)))
    return correct, bounds_on(max(stopped.lower, live.lower), stopped.upper + live.upper, because=_APART)


def _exact(value: float) -> Probability:
    return Probability.exact(value, "recursion")


def _fail(  # noqa: PLR0917 - what all sides have
    faults: Faults,
    groups: Groups,
    delegates: Delegates,
    tolerate: int,
    sides: tuple[Probability, Probability],
    together: Tally | None,
) -> Probability:
    private, harmed = sides
    if private.upper == 0.0 or harmed.lower == 1.0:
        return harmed
    if harmed.upper == 0.0 or private.lower == 1.0:
        return private
    spare = delegates.spare(groups)
    most = min(tolerate, spare) if delegates.checked else tolerate
    if together:
        return _exact(together.probability(lambda lost, known, failed: known | (failed > most) | (lost > spare)))
    apart = faults.crashed or faults.curious or delegates.checked
    if apart or states_work(faults.colluding, groups, delegates, tolerate + 2) > MOST_WORK:
        why = private.because or harmed.because or _APART
        return bounds_on(max(private.lower, harmed.lower), private.upper + harmed.upper, because=why)
    found = states(faults.byzantine, faults.n, groups, delegates, most=min(tolerate, faults.byzantine))
    return _exact(min(1.0, float(found[1, 1].sum() + found[0, :, -1].sum() + found[1, 0, -1])))


def hidden_bound(faults: Faults, groups: Groups, conditions: Conditions, delegates: Delegates, tolerate: int) -> float:
    """Return an upper bound on the failure of hidden_sides: the sum of two sides, which are cheap to compute."""
    delegates.check(groups)
    if tolerate < 0 or (delegates.deviating and faults.byzantine):
        return 1.0
    left_out = faults.crashed or delegates.checked
    spare = min(tolerate, delegates.spare(groups)) if left_out else tolerate
    private = private_hidden(faults, groups, delegates)
    return min(1.0, private.upper + analyse(faults, groups, conditions, spare).correct.upper)


def hidden_worst(
    faults: Faults, groups: Groups, conditions: Conditions, delegates: Delegates, tolerate: int
) -> WorstCase:
    """Return the most Byzantine processes tolerated wherever they, the crashed and the curious are, whoever serves.

    Guarantees:
        Equal to trying every placement and every draw.
    """
    delegates.check(groups)
    found = worst_case(groups, conditions, tolerate, crashed=faults.crashed, curious=faults.curious)
    free = faults.n - faults.crashed - faults.curious
    # All but one of the smallest cluster, one of whom serves, with enough others who do; of one member, they alone.
    # Where inputs are checked, the delegates alone: what a mean of fewer clusters tells takes more members than that.
    exposing = (1 if delegates.checked else max(groups[0][0] - 1, 1)) + delegates.withstood
    spare = delegates.spare(groups) - faults.crashed
    stopped = min(found.live, spare) if delegates.checked else found.live
    stopped = -1 if spare < 0 else stopped
    correct = -1 if stopped < 0 else found.correct
    if delegates.deviating:
        correct, stopped = min(correct, delegates.committees - 1), min(stopped, 0)
    return WorstCase(private=max(-1, min(free, exposing - faults.curious - 1)), correct=correct, live=stopped)
