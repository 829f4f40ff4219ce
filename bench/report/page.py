"""One self-contained HTML page from the results: figures inside, nothing loaded from anywhere."""

import base64
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined

from bench.report import breaks, tables
from bench.report.defences import NOTE, defences
from bench.report.design_tables import choices, overview
from bench.report.designs import among_threads, trials_of
from bench.report.effects import effects
from bench.report.figures import draw
from bench.report.study import Study, study
from bench.report.theme import DARK, LIGHT
from bench.report.verdicts import contradictions, policies, verdicts
from bench.report.words import Story, alarms, headline, settings_line, stories
from bench.trials import setting_text

__all__ = ["write_report"]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One figure of the page: its name, its story, and its pictures as data URIs (empty where it is absent)."""

    name: str
    story: Story
    light: str = ""
    dark: str = ""
    width: int = 0
    height: int = 0


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What was run for one run: its name, the facts of its environment, its experiment file."""

    name: str
    facts: tuple[tuple[str, str], ...]
    experiment: str


def write_report(
    out: Path,
    results: pd.DataFrame,
    rounds: pd.DataFrame,
    environments: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    experiments: str | Sequence[str],
) -> Path:
    """Write `report.html` and `figures/` into `out` and return the path of the page.

    `results` has one line per cell and seed, `rounds` one per trial (`key`) and round; a column `run` tells joined
    runs apart. The environments and the texts of the experiment files are in the order of the runs, one for each.

    Raises CloisterError for an absent column, an unknown status, or two finished trials of one configuration and
    seed in one run.

    Guarantees:
        The page loads nothing: no script, no address, figures as data URIs.
        Every text from outside is escaped.
        Every failed and skipped trial is on the page with its reason.
        A figure without data is replaced by a sentence that says why.
        The same input gives the same bytes.
    """
    found = study(results, rounds)
    folder = out / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    attacked, designs = effects(found), trials_of(found)
    files = [experiments] if isinstance(experiments, str) else list(experiments)
    page = _template().render(
        title=" + ".join(_said(files, "title", "name")) or "Results",
        descriptions=_said(files, "description"),
        settings=settings_line(found),
        alarms=alarms(found),
        contradictions=contradictions(found),
        choices=choices(designs),
        designs=overview(designs),
        among_threads=among_threads(found),
        verdicts=verdicts(found),
        policies=policies(found),
        headline=headline(found, attacked),
        counts=found.counts,
        figures=[_shown(name, story, found, folder) for name, story in stories(found).items()],
        worst=tables.worst_attacks(found, attacked),
        tainted=tables.tainted(found, attacked),
        outcomes=tables.outcomes(found, attacked),
        breaks=breaks.breaks(found, attacked),
        restored=breaks.restored(found),
        breaks_note=breaks.NOTE,
        defences=defences(found),
        defences_note=NOTE,
        not_finished=tables.not_finished(found),
        configurations=tables.configurations(found),
        results=tables.all_results(found),
        total=len(results),
        origins=_origins(found, [environments] if isinstance(environments, Mapping) else environments, files),
        light=LIGHT,
        dark=DARK,
        style=resources.files("bench.report").joinpath("report.css").read_text("utf-8"),
    )
    path = out / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def _template() -> Any:
    text = resources.files("bench.report").joinpath("report.html.j2").read_text("utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(text)


def _shown(name: str, story: Story, found: Study, folder: Path) -> Shown:
    shown = Shown(name=name, story=story)
    if story.absent:
        # A picture of an earlier report would contradict the sentence.
        for file in (f"{name}.png", f"{name}.svg", f"{name}-dark.png"):
            (folder / file).unlink(missing_ok=True)
        return shown
    picture = draw(name, found, folder)
    return replace(
        shown, light=_uri(picture.light), dark=_uri(picture.dark), width=picture.width, height=picture.height
    )


def _uri(image: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(image).decode('ascii')}"


def _said(experiments: Sequence[str], *names: str) -> list[str]:
    """Return what the experiment files say under the first of these names that they have, each text once."""
    texts = []
    for experiment in experiments:
        try:
            known = tomllib.loads(experiment)
        except tomllib.TOMLDecodeError:
            # The page shows the file as it is; its title is only a convenience.
            continue
        texts.append(next((known[name].strip() for name in names if isinstance(known.get(name), str)), ""))
    return list(dict.fromkeys(text for text in texts if text))


def _origins(found: Study, environments: Sequence[Mapping[str, Any]], experiments: Sequence[str]) -> list[Origin]:
    runs = list(dict.fromkeys(map(str, found.results["run"]))) if "run" in found.results.columns else []
    number = max(len(environments), len(experiments))
    names = runs if len(runs) == number else [f"run {place + 1}" if number > 1 else "" for place in range(number)]
    return [
        Origin(
            name=name,
            facts=tuple(_facts(environments[place])) if place < len(environments) else (),
            experiment=experiments[place] if place < len(experiments) else "",
        )
        for place, name in enumerate(names)
    ]


def _facts(environment: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    for name, value in environment.items():
        label = f"{prefix}{name}".replace("_", " ")
        if isinstance(value, Mapping):
            facts += _facts(value, f"{label} ")
        elif isinstance(value, list | tuple):
            facts.append((label, " ".join(map(str, value))))
        else:
            facts.append((label, setting_text(value)))
    return facts
