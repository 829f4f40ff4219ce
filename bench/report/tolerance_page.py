"""The page of `bench tolerance --out`: the answer in words and figures, nothing loaded from anywhere."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import matplotlib as mpl
from jinja2 import Environment, StrictUndefined

from bench.report.canvas import DENSITY, SCREEN, settings_of
from bench.report.theme import DARK, LIGHT, Theme
from bench.report.tolerance_axes import Shown
from bench.report.tolerance_figures import FIGURES, figures_of, has_law
from bench.tolerance.answer import Answer
from bench.tolerance.survey import Survey, survey
from bench.tolerance.wording import between, describe, shown

__all__ = ["write_tolerance_page"]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One figure of the page: its words, and its pictures as data URIs."""

    name: str
    title: str
    caption: str
    light: str
    dark: str
    width: int
    height: int


def write_tolerance_page(path: Path, answers: Sequence[Answer]) -> Path:
    """Write the page about the first answer, with a table of all, and return its path; folders are made.

    Guarantees:
        The page loads nothing: no script, no address, figures as data URIs.
        The same answers give the same figures.
    """
    found = Shown(answers=answers, survey=survey(answers[0].question, answers[0].groups))
    text = resources.files("bench.report").joinpath("tolerance.html.j2").read_text("utf-8")
    template: Any = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).from_string(text)
    lines = describe(answers[0])
    page = template.render(
        design=lines[0],
        lines=[line.split(None, 1) if index < 4 else ("", line) for index, line in enumerate(lines[1:])],
        tones=_tones(answers[0]),
        rows=_rows(answers) if len(answers) > 1 else [],
        front=_front(found.survey),
        coordinates=answers[0].question.coordinates,
        figures=[_picture(name, found) for name in figures_of(found.survey)],
        light=LIGHT,
        dark=DARK,
        style=resources.files("bench.report").joinpath("report.css").read_text("utf-8"),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def _tones(answer: Answer) -> list[str]:
    target = answer.question.target
    sides = answer.analysis
    if target is None:
        return [""] * 4
    return [
        "good" if side.upper <= target else "bad" for side in (sides.private, sides.correct, sides.live, sides.fail)
    ]


def _rows(answers: Sequence[Answer]) -> list[list[str]]:
    rows: list[list[str]] = []
    for answer in answers:
        sides = answer.analysis
        probabilities = [between(side) for side in (sides.private, sides.correct, sides.live, sides.fail)]
        sizes = " and ".join(f"{count} of {size}" for size, count in answer.groups)
        row = [sizes, *probabilities, str(answer.worst.all)]
        if row not in rows:
            rows.append(row)
    return rows


def _front(found: Survey) -> list[list[str]]:
    return [
        [
            option.protocol,
            str(option.size),
            shown(option.fail),
            f"{option.price.wire_bytes_per_process / 1e3:.4g}",
            str(option.price.rounds),
            f"{option.price.comparisons:,}",
        ]
        for option in found.designs.front
    ]


_WORDS = {
    "window": (
        "Which sizes meet the target",
        "Larger clusters hide more and break more often. Where the two curves cross above the target, no size meets "
        "it. Beyond 20,000 processes the curves are the union and the Chernoff bound.",
    ),
    "failure-by-policy": (
        "Failure by policy and by how faults arise",
        "Where faults are exchangeable, every policy that does not let them choose has one law (the lines coincide). "
        "Whole domains that fail together break clusters of neighbours (locality) and hardly those they are spread "
        "over (stratified). Bounds are drawn at their upper end; similarity lets the adversary choose.",
    ),
    "heat-map": (
        "Share of faults and cluster size",
        "The probability that a uniform placement fails on any side, for this protocol and rule. The circle is the "
        "design that was asked about, at the nearest share and size. Beyond 20,000 processes these are bounds.",
    ),
    "levels": (
        "Groups of clusters",
        "Clusters whose sums go up a tree, each level combined by the same rule. At the left the probability that the "
        "whole is broken by uniform faults; at the right the share of faulty processes that it tolerates wherever "
        "they sit: (a + 1)(b + 1) - 1 of them where parts survive a and groups survive b.",
    ),
    "delegates": (
        "How many delegates hold the sums",
        "At the left, that colluding delegates know all sums and a cluster has one member outside the coalition; at "
        "the right, that any side fails or, where members deviate, that a wrong result is taken over. Each number "
        "serves with the largest threshold below half, unless another was asked for. Bounds are drawn at their upper "
        "end.",
    ),
    "committees": (
        "What two committees of delegates detect",
        "Where members depart from the protocol, one delegate is enough to show a cluster's sum (every input, where "
        "these are checked), and one of a single committee to change the result. Of two committees that compare their "
        "results it takes one in each; else the round stops. More members serve, and so more of them may show a sum.",
    ),
    "cost": (
        "What safety costs",
        "Each mark is one protocol in its default mode with clusters of one size. Nothing is both safer and cheaper "
        "than the circled designs. Bytes are those of the protocols' own formulas, headers included.",
    ),
}
_HIDDEN_WORDS = {
    "window": "Larger clusters hide more and break more often. Where the two curves cross above the target, no size "
    "meets it. Of too many processes to count, the private side is drawn at the upper end of its bounds.",
    "heat-map": "How likely a uniform placement fails at most: the private and the correct side added up, for this "
    "rule and these delegates. The circle is the design that was asked about, at the nearest share and size; where "
    "nothing is drawn there are fewer clusters than delegates.",
}
"""Captions that differ where sums stay hidden."""
_LAW = (
    "At the right, how many clusters break for the size that was asked about; red is beyond what the rule withstands."
)


def _picture(name: str, found: Shown) -> Picture:
    title, caption = _WORDS[name]
    if found.survey.question.delegates is not None:
        caption = _HIDDEN_WORDS.get(name, caption)
    if name == "window" and has_law(found.answers[0]):
        caption = f"{caption} {_LAW}"
    images = {theme.name: _drawn(name, found, theme) for theme in (LIGHT, DARK)}
    _, width, height = images[LIGHT.name]
    return Picture(
        name=name,
        title=title,
        caption=caption,
        light=_uri(images[LIGHT.name][0]),
        dark=_uri(images[DARK.name][0]),
        width=width,
        height=height,
    )


def _drawn(name: str, found: Shown, theme: Theme) -> tuple[bytes, int, int]:
    with mpl.rc_context(settings_of(theme)):
        figure = FIGURES[name](found, theme)
        width, height = (round(inches * SCREEN) for inches in figure.get_size_inches())
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=DENSITY, metadata={"Software": None})
        figure.clear()
    return buffer.getvalue(), width, height


def _uri(image: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(image).decode('ascii')}"
