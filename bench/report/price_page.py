"""The price list of robust statistics as files: a table for readers, one for machines, and a figure."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.peers.robust import MedianComparison
from bench.peers.robust_kept import Kept, write_kept
from bench.peers.robust_prices import Price
from bench.report.canvas import MARKS, SCREEN, colours_of, settings_of
from bench.report.theme import LIGHT, Theme
from bench.store import write_atomically

__all__ = ["ASKED_RATIO", "HEAD", "median_line", "price_figure", "price_rows", "write_prices"]

ASKED_RATIO = 2.0
"""How many times as fast, and with how many times fewer bytes, the encrypted median is to be than stock CrypTen's."""

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


def write_prices(folder: Path, kept: Kept, environment: Mapping[str, Any]) -> list[Path]:
    """Write prices.json, prices.csv, prices.md and prices.png into the folder; return their paths."""
    table, page, figure = (folder / f"prices.{kind}" for kind in ("csv", "md", "png"))
    write_atomically(table, _csv(kept.prices))
    write_atomically(page, _text(kept))
    with mpl.rc_context(settings_of(LIGHT)):
        price_figure(kept.prices, LIGHT).savefig(figure, dpi=SCREEN, metadata={"Software": None})
    return [write_kept(folder, kept, environment), table, page, figure]


def _csv(prices: Sequence[Price]) -> str:
    """Return a line a price under the names of its fields; empty where nothing was run."""
    written = io.StringIO()
    lines = csv.DictWriter(written, [each.name for each in fields(Price)], lineterminator="\n")
    lines.writeheader()
    lines.writerows(asdict(price) for price in prices)
    return written.getvalue()


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


def _text(kept: Kept) -> str:
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
        *("| " + " | ".join(row) + " |" for row in price_rows(kept.prices)),
        "",
        *([] if kept.median is None else [median_line(kept.median), ""]),
        "![Bytes and seconds by coordinates](prices.png)",
        "",
    ]
    return "\n".join(lines)


def median_line(compared: MedianComparison) -> str:
    """Return how the encrypted median compares with stock CrypTen's, and whether that is what is asked of it."""
    time, holds = compared.time, min(compared.time.ratio, compared.bytes_ratio) >= ASKED_RATIO
    return (
        f"{time.name}: {time.ours_s:.2f} s against {time.peer_s:.2f} s of the {time.peer}, {time.ratio:.1f} times as "
        f"fast; {compared.ours_bytes:,} bytes against {compared.peer_bytes:,}, {compared.bytes_ratio:.1f} times fewer. "
        f"At least {ASKED_RATIO:g} times each is asked: {'both hold' if holds else 'MISSED'}."
    )


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
