"""The cells of a heat map of accuracies, their notes and their scale."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from bench.report.canvas import SCALE
from bench.report.study import Study
from bench.report.theme import Theme
from bench.report.wording import short

__all__ = ["colour_scale", "heat_notes", "heat_panel"]


def heat_notes(found: Study) -> str:
    """Return what the marks in the cells mean."""
    notes = ["mean over seeds"]
    if found.seeds[1] > 1:
        notes = ["mean over seeds ± half of the 95 % interval"]
    if found.counts["failed"]:
        notes += ["✗ failed"]
    if found.counts["skipped"]:
        notes += ["– skipped"]
    return "      ".join(notes)


def heat_panel(axes: Axes, grid: Sequence[Sequence[Mapping[str, Any]]], theme: Theme) -> None:
    """Draw a grid of configurations, one a cell, {} where the experiment has none."""
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


def colour_scale(figure: Figure, size: tuple[float, float], *, end: float) -> None:
    """Draw the scale of accuracies at the top of a figure of that size in inches, up to `end` from its left."""
    width, height = size
    axes = figure.add_axes(((end - 2) / width, 1 - 0.22 / height, 2 / width, 0.11 / height))
    axes.pcolormesh(np.linspace(0, 1, 129), [0, 1], np.linspace(0, 1, 128)[None, :], cmap=SCALE, rasterized=True)
    axes.set_yticks([])
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.tick_params(length=0, pad=2)
    axes.spines[:].set_visible(False)
    figure.text((end - 2.1) / width, 1 - 0.17 / height, "accuracy", ha="right", va="center")
