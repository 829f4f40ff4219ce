"""The figures of `bench tolerance`: failure by size, the window, a heat map, levels, delegates, what safety costs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bench.report.canvas import MARKS, SCALE, colours_of, legends, marker_handle, open_figure, panel
from bench.report.layout import flow
from bench.report.theme import Theme
from bench.report.tolerance_axes import FLOOR, WAYS, Shown, draw_line, plan_of, probability_axis, size_axis
from bench.report.wording import human_bytes, log_ticks
from bench.tolerance.answer import Answer
from bench.tolerance.curves import Curve
from bench.tolerance.designs import Option
from bench.tolerance.survey import Survey, domains_shown

__all__ = ["FIGURES", "figures_of", "has_law"]

_TITLES: Mapping[str, str] = {
    "uniform": "faults anywhere (uniform)",
    "heterogeneous": "each fault with a risk of its own",
    "private": "P(a cluster is exposed)",
    "correct": "P(too many broken clusters)",
}
_HIDDEN_TITLES: Mapping[str, str] = {
    "private": "P(an update is learnt)",
    "correct": "P(a wrong result is taken over)",
    "fail": "P(any side fails)",
}


def by_policy(found: Shown, theme: Theme) -> Figure:
    """Failure against cluster size: placements across, sides down, colour and dashes by policy."""
    curves = found.survey.by_policy
    panels = list(dict.fromkeys(curve.panel for curve in curves))
    names = list(dict.fromkeys(curve.name for curve in curves))
    plan = plan_of(columns=len(panels), rows=2, height=1.9, names=names, left=1.0)
    figure = open_figure(plan.sheet)
    colours = colours_of(names, theme)
    styles: dict[str, dict[str, Any]] = {
        name: {"color": colours[name], "linestyle": WAYS[i % len(WAYS)], "marker": MARKS[i], "markersize": 3.2}
        for i, name in enumerate(names)
    }
    setting = replace(found.answers[0].question, domains=domains_shown(found.survey.question)).setting(
        found.survey.groups
    )
    titles = {**_TITLES, "by_domain": f"{setting.failing_words} of {setting.domains} failure domains fail"}
    for row, side in enumerate(("private", "correct")):
        for column, placement in enumerate(panels):
            axes = panel(figure, plan.sheet, (0, row, column), titles[placement] if row == 0 else "")
            for curve in curves:
                if curve.panel == placement and curve.side == side and curve.sizes:
                    draw_line(axes, curve, styles[curve.name])
            probability_axis(axes, first=column == 0)
            size_axis(axes, [size for curve in curves for size in curve.sizes], label=row == 1)
            if column == 0:
                axes.set_ylabel(_TITLES[side], labelpad=4)
    legends(figure, plan, [[Line2D([], [], linewidth=1.7, **styles[name]) for name in names]])
    return figure


def has_law(answer: Answer) -> bool:
    """Whether the law of how many clusters break is known, and drawn beside the window."""
    return answer.broken is not None and answer.broken.law is not None


def window(found: Shown, theme: Theme) -> Figure:
    """Both sides against size with the target, the feasible sizes shaded; beside it the law of broken clusters."""
    seen, answer = found.survey, found.answers[0]
    names = ("some cluster exposed", "too many broken clusters", "target", "sizes that meet it")
    two = has_law(answer)
    plan = plan_of(columns=2 if two else 1, rows=1, height=2.7, names=names, left=0.85, gap=0.8)
    figure = open_figure(plan.sheet)
    colours = list(colours_of(["private", "correct"], theme).values())[1:]
    axes = panel(figure, plan.sheet, (0, 0, 0), "failure of the two sides by cluster size")
    for curve, colour, way in zip(seen.sides, colours, WAYS, strict=False):
        draw_line(axes, curve, {"color": colour, "linestyle": way})
    axes.axhline(seen.target, color=theme.soft, linewidth=1, linestyle=(0, (2, 2)))
    good = seen.designs.window.sizes
    if good:
        axes.axvspan(good[0] * 0.97, good[-1] * 1.03, color=theme.good, alpha=0.16, linewidth=0)
    probability_axis(axes, first=True)
    size_axis(axes, [size for curve in seen.sides for size in curve.sizes])
    if two:
        _law(panel(figure, plan.sheet, (0, 0, 1), f"clusters broken at size {answer.groups[0][0]}"), answer, theme)
    handles = [
        Line2D([], [], color=colour, linestyle=way, linewidth=1.7) for colour, way in zip(colours, WAYS, strict=False)
    ]
    target = Line2D([], [], color=theme.soft, linewidth=1, linestyle=(0, (2, 2)))
    legends(figure, plan, [[*handles, target, Patch(color=theme.good, alpha=0.3)]])
    return figure


def _law(axes: Axes, answer: Answer, theme: Theme) -> None:
    law = np.array(answer.broken.law) if answer.broken and answer.broken.law else np.ones(1)
    seen = np.flatnonzero(law > FLOOR)
    k = np.arange(min(seen[0], max(answer.tolerate, 0)), max(seen[-1], answer.tolerate) + 1)
    colours = [theme.bad if each > answer.tolerate else theme.accent for each in k.tolist()]
    axes.bar(k, np.maximum(law[k], FLOOR / 3), color=colours, width=0.8, linewidth=0)
    probability_axis(axes, first=True)
    axes.axvline(answer.tolerate + 0.5, color=theme.ink, linewidth=1)
    axes.annotate(
        f"the rule withstands {answer.tolerate}",
        (answer.tolerate + 0.5, 1.6),
        xytext=(-4, 0),
        textcoords="offset points",
        ha="right" if answer.tolerate > k.mean() else "left",
        va="center",
        size=8,
    )
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel("clusters broken", labelpad=2)
    axes.set_ylabel("probability", labelpad=4)
    axes.grid(visible=False, axis="x")


def heat(found: Shown, theme: Theme) -> Figure:
    """P(fail) over the share of faults and the cluster size."""
    seen = found.survey.heat
    plan = plan_of(columns=1, rows=1, height=3.6, names=(), left=0.75, top=0.1)
    wide = replace(plan.sheet, panel=(8.6, plan.sheet.panel[1]), right=1.3)
    figure = open_figure(wide)
    axes = panel(figure, wide, (0, 0, 0))
    values = np.log10(np.maximum(seen.fail, FLOOR))
    mesh = axes.pcolormesh(
        np.arange(len(seen.sizes) + 1), np.arange(len(seen.shares) + 1), values, cmap=SCALE.reversed(), vmin=-12, vmax=0
    )
    axes.grid(visible=False)
    axes.set_facecolor(theme.rule)
    axes.set_xticks(np.arange(len(seen.sizes)) + 0.5, [str(size) for size in seen.sizes])
    rows = range(0, len(seen.shares), 2)
    axes.set_yticks([row + 0.5 for row in rows], [f"{100 * seen.shares[row]:g} %" for row in rows])
    axes.set_xlabel("cluster size", labelpad=3)
    axes.set_ylabel("faulty processes", labelpad=4)
    asked = found.answers[0]
    share = asked.question.faults.byzantine / asked.question.faults.n
    row = int(np.argmin(np.abs(np.array(seen.shares) - share)))
    column = int(np.argmin(np.abs(np.array(seen.sizes) - asked.groups[0][0])))
    axes.plot([column + 0.5], [row + 0.5], "o", color=theme.bad, markersize=8, markerfacecolor="none", mew=2)
    box = axes.get_position()
    bar = figure.colorbar(mesh, cax=figure.add_axes((box.x1 + 0.015, box.y0, 0.014, box.height)))
    bar.set_ticks([0, -3, -6, -9, -12], labels=["1", "$10^{-3}$", "$10^{-6}$", "$10^{-9}$", "≤ $10^{-12}$"])
    bar.ax.tick_params(length=0)
    bar.outline.set_visible(False)
    return figure


def levels(found: Shown, theme: Theme) -> Figure:
    """One, two and three levels: how likely they fail, and what share every placement tolerates."""
    titles = {"random": "P(the whole is broken), faults anywhere", "worst": "tolerated wherever they sit"}
    return _by_name(found.survey.levels, titles, theme)


def delegates(found: Shown, theme: Theme) -> Figure:
    """Failure against cluster size, a line for each number of delegates."""
    return _by_name(found.survey.delegates, _HIDDEN_TITLES, theme)


def committees(found: Shown, theme: Theme) -> Figure:
    """Both sides against cluster size: where members follow the protocol and where they deviate from it."""
    return _by_name(found.survey.committees, _HIDDEN_TITLES, theme)


def _by_name(curves: Sequence[Curve], titles: Mapping[str, str], theme: Theme) -> Figure:
    """Two panels of lines over cluster sizes, one for each name; of the side "share" they are percentages."""
    names = list(dict.fromkeys(curve.name for curve in curves))
    kinds = list(dict.fromkeys(curve.panel for curve in curves))
    plan = plan_of(columns=len(kinds), rows=1, height=2.5, names=names, left=0.85, gap=0.8)
    figure = open_figure(plan.sheet)
    colours = colours_of(["", *names], theme)
    styles: dict[str, dict[str, Any]] = {
        name: {"color": colours[name], "linestyle": WAYS[i], "marker": MARKS[i], "markersize": 3.5}
        for i, name in enumerate(names)
    }
    sizes = [size for curve in curves for size in curve.sizes] or [1, 2]
    for column, kind in enumerate(kinds):
        axes = panel(figure, plan.sheet, (0, 0, column), titles[kind])
        own = [curve for curve in curves if curve.panel == kind]
        shares = all(curve.side == "share" for curve in own)
        for curve in own:
            if not curve.sizes:
                continue
            if shares:
                axes.plot(curve.sizes, 100 * np.array(curve.values), linewidth=1.7, **styles[curve.name])
            else:
                draw_line(axes, curve, styles[curve.name])
        size_axis(axes, sizes)
        if shares:
            axes.set_ylim(bottom=0)
            axes.yaxis.set_major_formatter(lambda tick, _: f"{tick:g} %")
            axes.set_ylabel("share of the processes", labelpad=4)
        else:
            probability_axis(axes, first=True)
    legends(figure, plan, [[Line2D([], [], linewidth=1.7, **styles[name]) for name in names]])
    return figure


def cost(found: Shown, theme: Theme) -> Figure:
    """Failure against bytes: a line through the sizes of each protocol, the front above all of them."""
    design = found.survey.designs
    kept = [option for option in design.options if option.fail < 1 - 1e-9] or list(design.options)
    names = list(dict.fromkeys(option.protocol for option in kept))
    plan = plan_of(
        columns=1, rows=1, height=3.6, names=[*names, "nothing is both safer and cheaper", "target"], left=0.9, top=0.1
    )
    wide = replace(plan.sheet, panel=(10.6, plan.sheet.panel[1]), right=0.6)
    spots, room = flow(plan.legends, wide.size[0] - wide.left)
    plan = replace(plan, sheet=replace(wide, legend=room), spots=tuple(spots))
    figure = open_figure(plan.sheet)
    axes = panel(figure, plan.sheet, (0, 0, 0))
    colours = colours_of(["", *names], theme)
    marks = {name: MARKS[i % len(MARKS)] for i, name in enumerate(names)}
    for name in names:
        own = sorted((option for option in kept if option.protocol == name), key=lambda option: option.size)
        axes.plot(*_places(own), color=colours[name], marker=marks[name], markersize=4.5, linewidth=0.9, alpha=0.85)
    front = _places(design.front)
    axes.plot(*front, color=theme.ink, linewidth=1.4, drawstyle="steps-post", zorder=1)
    axes.plot(*front, "o", color=theme.ink, markersize=10, markerfacecolor="none", mew=1.1)
    axes.axhline(design.target, color=theme.soft, linewidth=1, linestyle=(0, (2, 2)))
    probability_axis(axes, first=True)
    axes.set_ylabel("P(fail)", labelpad=4)
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    ticks = log_ticks(low, high)
    axes.set_xticks(ticks, [human_bytes(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("sent per process in one round", labelpad=2)
    handles = [Line2D([], [], color=colours[name], marker=marks[name], markersize=4.5, linewidth=0.9) for name in names]
    front_handle = marker_handle(theme.ink, "o")
    front_handle.set(markerfacecolor="none", markersize=9, linestyle="-", linewidth=1.4)
    target = Line2D([], [], color=theme.soft, linewidth=1, linestyle=(0, (2, 2)))
    legends(figure, plan, [[*handles, front_handle, target]])
    return figure


def _places(options: Sequence[Option]) -> tuple[list[float], list[float]]:
    return (
        [option.price.wire_bytes_per_process for option in options],
        [max(option.fail, FLOOR) for option in options],
    )


FIGURES: Mapping[str, Callable[[Shown, Theme], Figure]] = {
    "window": window,
    "failure-by-policy": by_policy,
    "heat-map": heat,
    "levels": levels,
    "delegates": delegates,
    "committees": committees,
    "cost": cost,
}


def figures_of(found: Survey) -> list[str]:
    """Return the names of the figures that there is something to show in."""
    curves = {
        "failure-by-policy": found.by_policy,
        "levels": found.levels,
        "delegates": found.delegates,
        "committees": found.committees,
    }
    return [name for name in FIGURES if curves.get(name, True)]
