"""Every figure of a report by its name, as files and for the page."""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from bench.report.accuracy_figures import heat_map, learning_curves
from bench.report.canvas import DENSITY, SCREEN, settings_of
from bench.report.cost_figures import communication, privacy, runtime
from bench.report.study import Study
from bench.report.theme import DARK, LIGHT, Theme


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
        with mpl.rc_context(settings_of(theme)):
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


FIGURES: Mapping[str, Callable[[Study, Theme], Figure]] = {
    "accuracy-by-attack": heat_map,
    "learning-curves": learning_curves,
    "accuracy-by-communication": communication,
    "runtime": runtime,
    "accuracy-by-epsilon": privacy,
}
