"""The sheet of each figure: how many panels, how large, with room for which labels and legends."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.report.layout import LINE, Sheet, Spot, break_label, fit, flow, lines, text_width
from bench.report.study import Study, telling_attacks
from bench.report.wording import plural, shown

__all__ = ["Plan", "curve_plan", "exchange_plan", "heat_plan", "privacy_plan", "time_plan"]

MOST_COLUMNS = 4


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A sheet with the labels that stand on it.

    `above` are the titles of columns or panels, `beside` those of lines, `below` the ticks of a heat map; `legends`
    are the groups of the legend, `spots` their places.
    """

    sheet: Sheet
    above: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    below: tuple[str, ...] = ()
    legends: tuple[tuple[str, ...], ...] = ()
    spots: tuple[Spot, ...] = ()


def _broken(axis: str, names: Sequence[str], width: float) -> tuple[str, ...]:
    return tuple(break_label(shown(axis, name), width) for name in names)


def _title_room(above: Sequence[str]) -> float:
    return lines(above) * LINE + 0.1


def _with_legends(plan: Plan) -> Plan:
    """Return the plan with its legends set into the sheet's width and the room they take."""
    spots, height = flow(plan.legends, plan.sheet.size[0] - plan.sheet.left)
    return replace(plan, sheet=replace(plan.sheet, legend=height), spots=tuple(spots))


def heat_plan(found: Study) -> Plan:
    """Return the plan of the heat map: one panel for each privacy mode, attacks beside, clusterings below."""
    count = len(found.clusterings)
    beside = _broken("attack", found.attacks, 1.9)
    columns = min(len(found.privacies), max(1, int(10.6 / max(count * 0.68, 1.5))))
    cell = min(max(10.2 / (columns * count), 0.62), 1.05)
    below = _broken("clustering", found.clusterings, cell)
    above = _broken("privacy", found.privacies, max(cell * count, 1.5))
    top, bottom = _title_room(above), lines(below) * LINE + 0.14
    sheet = fit(
        titles=found.blocks,
        columns=[min(columns, len(found.within(block, "privacy"))) for block in found.blocks],
        rows=math.ceil(len(found.privacies) / columns),
        width=(max(count * 0.62, 1.5), max(count * 1.05, 1.5)),
        height=len(beside) * max(0.44, lines(beside) * LINE + 0.08),
        gap=(0.18, top + bottom),
        margins=(text_width(beside) + 0.15, 0.12, top, bottom),
    )
    # On a narrow sheet, the notes stand below the colour scale.
    legend = 0.52 if sheet.size[0] > 8.4 else 0.8
    return Plan(sheet=replace(sheet, legend=legend), above=above, beside=beside, below=below)


def curve_plan(found: Study) -> Plan:
    """Return the plan of the learning curves: clusterings across, privacy modes down."""
    above = _broken("clustering", found.clusterings, 1.5)
    told = telling_attacks(found)
    others = len(found.attacks) - len(told)
    names = [shown("attack", name) for name in told]
    legends = ((*names, plural(others, "other attack")) if others else tuple(names),)
    beside = _broken("privacy", found.privacies, 1.25)
    sheet = fit(
        titles=found.blocks,
        columns=[len(found.within(block, "clustering")) for block in found.blocks],
        rows=len(found.privacies),
        width=(1.5, 3.2),
        height=1.2,
        gap=(0.24, 0.16),
        margins=(0.6, lines(beside) * LINE + 0.15, _title_room(above), 0.5),
    )
    return _with_legends(Plan(sheet=sheet, above=above, beside=beside, legends=legends))


def exchange_plan(found: Study) -> Plan:
    """Return the plan of accuracy by communication: one panel for each privacy mode."""
    columns = min(len(found.privacies), MOST_COLUMNS)
    above = _broken("privacy", found.privacies, 2.6)
    groups = (
        tuple(shown("clustering", name) for name in found.clusterings),
        found.blocks if any(found.blocks) else (),
        ("without attack", "under the worst attack"),
    )
    legends = tuple(group for group in groups if group)
    sheet = fit(
        titles=("",),
        columns=[columns],
        rows=math.ceil(len(found.privacies) / columns),
        width=(2.4, 3.6),
        height=2.5,
        gap=(0.2, _title_room(above) + 0.5),
        margins=(0.6, 0.15, _title_room(above), 0.5),
    )
    return _with_legends(Plan(sheet=sheet, above=above, legends=legends))


def time_plan(blocks: Sequence[str], lines: Sequence[tuple[str, str]]) -> Plan:
    """Return the plan of the run time: one panel for each block, one bar for each line (clustering, privacy)."""
    legends = (("local training", "secure sum (MPC)", "everything else"),)
    names = text_width(shown("clustering", name) for name, _ in lines)
    modes = text_width(shown("privacy", name) for _, name in lines)
    sheet = fit(
        titles=blocks,
        columns=[1] * len(blocks),
        rows=1,
        width=(3.2, 7.0),
        height=len(lines) * 0.25 + 0.1,
        gap=(0.2, 0.3),
        margins=(0.92 * (names + modes) + 0.4, 0.3, 0.05, 0.5),
    )
    return _with_legends(Plan(sheet=sheet, legends=legends))


def privacy_plan(found: Study, mechanisms: Sequence[str]) -> Plan:
    """Return the plan of accuracy by epsilon: clusterings across."""
    above = _broken("clustering", found.clusterings, 1.9)
    legends = (
        tuple(shown("attack", name) for name in found.attacks),
        tuple(shown("privacy", name) for name in mechanisms),
    )
    sheet = fit(
        titles=found.blocks,
        columns=[len(found.within(block, "clustering")) for block in found.blocks],
        rows=1,
        width=(2.0, 3.7),
        height=1.8,
        gap=(0.2, 0.2),
        margins=(0.6, 0.15, _title_room(above), 0.5),
    )
    return _with_legends(Plan(sheet=sheet, above=above, legends=legends))
