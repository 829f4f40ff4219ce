"""The answer in words: a few lines for people, or a table over sizes."""

from collections.abc import Mapping

import numpy as np
from rich.table import Table

from bench.tolerance.answer import Answer
from protocols.tolerance._predicates import any_colluding, opens_the_last
from protocols.tolerance.conditions import Conditions
from protocols.tolerance.hidden import Delegates, sums_shown
from protocols.tolerance.parts import Groups, clusters_of
from protocols.tolerance.solve import Probability

__all__ = ["between", "describe", "shown", "tabulate", "threshold_words"]


def shown(probability: float) -> str:
    """Return a probability for people."""
    if probability == 0:
        return "0 (or below 1e-300)"
    # 1 - 2e-8 must not read as certainty; beyond nine digits no engine vouches for the difference.
    if 1 - 1e-9 < probability < 1:
        return "above 1 - 1e-9"
    return f"1 - {1 - probability:.3g}" if 0.999 < probability < 1 else f"{probability:.6g}"


def between(probability: Probability) -> str:
    """Return a probability for people, or both of its bounds where it is not known exactly."""
    if probability.engine != "bounds":
        return shown(probability.value)
    return f"between {shown(probability.lower)} and {shown(probability.upper)}"


def threshold_words(conditions: Conditions) -> str:
    """Return the threshold, and how many must pass or be honest for a sum, where the protocol has such parameters."""
    threshold = f", threshold {conditions.threshold}" if conditions.threshold else ""
    threshold += f", least honest {conditions.least_honest}" if conditions.least_honest else ""
    return threshold + (f", least passing {conditions.least_passing}" if conditions.least_passing else "")


def _sizes_words(groups: Groups) -> str:
    sizes = " and ".join(f"{count} of {size}" for size, count in groups)
    m = clusters_of(groups)
    return f"{m} cluster{'s' if m > 1 else ''} ({sizes})"


def describe(answer: Answer) -> list[str]:
    """Return a few lines for people: the design, the three sides with reasons, the worst case, the best size."""
    asked, found = answer.question, answer.analysis
    faults = asked.faults
    kinds = {"Byzantine": faults.byzantine, "crashed": faults.crashed, "curious": faults.curious}
    who = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count) or "none faulty"
    processes = f"{faults.n} process{'es' if faults.n > 1 else ''}"
    scheme = asked.conditions
    threshold = threshold_words(scheme)
    if asked.delegates is not None:
        threshold = f", {asked.delegates.count} delegates with threshold {asked.delegates.threshold}"
        threshold += ", inputs checked" if asked.delegates.checked else ""
    lines = [
        f"{processes}, {who}{_placement_words(answer)}; {_sizes_words(answer.groups)}, {asked.policy}; "
        f"{scheme.protocol} ({scheme.mode}{threshold}); {asked.rule_name}",
        f"private  fails with probability {between(found.private)}: {_why_private(answer)}{_why_bounds(found.private)}",
        f"correct  fails with probability {between(found.correct)}: {_why_correct(answer)}{_why_bounds(found.correct)}",
        f"live     fails with probability {between(found.live)}: {_why_live(answer)}{_why_bounds(found.live)}",
        f"any      fails with probability {between(found.fail)} (union bound {found.union_bound:.6g}); "
        f"{_verdict(answer)}",
        _worst_words(answer),
        _best_words(answer),
    ]
    return [*lines[:5], *_rounds_words(answer), *lines[5:], *_design_words(answer)]


def _placement_words(answer: Answer) -> str:
    asked = answer.question
    setting = asked.setting(answer.groups)
    words = {
        "uniform": "",
        "iid": ", each Byzantine independently",
        "packed": ", packed into clusters",
        "spread": ", spread over clusters",
        "worst": ", placed by the adversary",
        "targeted": f", {setting.moves} of them aimed after the draw",
        "by_domain": f", {setting.failing_words} of {setting.domains} failure domains together",
        "heterogeneous": ", on average: each with a probability of its own",
    }
    return words[asked.placement]


def _rounds_words(answer: Answer) -> list[str]:
    asked = answer.question
    if asked.rounds is None:
        return []
    low, high = answer.over_rounds or (0.0, 1.0)
    chance = shown(high) if low == high else f"between {shown(low)} and {shown(high)}"
    why = "" if low == high else f" (bounds only, because {answer.over_rounds_because})"
    lines = [f"over {asked.rounds} rounds, clusters {asked.known.rounds_words}: {chance}{why}"]
    disclosed, identified = answer.rounds_until_disclosed, answer.rounds_until_identified
    if disclosed is not None:
        lines.append(
            f"static updates are disclosed by the sums of {disclosed} drawings"
            + (f"; tainted clusters give all Byzantine processes away after {identified}" if identified else "")
        )
    return lines


