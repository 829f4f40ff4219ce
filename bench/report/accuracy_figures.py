"""The heat map of accuracies and the learning curves."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from bench.report.canvas import (
    SCALE,
    accuracy_axis,
    attack_lines,
    legends,
    open_figure,
    panel,
    say_nothing_finished,
    where,
)
from bench.report.layout import Sheet
from bench.report.sheets import Plan, curve_plan, heat_plan
from bench.report.study import Study, curves, records
from bench.report.theme import Theme
from bench.report.wording import short
from bench.statistics import numbers, select

__all__ = ["heat_map", "learning_curves"]


def heat_map(found: Study, theme: Theme) -> Figure:
    """Accuracy: attack down, clustering across, one panel for each privacy mode."""
    plan = heat_plan(found)
    figure = open_figure(plan.sheet)
    lines = {
        tuple(line[name] for name in ("block", "privacy", "attack", "clustering")): line
        for line in records(found.drawn)
    }
    for place, block in enumerate(found.blocks):
        for number, privacy in enumerate(found.within(block, "privacy")):
            row, column = divmod(number, plan.sheet.columns[place])
            title = plan.above[found.privacies.index(privacy)]
            axes = panel(figure, plan.sheet, (place, row, column), title)
            grid = [
                [lines.get((block, privacy, attack, name), {}) for name in found.clusterings]
                for attack in found.attacks
            ]
            _heat_panel(axes, grid, theme)
            own = [found.has(block, privacy, name) for name in found.clusterings]
            below = [label if has else "" for label, has in zip(plan.below, own, strict=True)]
            axes.set_xticks(np.arange(len(below)) + 0.5, below, linespacing=1.1)
            axes.set_yticks(np.arange(len(plan.beside)) + 0.5, plan.beside, linespacing=1.1)
            axes.tick_params(labelleft=column == 0 and plan.sheet.leads(place))
    _colour_scale(figure, plan.sheet)
    figure.text(
        *plan.sheet.point(plan.sheet.left, plan.sheet.legend - 0.35), _heat_notes(found), va="center", color=theme.soft
    )
    return figure


def _heat_notes(found: Study) -> str:
    notes = ["mean over seeds"]
    if found.seeds[1] > 1:
        notes = ["mean over seeds ± half of the 95 % interval"]
    if found.counts["failed"]:
        notes += ["✗ failed"]
    if found.counts["skipped"]:
        notes += ["– skipped"]
    return "      ".join(notes)


def _heat_panel(axes: Axes, grid: Sequence[Sequence[Mapping[str, Any]]], theme: Theme) -> None:
    values = np.array([[line.get("accuracy", math.nan) for line in row] for row in grid], dtype=float)
    shades = np.ma.masked_invalid(values)
    axes.pcolormesh(shades, cmap=SCALE, vmin=0, vmax=1, edgecolors=theme.paper, linewidth=1.5)
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, pad=4)
    for y, row in enumerate(grid):
        for x, line in enumerate(row):
            if math.isnan(line.get("accuracy", math.nan)):
                _empty_cell(axes, (x, y), line, theme)
            else:
                _full_cell(axes, (x, y), line)


def _empty_cell(axes: Axes, place: tuple[int, int], line: Mapping[str, Any], theme: Theme) -> None:
    if not line:  # not part of the experiment
        return
    corner = (place[0] + 0.03, place[1] + 0.03)
    axes.add_patch(Rectangle(corner, 0.94, 0.94, facecolor=theme.paper, edgecolor=theme.rule, hatch="////"))
    mark = "✗" if line["failed"] or line["ok"] else "–"
    box = {"facecolor": theme.paper, "edgecolor": "none", "pad": 1.5}
    axes.text(place[0] + 0.5, place[1] + 0.5, mark, ha="center", va="center", size=11, weight="bold", bbox=box)


def _full_cell(axes: Axes, place: tuple[int, int], line: Mapping[str, Any]) -> None:
    x, y = place
    red, green, blue, _ = SCALE(line["accuracy"])
    # The perceived brightness of the shade decides which ink can be read on it.
    ink = "#101418" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.48 else "#ffffff"
    half = (line["accuracy_high"] - line["accuracy_low"]) / 2
    middle = 0.5 if math.isnan(half) else 0.37
    axes.text(x + 0.5, y + middle, short(line["accuracy"]), ha="center", va="center", size=10, color=ink)
    if not math.isnan(half):
        axes.text(x + 0.5, y + 0.72, f"±{short(half)}", ha="center", va="center", size=7.5, color=ink)
    if line["failed"]:
        axes.text(x + 0.94, y + 0.08, f"{line['failed']}✗", ha="right", va="top", size=7.5, color=ink)


def _colour_scale(figure: Figure, sheet: Sheet) -> None:
    width, height = sheet.size
    end = max(width - sheet.right - 0.03, 3.0)
    x, y = sheet.point(end - 2, 0.22)
    axes = figure.add_axes((x, y, 2 / width, 0.11 / height))
    axes.pcolormesh(np.linspace(0, 1, 129), [0, 1], np.linspace(0, 1, 128)[None, :], cmap=SCALE, rasterized=True)
    axes.set_yticks([])
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.tick_params(length=0, pad=2)
    axes.spines[:].set_visible(False)
    figure.text(*sheet.point(end - 2.1, 0.17), "accuracy", ha="right", va="center")


def learning_curves(found: Study, theme: Theme) -> Figure:
    """Accuracy by round: clustering across, privacy mode down, colour by attack."""
    plan, table = curve_plan(found), curves(found)
    figure = open_figure(plan.sheet)
    attacks = attack_lines(found, theme)
    for place, block in enumerate(found.blocks):
        for column, clustering in enumerate(found.within(block, "clustering")):
            rows = [row for row, privacy in enumerate(found.privacies) if found.has(block, privacy, clustering)]
            for row in rows:
                axes = panel(figure, plan.sheet, (place, row, column))
                own = where(table, block=block, privacy=found.privacies[row], clustering=clustering)
                _curve_panel(axes, own, attacks, theme)
                _round_axis(axes, numbers(table, "round"), labelled=row == rows[-1])
                accuracy_axis(axes, column == 0 and plan.sheet.leads(place))
                if row == rows[0]:
                    title = plan.above[found.clusterings.index(clustering)]
                    axes.set_title(title, loc="left", pad=5, linespacing=1.15)
        if plan.sheet.ends(place):
            _side_titles(figure, plan, place)
    legends(figure, plan, [list(attacks.values())])
    return figure


def _round_axis(axes: Axes, rounds: np.ndarray, *, labelled: bool) -> None:
    start, end = float(np.min(rounds)), float(np.max(rounds))
    axes.set_xlim(start, max(end, start + 1))
    axes.locator_params(axis="x", nbins=4, integer=True)
    axes.tick_params(axis="x", labelbottom=labelled)
    if labelled:
        axes.set_xlabel("round", labelpad=2)


def _side_titles(figure: Figure, plan: Plan, block: int) -> None:
    for row, label in enumerate(plan.beside):
        left, bottom, width, height = plan.sheet.panel_at(block, row, plan.sheet.columns[block] - 1)
        x = left + width + 0.1 / plan.sheet.size[0]
        figure.text(x, bottom + height / 2, label, rotation=270, va="center", linespacing=1.1)


def _curve_panel(axes: Axes, table: pd.DataFrame, attacks: Mapping[str, Line2D], theme: Theme) -> None:
    if table.empty:
        say_nothing_finished(axes, theme)
    for attack, line in attacks.items():
        own = select(table, table["attack"] == attack)
        rounds, mean, low, high = (numbers(own, name) for name in ("round", "mean", "low", "high"))
        axes.fill_between(rounds, low, high, color=line.get_color(), alpha=0.14, linewidth=0)
        axes.plot(rounds, mean, color=line.get_color(), linestyle=line.get_linestyle(), linewidth=1.5)
