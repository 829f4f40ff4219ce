"""The heat map of accuracies and the learning curves."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.report.canvas import (
    accuracy_axis,
    attack_lines,
    legends,
    open_figure,
    panel,
    say_nothing_finished,
    where,
)
from bench.report.design_figure import design_map
from bench.report.designs import is_choice
from bench.report.heat import colour_scale, heat_notes, heat_panel
from bench.report.rule_figure import is_long, rule_map
from bench.report.sheets import Plan, curve_plan, heat_plan
from bench.report.study import Study, curves, records, telling_attacks
from bench.report.theme import Theme
from bench.trials import numbers, select

__all__ = ["heat_map", "learning_curves"]


def heat_map(found: Study, theme: Theme) -> Figure:
    """Accuracy: attack down, clustering across, one panel for each privacy mode.

    Of many attacks, rules are across; of designs at several fault rates, designs are down.
    """
    if is_choice(found):
        return design_map(found, theme)
    if is_long(found):
        return rule_map(found, theme)
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
            heat_panel(axes, grid, theme)
            own = [found.has(block, privacy, name) for name in found.clusterings]
            below = [label if has else "" for label, has in zip(plan.below, own, strict=True)]
            axes.set_xticks(np.arange(len(below)) + 0.5, below, linespacing=1.1)
            axes.set_yticks(np.arange(len(plan.beside)) + 0.5, plan.beside, linespacing=1.1)
            axes.tick_params(labelleft=column == 0 and plan.sheet.leads(place))
    colour_scale(figure, plan.sheet.size, end=max(plan.sheet.size[0] - plan.sheet.right - 0.03, 3.0))
    figure.text(
        *plan.sheet.point(plan.sheet.left, plan.sheet.legend - 0.35), heat_notes(found), va="center", color=theme.soft
    )
    return figure


def learning_curves(found: Study, theme: Theme) -> Figure:
    """Accuracy by round: clustering across, privacy mode down, colour by attack; of many, the costly ones' alone."""
    plan, table = curve_plan(found), curves(found)
    figure = open_figure(plan.sheet)
    told = telling_attacks(found)
    other = Line2D([], [], color=theme.rule, linewidth=0.8)
    attacks = {name: other for name in found.attacks if name not in told} | attack_lines(told, theme)
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
    handles = [attacks[name] for name in told]
    legends(figure, plan, [handles if len(told) == len(found.attacks) else [*handles, other]])
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
        if line.get_color() != theme.rule:
            axes.fill_between(rounds, low, high, color=line.get_color(), alpha=0.14, linewidth=0)
        axes.plot(rounds, mean, color=line.get_color(), linestyle=line.get_linestyle(), linewidth=line.get_linewidth())