def _design_words(answer: Answer) -> list[str]:
    found = answer.designs
    if found is None:
        return []
    sizes = found.window
    if sizes.sizes:
        window = f"{sizes.sizes[0]} to {sizes.sizes[-1]}"
    else:
        window = f"empty: private from {sizes.private or 'no size'} on, correct up to {sizes.correct or 'no size'}"
    lines = [
        f"at the target {found.target:g}: window of sizes {window}; at most {found.largest_faulty} Byzantine "
        f"processes with these clusters"
    ]
    for what, option in (("with this protocol", found.cheapest), ("with any", found.cheapest_any)):
        shown = (
            f"{option.protocol}, size {option.size}, {option.price.wire_bytes_per_process / 1e3:.4g} kB a process and "
            f"sum, {option.price.rounds} rounds, {option.price.comparisons:,} comparisons"
            if option
            else "none meets the target"
        )
        lines.append(f"cheapest {what}: {shown}")
    return lines


def _why_private(answer: Answer) -> str:
    conditions, size, delegates = answer.question.conditions, answer.groups[0][0], answer.question.delegates
    if delegates is not None:
        return _why_hidden(answer, delegates)
    if conditions.protocol == "plaintext":
        return "every update is sent in the clear"
    if conditions.scheme.private is any_colluding:
        return f"one colluding member of a cluster of {size}, who departs from the protocol, opens any update of it"
    if conditions.scheme.private is not opens_the_last:
        return _why_shared(answer)
    if not conditions.revealed:
        return "cluster sums stay shared, and no proper part of the members learns anything"
    return f"{size - 1} colluding members of a cluster of {size} subtract themselves from its sum"


def _why_shared(answer: Answer) -> str:
    conditions, size = answer.question.conditions, answer.groups[0][0]
    if bool(conditions.exposed(size, np.array([0]), np.array([0]))[0]):
        return "what a cluster opens may be the update of one member alone"
    crashed = answer.question.faults.crashed
    worst, calm = (_least_exposed(conditions, size, most) for most in (crashed, 0))
    also = "" if worst == calm else f", or {worst} once enough others have crashed"
    return f"{calm} colluding members of a cluster of {size} open its updates{also}"


def _why_hidden(answer: Answer, delegates: Delegates) -> str:
    chance = shown(sums_shown(answer.question.faults, delegates))
    serving = f"{delegates.count}" if delegates.committees == 1 else f"{delegates.committees} x {delegates.count}"
    if delegates.checked:
        left = "; members whose inputs do not pass may leave one alone in the mean" if delegates.chooses else ""
        return (
            f"{delegates.withstood + 1} or more colluding delegates of {serving} know all inputs "
            f"(with probability {chance}), which are checked one by one{left}"
        )
    alone = "an update is a sum" if answer.groups[0][0] == 1 else "a cluster has one other member"
    return (
        f"{delegates.withstood + 1} or more colluding delegates of {serving} know all sums "
        f"(with probability {chance}), and {alone}"
    )


def _least_exposed(conditions: Conditions, size: int, crashed: int) -> str:
    bad = np.flatnonzero(conditions.most_exposed(size, np.arange(size + 1), crashed))
    return f"{int(bad[0])} or more" if len(bad) else "no number of"


def _why_correct(answer: Answer) -> str:
    m, most = clusters_of(answer.groups), answer.tolerate
    if most < 0:
        return f"{answer.question.rule_name} is not defined for {m} clusters"
    if (
        answer.question.delegates is not None
        and answer.question.delegates.deviating
        and answer.question.faults.byzantine
    ):
        if answer.question.delegates.committees > 1:
            failed = "tainted or lost" if answer.question.faults.crashed else "tainted"
            return f"it takes a lying delegate in each committee, or too many {failed} clusters; else the round stops"
        return "a member who departs from the protocol changes or stops the result"
    return f"{answer.question.rule_name} withstands {most} of {m} clusters {_tainted_words(answer)}"


