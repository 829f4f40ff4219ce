"""Two runs side by side: matched by configuration, paired by seed, each difference with its interval."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table

from bench.statistics import mean_interval, paired_difference
from bench.trials import counts, distinguishing, identity_columns, require_columns, setting_text
from protocols.check import CloisterError, non_negative

__all__ = ["as_records", "compare", "render"]

MEASURED = ("accuracy", "loss", "bytes_total", "runtime_s")
COLUMNS = (
    "accuracy_a",
    "accuracy_b",
    "difference",
    "low",
    "high",
    "p",
    "pairs",
    "verdict",
    "note",
    "bytes_ratio",
    "runtime_ratio",
)
UNLISTED = ("identical", "skipped in both")
STYLES = {"worse": "red", "better": "green", "unclear": "yellow", "identical": "dim", "same": "dim"}


def compare(a: pd.DataFrame, b: pd.DataFrame, level: float = 0.95, margin: float = 0.01) -> pd.DataFrame:
    """Return one line per configuration of either run: how the accuracy of B differs from that of A.

    `difference` is the mean of B - A over the seeds that finished in both, low and high its Student-t interval.
    The verdict is "identical" (the same seeds finished with equal accuracy and loss), "same" (the interval lies
    within `margin` of zero), "better" or "worse" (the interval leaves out zero), "unclear" (neither), "only in A",
    "only in B", or, where no trial finished, "failed in B: reason", "skipped in both: reason" and their like.
    Ratios are B / A. The note counts the trials that could not be paired.

    Raises CloisterError for an absent column or a configuration with one seed twice in one run.

    Guarantees:
        Every configuration of A and of B has exactly one line.
        A trial that failed on one side is named in the verdict or in the note.
        Exchanging A and B turns "better" into "worse".
    """
    non_negative(margin=margin)
    for frame in (a, b):
        require_columns(frame, ["status", "error", "seed", *MEASURED])
        counts(frame)
    # Runs are matched whatever their names, by the settings that both of them record.
    identity = [name for name in identity_columns(a) if name in identity_columns(b) and name != "run"]
    sides = {"A": _by_configuration(a, identity, "A"), "B": _by_configuration(b, identity, "B")}
    lines = [
        {
            **dict(zip(identity, name, strict=True)),
            **_line(sides["A"].get(name), sides["B"].get(name), level, margin),
        }
        for name in {**sides["A"], **sides["B"]}
    ]
    return pd.DataFrame(lines, columns=[*identity, *COLUMNS])


@dataclass(frozen=True, kw_only=True)
class _Trials:
    """The trials of one configuration in one run: how many of each status, why they were lost, what was measured."""

    counts: Mapping[str, int]
    reasons: Mapping[str, str]
    seeds: frozenset[float]
    measured: Mapping[str, Mapping[int, float]]


def _by_configuration(results: pd.DataFrame, identity: list[str], side: str) -> dict[tuple, _Trials]:
    groups: dict[tuple, list[dict[str, Any]]] = defaultdict(list)
    for line in results.to_dict("records"):
        groups[tuple(None if pd.isna(line[name]) else line[name] for name in identity)].append(line)
    return {name: _trials(lines, dict(zip(identity, name, strict=True)), side) for name, lines in groups.items()}


def _trials(lines: list[dict[str, Any]], settings: Mapping[str, object], side: str) -> _Trials:
    done = [line for line in lines if line["status"] == "ok"]
    seeds = [int(line["seed"]) for line in done]
    if len(set(seeds)) < len(seeds):
        words = ", ".join(f"{name}={setting_text(value)}" for name, value in settings.items())
        raise CloisterError(f"run {side} holds two finished trials of one seed for {words}; allowed: one")
    reasons: dict[str, str] = {}
    for line in lines:
        if isinstance(line["error"], str) and line["error"]:
            reasons.setdefault(line["status"], line["error"])
    return _Trials(
        counts=Counter(line["status"] for line in lines),
        reasons=reasons,
        seeds=frozenset(float(line["seed"]) for line in lines if not pd.isna(line["seed"])),
        measured={
            name: {seed: _float(line[name]) for seed, line in zip(seeds, done, strict=True)} for name in MEASURED
        },
    )


def _float(value: Any) -> float:
    return math.nan if pd.isna(value) else float(value)


def _line(a: _Trials | None, b: _Trials | None, level: float, margin: float) -> dict[str, object]:
    nothing: Mapping[str, Mapping[int, float]] = {name: {} for name in MEASURED}
    own, other = (side.measured if side else nothing for side in (a, b))
    difference = paired_difference(own["accuracy"], other["accuracy"], level)
    missing = _missing(a, b)
    identical = not missing and _equal(own, other)
    return {
        "accuracy_a": mean_interval(own["accuracy"].values()).mean,
        "accuracy_b": mean_interval(other["accuracy"].values()).mean,
        "difference": difference.mean,
        "low": difference.low,
        "high": difference.high,
        "p": difference.p,
        "pairs": difference.pairs,
        "verdict": "identical" if identical else missing or _verdict(difference.low, difference.high, margin),
        "note": _note(a, b),
        "bytes_ratio": _ratio(own["bytes_total"], other["bytes_total"]),
        "runtime_ratio": _ratio(own["runtime_s"], other["runtime_s"]),
    }


def _ratio(a: Mapping[int, float], b: Mapping[int, float]) -> float:
    shared = a.keys() & b.keys()
    below, above = (mean_interval(side[seed] for seed in shared).mean for side in (a, b))
    return above / below if below else math.nan


def _equal(a: Mapping[str, Mapping[int, float]], b: Mapping[str, Mapping[int, float]]) -> bool:
    # The text of a float is exact, and unlike the float, NaN equals NaN.
    return all(repr(sorted(a[name].items())) == repr(sorted(b[name].items())) for name in ("accuracy", "loss"))


def _missing(a: _Trials | None, b: _Trials | None) -> str:
    """Say why no trial of the configuration finished on one side; an empty text where both sides have one."""
    if b is None:
        return "only in A"
    if a is None:
        return "only in B"
    reasons = {name: _reason(side) for name, side in (("A", a), ("B", b)) if not side.counts.get("ok")}
    if len(set(reasons.values())) == 1 < len(reasons):
        status, text = reasons["A"]
        return f"{status} in both: {text}"
    return "; ".join(f"{status} in {name}: {text}" for name, (status, text) in reasons.items())


def _reason(side: _Trials) -> tuple[str, str]:
    status = "failed" if side.counts.get("failed") else "skipped"
    return status, side.reasons.get(status, "no reason given")


def _note(a: _Trials | None, b: _Trials | None) -> str:
    """Count the trials that have no partner."""
    sides = {name: side for name, side in (("A", a), ("B", b)) if side is not None}
    parts: list[str] = []
    for name, side in sides.items():
        words = ("failed", "skipped")
        parts += [f"{side.counts[word]} {word} in {name}" for word in words if side.counts.get(word)]
        silent = sum(not math.isfinite(value) for value in side.measured["accuracy"].values())
        parts += [f"{silent} without an accuracy in {name}"] if silent else []
    shared = frozenset.intersection(*(side.seeds for side in sides.values()))
    more = {name: len(side.seeds - shared) for name, side in sides.items()}
    return ", ".join([*parts, *(f"seeds only in {name}: {number}" for name, number in more.items() if number)])


def _verdict(low: float, high: float, margin: float) -> str:
    if math.isnan(low):
        return "unclear"
    if -margin <= low and high <= margin:
        return "same"
    return "worse" if high < 0 else "better" if low > 0 else "unclear"


def render(comparison: pd.DataFrame) -> Table:
    """Return the comparison as a table for the terminal; identical lines are counted in the caption, not listed.

    Nor are the configurations listed that both runs skipped.
    """
    telling = distinguishing(comparison, others=identity_columns(comparison)) or ["attack"]
    table = Table(title=_title(comparison), caption=_caption(comparison), box=SIMPLE_HEAD, collapse_padding=True)
    table.pad_edge, table.title_justify, table.caption_justify = False, "left", "left"
    table.add_column(", ".join(telling), overflow="fold", min_width=24)
    for column in ("A", "B", "B - A", "bytes", "time"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("verdict", overflow="fold", min_width=14)
    for line in as_records(comparison):
        if not str(line["verdict"]).startswith(UNLISTED):
            table.add_row(_plain(", ".join(setting_text(line[column]) for column in telling)), *_cells(line))
    return table


def _title(comparison: pd.DataFrame) -> str:
    constant = [
        column for column in identity_columns(comparison) if len(set(map(setting_text, comparison[column]))) == 1
    ]
    return _plain(", ".join(f"{column} {setting_text(comparison[column].iloc[0])}" for column in constant))


def _caption(comparison: pd.DataFrame) -> str:
    heads = Counter(str(verdict).partition(":")[0] for verdict in comparison["verdict"])
    words = ", ".join(f"{number} {head}" for head, number in heads.most_common()) or "nothing to compare"
    unlisted = " or ".join(word for word in UNLISTED if heads[word])
    return (
        f"{words}{f' (those {unlisted} are not listed)' if unlisted else ''}. B - A is the mean over the seeds "
        "that finished in both, ± half its interval; each interval stands alone: of many, some leave out zero by "
        "chance. bytes and time are B / A."
    )


def _cells(line: dict[str, object]) -> list[str]:
    verdict = str(line["verdict"])
    style = STYLES.get(verdict, "red" if "failed in" in verdict else "")
    text = _plain(f"{verdict} ({line['note']})" if line["note"] else verdict)
    difference = _number(line["difference"], "+.3f")
    if line["low"] is not None:
        difference += f" ±{(cast(float, line['high']) - cast(float, line['low'])) / 2:.3f}"
    means = [_number(line[name], ".3f") for name in ("accuracy_a", "accuracy_b")]
    ratios = [_number(line[name], ".2f") for name in ("bytes_ratio", "runtime_ratio")]
    return [*means, difference, *ratios, f"[{style}]{text}[/]" if style else text]


def _number(value: object, form: str) -> str:
    return "" if value is None else format(value, form)


def _plain(text: str) -> str:
    # An error text such as "[/red]" is no markup.
    return text.replace("[", r"\[")


def as_records(comparison: pd.DataFrame) -> list[dict[str, object]]:
    """Return the comparison as JSON-ready dicts, NaN as None.

    Guarantees:
        json.dumps accepts the records with allow_nan=False.
    """
    return [
        {str(column): _json_value(value) for column, value in line.items()} for line in comparison.to_dict("records")
    ]


def _json_value(value: object) -> object:
    plain = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain
