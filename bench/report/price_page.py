"""The price list of robust statistics as files: a table for readers, one for machines, and a figure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.peers.robust import MedianComparison
from bench.peers.robust_prices import Price
from bench.report.canvas import MARKS, SCREEN, colours_of, settings_of
from bench.report.theme import LIGHT, Theme

__all__ = ["HEAD", "price_figure", "price_rows", "write_prices"]

HEAD = (
    "statistic",
    "parties",
    "d",
    "k",
    "coordinates",
    "seconds",
    "compression s",
    "MB measured",
    "MB formula",
    "offline MB",
    "rounds measured",
    "rounds formula",
    "comparisons measured",
    "comparisons formula",
)


def write_prices(
    folder: Path, prices: Sequence[Price], compared: MedianComparison, environment: Mapping[str, Any]
) -> list[Path]:
    """Write prices.json, prices.md and prices.png into the folder, which is made; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {
        "environment": environment,
        "median": asdict(compared),
        "prices": [asdict(price) for price in prices],
    }
    paths = [folder / "prices.json", folder / "prices.md", folder / "prices.png"]
    paths[0].write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    paths[1].write_text(_text(prices, compared), "utf-8")
    with mpl.rc_context(settings_of(LIGHT)):
        price_figure(prices, LIGHT).savefig(paths[2], dpi=SCREEN, metadata={"Software": None})
    return paths


def price_rows(prices: Sequence[Price]) -> list[list[str]]:
    """Return the rows under HEAD; a dash where nothing was run."""
    return [
        [
            price.label,
            str(price.parties),
            f"{price.d:,}",
            f"{price.k:g}",
            f"{price.coordinates:,}",
            _number(price.seconds, ".3f"),
            _number(price.compression_s, ".4f"),
            _number(None if price.measured_bytes is None else price.measured_bytes / 1e6, ".2f"),
            f"{price.formula_bytes / 1e6:.2f}",
            f"{price.offline_bytes / 1e6:.2f}",
            _number(price.measured_rounds, "d"),
            str(price.formula_rounds),
            _number(price.measured_comparisons, ",d"),
            f"{price.formula_comparisons:,}",
        ]
        for price in prices
    ]


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _text(prices: Sequence[Price], compared: MedianComparison) -> str:
    lines = [
        "# Prices of robust statistics on shared values",
        "",
        "Bytes, rounds and secure comparisons (64 a word of lanes) are those of one cluster, offline included; "
        "`coordinates` is what a shared mask (`rand_k`) "
        "leaves of d. Rows with a dash are computed by the formula, which equals the meter wherever it was run. "
        "Seconds are those of the machine and the load in prices.json.",
        "",
        "| " + " | ".join(HEAD) + " |",
        "|" + "---|" * len(HEAD),
        *("| " + " | ".join(row) + " |" for row in price_rows(prices)),
        "",
        f"{compared.time.name}: {compared.time.ours_s:.2f} s against {compared.time.peer_s:.2f} s of the "
        f"{compared.time.peer}, {compared.time.ratio:.1f} times as fast; {compared.ours_bytes:,} bytes against "
        f"{compared.peer_bytes:,}, {compared.bytes_ratio:.1f} times fewer.",
        "",
        "![Bytes and seconds by coordinates](prices.png)",
        "",
    ]
    return "\n".join(lines)


def price_figure(prices: Sequence[Price], theme: Theme) -> Figure:
    """Draw bytes (above) and seconds (below) by the coordinates sent, a panel for each size of cluster."""
    parties = list(dict.fromkeys(price.parties for price in prices))
    names = list(dict.fromkeys(price.statistic for price in prices))
    figure = Figure(figsize=(3.4 * len(parties) + 2.0, 6.2), layout="constrained")
    panels: Mapping[tuple[int, int], Axes] = {
        (row, column): figure.add_subplot(2, len(parties), row * len(parties) + column + 1)
        for row in range(2)
        for column in range(len(parties))
    }
    styles = {name: (colour, _mark(place)) for place, (name, colour) in enumerate(_colours(names, theme))}
    for column, members in enumerate(parties):
        own = [price for price in prices if price.parties == members]
        for name in names:
            mine = [price for price in own if price.statistic == name]
            _line(panels[0, column], {each.coordinates: each.formula_bytes / 1e6 for each in mine}, name, styles[name])
            timed = {each.coordinates: each.seconds for each in mine if each.seconds is not None}
            _line(panels[1, column], timed, name, styles[name])
        panels[0, column].set_title(f"{members} parties", loc="left")
        panels[1, column].set_xlabel("coordinates sent")
    panels[0, 0].set_ylabel("MB on the wire, offline included")
    panels[1, 0].set_ylabel("seconds")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper")
    return figure


def _mark(place: int) -> str:
    """Return another mark where colours begin again."""
    return MARKS[(place + place // len(MARKS)) % len(MARKS)]


def _colours(names: Sequence[str], theme: Theme) -> list[tuple[str, str]]:
    colours = colours_of(names, theme)
    return [(name, colours[name]) for name in names]


def _line(axes: Axes, values: Mapping[int, float], name: str, style: tuple[str, str]) -> None:
    places = sorted(values)
    colour, mark = style
    axes.loglog(places, [values[place] for place in places], color=colour, marker=mark, markersize=4, label=name)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True)