def _tainted_words(answer: Answer) -> str:
    conditions, size = answer.question.conditions, answer.groups[0][0]
    count = np.arange(size + 1)
    bad = np.flatnonzero(conditions.tainted(size, count, np.zeros_like(count)))
    if not len(bad):
        return "lost"
    if bad[0] == 1:
        return "with a Byzantine member or lost"
    return f"with {int(bad[0])} or more Byzantine members of {size}, or lost"


def _why_live(answer: Answer) -> str:
    m, most = clusters_of(answer.groups), answer.tolerate
    if answer.question.delegates is not None:
        if answer.question.delegates.deviating and answer.question.faults.byzantine:
            return "a member who departs from the protocol stops it"
        most = min(most, answer.question.delegates.spare(answer.groups))
        if answer.question.delegates.checked:
            least = answer.question.delegates.least(answer.groups)
            return (
                f"fewer than {m - max(most, 0)} of {m} clusters deliver, or Byzantine members, whose inputs need not "
                f"pass, leave fewer than {least}"
            )
    return f"fewer than {m - max(most, 0)} of {m} clusters deliver{_withheld_words(answer)}"


def _withheld_words(answer: Answer) -> str:
    """How many inputs a sum must have, where the protocol withholds those of fewer."""
    conditions, size = answer.question.conditions, answer.groups[0][0]
    if conditions.least_passing > 1:
        return f", each with at least {conditions.least_passing} of {size} members whose inputs pass"
    if not conditions.least_honest or conditions.scheme.threshold is None:
        return ""
    crashes = np.arange(size + 1)
    delivers = crashes[~conditions.lost(size, np.zeros_like(crashes), crashes)]
    if not len(delivers):
        needed = conditions.scheme.colluding(size, conditions.threshold_at(size)) + conditions.least_honest
        return f", and none can: its sum would need {needed} inputs of {size} members"
    return f", each the sum of at least {size - int(delivers.max())} inputs of {size}"


def _verdict(answer: Answer) -> str:
    target, fail = answer.question.target, answer.analysis.fail
    bounds = f"; bounds only, because {fail.because}" if fail.engine == "bounds" else ""
    if target is not None:
        missed = "missed" if fail.lower > target else "met by the lower bound only"
        return f"the target {target:g} is {'met' if fail.upper <= target else missed}{bounds}"
    return bounds.removeprefix("; ") or _how(fail.engine)


def _why_bounds(probability: Probability) -> str:
    return f" (bounds only, because {probability.because})" if probability.engine == "bounds" else ""


def _how(engine: str) -> str:
    return "the same for every placement" if engine == "certain" else f"exact, by the {engine}"


def _worst_words(answer: Answer) -> str:
    worst = answer.worst
    if worst.all < 0:
        return f"worst case: not even without Byzantine processes; {_who_arranges(answer)}"
    return (
        f"worst case: up to {worst.all} Byzantine processes wherever they sit (private {worst.private}, "
        f"correct {worst.correct}, live {worst.live}); {_who_arranges(answer)}"
    )


def _who_arranges(answer: Answer) -> str:
    if answer.question.moves:
        return "those who move after the draw arrange what they can of it"
    return answer.question.known.words


def _best_words(answer: Answer) -> str:
    best, target = answer.best, answer.question.target
    if best is None:
        return "best size: not searched under this placement; --cluster-size with a range shows sizes side by side"
    if best.size is None:
        return "best size: none; at this many faults every cluster size fails almost surely"
    if target is not None and best.fail > target:
        return f"best size: {best.size}, failing with {shown(best.fail)}; no size meets the target {target:g}"
    return f"best size: {best.size}, failing with {shown(best.fail)}"


def _in_short(side: Probability) -> str:
    return f"{side.lower:.3g} to {side.upper:.3g}" if side.engine == "bounds" else f"{side.value:.3g}"


def tabulate(found: list[Answer], refused: Mapping[int, str]) -> Table:
    """Return one line for each cluster size; of those that the protocol refuses it has the reason."""
    table = Table("size", "clusters", "private", "correct", "live", "any", "worst case")
    answers = iter(found)
    for size in found[0].question.sizes:
        if size in refused:
            table.add_row(str(size), "refused")
            continue
        answer = next(answers)
        sides = answer.analysis
        shown = [_in_short(side) for side in (sides.private, sides.correct, sides.live, sides.fail)]
        table.add_row(str(size), str(clusters_of(answer.groups)), *shown, str(answer.worst.all))
    if refused:
        size, reason = next(iter(refused.items()))
        table.caption = f"{size} is refused: {reason}"
    return table
