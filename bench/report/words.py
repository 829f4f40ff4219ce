"""The report's sentences: headline, alarms, and for each figure its title, caption and text for the blind."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bench.report.designs import is_choice
from bench.report.study import AXES, Study, curves, exchanges, guarantees, inexact, records, telling_attacks, times
from bench.report.wording import human_bytes, human_seconds, percent, plural, shown
from bench.trials import CLEAN, identity_columns, numbers, select, setting_text

__all__ = ["Story", "alarms", "headline", "place", "settings_line", "stories"]


@dataclass(frozen=True, kw_only=True)
class Story:
    """What is said around one figure; `absent` says why there is none, empty where there is one."""

    title: str
    caption: str
    alt: str
    absent: str = ""


def place(line: Mapping[str, Any], *, privacy: bool = True, attack: bool = False) -> str:
    """Return the words for a configuration: its axes and the settings that tell it apart."""
    axes = [shown("attack", line["attack"])] if attack else []
    axes += [shown("clustering", line["clustering"])]
    axes += [shown("privacy", line["privacy"])] if privacy else []
    return ", ".join([*axes, *([line["block"].replace(" · ", ", ")] if line["block"] else [])])


def settings_line(found: Study) -> str:
    """Return the settings that all configurations share."""
    names = [name for name in identity_columns(found.summary) if name not in {*AXES, "run"}]
    shared = {name: {setting_text(value) for value in found.summary[name]} for name in names}
    return " · ".join(f"{name.replace('_', ' ')} {values.pop()}" for name, values in shared.items() if len(values) == 1)


def alarms(found: Study) -> list[str]:
    """Return what makes results untrustworthy: sums that were not exact; an empty list otherwise."""
    wrong = inexact(found.results)
    if wrong.empty:
        return []
    where = list(dict.fromkeys(place(line, attack=True) for line in records(wrong)))
    more = f" and {len(where) - 8} more configurations" if len(where) > 8 else ""
    return [
        f"The encrypted sum differed from the plain sum in {plural(len(wrong), 'trial')}: do not trust their results "
        f"before the cause is known. Where: {'; '.join(where[:8])}{more}."
    ]


def headline(found: Study, attacked: pd.DataFrame) -> list[str]:
    """Return the findings in plain words; `attacked` is the table of effects."""
    number = found.counts
    total = sum(number.values())
    if not total:
        return ["There are no results."]
    return [
        f"{number['ok']} of {plural(total, 'trial')} finished, {number['failed']} failed, {number['skipped']} skipped "
        f"({plural(len(found.summary), 'configuration')}).",
        *_clean(found),
        *_broken(attacked),
        *_success(attacked),
        *_diverged(found),
    ]


def _clean(found: Study) -> list[str]:
    sentences = []
    clean = select(found.summary, (found.summary["attack"] == CLEAN) & found.summary["accuracy"].notna())
    datasets = list(dict.fromkeys(clean["dataset"]))
    for dataset in datasets:
        own = sorted(records(select(clean, clean["dataset"] == dataset)), key=lambda line: line["accuracy"])
        where = f" on {dataset}" if len(datasets) > 1 else ""
        best = f"{percent(own[-1]['accuracy'])} ({place(own[-1])})"
        if len(own) == 1:
            sentences.append(f"Without attack, accuracy{where} is {best}.")
        else:
            worst = f"{percent(own[0]['accuracy'])} ({place(own[0])})"
            sentences.append(f"Without attack, mean accuracy{where} is between {worst} and {best}.")
    return sentences or ["No trial without attack finished, so there is no accuracy to compare attacks with."]


def _broken(attacked: pd.DataFrame) -> list[str]:
    measured = [line for line in records(attacked) if line["prediction"] != "unknown"]
    if not measured:
        return []
    over = [line for line in measured if line["prediction"] == "exceeds"]
    if not over:
        return ["In no configuration did an attack taint more clusters than the rule tolerates."]
    where = list(dict.fromkeys(place(line, privacy=False) for line in over))
    more = f" and {len(where) - 8} more" if len(where) > 8 else ""
    return [
        f"In {len(over)} of {plural(len(measured), 'configuration')} under attack, more clusters were tainted than the "
        f"rule tolerates: {'; '.join(where[:8])}{more}."
    ]


def _success(attacked: pd.DataFrame) -> list[str]:
    lines = [line for line in records(attacked) if not math.isnan(line["attack_success"])]
    if not lines:
        return []
    top = max(lines, key=lambda line: line["attack_success"])
    return [f"The highest attack success is {percent(top['attack_success'])}: {place(top, attack=True)}."]


def _diverged(found: Study) -> list[str]:
    number = int(np.sum(numbers(found.summary, "diverged"))) if len(found.summary) else 0
    return [f"Training diverged in {plural(number, 'trial')}."] if number else []


def _seeds(found: Study, mark: str = "") -> str:
    """Say how many seeds there are and what kind of interval; `mark` names what shows it."""
    low, high = found.seeds
    if high == 1:
        return "One seed, so there are no intervals."
    count = f"{low} to {high}" if low < high else f"{high}"
    alone = ", where there is more than one" if low == 1 else ""
    shows = f"{mark} show" if mark else "Intervals are"
    wide = " Two seeds say little: their intervals are very wide." if low == 2 else ""
    return f"{count} finished seeds per configuration. {shows} 95 % Student-t intervals over them{alone}.{wide}"


def _follows(found: Study) -> str:
    if not found.follows:
        return ""
    names = " and ".join(name.replace("_", " ") for name in found.follows)
    return f"In no title, because it follows from the other settings: {names}."


def _hidden(found: Study) -> str:
    if not found.hidden:
        return ""
    return f"{plural(found.hidden, 'more combination')} of settings not drawn: the table of configurations has all."


def _hidden_in(name: str, found: Study) -> str:
    # Drawn by design and fault rate, no block is left out.
    return "" if name == "accuracy-by-attack" and is_choice(found) else _hidden(found)


def stories(found: Study) -> dict[str, Story]:
    """Return the story of each figure by the figure's name."""
    told = {
        "accuracy-by-attack": _heat_story(found),
        "learning-curves": _curve_story(found),
        "accuracy-by-communication": _exchange_story(found),
        "runtime": _time_story(found),
        "accuracy-by-epsilon": _privacy_story(found),
    }
    return {
        name: Story(
            title=story.title,
            caption=" ".join(part for part in (story.caption, _hidden_in(name, found)) if part),
            alt=story.alt,
            absent=story.absent,
        )
        for name, story in told.items()
    }


