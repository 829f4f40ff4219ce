"""The figures of what accuracy costs: bytes, seconds, privacy."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bench.report.canvas import (
    MARKS,
    accuracy_axis,
    attack_lines,
    colours_of,
    legends,
    marker_handle,
    open_figure,
    panel,
    say_nothing_finished,
    where,
)
from bench.report.layout import spread
from bench.report.sheets import exchange_plan, privacy_plan, time_plan
from bench.report.study import SPLIT, Study, exchanges, guarantees, records, times
from bench.report.theme import Theme
from bench.report.wording import human_bytes, human_seconds, log_ticks, shown
from bench.trials import numbers, select

__all__ = ["communication", "privacy", "runtime"]


def communication(found: Study, theme: Theme) -> Figure:
    """Accuracy by bytes: one panel for each privacy mode, a filled mark without and a hollow one under attack."""
    plan, table = exchange_plan(found), exchanges(found)
    figure = open_figure(plan.sheet)
    # The empty name takes the first colour, which stands for an attack elsewhere.
    colours = colours_of(["", *found.clusterings], theme)
    shapes = dict(zip(found.blocks, MARKS, strict=False))
    logs = np.log10(numbers(table, "bytes"))
    span = (float(np.min(logs)), float(np.max(logs)))
    for number, privacy in enumerate(found.privacies):
        row, column = divmod(number, plan.sheet.columns[0])
        axes = panel(figure, plan.sheet, (0, row, column), plan.above[number])
        own = select(table, table["privacy"] == privacy)
        if own.empty:
            say_nothing_finished(axes, theme)
        _byte_axis(axes, span)
        accuracy_axis(axes, column == 0)
        places = spread(np.log10(numbers(own, "bytes")).tolist(), 0.035 * (axes.get_xlim()[1] - axes.get_xlim()[0]))
        for x, line in zip(places, records(own), strict=True):
            _exchange(axes, x, line, (colours[line["clustering"]], shapes[line["block"]], theme.paper))
    marks = [marker_handle(theme.soft, mark) for mark in shapes.values()] if any(found.blocks) else []
    meanings = [
        marker_handle(theme.soft, "o"),
        Line2D([], [], color=theme.soft, marker="o", mfc=theme.paper, linestyle=""),
    ]
    groups = [[marker_handle(colours[name], "o") for name in found.clusterings], marks, meanings]
    legends(figure, plan, [group for group in groups if group])
    return figure


def _byte_axis(axes: Axes, span: tuple[float, float]) -> None:
    margin = max((span[1] - span[0]) * 0.14, 0.25)
    low, high = span[0] - margin, span[1] + margin
    ticks = log_ticks(10**low, 10**high)
    axes.set_xlim(low, high)
    axes.set_xticks(np.log10(ticks), [human_bytes(tick) for tick in ticks])
    axes.set_xlabel("sent per process and round", labelpad=2)


def _exchange(axes: Axes, x: float, line: Mapping[str, Any], style: tuple[str, str, str]) -> None:
    colour, mark, paper = style
    axes.plot([x, x], [line["clean"], line["worst"]], color=colour, linewidth=1.2, alpha=0.7, zorder=2)
    axes.plot([x], [line["clean"]], mark, color=colour, markersize=6, zorder=3)
    axes.plot([x], [line["worst"]], mark, color=colour, markerfacecolor=paper, markersize=6, zorder=3)


def runtime(found: Study, theme: Theme) -> Figure:
    """Seconds of one trial: stacked bars of training, secure sum and the rest."""
    table = records(times(found))
    # All blocks share the lines, so that the labels at the left edge hold for each of them.
    names = sorted(
        dict.fromkeys((line["clustering"], line["privacy"]) for line in table),
        key=lambda name: (found.clusterings.index(name[0]), (*found.privacies, "").index(name[1])),
    )
    blocks = [block for block in found.blocks if any(line["block"] == block for line in table)]
    plan = time_plan(blocks, names)
    figure = open_figure(plan.sheet)
    colours = [*list(colours_of(["training", "sum"], theme).values())[1:], theme.soft]
    longest = max(sum(line[part] for part in SPLIT) for line in table) or 1.0
    for place, block in enumerate(blocks):
        axes = panel(figure, plan.sheet, (place, 0, 0))
        own = {names.index((line["clustering"], line["privacy"])): line for line in table if line["block"] == block}
        _time_panel(axes, own, colours, longest)
        axes.set_ylim(len(names) - 0.4, -0.6)
        first = plan.sheet.leads(place)
        axes.set_yticks(range(len(names)), [shown("privacy", name) if name else "" for _, name in names])
        axes.tick_params(axis="y", length=0, labelleft=first)
        if first:
            _group_labels(axes, [name for name, _ in names], plan.sheet.left - 0.1)
    legends(figure, plan, [[Patch(color=colour) for colour in colours]])
    return figure


def _time_panel(axes: Axes, lines: Mapping[int, Mapping[str, Any]], colours: Sequence[str], longest: float) -> None:
    start = np.zeros(len(lines))
    for part, colour in zip(SPLIT, colours, strict=True):
        widths = np.array([line[part] for line in lines.values()])
        axes.barh(list(lines), widths, left=start, color=colour, height=0.7, linewidth=0)
        start += widths
    for place, total in zip(lines, start.tolist(), strict=True):
        axes.text(total + longest * 0.012, place, human_seconds(total), va="center", size=8)
    axes.set_xlim(0, longest * 1.16)
    axes.locator_params(axis="x", nbins=5)
    axes.xaxis.set_major_formatter(lambda tick, _: f"{tick:g}")
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("seconds per trial", labelpad=2)


def _group_labels(axes: Axes, names: Sequence[str], room: float) -> None:
    """Write each clustering beside the first of its bars, `room` inches to the left of the panel."""
    for place, name in enumerate(names):
        if name not in names[:place]:
            axes.annotate(
                shown("clustering", name),
                (0, place),
                xytext=(-72 * room, 0),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                va="center",
                weight="bold",
                size=8.5,
            )


def privacy(found: Study, theme: Theme) -> Figure:
    """Accuracy by epsilon: clustering across, colour by attack, infinity apart at the right."""
    table = guarantees(found)
    mechanisms = list(dict.fromkeys(table["mechanism"]))
    plan = privacy_plan(found, mechanisms)
    figure = open_figure(plan.sheet)
    shapes = {name: MARKS[place % len(MARKS)] for place, name in enumerate(mechanisms)}
    attacks = attack_lines(found.attacks, theme)
    epsilons = numbers(table, "epsilon")
    logs = np.log10(epsilons[np.isfinite(epsilons)])
    for place, block in enumerate(found.blocks):
        for column, clustering in enumerate(found.within(block, "clustering")):
            title = plan.above[found.clusterings.index(clustering)]
            axes = panel(figure, plan.sheet, (place, 0, column), title)
            own = where(table, block=block, clustering=clustering).sort_values(["epsilon", "mechanism"], kind="stable")
            if own.empty:
                say_nothing_finished(axes, theme)
            infinity, reach = _epsilon_axis(axes, (float(np.min(logs)), float(np.max(logs))))
            accuracy_axis(axes, column == 0 and plan.sheet.leads(place))
            for x, line in zip(_epsilon_places(own, infinity, reach), records(own), strict=True):
                _guarantee(axes, x, line, (attacks[line["attack"]].get_color(), shapes[line["mechanism"]]))
    legends(figure, plan, [list(attacks.values()), [marker_handle(theme.soft, mark) for mark in shapes.values()]])
    return figure


def _epsilon_axis(axes: Axes, span: tuple[float, float]) -> tuple[float, float]:
    """Draw the logarithmic axis and return where infinity stands and how far the finite part reaches."""
    reach = max(span[1] - span[0], 0.6)
    middle = (span[0] + span[1]) / 2
    low, high = middle - 0.7 * reach, middle + 0.7 * reach
    infinity = high + 0.22 * reach
    ticks = log_ticks(10**low, 10**high)
    axes.axvline(high + 0.06 * reach, color=axes.spines["left"].get_edgecolor(), linewidth=0.8)
    axes.set_xlim(low, infinity + 0.14 * reach)
    axes.set_xticks([*np.log10(ticks), infinity], [*(f"{tick:g}" for tick in ticks), "∞"])
    axes.set_xlabel("epsilon (smaller is more private)", labelpad=2)
    return infinity, reach


def _epsilon_places(table: pd.DataFrame, infinity: float, reach: float) -> list[float]:
    """Return where the marks stand: at the logarithm of their epsilon, aside where they would overlap."""
    epsilons = numbers(table, "epsilon")
    finite = np.log10(epsilons[np.isfinite(epsilons)]).tolist()
    endless = len(epsilons) - len(finite)
    # However many marks share one epsilon, they stay inside of the axis.
    near, far = (min(0.03, room / max(count, 1)) * reach for room, count in ((0.36, len(finite)), (0.24, endless)))
    return [*spread(finite, near), *spread([infinity] * endless, far)]


def _guarantee(axes: Axes, x: float, line: Mapping[str, Any], style: tuple[Any, str]) -> None:
    axes.plot([x, x], [line["accuracy_low"], line["accuracy_high"]], color=style[0], linewidth=1)
    axes.plot([x], [line["accuracy"]], style[1], color=style[0], markersize=5)
