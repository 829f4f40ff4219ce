"""Where panels, titles and legends stand and how labels break: arithmetic only, no drawing. All lengths in inches."""

import math
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["LINE", "WIDTH", "Sheet", "Spot", "break_label", "dodge", "fit", "flow", "lines", "spread", "text_width"]

WIDTH = 12.4  # of a full sheet; an inch is 100 px of the page
LINE = 0.165  # the height of one line of small type
CHARACTER = 0.079  # a generous mean width of one character of small type
HANDLE = 0.55  # a legend's mark with the space around it


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A grid of equal panels, repeated for each block, with room for titles and labels.

    A block is one group of panels with its own title; `across` blocks stand side by side. `top` and `bottom` are the
    room above and below the panels of a block, `gap` the room between panels, `legend` the room above all blocks.
    """

    titles: tuple[str, ...]
    rows: int
    columns: int
    across: int
    panel: tuple[float, float]
    gap: tuple[float, float]
    left: float
    right: float
    top: float
    bottom: float
    heading: float
    legend: float

    @property
    def block(self) -> tuple[float, float]:
        """Width and height of one block with its heading, titles and labels."""
        width = self.columns * self.panel[0] + (self.columns - 1) * self.gap[0]
        height = self.rows * self.panel[1] + (self.rows - 1) * self.gap[1]
        return width, self.heading + self.top + height + self.bottom

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the whole sheet."""
        across = min(self.across, len(self.titles))
        width = self.left + across * self.block[0] + (across - 1) * self.gap[0] * 2 + self.right
        return width, self.legend + math.ceil(len(self.titles) / self.across) * self.block[1]

    def corner(self, block: int) -> tuple[float, float]:
        """Return the left and the upper edge of a block, from the sheet's upper left corner."""
        line, place = divmod(block, self.across)
        return self.left + place * (self.block[0] + 2 * self.gap[0]), self.legend + line * self.block[1]

    def panel_at(self, block: int, row: int, column: int) -> tuple[float, float, float, float]:
        """Return left, bottom, width and height of a panel as fractions of the sheet."""
        x, y = self.corner(block)
        left = x + column * (self.panel[0] + self.gap[0])
        top = y + self.heading + self.top + row * (self.panel[1] + self.gap[1])
        width, height = self.size
        return left / width, 1 - (top + self.panel[1]) / height, self.panel[0] / width, self.panel[1] / height

    def point(self, x: float, y: float) -> tuple[float, float]:
        """Return a point, given from the upper left corner, as fractions of the sheet."""
        width, height = self.size
        return x / width, 1 - y / height

    def first(self, block: int, column: int) -> bool:
        """Return whether a panel stands at the left edge of the sheet."""
        return column == 0 and block % self.across == 0

    def last(self, block: int, column: int) -> bool:
        """Return whether no panel stands to the right of this one."""
        at_end = block % self.across == self.across - 1 or block == len(self.titles) - 1
        return column == self.columns - 1 and at_end


def fit(
    *,
    titles: Sequence[str],
    rows: int,
    columns: int,
    width: tuple[float, float],
    height: float,
    gap: tuple[float, float],
    margins: tuple[float, float, float, float],
) -> Sheet:
    """Return a sheet with as many blocks side by side as fit, without room for a legend.

    Panels are as wide as the sheet allows, within the two bounds of `width`; margins are left, right, top, bottom.
    A sheet narrower than half of the full width gets more margin at the right, for the legend.
    """
    left, right, top, bottom = margins
    room = WIDTH - left - right
    narrow = columns * width[0] + (columns - 1) * gap[0]
    across = max(1, min(len(titles), int((room + 2 * gap[0]) / (narrow + 2 * gap[0]))))
    spare = room - (across - 1) * 2 * gap[0] - across * (columns - 1) * gap[0]
    wide = min(max(spare / (across * columns), width[0]), width[1])
    block = columns * wide + (columns - 1) * gap[0]
    used = left + across * block + (across - 1) * 2 * gap[0]
    folded = tuple(_fold_title(title, block) for title in titles)
    return Sheet(
        titles=folded,
        rows=rows,
        columns=columns,
        across=across,
        panel=(wide, height),
        gap=gap,
        left=left,
        right=max(right, WIDTH / 2 - used),
        top=top,
        bottom=bottom,
        heading=lines(folded) * LINE * 1.15 + 0.14 if any(folded) else 0.0,
        legend=0.0,
    )