def _axes(found: Study) -> str:
    return (
        f"{plural(len(found.attacks), 'attack')}, {plural(len(found.clusterings), 'clustering')} and "
        f"{plural(len(found.privacies), 'privacy mode')}"
    )


def _heat_story(found: Study) -> Story:
    title = "Accuracy under attack"
    measured = sorted(
        (line for line in records(found.drawn) if not math.isnan(line["accuracy"])), key=lambda line: line["accuracy"]
    )
    if not measured:
        return Story(title=title, caption="", alt="", absent="No trial finished, so there is no accuracy to show.")
    if is_choice(found):
        return _design_story(found)
    low, high = measured[0], measured[-1]
    return Story(
        title=title,
        caption="Read each column downwards: a defence that holds keeps the colour of its first line; a cell "
        f"much darker than that is broken. {_seeds(found, 'The numbers after ±')} {_partly(found)}{_follows(found)}",
        alt=f"Heat map of mean accuracy for {_axes(found)}. Highest {percent(high['accuracy'])} "
        f"({place(high, attack=True)}), lowest {percent(low['accuracy'])} ({place(low, attack=True)}).",
    )


def _design_story(found: Study) -> Story:
    measured = sorted(
        (line for line in records(found.summary) if not math.isnan(line["accuracy"])),
        key=lambda line: line["accuracy"],
    )
    low, high = measured[0], measured[-1]
    return Story(
        title="Accuracy under attack",
        caption="Read each line across: a design that holds keeps the colour of its first cell. Beside it stands in "
        "how many trials the verdicts of all rounds called the design private and correct. Of data, models and other "
        "settings that no designer chooses, each cell shows the worst. "
        f"{_seeds(found, 'The numbers after ±')} {_partly(found)}".strip(),
        alt=f"Heat map of mean accuracy by design and attack, a panel for each fault rate. Highest "
        f"{percent(high['accuracy'])} ({place(high, attack=True)}), lowest {percent(low['accuracy'])} "
        f"({place(low, attack=True)}).",
    )


