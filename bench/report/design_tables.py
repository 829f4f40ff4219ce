"""The tables that say which design to choose at which fault rate, and what each design came to."""

import math
from collections.abc import Sequence

from bench.report.designs import GOALS, Trials, chosen, fault_rates
from bench.report.tables import NONE, Cell, Table
from bench.report.wording import human_bytes, human_seconds, percent

__all__ = ["choices", "overview"]


def choices(found: Sequence[Trials]) -> Table:
    """Return a line for each fault rate and goal: the design to choose, what it keeps, what it costs."""
    lines = tuple(_choice(found, rate, goal) for rate in fault_rates(found) for goal in GOALS)
    names = ("Byzantine", "goal", "choose", "lowest mean accuracy\nunder attack", "sent per process\nand round")
    return Table(columns=(*names, "secure aggregation,\na round", "nearly as good, and cheaper"), lines=lines)


def _choice(found: Sequence[Trials], rate: float, goal: str) -> tuple[Cell, ...]:
    best, cheaper = chosen(found, rate, goal)
    first = (Cell(text=percent(rate), number=True), Cell(text=goal))
    if best is None:
        nothing = Cell(text=NONE, number=True)
        return (*first, Cell(text="none", note=_closest(found, rate, goal), tone="soft"), *[nothing] * 3, Cell(text=""))
    return (
        *first,
        Cell(text=best.design),
        Cell(text=percent(best.lowest), note=best.worst, number=True),
        *_costs(best),
        Cell(text="")
        if cheaper is None
        else Cell(text=cheaper.design, note=f"{percent(cheaper.lowest)}, {human_bytes(cheaper.sent)}"),
    )


def _closest(found: Sequence[Trials], rate: float, goal: str) -> str:
    here = [each for each in found if each.rate == rate and each.complete]
    if not here:
        return "no design finished every trial of this rate"
    best = max(here, key=lambda each: (each.safe[goal] / each.number, each.lowest))
    if not best.safe[goal]:
        return "no design was called safe in any trial"
    return f"closest: {best.design}, called safe in {best.safe[goal]} of {best.number} trials"


def _costs(each: Trials) -> tuple[Cell, Cell]:
    return (
        Cell(text=NONE if math.isnan(each.sent) else human_bytes(each.sent), number=True),
        Cell(text=NONE if math.isnan(each.seconds) else human_seconds(each.seconds), number=True),
    )


def overview(found: Sequence[Trials]) -> Table:
    """Return a line for each design: at each rate its lowest mean accuracy, the attack, and on what it was safe."""
    rates = fault_rates(found)
    lines: list[tuple[Cell, ...]] = []
    for design in dict.fromkeys(each.design for each in found):
        own = {each.rate: each for each in found if each.design == design}
        cells = [_outcome(own[rate]) if rate in own else Cell(text=NONE, number=True) for rate in rates]
        dearest = max(own.values(), key=lambda each: -1.0 if math.isnan(each.sent) else each.sent)
        lines.append((Cell(text=design), *cells, *_costs(dearest)))
    names = ("design", *(f"{percent(rate)} Byzantine:\nlowest mean accuracy" for rate in rates))
    return Table(columns=(*names, "sent per process\nand round", "secure aggregation,\na round"), lines=tuple(lines))


def _outcome(each: Trials) -> Cell:
    sides = ", ".join(_safe(each, goal) for goal in ("private", "correct") if each.safe[goal])
    parts = [each.worst] if each.worst else []
    # A mean of a good seed and a lost one reads like half of the accuracy.
    parts += [f"{percent(each.single)} in one trial"] if percent(each.single) != percent(each.lowest) else []
    parts += [f"{each.failed} of {each.number} failed"] if each.failed else []
    # Where trials failed, that is said already.
    parts += [] if each.complete or each.failed else ["not in all trials that others met"]
    text = f"{', '.join(parts)}; safe: {sides or 'on neither side'}"
    lowest = NONE if math.isnan(each.lowest) else percent(each.lowest)
    return Cell(text=lowest, note=text, number=True, tone="" if each.complete else "soft")


def _safe(each: Trials, goal: str) -> str:
    share = "" if each.safe[goal] == each.number else f" in {each.safe[goal]} of {each.number}"
    return f"{goal}{share}"
