"""What all figures share: sheets, panels, axes, colours and legends."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bench.report.layout import Sheet
from bench.report.sheets import Plan
from bench.report.theme import Theme
from bench.trials import CLEAN, select

__all__ = [
    "DASHES",
    "DENSITY",
    "MARKS",
    "SCALE",
    "SCREEN",
    "accuracy_axis",
    "attack_lines",
    "colours_of",
    "legends",
    "marker_handle",
    "open_figure",
    "panel",
    "say_nothing_finished",
    "settings_of",
    "where",
]

SCREEN = 100  # px of the page to an inch of the sheet
DENSITY = 170  # dots per inch of the PNG files: sharp on dense screens and on slides
ORDER = (0, 1, 2, 4, 9, 3, 5, 7)  # of seaborn's "colorblind": neighbours differ most, the pale yellow is left out
MARKS = ("o", "s", "D", "^", "v", "P", "X", "*")
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)))
SCALE = mpl.colormaps["cividis"]


def settings_of(theme: Theme) -> dict[Any, Any]:
    """Return the settings under which a figure of that theme is drawn and saved."""
    return {**sns.axes_style("ticks"), **theme.settings()}


def colours_of(names: Sequence[str], theme: Theme) -> dict[str, str]:
    """Return a colour for each name that colour-blind readers can tell apart; "none" has the colour of the ink."""
    palette = [np.array(to_rgb(colour)) for colour in sns.color_palette("colorblind")]
    mixed = [to_hex(tuple(palette[place] * (1 - theme.lift) + theme.lift)) for place in ORDER]
    others = [name for name in names if name != CLEAN]
    return {CLEAN: theme.ink, **{name: mixed[place % len(mixed)] for place, name in enumerate(others)}}


def open_figure(sheet: Sheet) -> Figure:
    """Return an empty figure of the size of the sheet, with the titles of its blocks."""
    # Without pyplot, no figure is registered anywhere: nothing leaks and nothing needs closing.
    figure = Figure(figsize=sheet.size)
    FigureCanvasAgg(figure)
    for place, title in enumerate(sheet.titles):
        x, y = sheet.corner(place)
        figure.text(*sheet.point(x, y + 0.06), title, weight="bold", size=10, va="top", linespacing=1.15)
    return figure


def panel(figure: Figure, sheet: Sheet, place: tuple[int, int, int], title: str = "") -> Axes:
    """Return the axes at a place (block, row, column) of the sheet."""
    axes = figure.add_axes(sheet.panel_at(*place))
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(visible=True)
    axes.set_title(title, loc="left", pad=5, linespacing=1.15)
    return axes


def accuracy_axis(axes: Axes, first: bool) -> None:
    """Give the axes the scale of accuracies, with numbers on the first of a row."""
    axes.set_ylim(-0.02, 1.02)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    axes.tick_params(axis="y", labelleft=first)
    if first:
        axes.set_ylabel("accuracy", labelpad=2)


def say_nothing_finished(axes: Axes, theme: Theme) -> None:
    """Say in an empty panel why it is empty."""
    axes.text(0.5, 0.5, "no finished trial", transform=axes.transAxes, ha="center", va="center", color=theme.soft)


def legends(figure: Figure, plan: Plan, groups: Sequence[Sequence[Line2D | Patch]]) -> None:
    """Put the legends at the top of the figure, where the plan has room for them."""
    for labels, spot, handles in zip(plan.legends, plan.spots, groups, strict=True):
        figure.legend(
            handles=list(handles),
            labels=list(labels),
            loc="upper left",
            bbox_to_anchor=plan.sheet.point(plan.sheet.left + spot.x, spot.y),
            ncols=spot.columns,
            borderpad=0,
            borderaxespad=0,
            handlelength=1.7,
            columnspacing=1.8,
        )


def attack_lines(names: Sequence[str], theme: Theme) -> dict[str, Line2D]:
    """Return the line of each attack, in colour and dashes."""
    colours = colours_of(names, theme)
    styles = [DASHES[place // len(ORDER) % len(DASHES)] for place in range(len(names))]
    return {
        name: Line2D([], [], color=colours[name], linestyle=style, linewidth=1.6)
        for name, style in zip(names, styles, strict=True)
    }


def where(
    table: pd.DataFrame, *, block: str, privacy: str | None = None, clustering: str | None = None
) -> pd.DataFrame:
    """Return the lines of one block of a study, of one privacy mode and of one clustering where these are given."""
    mask = table["block"] == block
    for name, value in (("privacy", privacy), ("clustering", clustering)):
        mask = mask if value is None else mask & (table[name] == value)
    return select(table, mask)


def marker_handle(colour: str, mark: str) -> Line2D:
    """Return what a legend shows of points: their mark alone."""
    return Line2D([], [], color=colour, marker=mark, linestyle="")