def _partly(found: Study) -> str:
    partly = any(line["ok"] and line["failed"] for line in records(found.drawn))
    return "A small number with ✗ counts the failed seeds of a cell that has others. " if partly else ""


def _curve_story(found: Study) -> Story:
    title = "Learning curves"
    if not found.counts["ok"]:
        return Story(title=title, caption="", alt="", absent="No trial finished, so there are no learning curves.")
    table = curves(found)
    if np.isnan(numbers(table, "mean")).all():
        return Story(title=title, caption="", alt="", absent="No finished trial recorded its accuracy by round.")
    failed = found.counts["failed"]
    return Story(
        title=title,
        caption="A curve that leaves the one without attack shows when the attack takes hold. "
        + _told_apart(found)
        + _seeds(found, "Bands")
        + (f" {plural(failed, 'failed trial')} not drawn." if failed else ""),
        alt=f"Lines of mean accuracy over {int(np.max(numbers(table, 'round')))} rounds, one colour for each attack, "
        f"for {_axes(found)}.",
    )


def _told_apart(found: Study) -> str:
    """Say which attacks have a colour where not all of them have, or nothing."""
    told = len(telling_attacks(found))
    if told == len(found.attacks):
        return ""
    return f"In colour: no attack, and the {told - 1} attacks with the lowest mean accuracy; grey: all others. "


def _exchange_story(found: Study) -> Story:
    title = "Accuracy against communication"
    table = exchanges(found)
    if table.empty:
        absent = "No finished trial reports bytes sent per process and round."
        return Story(title=title, caption="", alt="", absent=absent)
    sent = numbers(table, "bytes")
    return Story(
        title=title,
        caption="What the extra bytes buy: the shorter the line from the filled mark (without attack) to the hollow "
        "one (under the attack with the lowest mean accuracy), the more robust. Marks that would overlap stand "
        f"slightly aside. Marks are means, with the intervals of the heat map. {_seeds(found)}",
        alt=f"Marks of accuracy without and under the worst attack by bytes sent per process and round, from "
        f"{human_bytes(float(np.min(sent)))} to {human_bytes(float(np.max(sent)))}.",
    )


def _time_story(found: Study) -> Story:
    title = "Where the time goes"
    table = times(found)
    if table.empty:
        return Story(title=title, caption="", alt="", absent="No finished trial reports its run time.")
    totals = numbers(table, "train_s") + numbers(table, "mpc_s") + numbers(table, "other_s")
    modes = "attacks, privacy modes and seeds" if not any(table["privacy"]) else "attacks and seeds"
    low, high = found.seeds
    return Story(
        title=title,
        caption=f"Mean seconds of one trial, over {modes} ({low if low == high else f'{low} to {high}'} finished per "
        "configuration; no intervals). Everything else is what the run time holds besides local training and the "
        "secure sum: robust rule, evaluation, bookkeeping.",
        alt=f"Stacked bars of seconds per trial, from {human_seconds(float(np.min(totals)))} to "
        f"{human_seconds(float(np.max(totals)))}, split into local training, secure sum and everything else.",
    )


def _privacy_story(found: Study) -> Story:
    title = "Accuracy against privacy"
    table = guarantees(found)
    finite = numbers(table, "epsilon")[np.isfinite(numbers(table, "epsilon"))]
    unknown = sum(line["epsilon"] == "unsupported" for line in records(found.drawn))
    omitted = f"{plural(unknown, 'configuration')} without a supported accounting left out." if unknown else ""
    if not len(finite):
        absent = "No finished trial has a finite epsilon, so there is no privacy to weigh against accuracy."
        return Story(title=title, caption="", alt="", absent=f"{absent} {omitted}".strip())
    return Story(
        title=title,
        caption="To the left is more privacy, upwards more accuracy; ∞ is no differential privacy. Marks of one "
        f"epsilon stand side by side. {_seeds(found, 'Vertical lines')} {omitted}".strip(),
        alt=f"Marks of mean accuracy by epsilon, from {np.min(finite):.3g} to {np.max(finite):.3g} and infinity, one "
        "colour for each attack.",
    )
