"""The heat map of a study of designs: design down, attack across, one panel for each fault rate."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bench.report.designs import GOALS, Trials, configurations_of, fault_rates, trials_of
from bench.report.heat import colour_scale, heat_notes, heat_panel
from bench.report.layout import LINE, break_label, lines, text_width
from bench.report.study import Study
from bench.report.theme import Theme
from bench.report.wording import percent, shown

__all__ = ["design_map"]

_COLUMN, _TITLE, _HEAD, _DESIGN = 0.84, 0.5, 0.4, 2.9
_SIDES = tuple(goal for goal, sides in GOALS.items() if len(sides) == 1)


def design_map(found: Study, theme: Theme) -> Figure:
    """Accuracy: design down, attack across, fault rates one under the other; beside each line what was called safe."""
    trials = trials_of(found)
    rates = fault_rates(trials)
    beside = {each.design: break_label(each.design, _DESIGN) for each in trials}
    below = [break_label(shown("attack", attack), _COLUMN) for attack in found.attacks]
    row = max(0.46 if found.seeds[1] > 1 else 0.34, lines(beside.values()) * LINE + 0.06)
    left, right, foot = text_width(beside.values()) + 0.2, 2.5, lines(below) * LINE + 0.2
    wide, tall = len(found.attacks) * _COLUMN, len(beside) * row
    width, height = left + wide + right, _HEAD + len(rates) * (_TITLE + tall) + foot
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    cells = configurations_of(found)
    for number, rate in enumerate(rates):
        top = height - _HEAD - number * (_TITLE + tall) - _TITLE
        axes = figure.add_axes((left / width, (top - tall) / height, wide / width, tall / height))
        grid = [[cells.get((rate, design, attack), {}) for attack in found.attacks] for design in beside]
        heat_panel(axes, grid, theme)
        axes.set_title(f"{percent(rate)} Byzantine", loc="left", pad=6, weight="bold")
        axes.set_yticks(np.arange(len(beside)) + 0.5, list(beside.values()), linespacing=1.1)
        last = below if rate == rates[-1] else [""] * len(below)
        axes.set_xticks(np.arange(len(below)) + 0.5, last, linespacing=1.1)
        _verdicts(axes, {each.design: each for each in trials if each.rate == rate}, list(beside), theme)
    colour_scale(figure, (width, height), end=left + wide)
    figure.text(0.1 / width, 1 - 0.17 / height, heat_notes(found), va="center", color=theme.soft)
    return figure


def _verdicts(axes: Axes, own: dict[str, Trials], designs: list[str], theme: Theme) -> None:
    """Write beside each line in how many trials its verdicts called the design private, and correct."""
    x = len(axes.get_xticks()) + 0.15
    for place, (side, offset) in enumerate(zip(_SIDES, (0.0, 1.35), strict=True)):
        axes.text(x + offset, -0.12, f"{side}?", va="bottom", color=theme.soft)
        for y, design in enumerate(designs):
            each = own.get(design)
            if each is None:
                continue
            safe = each.safe[side]
            text = "safe" if safe == each.number else f"safe in {safe} of {each.number}" if safe else "unsafe"
            colour = theme.good if safe == each.number else theme.warn if safe else theme.bad
            axes.text(x + offset, y + 0.5, text, va="center", color=colour, gid=f"verdict {place} {y}")