def _fold_title(title: str, width: float) -> str:
    # Headings are set in bold type, a fifth wider than small type.
    return "\n".join(textwrap.wrap(title, max(int(width / CHARACTER / 1.2), 12)))


@dataclass(frozen=True, kw_only=True)
class Spot:
    """Where a group of a legend stands: its left and upper edge, and how many entries stand side by side."""

    x: float
    y: float
    columns: int


def flow(groups: Sequence[Sequence[str]], width: float) -> tuple[list[Spot], float]:
    """Return a spot for each group of legend labels, set like words on lines, and the height of them all."""
    spots: list[Spot] = []
    x, y, height = 0.0, 0.06, 0
    for labels in groups:
        whole = sum(text_width([label]) + HANDLE for label in labels)
        if x > 0 and x + whole > width:
            x, y, height = 0.0, y + height * 0.22, 0
        columns = len(labels) if whole <= width else max(1, int(width / (text_width(labels) + HANDLE)))
        spots.append(Spot(x=x, y=y, columns=columns))
        x, height = x + whole + 0.25, max(height, math.ceil(len(labels) / columns))
    return spots, y + height * 0.22 + 0.1


def break_label(text: str, width: float) -> str:
    """Return a plug-in's label on several lines of about `width`: first the name, then the parameters.

    Guarantees:
        Only the brackets around the parameters, commas between them and spaces at breaks are left out.
    """
    found = re.fullmatch(r"([^()]+)\((.*)\)", text, flags=re.DOTALL)
    parts = [found[1], *re.split(r",\s*", found[2])] if found else [text]
    return "\n".join(line for part in parts if part for line in _fold(part, max(int(width / CHARACTER), 4)))


def _fold(text: str, characters: int) -> list[str]:
    # Long names break after "_", "=" or "-", where a reader can put them together again.
    folded = [""]
    for piece in re.split(r"(?<=[_=\-\s])", text):
        if folded[-1] and len(folded[-1] + piece.rstrip()) > characters:
            folded.append("")
        folded[-1] += piece
    return [part for line in folded for part in textwrap.wrap(line, characters, break_on_hyphens=False)]


def lines(labels: Iterable[str]) -> int:
    """Return the number of lines of the label with the most."""
    return max((label.count("\n") + 1 for label in labels), default=1)


def text_width(texts: Iterable[str]) -> float:
    """Return the width of the longest line of the texts in small type."""
    return max((len(line) for text in texts for line in text.split("\n")), default=0) * CHARACTER


def dodge(index: int, count: int, step: float) -> float:
    """Return the offset of the index-th of `count` marks that stand side by side around one place."""
    return (index - (count - 1) / 2) * step


def spread(places: Sequence[float], step: float) -> list[float]:
    """Return the places, moved as little as needed to be at least `step` apart, in the same order.

    Guarantees:
        No two returned places are closer than `step`.
        Places that were already that far apart stay where they were.
    """
    order = sorted(range(len(places)), key=lambda index: places[index])
    groups: list[list[float]] = []  # of the centre and the number of marks that touch around it
    for index in order:
        groups.append([places[index], 1])
        while len(groups) > 1 and _touch(groups[-2], groups[-1], step):
            (centre, count), (other, more) = groups.pop(-2), groups.pop(-1)
            groups.append([(centre * count + other * more) / (count + more), count + more])
    moved = [centre + dodge(i, int(count), step) for centre, count in groups for i in range(int(count))]
    return [moved[order.index(index)] for index in range(len(places))]


def _touch(a: list[float], b: list[float], step: float) -> bool:
    return b[0] - a[0] < (a[1] + b[1]) / 2 * step - 1e-12
