"""What the figures of `bench tolerance` share: their sheets, axes of probabilities and sizes, and lines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from bench.report.layout import fit, flow
from bench.report.sheets import Plan
from bench.report.wording import log_ticks
from bench.tolerance.answer import Answer
from bench.tolerance.curves import Curve
from bench.tolerance.survey import Survey

__all__ = ["FLOOR", "WAYS", "Shown", "draw_line", "plan_of", "probability_axis", "size_axis"]

FLOOR = 1e-12
"""What is rarer is drawn at this value: no difference that anybody could see in a lifetime of rounds."""
WAYS: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (5, 1, 1, 1)), (0, (3, 1, 1, 1, 1, 1)))


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a figure is made of: the answers, and what was found around the first of them."""

    answers: Sequence[Answer]
    survey: Survey


def plan_of(
    *,
    columns: int,
    rows: int,
    height: float,
    names: Sequence[str],
    top: float = 0.32,
    left: float = 0.75,
    gap: float = 0.3,
) -> Plan:
    """Return a sheet of equal panels, with a legend of these names below."""
    sheet = fit(
        titles=("",),
        columns=[columns],
        rows=rows,
        width=(2.4, 3.7 if columns > 2 else 5.4),
        height=height,
        gap=(gap, 0.5),
        margins=(left, 0.25, top, 0.55),
    )
    plan = Plan(sheet=sheet, legends=(tuple(names),) if names else ())
    spots, room = flow(plan.legends, sheet.size[0] - sheet.left) if names else ([], 0.05)
    return replace(plan, sheet=replace(sheet, legend=room), spots=tuple(spots))


def probability_axis(axes: Axes, *, first: bool, floor: float = FLOOR) -> None:
    """Make the vertical axis one of probabilities, from `floor` to 1; only the `first` panel of a row is labelled."""
    axes.set_yscale("log")
    axes.set_ylim(floor / 3, 3)
    ticks = [10.0**power for power in range(0, round(np.log10(floor)) - 1, -3)]
    labels = ["1", *(f"$10^{{{round(np.log10(tick))}}}$" for tick in ticks[1:])]
    labels[-1] = f"≤ {labels[-1]}"
    axes.set_yticks(ticks, labels)
    axes.minorticks_off()
    axes.tick_params(axis="y", labelleft=first)


def size_axis(axes: Axes, sizes: Sequence[int], *, label: bool = True) -> None:
    """Make the horizontal axis one of cluster sizes."""
    low, high = max(1, min(sizes)), max(sizes)
    axes.set_xscale("log")
    axes.set_xlim(low * 0.9, high * 1.15)
    ticks = log_ticks(low, max(high, low + 1)) or [low, high]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    if label:
        axes.set_xlabel("cluster size", labelpad=2)


def draw_line(axes: Axes, curve: Curve, style: Mapping[str, Any]) -> None:
    """Draw a curve, not below the floor."""
    values = np.maximum(np.array(curve.values), FLOOR)
    axes.plot(curve.sizes, values, linewidth=1.7, **style)
