"""The figures: the only module that draws. Each figure is drawn once for light and once for dark pages."""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
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
from matplotlib.patches import Patch, Rectangle

from bench.report.layout import Sheet, spread
from bench.report.sheets import Plan, curve_plan, exchange_plan, heat_plan, privacy_plan, time_plan
from bench.report.study import SPLIT, Study, curves, exchanges, guarantees, records, times
from bench.report.theme import DARK, LIGHT, Theme
from bench.report.wording import human_bytes, human_seconds, log_ticks, short, shown
from bench.statistics import CLEAN, numbers, select

__all__ = ["FIGURES", "Picture", "draw"]

SCREEN = 100  # px of the page to an inch of the sheet
DENSITY = 170  # dots per inch of the PNG files: sharp on dense screens and on slides
ORDER = (0, 1, 2, 4, 9, 3, 5, 7)  # of seaborn's "colorblind": neighbours differ most, the pale yellow is left out
MARKS = ("o", "s", "D", "^", "v", "P", "X", "*")
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)))
SCALE = mpl.colormaps["cividis"]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One figure as PNG for light and for dark pages; width and height in px of the page."""

    light: bytes
    dark: bytes
    width: int
    height: int


def draw(name: str, found: Study, folder: Path) -> Picture:
    """Draw the named figure and write NAME.png, NAME.svg (light) and NAME-dark.png into the folder.

    Guarantees:
        Matplotlib's settings and open figures are afterwards what they were before.
        The same results give the same bytes.
    """
    images: dict[str, bytes] = {}
    width, height = 0, 0
    for theme, file in ((LIGHT, f"{name}.png"), (DARK, f"{name}-dark.png")):
        settings: dict[Any, Any] = {**sns.axes_style("ticks"), **theme.settings()}
        with mpl.rc_context(settings):
            figure = FIGURES[name](found, theme)
            width, height = (round(inches * SCREEN) for inches in figure.get_size_inches())
            buffer = io.BytesIO()
            figure.savefig(buffer, format="png", dpi=DENSITY, metadata={"Software": None})
            images[theme.name] = buffer.getvalue()
            (folder / file).write_bytes(images[theme.name])
            if theme is LIGHT:
                figure.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None})
            figure.clear()
    return Picture(light=images["light"], dark=images["dark"], width=width, height=height)


def _colours(names: Sequence[str], theme: Theme) -> dict[str, str]:
    """Return a colour for each name that colour-blind readers can tell apart; "none" has the colour of the ink."""
    palette = [np.array(to_rgb(colour)) for colour in sns.color_palette("colorblind")]
    mixed = [to_hex(tuple(palette[place] * (1 - theme.lift) + theme.lift)) for place in ORDER]
    others = [name for name in names if name != CLEAN]
    return {CLEAN: theme.ink, **{name: mixed[place % len(mixed)] for place, name in enumerate(others)}}


def _open(sheet: Sheet) -> Figure:
    # Without pyplot, no figure is registered anywhere: nothing leaks and nothing needs closing.
    figure = Figure(figsize=sheet.size)
    FigureCanvasAgg(figure)
    for place, title in enumerate(sheet.titles):
        x, y = sheet.corner(place)
        figure.text(*sheet.point(x, y + 0.06), title, weight="bold", size=10, va="top", linespacing=1.15)
    return figure


def _panel(figure: Figure, sheet: Sheet, place: tuple[int, int, int], title: str = "") -> Axes:
    axes = figure.add_axes(sheet.panel_at(*place))
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(visible=True)
    axes.set_title(title, loc="left", pad=5, linespacing=1.15)
    return axes


def _accuracy_axis(axes: Axes, first: bool) -> None:
    axes.set_ylim(-0.02, 1.02)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    axes.tick_params(axis="y", labelleft=first)
    if first:
        axes.set_ylabel("accuracy", labelpad=2)


def _say_nothing_finished(axes: Axes, theme: Theme) -> None:
    axes.text(0.5, 0.5, "no finished trial", transform=axes.transAxes, ha="center", va="center", color=theme.soft)


def _legends(figure: Figure, plan: Plan, groups: Sequence[Sequence[Line2D | Patch]]) -> None:
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


def _heat_map(found: Study, theme: Theme) -> Figure:
    """Accuracy: attack down, clustering across, one panel for each privacy mode."""
    plan = heat_plan(found)
    figure = _open(plan.sheet)
    lines = {
        tuple(line[name] for name in ("block", "privacy", "attack", "clustering")): line
        for line in records(found.drawn)
    }
    for place, block in enumerate(found.blocks):
        for number, privacy in enumerate(found.within(block, "privacy")):
            row, column = divmod(number, plan.sheet.columns[place])
            title = plan.above[found.privacies.index(privacy)]
            axes = _panel(figure, plan.sheet, (place, row, column), title)
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


def _learning_curves(found: Study, theme: Theme) -> Figure:
    """Accuracy by round: clustering across, privacy mode down, colour by attack."""
    plan, table = curve_plan(found), curves(found)
    figure = _open(plan.sheet)
    attacks = _attack_lines(found, theme)
    for place, block in enumerate(found.blocks):
        for column, clustering in enumerate(found.within(block, "clustering")):
            rows = [row for row, privacy in enumerate(found.privacies) if found.has(block, privacy, clustering)]
            for row in rows:
                axes = _panel(figure, plan.sheet, (place, row, column))
                own = _where(table, block=block, privacy=found.privacies[row], clustering=clustering)
                _curve_panel(axes, own, attacks, theme)
                _round_axis(axes, numbers(table, "round"), labelled=row == rows[-1])
                _accuracy_axis(axes, column == 0 and plan.sheet.leads(place))
                if row == rows[0]:
                    title = plan.above[found.clusterings.index(clustering)]
                    axes.set_title(title, loc="left", pad=5, linespacing=1.15)
        if plan.sheet.ends(place):
            _side_titles(figure, plan, place)
    _legends(figure, plan, [list(attacks.values())])
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


def _where(
    table: pd.DataFrame, *, block: str, privacy: str | None = None, clustering: str | None = None
) -> pd.DataFrame:
    mask = table["block"] == block
    for name, value in (("privacy", privacy), ("clustering", clustering)):
        mask = mask if value is None else mask & (table[name] == value)
    return select(table, mask)


def _attack_lines(found: Study, theme: Theme) -> dict[str, Line2D]:
    colours = _colours(found.attacks, theme)
    styles = [DASHES[place // len(ORDER) % len(DASHES)] for place in range(len(found.attacks))]
    return {
        name: Line2D([], [], color=colours[name], linestyle=style, linewidth=1.7)
        for name, style in zip(found.attacks, styles, strict=True)
    }


def _curve_panel(axes: Axes, table: pd.DataFrame, attacks: Mapping[str, Line2D], theme: Theme) -> None:
    if table.empty:
        _say_nothing_finished(axes, theme)
    for attack, line in attacks.items():
        own = select(table, table["attack"] == attack)
        rounds, mean, low, high = (numbers(own, name) for name in ("round", "mean", "low", "high"))
        axes.fill_between(rounds, low, high, color=line.get_color(), alpha=0.14, linewidth=0)
        axes.plot(rounds, mean, color=line.get_color(), linestyle=line.get_linestyle(), linewidth=1.5)


def _communication(found: Study, theme: Theme) -> Figure:
    """Accuracy by bytes: one panel for each privacy mode, a filled mark without and a hollow one under attack."""
    plan, table = exchange_plan(found), exchanges(found)
    figure = _open(plan.sheet)
    # The empty name takes the first colour, which stands for an attack elsewhere.
    colours = _colours(["", *found.clusterings], theme)
    shapes = dict(zip(found.blocks, MARKS, strict=False))
    logs = np.log10(numbers(table, "bytes"))
    span = (float(np.min(logs)), float(np.max(logs)))
    for number, privacy in enumerate(found.privacies):
        row, column = divmod(number, plan.sheet.columns[0])
        axes = _panel(figure, plan.sheet, (0, row, column), plan.above[number])
        own = select(table, table["privacy"] == privacy)
        if own.empty:
            _say_nothing_finished(axes, theme)
        _byte_axis(axes, span)
        _accuracy_axis(axes, column == 0)
        places = spread(np.log10(numbers(own, "bytes")).tolist(), 0.035 * (axes.get_xlim()[1] - axes.get_xlim()[0]))
        for x, line in zip(places, records(own), strict=True):
            _exchange(axes, x, line, (colours[line["clustering"]], shapes[line["block"]], theme.paper))
    marks = [_mark(theme.soft, mark) for mark in shapes.values()] if any(found.blocks) else []
    meanings = [_mark(theme.soft, "o"), Line2D([], [], color=theme.soft, marker="o", mfc=theme.paper, linestyle="")]
    groups = [[_mark(colours[name], "o") for name in found.clusterings], marks, meanings]
    _legends(figure, plan, [group for group in groups if group])
    return figure


def _mark(colour: str, mark: str) -> Line2D:
    return Line2D([], [], color=colour, marker=mark, linestyle="")


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


def _runtime(found: Study, theme: Theme) -> Figure:
    """Seconds of one trial: stacked bars of training, secure sum and the rest."""
    table = records(times(found))
    # All blocks share the lines, so that the labels at the left edge hold for each of them.
    names = sorted(
        dict.fromkeys((line["clustering"], line["privacy"]) for line in table),
        key=lambda name: (found.clusterings.index(name[0]), (*found.privacies, "").index(name[1])),
    )
    blocks = [block for block in found.blocks if any(line["block"] == block for line in table)]
    plan = time_plan(blocks, names)
    figure = _open(plan.sheet)
    colours = [*list(_colours(["training", "sum"], theme).values())[1:], theme.soft]
    longest = max(sum(line[part] for part in SPLIT) for line in table) or 1.0
    for place, block in enumerate(blocks):
        axes = _panel(figure, plan.sheet, (place, 0, 0))
        own = {names.index((line["clustering"], line["privacy"])): line for line in table if line["block"] == block}
        _time_panel(axes, own, colours, longest)
        axes.set_ylim(len(names) - 0.4, -0.6)
        first = plan.sheet.leads(place)
        axes.set_yticks(range(len(names)), [shown("privacy", name) if name else "" for _, name in names])
        axes.tick_params(axis="y", length=0, labelleft=first)
        if first:
            _group_labels(axes, [name for name, _ in names], plan.sheet.left - 0.1)
    _legends(figure, plan, [[Patch(color=colour) for colour in colours]])
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


def _privacy(found: Study, theme: Theme) -> Figure:
    """Accuracy by epsilon: clustering across, colour by attack, infinity apart at the right."""
    table = guarantees(found)
    mechanisms = list(dict.fromkeys(table["mechanism"]))
    plan = privacy_plan(found, mechanisms)
    figure = _open(plan.sheet)
    shapes = {name: MARKS[place % len(MARKS)] for place, name in enumerate(mechanisms)}
    attacks = _attack_lines(found, theme)
    epsilons = numbers(table, "epsilon")
    logs = np.log10(epsilons[np.isfinite(epsilons)])
    for place, block in enumerate(found.blocks):
        for column, clustering in enumerate(found.within(block, "clustering")):
            title = plan.above[found.clusterings.index(clustering)]
            axes = _panel(figure, plan.sheet, (place, 0, column), title)
            own = _where(table, block=block, clustering=clustering).sort_values(["epsilon", "mechanism"], kind="stable")
            if own.empty:
                _say_nothing_finished(axes, theme)
            infinity, reach = _epsilon_axis(axes, (float(np.min(logs)), float(np.max(logs))))
            _accuracy_axis(axes, column == 0 and plan.sheet.leads(place))
            for x, line in zip(_epsilon_places(own, infinity, reach), records(own), strict=True):
                _guarantee(axes, x, line, (attacks[line["attack"]].get_color(), shapes[line["mechanism"]]))
    _legends(figure, plan, [list(attacks.values()), [_mark(theme.soft, mark) for mark in shapes.values()]])
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


FIGURES: Mapping[str, Callable[[Study, Theme], Figure]] = {
    "accuracy-by-attack": _heat_map,
    "learning-curves": _learning_curves,
    "accuracy-by-communication": _communication,
    "runtime": _runtime,
    "accuracy-by-epsilon": _privacy,
}
