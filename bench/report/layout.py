"""Where panels, titles and legends stand and how labels break: arithmetic only, no drawing. All lengths in inches."""

import math
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["LINE", "WIDTH", "Sheet", "Spot", "break_label", "fit", "flow", "lines", "spread", "text_width"]

WIDTH = 12.4  # of a full sheet; an inch is 100 px of the page
LINE = 0.165  # the height of one line of small type
CHARACTER = 0.079  # a generous mean width of one character of small type
HANDLE = 0.55  # a legend's mark with the space around it


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """Blocks of equal panels, set on lines like words, with room for titles and labels.

    A block is one group of panels with its own title: `rows` of panels down, its number of `columns` across. `lines`
    are the blocks that stand side by side, by number. `top` and `bottom` are the room above and below the panels of
    a block, `gap` the room between panels, `legend` the room above all blocks.
    """

    titles: tuple[str, ...]
    columns: tuple[int, ...]
    lines: tuple[tuple[int, ...], ...]
    rows: int
    panel: tuple[float, float]
    gap: tuple[float, float]
    left: float
    right: float
    top: float
    bottom: float
    heading: float
    legend: float

    @property
    def height(self) -> float:
        """The height of one block with its heading, titles and labels."""
        panels = self.rows * self.panel[1] + (self.rows - 1) * self.gap[1]
        return self.heading + self.top + panels + self.bottom

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the whole sheet."""
        widths = (
            _line_width([self.columns[block] for block in line], self.panel[0], self.gap[0]) for line in self.lines
        )
        return self.left + max(widths) + self.right, self.legend + len(self.lines) * self.height

    def corner(self, block: int) -> tuple[float, float]:
        """Return the left and the upper edge of a block, from the sheet's upper left corner."""
        number = next(number for number, line in enumerate(self.lines) if block in line)
        before = [self.columns[other] for other in self.lines[number] if other < block]
        room = _line_width(before, self.panel[0], self.gap[0]) + 2 * self.gap[0] if before else 0.0
        return self.left + room, self.legend + number * self.height

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

    def leads(self, block: int) -> bool:
        """Return whether a block stands at the left edge of the sheet."""
        return any(line[0] == block for line in self.lines)

    def ends(self, block: int) -> bool:
        """Return whether no block stands to the right of this one."""
        return any(line[-1] == block for line in self.lines)


def _line_width(columns: Sequence[int], panel: float, gap: float) -> float:
    """Return the width of blocks side by side: one gap between panels, two between blocks."""
    return sum(columns) * (panel + gap) - gap + (len(columns) - 1) * gap


def fit(
    *,
    titles: Sequence[str],
    columns: Sequence[int],
    rows: int,
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
    lines_ = _pack(columns, width[0], gap[0], room)
    own = [[columns[block] for block in line] for line in lines_]
    wide = min((room - _line_width(counts, 0, gap[0])) / sum(counts) for counts in own)
    wide = min(max(wide, width[0]), width[1])
    blocks = [_line_width([count], wide, gap[0]) for count in columns]
    folded = tuple(_fold_title(title, block) for title, block in zip(titles, blocks, strict=True))
    return Sheet(
        titles=folded,
        columns=tuple(columns),
        lines=lines_,
        rows=rows,
        panel=(wide, height),
        gap=gap,
        left=left,
        right=max(right, WIDTH / 2 - left - max(_line_width(counts, wide, gap[0]) for counts in own)),
        top=top,
        bottom=bottom,
        heading=lines(folded) * LINE * 1.15 + 0.14 if any(folded) else 0.0,
        legend=0.0,
    )


def _pack(columns: Sequence[int], panel: float, gap: float, room: float) -> tuple[tuple[int, ...], ...]:
    """Return the numbers of the blocks on each line, in order, with panels of the given width."""
    packed: list[list[int]] = []
    for block, count in enumerate(columns):
        line = [columns[other] for other in packed[-1]] if packed else []
        if packed and _line_width([*line, count], panel, gap) <= room + 1e-9:
            packed[-1].append(block)
        else:
            packed.append([block])
    return tuple(map(tuple, packed))


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
    moved = [centre + (i - (count - 1) / 2) * step for centre, count in groups for i in range(int(count))]
    return [moved[order.index(index)] for index in range(len(places))]


def _touch(a: list[float], b: list[float], step: float) -> bool:
    return b[0] - a[0] < (a[1] + b[1]) / 2 * step - 1e-12
