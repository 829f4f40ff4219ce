"""The heat map of a study of many attacks: attack down, rule across, one band for each family of attacks."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from attacks import attacks
from bench.report.heat import colour_scale, heat_notes, heat_panel
from bench.report.layout import LINE, break_label, lines, text_width
from bench.report.study import Study, records
from bench.report.theme import Theme
from bench.report.wording import shown
from bench.trials import CLEAN

__all__ = ["FAMILIES", "families", "is_long", "rule_map"]

_MANY_ATTACKS = 16  # beyond, one block under the other is longer than anybody scrolls
_MOST_COLUMNS = 16
_COLUMN, _GAP, _TITLE, _HEAD = 0.84, 0.25, 0.3, 0.75

FAMILIES: Mapping[tuple[str, ...], str] = {
    ("own",): "updates, from what the senders have themselves",
    ("cluster",): "updates, from what is public of the clusters",
    ("honest",): "updates, from all honest ones",
    ("defence",): "updates, searched against the defence",
    ("data",): "training data",
}
"""The families of attacks by what they know, or by their surface; see families()."""
_MIXED, _OTHER = "combinations", "others"


def families(labels: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the labels of attacks by family, in the order of FAMILIES; no attack stands first in each.

    Guarantees:
        Every label but that of no attack is in exactly one family.
    """
    found: dict[str, list[str]] = {name: [] for name in (*FAMILIES.values(), _MIXED, _OTHER)}
    for label in labels:
        if label != CLEAN:
            found[_family(label)].append(label)
    clean = (CLEAN,) if CLEAN in labels else ()
    return {name: (*clean, *own) for name, own in found.items() if own}


def _family(label: str) -> str:
    entries = attacks.entries()
    # A parameter's value may have an attack's name, as in free_rider(kind=constant).
    words = re.findall(r"[^\s()|+,]+", re.sub(r"\w+=[^,()]*", "", label))
    names = [word for word in words if word in entries and word != CLEAN]
    kinds = {str(entries[name].facts.get("knowledge", entries[name].facts["surface"])) for name in names}
    if len(names) > 1:
        return _MIXED
    return FAMILIES.get(tuple(kinds), _OTHER)


def is_long(found: Study) -> bool:
    """Return whether the study is drawn by rule: many attacks on several blocks, few panels of them."""
    return (
        len(found.attacks) > _MANY_ATTACKS
        and len(found.blocks) > 1
        and len(_panels(found)) * len(found.blocks) <= _MOST_COLUMNS
    )


def _panels(found: Study) -> list[tuple[str, str]]:
    return [
        (privacy, clustering)
        for privacy in found.privacies
        for clustering in found.clusterings
        if any(found.has(block, privacy, clustering) for block in found.blocks)
    ]


def rule_map(found: Study, theme: Theme) -> Figure:
    """Accuracy: attack down, rule across, a panel for each clustering and privacy mode, a band for each family."""
    bands, panels = families(found.attacks), _panels(found)
    beside = {label: break_label(shown("attack", label), 2.6) for label in found.attacks}
    below = [break_label(_rule(block), _COLUMN) for block in found.blocks]
    row = max(0.46 if found.seeds[1] > 1 else 0.3, lines(beside.values()) * LINE + 0.04)
    left, foot = text_width(beside.values()) + 0.2, lines(below) * LINE + 0.15
    wide = len(found.blocks) * _COLUMN
    heights = [len(labels) * row + 2 * _TITLE + foot for labels in bands.values()]
    width, height = left + len(panels) * (wide + _GAP), _HEAD + sum(heights)
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    cells = {
        tuple(line[name] for name in ("block", "privacy", "attack", "clustering")): line
        for line in records(found.drawn)
    }
    top = height - _HEAD
    for (family, labels), tall in zip(bands.items(), heights, strict=True):
        figure.text(left / width, (top - 0.1) / height, family, weight="bold", size=10, va="top")
        for number, (privacy, clustering) in enumerate(panels):
            corner = (left + number * (wide + _GAP), top - tall + foot)
            axes = figure.add_axes((corner[0] / width, corner[1] / height, wide / width, len(labels) * row / height))
            grid = [[cells.get((block, privacy, label, clustering), {}) for block in found.blocks] for label in labels]
            _draw(axes, grid, theme, _title(found, privacy, clustering))
            axes.set_xticks(np.arange(len(below)) + 0.5, below, linespacing=1.1)
            axes.set_yticks(np.arange(len(labels)) + 0.5, [beside[label] for label in labels], linespacing=1.1)
            axes.tick_params(labelleft=number == 0)
        top -= tall
    colour_scale(figure, (width, height), end=width - _GAP)
    figure.text(left / width, 1 - 0.35 / height, heat_notes(found), va="center", color=theme.soft)
    return figure


def _draw(axes: Axes, grid: Sequence[Sequence[Mapping[str, Any]]], theme: Theme, title: str) -> None:
    heat_panel(axes, grid, theme)
    axes.set_title(title, loc="left", pad=4)


def _title(found: Study, privacy: str, clustering: str) -> str:
    return clustering if len(found.privacies) == 1 else f"{clustering}, {shown('privacy', privacy)}"


def _rule(block: str) -> str:
    """Return a block's title by its values: of "aggregator trimmed_mean · pre nnm" the two, of "pre none" nothing."""
    parts = [part.removeprefix("aggregator ") for part in block.split(" · ")]
    return "\n".join(part for part in parts if not part.endswith(f" {CLEAN}")) or block
